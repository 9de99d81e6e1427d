package evidence

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/worm"
)

var update = flag.Bool("update", false, "rewrite golden files")

// counting counts reads.
type counting struct {
	worm.Store
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key, limit)
}

// at is a clock that tests move.
type at struct{ now atomic.Int64 }

func (c *at) set(t time.Time)         { c.now.Store(t.UnixNano()) }
func (c *at) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *at) advance(d time.Duration) { c.now.Add(int64(d)) }

func TestFind(t *testing.T) {
	w := newWorld(t)
	clock := &at{}
	clock.set(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
	cfg := w.config("gw-1")
	cfg.Clock = clock.Now
	home := w.open(t, cfg)
	cfg.Name = "gw-2"
	away := w.open(t, cfg)
	ids := make([]string, 300)
	for i := range ids {
		clock.advance(time.Second)
		ids[i] = NewQueryID(home.Writer(), clock.Now())
		_, err := home.Append(t.Context(), &Record{Type: TypeIntent, QueryID: ids[i]})
		must(t, err)
		_, err = home.Append(t.Context(), &Record{Type: TypeOutcome, QueryID: ids[i], Result: &Result{Status: "failed"}})
		must(t, err)
	}
	// The last steps of one query happen on another gateway, and much later.
	_, err := away.Append(t.Context(), &Record{Type: TypeApprovalDecided, QueryID: ids[7]})
	must(t, err)
	clock.advance(time.Hour)
	for _, l := range []*Log{home, away} {
		_, err := l.Append(t.Context(), &Record{Type: TypeOutcome, QueryID: ids[7], Result: &Result{Status: "failed"}})
		must(t, err)
	}
	store := &counting{Store: w.store}
	reader := NewReader(store, w.trusted)
	for i, id := range ids {
		store.gets.Store(0)
		records, err := reader.Find(t.Context(), id)
		must(t, err)
		want := 2
		if i == 7 {
			want = 5
		}
		if len(records) != want || records[0].Type != TypeIntent {
			t.Fatalf("query %d: %d records", i, len(records))
		}
		if n := store.gets.Load(); n > 60 {
			t.Errorf("query %d took %d reads", i, n)
		}
		record, err := reader.FindRecord(t.Context(), records[1].ID)
		must(t, err)
		if record.ID != records[1].ID {
			t.Errorf("record %s found as %s", records[1].ID, record.ID)
		}
	}
	for _, id := range []string{"", "q_", "x", NewQueryID(home.Writer(), clock.Now()), NewQueryID("nobody", clock.Now()),
		strings.ToUpper(ids[0]), ids[0] + "0", "../../" + ids[0]} {
		if records, err := reader.Find(t.Context(), id); err != nil || len(records) > 0 {
			t.Errorf("%q: %d records, %v", id, len(records), err)
		}
	}
	for _, id := range []string{"", "x", home.Writer(), home.Writer() + ".99999", home.Writer() + ".01", "a.1"} {
		if _, err := reader.FindRecord(t.Context(), id); !errors.Is(err, worm.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestRecords(t *testing.T) {
	w := newWorld(t)
	clock := &at{}
	start := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	clock.set(start)
	cfg := w.config("gw-1")
	cfg.Clock = clock.Now
	logs := []*Log{w.open(t, cfg)}
	cfg.Name = "gw-2"
	logs = append(logs, w.open(t, cfg))
	for i := range 40 {
		clock.advance(time.Minute)
		_, err := logs[i%2].Append(t.Context(), &Record{Type: TypeRejected, SessionID: fmt.Sprint("s", i%4),
			Connection: []string{"clinic", "billing"}[i/20], Actor: &Actor{Subject: fmt.Sprint("p", i%3), Issuer: "iss"}})
		must(t, err)
	}
	reader := NewReader(w.store, w.trusted)
	count := func(f Filter) int {
		t.Helper()
		n := 0
		last := time.Time{}
		must(t, reader.Records(t.Context(), f, func(r *Record) bool {
			if r.Time.Before(last) {
				t.Error("records out of order")
			}
			last = r.Time
			n++
			return true
		}))
		return n
	}
	tests := []struct {
		f    Filter
		want int
	}{
		{Filter{}, 43},
		{Filter{Since: start.Add(30 * time.Second)}, 40},
		{Filter{Since: start.Add(10 * time.Minute), Until: start.Add(20 * time.Minute)}, 10},
		{Filter{Until: start}, 0},
		{Filter{SessionID: "s1"}, 10},
		{Filter{Principal: "p0"}, 14},
		{Filter{Principal: "iss#p0", Connection: "clinic"}, 7},
		{Filter{QueryID: "q_none"}, 0},
	}
	for _, test := range tests {
		if got := count(test.f); got != test.want {
			t.Errorf("%+v: %d records, want %d", test.f, got, test.want)
		}
	}
	n := 0
	must(t, reader.Records(t.Context(), Filter{}, func(*Record) bool { n++; return n < 5 }))
	if n != 5 {
		t.Errorf("yield was called %d times after it said stop", n)
	}
	writers, err := reader.Writers(t.Context())
	must(t, err)
	if len(writers) != 2 || writers[0].Instance != "gw-1" || writers[0].GatewayVersion != "test" {
		t.Errorf("writers %+v", writers)
	}
}

func TestTail(t *testing.T) {
	w := newWorld(t)
	reader := NewReader(w.store, w.trusted)
	ago := time.Now().Add(-time.Hour)
	left, err := reader.Tail(t.Context(), "gw-1", "", ago)
	must(t, err)
	if left.PredecessorWriter != "" {
		t.Errorf("left %+v", left)
	}
	first := w.open(t, w.config("gw-1"))
	query(t, first) // complete
	lease := &Lease{ID: "lease-1", Username: "v-1", Access: "ro"}
	id := NewQueryID(first.Writer(), time.Now())
	_, err = first.Append(t.Context(), &Record{Type: TypeIntent, QueryID: id, Connection: "clinic"})
	must(t, err)
	// Approved and begun a second time: the second intent has no outcome.
	approved := NewQueryID(first.Writer(), time.Now())
	for _, kind := range []Type{TypeIntent, TypeApprovalRequested, TypeIntent} {
		_, err = first.Append(t.Context(), &Record{Type: kind, QueryID: approved, Connection: "clinic"})
		must(t, err)
	}
	must(t, first.AppendAsync(&Record{Type: TypeLeaseIssued, QueryID: id, Connection: "clinic", Lease: lease}))
	must(t, first.Flush(t.Context()))
	first.kill()

	second := w.open(t, w.config("gw-1"))
	left, err = reader.Tail(t.Context(), "gw-1", second.Writer(), ago)
	must(t, err)
	if left.PredecessorWriter != first.Writer() || !left.UncleanEnd || len(left.Leases) != 1 || len(left.Intents) != 2 ||
		left.Leases[0].Lease.ID != "lease-1" || left.Leases[0].Connection != "clinic" || left.Intents[0].QueryID != id ||
		left.Intents[1].QueryID != approved || time.Since(left.LastSeen) > time.Minute {
		t.Errorf("left %+v", left)
	}
	// The second start settles half of it and dies; the third sees the rest.
	_, err = second.Append(t.Context(), &Record{Type: TypeLeaseRevoked, Lease: lease})
	must(t, err)
	_, err = second.Append(t.Context(), &Record{Type: TypeRecovered, QueryID: approved})
	must(t, err)
	second.kill()
	third := w.open(t, w.config("gw-1"))
	left, err = reader.Tail(t.Context(), "gw-1", third.Writer(), ago)
	must(t, err)
	if left.PredecessorWriter != second.Writer() || len(left.Leases) != 0 || len(left.Intents) != 1 || left.Intents[0].QueryID != id {
		t.Errorf("left %+v", left)
	}
	left, err = reader.Tail(t.Context(), "gw-1", third.Writer(), time.Now().Add(time.Hour))
	must(t, err)
	if len(left.Intents) != 0 || !left.UncleanEnd {
		t.Errorf("beyond the age: %+v", left)
	}
	closeLog(t, third)
	if left, err = reader.Tail(t.Context(), "gw-1", "", time.Now().Add(time.Hour)); err != nil || left.UncleanEnd {
		t.Errorf("after a clean end: %+v, %v", left, err)
	}
	// Another instance whose name begins alike is not ours.
	if left, err = reader.Tail(t.Context(), "gw", "", ago); err != nil || left.PredecessorWriter != "" {
		t.Errorf("another instance: %+v, %v", left, err)
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	clock := &at{}
	clock.set(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
	cfg := w.config("gw-1")
	cfg.Clock = clock.Now
	l := w.open(t, cfg)
	step := func(r *Record) {
		t.Helper()
		clock.advance(1500 * time.Millisecond)
		if r.Type == TypeIntent || r.Type == TypeOutcome {
			r.SessionID, r.Connection, r.PurposeOfUse = "crew-7", "clinic", "TREAT"
			r.Actor = &Actor{Subject: "agent-1", Issuer: "iss", ClientID: "crew", OnBehalfOf: "dr-lee", RemoteAddr: "10.0.0.7"}
			r.Statement = &Statement{SHA256: "00", Normalized: "SELECT name, ssn\nFROM patients WHERE id = $1"}
			r.Decision = &Decision{Effect: "approve", Rules: []string{"bulk-export"}, Message: "many rows"}
		}
		_, err := l.Append(t.Context(), r)
		must(t, err)
	}
	id := NewQueryID(l.Writer(), clock.Now())
	lease := &Lease{ID: "l", Username: "v-clinic-ab12", Access: "ro"}
	began, ended := clock.Now().UTC(), clock.Now().Add(12*time.Millisecond).UTC()
	signedIn := clock.Now()
	rows := `[["\u001b[2JAda","[redacted]"],["` + strings.Repeat("long ", 20) + `",null]` + strings.Repeat(`,["x",4.5]`, 20) + `]`
	step(&Record{Type: TypeIntent, QueryID: id, Secret: &Secret{Statement: "SELECT name, ssn FROM patients WHERE id = 4242", Reason: "chart review"}})
	step(&Record{Type: TypeApprovalRequested, QueryID: id})
	clock.advance(4*time.Minute + 10*time.Second)
	step(&Record{Type: TypeApprovalDecided, QueryID: id, Approval: &Approval{Decision: "approve"},
		Actor: &Actor{Subject: "boss", Name: "Dr Boss", AuthTime: &signedIn}})
	step(&Record{Type: TypeApprovalClaimed, QueryID: id})
	step(&Record{Type: TypeLeaseIssued, QueryID: id, Lease: lease})
	step(&Record{Type: TypeOutcome, QueryID: id, Lease: lease, Approval: &Approval{Decision: "approve", Approvers: []string{"iss#boss"}},
		Result: &Result{Status: "succeeded", Command: "SELECT", RowCount: 22, Affected: -1, Started: &began, Ended: &ended,
			Masks: map[string]int64{"redact": 22}, Columns: []byte(`[{"name":"name"},{"name":"ssn"}]`), Rows: []byte(rows)}})
	step(&Record{Type: TypeLeaseRevoked, QueryID: id, Lease: lease})
	denied := NewQueryID(l.Writer(), clock.Now())
	step(&Record{Type: TypeOutcome, QueryID: denied, Result: &Result{Status: "denied", Code: "denied_by_policy", Affected: -1}})

	reader := NewReader(w.store, w.trusted)
	var session, single bytes.Buffer
	must(t, Replay(t.Context(), reader, "crew-7", &session))
	must(t, Replay(t.Context(), reader, id, &single))
	if !strings.Contains(session.String(), strings.TrimSpace(single.String())) {
		t.Error("the session's story does not hold the query's")
	}
	got := regexp.MustCompile(`q_[0-9a-v]+`).ReplaceAllString(session.String(), "q_ID")
	golden := filepath.Join("testdata", "replay.golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if strings.ContainsRune(got, '\x1b') {
		t.Error("a control character reached the terminal")
	}
	if strings.Contains(got, "4242") {
		t.Error("a literal is told without an identity")
	}
	var opened bytes.Buffer
	must(t, Replay(t.Context(), reader, id, &opened, w.identity))
	for _, want := range []string{"statement  SELECT name, ssn FROM patients WHERE id = $1", "exactly    SELECT name, ssn FROM patients WHERE id = 4242", "reason     chart review"} {
		if !strings.Contains(opened.String(), want) {
			t.Errorf("with the auditor's identity %q is missing:\n%s", want, opened.String())
		}
	}
	other, err := age.GenerateX25519Identity()
	must(t, err)
	if err := Replay(t.Context(), reader, id, &opened, other); err == nil {
		t.Error("another identity opened it")
	}
	for _, none := range []string{"nobody", "", NewQueryID(l.Writer(), clock.Now())} {
		if err := Replay(t.Context(), reader, none, &session); !errors.Is(err, worm.ErrNotFound) {
			t.Errorf("%q: %v", none, err)
		}
	}
}
