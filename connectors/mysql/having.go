package mysql

import (
	"github.com/pingcap/tidb/pkg/parser/ast"
)

// havingNames refuses a HAVING that names a column of its own tables that is
// neither selected nor grouped by, outside of aggregates: the server does not look
// there, but goes on to the queries around, where another column may have the name.
func (a *analysis) havingNames(n *ast.SelectStmt, s *scope) error {
	v := &bareNames{}
	n.Having.Expr.Accept(v)
	if len(v.found) == 0 {
		return nil
	}
	known := map[*column]bool{}
	note := func(e ast.ExprNode, order lookupOrder) {
		if ref, ok := e.(*ast.ColumnNameExpr); ok {
			if f, err := a.resolve(s, ref.Name, order); err == nil && f.own {
				known[f.column] = true
			}
		}
	}
	for _, f := range n.Fields.Fields {
		note(f.Expr, fromOnly)
	}
	if n.GroupBy != nil {
		for _, item := range n.GroupBy.Items {
			note(item.Expr, fromFirst)
		}
	}
	for _, ref := range v.found {
		f, err := a.resolve(s, ref.Name, fieldsFirst)
		if err != nil {
			return err
		}
		if f.own && f.source != nil && !known[f.column] {
			return unresolved("HAVING sees what is selected or grouped by, not "+word(ref.Name.Name.O),
				"Say it in WHERE, or select the column.")
		}
	}
	return nil
}

// bareNames are the columns of an expression outside of aggregates and subqueries.
type bareNames struct{ found []*ast.ColumnNameExpr }

// Enter is part of the visitor.
func (v *bareNames) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.ColumnNameExpr:
		v.found = append(v.found, n)
	case *ast.AggregateFuncExpr, *ast.SubqueryExpr:
		return n, true
	}
	return n, false
}

// Leave is part of the visitor.
func (*bareNames) Leave(n ast.Node) (ast.Node, bool) { return n, true }
