package evidence

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/worm"
)

// locks are a store's locks in memory: worm/s3 has the real ones.
type locks struct {
	mu   sync.Mutex
	have map[string]worm.Lock
	// fails makes the nth change fail, counted down.
	fails int
}

func (l *locks) Lock(_ context.Context, key string) (worm.Lock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.have[key], nil
}

func (l *locks) change(key string, f func(*worm.Lock)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails--; l.fails == 0 {
		return worm.ErrUnavailable
	}
	lock := l.have[key]
	f(&lock)
	l.have[key] = lock
	return nil
}

func (l *locks) Extend(_ context.Context, key string, until time.Time) error {
	return l.change(key, func(lock *worm.Lock) { lock.Until, lock.Compliance = until, true })
}

func (l *locks) Hold(_ context.Context, key string, on bool) error {
	return l.change(key, func(lock *worm.Lock) { lock.Hold = on })
}

func (l *locks) held() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.have {
		if lock.Hold {
			n++
		}
	}
	return n
}

// court is a world with an auditor and some queries.
type court struct {
	*world
	*Holder
	locks  *locks
	log    *Log
	public string
}

func newCourt(t *testing.T) *court {
	t.Helper()
	w := newWorld(t)
	private, public, err := GenerateSigner("auditor-jane")
	must(t, err)
	signer, err := ParseSigner(private)
	must(t, err)
	trusted, err := ParseVerifiers([]byte(w.signer.VerifierKey() + "\n" + public))
	must(t, err)
	w.trusted = trusted
	c := &court{world: w, locks: &locks{have: map[string]worm.Lock{}}, public: public}
	c.log = w.open(t, w.config("gw"))
	c.Holder = &Holder{Store: w.store, Locks: c.locks, Trusted: trusted, Signer: signer, Auditors: w.auditors, Clock: time.Now,
		Beside: Beside{Root: "approvals/", Hour: func(at time.Time) string { return "approvals/" + at.UTC().Format("2006/01/02/15") + "/" }}}
	return c
}

// query records a query of a session, each record in a segment of its own.
func (c *court) query(t *testing.T, session string) string {
	t.Helper()
	id := NewQueryID(c.log.Writer(), time.Now())
	for _, kind := range []Type{TypeIntent, TypeOutcome} {
		_, err := c.log.Append(t.Context(), &Record{Type: kind, QueryID: id, SessionID: session, Result: &Result{Status: "failed"}})
		must(t, err)
	}
	return id
}

func (c *court) wantReport(t *testing.T, got *HeldReport, err error, segments, others, changed, already, kept, orders int) {
	t.Helper()
	must(t, err)
	if got.Segments != segments || got.Others != others || got.Changed != changed || got.Already != already || got.Kept != kept || len(got.Orders) != orders {
		t.Errorf("got %+v; want %d segments, %d others, %d changed, %d already, %d kept, %d orders", *got, segments, others, changed, already, kept, orders)
	}
}

func (c *court) clean(t *testing.T) {
	t.Helper()
	report, err := Verify(t.Context(), c.store, c.trusted, Options{Now: time.Now()})
	must(t, err)
	if len(report.Findings) > 0 {
		t.Errorf("findings: %+v", report.Findings)
	}
}

func TestHold(t *testing.T) {
	c, ctx := newCourt(t), t.Context()
	one, two := c.query(t, "s1"), c.query(t, "s1")
	c.query(t, "s2")
	q, err := parseQueryID(one)
	must(t, err)
	must(t, c.store.Create(ctx, c.Beside.Hour(q.at)+one+"/request", []byte("{}")))
	session := HoldTarget{SessionID: "s1"}

	// Two segments, the announcement and the request; with the order's own note.
	report, err := c.Hold(ctx, HoldTarget{QueryID: one}, "matter 12")
	c.wantReport(t, report, err, 2, 2, 4, 0, 0, 1)
	if c.locks.held() != 5 {
		t.Errorf("%d objects on hold", c.locks.held())
	}
	report, err = c.Hold(ctx, HoldTarget{QueryID: one}, "matter 12")
	c.wantReport(t, report, err, 2, 2, 0, 4, 0, 0)
	if report.By == "" {
		t.Error("the order before is not named")
	}
	// The session holds more, and some already.
	report, err = c.Hold(ctx, session, "matter 13")
	c.wantReport(t, report, err, 4, 2, 2, 4, 0, 1)
	// The query's release leaves what the session holds, and still is recorded.
	report, err = c.Release(ctx, HoldTarget{QueryID: one}, "settled")
	must(t, err)
	if report.Kept != 4 || len(report.Orders) != 1 || c.locks.held() != 7 {
		t.Errorf("%+v, %d on hold", *report, c.locks.held())
	}
	report, err = c.Release(ctx, HoldTarget{QueryID: one}, "settled")
	must(t, err)
	if len(report.Orders) != 0 {
		t.Errorf("a release was repeated: %+v", *report)
	}
	report, err = c.Release(ctx, session, "settled")
	must(t, err)
	if report.Kept != 0 || c.locks.held() != 0 {
		t.Errorf("%+v, %d on hold", *report, c.locks.held())
	}
	orders, err := ReadHolds(ctx, c.store, c.trusted)
	must(t, err)
	if len(orders) != 4 {
		t.Fatalf("%d orders", len(orders))
	}
	// The reason is for auditors alone.
	for _, o := range orders {
		object, err := c.store.Get(ctx, holdKey(o.Order), 0)
		must(t, err)
		secret, err := OpenSealed(&Record{Sealed: o.Reason}, []age.Identity{c.identity})
		must(t, err)
		if !o.Done || strings.Contains(string(object.Body), "matter") || secret.Reason == "" {
			t.Errorf("order %+v, reason %q", o, secret.Reason)
		}
	}
	c.clean(t)
	if _, err := c.Hold(ctx, HoldTarget{QueryID: two}, ""); err == nil {
		t.Error("a hold without a reason")
	}
	if _, err := c.Hold(ctx, HoldTarget{SessionID: "none"}, "x"); !errors.Is(err, worm.ErrNotFound) {
		t.Errorf("a session that is not there: %v", err)
	}
	for _, bad := range []HoldTarget{{}, {QueryID: "q_1"}, {QueryID: two, SessionID: "s"}} {
		if _, err := c.Hold(ctx, bad, "x"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestHoldBrokenOff: an order that was broken off anywhere is carried on, once.
func TestHoldBrokenOff(t *testing.T) {
	for fails := 1; fails <= 4; fails++ {
		c, ctx := newCourt(t), t.Context()
		id := c.query(t, "s")
		c.locks.fails = fails
		_, err := c.Hold(ctx, HoldTarget{QueryID: id}, "x")
		if !errors.Is(err, worm.ErrUnavailable) {
			t.Fatalf("fault %d: %v", fails, err)
		}
		report, err := c.Hold(ctx, HoldTarget{QueryID: id}, "x")
		must(t, err)
		orders, err := ReadHolds(ctx, c.store, c.trusted)
		must(t, err)
		if !report.Resumed || len(orders) != 1 || !orders[0].Done || c.locks.held() != 4 {
			t.Errorf("fault %d: %+v, %d orders, %d on hold", fails, *report, len(orders), c.locks.held())
		}
		c.clean(t)
	}
	// Lifted in between, it is over: a new hold is a new order.
	c, ctx := newCourt(t), t.Context()
	id := c.query(t, "s")
	c.locks.fails = 2
	_, err := c.Hold(ctx, HoldTarget{QueryID: id}, "x")
	if err == nil {
		t.Fatal("no fault")
	}
	_, err = c.Release(ctx, HoldTarget{QueryID: id}, "y")
	must(t, err)
	if c.locks.held() != 0 {
		t.Errorf("%d on hold", c.locks.held())
	}
	report, err := c.Hold(ctx, HoldTarget{QueryID: id}, "x")
	must(t, err)
	if report.Resumed || c.locks.held() != 4 {
		t.Errorf("%+v, %d on hold", *report, c.locks.held())
	}
}

func TestExtend(t *testing.T) {
	c, ctx := newCourt(t), t.Context()
	c.query(t, "s")
	since := time.Now()
	time.Sleep(2 * time.Millisecond)
	id := c.query(t, "s")
	q, err := parseQueryID(id)
	must(t, err)
	must(t, c.store.Create(ctx, c.Beside.Hour(q.at)+id+"/request", []byte("{}")))
	must(t, c.store.Create(ctx, "approvals/2000/01/01/00/old/request", []byte("{}")))
	must(t, c.store.Create(ctx, "bundles/"+since.UTC().Format("2006/01/02")+".zip", []byte("zip")))
	must(t, c.store.Create(ctx, "bundles/2000/01/01.zip", []byte("zip")))
	until := time.Now().Add(time.Second)
	period := HoldTarget{Since: &since, Until: &until}
	to := time.Now().Add(time.Hour)
	// Two segments; announcement, request and the day's bundle.
	report, err := c.Extend(ctx, period, to, "x")
	c.wantReport(t, report, err, 2, 3, 5, 0, 0, 1)
	report, err = c.Extend(ctx, period, to, "x")
	must(t, err)
	// The order itself is of that period by now.
	if report.Changed != 2 || report.Already != 5 {
		t.Errorf("%+v", *report)
	}
	if _, err := c.Extend(ctx, period, time.Now().Add(-time.Hour), "x"); err == nil {
		t.Error("a date that has passed")
	}
	c.locks.mu.Lock()
	if _, touched := c.locks.have["approvals/2000/01/01/00/old/request"]; touched || len(c.locks.have) < 7 {
		t.Errorf("extended %d objects, the old request: %v", len(c.locks.have), touched)
	}
	c.locks.mu.Unlock()
	c.clean(t)
}

// TestHoldAttacks: an order that is not an auditor's is found and stops everything
// that would rely on it.
func TestHoldAttacks(t *testing.T) {
	attacks := map[string]func(t *testing.T, c *court, path, order string){
		"a byte is changed": func(t *testing.T, _ *court, path, order string) {
			b, err := os.ReadFile(filepath.Join(path, order))
			must(t, err)
			b[60] ^= 1
			replaceFile(t, filepath.Join(path, order), b)
		},
		"renamed": func(t *testing.T, _ *court, path, order string) {
			must(t, os.Rename(filepath.Join(path, order), filepath.Join(path, holdKey(newOrder(time.Now())))))
		},
		"removed, its end left": func(t *testing.T, _ *court, path, order string) {
			must(t, os.Remove(filepath.Join(path, order)))
		},
		"signed by a gateway": func(t *testing.T, c *court, path, order string) {
			o := HoldOrder{Order: newOrder(time.Now()), Key: c.signer.VerifierKey(), Action: ActionRelease, HoldTarget: HoldTarget{SessionID: "s"}}
			body, err := encodeHold(holdMagic, o, c.signer)
			must(t, err)
			must(t, c.store.Create(t.Context(), holdKey(o.Order), body))
		},
		"names another's key": func(t *testing.T, c *court, path, order string) {
			o := HoldOrder{Order: newOrder(time.Now()), Key: c.public, Action: ActionRelease, HoldTarget: HoldTarget{SessionID: "s"}}
			body, err := encodeHold(holdMagic, o, c.signer)
			must(t, err)
			must(t, c.store.Create(t.Context(), holdKey(o.Order), body))
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			c := newCourt(t)
			c.query(t, "s")
			report, err := c.Hold(t.Context(), HoldTarget{SessionID: "s"}, "x")
			must(t, err)
			c.clean(t)
			if out, code := c.verifyPy(t); code != 0 {
				t.Errorf("verify.py before the attack: %d\n%s", code, out)
			}
			attack(t, c, c.path, report.Orders[0])
			verified, err := Verify(t.Context(), c.store, c.trusted, Options{Now: time.Now()})
			must(t, err)
			if len(verified.Findings) == 0 || !strings.HasPrefix(verified.Findings[0].Object, holdsDir) {
				t.Errorf("findings: %+v", verified.Findings)
			}
			if out, code := c.verifyPy(t); code != 1 || !strings.Contains(out, holdsDir) {
				t.Errorf("verify.py: %d\n%s", code, out)
			}
			if _, err := c.Release(t.Context(), HoldTarget{SessionID: "s"}, "x"); !errors.Is(err, ErrInvalid) {
				t.Errorf("a release relied on it: %v", err)
			}
		})
	}
}

// verifyPy runs the second verifier on what is stored.
func (c *court) verifyPy(t *testing.T) (out string, code int) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(keys, []byte(c.signer.VerifierKey()+"\n"+c.public+"\n"), 0o600))
	cmd := exec.Command("python3", "bundle/verify.py", "--json", "--keys", keys, c.path)
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func replaceFile(t *testing.T, path string, body []byte) {
	t.Helper()
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, body, 0o600))
}

// TestAuditorsKeySignsNoLog: nor does a gateway start with one.
func TestAuditorsKeySignsNoLog(t *testing.T) {
	c := newCourt(t)
	cfg := c.config("other")
	cfg.Signer = c.Signer
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("a gateway started with an auditor's key")
	}
	a := Announcement{Writer: newWriter("x", time.Now(), [5]byte{}), Instance: "x", Key: c.public}
	body, err := a.encode(c.Signer)
	must(t, err)
	if _, _, err := openAnnouncement(body, c.trusted); !errors.Is(err, ErrInvalid) {
		t.Errorf("an auditor's announcement: %v", err)
	}
	c.Signer = c.signer
	c.query(t, "s")
	if _, err := c.Hold(t.Context(), HoldTarget{SessionID: "s"}, "x"); err == nil {
		t.Error("a gateway's key gave an order")
	}
}

func FuzzOpenHold(f *testing.F) {
	private, public, err := GenerateSigner("auditor-f")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := ParseSigner(private)
	if err != nil {
		f.Fatal(err)
	}
	trusted, err := ParseVerifiers([]byte(public))
	if err != nil {
		f.Fatal(err)
	}
	name := newOrder(time.UnixMilli(1700000000000))
	f.Add(`{"order":"`+name+`","key":"`+public+`","action":"hold","session_id":"s","segments":[{"writer":"w","from":0,"to":18446744073709551615}]}`, false)
	f.Add(`{"order":"`+name+`"}`, true)
	f.Fuzz(func(t *testing.T, line string, done bool) {
		magic, key := holdMagic, holdKey(name)
		if done {
			magic, key = holdDoneMagic, key+holdDone
		}
		msg, err := note.Sign(&note.Note{Text: magic + line + "\n"}, signer)
		if err != nil {
			return
		}
		order, _, err := openHold(key, msg, trusted)
		if err == nil && order != nil {
			total := uint64(0)
			for _, r := range order.Segments {
				total += r.To - r.From
			}
			if total > maxRange || order.Order != name {
				t.Fatalf("accepted %+v", order)
			}
		}
	})
}
