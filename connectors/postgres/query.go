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
	case len(n.LockingClause) > 0:
		a.st.Shape.Locking = true
		return nil, unsupported("FOR UPDATE and FOR SHARE are not possible through the gateway", "Leave the lock out.")
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
	if err := a.sort(n.SortClause, s, connectors.UseOrder, true); err != nil {
		return nil, err
	}
	return out, a.limit(n, a.depth == 1)
}

func (a *analysis) setOperation(n *pg.SelectStmt, s *scope, rows bool) ([]column, error) {
	a.depth++ // its parts are not the top level
	defer func() { a.depth-- }()
	left, err := a.query(n.Larg, s, rows)
	if err != nil {
		return nil, err
	}
	right, err := a.query(n.Rarg, s, rows)
	if err != nil {
		return nil, err
	}
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
	if x.class != nil && (y.class == nil || y.class.Name != x.class.Name || !x.plain || !y.plain) {
		x.plain = false
	}
	x.ref, x.gateway, x.count = nil, false, x.count || y.count
	return x
}

func (a *analysis) values(lists []*pg.Node, s *scope) ([]column, error) {
	var out []column
	for _, l := range lists {
		list := l.GetList()
		if list == nil {
			return nil, unsupported("this form of VALUES is not understood", "")
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
		}
	}
	return out, nil
}

// with analyses common table expressions into the scope.
func (a *analysis) with(w *pg.WithClause, s *scope) error {
	if w == nil {
		return nil
	}
	s.ctes = map[string][]column{}
	a.st.Shape.Recursive = a.st.Shape.Recursive || w.Recursive
	a.depth++
	defer func() { a.depth-- }()
	for _, n := range w.Ctes {
		c := n.GetCommonTableExpr()
		if c == nil || c.SearchClause != nil || c.CycleClause != nil {
			return unsupported("this form of WITH is not understood", "")
		}
		sel := c.Ctequery.GetSelectStmt()
		if sel == nil {
			return unsupported("WITH can hold queries only", "Write one statement at a time.")
		}
		if w.Recursive && sel.Op != pg.SetOperation_SETOP_NONE {
			s.ctes[c.Ctename] = a.announced(c, sel.Larg)
		}
		cols, err := a.query(sel, s, s.rowsOut)
		if err != nil {
			return err
		}
		if s.ctes[c.Ctename], err = renamed(cols, c.Aliascolnames); err != nil {
			return err
		}
	}
	return nil
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
		if r := t.GetResTarget(); r != nil {
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
	for _, f := range n.FromClause {
		stars, _, err := a.from(f, s)
		if err != nil {
			return nil, err
		}
		s.stars = append(s.stars, stars...)
	}
	if err := a.condition(n.WhereClause, s, connectors.UsePredicate, true); err != nil {
		return nil, err
	}
	for _, w := range n.WindowClause {
		if err := a.window(w.GetWindowDef(), s); err != nil {
			return nil, err
		}
	}
	out, err := a.targets(n, s, top)
	if err != nil {
		return nil, err
	}
	s.fields = out
	for _, d := range n.DistinctClause {
		if d.Node == nil { // plain DISTINCT
			for i := range out {
				a.compared(&out[i], connectors.UseGroup)
			}
			continue
		}
		if _, err := a.expr(d, s, connectors.UseGroup); err != nil {
			return nil, err
		}
	}
	for _, g := range n.GroupClause {
		if err := a.item(g, s, connectors.UseGroup, false); err != nil {
			return nil, err
		}
	}
	if err := a.condition(n.HavingClause, s, connectors.UsePredicate, false); err != nil {
		return nil, err
	}
	if err := a.sort(n.SortClause, s, connectors.UseOrder, true); err != nil {
		return nil, err
	}
	if err := a.limit(n, top); err != nil {
		return nil, err
	}
	if top {
		a.st.Shape.Grouped, a.st.Shape.Aggregate, a.st.Shape.Where = grouped, aggregate && !grouped, n.WhereClause != nil
	}
	a.shape(s)
	return out, nil
}

// shape notes how the sources of a level are joined and filtered.
func (a *analysis) shape(s *scope) {
	if len(s.sources) > 1 {
		a.st.Shape.Joins += len(s.sources) - 1
		reach := map[*source]bool{s.sources[0]: true}
		for range s.sources {
			for _, l := range s.links {
				if reach[l[0]] || reach[l[1]] {
					reach[l[0]], reach[l[1]] = true, true
				}
			}
		}
		a.st.Shape.Cartesian = a.st.Shape.Cartesian || len(reach) < len(s.sources)
	}
	for range s.sources { // a join with a filtered source filters
		for _, l := range s.links {
			if l[0].filtered || l[1].filtered {
				l[0].filtered, l[1].filtered = true, true
			}
		}
	}
	for _, src := range s.sources {
		src.rows = s.rowsOut
	}
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
		if !constant(e) {
			return unsupported("LIMIT takes a number or a parameter", "")
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

// sort analyses ORDER BY; a bare name may be one of the select list.
func (a *analysis) sort(list []*pg.Node, s *scope, kind connectors.UseKind, fields bool) error {
	for _, n := range list {
		sb := n.GetSortBy()
		if sb == nil || len(sb.UseOp) > 0 {
			return unsupported("this form of ORDER BY is not understood", "Use ASC or DESC.")
		}
		if err := a.item(sb.Node, s, kind, fields); err != nil {
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
	if c := n.GetAConst(); c != nil && c.GetIval() != nil {
		at := int(c.GetIval().Ival)
		if at < 1 || at > len(s.fields) {
			return unsupported("a position in ORDER BY or GROUP BY is not one of the select list", "")
		}
		a.compared(&s.fields[at-1], kind)
		return nil
	}
	if ref := n.GetColumnRef(); ref != nil {
		if parts, star := names(ref); len(parts) == 1 && !star {
			field := s.field(parts[0])
			if field != nil {
				if _, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, ref); fieldsFirst || err != nil {
					a.compared(field, kind)
					return nil
				}
			}
		}
	}
	_, err := a.expr(n, s, kind)
	return err
}
