package mysql

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
)

// estimate reads MariaDB's or MySQL's plan. Advice only: a plan of a form that
// is not known is no error.
func (s *session) estimate(ctx context.Context) (connectors.Estimate, error) {
	if s.flavour == embedded {
		return connectors.Estimate{}, nil // its EXPLAIN has no row counts
	}
	if s.masked != "" {
		return connectors.Estimate{}, nil // EXPLAIN of a view asks for rights on its tables
	}
	stmt, err := s.conn.PrepareContext(ctx, "EXPLAIN FORMAT=JSON "+s.st.Text)
	if err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	defer stmt.Close()
	var text string
	if err := stmt.QueryRowContext(ctx, s.args...).Scan(&text); err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return connectors.Estimate{}, nil
	}
	var w walkPlan
	rows := w.rows(tree)
	return connectors.Estimate{Known: true, Rows: rows, Cost: w.read, Scanned: w.scanned, Grouped: w.grouped, Guess: w.guess}, nil
}

// What is taken where the server knows nothing: PostgreSQL's numbers.
const (
	distinctUnknown  = 200     // values of an expression, so groups, and runs of a cached subquery
	equalityUnknown  = 0.005   // the share of rows that an equality keeps
	conditionUnknown = 1.0 / 3 // any other condition
)

// walkPlan adds up what a plan reads. The rows of a block are those of its
// nested loop, before grouping and LIMIT; those of a union are added.
type walkPlan struct {
	scanned, read, grouped float64
	guess                  bool
}

// rows of a part of a plan.
func (w *walkPlan) rows(node any) float64 {
	product := 1.0
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			product *= w.rows(child)
		}
	case map[string]any:
		for name, child := range n {
			switch {
			case name == "table":
				product *= w.table(child, n["materialized"])
			case name == "materialized": // the table's rows
			case name == "query_specifications":
				product *= w.union(child)
			case !strings.HasSuffix(name, "subqueries"):
				product *= w.rows(child)
			}
		}
		if n["table"] != nil && n["attached_condition"] != nil { // of a join
			product *= w.kept(n)
		}
		if n["select_id"] != nil {
			w.grouped = max(w.grouped, product)
		}
		w.guess = w.guess || n["having_condition"] != nil
		w.read = max(w.read, product)
		for name, child := range n {
			if strings.HasSuffix(name, "subqueries") {
				w.subqueries(child, product)
			}
		}
	}
	return product
}

// kept is the share of rows that a condition is taken to keep.
func (w *walkPlan) kept(n map[string]any) float64 {
	w.guess = true
	if condition, _ := n["attached_condition"].(string); strings.Contains(condition, " = ") {
		return equalityUnknown
	}
	return conditionUnknown
}

// table is one table of a nested loop, and what it is made of. Without
// statistics on a condition the server says that it keeps every row, and of
// groups that there are as many as rows.
func (w *walkPlan) table(node, made any) float64 {
	n, ok := node.(map[string]any)
	if !ok {
		return 1
	}
	if made == nil {
		made = n["materialized"]
	}
	rows := number(n, "rows", "rows_examined_per_scan")
	w.scanned = max(w.scanned, rows)
	if made != nil {
		w.rows(made)
		w.guess = true
		if !whole(made) {
			rows = min(rows, distinctUnknown)
		}
	}
	read := rows
	switch f := number(n, "filtered"); {
	case f > 0 && f < 100:
		rows *= f / 100
	case n["attached_condition"] != nil && n["access_type"] != "range" && n["access_type"] != "index_merge":
		rows *= w.kept(n)
	case n["attached_condition"] != nil:
		w.guess = true
	}
	w.read += read
	for name, child := range n {
		switch {
		case name == "materialized":
		case strings.HasSuffix(name, "subqueries"):
			w.subqueries(child, read)
		default:
			w.rows(child)
		}
	}
	return rows
}

// whole reports whether a derived table is a union or ranks rows, and so has as
// many as go in.
func whole(node any) bool {
	n, _ := node.(map[string]any)
	block, _ := n["query_block"].(map[string]any)
	return block == nil || block["union_result"] != nil || block["window_functions_computation"] != nil
}

func (w *walkPlan) union(node any) float64 {
	parts, _ := node.([]any)
	total := 0.0
	for _, part := range parts {
		total += w.rows(part)
	}
	return total
}

// subqueries run once, or for each of the rows of the block that they are in.
func (w *walkPlan) subqueries(node any, outer float64) {
	list, ok := node.([]any)
	if !ok {
		list = []any{node}
	}
	for _, one := range list {
		n, _ := one.(map[string]any)
		times := 1.0
		switch {
		case n["expression_cache"] != nil: // MariaDB's word for one that depends on the row
			times = min(outer, distinctUnknown)
		case n["dependent"] == true: // MySQL's
			times = outer
		}
		inner := &walkPlan{}
		inner.rows(one)
		w.read, w.scanned, w.grouped = w.read+times*inner.read, max(w.scanned, inner.scanned), max(w.grouped, inner.grouped)
	}
}

func number(m map[string]any, names ...string) float64 {
	for _, name := range names {
		if v, ok := m[name].(float64); ok {
			return v
		}
	}
	return 0
}
