package mysql

import (
	"errors"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// tableRefs analyses a FROM clause: what * stands for, and the sources beneath.
func (a *analysis) tableRefs(n ast.ResultSetNode, s *scope) ([]shown, []*source, error) {
	switch n := n.(type) {
	case nil:
		return nil, nil, nil
	case *ast.Join:
		return a.join(n, s)
	case *ast.TableSource:
		return a.tableSource(n, s)
	}
	return nil, nil, unsupported("this form of FROM is not understood", "")
}

func (a *analysis) join(n *ast.Join, s *scope) ([]shown, []*source, error) {
	start := len(a.decides)
	ls, left, err := a.tableRefs(n.Left, s)
	if err != nil || n.Right == nil {
		return ls, left, err
	}
	middle := len(a.decides)
	rs, right, err := a.tableRefs(n.Right, s)
	if err != nil {
		return nil, nil, err
	}
	both := append(append([]*source(nil), left...), right...)
	end := len(a.decides)
	defer func() {
		switch n.Tp {
		case ast.LeftJoin:
			a.taintRows(right, connectors.FirstUse(a.decides[middle:]))
		case ast.RightJoin:
			a.taintRows(left, connectors.FirstUse(a.decides[start:middle], a.decides[end:]))
		}
	}()
	if len(n.Using) > 0 || n.NaturalJoin {
		stars, err := a.using(n, ls, rs, left, right, s)
		return stars, both, err
	}
	if n.On != nil {
		if err := a.joinCondition(n.On.Expr, s, both); err != nil {
			return nil, nil, err
		}
		unsought(n.Tp, left, right)
	}
	return append(append([]shown(nil), ls...), rs...), both, nil
}

// joinCondition analyses ON, which sees what is joined, and nothing of what stands
// beside the join: a name that means a column there means one further outside.
func (a *analysis) joinCondition(on ast.ExprNode, s *scope, both []*source) error {
	sources := s.sources
	defer func() { s.sources = sources }()
	s.sources = both
	return a.condition(on, s, connectors.UseJoin, fromOnly)
}

// unsought takes back that a raw comparison needs its index, for the side of an
// outer join that is kept whole: there it chooses no rows, and all of them would
// come in the order of the raw values.
func unsought(tp ast.JoinType, left, right []*source) {
	kept := map[ast.JoinType][]*source{ast.LeftJoin: left, ast.RightJoin: right}[tp]
	for _, src := range kept {
		clear(src.sought)
	}
}

// using joins by columns of equal names, which * shows once and first; after
// them come the others of the side that is kept whole.
func (a *analysis) using(n *ast.Join, ls, rs []shown, left, right []*source, s *scope) ([]shown, error) {
	first, second := ls, rs
	if n.Tp == ast.RightJoin {
		first, second = rs, ls
	}
	var names []string
	for _, name := range n.Using {
		names = append(names, name.Name.O)
	}
	if n.NaturalJoin {
		names = nil
		for _, src := range append(append([]*source(nil), left...), right...) {
			src.useAll() // leaving a column out could join by less
		}
		for _, item := range first {
			if shownAs(second, item.name) != nil {
				names = append(names, item.name)
			}
		}
	}
	var stars []shown
	merged := map[string]bool{}
	for _, name := range names {
		x, y := shownAs(first, name), shownAs(second, name)
		if x == nil || y == nil {
			return nil, unresolved("no such column in both tables: "+word(name), "")
		}
		a.compared(x.column, connectors.UseJoin)
		a.compared(y.column, connectors.UseJoin)
		merged[strings.ToLower(name)], s.merged[strings.ToLower(name)] = true, true
		x.column.used, y.column.used = true, true
		x.column.tested, y.column.tested = true, true
		s.equal = append(s.equal, [2]found{{column: x.column, source: x.source, own: true}, {column: y.column, source: y.source, own: true}})
		one := a.merge(*x.column, *y.column)
		stars = append(stars, shown{x.name, nil, &one})
		if len(left) > 0 && len(right) > 0 {
			s.links = append(s.links, [2]*source{left[0], right[0]})
		}
	}
	for _, item := range append(append([]shown(nil), first...), second...) {
		if !merged[strings.ToLower(item.name)] {
			stars = append(stars, item)
		}
	}
	return stars, nil
}

func shownAs(list []shown, name string) *shown {
	for i := range list {
		if sameColumn(list[i].name, name) {
			return &list[i]
		}
	}
	return nil
}

func (a *analysis) tableSource(n *ast.TableSource, s *scope) ([]shown, []*source, error) {
	if n.Lateral {
		return nil, nil, unsupported("LATERAL is not understood for this engine", "Use a join.")
	}
	switch t := n.Source.(type) {
	case *ast.TableName:
		src, err := a.baseTable(n, t, s)
		if err != nil {
			return nil, nil, err
		}
		return s.add(src)
	case *ast.Join:
		return a.join(t, s)
	case *ast.SelectStmt, *ast.SetOprStmt:
		// A derived table sees no neighbours, but the expressions named outside.
		inside, reads, out := len(a.rewrites), len(a.reads), &outlet{out: true, single: oneRow(t)}
		cols, err := a.query(t, &scope{parent: nil, ctes: s.visibleCTEs(), nested: true}, s.rowsOut)
		if err != nil {
			return nil, nil, err
		}
		a.enclose(out, inside, reads)
		out.summed = a.summed
		if len(n.ColumnNames) > 0 {
			if len(n.ColumnNames) != len(cols) {
				return nil, nil, &connectors.Error{Kind: connectors.KindStatement, Message: "a derived table names another number of columns"}
			}
			for i, name := range n.ColumnNames {
				cols[i].name = name.O
			}
		}
		for i := range cols {
			cols[i].gateway = false
		}
		return s.add(a.reading(&source{name: n.AsName.O, columns: cols}, out))
	}
	return nil, nil, unsupported("this form of FROM is not understood", "")
}

func (s *scope) add(src *source) ([]shown, []*source, error) {
	s.sources = append(s.sources, src)
	var stars []shown
	for i := range src.columns {
		stars = append(stars, shown{src.columns[i].name, src, &src.columns[i]})
	}
	return stars, []*source{src}, nil
}

// baseTable resolves a name in FROM: a common table expression, a table or a
// view.
func (a *analysis) baseTable(ref *ast.TableSource, n *ast.TableName, s *scope) (*source, error) {
	if len(n.PartitionNames) > 0 || n.TableSample != nil || n.AsOf != nil {
		return nil, unsupported("PARTITION, TABLESAMPLE and AS OF are not understood", "Leave them out.")
	}
	if len(n.IndexHints) > 0 {
		return nil, unsupported("index hints are not possible through the gateway", "Leave the hint out.")
	}
	name := ref.AsName.O
	if name == "" {
		name = n.Name.O
	}
	for _, other := range s.sources {
		if a.sameName(other.name, name) {
			return nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42000", Message: "two tables have the name " + word(name),
				Hint: "Give them different aliases."}
		}
	}
	a.understood[n] = true
	if n.Schema.L == "" {
		one, ok := s.visibleCTEs()[n.Name.L]
		if one.far {
			return nil, unsupported("a WITH inside a subquery or derived table does not see those outside: "+word(n.Name.O),
				"Write all common table expressions into the outermost WITH.")
		}
		if ok {
			n.Name, ref.AsName = ast.NewCIStr(one.hidden), ast.NewCIStr(name)
			a.decides = append(a.decides, one.decides...)
			return a.reading(&source{name: name, columns: append([]column(nil), one.columns...)}, one.outlet), nil
		}
	}
	t, err := a.tableNamed(n)
	if errors.Is(err, errDenied) {
		a.relation(connectors.Relation{Schema: t.schema, Name: t.name, Kind: t.kind, Denied: errDenied.Message})
		return nil, errDenied
	}
	if err != nil {
		return nil, err
	}
	// As the catalog spells it, and of which database: what is read is what was
	// looked up, not what the server would find by the client's spelling.
	n.Schema, n.Name = ast.NewCIStr(a.stored(t)), ast.NewCIStr(t.name)
	if ref.AsName.O == "" && name != t.name && t.kind == "catalog" {
		ref.AsName = ast.NewCIStr(name)
	}
	return a.tableSourceOf(ref, t, name)
}

// tableSourceOf is a source for a table; one with protected columns is to be
// wrapped.
func (a *analysis) tableSourceOf(ref *ast.TableSource, t *table, name string) (*source, error) {
	known := a.protection(t)
	if known.err != nil {
		return nil, known.err
	}
	if a.strict {
		a.decides = append(a.decides, known.decides...)
	}
	protected := len(known.classes) > 0
	a.relation(connectors.Relation{Schema: t.schema, Name: t.name, Kind: t.kind, Protected: protected})
	for _, one := range append([]*table{t}, known.relies...) {
		if one.kind != "catalog" {
			a.stamped[one.name] = true
		}
	}
	wrapped := protected || known.ordered || len(known.exposures) > 0 || a.throughView(t)
	src := &source{name: name, table: t, ref: ref, wrapped: wrapped, raw: map[string]string{}, sought: map[string]bool{}}
	for _, c := range t.columns {
		base := masking.ColumnRef{Schema: t.schema, Relation: t.name, Column: c.name}
		col := column{name: c.name, ref: &base, plain: true, origin: base}
		if class, ok := known.classes[c.name]; ok {
			col.class, col.computed = &class.Class, class.computed
		}
		col.base = src
		src.columns = append(src.columns, col)
	}
	if src.wrapped {
		a.rewrites = append(a.rewrites, src)
	}
	return src, nil
}
