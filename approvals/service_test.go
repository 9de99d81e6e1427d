package approvals_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// bench is a service over a real directory and a clock that a test moves.
type bench struct {
	*approvals.Service
	store worm.Store
	now   atomic.Pointer[time.Time]
}

func newBench(t *testing.T) *bench {
	t.Helper()
	store, err := dir.New(dir.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{store: store}
	b.at(time.Date(2026, 11, 24, 10, 30, 0, 0, time.UTC))
	b.Service, err = approvals.New(approvals.Config{Store: store, Clock: func() time.Time { return *b.now.Load() }, Key: key,
		Recipients: []age.Recipient{key.Recipient()}, TimeOf: evidence.QueryTime, Longest: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) at(t time.Time) { b.now.Store(&t) }

func (b *bench) file(t *testing.T, quorum int) string {
	t.Helper()
	now := *b.now.Load()
	id := evidence.NewQueryID("gw", now)
	err := b.Create(t.Context(), approvals.Request{Version: 1, ID: id, Connection: "clinic", Created: now,
		Expires: now.Add(time.Hour), Requester: "iss#agent", OnBehalfOf: "iss#boss", Binding: "b", Approvals: quorum},
		approvals.Secret{Statement: "SELECT 'literal'", Body: []byte("{}"), Salt: "s"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func vote(id, who string, approve bool) approvals.Vote {
	return approvals.Vote{Version: 1, ID: id, Approver: who, Approve: approve, Binding: "b", Nonce: who, At: time.Now()}
}

func (b *bench) state(t *testing.T, id string) approvals.State {
	t.Helper()
	s, err := b.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s.State
}

func claim(now time.Time, n int) approvals.Claim {
	return approvals.Claim{Version: 1, At: now, Deadline: now.Add(time.Minute), Nonce: fmt.Sprint(n)}
}

func TestLifecycle(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	id := b.file(t, 1)
	if err := b.Claim(ctx, id, claim(*b.now.Load(), 0)); !errors.Is(err, approvals.ErrNotApproved) {
		t.Fatal(err)
	}
	for _, who := range []string{"iss#agent", "iss#boss"} {
		if _, err := b.Decide(ctx, id, vote(id, who, true)); !errors.Is(err, approvals.ErrOwnRequest) {
			t.Fatal(who, err)
		}
	}
	if s, err := b.Decide(ctx, id, vote(id, "iss#nurse", true)); err != nil || s.State != approvals.Approved {
		t.Fatal(s, err)
	}
	if _, err := b.Decide(ctx, id, vote(id, "iss#other", false)); !errors.Is(err, approvals.ErrAlreadyDecided) {
		t.Fatal(err)
	}
	secret, err := b.OpenSecret(ctx, id)
	if err != nil || secret.Statement != "SELECT 'literal'" || secret.Salt != "s" {
		t.Fatal(secret, err)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for n := range 32 {
		all.Go(func() {
			switch err := b.Claim(ctx, id, claim(*b.now.Load(), n)); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, approvals.ErrAlreadyClaimed):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || b.state(t, id) != approvals.Running {
		t.Fatalf("%d claims won, state %s", won.Load(), b.state(t, id))
	}
	b.at(b.now.Load().Add(2 * time.Minute))
	if got := b.state(t, id); got != approvals.Interrupted {
		t.Fatal(got)
	}
	if err := b.Claim(ctx, id, claim(*b.now.Load(), 99)); !errors.Is(err, approvals.ErrAlreadyClaimed) {
		t.Fatal("an interrupted run was run again:", err)
	}
	if err := b.Finish(ctx, id, approvals.Outcome{Version: 1, ID: id, State: approvals.Succeeded}); err != nil {
		t.Fatal(err)
	}
	if got := b.state(t, id); got != approvals.Succeeded {
		t.Fatal(got)
	}
}

func TestQuorumAndDenial(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	id := b.file(t, 2)
	if s, err := b.Decide(ctx, id, vote(id, "a", true)); err != nil || s.State != approvals.Pending {
		t.Fatal(s, err)
	}
	if _, err := b.Decide(ctx, id, vote(id, "a", true)); err != nil && !errors.Is(err, approvals.ErrAlreadyDecided) {
		t.Fatal(err)
	}
	if got := b.state(t, id); got != approvals.Pending {
		t.Fatal("one approver voted twice:", got)
	}
	if s, err := b.Decide(ctx, id, vote(id, "b", true)); err != nil || s.State != approvals.Approved {
		t.Fatal(s, err)
	}
	id = b.file(t, 2)
	if s, err := b.Decide(ctx, id, vote(id, "a", false)); err != nil || s.State != approvals.Denied {
		t.Fatal(s, err)
	}
	if _, err := b.Decide(ctx, id, vote(id, "b", true)); !errors.Is(err, approvals.ErrAlreadyDecided) {
		t.Fatal("a denial is not final:", err)
	}
}

// TestRace: approve, deny and cancel at once leave exactly one end.
func TestRace(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for range 20 {
		id := b.file(t, 1)
		var all sync.WaitGroup
		all.Go(func() { _, _ = b.Decide(ctx, id, vote(id, "a", true)) })
		all.Go(func() { _, _ = b.Decide(ctx, id, vote(id, "b", false)) })
		all.Go(func() { _, _ = b.Cancel(ctx, id, "iss#agent") })
		all.Wait()
		first := b.state(t, id)
		if first == approvals.Pending {
			t.Fatal("nobody decided")
		}
		_, _ = b.Decide(ctx, id, vote(id, "c", true))
		if again := b.state(t, id); again != first {
			t.Fatalf("%s became %s", first, again)
		}
	}
}

func TestExpiry(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	id, approved := b.file(t, 1), b.file(t, 1)
	if _, err := b.Decide(ctx, approved, vote(approved, "a", true)); err != nil {
		t.Fatal(err)
	}
	b.at(b.now.Load().Add(time.Hour))
	if _, err := b.Decide(ctx, id, vote(id, "a", true)); !errors.Is(err, approvals.ErrExpired) {
		t.Fatal(err)
	}
	if err := b.Claim(ctx, approved, claim(*b.now.Load(), 1)); !errors.Is(err, approvals.ErrExpired) {
		t.Fatal("claimed at the second of expiry:", err)
	}
}

func TestListOpen(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	want := map[string]bool{}
	for i := range 6 {
		id := b.file(t, 1)
		switch i % 3 {
		case 0:
			want[id] = true
		case 1:
			if _, err := b.Decide(ctx, id, vote(id, "a", true)); err != nil {
				t.Fatal(err)
			}
		case 2:
			if _, err := b.Cancel(ctx, id, "iss#agent"); err != nil {
				t.Fatal(err)
			}
		}
		b.at(b.now.Load().Add(7 * time.Minute))
	}
	got := 0
	err := b.ListOpen(ctx, func(s *approvals.Status) bool {
		got++
		if !want[s.Request.ID] {
			t.Errorf("%s is %s", s.Request.ID, s.State)
		}
		return true
	})
	if err != nil || got != len(want) {
		t.Fatalf("%d open, want %d: %v", got, len(want), err)
	}
}

func TestHostileObjects(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for _, id := range []string{"", "x", "q_../../etc", "q_" + "0000"} {
		if _, err := b.Get(ctx, id); !errors.Is(err, approvals.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	now := *b.now.Load()
	id := evidence.NewQueryID("gw", now)
	if err := b.store.Create(ctx, "approvals/"+now.Format("2006/01/02/15")+"/"+id+"/request", []byte(`{"id":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(ctx, id); err == nil || errors.Is(err, approvals.ErrNotFound) {
		t.Error("a malformed request was read:", err)
	}
}
