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
			if f.AsName.O != "" {
				c.name = f.AsName.O
			}
			a.named(f, &c)
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

// named gives a raw output a hidden alias, so that no name of the client's in
// ORDER BY, GROUP BY or HAVING means the raw value.
func (a *analysis) named(f *ast.SelectField, c *column) {
	if c.gateway {
		f.AsName = ast.NewCIStr(a.hide())
	}
}

// masked makes a reference to a raw output by its alias see the mask.
func (a *analysis) masked(e *ast.ColumnNameExpr, f found) {
	if f.source == nil && f.column.gateway {
		e.Name = maskedName(f.column)
	}
}

// maskedName is the masked column beside a raw output.
func maskedName(c *column) *ast.ColumnName {
	return &ast.ColumnName{Table: ast.NewCIStr(c.via.name), Name: ast.NewCIStr(c.ref.Column)}
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
	a.pin(ref.Name, f)
	c := *f.column
	c.via = f.source
	if c.class == nil || !c.plain {
		return c
	}
	kind, seen := connectors.UseOutput, connectors.SeenMasked
	if !top {
		kind = connectors.UseExpression
	}
	if c.class.Mask.InGateway() && top && f.own && f.source != nil && f.source.wrapped && a.cat.masked == "" {
		switch person, ok := a.personBeside(f); {
		case c.class.Mask.Kind != masking.DateShift:
			a.carry(ref, f, f.source)
			c.gateway, seen = true, connectors.SeenGateway
		case ok:
			c.typ = a.carryDated(ref, f, person)
			c.gateway, seen = true, connectors.SeenGateway
		}
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
	if schema := f.WildCard.Schema.O; schema != "" && !strings.EqualFold(schema, a.cat.database) {
		return nil, nil, unresolved("no such database for *", "")
	}
	list := s.stars
	if f.WildCard.Table.L != "" {
		list = nil
		for _, src := range s.sources {
			if a.sameName(src.name, f.WildCard.Table.O) {
				for i := range src.columns {
					list = append(list, shown{src.columns[i].name, src, &src.columns[i]})
				}
			}
		}
	}
	for _, item := range list {
		name := &ast.ColumnName{Name: ast.NewCIStr(item.name)}
		if item.source != nil {
			name.Table = ast.NewCIStr(item.source.name)
		}
		ref := &ast.ColumnNameExpr{Name: name}
		field := &ast.SelectField{Expr: ref}
		item.column.used = true
		c := a.output(found{column: item.column, source: item.source, own: true}, ref, top)
		c.name = item.name
		a.named(field, &c)
		out, fields = append(out, c), append(fields, field)
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
		if typedLiteral(e) != nil {
			return literalTypes[e.FnName.L]
		}
		return e.FnName.L
	case *ast.FuncCastExpr:
		return "cast"
	case *ast.CaseExpr:
		return "case"
	}
	return "expr"
}
