package postgres

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// target analyses the relation of a write. It is not wrapped: a write must
// reach the table itself. Its protected columns may be set to constants and
// looked up; wherever else they are named, their mask stands.
func (a *analysis) target(rv *pg.RangeVar, outer *scope) (*scope, *source, error) {
	if rv == nil {
		return nil, nil, unsupported("a write names one table", "")
	}
	s := &scope{parent: outer, merged: map[string]*column{}}
	src, err := a.rangeVar(nil, rv, s)
	if err != nil {
		return nil, nil, err
	}
	a.placed[rv] = true
	switch {
	case src.relation == nil || !slices.Contains([]string{"table", "partitioned_table", "view"}, src.relation.kind):
		return nil, nil, unsupported("only tables and updatable views can be written", "Write to a table.")
	case src.relation.ruled:
		return nil, nil, unsupported("rules of its own say what a write to "+word(src.relation.name)+" does", "Write to the table beneath.")
	}
	src.wrapped, src.target = false, true
	s.sources = []*source{src}
	a.relation(connectors.Relation{Schema: src.relation.schema, Name: src.relation.name, Kind: src.relation.kind, Write: true,
		Protected: a.protected(src.relation)})
	// Its name is sent as it was resolved.
	rv.Schemaname = src.relation.schema
	a.depth++ // what follows are subqueries
	return s, src, nil
}

func (a *analysis) insert(n *pg.InsertStmt, outer *scope) ([]column, error) {
	a.changes(connectors.KindInsert, true)
	s, src, err := a.target(n.Relation, outer)
	if err != nil {
		return nil, err
	}
	if err := a.with(n.WithClause, s); err != nil {
		return nil, err
	}
	if err := a.inserted(n, s, src); err != nil {
		return nil, err
	}
	if err := a.onConflict(n.OnConflictClause, s, src); err != nil {
		return nil, err
	}
	return a.returning(&n.ReturningList, s)
}

// inserted analyses the rows of an INSERT.
func (a *analysis) inserted(n *pg.InsertStmt, s *scope, src *source) error {
	outside := &scope{parent: s.parent, ctes: s.ctes} // the rows see nothing of the target
	sel := n.SelectStmt.GetSelectStmt()
	width := func(values int) error {
		if len(n.Cols) == 0 { // they are the first ones of the table
			for i := 0; i < values && i < len(src.relation.columns); i++ {
				n.Cols = append(n.Cols, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: src.relation.columns[i].name}}})
			}
		}
		if values == len(n.Cols) {
			return nil
		}
		return &connectors.Error{Kind: connectors.KindStatement, SQLState: "42601", Message: "a row has another number of values than columns"}
	}
	if n.SelectStmt == nil { // DEFAULT VALUES
		return nil
	}
	if sel == nil {
		return unsupported("this form of INSERT is not understood", "Insert VALUES or SELECT.")
	}
	if len(sel.ValuesLists) > 0 && sel.WithClause == nil && len(sel.SortClause) == 0 && sel.LimitCount == nil && sel.LimitOffset == nil {
		for _, l := range sel.ValuesLists {
			items := l.GetList().GetItems()
			if err := width(len(items)); err != nil {
				return err
			}
			for i, item := range items {
				if err := a.assign(n.Cols[i].GetResTarget(), item, s, outside, src); err != nil {
					return err
				}
			}
		}
		return nil
	}
	cols, err := a.query(sel, outside, false)
	if err != nil {
		return err
	}
	if err := width(len(cols)); err != nil {
		return err
	}
	for i, c := range cols {
		if err := a.assignRead(n.Cols[i].GetResTarget(), c, s, src); err != nil {
			return err
		}
	}
	return nil
}

// onConflict analyses ON CONFLICT, where excluded is the row that was refused.
func (a *analysis) onConflict(c *pg.OnConflictClause, s *scope, src *source) error {
	if c == nil {
		return nil
	}
	if c.Infer != nil {
		for _, n := range append(c.Infer.IndexElems, c.Infer.WhereClause) {
			if elem := n.GetIndexElem(); elem != nil && elem.Expr == nil {
				if _, err := a.resolve(s, columnRef(elem.Name)); err != nil {
					return err
				}
			} else if n != nil {
				return unsupported("ON CONFLICT takes plain columns or a constraint", "Name the unique columns.")
			}
		}
	}
	excluded := &source{name: "excluded", excluded: true}
	for _, col := range src.columns { // what the statement itself gives
		excluded.columns = append(excluded.columns, column{name: col.name})
	}
	s.sources = append(s.sources, excluded)
	defer func() { s.sources = s.sources[:1] }()
	if err := a.assignments(c.TargetList, s, src); err != nil {
		return err
	}
	return a.condition(c.WhereClause, s, connectors.UsePredicate, false)
}

func (a *analysis) update(n *pg.UpdateStmt, outer *scope) ([]column, error) {
	a.changes(connectors.KindUpdate, n.WhereClause != nil)
	s, src, err := a.target(n.Relation, outer)
	if err != nil {
		return nil, err
	}
	if err := a.with(n.WithClause, s); err != nil {
		return nil, err
	}
	if err := a.fromList(n.FromClause, s); err != nil {
		return nil, err
	}
	if err := a.assignments(n.TargetList, s, src); err != nil {
		return nil, err
	}
	if err := a.condition(n.WhereClause, s, connectors.UsePredicate, true); err != nil {
		return nil, err
	}
	return a.returning(&n.ReturningList, s)
}

func (a *analysis) delete(n *pg.DeleteStmt, outer *scope) ([]column, error) {
	a.changes(connectors.KindDelete, n.WhereClause != nil)
	s, _, err := a.target(n.Relation, outer)
	if err != nil {
		return nil, err
	}
	if err := a.with(n.WithClause, s); err != nil {
		return nil, err
	}
	if err := a.fromList(n.UsingClause, s); err != nil {
		return nil, err
	}
	if err := a.condition(n.WhereClause, s, connectors.UsePredicate, true); err != nil {
		return nil, err
	}
	return a.returning(&n.ReturningList, s)
}

// returning is a select list over what was written.
func (a *analysis) returning(list *[]*pg.Node, s *scope) ([]column, error) {
	if len(*list) == 0 {
		return nil, nil
	}
	var own []shown // of the target, which * shows first
	for _, c := range s.sources[0].columns {
		own = append(own, shown{c.name, s.sources[0]})
	}
	s.stars = append(own, s.stars...)
	sel := &pg.SelectStmt{TargetList: *list}
	out, err := a.targets(sel, s, false)
	*list = sel.TargetList
	return out, err
}

// inPlace puts a column's mask where a reference to the target of a write
// stands: the target itself is not wrapped.
func (a *analysis) inPlace(n *pg.Node, s *scope) error {
	ref := n.GetColumnRef()
	if ref == nil || !a.st.Write {
		return nil
	}
	if _, star := names(ref); star {
		return nil
	}
	f, err := a.resolve(s, ref)
	if err != nil || f.source == nil || !f.source.target || f.column.class == nil {
		return err
	}
	src, text := f.source, ""
	for _, c := range src.relation.columns {
		if c.name != f.column.origin.Column {
			continue
		}
		if f.column.computed {
			text = a.computed(c)
		} else {
			text = a.mask(*f.column.class, c)
		}
	}
	tree, ok := one("SELECT " + text)
	if !ok || text == "" {
		return errors.New("a mask does not parse")
	}
	value := tree.Stmts[0].Stmt.GetSelectStmt().TargetList[0].GetResTarget().Val
	visit(value, func(n *pg.Node) bool {
		if ref := n.GetColumnRef(); ref != nil {
			ref.Fields = columnRef(src.name, f.column.origin.Column).Fields
		}
		return true
	})
	n.Node = value.Node
	return nil
}

// storesMask refuses to write what was read through a mask.
func storesMask(of masking.ColumnRef) error {
	return unsupported("a write cannot store what it reads of the protected column "+of.String(),
		"It would store the mask. Give the value as a constant or a parameter.")
}

// assignments analyses SET.
func (a *analysis) assignments(list []*pg.Node, s *scope, src *source) error {
	var (
		several *pg.Node // what (a, b) = … takes its values from
		columns []column // of it, if it is a query
	)
	for _, t := range list {
		r := t.GetResTarget()
		multi := r.GetVal().GetMultiAssignRef()
		if multi == nil {
			if err := a.assign(r, r.GetVal(), s, s, src); err != nil {
				return err
			}
			continue
		}
		if multi.Colno == 1 {
			several = multi.Source
			if sub := several.GetSubLink(); sub != nil {
				var err error
				if columns, err = a.query(sub.Subselect.GetSelectStmt(), s, false); err != nil {
					return err
				}
			}
		}
		multi.Source = several // one for all: each has a copy
		at, row := int(multi.Colno)-1, several.GetRowExpr()
		switch {
		case row != nil && at < len(row.Args) && len(row.Args) == int(multi.Ncolumns):
			if err := a.assign(r, row.Args[at], s, s, src); err != nil {
				return err
			}
		case several.GetSubLink() != nil && at < len(columns) && len(columns) == int(multi.Ncolumns):
			if err := a.assignRead(r, columns[at], s, src); err != nil {
				return err
			}
		default:
			return unsupported("this form of SET (a, b) = … is not understood", "Set each column by itself.")
		}
	}
	return nil
}

// assignRead analyses column = what a query gives.
func (a *analysis) assignRead(r *pg.ResTarget, c column, s *scope, src *source) error {
	f, err := a.assigned(r, s, src)
	switch {
	case err != nil:
		return err
	case f.column.class != nil:
		return unsupported("the protected column "+f.column.origin.String()+" can be set to a constant or a parameter only",
			"Give its value itself, as in VALUES or SET.")
	case c.class != nil:
		return storesMask(c.origin)
	}
	return nil
}

// assigned is the column of the target that an assignment names.
func (a *analysis) assigned(r *pg.ResTarget, s *scope, src *source) (found, error) {
	if r == nil {
		return found{}, unsupported("this form of assignment is not understood", "Write column = value.")
	}
	ref := columnRef(r.Name)
	ref.Location = r.Location
	f, err := a.resolve(&scope{sources: []*source{src}}, ref)
	switch {
	case err != nil:
		return f, err
	case f.whole:
		return f, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42703", Message: "no such column in the table that is written"}
	case len(r.Indirection) > 0 && f.column.class != nil:
		return f, unsupported("a part of the protected column "+f.column.origin.String()+" cannot be set by itself", "Set the whole column.")
	}
	for _, part := range r.Indirection { // tags[1], addr.city
		if i := part.GetAIndices(); i != nil {
			if c, err := a.each([]*pg.Node{i.Lidx, i.Uidx}, s, connectors.UseExpression); err != nil || c.class != nil {
				return f, errors.Join(err, storesMask(c.origin))
			}
		} else if part.GetString_() == nil {
			return f, unsupported("assigning to a part of a column is not understood here", "Set the whole column.")
		}
	}
	return f, nil
}

// assign analyses column = value, where the value sees what is in the scope of.
func (a *analysis) assign(r *pg.ResTarget, value *pg.Node, s, of *scope, src *source) error {
	f, err := a.assigned(r, s, src)
	if err != nil {
		return err
	}
	excluded := false // a value of this very statement, for the same column
	if ref := value.GetColumnRef(); ref != nil {
		if same, err := a.resolve(of, ref); err == nil && same.source != nil {
			excluded = same.source.excluded && same.column.name == f.column.name
		}
	}
	c, err := a.expr(value, of, connectors.UseExpression)
	if err != nil {
		return err
	}
	if f.column.class == nil {
		if c.class != nil {
			return storesMask(c.origin)
		}
		return nil
	}
	w := connectors.ColumnWrite{Column: f.column.origin, Class: f.column.class.Name, Param: -1}
	switch v := bare(value); {
	case excluded:
		return nil
	case v.GetParamRef() != nil:
		w.Param = int(v.GetParamRef().Number) - 1
	case v.GetSetToDefault() != nil:
		return nil
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
