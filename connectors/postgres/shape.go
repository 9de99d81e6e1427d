package postgres

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// shape notes how the sources of a level are joined and filtered.
func (a *analysis) shape(s *scope) {
	if len(s.sources) > 1 {
		a.st.Shape.Joins += len(s.sources) - 1
		a.st.Shape.Cartesian = a.st.Shape.Cartesian || s.multiplies()
	}
	for range s.sources { // a join with a filtered source filters
		for _, l := range s.links {
			if l[0].filtered || l[1].filtered {
				l[0].filtered, l[1].filtered = true, true
			}
		}
	}
	for _, src := range s.sources {
		src.rows = s.rowsOut
		if src.outlet != nil && s.rowsOut {
			src.outlet.out = true
		}
		a.st.RowsOut = a.st.RowsOut || src.relation != nil && s.rowsOut
	}
}

// gather notes whether rows of protected relations go into an aggregate that
// keeps them all, and whether what this level gives are summaries, which may.
func (a *analysis) gather(n *pg.SelectStmt, s *scope, summary bool) {
	rows := slices.ContainsFunc(s.sources, func(src *source) bool {
		return src.wrapped || src.outlet != nil && !src.outlet.summed
	})
	collects := false
	for _, part := range slices.Concat(n.TargetList, n.SortClause, []*pg.Node{n.HavingClause}) {
		visit(part, func(n *pg.Node) bool {
			rows = rows || n.GetSubLink() != nil // which may read any
			collects = collects || collecting[last(n.GetFuncCall().GetFuncname())]
			return !rows || !collects
		})
	}
	a.st.Shape.Collects = a.st.Shape.Collects || collects && rows
	a.summed = !rows || summary && !collects
}

// collecting are the aggregates that put all rows into one: one row of them is as
// much as all.
var collecting = set(`array_agg string_agg json_agg jsonb_agg json_agg_strict jsonb_agg_strict json_object_agg jsonb_object_agg
json_object_agg_strict jsonb_object_agg_strict json_object_agg_unique jsonb_object_agg_unique json_object_agg_unique_strict
jsonb_object_agg_unique_strict xmlagg range_agg`)

// oneRow reports whether a query gives one row at most: an aggregate without
// groups, a SELECT without FROM, or LIMIT 1.
func oneRow(n *pg.SelectStmt) bool {
	if n.GetOp() != pg.SetOperation_SETOP_NONE || len(n.GetValuesLists()) > 1 {
		return false
	}
	if c := n.LimitCount.GetAConst().GetIval(); c != nil && c.Ival == 1 && n.LimitOption == pg.LimitOption_LIMIT_OPTION_COUNT {
		return true
	}
	one, sets := len(n.FromClause) == 0, false
	for _, t := range n.TargetList {
		one, sets = one || hasAggregate(t), sets || returnsSet(t)
	}
	return one && !sets && len(n.GroupClause) == 0
}

func returnsSet(n *pg.Node) (found bool) {
	visit(n, func(n *pg.Node) bool {
		if f := n.GetFuncCall(); f != nil {
			found = found || functions[last(f.Funcname)].set
		}
		return n.GetSubLink() == nil
	})
	return found
}
