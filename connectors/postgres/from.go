package postgres

import (
	"slices"
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

func itoa(n int) string { return strconv.Itoa(n) }

// from analyses an item of FROM: what * stands for, and the sources beneath.
func (a *analysis) from(n *pg.Node, s *scope) ([]shown, []*source, error) {
	switch t := n.GetNode().(type) {
	case *pg.Node_RangeVar:
		src, err := a.rangeVar(n, t.RangeVar, s)
		return a.added(src, s, err)
	case *pg.Node_RangeSubselect:
		src, err := a.derivedTable(t.RangeSubselect, s)
		return a.added(src, s, err)
	case *pg.Node_RangeFunction:
		src, err := a.function(t.RangeFunction, s)
		return a.added(src, s, err)
	case *pg.Node_JoinExpr:
		return a.join(t.JoinExpr, s)
	}
	return nil, nil, unsupported("this form of FROM is not understood", "Use tables, joins and derived tables.")
}

func (a *analysis) added(src *source, s *scope, err error) ([]shown, []*source, error) {
	if err != nil {
		return nil, nil, err
	}
	for _, other := range s.sources {
		if other.name == src.name && src.name != "" {
			return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42712",
				Message: "two tables have the name " + word(src.name), Hint: "Give them different aliases."}
		}
	}
	s.sources = append(s.sources, src)
	var stars []shown
	for _, c := range src.columns {
		stars = append(stars, shown{c.name, src})
	}
	return stars, []*source{src}, nil
}

func (a *analysis) join(j *pg.JoinExpr, s *scope) ([]shown, []*source, error) {
	if j.Alias != nil || j.JoinUsingAlias != nil {
		return nil, nil, unsupported("an alias for a join is not understood", "Give the tables aliases.")
	}
	ls, left, err := a.from(j.Larg, s)
	if err != nil {
		return nil, nil, err
	}
	rs, right, err := a.from(j.Rarg, s)
	if err != nil {
		return nil, nil, err
	}
	var using []string
	for _, u := range j.UsingClause {
		using = append(using, u.GetString_().GetSval())
	}
	if j.IsNatural {
		for _, l := range ls {
			if slices.ContainsFunc(rs, func(r shown) bool { return r.name == l.name }) {
				using = append(using, l.name)
			}
		}
	}
	var stars []shown
	for _, name := range using {
		l, r := columnOf(ls, name, s), columnOf(rs, name, s)
		if l == nil || r == nil {
			return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42703",
				Message: "no such column in both tables: " + word(name)}
		}
		a.compared(l, connectors.UseJoin)
		a.compared(r, connectors.UseJoin)
		m := either(*l, *r)
		s.merged[name] = &m
		stars = append(stars, shown{name: name})
		if len(left) > 0 && len(right) > 0 {
			s.links = append(s.links, [2]*source{left[0], right[0]})
		}
	}
	for _, item := range append(ls, rs...) {
		if !slices.Contains(using, item.name) {
			stars = append(stars, item)
		}
	}
	if err := a.condition(j.Quals, s, connectors.UseJoin, true); err != nil {
		return nil, nil, err
	}
	return stars, append(append([]*source(nil), left...), right...), nil
}

func columnOf(list []shown, name string, s *scope) *column {
	for _, item := range list {
		if item.name != name {
			continue
		}
		if item.source == nil {
			return s.merged[name]
		}
		for i := range item.source.columns {
			if item.source.columns[i].name == name {
				return &item.source.columns[i]
			}
		}
	}
	return nil
}

// rangeVar resolves a name in FROM: a common table expression or a relation.
func (a *analysis) rangeVar(node *pg.Node, rv *pg.RangeVar, s *scope) (*source, error) {
	name := rv.Relname
	if rv.Alias != nil {
		name = rv.Alias.Aliasname
	}
	if rv.Schemaname == "" && rv.Catalogname == "" {
		if cols, ok := s.cte(rv.Relname); ok {
			cols, err := renamed(cols, rv.Alias.GetColnames())
			return &source{name: name, columns: cols}, err
		}
	}
	r, err := a.relationNamed(rv)
	if err != nil {
		return nil, err
	}
	denied, err := a.readable(r)
	if err != nil {
		return nil, err
	}
	protected := a.protected(r)
	a.relation(connectors.Relation{Schema: r.schema, Name: r.name, Kind: r.kind, Protected: protected, Denied: denied})
	if r.kind != "catalog" {
		a.stamped[r.schema+"\x00"+r.name] = r.stamp
	}
	src := &source{name: name, relation: r, node: node, only: !rv.Inh, wrapped: protected, raw: map[string]string{}}
	if rv.Alias == nil {
		src.schema = r.schema
	}
	for _, c := range r.columns {
		base := masking.ColumnRef{Schema: r.schema, Relation: r.name, Column: c.name}
		col := column{name: c.name, ref: &base, plain: true, origin: base}
		if class, ok := a.in.Classes.Class(base); ok {
			col.class = &class
		}
		src.columns = append(src.columns, col)
	}
	if src.columns, err = renamed(src.columns, rv.Alias.GetColnames()); err != nil {
		return nil, err
	}
	if protected {
		a.rewrites = append(a.rewrites, src)
	}
	return src, nil
}

func (a *analysis) derivedTable(r *pg.RangeSubselect, s *scope) (*source, error) {
	if r.Alias == nil {
		return nil, unsupported("a derived table needs an alias", "Write (SELECT …) AS name.")
	}
	parent := s // LATERAL sees its neighbours, others only what is outside
	if !r.Lateral {
		parent = &scope{parent: s.parent, ctes: s.ctes}
	}
	cols, err := a.query(r.Subquery.GetSelectStmt(), &scope{parent: parent}, s.rowsOut)
	if err != nil {
		return nil, err
	}
	for i := range cols {
		cols[i].gateway = false
	}
	cols, err = renamed(cols, r.Alias.Colnames)
	return &source{name: r.Alias.Aliasname, columns: cols}, err
}

// function is a set-returning function in FROM.
func (a *analysis) function(r *pg.RangeFunction, s *scope) (*source, error) {
	if r.IsRowsfrom || len(r.Functions) != 1 {
		return nil, unsupported("ROWS FROM is not understood", "Use one function.")
	}
	list := r.Functions[0].GetList()
	if list == nil || len(list.Items) == 0 || list.Items[0].GetFuncCall() == nil {
		return nil, unsupported("only functions can stand here", "")
	}
	call := list.Items[0].GetFuncCall()
	c, err := a.expr(list.Items[0], s, connectors.UseExpression)
	if err != nil {
		return nil, err
	}
	name := last(call.Funcname)
	src := &source{name: name}
	if r.Alias != nil {
		src.name = r.Alias.Aliasname
	}
	var cols []string
	for _, d := range r.Coldeflist {
		cols = append(cols, d.GetColumnDef().GetColname())
	}
	if known, ok := setColumns[name]; ok && len(cols) == 0 {
		cols = known
	}
	if len(cols) == 0 {
		cols = []string{src.name}
	}
	for _, col := range cols {
		src.columns = append(src.columns, column{name: col, class: c.class, origin: c.origin})
	}
	if r.Ordinality {
		src.columns = append(src.columns, column{name: "ordinality"})
	}
	src.columns, err = renamed(src.columns, r.Alias.GetColnames())
	return src, err
}

// setColumns are the columns of functions that return more than one.
var setColumns = map[string][]string{
	"json_each": {"key", "value"}, "jsonb_each": {"key", "value"}, "json_each_text": {"key", "value"}, "jsonb_each_text": {"key", "value"},
	"json_array_elements": {"value"}, "jsonb_array_elements": {"value"}, "json_array_elements_text": {"value"},
	"jsonb_array_elements_text": {"value"},
}
