package noninterference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/policy"
)

// answer is all that a client could see of an execution.
type answer struct {
	types     []string
	rows      [][]byte
	truncated bool
	failed    *connectors.Error
	bytes     int
	limit     int // of rows
}

// rowLimit is what statements ask for; all, more than any of them has.
const (
	rowLimit = 300
	all      = 100_000
)

func (a *answer) Columns(cols []connectors.ResultColumn) error {
	for _, c := range cols {
		a.types = append(a.types, c.Name+" "+c.Type)
	}
	return nil
}

func (a *answer) Row(cells []connectors.Cell) (bool, error) {
	if len(a.rows) == a.limit || a.bytes > a.limit<<12 {
		a.truncated = true
		return false, nil
	}
	var row []byte
	for _, cell := range cells {
		row = append(connectors.AppendJSON(row, cell), ',')
	}
	a.rows, a.bytes = append(a.rows, row), a.bytes+len(row)
	return true, nil
}

// text is the whole answer, in order.
func (a *answer) text() string {
	return fmt.Sprint(a.types, a.truncated, a.failed) + "\n" + string(bytes.Join(a.rows, []byte("\n")))
}

// bag is the answer with its rows sorted.
func (a *answer) bag() string {
	rows := make([]string, len(a.rows))
	for i, r := range a.rows {
		rows[i] = string(r)
	}
	sort.Strings(rows)
	return fmt.Sprint(a.types, a.truncated, a.failed) + "\n" + strings.Join(rows, "\n")
}

var limits = connectors.Limits{Timeout: 2 * time.Second, LockTimeout: time.Second, MaxAffected: -1}

// arguments are a statement's parameters in the order in which its text takes
// them, each as a driver does.
func arguments[P any](st *connectors.Statement, params []string, as func(string) P) []P {
	args := make([]P, len(st.Order))
	for i, from := range st.Order {
		args[i] = as(params[from])
	}
	return args
}

func textParam(text string) connectors.Param { return connectors.Param{Text: text} }
func anyParam(text string) any               { return text }
func byteParam(text string) []byte           { return []byte(text) }

// run executes a statement as the gateway does.
func (c *clinic) run(ctx context.Context, st *connectors.Statement, params []string, limit int) (*answer, connectors.Estimate, error) {
	one := *st
	one.Stamps = nil // of the other twin's catalog
	if c.used++; c.used > 2000 {
		if err := c.connect(ctx); err != nil {
			return nil, connectors.Estimate{}, err
		}
	}
	lim := limits
	lim.Classes = c.classes
	a := &answer{limit: limit}
	est, err := c.session.Prepare(ctx, &one, arguments(st, params, textParam), lim)
	if err == nil {
		_, err = c.session.Execute(ctx, a)
	}
	if err != nil {
		if !errors.As(err, &a.failed) {
			return nil, est, err
		}
		a.rows = nil
		if err := c.connect(ctx); err != nil {
			return nil, est, err
		}
	}
	return a, est, nil
}

// counts of a run.
type counts struct {
	generated, refused, pending, denied, ran, failed, volatile, timeouts, looked, reordered, wavering int
	reasons                                                                                           map[string]int
	started                                                                                           time.Time
}

func (n *counts) String() string {
	type reason struct {
		text string
		n    int
	}
	var list []reason
	for text, count := range n.reasons {
		list = append(list, reason{text, count})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].n > list[j].n })
	var b strings.Builder
	took := time.Since(n.started)
	fmt.Fprintf(&b, "%d statements in %v (%.0f/s): %d allowed and ran (%.1f %%), of which %d gave an error of the database; refused %d, pending %d, denied %d; "+
		"volatile %d, timeouts %d, lookups %d, in another order by another plan or estimate %d, answered otherwise by one database alone %d\n", n.generated, took.Round(time.Second), float64(n.generated)/took.Seconds(),
		n.ran, 100*float64(n.ran)/float64(max(1, n.generated)), n.failed, n.refused, n.pending, n.denied, n.volatile, n.timeouts, n.looked, n.reordered, n.wavering)
	for i, r := range list {
		if i == 25 {
			break
		}
		fmt.Fprintf(&b, "%7d %s\n", r.n, r.text)
	}
	return b.String()
}

// twins runs statements on both databases and compares.
type twins struct {
	one, two *clinic
	rules    *policy.Engine
	canaries *canaries
	counts   counts
}

func newTwins(t *testing.T, one, two *clinic) *twins {
	t.Helper()
	rules, err := policy.New(policy.HIPAA(policy.DefaultFigures()))
	if err != nil {
		t.Fatal(err)
	}
	return &twins{one: one, two: two, rules: rules, canaries: newCanaries(), counts: counts{reasons: map[string]int{}, started: time.Now()}}
}

func (w *twins) decide(st *connectors.Statement, est *connectors.Estimate) (policy.Decision, error) {
	return w.rules.Decide(policy.Input{Statement: st, Connection: "clinic", Engine: st.Engine, Estimate: est, Now: today,
		Principal: policy.Principal{Subject: "agent", Roles: []string{"agent"}},
		Request:   policy.Request{RowLimit: rowLimit, MaxAffected: -1, TimeoutMS: 2000}})
}

// try gives "" or says what a statement tells of protected values.
func (w *twins) try(ctx context.Context, text string, params []string) (string, error) {
	n := &w.counts
	n.generated++
	in := w.one.input(text, len(params))
	in.Cells = n.generated%2 == 0 // half with the counts that small cells need
	st, err := w.one.engine.Analyze(w.one.cat, in)
	var refusal *connectors.Error
	if errors.As(err, &refusal) {
		if say := os.Getenv("CHAPERONE_FUZZ_SAY"); say != "" && strings.Contains(refusal.Message, say) {
			fmt.Fprintf(os.Stderr, "%v\n  %s\n", refusal, text)
		}
		n.refused++
		n.reasons["refused: "+string(refusal.Kind)+": "+generic(refusal.Message)]++
		return "", nil
	} else if err != nil {
		return "", err
	}
	other := st
	if st.Engine == "mysql" { // the text names the database
		in.Classes = w.two.classes
		if other, err = w.two.engine.Analyze(w.two.cat, in); err != nil {
			return "analysed differently", nil
		}
	}
	d, err := w.decide(st, nil)
	if err != nil {
		return "", err
	}
	if d.Effect == policy.Deny && w.stopped(d) {
		return "", nil
	}
	if len(st.Lookups) > 0 {
		n.looked++
		return "", nil
	}
	for _, f := range st.Functions {
		if f.Volatility == connectors.Volatile {
			n.volatile++
			return "", nil
		}
	}
	a, est, err := w.one.run(ctx, st, params, rowLimit)
	if err != nil {
		return "", err
	}
	if a.failed == nil {
		if d, err = w.decide(st, &est); err != nil {
			return "", err
		}
		if w.stopped(d) {
			return "", nil
		}
	}
	b, _, err := w.two.run(ctx, other, params, rowLimit)
	if err != nil {
		return "", err
	}
	return w.compare(ctx, text, st, other, a, b, params)
}

func (w *twins) stopped(d policy.Decision) bool {
	n := &w.counts
	switch d.Effect {
	case policy.Allow:
		return false
	case policy.Approve:
		n.pending++
	case policy.Deny:
		n.denied++
	}
	n.reasons["policy: "+d.Matched[0].Rule]++
	return true
}

func (w *twins) compare(ctx context.Context, text string, st, other *connectors.Statement, a, b *answer, params []string) (string, error) {
	n := &w.counts
	if slow(a) || slow(b) {
		n.timeouts++
		return "", nil
	}
	n.ran++
	if a.failed != nil {
		n.failed++
		if say := os.Getenv("CHAPERONE_FUZZ_SAY"); say != "" && strings.Contains(a.failed.SQLState+a.failed.Message, say) {
			fmt.Fprintf(os.Stderr, "%v\n  %s\n  %s\n", a.failed, text, st.Text)
		}
		n.reasons["database: "+a.failed.SQLState+" "+generic(a.failed.Message)]++
	}
	if found := w.canaries.find(text, a, b); found != "" {
		return "a canary: " + found + "\n" + a.text(), nil
	}
	if a.text() == b.text() {
		return "", nil
	}
	if w.planned(ctx, (*clinic).plan, st, other, params) {
		// Other plans read in another order; a LIMIT without a total order then
		// takes other rows. What the values are must still not show.
		n.reordered++
		return "", nil
	}
	// MariaDB's sort is not stable: equals come in any order. PostgreSQL's hash
	// tables are as large as the planner expects them to be, and are read in the
	// order of their buckets. Either way the rows are the same.
	if st.Engine == "mysql" || w.planned(ctx, (*clinic).estimates, st, other, params) {
		whole, wholeOther := a, b
		if a.truncated && b.truncated {
			var err error
			if whole, _, err = w.one.run(ctx, st, params, all); err != nil {
				return "", err
			}
			if wholeOther, _, err = w.two.run(ctx, other, params, all); err != nil {
				return "", err
			}
		}
		if whole.bag() == wholeOther.bag() {
			n.reordered++
			return "", nil
		}
	}
	if st.Engine == "mysql" {
		for _, same := range []struct {
			clinic *clinic
			st     *connectors.Statement
			first  *answer
		}{{w.one, st, a}, {w.two, other, b}} {
			if wavers, err := same.clinic.wavers(ctx, same.st, params, same.first); err != nil || wavers {
				n.wavering++
				return "", err
			}
		}
	}
	return fmt.Sprintf("the answers differ\n--- one\n%.1500s\n--- two\n%.1500s", a.text(), b.text()), nil
}

// wavers says whether one and the same database answers a statement now so, now
// so: among rows of equal rank MariaDB's sort with a LIMIT keeps any.
func (c *clinic) wavers(ctx context.Context, st *connectors.Statement, params []string, first *answer) (bool, error) {
	for range 50 {
		again, _, err := c.run(ctx, st, params, rowLimit)
		if err != nil || again.failed == nil && first.failed == nil && again.text() != first.text() {
			return true, err
		}
	}
	return false, nil
}

// generic leaves names out of a message, so that reasons can be counted.
func generic(message string) string {
	text, _, _ := strings.Cut(message, ":")
	return text
}
