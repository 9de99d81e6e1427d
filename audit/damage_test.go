package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/audit/audittest"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
)

var all = audittest.Auditor("*")

// alterations of a segment, each of which must be found.
var alterations = map[string]func([]byte) []byte{
	"a cell":      func(b []byte) []byte { return bytes.Replace(b, []byte("023**"), []byte("99999"), 1) },
	"a status":    func(b []byte) []byte { return bytes.Replace(b, []byte(`"succeeded"`), []byte(`"withheld!"`), 1) },
	"who":         func(b []byte) []byte { return bytes.Replace(b, []byte("crew-7"), []byte("crew-8"), 1) },
	"connection":  func(b []byte) []byte { return bytes.Replace(b, []byte("billing"), []byte("cliniic"), 1) },
	"cut":         func(b []byte) []byte { return b[:len(b)/2] },
	"cut by one":  func(b []byte) []byte { return b[:len(b)-1] },
	"empty":       func([]byte) []byte { return nil },
	"text":        func([]byte) []byte { return []byte("<script>alert(1)</script>") },
	"signature":   func(b []byte) []byte { return append(b[:len(b)-9], append([]byte("AAAAAAA="), '\n')...) },
	"a body more": func(b []byte) []byte { return append(b, '\n') },
}

// A segment that was altered is never shown: each way to its records says so, or
// that nothing is there, whether the index was made before or after.
func TestAlteredSegment(t *testing.T) {
	for name, change := range alterations {
		for _, indexed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, indexed before: %v", name, indexed), func(t *testing.T) {
				w := audittest.New(t, 1)
				q := w.Ask(0, "billing", "crew-2")
				w.Ask(0, "billing", "crew-2")
				if indexed {
					must(t, w.Index.Refresh(t.Context()))
				}
				w.Alter(q.OutcomeIn, change)
				checkDamage(t, w, q)
			})
		}
	}
}

// So is one that was removed, if the index had seen it.
func TestRemovedSegment(t *testing.T) {
	w := audittest.New(t, 1)
	q := w.Ask(0, "billing", "crew-2")
	w.Ask(0, "billing", "crew-2")
	must(t, w.Index.Refresh(t.Context()))
	w.Remove(q.OutcomeIn)
	checkDamage(t, w, q)
}

// A segment that was removed before the index was made hides what is behind it, and
// the search says so; one that is late, or that a crash left, is no damage.
func TestGapIsTold(t *testing.T) {
	w := audittest.New(t, 1)
	w.Ask(0, "clinic", "crew-1")
	q := w.Ask(0, "billing", "crew-2")
	w.Ask(0, "clinic", "crew-3")
	kept := w.Take(q.OutcomeIn)
	damaged := func() string {
		results, err := w.Service.Search(t.Context(), all, index.Query{Filter: evidence.Filter{SessionID: "crew-1"}}, audittest.Meta)
		must(t, err)
		if len(results.Found) != 2 {
			t.Errorf("what is before the gap is not found: %d", len(results.Found))
		}
		return results.State.Damaged[q.OutcomeIn]
	}
	if why := damaged(); why != "" {
		t.Errorf("it may be on its way: %q", why)
	}
	w.Pass(2 * time.Minute)
	if why := damaged(); !strings.Contains(why, "the log goes on") {
		t.Errorf("nothing is said of the gap: %q", why)
	}
	must(t, w.Store.Store.Create(t.Context(), q.OutcomeIn, kept))
	w.Pass(10 * time.Minute) // silent logs are looked at less often
	if why := damaged(); why != "" {
		t.Errorf("it is there again: %q", why)
	}
	results, err := w.Service.Search(t.Context(), all, index.Query{Filter: evidence.Filter{SessionID: "crew-3"}}, audittest.Meta)
	must(t, err)
	if len(results.Found) != 2 {
		t.Errorf("what was behind the gap is not found: %d", len(results.Found))
	}
}

// What a crash left behind a gap, and the next start told of, is no damage.
func TestStrandedIsNoDamage(t *testing.T) {
	w := audittest.New(t, 1)
	q := w.Ask(0, "billing", "crew-2")
	w.Ask(0, "clinic", "crew-3")
	w.Take(q.OutcomeIn)
	w.Pass(10 * time.Minute)
	w.Restart("gw-0")
	w.Pass(10 * time.Minute)
	results, err := w.Service.Search(t.Context(), all, index.Query{}, audittest.Meta)
	must(t, err)
	if len(results.State.Damaged) != 0 {
		t.Errorf("%v", results.State.Damaged)
	}
}

func checkDamage(t *testing.T, w *audittest.World, q audittest.Query) {
	t.Helper()
	ctx, s := t.Context(), w.Service
	// The record: refused with the reason, or not found.
	if r, err := s.Record(ctx, all, q.Outcome, audittest.Meta); r != nil || codeOf(err) != gateway.CodeInternal && codeOf(err) != gateway.CodeNotFound {
		t.Errorf("the record: %v %v", r, err)
	}
	if r, err := s.Record(ctx, audittest.Auditor("billing"), q.Outcome, audittest.Meta); r != nil || codeOf(err) != gateway.CodeNotFound {
		t.Errorf("the record, for an auditor of the connection: %v %v", r, err)
	}
	// The query: without the outcome, and with words of it.
	c, err := s.Query(ctx, all, q.ID, audittest.Meta)
	must(t, err)
	if c.Problem == "" && len(c.Broken) == 0 {
		t.Errorf("the query's chain says nothing of the damage: %+v", c.Records)
	}
	for _, r := range c.Records {
		if r.ID == q.Outcome {
			t.Error("the query's chain shows the damaged record")
		}
	}
	// The session: the same.
	session, err := s.Session(ctx, all, "crew-2", 1, audittest.Meta)
	must(t, err)
	i := slices.IndexFunc(session.Chains, func(c audit.Chain) bool { return c.QueryID == q.ID })
	if i < 0 || session.Chains[i].Problem == "" && len(session.Chains[i].Broken) == 0 {
		t.Errorf("the session says nothing of the damage: %+v", session.Chains)
	}
	// The search: not shown as found; told beside it.
	results, err := s.Search(ctx, all, index.Query{Filter: evidence.Filter{SessionID: "crew-2"}}, audittest.Meta)
	must(t, err)
	told := len(results.State.Damaged) > 0
	for _, f := range results.Found {
		if f.Hit.RecordID == q.Outcome {
			told = told || f.Problem != ""
			if f.Record != nil {
				t.Error("the search shows the damaged record")
			}
		}
	}
	if !told {
		t.Error("the search says nothing of the damage")
	}
}

// What was left out of the index is still told after a start with the same index.
func TestDamageIsToldAfterARestart(t *testing.T) {
	w := audittest.New(t, 1)
	q := w.Ask(0, "billing", "crew-2")
	w.Ask(0, "billing", "crew-2")
	w.Alter(q.OutcomeIn, alterations["a status"])
	must(t, w.Index.Refresh(t.Context()))
	must(t, w.Index.Close())
	w.OpenIndex()
	results, err := w.Service.Search(t.Context(), all, index.Query{}, audittest.Meta)
	must(t, err)
	if results.State.Damaged[q.OutcomeIn] == "" {
		t.Errorf("after a restart the search says nothing of a segment that was left out: %v", results.State.Damaged)
	}
}

// A log that no trusted key signed, and one whose segments another key signed than
// the one that it announced, are nobody's evidence.
func TestForgedLog(t *testing.T) {
	for name, forge := range map[string]func(w *audittest.World) audittest.Query{
		"a key that nobody trusts": func(w *audittest.World) audittest.Query {
			own, _ := w.Signer("forger")
			return w.Forge(own, own, "billing", "crew-2")
		},
		"an auditor's key": func(w *audittest.World) audittest.Query {
			return w.Forge(w.Other, w.Eve, "billing", "crew-2")
		},
		"another gateway's key": func(w *audittest.World) audittest.Query {
			own, _ := w.Signer("forger")
			return w.Forge(own, w.Other, "billing", "crew-2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := audittest.New(t, 1)
			w.Ask(0, "billing", "crew-2")
			forged := forge(w)
			if r, err := w.Service.Record(t.Context(), all, forged.Outcome, audittest.Meta); r != nil || err == nil {
				t.Errorf("a forged record is shown: %+v", r)
			}
			c, err := w.Service.Query(t.Context(), all, forged.ID, audittest.Meta)
			if err == nil && (len(c.Records) > 0 || c.Problem == "") {
				t.Errorf("a forged query is shown: %+v", c)
			}
			results, err := w.Service.Search(t.Context(), all, index.Query{Filter: evidence.Filter{SessionID: "crew-2"}}, audittest.Meta)
			must(t, err)
			for _, f := range results.Found {
				if f.Record == nil || f.Record.QueryID == forged.ID {
					t.Errorf("a search finds %+v", f)
				}
			}
			if len(results.Found) != 2 {
				t.Errorf("a search finds %d of 2 records", len(results.Found))
			}
			if len(results.State.Damaged) == 0 {
				t.Error("nothing is said of the forged log")
			}
		})
	}
	// The forging itself is right: of a writer that is trusted it is found.
	w := audittest.New(t, 1)
	q := w.Forge(w.Other, w.Other, "billing", "crew-2")
	if _, err := w.Service.Record(t.Context(), all, q.Outcome, audittest.Meta); err != nil {
		t.Error(err)
	}
}

// Whatever an index says is read again, and what does not match is not shown.
func TestPoisonedIndex(t *testing.T) {
	w := audittest.New(t, 2)
	clinic, billing := w.Ask(0, "clinic", "crew-1"), w.Ask(1, "billing", "crew-2")
	must(t, w.Index.Refresh(t.Context()))
	lies := []index.Hit{
		{RecordID: billing.Outcome, QueryID: billing.ID, Time: w.Now().Add(-time.Hour)},
		{RecordID: billing.Intent, QueryID: clinic.ID, Time: w.Now()},
		{RecordID: clinic.Intent, QueryID: billing.ID, Segment: 7, Time: time.Unix(0, 0)},
		{RecordID: w.Logs[1].Writer() + ".0"}, {RecordID: "nonsense", QueryID: "q_nonsense"}, {RecordID: w.Logs[0].Writer() + ".999999"},
	}
	w.Poison = func(_ index.Query, page *index.Page) { page.Hits = append(page.Hits, lies...) }
	p := audittest.Auditor("clinic")
	results, err := w.Service.Search(t.Context(), p, index.Query{Filter: evidence.Filter{SessionID: "crew-1"}}, audittest.Meta)
	must(t, err)
	for _, f := range results.Found {
		if f.Record != nil && (f.Record.Connection != "clinic" || f.Record.SessionID != "crew-1") {
			t.Errorf("the search shows what the index lied about: %+v", f.Record)
		}
		if f.Record != nil && (f.Hit.QueryID != f.Record.QueryID || !f.Hit.Time.Equal(f.Record.Time)) {
			t.Errorf("the search shows the index's words instead of the record's: %+v", f.Hit)
		}
	}
	results, err = w.Service.Search(t.Context(), p, index.Query{}, audittest.Meta)
	must(t, err)
	for _, f := range results.Found {
		if f.Record != nil && f.Record.Connection != "clinic" {
			t.Errorf("the search shows another connection's record: %+v", f.Record)
		}
	}
	session, err := w.Service.Session(t.Context(), all, "crew-1", 1, audittest.Meta)
	must(t, err)
	for _, c := range session.Chains {
		if c.QueryID != clinic.ID {
			t.Errorf("the session shows %s, which is of another one", c.QueryID)
		}
	}
	c, err := w.Service.Query(t.Context(), p, clinic.ID, audittest.Meta)
	must(t, err)
	for _, r := range c.Records {
		if r.QueryID != clinic.ID {
			t.Errorf("the chain shows %s of another query", r.ID)
		}
	}
	if _, err := w.Service.Query(t.Context(), p, billing.ID, audittest.Meta); codeOf(err) != gateway.CodeNotFound {
		t.Errorf("another connection's query: %v", err)
	}
	if _, err := w.Service.Session(t.Context(), p, "crew-2", 1, audittest.Meta); codeOf(err) != gateway.CodeNotFound {
		t.Errorf("another connection's session: %v", err)
	}
}
