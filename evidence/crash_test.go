package evidence

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// TestDieAtEveryStep kills a gateway at each of its durable steps, before and
// after the object is stored; the next start must explain what is there, and
// nothing acknowledged may be lost.
func TestDieAtEveryStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for step := 1; ; step++ {
			reached := false
			t.Run(fmt.Sprintf("step %d, after=%v", step, after), func(t *testing.T) {
				w := newWorld(t)
				acknowledged := dieAt(t, w, step, after)
				reached = acknowledged != nil
				if !reached {
					return
				}
				next := w.open(t, w.config("gw-1"))
				query(t, next)
				closeLog(t, next)
				report := verify(t, w, Options{Now: time.Now().Add(time.Hour)})
				if len(report.Findings) > 0 {
					t.Errorf("findings %+v", report.Findings)
				}
				reader := NewReader(w.store, w.trusted)
				for _, receipt := range acknowledged {
					if _, err := reader.FindRecord(t.Context(), receipt.RecordID); err != nil {
						t.Errorf("an acknowledged record is gone: %v", err)
					}
				}
			})
			if !reached {
				break
			}
		}
	}
}

// dieAt runs a gateway that dies at its n-th Create, and gives the receipts of
// what was acknowledged; nil if it lived.
func dieAt(t *testing.T, w *world, n int, after bool) []Receipt {
	t.Helper()
	store := &flaky{Store: w.store}
	count := 0
	dead := false
	die := func(ctx context.Context, _ string) error {
		store.mu.Lock()
		defer store.mu.Unlock()
		if count++; count >= n {
			dead = true
			return worm.ErrUnavailable
		}
		return nil
	}
	if after {
		store.set(func(context.Context, string) error {
			store.mu.Lock()
			defer store.mu.Unlock()
			if dead {
				return worm.ErrUnavailable
			}
			return nil
		}, die)
	} else {
		store.set(die, nil)
	}
	cfg := w.config("gw-1")
	cfg.Store, cfg.RetryWindow = store, 20*time.Millisecond
	receipts := []Receipt{}
	l, err := Open(t.Context(), cfg)
	if err != nil {
		return receipts
	}
	defer l.kill()
	foreign := NewQueryID("gw-9-000000000-00000000", time.Now())
	for i := range 4 {
		r := &Record{Type: TypeApprovalViewed}
		if i%2 == 1 {
			r.QueryID = foreign // stored with a link
		}
		receipt, err := l.Append(t.Context(), r)
		if err != nil {
			return receipts
		}
		receipts = append(receipts, receipt)
	}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if err := l.Close(ctx); err != nil {
		return receipts
	}
	return nil
}

// TestTwoProcessesOfOneInstance: both write their own log, and both verify.
func TestTwoProcessesOfOneInstance(t *testing.T) {
	w := newWorld(t)
	a := w.open(t, w.config("gw-1"))
	query(t, a)
	b := w.open(t, w.config("gw-1"))
	query(t, b)
	query(t, a) // goes on after b saw it
	must(t, a.Flush(t.Context()))
	a.kill()
	closeLog(t, b)
	report := verify(t, w, Options{Now: time.Now().Add(time.Hour)})
	if len(report.Findings) != 1 || report.Findings[0].Kind != KindCut {
		t.Errorf("a's end is explained by nobody yet: %+v", report.Findings)
	}
	c := w.open(t, w.config("gw-1"))
	closeLog(t, c)
	if report := verify(t, w, Options{Now: time.Now().Add(time.Hour)}); len(report.Findings) > 0 {
		t.Errorf("findings %+v", report.Findings)
	}
}

// TestOpenWithoutStore: a gateway does not start without its evidence.
func TestOpenWithoutStore(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("gw-1")
	store := &flaky{Store: w.store}
	store.set(func(context.Context, string) error { return worm.ErrUnavailable }, nil)
	cfg.Store = store
	if _, err := Open(t.Context(), cfg); !errors.Is(err, worm.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
