package postgres

import (
	"regexp"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// dateText is a text that is read as a date or an interval, not as a number.
var dateText = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?|[0-9]{1,4} (minute|hour|day|week|month|year)s?)$`)

// isSeries reports whether a recursive query is a calendar or the like: it begins
// with a row that it writes out, and goes on from itself alone, one row from each,
// as long as that is below a small number or a date. A walk over a table is none.
func isSeries(n *pg.SelectStmt, name string) bool {
	first, next := n.Larg, n.Rarg
	if first.GetOp() != pg.SetOperation_SETOP_NONE || len(first.GetFromClause()) > 0 ||
		next.GetOp() != pg.SetOperation_SETOP_NONE || len(next.GetFromClause()) != 1 {
		return false
	}
	if rv := next.FromClause[0].GetRangeVar(); rv.GetRelname() != name || rv.GetSchemaname() != "" {
		return false
	}
	steps := false
	for _, t := range slices.Concat(first.TargetList, next.TargetList) {
		v := t.GetResTarget().GetVal()
		if returnsSet(v) || contains(v, func(n *pg.Node) bool { return n.GetSubLink() != nil }) {
			return false
		}
	}
	for _, t := range next.TargetList {
		v := t.GetResTarget().GetVal()
		steps = steps || contains(v, isColumn) && v.GetColumnRef() == nil
	}
	return steps && slices.ContainsFunc(conjuncts(next.WhereClause), isBound)
}

// conjuncts are the parts of a condition that AND joins.
func conjuncts(n *pg.Node) []*pg.Node {
	b := n.GetBoolExpr()
	if b.GetBoolop() != pg.BoolExprType_AND_EXPR {
		return []*pg.Node{n}
	}
	var list []*pg.Node
	for _, arg := range b.Args {
		list = append(list, conjuncts(arg)...)
	}
	return list
}

// isBound reports whether a condition holds up to a small number or a date.
func isBound(n *pg.Node) bool {
	e := n.GetAExpr()
	if e.GetKind() != pg.A_Expr_Kind_AEXPR_OP || !slices.Contains([]string{"<", "<=", ">", ">="}, operator(e.Name)) ||
		contains(n, func(n *pg.Node) bool { return n.GetSubLink() != nil }) {
		return false
	}
	for _, side := range [][2]*pg.Node{{e.Lexpr, e.Rexpr}, {e.Rexpr, e.Lexpr}} {
		if contains(side[0], isColumn) && !contains(side[1], func(n *pg.Node) bool { return !boundPart(n) }) {
			return true
		}
	}
	return false
}

func isColumn(n *pg.Node) bool { return n.GetColumnRef() != nil }

// boundPart reports whether a node of a bound is part of a small number or a date.
func boundPart(n *pg.Node) bool {
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		return e.AConst.GetIval() != nil && e.AConst.GetIval().Ival <= connectors.SeriesRounds ||
			e.AConst.GetSval() != nil && dateText.MatchString(e.AConst.GetSval().Sval)
	case *pg.Node_AExpr:
		return slices.Contains([]string{"+", "-"}, operator(e.AExpr.Name))
	case *pg.Node_FuncCall:
		return slices.Contains([]string{"now", "date_trunc", "make_date"}, last(e.FuncCall.Funcname))
	case *pg.Node_TypeCast, *pg.Node_TypeName, *pg.Node_SqlvalueFunction, *pg.Node_String_, *pg.Node_Integer:
		return true
	}
	return false
}

func contains(n *pg.Node, is func(*pg.Node) bool) (found bool) {
	visit(n, func(n *pg.Node) bool {
		found = found || is(n)
		return !found
	})
	return found
}
