package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// LeasesConfig of Leases.
type LeasesConfig struct {
	Issuer Issuer
	// Workers revoke side by side; Outstanding bounds how many leases may wait
	// for it. When as many do, new mints wait: credentials never pile up.
	Workers, Outstanding int
	// OnRevoked is told of each lease that ended, with the error if it could
	// not be revoked before its own end. It must not block for long.
	OnRevoked func(lease *Lease, err error)
	Clock     func() time.Time
	Logger    *slog.Logger
}

// Leases stands between the gateway and an Issuer: it mints at once and revokes
// off the response path, but counted. A crash loses the queue: then the next
// start revokes what the evidence log names, and the TTL ends the rest.
type Leases struct {
	cfg    LeasesConfig
	places chan struct{} // one for each lease that is minted or not yet revoked
	queue  chan *Lease
	all    sync.WaitGroup
}

// NewLeases starts the workers; Close ends them.
func NewLeases(cfg LeasesConfig) (*Leases, error) {
	if cfg.Issuer == nil || cfg.Workers < 1 || cfg.Outstanding < 1 || cfg.OnRevoked == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("credentials: a required part of the configuration is missing")
	}
	l := &Leases{cfg: cfg, places: make(chan struct{}, cfg.Outstanding), queue: make(chan *Lease, cfg.Outstanding)}
	for range cfg.Workers {
		l.all.Go(l.work)
	}
	return l, nil
}

// Issue mints, after waiting for a place.
func (l *Leases) Issue(ctx context.Context, grant Grant) (*Lease, error) {
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: revocations have fallen behind", ErrUnavailable)
	}
	lease, err := l.cfg.Issuer.Issue(ctx, grant)
	if err != nil {
		<-l.places
		return nil, err
	}
	return lease, nil
}

// Release queues the revocation of a lease that Issue gave. It does not wait:
// there is a place in the queue for every lease.
func (l *Leases) Release(lease *Lease) { l.queue <- lease }

// Waiting counts the leases that are minted or not yet revoked.
func (l *Leases) Waiting() int { return len(l.places) }

// Close revokes what is queued and ends the workers, at the latest when ctx
// ends. No Issue or Release may follow.
func (l *Leases) Close(ctx context.Context) error {
	close(l.queue)
	done := make(chan struct{})
	go func() {
		l.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d leases were left to their TTL: %w", len(l.places), ctx.Err())
	}
}

func (l *Leases) work() {
	for lease := range l.queue {
		err := l.revoke(lease)
		if err != nil {
			l.cfg.Logger.Warn("a credential was left to its TTL", "lease", lease.ID, "user", lease.Username, "error", err)
		}
		l.cfg.OnRevoked(lease, err)
		<-l.places
	}
}

// revoke tries until it works or the lease has ended by itself.
func (l *Leases) revoke(lease *Lease) error {
	for pause := 100 * time.Millisecond; ; pause = min(pause*2, 5*time.Second) {
		ctx, stop := context.WithTimeout(context.Background(), 15*time.Second)
		err := l.cfg.Issuer.Revoke(ctx, lease.Connection, lease.ID)
		stop()
		if err == nil || l.cfg.Clock().Add(pause).After(lease.ExpiresAt) {
			return err
		}
		time.Sleep(pause)
	}
}
