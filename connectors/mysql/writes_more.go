package mysql

import (
	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// insertedRows analyses INSERT … SELECT: what is read is masked as anywhere, and
// neither a mask nor what was read goes into a protected column.
func (a *analysis) insertedRows(n *ast.InsertStmt, s *scope, src *source) error {
	cols, err := a.query(n.Select, &scope{}, false) // the rows see nothing of the target
	if err != nil {
		return err
	}
	if err := allColumns(n, len(cols), src); err != nil {
		return err
	}
	for i, c := range cols {
		f, err := a.resolve(s, n.Columns[i], fromOnly)
		switch {
		case err != nil:
			return err
		case f.source != src:
			return unresolved("no such column in the table that is written", "")
		case f.column.class != nil:
			return unsupported("the protected column "+f.column.origin.String()+" can be set to a constant or a parameter only", "Insert VALUES.")
		case c.class != nil:
			return storesMask(c.origin)
		}
	}
	return nil
}

// storesMask refuses to write what was read through a mask.
func storesMask(of masking.ColumnRef) error {
	return unsupported("a write cannot store what it reads of the protected column "+of.String(),
		"It would store the mask. Give the value as a constant or a parameter.")
}

// allColumns writes out the columns of an INSERT that names none.
func allColumns(n *ast.InsertStmt, values int, src *source) error {
	if len(n.Columns) == 0 && values == len(src.table.columns) {
		for _, c := range src.table.columns {
			n.Columns = append(n.Columns, &ast.ColumnName{Name: ast.NewCIStr(c.name)})
		}
	}
	if len(n.Columns) != values {
		return &connectors.Error{Kind: connectors.KindStatement, SQLState: "21S01", Message: "a row has another number of values than columns",
			Hint: "Write INSERT INTO table (columns) …."}
	}
	return nil
}

// onDuplicate analyses ON DUPLICATE KEY UPDATE. VALUES(column) is what the
// statement itself gives for a column.
func (a *analysis) onDuplicate(list []*ast.Assignment, s *scope, src *source) error {
	for _, set := range list {
		given, ok := set.Expr.(*ast.ValuesExpr)
		if !ok {
			if err := a.assign(set.Column, set.Expr, s, src); err != nil {
				return err
			}
			continue
		}
		to, err := a.resolve(s, set.Column, fromOnly)
		if err != nil {
			return err
		}
		from, err := a.resolve(s, given.Column.Name, fromOnly)
		switch {
		case err != nil:
			return err
		case to.source != src || from.source != src:
			return unresolved("no such column in the table that is written", "")
		case to.column != from.column && (to.column.class != nil || from.column.class != nil):
			return unsupported("VALUES(column) of a protected column is for that column itself", "Write column = VALUES(column), or give the value.")
		}
	}
	return nil
}

// chosen analyses ORDER BY and LIMIT of UPDATE and DELETE. Which rows come first
// could tell of protected values, so they are for tables without.
func (a *analysis) chosen(order *ast.OrderByClause, limit *ast.Limit, s *scope, src *source) error {
	if order == nil && limit == nil {
		return nil
	}
	if a.protected(src.table) {
		return unsupported("ORDER BY and LIMIT are not possible in a write to a table with protected columns", "Say in WHERE which rows, by their key.")
	}
	if err := a.orderBy(order, limit, s); err != nil {
		return err
	}
	return a.limit(limit, s, false)
}
