package mysql

import (
	"fmt"
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// target analyses the one table of a write. It is not wrapped: a write must
// reach the table itself, so its protected columns may be set to constants and
// looked up, and are read in no other way.
func (a *analysis) target(refs *ast.TableRefsClause) (*scope, *source, error) {
	if refs == nil || refs.TableRefs == nil || refs.TableRefs.Right != nil {
		return nil, nil, unsupported("a write names one table", "Write one table at a time.")
	}
	ref, ok := refs.TableRefs.Left.(*ast.TableSource)
	if !ok {
		return nil, nil, unsupported("a write names one table", "")
	}
	name, ok := ref.Source.(*ast.TableName)
	if !ok {
		return nil, nil, unsupported("a write names one table", "")
	}
	s := &scope{merged: map[string]bool{}}
	src, err := a.baseTable(ref, name, s)
	if err != nil {
		return nil, nil, err
	}
	if src.table == nil || src.table.kind != "table" {
		return nil, nil, unsupported("only tables can be written", "")
	}
	src.wrapped, src.ref, src.target = false, nil, true
	s.sources = []*source{src}
	a.relation(connectors.Relation{Schema: src.table.schema, Name: src.table.name, Kind: "table", Write: true,
		Protected: a.protected(src.table)})
	a.depth++ // what follows are subqueries
	return s, src, nil
}

func (a *analysis) insert(n *ast.InsertStmt) error {
	switch {
	case n.IsReplace, n.IgnoreErr:
		return unsupported("REPLACE and INSERT IGNORE are not understood", "Use INSERT … ON DUPLICATE KEY UPDATE.")
	case len(n.PartitionNames) > 0 || len(n.TableHints) > 0 || n.Priority != mysql.NoPriority:
		return unsupported("PARTITION, priorities, DELAYED and hints are not understood", "Leave them out.")
	}
	s, src, err := a.target(n.Table)
	if err != nil {
		return err
	}
	if n.Select != nil {
		if err := a.insertedRows(n, s, src); err != nil {
			return err
		}
	}
	a.st.Given = int64(len(n.Lists))
	for _, row := range n.Lists {
		if err := allColumns(n, len(row), src); err != nil {
			return err
		}
		for i, value := range row {
			if err := a.assign(n.Columns[i], value, s, src); err != nil {
				return err
			}
		}
	}
	writes := len(a.st.Writes)
	if err := a.onDuplicate(n.OnDuplicate, s, src); err != nil {
		return err
	}
	if n.Select != nil && len(a.st.Writes) > writes { // see Statement.Given
		return unsupported("ON DUPLICATE KEY UPDATE of a protected column is for VALUES only: how many rows changed would tell which held the value", "Insert VALUES.")
	}
	return nil
}

func (a *analysis) update(n *ast.UpdateStmt) error {
	if n.MultipleTable || n.IgnoreErr || n.Priority != mysql.NoPriority || n.With != nil || len(n.TableHints) > 0 || joins(n.TableRefs) {
		return unsupported("only UPDATE table SET … WHERE … is understood", "Write one table: SET column = (SELECT …) WHERE id IN (SELECT …).")
	}
	s, src, err := a.target(n.TableRefs)
	if err != nil {
		return err
	}
	for _, set := range n.List {
		if err := a.assign(set.Column, set.Expr, s, src); err != nil {
			return err
		}
	}
	if err := a.chosen(n.Order, n.Limit, s, src); err != nil {
		return err
	}
	return a.writeWhere(n.Where, s, src)
}

// joins reports whether a write is to a join.
func joins(refs *ast.TableRefsClause) bool {
	return refs != nil && refs.TableRefs != nil && refs.TableRefs.Right != nil
}

func (a *analysis) delete(n *ast.DeleteStmt) error {
	if n.IsMultiTable || n.IgnoreErr || n.Priority != mysql.NoPriority || n.With != nil || len(n.TableHints) > 0 || n.Quick {
		return unsupported("only DELETE FROM table WHERE … is understood", "Delete from one table: WHERE id IN (SELECT …).")
	}
	s, src, err := a.target(n.TableRefs)
	if err != nil {
		return err
	}
	if err := a.chosen(n.Order, n.Limit, s, src); err != nil {
		return err
	}
	return a.writeWhere(n.Where, s, src)
}

// writeWhere analyses which rows are written. A use of a protected column that
// is no lookup and not opened would read it raw.
func (a *analysis) writeWhere(where ast.ExprNode, s *scope, src *source) error {
	if where == nil {
		return nil
	}
	a.st.Shape.Where = true
	before := len(a.st.Uses)
	if err := a.condition(where, s, connectors.UsePredicate, fromOnly); err != nil {
		return err
	}
	return a.onlyRaw(slices.DeleteFunc(slices.Clone(a.st.Uses[before:]), func(u connectors.Use) bool {
		return u.Column.Relation != src.table.name // another table's: it is masked
	}))
}

// onlyRaw refuses uses of protected columns, but for lookups and what an approval
// opened or can open.
func (a *analysis) onlyRaw(uses []connectors.Use) error {
	for _, u := range uses {
		if u.Seen == connectors.SeenLookup || u.Seen == connectors.SeenOpened || (u.Seen == connectors.SeenDestroyed && u.Openable) {
			continue
		}
		return unsupported("a write cannot read the protected column "+u.Column.String(),
			"Name the rows by unprotected columns, or look them up by an identifier.")
	}
	return nil
}

// assign analyses column = value.
func (a *analysis) assign(name *ast.ColumnName, value ast.ExprNode, s *scope, src *source) error {
	f, err := a.resolve(s, name, fromOnly)
	if err != nil {
		return err
	}
	if f.source != src {
		return unresolved("no such column in the table that is written", "")
	}
	if f.column.class == nil {
		if d, ok := value.(*ast.DefaultExpr); ok {
			if d.Name != nil { // it may be an expression over protected columns, of this very row
				return unsupported("DEFAULT(column) is not understood", "Write DEFAULT, or the value itself.")
			}
			return nil
		}
		before := len(a.st.Uses)
		if _, err := a.expr(value, s, connectors.UseExpression, fromOnly); err != nil {
			return err
		}
		return a.onlyRaw(a.st.Uses[before:])
	}
	w := connectors.ColumnWrite{Column: f.column.origin, Class: f.column.class.Name, Param: -1}
	value = bare(value)
	if text := typedLiteral(value); text != nil {
		value = text
	}
	switch v := value.(type) {
	case *test_driver.ParamMarkerExpr:
		w.Param = v.Order
	case *test_driver.ValueExpr:
		if v.GetValue() != nil && masking.LooksMasked(*f.column.class, fmt.Sprint(v.GetValue())) {
			return unsupported("the value for "+f.column.origin.String()+" looks like a mask, not like data",
				"Values read through the gateway are masked; they cannot be written back.")
		}
	default:
		return unsupported("the protected column "+f.column.origin.String()+" can be set to a constant or a parameter only", "")
	}
	a.st.Writes = append(a.st.Writes, w)
	return nil
}
