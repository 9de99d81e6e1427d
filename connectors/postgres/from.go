package postgres

import (
	"maps"
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
	case *pg.Node_RangeTableSample:
		src, err := a.sampled(n, t.RangeTableSample, s)
		return a.added(src, s, err)
	case *pg.Node_RangeSubselect:
		src, err := a.derivedTable(t.RangeSubselect, s)
		return a.added(src, s, err)
	case *pg.Node_RangeFunction:
		src, err := a.function(t.RangeFunction, s)
		return a.added(src, s, err)
	case *pg.Node_RangeTableFunc:
		src, err := a.xmlTable(t.RangeTableFunc, s)
		return a.added(src, s, err)
	case *pg.Node_JoinExpr:
		return a.join(t.JoinExpr, s)
	}
	return nil, nil, unsupported("this form of FROM is not understood", "Use tables, joins and derived tables.")
}

// fromList adds the sources of FROM or USING to a scope, and what * means there.
func (a *analysis) fromList(list []*pg.Node, s *scope) error {
	for _, f := range list {
		stars, _, err := a.from(f, s)
		if err != nil {
			return err
		}
		s.stars = append(s.stars, stars...)
	}
	return nil
}

func (a *analysis) added(src *source, s *scope, err error) ([]shown, []*source, error) {
	if err != nil {
		return nil, nil, err
	}
	for _, other := range s.sources {
		if other.name == src.name && src.name != "" && !other.covered {
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
	first := len(s.sources)
	outer := s.merged
	if j.Alias != nil { // what USING merges inside is not seen outside
		s.merged = map[string]*column{}
	} else {
		s.merged = maps.Clone(outer)
	}
	start := len(a.decides)
	ls, left, err := a.from(j.Larg, s)
	if err != nil {
		return nil, nil, err
	}
	middle := len(a.decides)
	rs, right, err := a.from(j.Rarg, s)
	if err != nil {
		return nil, nil, err
	}
	end := len(a.decides)
	var using []string
	for _, u := range j.UsingClause {
		using = append(using, u.GetString_().GetSval())
	}
	if j.IsNatural { // leaving a column out could join by less, or by more
		for _, src := range append(append([]*source(nil), left...), right...) {
			src.useAll()
		}
		for _, l := range ls {
			if slices.ContainsFunc(rs, func(r shown) bool { return r.name == l.name }) {
				using = append(using, l.name)
			}
		}
	}
	if len(using) > 0 {
		if err := a.operators([]*pg.Node{pg.MakeStrNode("=")}); err != nil {
			return nil, nil, err
		}
	}
	var stars []shown
	for _, name := range using {
		l, r := columnOf(ls, name, s), columnOf(rs, name, s)
		if l == nil || r == nil {
			return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42703",
				Message: "no such column in both tables: " + word(name)}
		}
		l.used, r.used = true, true
		a.compared(l, connectors.UseJoin)
		a.compared(r, connectors.UseJoin)
		s.equal = append(s.equal, [2]found{{column: l, source: sourceOf(ls, name), own: true}, {column: r, source: sourceOf(rs, name), own: true}})
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
	beneath := append(append([]*source(nil), left...), right...)
	if err := a.joinCondition(j.Quals, s, beneath, outer); err != nil {
		return nil, nil, err
	}
	if j.Jointype != pg.JoinType_JOIN_INNER && j.Jointype != pg.JoinType_JOIN_LEFT {
		a.taintRows(left, connectors.FirstUse(a.decides[start:middle], a.decides[end:]))
	}
	if j.Jointype != pg.JoinType_JOIN_INNER && j.Jointype != pg.JoinType_JOIN_RIGHT {
		a.taintRows(right, connectors.FirstUse(a.decides[middle:]))
	}
	if j.JoinUsingAlias != nil { // the columns that USING merged, under a name
		both := &source{name: j.JoinUsingAlias.Aliasname, aside: true}
		for _, name := range using {
			both.columns = append(both.columns, *s.merged[name])
		}
		if _, _, err := a.added(both, s, nil); err != nil {
			return nil, nil, err
		}
		for _, src := range beneath {
			s.links = append(s.links, [2]*source{both, src})
		}
	}
	if j.Alias == nil {
		return stars, beneath, nil
	}
	src := &source{name: j.Alias.Aliasname, beneath: beneath}
	for _, item := range stars {
		if c := columnOf([]shown{item}, item.name, s); c != nil {
			one := *c
			one.name = item.name
			src.columns = append(src.columns, one)
		}
	}
	s.merged = outer
	for _, inner := range s.sources[first:] {
		inner.covered = true
		inner.useAll()
	}
	if src.columns, err = renamed(src.columns, j.Alias.Colnames); err != nil {
		return nil, nil, err
	}
	if len(j.Alias.Colnames) > 0 { // the server counts hidden columns too
		src.asValue(1)
	}
	stars, _, err = a.added(src, s, nil)
	if len(beneath) > 0 {
		s.links = append(s.links, [2]*source{src, beneath[0]})
	}
	return stars, append(beneath, src), err
}

// joinCondition analyses ON, which sees what is joined, and nothing of what stands
// beside the join: a name that means a column there means one further outside.
func (a *analysis) joinCondition(n *pg.Node, s *scope, beneath []*source, outer map[string]*column) error {
	sources, merged := s.sources, s.merged
	defer func() { s.sources, s.merged = sources, merged }()
	s.sources, s.merged = beneath, map[string]*column{}
	for name, c := range merged {
		if outer[name] != c {
			s.merged[name] = c
		}
	}
	return a.condition(n, s, connectors.UseJoin, true)
}

// sampled is TABLESAMPLE, which goes with the relation into its derived table.
func (a *analysis) sampled(n *pg.Node, t *pg.RangeTableSample, s *scope) (*source, error) {
	rv := t.Relation.GetRangeVar()
	method := last(t.Method)
	if rv == nil || len(t.Method) != 1 || (method != "bernoulli" && method != "system") {
		return nil, unsupported("this form of TABLESAMPLE is not understood", "Use BERNOULLI or SYSTEM.")
	}
	for _, arg := range append(append([]*pg.Node(nil), t.Args...), t.Repeatable) {
		if arg != nil && !constant(arg) {
			return nil, unsupported("TABLESAMPLE takes numbers or parameters", "")
		}
		if _, err := a.expr(arg, &scope{}, connectors.UseExpression); err != nil {
			return nil, err
		}
	}
	src, err := a.rangeVar(n, rv, s)
	if err != nil {
		return nil, err
	}
	if src.wrapped { // which rows it takes depends on how wide the rows before them are
		return nil, unsupported("TABLESAMPLE of a table with protected columns would tell their lengths",
			"Sample by a key: WHERE id % 100 = 7.")
	}
	return src, nil
}

// sourceOf is the source of a column that * stands for, or nil of a merged one.
func sourceOf(list []shown, name string) *source {
	if i := slices.IndexFunc(list, func(item shown) bool { return item.name == name }); i >= 0 {
		return list[i].source
	}
	return nil
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
		if one, ok := s.cte(rv.Relname); ok {
			cols, err := renamed(one.columns, rv.Alias.GetColnames())
			a.placed[rv] = true
			a.decides = append(a.decides, one.decides...)
			return a.reading(&source{name: name, columns: cols}, one.outlet), err
		}
	}
	r, err := a.relationNamed(rv)
	if err != nil {
		return nil, err
	}
	known := a.protection(r)
	if known.err != nil {
		return nil, known.err
	}
	protected := len(known.classes) > 0
	a.relation(connectors.Relation{Schema: r.schema, Name: r.name, Kind: r.kind, Protected: protected, Denied: known.denied})
	if a.strict {
		a.decides = append(a.decides, known.decides...)
	}
	for _, one := range append([]*relation{r}, known.relies...) {
		if one.kind != "catalog" {
			a.stamped[one.schema+"\x00"+one.name] = one.stamp
		}
		a.st.NoIndexOnly = a.st.NoIndexOnly || a.leads(one) // also beneath a view, whatever columns it shows
	}
	view, err := a.throughView(r, !rv.Inh)
	if err != nil {
		return nil, err
	}
	src := &source{name: name, relation: r, node: node, only: !rv.Inh, wrapped: protected || len(known.decides) > 0 || view || r.telling() != nil, view: view, raw: map[string]string{}}
	if rv.Alias == nil {
		src.schema = r.schema
	}
	for _, c := range r.columns {
		base := masking.ColumnRef{Schema: r.schema, Relation: r.name, Column: c.name}
		col := column{name: c.name, ref: &base, plain: true, origin: base}
		if class, ok := known.classes[c.name]; ok {
			col.class, col.computed = &class.Class, class.computed
		}
		col.base = src
		src.columns = append(src.columns, col)
	}
	if src.columns, err = renamed(src.columns, rv.Alias.GetColnames()); err != nil {
		return nil, err
	}
	if len(rv.Alias.GetColnames()) > 0 {
		src.useAll() // they are named by position
	}
	if src.wrapped {
		a.rewrites = append(a.rewrites, src)
	} else { // sent as it was resolved: an earlier schema may get one of that name
		rv.Schemaname = r.schema
		a.placed[rv] = true
	}
	return src, nil
}

// leads reports whether an index has a protected column before another one: where
// it is read in place of the table, rows come in the order of that column.
func (a *analysis) leads(r *relation) bool {
	classes := a.protection(r).classes
	return slices.ContainsFunc(r.columns, func(c relationColumn) bool {
		_, protected := classes[c.name]
		return protected && c.leads
	})
}

func (a *analysis) derivedTable(r *pg.RangeSubselect, s *scope) (*source, error) {
	if r.Alias == nil {
		return nil, unsupported("a derived table needs an alias", "Write (SELECT …) AS name.")
	}
	parent := s // LATERAL sees its neighbours, others only what is outside
	if !r.Lateral {
		parent = &scope{parent: s.parent, ctes: s.ctes}
	}
	inside, reads, out, decides := len(a.rewrites), len(a.reads), &outlet{out: true, single: oneRow(r.Subquery.GetSelectStmt())}, len(a.decides)
	cols, err := a.query(r.Subquery.GetSelectStmt(), &scope{parent: parent}, s.rowsOut)
	if err != nil {
		return nil, err
	}
	a.enclose(out, inside, reads)
	out.summed = a.summed
	for i := range cols {
		cols[i].gateway = false
	}
	cols, err = renamed(cols, r.Alias.Colnames)
	src := a.reading(&source{name: r.Alias.Aliasname, columns: cols}, out)
	if r.Lateral { // it may be one value for each row beside it, as a subquery is
		a.taintRows([]*source{src}, connectors.FirstUse(a.decides[decides:]))
	}
	return src, err
}

// severalArrays writes unnest(a, b) as the ROWS FROM (unnest(a), unnest(b)) that the
// server makes of it; of a name with its schema it does not.
func severalArrays(r *pg.RangeFunction) {
	if len(r.Functions) != 1 || len(r.Coldeflist) > 0 {
		return
	}
	items := r.Functions[0].GetList().GetItems()
	if len(items) == 0 || len(items) > 1 && items[1].GetNode() != nil {
		return
	}
	call := items[0].GetFuncCall()
	if call == nil || len(call.Funcname) != 1 || last(call.Funcname) != "unnest" || len(call.Args) < 2 || call.FuncVariadic {
		return
	}
	r.Functions, r.IsRowsfrom = nil, true
	for _, array := range call.Args {
		one := &pg.FuncCall{Funcname: []*pg.Node{pg.MakeStrNode("unnest")}, Args: []*pg.Node{array}, Funcformat: call.Funcformat}
		r.Functions = append(r.Functions, &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: []*pg.Node{
			{Node: &pg.Node_FuncCall{FuncCall: one}}, {}}}}})
	}
}

// function is a set-returning function in FROM, or ROWS FROM several.
func (a *analysis) function(r *pg.RangeFunction, s *scope) (*source, error) {
	src, before := &source{}, a.mark()
	severalArrays(r)
	for _, item := range r.Functions {
		list := item.GetList()
		if list == nil || len(list.Items) == 0 || list.Items[0].GetFuncCall() == nil {
			return nil, unsupported("only functions can stand here", "")
		}
		c, err := a.expr(list.Items[0], s, connectors.UseExpression)
		if err != nil {
			return nil, err
		}
		name := last(list.Items[0].GetFuncCall().Funcname)
		if src.name == "" {
			src.name = name
		}
		if r.Alias != nil {
			src.name = r.Alias.Aliasname
			if len(r.Functions) == 1 { // of ROWS FROM several, each is named by its function
				name = src.name
			}
		}
		defs := r.Coldeflist
		if len(list.Items) > 1 {
			defs = append(defs, list.Items[1].GetList().GetItems()...)
		}
		cols, err := a.definitions(defs)
		if err != nil {
			return nil, err
		}
		if len(cols) == 0 {
			cols = functions[last(list.Items[0].GetFuncCall().Funcname)].columns
		}
		if len(cols) == 0 {
			cols = []string{name}
			if err := a.assumed(list.Items[0].GetFuncCall(), r, name); err != nil {
				return nil, err
			}
		}
		for _, col := range cols {
			src.columns = append(src.columns, column{name: col, class: c.class, origin: c.origin})
		}
	}
	if r.Ordinality {
		number := column{name: "ordinality"}
		if a.strict { // how many rows there are depends on the arguments
			number = a.tainted(number, a.since(before))
		}
		src.columns = append(src.columns, number)
	}
	a.tellRows(src)
	var err error
	src.columns, err = renamed(src.columns, r.Alias.GetColnames())
	return src, err
}

// tellRows marks, in a definition, every column of a function's rows if one is made
// of a protected column: how many rows there are tells of it, also in ordinality
// and in the NULLs that fill up the shorter ones of ROWS FROM.
func (a *analysis) tellRows(src *source) {
	for _, c := range src.columns {
		if a.strict && c.class != nil {
			for i := range src.columns {
				if src.columns[i].class == nil {
					src.columns[i].class, src.columns[i].origin = c.class, c.origin
				}
			}
			return
		}
	}
}

// definitions are the columns of json_to_recordset(…) AS t(a int, …).
func (a *analysis) definitions(defs []*pg.Node) ([]string, error) {
	var cols []string
	for _, d := range defs {
		def := d.GetColumnDef()
		if err := a.typeName(def.GetTypeName()); err != nil {
			return nil, err
		}
		cols = append(cols, def.GetColname())
	}
	return cols, nil
}
