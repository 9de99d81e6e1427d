package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// What a Sink's error may say besides that it is to be tried again. Their texts
// hold nothing that was sent and nothing that a receiver said but its codes.
type (
	// refused: the receiver will never take the first of the events that it has
	// not taken, or one of those behind it.
	refused struct {
		first  bool // it is the first one
		reason string
	}
	// denied: the receiver takes nothing until a person changes something.
	denied struct{ reason string }
	// later: as any other failure, and the receiver said when to try again.
	later struct {
		after  time.Duration
		reason string
	}
	// partial: the receiver has them, and rejected some for good.
	partial struct{ rejected int }
)

func (e *refused) Error() string { return e.reason }
func (e *denied) Error() string  { return e.reason }
func (e *later) Error() string   { return e.reason }
func (e *partial) Error() string { return fmt.Sprintf("the receiver rejected %d records", e.rejected) }

const (
	// attempt bounds one delivery.
	attempt = time.Minute
	// freely is how many records in a row are skipped at once. A receiver that
	// refuses more refuses them for another reason than their content, so that
	// each further one is skipped only after a long pause.
	freely = 10
)

var errClosing = errors.New("the receiver failed while closing")

// deliver hands the events of one log over until each is taken or skipped. Its
// only errors are that ctx ended or that the receiver failed while closing.
func (d *destination) deliver(ctx context.Context, events []Event) error {
	size := len(events) // halved to find the one that is refused
	failures, held := 0, false
	for len(events) > 0 {
		d.heads(events)
		now := events[:min(size, len(events))]
		taken, err := d.try(ctx, now)
		if taken > 0 {
			d.taken(now[:taken])
			events, now = events[taken:], now[taken:]
			size, failures, held = 2*size, 0, false
		}
		var (
			no      *refused
			stop    *denied
			some    *partial
			waiting *later
		)
		switch {
		case err == nil && len(now) == 0:
			continue
		case errors.As(err, &some):
			d.rejected(some.rejected)
			d.logger.Error("the receiver rejected records for good", "count", some.rejected)
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		d.failed(err)
		pause := d.pace.refused
		switch {
		case errors.As(err, &no) && !no.first && len(now) > 1:
			size = len(now) / 2
			continue
		case errors.As(err, &no) && (d.skipped < freely || held):
			d.skip(now[0].ID, no.reason)
			d.advance(now[0].Writer, now[0].next)
			events, held = events[1:], false
			continue
		case errors.As(err, &no):
			held = true
			d.logger.Error("the receiver refuses everything; is it the right one?", "error", err, "again_in", pause)
		case errors.As(err, &stop):
			d.logger.Error("the receiver denies everything; nothing is forwarded until that is mended", "error", err, "again_in", pause)
		default:
			pause = d.pace.after(failures)
			if errors.As(err, &waiting) {
				pause = max(pause, min(waiting.after, d.pace.refused))
			}
			if failures++; failures > 2 { // it may be too much at once for its time or something on the way
				size = max(1, size/2)
			}
			if failures == 1 || pause >= d.pace.most/2 {
				d.logger.Warn("records could not be forwarded; trying again", "error", err, "again_in", pause)
			}
		}
		if err := d.wait(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// try is one delivery in bounded time.
func (d *destination) try(ctx context.Context, events []Event) (int, error) {
	ctx, stop := context.WithTimeout(ctx, attempt)
	defer stop()
	taken, err := d.Sink.Deliver(ctx, events)
	if taken < len(events) && err == nil {
		err = errors.New("the receiver did not take all records")
	}
	return taken, err
}

// after is a pause that doubles with each failure, with jitter.
func (p pace) after(failures int) time.Duration {
	pause := min(p.first<<min(failures, 20), p.most)
	return pause/2 + rand.N(pause/2+1) // #nosec G404 -- jitter is no secret
}

// wait pauses. Closing ends a pause for one last try.
func (d *destination) wait(ctx context.Context, pause time.Duration) error {
	if d.isClosing() {
		d.gaveUp = true
		return errClosing
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closing:
	case <-timer.C:
	}
	return nil
}
