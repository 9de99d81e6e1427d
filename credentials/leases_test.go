package credentials

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type slowIssuer struct {
	living, most atomic.Int64
	fail         atomic.Bool
	gate         chan struct{}
}

func (s *slowIssuer) Issue(context.Context, Grant) (*Lease, error) {
	if n := s.living.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	return &Lease{ID: "l", ExpiresAt: time.Now().Add(time.Minute)}, nil
}

func (s *slowIssuer) Revoke(context.Context, string, string) error {
	<-s.gate
	if s.fail.Swap(false) {
		return ErrUnavailable
	}
	s.living.Add(-1)
	return nil
}

func (*slowIssuer) Check(context.Context) error { return nil }

func leases(t *testing.T, s Issuer, outstanding int, revoked func(*Lease, error)) *Leases {
	t.Helper()
	l, err := NewLeases(LeasesConfig{Issuer: s, Workers: 2, Outstanding: outstanding, OnRevoked: revoked, Clock: time.Now,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMintsWaitForRevocations: credentials never pile up.
func TestMintsWaitForRevocations(t *testing.T) {
	s := &slowIssuer{gate: make(chan struct{}, 100)}
	l := leases(t, s, 4, func(*Lease, error) {})
	for range 4 {
		lease, err := l.Issue(t.Context(), Grant{})
		if err != nil {
			t.Fatal(err)
		}
		l.Release(lease)
	}
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := l.Issue(short, Grant{}); !errors.Is(err, ErrUnavailable) {
		t.Fatal("a fifth credential while four wait to be revoked:", err)
	}
	close(s.gate)
	if _, err := l.Issue(t.Context(), Grant{}); err != nil || s.most.Load() > 4 {
		t.Fatal(err, s.most.Load())
	}
}

// TestOneConnectionDownHoldsUpNoOther: neither its mints nor its revocations.
func TestOneConnectionDownHoldsUpNoOther(t *testing.T) {
	s := &deadIssuer{dead: "down"}
	l := leases(t, s, 2, func(*Lease, error) {})
	for range 2 {
		lease, err := l.Issue(t.Context(), Grant{Connection: "down"})
		if err != nil {
			t.Fatal(err)
		}
		l.Release(lease)
	}
	for range 20 {
		lease, err := l.Issue(t.Context(), Grant{Connection: "up"})
		if err != nil {
			t.Fatal(err)
		}
		l.Release(lease)
	}
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := l.Close(short); err == nil {
		t.Fatal("closed although a database is down")
	}
	if got := l.Stats(); got.Revoked != 20 || got.Minted != 22 || got.Retries == 0 {
		t.Errorf("%+v", got)
	}
}

type deadIssuer struct{ dead string }

func (*deadIssuer) Issue(_ context.Context, g Grant) (*Lease, error) {
	return &Lease{ID: "l", Connection: g.Connection, ExpiresAt: time.Now().Add(time.Hour)}, nil
}

func (d *deadIssuer) Revoke(_ context.Context, connection, _ string) error {
	if connection == d.dead {
		return ErrUnavailable
	}
	return nil
}

func (*deadIssuer) Check(context.Context) error { return nil }

// TestACallerWhoGoesAwayLeavesNothing: the user that is being made meanwhile is
// revoked when it is there.
func TestACallerWhoGoesAwayLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lateIssuer{takes: time.Second}
		l := leases(t, s, 4, func(*Lease, error) {})
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		if _, err := l.Issue(ctx, Grant{}); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		if l.Waiting() != 1 {
			t.Fatal("the mint that goes on is not counted")
		}
		if err := l.Close(t.Context()); err != nil || s.living.Load() != 0 || s.made.Load() != 1 {
			t.Fatal(err, s.living.Load(), s.made.Load())
		}
	})
}

type lateIssuer struct {
	takes        time.Duration
	made, living atomic.Int64
}

func (s *lateIssuer) Issue(ctx context.Context, _ Grant) (*Lease, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ErrUnavailable
	}
	s.made.Add(1)
	s.living.Add(1)
	return &Lease{ID: "l", ExpiresAt: time.Now().Add(time.Minute)}, nil
}

func (s *lateIssuer) Revoke(context.Context, string, string) error { s.living.Add(-1); return nil }

func (*lateIssuer) Check(context.Context) error { return nil }

// TestALeaseIsTriedUntilItsEnd and no longer; then it is told as an error.
func TestALeaseIsTriedUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told error
		var when time.Time
		l := leases(t, &deadIssuer{}, 4, func(_ *Lease, err error) { told, when = err, time.Now() })
		lease, err := l.Issue(t.Context(), Grant{})
		if err != nil {
			t.Fatal(err)
		}
		l.Release(lease)
		l.Release(lease) // the second time does nothing
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(told, ErrUnavailable) || when.After(lease.ExpiresAt) || lease.ExpiresAt.Sub(when) > 2*longestPause {
			t.Error(told, lease.ExpiresAt.Sub(when))
		}
		if got := l.Stats(); got.Abandoned != 1 || got.Revoking != 0 || got.InUse != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestShutdown: nothing is issued after it, what is in use is waited for, and
// what is left when the time is over is not told as ended, so that the next
// start revokes it.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		l := leases(t, &deadIssuer{dead: "down"}, 4, func(*Lease, error) { told++ })
		used, err := l.Issue(t.Context(), Grant{Connection: "up"})
		if err != nil {
			t.Fatal(err)
		}
		left, err := l.Issue(t.Context(), Grant{Connection: "down"})
		if err != nil {
			t.Fatal(err)
		}
		l.Release(left)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		go func() {
			time.Sleep(time.Second)
			if _, err := l.Issue(t.Context(), Grant{Connection: "up"}); !errors.Is(err, ErrUnavailable) {
				t.Error("issued while shutting down:", err)
			}
			l.Release(used)
		}()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 leases") {
			t.Fatal(err)
		}
		synctest.Wait()
		if told != 1 {
			t.Errorf("%d ends told", told)
		}
	})
}

// TestMany: whatever happens at once, every place comes back.
func TestMany(t *testing.T) {
	s := &lateIssuer{takes: time.Microsecond}
	var ended atomic.Int64
	l := leases(t, s, 8, func(*Lease, error) { ended.Add(1) })
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
			defer stop()
			if lease, err := l.Issue(ctx, Grant{}); err == nil {
				l.Release(lease)
			}
		})
	}
	all.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := l.Stats()
	if s.living.Load() != 0 || got.Minted != uint64(ended.Load()) || got.Minting+got.InUse+got.Revoking+l.Waiting() != 0 {
		t.Errorf("%d living, %+v", s.living.Load(), got)
	}
}

func TestRevocationIsTriedAgain(t *testing.T) {
	s := &slowIssuer{gate: make(chan struct{})}
	close(s.gate)
	s.fail.Store(true)
	told := make(chan error, 1)
	l := leases(t, s, 4, func(_ *Lease, err error) { told <- err })
	lease, err := l.Issue(t.Context(), Grant{})
	if err != nil {
		t.Fatal(err)
	}
	l.Release(lease)
	if err := <-told; err != nil || s.living.Load() != 0 {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
