package forward

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Webhook posts each record by itself, signed as Standard Webhooks 1.0 says: the
// id of the message is the record's. The secret is the signing key, whsec_….
type Webhook struct{ post *poster }

// concurrent is how many requests are under way at once.
const concurrent = 8

// NewWebhook makes a Sink; it contacts nobody.
func NewWebhook(h HTTP) *Webhook { return &Webhook{newPoster(h)} }

// Deliver implements Sink.
func (w *Webhook) Deliver(ctx context.Context, events []Event) (int, error) {
	secret, err := w.post.secret()
	if err != nil {
		return 0, err
	}
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return 0, &denied{"its secret is no key of Standard Webhooks (whsec_ and base64)"}
	}
	for done := 0; done < len(events); {
		now := events[done:min(done+concurrent, len(events))]
		errs := make([]error, len(now))
		var all sync.WaitGroup
		for i := range now {
			all.Go(func() { errs[i] = w.one(ctx, signer, &now[i]) })
		}
		all.Wait()
		for _, err := range errs {
			if err != nil { // those behind it may have arrived: they will come twice
				return done, mine(err)
			}
			done++
		}
	}
	return len(events), nil
}

// mine says that it is the first event that is refused.
func mine(err error) error {
	var no *refused
	if errors.As(err, &no) {
		return &refused{first: true, reason: no.reason}
	}
	return err
}

func (w *Webhook) one(ctx context.Context, signer *standardwebhooks.Webhook, e *Event) error {
	now := time.Now()
	signature, err := signer.Sign(e.ID, now, e.Body)
	if err != nil {
		return &denied{"the signature cannot be made"}
	}
	_, err = w.post.post(ctx, e.Body, map[string]string{"Content-Type": "application/json",
		standardwebhooks.HeaderWebhookID: e.ID, standardwebhooks.HeaderWebhookSignature: signature,
		standardwebhooks.HeaderWebhookTimestamp: strconv.FormatInt(now.Unix(), 10)})
	return err
}

// Check implements Sink.
func (w *Webhook) Check(ctx context.Context) error { return w.post.check(ctx) }

// Close implements Sink.
func (w *Webhook) Close() { w.post.close() }

var _, _, _ Sink = (*Webhook)(nil), (*OTLP)(nil), (*HEC)(nil)
