package evidence

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// TestObserved: what one gateway does to its own past, with its own key, another
// gateway's log tells.
func TestObserved(t *testing.T) {
	w := newWorld(t)
	one := w.open(t, w.config("gw-1"))
	query(t, one)
	must(t, one.Flush(t.Context()))
	cfg := w.config("gw-2")
	cfg.Observe = 20 * time.Millisecond
	two := w.open(t, cfg)
	query(t, one)
	must(t, one.Flush(t.Context()))
	one.mu.Lock()
	want := one.number
	one.mu.Unlock()
	waitObserved(t, w, two.Writer(), one, want)
	query(t, one)
	closeLog(t, one)
	closeLog(t, two)
	wantKinds(t, w.store, w, Options{})

	found := wantKinds(t, rewrite(t, w, one.Writer(), sanctify), w, Options{}, KindForked)
	if !strings.HasPrefix(found[0].Object, segmentPrefix(one.Writer())) || !strings.Contains(found[0].Message, two.Writer()) {
		t.Errorf("rewritten: %+v", found)
	}
	found = wantKinds(t, without{without{w.store, announcementKey(one.Writer())}, root + one.Writer()}, w, Options{}, KindMissing)
	if found[0].Object != announcementKey(one.Writer()) {
		t.Errorf("removed: %+v", found)
	}
	// The whole end, with the record that it was closed: the writer seems to run.
	cut := w.store
	for n := want - 1; n < want+8; n++ {
		cut = without{cut, segmentKey(one.Writer(), n)}
	}
	found = wantKinds(t, cut, w, Options{}, KindCut)
	if found[0].Object != segmentKey(one.Writer(), want-1) {
		t.Errorf("cut: %+v", found)
	}
}

// waitObserved waits until a log tells that another one has so many segments.
func waitObserved(t *testing.T, w *world, by string, of *Log, segments uint64) {
	t.Helper()
	reader := NewReader(w.store, w.trusted)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		seen := false
		for r, err := range reader.sequence(t.Context(), by, 0) {
			must(t, err)
			for _, o := range r.Observed {
				if o.Writer == of.Writer() && o.Checkpoint != "" {
					c, err := OpenCheckpoint([]byte(o.Checkpoint), w.trusted)
					must(t, err)
					s, err := reader.segment(t.Context(), o.Writer, segments-1)
					must(t, err)
					seen = seen || c.Size == s.First+s.Count
				}
			}
		}
		if seen {
			return
		}
	}
	t.Fatal("the other gateway's log was not observed")
}

// TestObservesEachOnce: nothing is told twice, and a writer that started since is.
func TestObservesEachOnce(t *testing.T) {
	w := newWorld(t)
	closeLog(t, w.open(t, w.config("gw-1")))
	newest := w.open(t, w.config("gw-1"))
	closeLog(t, newest)
	o := &observer{store: w.store, self: "gw-2-000000000-00000000", seen: make(map[string]*sighting)}
	look := func(want ...string) {
		t.Helper()
		news, err := o.observe(t.Context(), time.Now())
		must(t, err)
		var got []string
		for _, n := range news {
			got = append(got, n.Writer)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("observed %v, want %v", got, want)
		}
	}
	look(newest.Writer())
	o.since = time.Now().Add(time.Hour)
	look()
	o.since = time.Now()
	later := w.open(t, w.config("gw-1"))
	latest := w.open(t, w.config("gw-1"))
	// The first of all started within the slack, too, and was not told.
	if news, err := o.observe(t.Context(), time.Now()); err != nil || len(news) != 3 || news[1].Writer != later.Writer() ||
		news[2].Writer != latest.Writer() {
		t.Errorf("observed %+v, %v", news, err)
	}
	must(t, later.Flush(t.Context()))
	look()
	query(t, later)
	must(t, later.Flush(t.Context()))
	look(later.Writer())
}

// TestForgedApproval: a statement that ran on approval needs the record of it, by
// somebody else than who asked.
func TestForgedApproval(t *testing.T) {
	agent := &Actor{Issuer: "https://idp", Subject: "agent", OnBehalfOf: "bob"}
	ran := func(approvers ...string) func(l *Log, id string) []*Record {
		return func(*Log, string) []*Record {
			return []*Record{
				{Type: TypeIntent, Actor: agent, Decision: &Decision{Effect: "approve"}, Approval: &Approval{Approvers: approvers}},
				{Type: TypeOutcome, Actor: agent, Decision: &Decision{Effect: "approve"}, Approval: &Approval{Approvers: approvers},
					Result: &Result{Status: "succeeded"}},
			}
		}
	}
	decided := func(subject, word string) *Record {
		return &Record{Type: TypeApprovalDecided, Actor: &Actor{Issuer: "https://idp", Subject: subject}, Approval: &Approval{Decision: word}}
	}
	for name, c := range map[string]struct {
		before []*Record
		run    func(l *Log, id string) []*Record
		want   int // findings: the intent and the outcome
	}{
		"approved":            {[]*Record{decided("carol", "approve")}, ran("https://idp#carol"), 0},
		"by two":              {[]*Record{decided("carol", "approve"), decided("dan", "approve")}, ran("https://idp#carol", "https://idp#dan"), 0},
		"never decided":       {nil, ran("https://idp#carol"), 2},
		"denied":              {[]*Record{decided("carol", "deny")}, ran("https://idp#carol"), 2},
		"by another":          {[]*Record{decided("mallory", "approve")}, ran("https://idp#carol"), 2},
		"by the agent itself": {[]*Record{decided("agent", "approve")}, ran("https://idp#agent"), 2},
		"by whom it acts for": {[]*Record{decided("bob", "approve")}, ran("https://idp#bob"), 2},
		"by nobody":           {[]*Record{decided("carol", "approve")}, ran(), 1},
		"one of two":          {[]*Record{decided("carol", "approve")}, ran("https://idp#carol", "https://idp#dan"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l, approver := w.open(t, w.config("gw-1")), w.open(t, w.config("gw-2"))
			id := NewQueryID(l.Writer(), time.Now())
			for _, r := range c.before {
				r.QueryID = id
				_, err := approver.Append(t.Context(), r)
				must(t, err)
			}
			for _, r := range c.run(l, id) {
				r.QueryID = id
				_, err := l.Append(t.Context(), r)
				must(t, err)
			}
			closeLog(t, l)
			closeLog(t, approver)
			report := verify(t, w, Options{})
			if len(report.Findings) != c.want {
				t.Errorf("findings %+v", report.Findings)
			}
			for _, f := range report.Findings {
				if f.Kind != KindOrder || f.Record == "" || !strings.HasPrefix(f.Object, segmentPrefix(l.Writer())) {
					t.Errorf("finding %+v", f)
				}
			}
		})
	}
}

// replaced shows a store in which an object has another body.
type replaced struct {
	worm.Store
	key  string
	body []byte
}

func (s replaced) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if key == s.key {
		return worm.Object{Body: s.body}, nil
	}
	return s.Store.Get(ctx, key, limit)
}

// TestAnnouncementCommitted: the first record commits to the announcement, so that
// who has the key cannot announce something else later, alone on the store.
func TestAnnouncementCommitted(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	closeLog(t, l)
	wantKinds(t, w.store, w, Options{})
	key := announcementKey(l.Writer())
	object, err := w.store.Get(t.Context(), key, 0)
	must(t, err)
	a, err := readAnnouncement(object.Body)
	must(t, err)
	a.GatewayVersion = "another"
	body, err := a.encode(w.signer)
	must(t, err)
	found := wantKinds(t, replaced{w.store, key, body}, w, Options{}, KindContent)
	if found[0].Object != key {
		t.Errorf("found %+v", found)
	}
}
