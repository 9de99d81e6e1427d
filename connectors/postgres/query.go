package postgres

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// query analyses a SELECT, VALUES or set operation and gives its columns. rows
// is true if its rows can reach the result.
func (a *analysis) query(n *pg.SelectStmt, parent *scope, rows bool) ([]column, error) {
	if a.depth++; a.depth > maxDepth {
		return nil, unsupported("the statement is nested too deeply", "Write it more simply.")
	}
	defer func() { a.depth-- }()
	a.st.Shape.Depth = max(a.st.Shape.Depth, a.depth)
	switch {
	case n == nil:
		return nil, unsupported("this form of query is not understood", "Use SELECT.")
	case n.IntoClause != nil:
		return nil, unsupported("SELECT INTO is not possible through the gateway", "Results are returned as JSON.")
	}
	if err := a.locking(n); err != nil {
		return nil, err
	}
	s := &scope{parent: parent, rowsOut: rows, merged: map[string]*column{}}
	if err := a.with(n.WithClause, s); err != nil {
		return nil, err
	}
	var (
		out []column
		err error
	)
	switch {
	case n.Op != pg.SetOperation_SETOP_NONE:
		out, err = a.setOperation(n, s, rows)
	case len(n.ValuesLists) > 0:
		out, err = a.values(n.ValuesLists, s)
	default:
		return a.plain(n, s, rows)
	}
	if err != nil {
		return nil, err
	}
	s.fields = out
	if err := a.orderBy(n, s); err != nil {
		return nil, err
	}
	return out, a.limit(n, a.depth == 1)
}

func (a *analysis) setOperation(n *pg.SelectStmt, s *scope, rows bool) ([]column, error) {
	a.depth++ // its parts are not the top level
	defer func() { a.depth-- }()
	s.united = !n.All || s.parent != nil && s.parent.united
	left, err := a.query(n.Larg, s, rows)
	if err != nil {
		return nil, err
	}
	summed := a.summed
	right, err := a.query(n.Rarg, s, rows)
	if err != nil {
		return nil, err
	}
	a.summed = a.summed && summed
	if len(left) != len(right) {
		return nil, &connectors.Error{Kind: connectors.KindStatement, SQLState: "42601",
			Message: "the parts of a set operation have different numbers of columns"}
	}
	out := append([]column(nil), left...)
	for i := range out {
		if !n.All {
			a.compared(&left[i], connectors.UseGroup)
			a.compared(&right[i], connectors.UseGroup)
		}
		out[i] = either(left[i], right[i])
	}
	return out, nil
}

// either is a column that is one or the other.
func either(x, y column) column {
	if x.class == nil && y.class != nil {
		x.class, x.origin = y.class, y.origin
	}
	if x.class != nil && (y.class == nil || *y.class != *x.class || !x.plain || !y.plain) {
		x.plain = false
	}
	x.computed = x.computed || y.computed
	x.ref, x.base, x.gateway, x.count = nil, nil, false, x.count || y.count
	return x
}

func (a *analysis) values(lists []*pg.Node, s *scope) ([]column, error) {
	var out []column
	for _, l := range lists {
		list := l.GetList()
		if list == nil {
			return nil, unsupported("this form of VALUES is not understood", "")
		}
		var err error
		if list.Items, err = a.spreadStars(list.Items, s); err != nil {
			return nil, err
		}
		for i, item := range list.Items {
			c, err := a.expr(item, s, connectors.UseExpression)
			if err != nil {
				return nil, err
			}
			if i >= len(out) {
				out = append(out, column{name: "column" + itoa(i+1)})
			}
			if c.class != nil {
				out[i].class, out[i].origin = c.class, c.origin
			}
			out[i].count = out[i].count || c.count
		}
	}
	a.summed = false // a subquery in it may read rows
	return out, nil
}

// with analyses common table expressions into the scope.
func (a *analysis) with(w *pg.WithClause, s *scope) error {
	if w == nil {
		return nil
	}
	s.ctes = map[string]cte{}
	a.depth++
	target := s.sources // of a write, which WITH does not see
	s.sources = nil
	defer func() { a.depth, s.sources = a.depth-1, target }()
	for _, n := range w.Ctes {
		c := n.GetCommonTableExpr()
		if c == nil {
			return unsupported("this form of WITH is not understood", "")
		}
		sel := c.Ctequery.GetSelectStmt()
		if sel == nil {
			cols, err := a.changeBeneath(c.Ctequery, s)
			if err == nil {
				cols, err = renamed(cols, c.Aliascolnames)
			}
			if err != nil {
				return err
			}
			s.ctes[c.Ctename] = cte{columns: cols, outlet: &outlet{out: true, open: true, people: true}}
			continue
		}
		recursive, itself := w.Recursive && sel.Op != pg.SetOperation_SETOP_NONE, &outlet{out: true, open: true}
		if recursive {
			s.ctes[c.Ctename] = cte{columns: a.announced(c, sel.Larg), outlet: itself}
		}
		before, inside, reads, single := a.mark(), len(a.rewrites), len(a.reads), oneRow(sel)
		cols, err := a.query(sel, s, s.rowsOut)
		if err != nil {
			return err
		}
		summed := a.summed
		a.st.Shape.Recursive = a.st.Shape.Recursive || len(itself.readers) > 0 && !isSeries(sel, c.Ctename)
		if a.strict && recursive { // its columns may have gone round
			for i := range cols {
				cols[i] = a.tainted(cols[i], a.since(before))
			}
		}
		if cols, err = renamed(cols, c.Aliascolnames); err != nil {
			return err
		}
		if _, err := a.each([]*pg.Node{c.CycleClause.GetCycleMarkValue(), c.CycleClause.GetCycleMarkDefault()}, &scope{}, connectors.UseExpression); err != nil {
			return err
		}
		one := cte{append(cols, searched(c)...), &outlet{single: single, summed: summed}, connectors.FirstUse(a.decides[before.decides:])}
		s.ctes[c.Ctename] = one
		a.enclose(one.outlet, inside, reads)
	}
	return nil
}

// searched are the columns that SEARCH and CYCLE add.
func searched(c *pg.CommonTableExpr) []column {
	var out []column
	if c.SearchClause != nil {
		out = append(out, column{name: c.SearchClause.SearchSeqColumn})
	}
	if c.CycleClause != nil {
		out = append(out, column{name: c.CycleClause.CycleMarkColumn}, column{name: c.CycleClause.CyclePathColumn})
	}
	return out
}

// announced are the columns that a recursive query may use of itself.
func (a *analysis) announced(c *pg.CommonTableExpr, first *pg.SelectStmt) []column {
	var out []column
	for _, n := range c.Aliascolnames {
		out = append(out, column{name: n.GetString_().GetSval()})
	}
	if len(out) > 0 || first == nil {
		return out
	}
	for _, t := range first.TargetList {
		r := t.GetResTarget()
		if _, star := names(r.GetVal().GetColumnRef()); r != nil && !star { // what * stands for is not known yet
			out = append(out, column{name: targetName(r)})
		}
	}
	return out
}

// renamed gives columns the names of an alias list; it may be shorter.
func renamed(cols []column, aliases []*pg.Node) ([]column, error) {
	if len(aliases) > len(cols) {
		return nil, &connectors.Error{Kind: connectors.KindStatement, SQLState: "42P10", Message: "an alias names more columns than there are"}
	}
	out := append([]column(nil), cols...)
	for i, n := range aliases {
		out[i].name = n.GetString_().GetSval()
	}
	return out, nil
}

// plain is a SELECT without set operation.
func (a *analysis) plain(n *pg.SelectStmt, s *scope, rows bool) ([]column, error) {
	top := a.depth == 1
	grouped, aggregate := len(n.GroupClause) > 0, false
	for _, t := range n.TargetList {
		aggregate = aggregate || hasAggregate(t)
	}
	s.rowsOut = rows && !grouped && !aggregate && (top || !smallLimit(n.LimitCount))
	if err := a.fromList(n.FromClause, s); err != nil {
		return nil, err
	}
	if err := a.condition(n.WhereClause, s, connectors.UsePredicate, true); err != nil {
		return nil, err
	}
	for _, w := range n.WindowClause {
		if err := a.window(w.GetWindowDef(), s); err != nil {
			return nil, err
		}
		if s.windows == nil {
			s.windows = map[string]*pg.WindowDef{}
		}
		s.windows[w.GetWindowDef().GetName()] = w.GetWindowDef()
	}
	a.collapsed = a.collapsed || top && (grouped || distinct(n))
	out, err := a.targets(n, s, top)
	if err != nil {
		return nil, err
	}
	s.fields = out
	if err := a.grouping(n, s, out); err != nil {
		return nil, err
	}
	if err := a.condition(n.HavingClause, s, connectors.UsePredicate, false); err != nil {
		return nil, err
	}
	if err := a.orderBy(n, s); err != nil {
		return nil, err
	}
	if err := a.limit(n, top); err != nil {
		return nil, err
	}
	a.dependents(n, s)
	united := s.parent != nil && s.parent.united
	if (len(n.DistinctClause) > 0 || united) && !grouped && !aggregate && !a.distinctRows(n, s) {
		grouped, s.rowsOut = true, false
	}
	if top {
		a.st.Shape.Grouped, a.st.Shape.Aggregate, a.st.Shape.Where = grouped, aggregate && !grouped, n.WhereClause != nil
	}
	byKey := len(n.GroupClause) > 0 && a.groupsByKey(n, s)
	if byKey { // each group is a row
		s.rowsOut = rows && (top || !smallLimit(n.LimitCount))
		a.st.GroupsByKey = a.st.GroupsByKey || top
	}
	a.shape(s)
	a.gather(n, s, (grouped || aggregate) && !byKey)
	return a.cells(n, s, out, top)
}

// distinctRows reports whether DISTINCT, or a set operation, takes nothing away, since a primary key
// is in the select list.
func (a *analysis) distinctRows(n *pg.SelectStmt, s *scope) bool {
	groups := &pg.SelectStmt{}
	if len(n.DistinctClause) > 0 && !distinct(n) { // ON some expressions
		groups.TargetList, groups.GroupClause = n.TargetList, n.DistinctClause
		return a.groupsByKey(groups, s)
	}
	for _, t := range n.TargetList {
		groups.GroupClause = append(groups.GroupClause, t.GetResTarget().GetVal())
	}
	return a.groupsByKey(groups, s)
}

// cappedRows is the LIMIT up to which a subquery is no bulk read.
const cappedRows = 1000

func smallLimit(n *pg.Node) bool {
	c := n.GetAConst()
	return c != nil && c.GetIval() != nil && c.GetIval().Ival <= cappedRows
}

func (a *analysis) limit(n *pg.SelectStmt, top bool) error {
	for _, e := range []*pg.Node{n.LimitCount, n.LimitOffset} {
		if e == nil {
			continue
		}
		if _, err := a.expr(e, &scope{}, connectors.UseExpression); err != nil {
			return err
		}
	}
	if !top || n.LimitCount == nil {
		return nil
	}
	switch c := n.LimitCount; {
	case c.GetAConst() != nil && c.GetAConst().Isnull:
	case c.GetAConst() != nil && c.GetAConst().GetIval() != nil:
		a.st.Shape.Limit = int64(c.GetAConst().GetIval().Ival)
	default:
		a.st.Shape.Limit = -2
	}
	if n.LimitOption == pg.LimitOption_LIMIT_OPTION_WITH_TIES {
		a.st.Shape.Limit = -2 // ties are as many as there are
	}
	return nil
}

// grouping analyses DISTINCT and GROUP BY. Beside a table's key, its other
// columns make no group: then their masks do not lie.
func (a *analysis) grouping(n *pg.SelectStmt, s *scope, out []column) error {
	defer func() { a.keyed = nil }()
	for _, d := range n.DistinctClause {
		if d.Node == nil { // plain DISTINCT
			a.keyed = keyedBy(out)
			for i := range out {
				a.compared(&out[i], connectors.UseGroup)
			}
			continue
		}
		if err := a.item(d, s, connectors.UseGroup, true); err != nil {
			return err
		}
	}
	var columns []column
	for _, g := range n.GroupClause {
		if c := a.itemColumn(g, s); c != nil {
			columns = append(columns, *c)
		}
	}
	a.keyed = keyedBy(columns)
	for _, g := range n.GroupClause {
		if err := a.item(g, s, connectors.UseGroup, false); err != nil {
			return err
		}
	}
	return nil
}

// itemColumn is the plain column that an item of GROUP BY is, or nil.
func (a *analysis) itemColumn(n *pg.Node, s *scope) *column {
	if c := n.GetAConst(); c != nil && c.GetIval() != nil {
		if at := int(c.GetIval().Ival); at >= 1 && at <= len(s.fields) {
			return &s.fields[at-1]
		}
	}
	ref := n.GetColumnRef()
	if ref == nil {
		return nil
	}
	if f, ok := a.level(s, ref); ok && !f.whole {
		c := *f.column
		c.via = f.source
		return &c
	}
	if parts, _ := names(ref); len(parts) == 1 {
		return s.field(parts[0])
	}
	return nil
}

// rowOf is a reference to a relation as seen through a source.
type rowOf struct{ base, via *source }

// keyedBy are the references whose whole primary key is among some columns.
func keyedBy(columns []column) map[rowOf]bool {
	names := map[rowOf][]string{}
	for _, c := range columns {
		if c.base != nil && c.ref != nil {
			names[rowOf{c.base, c.via}] = append(names[rowOf{c.base, c.via}], c.ref.Column)
		}
	}
	out := map[rowOf]bool{}
	for row, list := range names {
		out[row] = row.base.relation.keyed(list)
	}
	return out
}

// orderBy analyses a query's ORDER BY. Where it does not choose rows, ordering
// by a mask does no harm, and is said.
func (a *analysis) orderBy(n *pg.SelectStmt, s *scope) error {
	defer func() { a.harmless = false }()
	chooses := len(n.DistinctClause) > 0 && !distinct(n) // DISTINCT ON takes the first of each
	for i := range n.SortClause {
		a.harmless = !chooses && (i > 0 || n.LimitCount == nil)
		if err := a.sort(n.SortClause[i:i+1], s, connectors.UseOrder, true); err != nil {
			return err
		}
	}
	return nil
}

// sort analyses ORDER BY; a bare name may be one of the select list.
func (a *analysis) sort(list []*pg.Node, s *scope, kind connectors.UseKind, fields bool) error {
	for _, n := range list {
		sb := n.GetSortBy()
		if sb == nil {
			return unsupported("this form of ORDER BY is not understood", "Use ASC or DESC.")
		}
		if err := a.operators(sb.UseOp); err != nil {
			return err
		}
		if !fields && sb.Node.GetColumnRef() != nil { // an aggregate's or a window's sees no names of the select list
			if _, err := a.expr(sb.Node, s, kind); err != nil {
				return err
			}
		} else if err := a.item(sb.Node, s, kind, fields); err != nil {
			return err
		}
	}
	return nil
}

// item is one expression of GROUP BY or ORDER BY.
func (a *analysis) item(n *pg.Node, s *scope, kind connectors.UseKind, fieldsFirst bool) error {
	if g := n.GetGroupingSet(); g != nil {
		for _, inner := range g.Content {
			if err := a.item(inner, s, kind, fieldsFirst); err != nil {
				return err
			}
		}
		return nil
	}
	if r := n.GetRowExpr(); r != nil && kind == connectors.UseGroup && r.RowFormat == pg.CoercionForm_COERCE_IMPLICIT_CAST {
		for _, inner := range r.Args { // GROUP BY (a, 2) is GROUP BY a, 2
			if err := a.item(inner, s, kind, fieldsFirst); err != nil {
				return err
			}
		}
		return nil
	}
	if c := n.GetAConst(); c != nil && c.GetIval() != nil {
		at := int(c.GetIval().Ival)
		if at < 1 || at > len(s.fields) {
			return unsupported("a position in ORDER BY or GROUP BY is not one of the select list", "")
		}
		a.compared(&s.fields[at-1], kind)
		masked(n, &s.fields[at-1])
		return nil
	}
	if ref := n.GetColumnRef(); ref != nil {
		if parts, star := names(ref); len(parts) == 1 && !star {
			field := s.field(parts[0])
			if field != nil {
				if _, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, ref); fieldsFirst || err != nil {
					a.compared(field, kind)
					masked(n, field)
					return nil
				}
			}
		}
	}
	_, err := a.expr(n, s, kind)
	return err
}

// masked makes an item that names an output which the gateway masks mean the
// masked column: until it is masked that output is the raw one.
func masked(n *pg.Node, field *column) {
	if !field.gateway {
		return
	}
	for _, c := range field.via.columns {
		if c.origin == field.origin {
			n.Node = &pg.Node_ColumnRef{ColumnRef: columnRef(field.via.name, c.name)}
		}
	}
}
