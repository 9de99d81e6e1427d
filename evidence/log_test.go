package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

func TestAppendIsDurable(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	id := query(t, l)
	reader := NewReader(w.store, w.trusted)
	records, err := reader.Find(t.Context(), id)
	must(t, err)
	var types []Type
	for _, r := range records {
		types = append(types, r.Type)
		if !strings.HasPrefix(r.ID, l.Writer()+".") || r.Time.IsZero() {
			t.Errorf("record %+v", r)
		}
	}
	if got := fmt.Sprint(types); !strings.HasPrefix(got, "[query.intent lease.issued query.outcome") {
		t.Errorf("found %s", got)
	}
	if records[0].Secret != nil || len(records[0].Sealed) == 0 {
		t.Error("the secret was not sealed")
	}
	secret, err := OpenSealed(&records[0], identities(w))
	must(t, err)
	if secret.Statement != "SELECT ssn FROM patients WHERE id = 4242" {
		t.Errorf("opened %+v", secret)
	}
	closeLog(t, l)
	if _, err := l.Append(t.Context(), &Record{Type: TypeIntent}); !errors.Is(err, ErrStopped) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.AppendAsync(&Record{Type: TypeIntent}); !errors.Is(err, ErrStopped) {
		t.Errorf("after Close: %v", err)
	}
}

// TestNothingClear: no literal of a statement is in any object.
func TestNothingClear(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	query(t, l)
	closeLog(t, l)
	n := 0
	must(t, w.store.List(t.Context(), "", "", func(e worm.Entry) bool {
		object, err := w.store.Get(t.Context(), e.Key, 0)
		must(t, err)
		if strings.Contains(string(object.Body), "4242") {
			t.Errorf("%s holds a literal", e.Key)
		}
		n++
		return true
	}))
	if n < 4 {
		t.Errorf("only %d objects", n)
	}
}

// TestLines: a record read from its lines is the one that was written.
func TestLines(t *testing.T) {
	r := Record{Type: TypeOutcome, QueryID: `q_"<type":>`, Note: `"type":"x" & <b> ` + "\u2028", Data: map[string]string{"a": "b\n"},
		Relations: []string{"public.patients"}, Result: &Result{Status: "succeeded", Rows: json.RawMessage(`[["<a>",1.50,"é"]]`)},
		Decision: &Decision{Effect: "approve"}, Approval: &Approval{Decision: "approve", Approvers: []string{"i#carol"}}}
	got, err := linesOf(&r)
	must(t, err)
	r.ID, r.Writer, r.Sequence, r.Time = "w.7", "w", 7, time.Date(2026, 11, 24, 1, 2, 3, 4500000, time.UTC)
	entry, err := entryLine(&r, got.entry)
	must(t, err)
	read, digest, err := decodeEntry(entry)
	must(t, err)
	must(t, decodeBody(read, got.body, digest))
	r.Effect, r.Status, r.Approvers = "approve", "succeeded", []string{"i#carol"}
	want, err := encodeJSON(&r)
	must(t, err)
	if again, err := encodeJSON(read); err != nil || string(again) != string(want) {
		t.Errorf("got  %s\nwant %s", again, want)
	}
	for name, line := range map[string][]byte{"entry": entry, "body": got.body} {
		if !json.Valid(line) || strings.Contains(string(line), "\n") {
			t.Errorf("%s %s", name, line)
		}
	}
	if !strings.Contains(string(got.body), `"<a>",1.50,"é"`) || strings.Contains(string(entry), "1.50") {
		t.Errorf("entry %s\nbody %s", entry, got.body)
	}
	for name, line := range map[string]string{"another": string(got.body) + " ", "none": "", "withheld": withheld} {
		if err := decodeBody(read, []byte(line), digest); !errors.Is(err, errBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, err := linesOf(&r)
	must(t, err)
	if string(again.body) == string(got.body) {
		t.Error("two bodies have the same salt")
	}
	if heartbeat, err := linesOf(&Record{Type: TypeHeartbeat}); err != nil || len(heartbeat.body) > 0 {
		t.Errorf("a heartbeat has the body %q, %v", heartbeat.body, err)
	}
	if _, err := linesOf(&Record{Type: TypeOutcome, Result: &Result{Rows: json.RawMessage("[\"\xff\"]")}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

// TestGroupCommit: an idle log stores one record a segment at once, a busy one
// many, and all are acknowledged once.
func TestGroupCommit(t *testing.T) {
	w := newWorld(t)
	slow := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store, cfg.InFlight = slow, 2
	l := w.open(t, cfg)
	for range 3 {
		_, err := l.Append(t.Context(), &Record{Type: TypeIntent})
		must(t, err)
	}
	slow.mu.Lock()
	if slow.puts != 5 { // announcement, writer.started, three records
		t.Errorf("%d objects for three records one after another", slow.puts)
	}
	slow.puts = 0
	slow.mu.Unlock()
	slow.set(func(context.Context, string) error { time.Sleep(20 * time.Millisecond); return nil }, nil)
	const n = 200
	var seen sync.Map
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			receipt, err := l.Append(t.Context(), &Record{Type: TypeIntent})
			if err != nil {
				t.Error(err)
			}
			if _, twice := seen.LoadOrStore(receipt.RecordID, true); twice {
				t.Errorf("%s was given twice", receipt.RecordID)
			}
			if _, err := w.store.Get(t.Context(), receipt.Segment, 0); err != nil {
				t.Errorf("acknowledged, but not stored: %v", err)
			}
		})
	}
	group.Wait()
	slow.mu.Lock()
	defer slow.mu.Unlock()
	if slow.puts > n/4 {
		t.Errorf("%d segments for %d concurrent records", slow.puts, n)
	}
}

// TestOutage: while the store is away Appends fail, fast after the first; when
// it is back the log goes on without a restart, and has no gap.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	store := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store = store
	l := w.open(t, cfg)
	query(t, l)
	store.set(func(ctx context.Context, _ string) error {
		<-ctx.Done() // the store hangs
		return worm.ErrUnavailable
	}, nil)
	if _, err := l.Append(t.Context(), &Record{Type: TypeIntent, Note: "withheld"}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	start := time.Now()
	if _, err := l.Append(t.Context(), &Record{Type: TypeIntent}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("an Append during the outage took %v", took)
	}
	if err := l.Ready(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ready: %v", err)
	}
	must(t, l.AppendAsync(&Record{Type: TypeLeaseRevoked}))
	store.set(nil, nil)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	must(t, l.Flush(ctx))
	must(t, l.Ready())
	query(t, l)
	closeLog(t, l)
	report := verify(t, w, Options{})
	if len(report.Findings) > 0 {
		t.Errorf("findings: %+v", report.Findings)
	}
}

// TestLaterSegmentsWaitForAGap: a later segment that is stored is not
// acknowledged before an earlier one that is not.
func TestLaterSegmentsWaitForAGap(t *testing.T) {
	w := newWorld(t)
	store := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store, cfg.RetryWindow = store, 5*time.Second
	l := w.open(t, cfg)
	gap := segmentKey(l.Writer(), 1)
	release := make(chan struct{})
	store.set(func(_ context.Context, key string) error {
		if key == gap {
			<-release
		}
		return nil
	}, nil)
	var acknowledged atomic.Int32
	var group sync.WaitGroup
	for range 3 {
		must(t, l.AppendAsync(&Record{Type: TypeHeartbeat}))
		group.Go(func() {
			_, err := l.Append(t.Context(), &Record{Type: TypeIntent})
			if err != nil {
				t.Error(err)
			}
			acknowledged.Add(1)
		})
	}
	for {
		if _, err := w.store.Get(t.Context(), segmentKey(l.Writer(), 3), 0); err == nil {
			break
		}
	}
	if n := acknowledged.Load(); n != 0 {
		t.Errorf("%d records acknowledged behind a gap", n)
	}
	close(release)
	group.Wait()
}

// TestStolenIdentity: other bytes under a key of this writer stop it for good.
func TestStolenIdentity(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	must(t, w.store.Create(t.Context(), segmentKey(l.Writer(), 1), []byte("somebody else's")))
	for range 2 {
		if _, err := l.Append(t.Context(), &Record{Type: TypeIntent}); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v", err)
		}
	}
	if err := l.AppendAsync(&Record{Type: TypeIntent}); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	if err := l.Flush(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
}

// TestLostAnswers: the store keeps an object but says it does not know.
func TestLostAnswers(t *testing.T) {
	w := newWorld(t)
	store := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store = store
	l := w.open(t, cfg)
	var count atomic.Int64
	store.set(nil, func(context.Context, string) error {
		if count.Add(1)%3 == 0 {
			return worm.ErrUnavailable
		}
		return nil
	})
	var group sync.WaitGroup
	var lost atomic.Int64
	for range 60 {
		group.Go(func() {
			if _, err := l.Append(t.Context(), &Record{Type: TypeIntent}); err != nil {
				lost.Add(1)
			}
		})
	}
	group.Wait()
	store.set(nil, nil)
	closeLog(t, l)
	if report := verify(t, w, Options{}); len(report.Findings) > 0 {
		t.Errorf("findings: %+v", report.Findings)
	}
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	store := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store, cfg.QueueBytes, cfg.InFlight = store, 4096, 1
	l := w.open(t, cfg)
	release := make(chan struct{})
	store.set(func(context.Context, string) error { <-release; return nil }, nil)
	full := 0
	for range 200 {
		if err := l.AppendAsync(&Record{Type: TypeLeaseRevoked, Note: strings.Repeat("x", 100)}); errors.Is(err, ErrUnavailable) {
			full++
		} else {
			must(t, err)
		}
	}
	if full < 150 {
		t.Errorf("only %d of 200 records refused by a queue of 4 KiB", full)
	}
	close(release)
	must(t, l.Flush(t.Context()))
	huge := json.RawMessage(`["` + strings.Repeat("x", maxRecord) + `"]`)
	if _, err := l.Append(t.Context(), &Record{Type: TypeOutcome, Result: &Result{Rows: huge}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	large := json.RawMessage(`["` + strings.Repeat("x", 8<<20) + `"]`)
	_, err := l.Append(t.Context(), &Record{Type: TypeOutcome, Result: &Result{Rows: large}})
	must(t, err)
}

func TestHeartbeat(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("gw-1")
	cfg.Heartbeat = 20 * time.Millisecond
	l := w.open(t, cfg)
	key := segmentKey(l.Writer(), 3)
	for deadline := time.Now().Add(5 * time.Second); ; {
		if _, err := w.store.Get(t.Context(), key, 0); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeats")
		}
	}
	closeLog(t, l)
	if report := verify(t, w, Options{}); len(report.Findings) > 0 {
		t.Errorf("findings: %+v", report.Findings)
	}
}

func TestCancelledAppend(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, &Record{Type: TypeIntent}); err != nil && !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	bad := map[string]func(*Config){
		"store": func(c *Config) { c.Store = nil }, "signer": func(c *Config) { c.Signer = nil },
		"auditors": func(c *Config) { c.Auditors = nil }, "logger": func(c *Config) { c.Logger = nil },
		"name": func(c *Config) { c.Name = "A/b" }, "in flight": func(c *Config) { c.InFlight = 65 },
		"reserved name": func(c *Config) { c.Name = "writers" },
	}
	for name, change := range bad {
		cfg := w.config("gw-1")
		change(&cfg)
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
