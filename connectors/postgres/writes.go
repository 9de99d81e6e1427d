package postgres

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// target analyses the relation of a write. It is not wrapped: a write must
// reach the table itself, so its protected columns may be set to constants and
// looked up, and are read in no other way.
func (a *analysis) target(rv *pg.RangeVar) (*scope, *source, error) {
	if rv == nil {
		return nil, nil, unsupported("a write names one table", "")
	}
	s := &scope{merged: map[string]*column{}}
	src, err := a.rangeVar(nil, rv, s)
	if err != nil {
		return nil, nil, err
	}
	if src.relation == nil || (src.relation.kind != "table" && src.relation.kind != "partitioned_table") {
		return nil, nil, unsupported("only tables can be written", "")
	}
	src.wrapped = false
	s.sources = []*source{src}
	a.relation(connectors.Relation{Schema: src.relation.schema, Name: src.relation.name, Kind: src.relation.kind, Write: true,
		Protected: a.protected(src.relation)})
	// Its name is sent as it was resolved.
	rv.Schemaname = src.relation.schema
	a.depth++ // what follows are subqueries
	return s, src, nil
}

func (a *analysis) insert(n *pg.InsertStmt) error {
	values := n.SelectStmt.GetSelectStmt()
	switch {
	case n.OnConflictClause != nil, n.WithClause != nil, n.Override != pg.OverridingKind_OVERRIDING_NOT_SET:
		return unsupported("ON CONFLICT, WITH and OVERRIDING are not understood in INSERT", "Use plain INSERT or UPDATE.")
	case values == nil || len(values.ValuesLists) == 0 || values.WithClause != nil || len(values.SortClause) > 0 || values.LimitCount != nil:
		return unsupported("INSERT … SELECT and DEFAULT VALUES are not understood", "Insert VALUES.")
	case len(n.Cols) == 0:
		return unsupported("INSERT must name its columns", "Write INSERT INTO table (columns) VALUES (…).")
	}
	s, src, err := a.target(n.Relation)
	if err != nil {
		return err
	}
	for _, l := range values.ValuesLists {
		items := l.GetList().GetItems()
		if len(items) != len(n.Cols) {
			return &connectors.Error{Kind: connectors.KindStatement, SQLState: "42601", Message: "a row has another number of values than columns"}
		}
		for i, item := range items {
			if err := a.assign(n.Cols[i].GetResTarget(), item, s, src); err != nil {
				return err
			}
		}
	}
	return a.returning(n.ReturningList, s)
}

func (a *analysis) update(n *pg.UpdateStmt) error {
	if len(n.FromClause) > 0 || n.WithClause != nil {
		return unsupported("only UPDATE table SET … WHERE … is understood", "Write one table; use a subquery in WHERE.")
	}
	s, src, err := a.target(n.Relation)
	if err != nil {
		return err
	}
	for _, t := range n.TargetList {
		r := t.GetResTarget()
		if r.GetVal().GetMultiAssignRef() != nil {
			return unsupported("SET (a, b) = … is not understood", "Set each column by itself.")
		}
		if err := a.assign(r, r.GetVal(), s, src); err != nil {
			return err
		}
	}
	if err := a.writeWhere(n.WhereClause, s); err != nil {
		return err
	}
	return a.returning(n.ReturningList, s)
}

func (a *analysis) delete(n *pg.DeleteStmt) error {
	if len(n.UsingClause) > 0 || n.WithClause != nil {
		return unsupported("only DELETE FROM table WHERE … is understood", "Delete from one table; use a subquery in WHERE.")
	}
	s, _, err := a.target(n.Relation)
	if err != nil {
		return err
	}
	if err := a.writeWhere(n.WhereClause, s); err != nil {
		return err
	}
	return a.returning(n.ReturningList, s)
}

// writeWhere analyses which rows are written.
func (a *analysis) writeWhere(where *pg.Node, s *scope) error {
	if where == nil {
		return nil
	}
	a.st.Shape.Where = true
	before := len(a.st.Uses)
	if err := a.condition(where, s, connectors.UsePredicate, true); err != nil {
		return err
	}
	return a.onlyRaw(before)
}

// onlyRaw refuses uses of protected columns since before, but for lookups and
// what an approval opened or can open: in a write they would be read raw.
func (a *analysis) onlyRaw(before int) error {
	for _, u := range a.st.Uses[before:] {
		if u.Seen == connectors.SeenLookup || u.Seen == connectors.SeenOpened || (u.Seen == connectors.SeenDestroyed && u.Openable) {
			continue
		}
		return unsupported("a write cannot read the protected column "+u.Column.String(),
			"Name the rows by unprotected columns, or look them up by an identifier.")
	}
	return nil
}

// returning gives unprotected columns only.
func (a *analysis) returning(list []*pg.Node, s *scope) error {
	for _, t := range list {
		r := t.GetResTarget()
		ref := r.GetVal().GetColumnRef()
		if ref == nil {
			return unsupported("RETURNING takes plain columns only", "Name unprotected columns.")
		}
		if _, star := names(ref); star {
			return unsupported("RETURNING * is not understood", "Name unprotected columns.")
		}
		f, err := a.resolve(s, ref)
		if err != nil {
			return err
		}
		if f.column.class != nil {
			return unsupported("RETURNING cannot give the protected column "+f.column.origin.String(), "Read it in a statement of its own.")
		}
		name := f.column.name
		if r.Name != "" {
			name = r.Name
		}
		a.st.Outputs = append(a.st.Outputs, connectors.Output{Name: name, Source: f.column.ref, Detect: true})
	}
	return nil
}

// assign analyses column = value.
func (a *analysis) assign(r *pg.ResTarget, value *pg.Node, s *scope, src *source) error {
	if r == nil || len(r.Indirection) > 0 {
		return unsupported("assigning to a part of a column is not understood", "Set the whole column.")
	}
	f, err := a.resolve(s, columnRef(r.Name))
	if err != nil {
		return err
	}
	if f.source != src {
		return &connectors.Error{Kind: connectors.KindUnresolved, Message: "no such column in the table that is written"}
	}
	before := len(a.st.Uses)
	if _, err := a.expr(value, s, connectors.UseExpression); err != nil {
		return err
	}
	if f.column.class == nil {
		return a.onlyRaw(before)
	}
	w := connectors.ColumnWrite{Column: f.column.origin, Class: f.column.class.Name, Param: -1}
	switch v := bare(value); {
	case v.GetParamRef() != nil:
		w.Param = int(v.GetParamRef().Number) - 1
	case v.GetAConst() != nil:
		if text := v.GetAConst().GetSval().GetSval(); text != "" && masking.LooksMasked(*f.column.class, text) {
			return unsupported("the value for "+f.column.origin.String()+" looks like a mask, not like data",
				"Values read through the gateway are masked; they cannot be written back.")
		}
	default:
		return unsupported("the protected column "+f.column.origin.String()+" can be set to a constant or a parameter only", "")
	}
	a.st.Writes = append(a.st.Writes, w)
	return nil
}
