package forward

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// fake is a receiver that answers as a test says.
type fake struct {
	mu     sync.Mutex
	got    []string // ids, in order
	bodies []string
	calls  [][]string
	answer func(events []Event) (int, error)
}

func (f *fake) Deliver(ctx context.Context, events []Event) (int, error) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	taken, err := len(events), error(nil)
	if answer != nil {
		taken, err = answer(events)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for i := range events {
		ids = append(ids, events[i].ID)
	}
	f.calls = append(f.calls, ids)
	for i := range events[:taken] {
		f.got, f.bodies = append(f.got, events[i].ID), append(f.bodies, string(events[i].Body))
	}
	return taken, err
}

func (f *fake) Check(context.Context) error { return nil }
func (f *fake) Close()                      {}

func (f *fake) set(answer func([]Event) (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *fake) has(suffix string) bool {
	return slices.ContainsFunc(f.ids(), func(id string) bool { return strings.HasSuffix(id, suffix) })
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *world) forward(t testing.TB, log *evidence.Log, sink Sink, change func(*Destination, *Config, *pace)) (*Forwarder, *logged) {
	t.Helper()
	out := &logged{}
	d := Destination{Name: "siem", Sink: sink}
	cfg := Config{Reader: w.reader(t), Writer: log.Writer(), Dir: w.Cursors, Encode: encodeAll, Logger: slog.New(slog.NewTextHandler(out, nil))}
	p := brisk
	if change != nil {
		change(&d, &cfg, &p)
	}
	cfg.Destinations = []Destination{d}
	f, err := start(cfg, p)
	must(t, err)
	t.Cleanup(func() {
		select {
		case <-f.closing:
		default:
			stopNow(f)
		}
	})
	return f, out
}

// stopNow ends forwarding without waiting for anything.
func stopNow(f *Forwarder) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	f.Close(ctx)
}

func write(t testing.TB, l *evidence.Log, n int) {
	t.Helper()
	for i := range n {
		must(t, l.AppendAsync(outcome(i)))
	}
	must(t, l.Flush(t.Context()))
}

func closeLog(t testing.TB, l *evidence.Log) {
	t.Helper()
	must(t, l.Close(t.Context()))
}

// TestInOrderToTheEnd: everything arrives in order, once, and closing waits for
// writer.closed.
func TestInOrderToTheEnd(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	f, _ := w.forward(t, log, sink, func(d *Destination, _ *Config, _ *pace) { d.MaxRecords = 3 })
	write(t, log, 1000)
	closeLog(t, log)
	f.Close(t.Context())
	want := w.records(t)
	got := sink.ids()
	if len(got) != len(want) || !sink.has(".0") {
		t.Fatalf("%d of %d records", len(got), len(want))
	}
	for i, id := range got {
		if want[id] != sink.bodies[i] || !strings.HasSuffix(id, "."+strconv.Itoa(i)) {
			t.Fatalf("record %d is %s: %s", i, id, sink.bodies[i])
		}
	}
	for _, call := range sink.calls {
		if len(call) > 3 {
			t.Errorf("%d records at once", len(call))
		}
	}
	if st := f.Status()[0]; st.Forwarded != uint64(len(want)) || st.Behind != 0 || !st.Oldest.IsZero() || st.LastSuccess.IsZero() {
		t.Errorf("%+v", st)
	}
	if strings.Contains(strings.Join(sink.bodies, ""), canary) {
		t.Error("what is not clear left")
	}
}

// TestWhatIsRefused: one bad record costs itself alone, wherever it is in a
// batch, and is named in the log.
func TestWhatIsRefused(t *testing.T) {
	for _, first := range []bool{false, true} {
		w, sink := newWorld(t), &fake{}
		log := w.log(t, "gw-1")
		bad := func(id string) bool {
			return strings.HasSuffix(id, ".13") || strings.HasSuffix(id, ".50") || strings.HasSuffix(id, ".51")
		}
		sink.set(func(events []Event) (int, error) {
			for i := range events {
				switch {
				case bad(events[i].ID) && first:
					return i, &refused{first: true, reason: "the receiver answers 400"}
				case bad(events[i].ID):
					return 0, &refused{reason: "the receiver answers 400"}
				}
			}
			return len(events), nil
		})
		write(t, log, 100)
		f, out := w.forward(t, log, sink, nil)
		closeLog(t, log)
		f.Close(t.Context())
		if want := len(w.records(t)) - 3; len(sink.ids()) != want || f.Status()[0].Skipped != 3 {
			t.Errorf("%d records, want %d; %+v", len(sink.ids()), want, f.Status()[0])
		}
		if !strings.Contains(out.String(), log.Writer()+".13") {
			t.Error("the record that was given up is not named")
		}
		if len(sink.calls) > 60 {
			t.Errorf("%d deliveries to find three records", len(sink.calls))
		}
	}
}

// TestARecordThatCannotBeEncoded costs itself alone.
func TestARecordThatCannotBeEncoded(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	write(t, log, 10)
	f, _ := w.forward(t, log, sink, func(_ *Destination, cfg *Config, _ *pace) {
		cfg.Encode = func(dst []byte, r *evidence.Record) ([]byte, error) {
			if r.Sequence == 5 {
				return nil, errors.New("a defect")
			}
			return encodeAll(dst, r)
		}
	})
	closeLog(t, log)
	f.Close(t.Context())
	if want := len(w.records(t)) - 1; len(sink.ids()) != want || f.Status()[0].Skipped != 1 || sink.has(".5") {
		t.Errorf("%d records, want %d; %+v", len(sink.ids()), want, f.Status()[0])
	}
}

// TestARefuserOfEverything: a receiver that refuses all is most likely the wrong
// one. It costs some records and then one in each long pause, not all.
func TestARefuserOfEverything(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	write(t, log, 100)
	sink.set(func([]Event) (int, error) { return 0, &refused{reason: "the receiver answers 400"} })
	f, out := w.forward(t, log, sink, func(_ *Destination, _ *Config, p *pace) { p.refused = 400 * time.Millisecond })
	eventually(t, 10*time.Second, "it is held", func() bool { return f.Status()[0].Skipped >= freely })
	time.Sleep(300 * time.Millisecond)
	if n := f.Status()[0].Skipped; n > freely+1 {
		t.Errorf("%d records were given up", n)
	}
	eventually(t, 10*time.Second, "it does not stand still for ever", func() bool { return f.Status()[0].Skipped > freely })
	if !strings.Contains(out.String(), "refuses everything") {
		t.Error("nobody is told")
	}
	sink.set(nil)
	closeLog(t, log)
	eventually(t, 10*time.Second, "the others arrive", func() bool { return uint64(len(sink.ids()))+f.Status()[0].Skipped == uint64(len(w.records(t))) })
}

// TestPartialSuccess: what a receiver rejected for good is counted and not sent
// again.
func TestPartialSuccess(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	write(t, log, 20)
	sink.set(func(events []Event) (int, error) { return len(events), &partial{2} })
	f, _ := w.forward(t, log, sink, func(d *Destination, _ *Config, _ *pace) { d.MaxRecords = 1000 })
	eventually(t, 5*time.Second, "they are taken", func() bool { return sink.has(".20") })
	sink.set(nil)
	closeLog(t, log)
	f.Close(t.Context())
	if n := len(w.records(t)); len(sink.ids()) != n || f.Status()[0].Rejected == 0 {
		t.Errorf("%d of %d records, %+v", len(sink.ids()), n, f.Status()[0])
	}
}

// TestAReceiverThatHangs slows no Append, and closing does not wait for it; how
// much waits is known meanwhile.
func TestAReceiverThatHangs(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	appends := func() time.Duration {
		began := time.Now()
		for i := range 50 {
			_, err := log.Append(t.Context(), outcome(i))
			must(t, err)
		}
		return time.Since(began)
	}
	without := appends()
	hang := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(hang) }) }
	defer release()
	sink.set(func([]Event) (int, error) { <-hang; return 0, errors.New("at last") })
	f, _ := w.forward(t, log, sink, nil)
	eventually(t, 5*time.Second, "it hangs", func() bool { return f.Status()[0].Behind > 0 })
	with := appends()
	if with > 5*without+500*time.Millisecond {
		t.Errorf("50 appends took %v, and %v without forwarding", with, without)
	}
	f.destinations[0].measure(t.Context())
	st := f.Status()[0]
	if st.Behind != 101 || time.Since(st.Oldest) > time.Minute || st.Oldest.IsZero() {
		t.Errorf("of 101 records %d wait, since %v", st.Behind, st.Oldest)
	}
	closeLog(t, log)
	began := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	go func() { <-ctx.Done(); release() }() // a Sink ends with its context; this one is told
	f.Close(ctx)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
}

// TestClosingWhileItIsDown ends at once.
func TestClosingWhileItIsDown(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	sink.set(func([]Event) (int, error) { return 0, errors.New("down") })
	f, _ := w.forward(t, log, sink, func(_ *Destination, _ *Config, p *pace) { p.first, p.most = time.Hour, time.Hour })
	eventually(t, 5*time.Second, "it failed", func() bool { return f.Status()[0].Failures > 0 })
	closeLog(t, log)
	began := time.Now()
	f.Close(t.Context())
	if took := time.Since(began); took > time.Second {
		t.Errorf("closing took %v", took)
	}
	// The next start of the instance sends it all.
	sink.set(nil)
	next := w.log(t, "gw-1")
	g, _ := w.forward(t, next, sink, nil)
	eventually(t, 5*time.Second, "the predecessor's records arrive", func() bool { return slices.Contains(sink.ids(), log.Writer()+".1") })
	stopNow(g)
}

// TestCursor: what is lost or damaged leads to repetition, never to a gap.
func TestCursor(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	file := filepath.Join(w.Cursors, "siem.json")
	life := func(change func(*Destination, *Config, *pace)) (writer string, got []string) {
		log := w.log(t, "gw-1")
		before := len(sink.ids())
		write(t, log, 3)
		f, _ := w.forward(t, log, sink, change)
		eventually(t, 5*time.Second, "its records arrive", func() bool { return slices.Contains(sink.ids(), log.Writer()+".3") })
		eventually(t, 5*time.Second, "nothing waits", func() bool { return f.Status()[0].Behind == 0 })
		closeLog(t, log)
		f.Close(t.Context())
		return log.Writer(), sink.ids()[before:]
	}
	count := func(got []string, writer string) (n int) {
		for _, id := range got {
			if strings.HasPrefix(id, writer+".") {
				n++
			}
		}
		return n
	}
	first, got := life(nil)
	if count(got, first) != 5 {
		t.Fatalf("the first start forwards %v", got)
	}
	second, got := life(nil)
	if count(got, second) != 5 || count(got, first) != 0 {
		t.Errorf("after a start with the cursor: %v", got)
	}
	must(t, os.Remove(file))
	third, got := life(nil)
	if count(got, third) != 5 || len(got) != 5 {
		t.Errorf("without a cursor and since: %v", got)
	}
	for _, text := range []string{"", "{", `{"version":1}`, `{"version":2,"logs":{}}`, "\x00\x00"} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if _, got = life(nil); count(got, first) != 5 || count(got, second) != 5 || count(got, third) != 5 {
			t.Errorf("with the damaged cursor %q: %v", text, got)
		}
	}
	must(t, os.Remove(file))
	start, _ := evidence.WriterStart(third)
	if _, got = life(func(d *Destination, _ *Config, _ *pace) { d.Since = start }); count(got, first) != 0 || count(got, third) != 5 {
		t.Errorf("since the third start: %v", got)
	}
	must(t, os.WriteFile(file+".tmp-1", nil, 0o600))
	must(t, os.Chtimes(file+".tmp-1", time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)))
	life(nil)
	if left, _ := filepath.Glob(file + ".tmp-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestScope: an instance forwards its own logs, or everybody's.
func TestScope(t *testing.T) {
	w, own, all := newWorld(t), &fake{}, &fake{}
	other := w.log(t, "gw-1-b") // gw-1 is a prefix of it
	log := w.log(t, "gw-1")
	f, _ := w.forward(t, log, own, nil)
	g, _ := w.forward(t, log, all, func(d *Destination, _ *Config, _ *pace) {
		d.Name, d.All = "all", true
		d.Since, _ = evidence.WriterStart(other.Writer())
	})
	write(t, other, 3)
	write(t, log, 3)
	eventually(t, 5*time.Second, "both arrive", func() bool {
		return slices.Contains(all.ids(), other.Writer()+".3") && slices.Contains(all.ids(), log.Writer()+".3") && slices.Contains(own.ids(), log.Writer()+".3")
	})
	if slices.ContainsFunc(own.ids(), func(id string) bool { return strings.HasPrefix(id, other.Writer()) }) {
		t.Error("the other instance's records were forwarded")
	}
	stopNow(f)
	stopNow(g)
}

// TestAnUnreadableLog holds up no other, is reported, and forwarded once it can
// be read.
func TestAnUnreadableLog(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	dead := w.log(t, "gw-1")
	write(t, dead, 3)
	closeLog(t, dead)
	files, err := filepath.Glob(filepath.Join(w.Store, "evidence", dead.Writer(), "segments", "*"))
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there is no segment to change")
	}
	whole, err := os.ReadFile(files[0])
	must(t, err)
	change := func(body []byte) {
		must(t, os.Chmod(files[0], 0o600))
		must(t, os.WriteFile(files[0], body, 0o400))
	}
	change([]byte(strings.Replace(string(whole), "writer.started", "writer.stirred", 1)))
	log := w.log(t, "gw-1")
	f, out := w.forward(t, log, sink, func(d *Destination, _ *Config, _ *pace) { d.Since, _ = evidence.WriterStart(dead.Writer()) })
	write(t, log, 3)
	eventually(t, 5*time.Second, "the own records arrive", func() bool { return slices.Contains(sink.ids(), log.Writer()+".3") })
	eventually(t, 5*time.Second, "it is counted", func() bool { return f.Status()[0].Unreadable == 1 })
	if !strings.Contains(out.String(), dead.Writer()) {
		t.Error("it is not named in the log")
	}
	change(whole)
	eventually(t, 5*time.Second, "it is forwarded after all", func() bool { return slices.Contains(sink.ids(), dead.Writer()+".3") && f.Status()[0].Unreadable == 0 })
	stopNow(f)
}

// TestCompaction: logs that are done are forgotten a day later, and not taken for
// new ones.
func TestCompaction(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	name := func(ago time.Duration) string { // as evidence names writers: milliseconds in base 36
		return "gw-1-0" + strconv.FormatInt(now.Add(-ago).UnixMilli(), 36) + "-00000000"
	}
	old, open, young := name(72*time.Hour), name(48*time.Hour), name(time.Hour)
	s := state{Version: stateVersion, Logs: map[string]cursor{old: {Done: true}, open: {}, young: {Done: true}}}
	s.compact(now)
	if _, there := s.Logs[old]; there || len(s.Logs) != 2 {
		t.Errorf("%v", s.Logs)
	}
	start, _ := evidence.WriterStart(open)
	if oldStart, _ := evidence.WriterStart(old); s.Floor.Before(oldStart) || !start.After(s.Floor) {
		t.Errorf("the floor is %v", s.Floor)
	}
	before := s.Floor
	s.compact(time.Time{}) // never listed
	if s.Floor != before || len(s.Logs) != 2 {
		t.Error("a floor moved without a listing")
	}
	s.Logs[open] = cursor{Done: true}
	s.compact(now)
	if len(s.Logs) != 1 || s.Floor.After(now.Add(-24*time.Hour)) {
		t.Errorf("%v, floor %v", s.Logs, s.Floor)
	}
}

// TestALongLivedLog that says nothing when a destination is new is not dead.
func TestALongLivedLog(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	other := w.log(t, "gw-2")
	log := w.log(t, "gw-1")
	// Two months later, as the forwarder sees it.
	later := func() time.Time { return time.Now().Add(2 * dead) }
	f, _ := w.forward(t, log, sink, func(d *Destination, cfg *Config, _ *pace) {
		d.All, d.Since, cfg.Clock = true, later().Add(-time.Minute), later
	})
	eventually(t, 5*time.Second, "both logs are known", func() bool { return len(f.destinations[0].pending()) == 2 })
	time.Sleep(100 * time.Millisecond) // it looks at them
	for name, c := range f.destinations[0].pending() {
		if c.Segment == 0 {
			t.Errorf("%s is followed from its beginning", name)
		}
	}
	if n := len(f.destinations[0].pending()); n != 2 {
		t.Errorf("%d of 2 logs are followed", n)
	}
	write(t, other, 1)
	eventually(t, 5*time.Second, "what it says then arrives", func() bool { return sink.has(".1") })
	stopNow(f)
}

// TestTooMuchAtOnce: what fails again and again is tried in smaller pieces.
func TestTooMuchAtOnce(t *testing.T) {
	w, sink := newWorld(t), &fake{}
	log := w.log(t, "gw-1")
	write(t, log, 100)
	sink.set(func(events []Event) (int, error) {
		if len(events) > 10 {
			return 0, context.DeadlineExceeded
		}
		return len(events), nil
	})
	f, _ := w.forward(t, log, sink, nil)
	closeLog(t, log)
	eventually(t, 10*time.Second, "all arrive", func() bool { return len(sink.ids()) == len(w.records(t)) })
	stopNow(f)
}
