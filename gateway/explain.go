package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// explain answers a dry run: what was understood and decided. It is recorded.
func (c *call) explain(ctx context.Context) (*Answer, error) {
	record := c.record(evidence.TypeOutcome)
	record.Result = &evidence.Result{Status: "dry_run", Affected: -1, Notes: c.st.Notes}
	done := c.step("record")
	receipt, err := c.g.append(ctx, record)
	done()
	if err != nil {
		return nil, err
	}
	explanation := explanationOf(c.st, c.decision, coarse(c.st, c.estimate))
	explanation.RecordingID = receipt.RecordID
	return &Answer{QueryID: c.id, State: succeeded, DryRun: explanation}, nil
}

// coarse is an estimate as the requester may see it. The planner computes from
// the raw values of protected columns: how common one is, how many there are, how
// many pages they fill. So it tells of them their order of magnitude only, and of
// a value that is looked up nothing. A view may read them whatever it shows.
func coarse(st *connectors.Statement, e *connectors.Estimate) *connectors.Estimate {
	if e == nil || !slices.ContainsFunc(st.Relations, func(r connectors.Relation) bool {
		return r.Protected || r.Kind == "view" || r.Kind == "materialized_view"
	}) {
		return e
	}
	if len(st.Lookups) > 0 {
		return nil
	}
	magnitude := func(x float64) float64 {
		if x <= 1 {
			return x
		}
		return math.Pow(10, math.Ceil(math.Log10(x)))
	}
	return &connectors.Estimate{Known: e.Known, Rows: magnitude(e.Rows), Cost: magnitude(e.Cost),
		Scanned: magnitude(e.Scanned), Grouped: magnitude(e.Grouped)}
}

// explanationOf is what a dry run, over HTTP or on the command line, shows.
func explanationOf(st *connectors.Statement, d policy.Decision, estimate *connectors.Estimate) *Explanation {
	return &Explanation{
		Decision: string(d.Effect), Rules: policyReasons(d), Normalized: st.Normalized, Rewritten: st.Text,
		Relations: orEmpty(st.Relations), Uses: orEmpty(st.Uses), Functions: orEmpty(st.Functions),
		Columns: describe(st.Outputs), Estimate: estimate, Notes: orEmpty(st.Notes),
	}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// policyReasons are the rules of the decision, as shown to people.
func policyReasons(d policy.Decision) []approvals.Reason {
	reasons := make([]approvals.Reason, 0, len(d.Matched))
	for _, m := range d.Matched {
		reasons = append(reasons, approvals.Reason{Rule: m.Rule, Message: m.Message})
	}
	return reasons
}

// summary says in one plain sentence what a statement will do.
func summary(st *connectors.Statement, estimate *connectors.Estimate) string {
	var b strings.Builder
	names := []string{}
	targets := []string{}
	for _, r := range st.Relations {
		if r.Write {
			targets = append(targets, r.Name)
			continue
		}
		names = append(names, r.Name)
	}
	switch target := joined(targets); {
	case st.ChangesInWith:
		fmt.Fprintf(&b, "Changes (%s and more) rows of %s", st.Kind, target)
	case st.Kind == connectors.KindInsert:
		fmt.Fprintf(&b, "Adds rows to %s", target)
	case st.Kind == connectors.KindUpdate, st.Kind == connectors.KindMerge:
		fmt.Fprintf(&b, "Changes rows of %s", target)
	case st.Kind == connectors.KindDelete:
		fmt.Fprintf(&b, "Deletes rows from %s", target)
	default:
		fmt.Fprintf(&b, "Reads %s of %s", plural(len(describe(st.Outputs)), "column"), joined(names))
	}
	switch {
	case st.Kind != connectors.KindSelect && !st.Shape.Where && st.Kind != connectors.KindInsert:
		b.WriteString(", all of them")
	case estimate != nil && estimate.Known:
		fmt.Fprintf(&b, ", about %s", plural(int(estimate.Rows), "row"))
	}
	masked, opened := map[masking.ColumnRef]bool{}, map[masking.ColumnRef]bool{}
	for _, use := range st.Uses {
		if use.Openable && use.Seen == connectors.SeenDestroyed {
			opened[use.Column] = true
		} else {
			masked[use.Column] = true
		}
	}
	b.WriteString(".")
	if len(masked) > 0 {
		fmt.Fprintf(&b, " %s masked.", plural(len(masked), "protected column"))
	}
	if len(opened) > 0 {
		fmt.Fprintf(&b, " %s compared with real values.", plural(len(opened), "protected column"))
	}
	if len(st.Writes) > 0 {
		fmt.Fprintf(&b, " %s set to new values.", plural(len(st.Writes), "protected column"))
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func joined(names []string) string {
	switch len(names) {
	case 0:
		return "no table"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// parametersJSON shows bound parameters to an approver: a list, or an object
// for named ones.
func parametersJSON(r *Request) json.RawMessage {
	show := func(p connectors.Param) any {
		switch {
		case p.Null:
			return nil
		case p.Kind == connectors.ParamString:
			return p.Text
		}
		return json.RawMessage(p.Text)
	}
	if r.Named != nil {
		named := make(map[string]any, len(r.Named))
		for name, p := range r.Named {
			named[name] = show(p)
		}
		return mustJSON(named)
	}
	list := make([]any, len(r.Positional))
	for i, p := range r.Positional {
		list[i] = show(p)
	}
	return mustJSON(list)
}

// Schema tells an agent what it may write SQL about, and what is masked.
func (g *Gateway) Schema(ctx context.Context, p *identity.Principal, name string) (*Schema, error) {
	db, problem := g.connection(p, name, identity.Agent)
	if problem != nil {
		return nil, problem
	}
	ctx, stop := context.WithTimeout(ctx, g.cfg.Limits.DefaultTimeout)
	defer stop()
	cat, err := g.catalog(ctx, db, g.cfg.Clock().Add(-schemaAge))
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	s := &Schema{Connection: name, Engine: db.Engine.Name(), Version: cat.Version() + "." + db.Classes.Version()[:12],
		Tables: []SchemaTable{}}
	for _, t := range cat.Tables() {
		table := SchemaTable{Schema: t.Schema, Name: t.Name, Kind: t.Kind, Comment: t.Comment, Columns: []SchemaColumn{}}
		for _, c := range t.Columns {
			column := SchemaColumn{Name: c.Name, Type: c.Type, Nullable: c.Nullable, PrimaryKey: c.PrimaryKey, Comment: c.Comment}
			ref := masking.ColumnRef{Schema: t.Schema, Relation: t.Name, Column: c.Name}
			if class, ok := db.Classes.Class(ref); ok {
				column.Masked, column.Mask, column.Class = true, string(class.Mask.Kind), class.Name
				column.Lookup = class.Lookup
			}
			table.Columns = append(table.Columns, column)
		}
		s.Tables = append(s.Tables, table)
	}
	return s, nil
}

// schemaAge is how old a catalog /schema may show.
const schemaAge = 30 * time.Second

// failureLog bounds how many failed sign-ins are recorded: ten at once, then
// one a second. What was left out is counted in the next one that is recorded.
type failureLog struct {
	clock func() time.Time

	mu      sync.Mutex
	tokens  float64
	last    time.Time
	dropped int
}

func newFailureLog(clock func() time.Time) *failureLog {
	return &failureLog{clock: clock, tokens: 10, last: clock()}
}

// admit reports whether r is to be recorded, and notes in it what was left out.
func (f *failureLog) admit(r *evidence.Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	f.tokens = min(10, f.tokens+now.Sub(f.last).Seconds())
	f.last = now
	if f.tokens < 1 {
		f.dropped++
		return false
	}
	f.tokens--
	if f.dropped > 0 {
		r.Data["left_out_before"] = fmt.Sprint(f.dropped)
		f.dropped = 0
	}
	return true
}
