package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Pauses between tries to revoke one lease, and the time one try may take.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	revokeTime   = 15 * time.Second
	// mintTime bounds a mint whose caller has gone. It is longer than any
	// issuer waits for its own server.
	mintTime = 30 * time.Second
)

// LeasesConfig of Leases.
type LeasesConfig struct {
	Issuer Issuer
	// Workers revoke side by side.
	Workers int
	// Outstanding bounds, for each connection, how many leases are in use or
	// wait to be revoked. When as many do, new mints of that connection wait:
	// credentials never pile up, and one database that is down does not hold up
	// the others.
	Outstanding int
	// OnRevoked is told of each lease that ended, with the error if it could
	// not be revoked before its own end. It must not block for long.
	OnRevoked func(lease *Lease, err error)
	Clock     func() time.Time
	Logger    *slog.Logger
}

// Leases stands between the gateway and an Issuer: it mints at once and revokes
// off the response path, but counted.
//
// A crash loses what waits to be revoked. Then the next start revokes what the
// evidence log names, and the TTL ends the rest: a lease minted a moment before
// the crash, whose record was not stored.
type Leases struct {
	cfg     LeasesConfig
	workers chan struct{}
	// giveUp ends when Close does: what is not revoked by then is left.
	giveUp context.Context
	abort  context.CancelFunc

	mu     sync.Mutex
	closed chan struct{}
	places map[string]chan struct{} // by connection: one for each lease or mint
	lent   map[*Lease]chan struct{} // issued and not released, with their places
	held   int                      // places taken, over all connections
	idle   chan struct{}            // closed when Close was called and held is 0
	isIdle bool
	stats  Stats
}

// Stats is a snapshot of what Leases counted since it was made.
type Stats struct {
	// InUse leases are issued and not released; Revoking wait to be revoked;
	// Minting are being made.
	InUse, Revoking, Minting int
	Minted, MintsFailed      uint64
	// Revoked counts leases that were revoked, Abandoned those that were left to
	// their TTL, Retries the tries that failed.
	Revoked, Abandoned, Retries uint64
	// MintTime and RevokeTime add up the time that successful mints took, and
	// that passed between a release and its revocation.
	MintTime, RevokeTime time.Duration
}

// NewLeases makes a Leases; Close ends it.
func NewLeases(cfg LeasesConfig) (*Leases, error) {
	if cfg.Issuer == nil || cfg.Workers < 1 || cfg.Outstanding < 1 || cfg.OnRevoked == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("credentials: a required part of the configuration is missing")
	}
	giveUp, abort := context.WithCancel(context.Background())
	return &Leases{
		cfg: cfg, workers: make(chan struct{}, cfg.Workers), giveUp: giveUp, abort: abort,
		closed: make(chan struct{}), idle: make(chan struct{}),
		places: map[string]chan struct{}{}, lent: map[*Lease]chan struct{}{},
	}, nil
}

// Issue mints, after waiting for a place. A mint whose caller goes away is not
// broken off, since the user might exist then without anybody to revoke it: it
// is brought to its end and its lease revoked.
func (l *Leases) Issue(ctx context.Context, grant Grant) (*Lease, error) {
	place, err := l.enter(ctx, grant.Connection)
	if err != nil {
		return nil, err
	}
	type answer struct {
		lease *Lease
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		mint, stop := context.WithTimeout(context.WithoutCancel(ctx), mintTime)
		defer stop()
		lease, err := l.mint(mint, grant, place)
		done <- answer{lease, err}
	}()
	select {
	case a := <-done:
		return a.lease, a.err
	case <-ctx.Done():
		go func() {
			if a := <-done; a.err == nil {
				l.Release(a.lease)
			}
		}()
		return nil, fmt.Errorf("%w: the caller did not wait for the credential", ErrUnavailable)
	}
}

// enter takes a place of a connection.
func (l *Leases) enter(ctx context.Context, connection string) (chan struct{}, error) {
	l.mu.Lock()
	place, ok := l.places[connection]
	if !ok {
		place = make(chan struct{}, l.cfg.Outstanding)
		l.places[connection] = place
	}
	l.mu.Unlock()
	select {
	case <-l.closed:
		return nil, fmt.Errorf("%w: the gateway is shutting down", ErrUnavailable)
	case <-ctx.Done(): // before the race with a free place
		return nil, fmt.Errorf("%w: the request's time was over", ErrUnavailable)
	default:
	}
	select {
	case place <- struct{}{}:
	case <-l.closed:
		return nil, fmt.Errorf("%w: the gateway is shutting down", ErrUnavailable)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: revocations have fallen behind", ErrUnavailable)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed() { // Close may have seen no lease and returned
		<-place
		return nil, fmt.Errorf("%w: the gateway is shutting down", ErrUnavailable)
	}
	l.held++
	l.stats.Minting++
	return place, nil
}

// leave gives a place back.
func (l *Leases) leave(place chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	<-place
	l.held--
	l.wake()
}

// wake tells Close when nothing is left. The lock is held.
func (l *Leases) wake() {
	if l.isClosed() && l.held == 0 && !l.isIdle {
		l.isIdle = true
		close(l.idle)
	}
}

func (l *Leases) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *Leases) mint(ctx context.Context, grant Grant, place chan struct{}) (lease *Lease, err error) {
	start := time.Now()
	defer func() {
		l.mu.Lock()
		l.stats.Minting--
		if err == nil {
			l.lent[lease] = place
			l.stats.Minted++
			l.stats.MintTime += time.Since(start)
		} else {
			l.stats.MintsFailed++
		}
		l.mu.Unlock()
		if err != nil {
			l.leave(place)
		}
	}()
	lease, err = l.cfg.Issuer.Issue(ctx, grant)
	if err == nil && lease == nil {
		err = errors.New("minting a credential: the issuer gave none")
	}
	if err == nil {
		lease.QueryID, lease.Access = grant.QueryID, grant.Access
	}
	return lease, err
}

// Release has a lease that Issue gave revoked, and does not wait for it. To
// release it again, or what Issue did not give, does nothing. It may follow
// Close: what is released then is still revoked if the process lives on.
func (l *Leases) Release(lease *Lease) {
	l.mu.Lock()
	place, ok := l.lent[lease]
	if ok {
		delete(l.lent, lease)
		l.stats.Revoking++
	}
	l.mu.Unlock()
	if ok {
		go l.end(lease, place, time.Now()) // as many as there are places
	}
}

// end revokes a lease and tells.
func (l *Leases) end(lease *Lease, place chan struct{}, released time.Time) {
	err := l.revoke(lease)
	// Given up at the shutdown: the lease lives on and its end is not known.
	// Without a record of its end the next start will revoke it.
	left := err != nil && l.giveUp.Err() != nil
	if err != nil {
		l.cfg.Logger.Warn("a credential was left to its TTL", "lease", lease.ID, "connection", lease.Connection,
			"user", lease.Username, "expires", lease.ExpiresAt, "error", err)
	}
	if !left {
		l.cfg.OnRevoked(lease, err)
	}
	l.mu.Lock()
	l.stats.Revoking--
	if err == nil {
		l.stats.Revoked++
		l.stats.RevokeTime += time.Since(released)
	} else {
		l.stats.Abandoned++
	}
	l.mu.Unlock()
	l.leave(place)
}

// revoke tries until it works or the lease has ended by itself. It holds a
// worker only while it tries, so that a lease that cannot be revoked does not
// hold up those that can.
func (l *Leases) revoke(lease *Lease) error {
	for pause := firstPause; ; pause = min(pause*2, longestPause) {
		l.workers <- struct{}{}
		ctx, stop := context.WithTimeout(l.giveUp, revokeTime)
		err := l.cfg.Issuer.Revoke(ctx, lease.Connection, lease.ID)
		stop()
		<-l.workers
		if err == nil || l.cfg.Clock().Add(pause).After(lease.ExpiresAt) {
			return err
		}
		l.mu.Lock()
		l.stats.Retries++
		l.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-l.giveUp.Done():
			return err
		}
	}
}

// Waiting counts the leases that are minted or not yet revoked.
func (l *Leases) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Stats is what was counted so far.
func (l *Leases) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.InUse = len(l.lent)
	return s
}

// Close lets nothing more be issued and waits until every lease is released and
// revoked. When ctx ends first, it breaks off and says how many are left to the
// next start and to their TTL. Closing again waits again.
func (l *Leases) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.isClosed() {
		close(l.closed)
	}
	l.wake()
	l.mu.Unlock()
	select {
	case <-l.idle:
		l.abort()
		return nil
	case <-ctx.Done():
		l.abort()
		return fmt.Errorf("%d leases were left to their TTL: %w", l.Waiting(), ctx.Err())
	}
}
