package mysql

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// fields analyses the select list. Stars over masked tables are written out, so
// that a hidden raw column never is part of one.
func (a *analysis) fields(n *ast.SelectStmt, s *scope, top bool) ([]column, error) {
	var out []column
	var list []*ast.SelectField
	for _, f := range n.Fields.Fields {
		if f.WildCard != nil {
			cols, fields, err := a.star(f, s, top && a.st.Kind == connectors.KindSelect)
			if err != nil {
				return nil, err
			}
			out, list = append(out, cols...), append(list, fields...)
			continue
		}
		if ref, ok := f.Expr.(*ast.ColumnNameExpr); ok {
			c, err := a.plainField(ref, s, top)
			if err != nil {
				return nil, err
			}
			if f.AsName.O == "" && !strings.EqualFold(ref.Name.Name.O, c.name) {
				f.AsName = ast.NewCIStr(c.name) // a hidden name must not show
			}
			if f.AsName.O != "" {
				c.name = f.AsName.O
			}
			out, list = append(out, c), append(list, f)
			continue
		}
		c, err := a.expr(f.Expr, s, connectors.UseExpression, fromOnly)
		if err != nil {
			return nil, err
		}
		c.name, c.plain, c.ref = fieldName(f), false, nil
		if f.AsName.O == "" { // MySQL names it by its text, which may hold a literal
			f.AsName = ast.NewCIStr(c.name)
		}
		out, list = append(out, c), append(list, f)
	}
	n.Fields.Fields = list
	return out, nil
}

// plainField is a bare column of the select list.
func (a *analysis) plainField(ref *ast.ColumnNameExpr, s *scope, top bool) (column, error) {
	f, err := a.resolve(s, ref.Name, fromOnly)
	if err != nil {
		return column{}, err
	}
	return a.output(f, ref, top), nil
}

// output notes a bare column in a select list, raw and masked by the gateway if
// its mask is of that kind and it is one of the result's own columns.
func (a *analysis) output(f found, ref *ast.ColumnNameExpr, top bool) column {
	a.unqualify(ref, f)
	c := *f.column
	if c.class == nil || !c.plain {
		return c
	}
	kind, seen := connectors.UseOutput, connectors.SeenMasked
	if !top {
		kind = connectors.UseExpression
	}
	if c.class.Mask.Kind == masking.Token && top && f.own && f.source != nil && f.source.wrapped {
		a.point(ref, f, f.source)
		c.gateway, seen = true, connectors.SeenGateway
	}
	a.use(c.origin, *c.class, kind, seen, false)
	return c
}

// star writes out * or t.*.
func (a *analysis) star(f *ast.SelectField, s *scope, top bool) ([]column, []*ast.SelectField, error) {
	var (
		out    []column
		fields []*ast.SelectField
	)
	if len(s.merged) > 0 && f.WildCard.Table.L == "" {
		return nil, nil, unsupported("* over JOIN … USING or NATURAL JOIN is not understood", "Name the columns, or use t.*.")
	}
	for _, src := range s.sources {
		if f.WildCard.Table.L != "" && !a.sameName(src.name, f.WildCard.Table.O) {
			continue
		}
		for i := range src.columns {
			ref := &ast.ColumnNameExpr{Name: &ast.ColumnName{Table: ast.NewCIStr(src.name), Name: ast.NewCIStr(src.columns[i].name)}}
			field := &ast.SelectField{Expr: ref}
			c := a.output(found{&src.columns[i], src, true}, ref, top)
			if ref.Name.Name.O != c.name {
				field.AsName = ast.NewCIStr(c.name)
			}
			out, fields = append(out, c), append(fields, field)
		}
	}
	if len(out) == 0 {
		return nil, nil, unresolved("* has no table to stand for", "")
	}
	return out, fields, nil
}

// fieldName is the name of an expression in a result: its alias, or a name that
// holds no literal.
func fieldName(f *ast.SelectField) string {
	if f.AsName.O != "" {
		return f.AsName.O
	}
	switch e := f.Expr.(type) {
	case *ast.ColumnNameExpr:
		return e.Name.Name.O
	case *ast.AggregateFuncExpr:
		return strings.ToLower(e.F)
	case *ast.WindowFuncExpr:
		return strings.ToLower(e.Name)
	case *ast.FuncCallExpr:
		return e.FnName.L
	case *ast.FuncCastExpr:
		return "cast"
	case *ast.CaseExpr:
		return "case"
	}
	return "expr"
}
