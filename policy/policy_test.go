package policy

import (
	"errors"
	"strings"
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
		Shape:     connectors.Shape{Filtered: true, Limit: -1}, RowsOut: true, ProtectedRowsOut: true,
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
	scans := func(n float64) *connectors.Estimate {
		return &connectors.Estimate{Known: true, Rows: 1, Scanned: n, Grouped: n}
	}
	calls := func(name string, class connectors.FunctionClass) func(*S) {
		return func(s *S) { s.Functions = []connectors.Function{{Name: name, Volatility: "volatile", Class: class}} }
	}
	collects := func(rows, filtered bool) *S {
		st := read(calls("json_agg", "harmless"))
		st.Shape.Aggregate, st.Shape.Collects, st.Shape.Filtered = true, rows, filtered
		return st
	}
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
		{"grouped by key", read(func(s *S) { s.Shape.Filtered, s.Shape.Grouped, s.GroupsByKey = false, true, true }), nil, Approve, "bulk-export"},
		{"grouped by key, many", read(func(s *S) { s.Shape.Grouped, s.GroupsByKey = true, true }), rows(50_000), Approve, "bulk-export"},
		{"grouped by key, few", read(func(s *S) { s.Shape.Grouped, s.GroupsByKey = true, true }), rows(20), Allow, "read"},
		{"unprotected", read(func(s *S) { s.Relations[0].Protected, s.Shape.Filtered = false, false }), rows(6000), Allow, "read"},
		{"unprotected, very large", read(func(s *S) { s.Relations[0].Protected = false }), rows(5e5), Approve, "large-result"},
		{"unprotected, very large, limit", read(func(s *S) { s.Relations[0].Protected, s.Shape.Limit = false, 10_000 }), rows(5e5),
			Allow, "read"},
		{"unprotected, zero limit", read(func(s *S) { s.Relations[0].Protected, s.Shape.Limit = false, 0 }), nil, Allow, "read"},
		{"filtered, parameter limit", read(func(s *S) { s.Shape.Limit = -2 }), rows(20), Allow, "read"},
		{"filtered, parameter limit, many", read(func(s *S) { s.Shape.Limit = -2 }), rows(5000), Approve, "bulk-export"},
		{"filtered, small limit, many", read(func(s *S) { s.Shape.Limit = 50 }), rows(5000), Allow, "read"},
		{"filtered, exactly the figure", read(nil), rows(1000), Allow, "read"},
		{"filtered, a guess", read(nil), &connectors.Estimate{Known: true, Rows: 9000, Guess: true}, Allow, "read"},
		{"filtered, a guess far beyond", read(nil), &connectors.Estimate{Known: true, Rows: 11_000, Guess: true}, Approve, "bulk-export"},
		{"groups in a derived table", read(func(s *S) { s.ProtectedRowsOut = false }), rows(5500), Allow, "read"},
		{"unprotected groups inside", read(func(s *S) { s.Relations[0].Protected, s.RowsOut = false, false }), rows(5e5), Allow, "read"},
		{"unprotected groups", read(func(s *S) { s.Relations[0].Protected, s.Shape.Grouped = false, true }), rows(5e5), Allow, "read"},
		{"one protected of two", read(func(s *S) {
			s.Relations = append([]connectors.Relation{{Schema: "public", Name: "medications", Kind: "table"}}, s.Relations...)
			s.Shape.Filtered = false
		}), rows(10), Approve, "bulk-export"},
		{"counts by group", read(func(s *S) { s.Shape.Filtered, s.Shape.Grouped = false, true }), rows(5500), Allow, "read"},
		{"collecting", collects(true, false), scans(1), Approve, "bulk-collect"},
		{"collecting summaries", collects(false, false), scans(20_000), Allow, "read"},
		{"collecting a few", collects(true, true), scans(20), Allow, "read"},
		{"collecting many", collects(true, true), scans(20_000), Approve, "bulk-collect"},
		{"collecting nobody knows how many", collects(true, true), &connectors.Estimate{}, Approve, "bulk-collect"},
		{"expensive", read(nil), &connectors.Estimate{Known: true, Rows: 1, Cost: 1e9}, Approve, "too-expensive"},
		{"cartesian", read(func(s *S) { s.Shape.Cartesian, s.Shape.Aggregate = true, true }), rows(1e6), Approve, "cartesian"},
		{"cartesian count", read(func(s *S) { s.Shape.Cartesian, s.Shape.Aggregate = true, true }), scans(1e6), Approve, "cartesian"},
		{"cartesian, small", read(func(s *S) { s.Shape.Cartesian = true }), rows(12), Allow, "read"},
		{"cartesian, not estimated", read(func(s *S) { s.Shape.Cartesian = true }), nil, Approve, "cartesian"},
		{"cartesian, no estimate", read(func(s *S) { s.Shape.Cartesian = true }), &connectors.Estimate{}, Approve, "cartesian"},
		{"recursive", read(func(s *S) { s.Shape.Recursive = true }), nil, Approve, "recursive"},
		{"recursive, parameter limit", read(func(s *S) { s.Shape.Recursive, s.Shape.Limit = true, -2 }), nil, Approve, "recursive"},
		{"recursive, limit", read(func(s *S) { s.Shape.Recursive, s.Shape.Limit = true, 100 }), nil, Allow, "read"},
		{"locks", read(func(s *S) { s.Shape.Locking = true }), nil, Deny, "row-locks"},
		{"masked use", read(func(s *S) { s.Uses = append(s.Uses, use("output", "masked", false)) }), nil, Allow, "read"},
		{"opened comparison", read(func(s *S) { s.Uses = append(s.Uses, use("predicate", "destroyed", true)) }), nil, Approve, "protected-predicate"},
		{"grouping by a redacted column", read(func(s *S) { s.Uses = append(s.Uses, use("group", "destroyed", false)) }), nil, Deny, "destroyed-use"},
		{"generalised group", read(func(s *S) { s.Uses = append(s.Uses, use("group", "generalised", false)) }), nil, Allow, "read"},
		{"lookup", read(func(s *S) { s.Uses = append(s.Uses, use("predicate", "lookup", false)) }), nil, Allow, "read"},
		{"approved comparison", read(func(s *S) { s.Uses = append(s.Uses, use("predicate", "opened", true)) }), nil, Allow, "read"},
		{"opened and grouped", read(func(s *S) {
			s.Uses = append(s.Uses, use("predicate", "destroyed", true), use("group", "destroyed", false))
		}), nil, Deny, "destroyed-use"},
		{"stats", read(func(s *S) { s.Relations[0].Denied = "holds values" }), nil, Deny, "denied-catalog"},
		{"sleep", read(calls("pg_sleep", "sleep")), nil, Deny, "denied-function"},
		{"file", read(calls("pg_read_file", "file")), nil, Deny, "denied-function"},
		{"network", read(calls("dblink", "network")), nil, Deny, "denied-function"},
		{"program", read(calls("sys_exec", "program")), nil, Deny, "denied-function"},
		{"dynamic", read(calls("query_to_xml", "dynamic")), nil, Deny, "denied-function"},
		{"reads", read(calls("table_to_xml", "reads")), nil, Deny, "denied-function"},
		{"lock", read(calls("pg_advisory_lock", "lock")), nil, Deny, "denied-function"},
		{"setting", read(calls("set_config", "setting")), nil, Deny, "denied-function"},
		{"backend", read(calls("pg_terminate_backend", "session")), nil, Deny, "denied-function"},
		{"sequence", read(calls("nextval", "sequence")), nil, Deny, "denied-function"},
		{"a class nobody knows", read(calls("f", "novelty")), nil, Deny, "denied-function"},
		{"harmless", read(calls("lower", "harmless")), nil, Allow, "read"},
		{"harmless and volatile", read(calls("gen_random_uuid", "harmless")), nil, Allow, "read"},
		{"catalog", read(calls("pg_get_viewdef", "catalog")), nil, Allow, "read"},
		{"a write inside a query", read(func(s *S) { s.Write = true }), nil, Deny, "write-in-query"},
		{"a query that cannot run", read(func(s *S) { s.Runnable = false }), nil, Deny, "default-deny"},
		{"delete", &S{Kind: "delete", Runnable: true, Write: true, Shape: connectors.Shape{Where: true}}, nil, Approve, "write"},
		{"delete all", &S{Kind: "delete", Runnable: true, Write: true}, nil, Deny, "write-without-where"},
		{"merge", &S{Kind: "merge", Runnable: true, Write: true, Shape: connectors.Shape{Where: true}}, nil, Approve, "write"},
		{"merge all", &S{Kind: "merge", Runnable: true, Write: true}, nil, Deny, "write-without-where"},
		{"show", &S{Kind: "show"}, nil, Deny, "no-show"},
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
		{"unknown kind", &S{Kind: "novelty", Runnable: true}, nil, Deny, "default-deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := hipaa(t).Decide(Input{Statement: c.st, Estimate: c.estimate, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			if rule := d.Matched[0].Rule; d.Effect != c.effect || rule != c.rule {
				t.Errorf("%s by %q, want %s by %q", d.Effect, rule, c.effect, c.rule)
			}
			for _, m := range d.Matched {
				if d.Effect != Allow && m.Rule != "write" && (m.Message == "" || m.Hint == "") {
					t.Errorf("%s does not tell the agent what to do: %+v", m.Rule, m)
				}
				if strings.Count(m.Message, ".") != 1 && d.Effect != Allow {
					t.Errorf("%s: not one sentence: %q", m.Rule, m.Message)
				}
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
		"empty":            {Name: "a", Effect: Allow},
		"odd name":         {Name: "A b", Effect: Allow, When: "true"},
		"reserved name":    {Name: ErrorRule, Effect: Allow, When: "true"},
		"negative":         {Name: "a", Effect: Approve, Message: "m", When: "true", Approvals: -1},
		"quorum on deny":   {Name: "a", Effect: Deny, Message: "m", When: "true", Approvals: 2},
		"unknown variable": {Name: "a", Effect: Allow, When: "statment.write"},
		"other type":       {Name: "a", Effect: Allow, When: "statement.outputs == 'x'"},
		"bad pattern":      {Name: "a", Effect: Allow, When: "statement.kind.matches('(')"},
	} {
		_, err := New([]Rule{r})
		var wrong *RuleError
		if !errors.As(err, &wrong) || strings.Contains(wrong.Problem, "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New([]Rule{{Name: "a", Effect: "x", When: "true"}, {Name: "b", Effect: Allow, When: "nope"}})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not all problems at once: %v", err)
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
	if d.Effect != Deny || d.Matched[0].Rule != ErrorRule || d.Version == "" {
		t.Errorf("%+v", d)
	}
	if _, err := e.Decide(Input{}); err == nil {
		t.Error("no statement was decided")
	}
}

func TestARuleThatCostsTooMuchDenies(t *testing.T) {
	e, err := New([]Rule{{Name: "all", Effect: Allow, When: "true"}, {Name: "slow", Effect: Approve, Message: "m",
		When: "statement.uses.all(a, statement.uses.all(b, statement.uses.all(c, a.kind == b.kind || b.kind == c.kind)))"}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d, _ := e.Decide(Input{Statement: read(func(s *connectors.Statement) { s.Uses = make([]connectors.Use, 500) })})
	if d.Effect != Deny || d.Matched[0].Rule != ErrorRule || time.Since(start) > 5*time.Second {
		t.Errorf("%+v after %v", d, time.Since(start))
	}
}

// TestStrictestWins: and the decision names every rule of its effect.
func TestStrictestWins(t *testing.T) {
	e, err := New([]Rule{
		{Name: "all", Effect: Allow, When: "true"},
		{Name: "two-eyes", Effect: Approve, When: "statement.protected", Message: "m", Approvals: 2, Expires: time.Hour},
		{Name: "more", Effect: Approve, When: "request.purpose_of_use == 'TREAT' && !request.has_reason", Message: "m"},
		{Name: "never", Effect: Deny, When: "'students' in principal.groups || connection.engine == 'mysql'", Message: "no"},
		{Name: "nights", Effect: Deny, When: "now.getHours('Europe/Berlin') < 6", Message: "Sleep."},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Statement: read(nil), Engine: "postgres", Request: Request{PurposeOfUse: "TREAT"},
		Now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	decide := func() Decision {
		d, err := e.Decide(in)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := decide()
	if d.Effect != Approve || len(d.Matched) != 2 || d.Matched[0].Approvals != 2 || d.Matched[0].Expires != time.Hour {
		t.Errorf("%+v", d)
	}
	in.Principal.Groups = []string{"students"}
	if d := decide(); d.Effect != Deny || d.Matched[0].Rule != "never" {
		t.Errorf("%+v", d)
	}
	in.Principal.Groups, in.Now = nil, time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	if d := decide(); d.Effect != Deny || d.Matched[0].Rule != "nights" {
		t.Errorf("%+v", d)
	}
}

// TestHintsNameTheCulprit: the agent is told which function or relation it was.
func TestHintsNameTheCulprit(t *testing.T) {
	for want, st := range map[string]*connectors.Statement{
		"pg_sleep makes": read(func(s *connectors.Statement) {
			s.Functions = []connectors.Function{{Name: "lower", Class: "harmless"}, {Name: "pg_sleep", Class: "sleep"}}
		}),
		"pg_sleep makes the statement wait; leave it out. version tells": read(func(s *connectors.Statement) {
			s.Functions = []connectors.Function{{Name: "pg_sleep", Class: "sleep"}, {Name: "version", Class: "session"}}
		}),
		"public.patients: holds values.": read(func(s *connectors.Statement) { s.Relations[0].Denied = "holds values" }),
		"Leave out public.patients.ssn": read(func(s *connectors.Statement) {
			s.Uses = []connectors.Use{{Column: masking.ColumnRef{Schema: "public", Relation: "patients", Column: "ssn"},
				Seen: connectors.SeenDestroyed}}
		}),
	} {
		d, err := hipaa(t).Decide(Input{Statement: st})
		if err != nil || !strings.Contains(d.Matched[0].Hint, want) {
			t.Errorf("%q is not in %q (%v)", want, d.Matched[0].Hint, err)
		}
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

// TestOutgrownBound: what is allowed on an estimate is bounded by the figure of
// the rule that let it pass.
func TestOutgrownBound(t *testing.T) {
	few := &connectors.Estimate{Known: true, Rows: 1, Cost: 1}
	for name, c := range map[string]struct {
		st   *connectors.Statement
		rows int64
		rule string
	}{
		"filtered":           {read(nil), 1000, "bulk-export"},
		"limited":            {read(func(s *connectors.Statement) { s.Shape.Limit = 10 }), 0, ""},
		"grouped":            {read(func(s *connectors.Statement) { s.Shape.Grouped = true }), 1000, "many-groups"},
		"grouped by key":     {read(func(s *connectors.Statement) { s.Shape.Grouped, s.GroupsByKey = true, true }), 1000, "bulk-export"},
		"groups inside":      {read(func(s *connectors.Statement) { s.ProtectedRowsOut = false }), 1000, "many-groups"},
		"unprotected":        {read(func(s *connectors.Statement) { s.Relations[0].Protected = false }), 10_000, "large-result"},
		"unprotected groups": {read(func(s *connectors.Statement) { s.Relations[0].Protected, s.Shape.Grouped = false, true }), 10_000, "large-result"},
	} {
		for _, estimate := range []*connectors.Estimate{few, {Known: true, Rows: 900, Guess: true}, {}, nil} {
			d, err := hipaa(t).Decide(Input{Statement: c.st, Estimate: estimate, Now: time.Now()})
			if err != nil || d.Effect != Allow || d.MaxRows != c.rows || d.OutgrownRule != c.rule {
				t.Errorf("%s: %+v %v", name, d, err)
			}
		}
	}
}
