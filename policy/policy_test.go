package policy

import (
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

func hipaa(t testing.TB) *Engine {
	t.Helper()
	e, err := New(HIPAA(DefaultFigures()))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// read is a filtered read of a protected table; change makes it something else.
func read(change func(*connectors.Statement)) *connectors.Statement {
	st := &connectors.Statement{
		Kind: connectors.KindSelect, Runnable: true,
		Relations: []connectors.Relation{{Schema: "public", Name: "patients", Kind: "table", Protected: true}},
		Shape:     connectors.Shape{Filtered: true, Limit: -1},
	}
	if change != nil {
		change(st)
	}
	return st
}

func TestHIPAA(t *testing.T) {
	type S = connectors.Statement
	use := func(kind connectors.UseKind, seen connectors.Seen, openable bool) connectors.Use {
		return connectors.Use{Column: masking.ColumnRef{Schema: "public", Relation: "patients", Column: "ssn"}, Class: "ssn",
			Kind: kind, Seen: seen, Openable: openable, Hint: "hint"}
	}
	rows := func(n float64) *connectors.Estimate { return &connectors.Estimate{Known: true, Rows: n, Cost: n} }
	for _, c := range []struct {
		name     string
		st       *connectors.Statement
		estimate *connectors.Estimate
		effect   Effect
		rule     string
	}{
		{"filtered read", read(nil), nil, Allow, "read"},
		{"filtered read, few rows", read(nil), rows(20), Allow, "read"},
		{"filtered read, many rows", read(nil), rows(50_000), Approve, "bulk-export"},
		{"unfiltered", read(func(s *S) { s.Shape.Filtered = false }), nil, Approve, "bulk-export"},
		{"unfiltered, small limit", read(func(s *S) { s.Shape.Filtered, s.Shape.Limit = false, 10 }), rows(10), Allow, "read"},
		{"unfiltered, large limit", read(func(s *S) { s.Shape.Filtered, s.Shape.Limit = false, 10_000 }), nil, Approve, "bulk-export"},
		{"unfiltered, parameter limit", read(func(s *S) { s.Shape.Filtered, s.Shape.Limit = false, -2 }), nil, Approve, "bulk-export"},
		{"aggregate", read(func(s *S) { s.Shape.Filtered, s.Shape.Aggregate = false, true }), rows(1), Allow, "read"},
		{"grouped", read(func(s *S) { s.Shape.Filtered, s.Shape.Grouped = false, true }), rows(200), Allow, "read"},
		{"unprotected", read(func(s *S) { s.Relations[0].Protected, s.Shape.Filtered = false, false }), rows(6000), Allow, "read"},
		{"unprotected, very large", read(func(s *S) { s.Relations[0].Protected = false }), rows(5e5), Approve, "large-result"},
		{"expensive", read(nil), &connectors.Estimate{Known: true, Rows: 1, Cost: 1e9}, Approve, "expensive"},
		{"cartesian", read(func(s *S) { s.Shape.Cartesian, s.Shape.Aggregate = true, true }), rows(1e6), Approve, "large-result"},
		{"recursive", read(func(s *S) { s.Shape.Recursive = true }), nil, Approve, "recursive"},
		{"locks", read(func(s *S) { s.Shape.Locking = true }), nil, Deny, "row-locks"},
		{"masked use", read(func(s *S) { s.Uses = append(s.Uses, use("output", "masked", false)) }), nil, Allow, "read"},
		{"opened comparison", read(func(s *S) { s.Uses = append(s.Uses, use("predicate", "destroyed", true)) }), nil, Approve, "protected-predicate"},
		{"grouping by a redacted column", read(func(s *S) { s.Uses = append(s.Uses, use("group", "destroyed", false)) }), nil, Deny, "destroyed-use"},
		{"stats", read(func(s *S) { s.Relations[0].Denied = "holds values" }), nil, Deny, "denied-catalog"},
		{"sleep", read(func(s *S) { s.Functions = []connectors.Function{{Name: "pg_sleep", Class: "sleep"}} }), nil, Deny, "denied-function"},
		{"harmless", read(func(s *S) { s.Functions = []connectors.Function{{Name: "lower", Class: "harmless"}} }), nil, Allow, "read"},
		{"update", &S{Kind: "update", Runnable: true, Write: true, Shape: connectors.Shape{Where: true}}, nil, Approve, "write"},
		{"update all", &S{Kind: "update", Runnable: true, Write: true}, nil, Deny, "write-without-where"},
		{"insert", &S{Kind: "insert", Runnable: true, Write: true}, nil, Approve, "write"},
		{"ddl", &S{Kind: "ddl"}, nil, Deny, "no-ddl"},
		{"grant", &S{Kind: "grant"}, nil, Deny, "no-grant"},
		{"copy", &S{Kind: "copy"}, nil, Deny, "no-copy"},
		{"call", &S{Kind: "call"}, nil, Deny, "no-call"},
		{"set", &S{Kind: "session"}, nil, Deny, "no-session"},
		{"vacuum", &S{Kind: "utility"}, nil, Deny, "no-utility"},
		{"explain", &S{Kind: "explain"}, nil, Deny, "no-explain"},
		{"unknown kind", &S{Kind: "novelty", Runnable: true}, nil, Deny, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := hipaa(t).Decide(Input{Statement: c.st, Estimate: c.estimate, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			rule := ""
			if len(d.Matched) > 0 {
				rule = d.Matched[0].Rule
			}
			if d.Effect != c.effect || rule != c.rule {
				t.Errorf("%s by %q, want %s by %q", d.Effect, rule, c.effect, c.rule)
			}
			if d.Effect != Allow && rule != "" && d.Matched[0].Message == "" {
				t.Error("no words for the agent")
			}
		})
	}
}

func TestRulesAreCheckedAtStart(t *testing.T) {
	for name, r := range map[string]Rule{
		"misspelt field":   {Name: "a", Effect: Allow, When: "statement.knd == 'x'"},
		"misspelt in list": {Name: "a", Effect: Allow, When: "statement.uses.exists(u, u.sen == 'x')"},
		"not bool":         {Name: "a", Effect: Allow, When: "statement.kind"},
		"syntax":           {Name: "a", Effect: Allow, When: "statement.kind =="},
		"no name":          {Effect: Allow, When: "true"},
		"effect":           {Name: "a", Effect: "maybe", When: "true", Message: "m"},
		"no message":       {Name: "a", Effect: Deny, When: "true"},
	} {
		if _, err := New([]Rule{r}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New([]Rule{{Name: "a", Effect: Allow, When: "true"}, {Name: "a", Effect: Allow, When: "true"}}); err == nil {
		t.Error("two rules of one name were accepted")
	}
}

func TestARuleThatFailsDenies(t *testing.T) {
	e, err := New([]Rule{{Name: "all", Effect: Allow, When: "true"},
		{Name: "bad", Effect: Approve, Message: "m", When: "statement.relations[5].name == 'x'"}})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := e.Decide(Input{Statement: read(nil)})
	if d.Effect != Deny || d.Matched[0].Rule != ErrorRule {
		t.Errorf("%+v", d)
	}
}

func TestVersionChangesWithRules(t *testing.T) {
	f := DefaultFigures()
	f.BulkRows++
	other, err := New(HIPAA(f))
	if err != nil {
		t.Fatal(err)
	}
	if hipaa(t).Version() == other.Version() {
		t.Error("other figures are another policy")
	}
}

func FuzzRule(f *testing.F) {
	f.Add("statement.kind == 'select'")
	f.Add("request.row_limit > 5 && now > timestamp('2026-01-01T00:00:00Z')")
	f.Fuzz(func(t *testing.T, when string) {
		if e, err := New([]Rule{{Name: "r", Effect: Allow, When: when}}); err == nil {
			if _, err := e.Decide(Input{Statement: read(nil), Now: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	e := hipaa(b)
	in := Input{Statement: read(nil), Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Decide(in); err != nil {
			b.Fatal(err)
		}
	}
}
