package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// tableRefs analyses a FROM clause and gives the sources beneath a node.
func (a *analysis) tableRefs(n ast.ResultSetNode, s *scope) ([]*source, error) {
	switch n := n.(type) {
	case nil:
		return nil, nil
	case *ast.Join:
		return a.join(n, s)
	case *ast.TableSource:
		return a.tableSource(n, s)
	}
	return nil, unsupported("this form of FROM is not understood", "")
}

func (a *analysis) join(n *ast.Join, s *scope) ([]*source, error) {
	left, err := a.tableRefs(n.Left, s)
	if err != nil || n.Right == nil {
		return left, err
	}
	right, err := a.tableRefs(n.Right, s)
	if err != nil {
		return nil, err
	}
	both := append(append([]*source(nil), left...), right...)
	var using []string
	for _, name := range n.Using {
		using = append(using, name.Name.O)
	}
	if n.NaturalJoin {
		using = common(left, right)
	}
	for _, name := range using {
		l, r := columnOf(left, name), columnOf(right, name)
		if l == nil || r == nil {
			return nil, unresolved("no such column in both tables: "+word(name), "")
		}
		s.merged[strings.ToLower(name)] = true
		for _, f := range []*found{l, r} {
			a.compared(f.column, connectors.UseJoin)
		}
		s.links = append(s.links, [2]*source{l.source, r.source})
	}
	if n.On != nil {
		if err := a.condition(n.On.Expr, s, connectors.UseJoin, fromOnly); err != nil {
			return nil, err
		}
	}
	return both, nil
}

func common(left, right []*source) []string {
	var names []string
	for _, src := range left {
		for _, c := range src.columns {
			if columnOf(right, c.name) != nil {
				names = append(names, c.name)
			}
		}
	}
	return names
}

func columnOf(sources []*source, name string) *found {
	for _, src := range sources {
		for i := range src.columns {
			if strings.EqualFold(src.columns[i].name, name) {
				return &found{&src.columns[i], src, true}
			}
		}
	}
	return nil
}

func (a *analysis) tableSource(n *ast.TableSource, s *scope) ([]*source, error) {
	switch t := n.Source.(type) {
	case *ast.TableName:
		src, err := a.baseTable(n, t, s)
		if err != nil {
			return nil, err
		}
		s.sources = append(s.sources, src)
		return []*source{src}, nil
	case *ast.Join:
		return a.join(t, s)
	case *ast.SelectStmt, *ast.SetOprStmt:
		if n.Lateral {
			return nil, unsupported("LATERAL is not understood for this engine", "Use a join.")
		}
		// A derived table sees no neighbours, but the expressions named outside.
		cols, err := a.query(t, &scope{parent: nil, ctes: s.visibleCTEs()}, s.rowsOut)
		if err != nil {
			return nil, err
		}
		if len(n.ColumnNames) > 0 {
			if len(n.ColumnNames) != len(cols) {
				return nil, &connectors.Error{Kind: connectors.KindStatement, Message: "a derived table names another number of columns"}
			}
			for i, name := range n.ColumnNames {
				cols[i].name = name.O
			}
		}
		for i := range cols {
			cols[i].gateway = false
		}
		src := &source{name: n.AsName.O, columns: cols}
		s.sources = append(s.sources, src)
		return []*source{src}, nil
	}
	return nil, unsupported("this form of FROM is not understood", "")
}

// visibleCTEs are the common table expressions in sight, inner ones first.
func (s *scope) visibleCTEs() map[string][]column {
	out := map[string][]column{}
	for level := s; level != nil; level = level.parent {
		for name, cols := range level.ctes {
			if _, ok := out[name]; !ok {
				out[name] = cols
			}
		}
	}
	return out
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
	if n.Schema.L == "" {
		if cols, ok := s.cte(n.Name.O); ok {
			return &source{name: name, columns: append([]column(nil), cols...)}, nil
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
	return a.tableSourceOf(ref, t, name)
}

// tableSourceOf is a source for a table; one with protected columns is to be
// wrapped.
func (a *analysis) tableSourceOf(ref *ast.TableSource, t *table, name string) (*source, error) {
	protected := a.protected(t)
	a.relation(connectors.Relation{Schema: t.schema, Name: t.name, Kind: t.kind, Protected: protected})
	if t.kind != "catalog" {
		a.stamped[t.name] = true
	}
	switch t.kind {
	case "table", "catalog":
	case "view":
		if err := a.view(t, map[string]bool{}); err != nil {
			return nil, err
		}
	default:
		return nil, unsupported(fmt.Sprintf("%s is a %s, which is not understood", word(t.name), strings.ReplaceAll(t.kind, "_", " ")), "")
	}
	src := &source{name: name, table: t, ref: ref, wrapped: protected, raw: map[string]string{}}
	for _, c := range t.columns {
		base := masking.ColumnRef{Schema: t.schema, Relation: t.name, Column: c.name}
		col := column{name: c.name, ref: &base, plain: true, origin: base}
		if class, ok := a.in.Classes.Class(base); ok {
			col.class, col.ref = &class, &base
		}
		src.columns = append(src.columns, col)
	}
	if protected {
		a.rewrites = append(a.rewrites, src)
	}
	return src, nil
}

// view refuses a view that reaches a protected table, or that is not
// understood.
func (a *analysis) view(t *table, seen map[string]bool) error {
	refuse := func() error {
		return unsupported("the view "+word(t.name)+" reaches a table with protected columns, or is not understood",
			"Read the tables themselves.")
	}
	if seen[t.name] || len(seen) > 20 || t.definition == "" {
		return refuse()
	}
	seen[t.name] = true
	node, err := parse(t.definition)
	if err != nil {
		return refuse()
	}
	v := &tableNames{}
	node.Accept(v)
	for _, n := range v.found {
		if n.Schema.L != "" && !strings.EqualFold(n.Schema.O, a.cat.database) {
			return refuse()
		}
		inner, ok := a.cat.tables[a.cat.tableKey(n.Name.O)]
		if !ok || a.protected(inner) {
			return refuse()
		}
		a.stamped[inner.name] = true
		if inner.kind == "view" {
			if err := a.view(inner, seen); err != nil {
				return err
			}
		} else if inner.kind != "table" {
			return refuse()
		}
	}
	for _, f := range v.functions {
		if class, ok := functions[f]; !ok || class != connectors.FunctionHarmless {
			return refuse()
		}
	}
	return nil
}

// tableNames collects what a view reads and calls.
type tableNames struct {
	found     []*ast.TableName
	functions []string
}

func (v *tableNames) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.TableName:
		v.found = append(v.found, n)
	case *ast.FuncCallExpr:
		v.functions = append(v.functions, n.FnName.L)
	case *ast.VariableExpr:
		v.functions = append(v.functions, "@")
	}
	return n, false
}

func (*tableNames) Leave(n ast.Node) (ast.Node, bool) { return n, true }
