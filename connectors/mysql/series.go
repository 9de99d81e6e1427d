package mysql

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
)

// dateText is a text that is compared as a date, not as a number.
var dateText = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?$`)

// isSeries reports whether a recursive query is a calendar or the like: it begins
// with a row that it writes out, and goes on from itself alone, one row from each,
// as long as that is below a small number or a date. A walk over a table is none.
func isSeries(n ast.Node, name string) bool {
	set, ok := n.(*ast.SetOprStmt)
	if !ok || set.SelectList == nil || len(set.SelectList.Selects) != 2 {
		return false
	}
	first, _ := set.SelectList.Selects[0].(*ast.SelectStmt)
	next, _ := set.SelectList.Selects[1].(*ast.SelectStmt)
	if first == nil || next == nil || first.From != nil || next.From == nil || next.From.TableRefs.Right != nil || next.Where == nil {
		return false
	}
	from, _ := next.From.TableRefs.Left.(*ast.TableSource)
	if from == nil {
		return false
	}
	if table, _ := from.Source.(*ast.TableName); table == nil || table.Name.L != name || table.Schema.L != "" {
		return false
	}
	steps := false
	for _, f := range next.Fields.Fields {
		_, bare := f.Expr.(*ast.ColumnNameExpr)
		v := &references{}
		if f.Expr != nil {
			f.Expr.Accept(v)
		}
		steps = steps || !bare && len(v.found) > 0
	}
	return steps && slices.ContainsFunc(conjuncts(next.Where), isBound)
}

// conjuncts are the parts of a condition that AND joins.
func conjuncts(e ast.ExprNode) []ast.ExprNode {
	if b, ok := bare(e).(*ast.BinaryOperationExpr); ok && b.Op == opcode.LogicAnd {
		return append(conjuncts(b.L), conjuncts(b.R)...)
	}
	return []ast.ExprNode{bare(e)}
}

// isBound reports whether a condition holds up to a small number or a date.
func isBound(e ast.ExprNode) bool {
	b, ok := e.(*ast.BinaryOperationExpr)
	if !ok || !slices.Contains([]opcode.Op{opcode.LT, opcode.LE, opcode.GT, opcode.GE}, b.Op) {
		return false
	}
	return boundBy(b.L, b.R) || boundBy(b.R, b.L)
}

func boundBy(value, bound ast.ExprNode) bool {
	refs, parts := &references{}, &boundParts{}
	value.Accept(refs)
	bound.Accept(parts)
	return len(refs.found) > 0 && !parts.other
}

// boundParts looks for what is no part of a small number or a date.
type boundParts struct{ other bool }

// Enter is part of the visitor.
func (v *boundParts) Enter(n ast.Node) (ast.Node, bool) {
	switch e := n.(type) {
	case *test_driver.ValueExpr:
		switch e.Kind() {
		case test_driver.KindInt64, test_driver.KindUint64:
			v.other = v.other || e.GetUint64() > connectors.SeriesRounds
		default:
			v.other = v.other || !dateText.MatchString(fmt.Sprint(e.GetValue()))
		}
	case *ast.FuncCallExpr:
		if typedLiteral(e) != nil {
			return n, true
		}
		v.other = v.other || !slices.Contains([]string{"now", "curdate", "current_date", "current_timestamp", "localtime", "date", "date_add", "date_sub",
			"adddate", "subdate", "makedate", "last_day"}, e.FnName.L)
	case *ast.BinaryOperationExpr:
		v.other = v.other || e.Op != opcode.Plus && e.Op != opcode.Minus
	case *ast.ParenthesesExpr, *ast.FuncCastExpr, *ast.TimeUnitExpr:
	default:
		v.other = true
	}
	return n, v.other
}

// Leave is part of the visitor.
func (*boundParts) Leave(n ast.Node) (ast.Node, bool) { return n, true }
