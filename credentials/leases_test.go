package credentials

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
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
