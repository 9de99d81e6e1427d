package mysql

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/test_driver"
)

// shape notes the form of a level for rules.
func (a *analysis) shape(n *ast.SelectStmt, s *scope, top, grouped, aggregate bool) {
	if top {
		a.st.Shape.Grouped, a.st.Shape.Aggregate = grouped, aggregate && !grouped
		a.st.Shape.Where = n.Where != nil
	}
	if len(s.sources) > 1 {
		a.st.Shape.Joins += len(s.sources) - 1
		a.st.Shape.Cartesian = a.st.Shape.Cartesian || s.multiplies()
	}
	// A join by equality with a filtered source filters.
	for range s.sources {
		for _, l := range s.links {
			if l[0].filtered || l[1].filtered {
				l[0].filtered, l[1].filtered = true, true
			}
		}
	}
	for _, src := range s.sources {
		a.st.RowsOut = a.st.RowsOut || src.table != nil && s.rowsOut
		if src.outlet != nil && s.rowsOut {
			src.outlet.out = true
		}
		if src.outlet != nil || src.table != nil && a.protected(src.table) {
			src.rows = s.rowsOut
		}
	}
}

// gather notes whether rows of protected tables go into an aggregate that keeps
// them all, and whether what this level gives are summaries, which may.
func (a *analysis) gather(n *ast.SelectStmt, s *scope, summary bool) {
	v := &gathered{}
	n.Fields.Accept(v)
	if n.OrderBy != nil {
		n.OrderBy.Accept(v)
	}
	if n.Having != nil {
		n.Having.Accept(v)
	}
	rows := v.subquery || slices.ContainsFunc(s.sources, func(src *source) bool { // a subquery may read any rows
		return src.wrapped || src.outlet != nil && !src.outlet.summed
	})
	a.st.Shape.Collects = a.st.Shape.Collects || v.collects && rows
	a.summed = !rows || summary && !v.collects
}

// gathered looks for subqueries and for the aggregates that put all rows into
// one: one row of them is as much as all.
type gathered struct{ collects, subquery bool }

// Enter is part of the visitor.
func (v *gathered) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.AggregateFuncExpr:
		v.collects = v.collects || slices.Contains([]string{"group_concat", "json_arrayagg", "json_objectagg"}, strings.ToLower(n.F))
	case *ast.SubqueryExpr:
		v.subquery = true
	}
	return n, false
}

// Leave is part of the visitor.
func (*gathered) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// oneRow reports whether a query gives one row at most: an aggregate without
// groups, a SELECT without FROM, or LIMIT 1.
func oneRow(n ast.Node) bool {
	q, ok := n.(*ast.SelectStmt)
	if !ok || q.Kind != ast.SelectStmtKindSelect {
		return false
	}
	if q.Limit != nil {
		if v, ok := q.Limit.Count.(*test_driver.ValueExpr); ok && v.Kind() == test_driver.KindUint64 && v.GetUint64() == 1 {
			return true
		}
	}
	return q.GroupBy == nil && (q.From == nil || hasAggregate(q.Fields))
}
