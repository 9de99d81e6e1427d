package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// enter bounds the depth of nesting.
func (a *analysis) enter() error {
	if a.depth++; a.depth > maxDepth {
		return unsupported("the statement is nested too deeply", "Write it more simply.")
	}
	a.st.Shape.Depth = max(a.st.Shape.Depth, a.depth)
	return nil
}

func (a *analysis) leave() { a.depth-- }

// query analyses a SELECT or a set operation and gives its columns. rows is
// true if its rows can reach the result.
func (a *analysis) query(n ast.Node, parent *scope, rows bool) ([]column, error) {
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.leave()
	switch n := n.(type) {
	case *ast.SelectStmt:
		return a.selectStmt(n, parent, rows)
	case *ast.SetOprStmt:
		return a.setOperation(n, parent, rows)
	case *ast.SubqueryExpr:
		return a.query(n.Query, parent, rows)
	}
	return nil, unsupported("this form of query is not understood", "Use SELECT.")
}

// top reports whether this is the statement's outermost query.
func (a *analysis) top() bool { return a.depth == 1 }

func (a *analysis) setOperation(n *ast.SetOprStmt, parent *scope, rows bool) ([]column, error) {
	s := &scope{parent: parent, rowsOut: rows}
	if err := a.with(n.With, s); err != nil {
		return nil, err
	}
	if n.SelectList == nil || n.SelectList.With != nil {
		return nil, unsupported("this form of set operation is not understood", "")
	}
	var out []column
	dedup := false
	for i, sel := range n.SelectList.Selects {
		var (
			cols []column
			err  error
		)
		switch sel := sel.(type) {
		case *ast.SelectStmt:
			if i > 0 && sel.AfterSetOperator != nil && *sel.AfterSetOperator != ast.UnionAll {
				dedup = true
			}
			cols, err = a.query(sel, s, rows)
		default:
			return nil, unsupported("parentheses around parts of a set operation are not understood", "Use derived tables.")
		}
		if err != nil {
			return nil, err
		}
		if i == 0 {
			out = append([]column(nil), cols...)
			continue
		}
		if len(cols) != len(out) {
			return nil, &connectors.Error{Kind: connectors.KindStatement, SQLState: "21000",
				Message: "the parts of a set operation have different numbers of columns"}
		}
		for j := range out {
			out[j] = a.merge(out[j], cols[j])
		}
	}
	if dedup {
		for _, c := range out {
			a.compared(&c, connectors.UseGroup)
		}
	}
	s.fields = out
	if err := a.orderBy(n.OrderBy, s); err != nil {
		return nil, err
	}
	return out, a.limit(n.Limit, s, true)
}

// merge is a column that is one or the other.
func (*analysis) merge(x, y column) column {
	if x.class == nil && y.class != nil {
		x.class, x.origin = y.class, y.origin
	}
	if x.class != nil && (y.class == nil || y.class.Name != x.class.Name || !x.plain || !y.plain) {
		x.plain = false
	}
	x.ref, x.gateway, x.count = nil, false, x.count || y.count
	return x
}

// with analyses common table expressions into the scope.
func (a *analysis) with(w *ast.WithClause, s *scope) error {
	if w == nil {
		return nil
	}
	s.ctes = map[string][]column{}
	a.st.Shape.Recursive = a.st.Shape.Recursive || w.IsRecursive
	for _, c := range w.CTEs {
		if w.IsRecursive && len(c.ColNameList) > 0 {
			cols := make([]column, len(c.ColNameList))
			for i, name := range c.ColNameList {
				cols[i].name = name.O
			}
			s.ctes[c.Name.L] = cols // what it may say of itself
		} else if w.IsRecursive {
			if first := a.firstPart(c.Query.Query); first != nil {
				cols, err := a.dry(first, s)
				if err != nil {
					return err
				}
				s.ctes[c.Name.L] = cols
			}
		}
		cols, err := a.query(c.Query, s, s.rowsOut)
		if err != nil {
			return err
		}
		if len(c.ColNameList) > 0 {
			if len(c.ColNameList) != len(cols) {
				return &connectors.Error{Kind: connectors.KindStatement, Message: "a common table expression names another number of columns"}
			}
			for i, name := range c.ColNameList {
				cols[i].name = name.O
			}
		}
		s.ctes[c.Name.L] = cols
	}
	return nil
}

// firstPart is the part of a recursive query that does not refer to itself.
func (*analysis) firstPart(n ast.Node) *ast.SelectStmt {
	if set, ok := n.(*ast.SetOprStmt); ok && set.SelectList != nil && len(set.SelectList.Selects) > 0 {
		first, _ := set.SelectList.Selects[0].(*ast.SelectStmt)
		return first
	}
	return nil
}

// dry finds the names of a query's columns without noting anything.
func (a *analysis) dry(n *ast.SelectStmt, s *scope) ([]column, error) {
	var cols []column
	for _, f := range n.Fields.Fields {
		if f.WildCard != nil {
			return nil, unsupported("* in the first part of a recursive query is not understood", "Name the columns.")
		}
		cols = append(cols, column{name: fieldName(f)})
	}
	return cols, nil
}

func (a *analysis) selectStmt(n *ast.SelectStmt, parent *scope, rows bool) ([]column, error) {
	switch {
	case n.Kind != ast.SelectStmtKindSelect:
		return nil, unsupported("TABLE and VALUES statements are not understood", "Use SELECT.")
	case n.SelectIntoOpt != nil:
		return nil, unsupported("SELECT … INTO is not possible through the gateway", "Results are returned as JSON.")
	case len(n.TableHints) > 0:
		return nil, unsupported("optimizer hints are not possible through the gateway", "Leave the hint out.")
	case n.SelectStmtOpts != nil && n.CalcFoundRows:
		return nil, unsupported("SQL_CALC_FOUND_ROWS is not understood", "Use COUNT(*).")
	}
	if n.LockInfo != nil && n.LockInfo.LockType != ast.SelectLockNone {
		a.st.Shape.Locking = true
		return nil, unsupported("FOR UPDATE and LOCK IN SHARE MODE are not possible through the gateway", "Leave the lock out.")
	}
	top := a.top()
	grouped := n.GroupBy != nil
	aggregate := hasAggregate(n.Fields)
	s := &scope{parent: parent, rowsOut: rows && !grouped && !aggregate && (top || !smallLimit(n.Limit)), merged: map[string]bool{}}
	if err := a.with(n.With, s); err != nil {
		return nil, err
	}
	if n.From != nil {
		if _, err := a.tableRefs(n.From.TableRefs, s); err != nil {
			return nil, err
		}
	}
	if n.Where != nil {
		if err := a.condition(n.Where, s, connectors.UsePredicate, fromOnly); err != nil {
			return nil, err
		}
	}
	for i := range n.WindowSpecs {
		if err := a.window(&n.WindowSpecs[i], s); err != nil {
			return nil, err
		}
	}
	out, err := a.fields(n, s, top)
	if err != nil {
		return nil, err
	}
	s.fields = out
	if n.Distinct {
		for i := range out {
			a.compared(&out[i], connectors.UseGroup)
		}
	}
	if n.GroupBy != nil {
		for _, item := range n.GroupBy.Items {
			if err := a.item(item, s, connectors.UseGroup, fromFirst); err != nil {
				return nil, err
			}
		}
	}
	if n.Having != nil {
		if err := a.condition(n.Having.Expr, s, connectors.UsePredicate, fieldsFirst); err != nil {
			return nil, err
		}
	}
	if err := a.orderBy(n.OrderBy, s); err != nil {
		return nil, err
	}
	if err := a.limit(n.Limit, s, top); err != nil {
		return nil, err
	}
	a.shape(n, s, top, grouped, aggregate)
	return out, nil
}

// shape notes the form of a level for rules.
func (a *analysis) shape(n *ast.SelectStmt, s *scope, top, grouped, aggregate bool) {
	if top {
		a.st.Shape.Grouped, a.st.Shape.Aggregate = grouped, aggregate && !grouped
		a.st.Shape.Where = n.Where != nil
	}
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
		if len(reach) < len(s.sources) {
			a.st.Shape.Cartesian = true
		}
	}
	// A join by equality with a filtered source filters.
	for range s.sources {
		for _, l := range s.links {
			if l[0].filtered || l[1].filtered {
				l[0].filtered, l[1].filtered = true, true
			}
		}
	}
	for _, src := range s.sources {
		if src.table != nil && a.protected(src.table) {
			src.rows = s.rowsOut
		}
	}
}

func hasAggregate(list *ast.FieldList) bool {
	v := &aggregates{}
	for _, f := range list.Fields {
		if f.Expr != nil {
			f.Expr.Accept(v)
		}
	}
	return v.found
}

// aggregates looks for an aggregate outside of subqueries and windows.
type aggregates struct{ found bool }

func (v *aggregates) Enter(n ast.Node) (ast.Node, bool) {
	switch n.(type) {
	case *ast.AggregateFuncExpr:
		v.found = true
	case *ast.SubqueryExpr, *ast.WindowFuncExpr:
		return n, true
	}
	return n, false
}

func (*aggregates) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// cappedRows is the LIMIT up to which a subquery is no bulk read.
const cappedRows = 1000

func smallLimit(l *ast.Limit) bool {
	if l == nil || l.Count == nil {
		return false
	}
	v, ok := l.Count.(*test_driver.ValueExpr)
	return ok && v.Kind() == test_driver.KindUint64 && v.GetUint64() <= cappedRows
}

func (a *analysis) limit(l *ast.Limit, s *scope, top bool) error {
	if l == nil {
		return nil
	}
	for _, e := range []ast.ExprNode{l.Count, l.Offset} {
		switch e.(type) {
		case nil, *test_driver.ValueExpr, *test_driver.ParamMarkerExpr:
		default:
			return unsupported("LIMIT takes a number or a parameter", "")
		}
	}
	if top && a.depth == 1 {
		switch v := l.Count.(type) {
		case *test_driver.ValueExpr:
			a.st.Shape.Limit = int64(min(v.GetUint64(), 1<<62)) //nolint:gosec // bounded
		case *test_driver.ParamMarkerExpr:
			a.st.Shape.Limit = -2
		}
	}
	return nil
}

func (a *analysis) orderBy(o *ast.OrderByClause, s *scope) error {
	if o == nil {
		return nil
	}
	for _, item := range o.Items {
		if err := a.item(item, s, connectors.UseOrder, fieldsFirst); err != nil {
			return err
		}
	}
	return nil
}

// item is one expression of GROUP BY, ORDER BY or PARTITION BY.
func (a *analysis) item(item *ast.ByItem, s *scope, kind connectors.UseKind, order lookupOrder) error {
	if p, ok := item.Expr.(*ast.PositionExpr); ok {
		if p.P != nil || p.N < 1 || p.N > len(s.fields) {
			return unsupported("a position in ORDER BY or GROUP BY is not one of the select list", "")
		}
		a.compared(&s.fields[p.N-1], kind)
		return nil
	}
	c, err := a.expr(item.Expr, s, kind, order)
	if err != nil {
		return err
	}
	if _, bare := item.Expr.(*ast.ColumnNameExpr); bare && c.plain && c.class != nil {
		return nil // noted by expr
	}
	return nil
}

// compared notes that a column's values decide about rows.
func (a *analysis) compared(c *column, kind connectors.UseKind) {
	if c.class == nil {
		return
	}
	seen := connectors.SeenGeneralised
	if c.hides() {
		seen = connectors.SeenDestroyed
	}
	a.use(c.origin, *c.class, kind, seen, false)
}

// fields analyses the select list. Stars over masked tables are written out, so
// that a hidden raw column never is part of one.
func (a *analysis) fields(n *ast.SelectStmt, s *scope, top bool) ([]column, error) {
	var out []column
	var list []*ast.SelectField
	for _, f := range n.Fields.Fields {
		if f.WildCard != nil {
			cols, fields, err := a.star(f, s, top && a.st.Kind == connectors.KindSelect)
			if err != nil {
				return nil, err
			}
			out, list = append(out, cols...), append(list, fields...)
			continue
		}
		if ref, ok := f.Expr.(*ast.ColumnNameExpr); ok {
			c, err := a.plainField(ref, s, top)
			if err != nil {
				return nil, err
			}
			if f.AsName.O == "" && !strings.EqualFold(ref.Name.Name.O, c.name) {
				f.AsName = ast.NewCIStr(c.name) // a hidden name must not show
			}
			if f.AsName.O != "" {
				c.name = f.AsName.O
			}
			out, list = append(out, c), append(list, f)
			continue
		}
		c, err := a.expr(f.Expr, s, connectors.UseExpression, fromOnly)
		if err != nil {
			return nil, err
		}
		c.name, c.plain, c.ref = fieldName(f), false, nil
		if f.AsName.O == "" { // MySQL names it by its text, which may hold a literal
			f.AsName = ast.NewCIStr(c.name)
		}
		out, list = append(out, c), append(list, f)
	}
	n.Fields.Fields = list
	return out, nil
}

// plainField is a bare column of the select list.
func (a *analysis) plainField(ref *ast.ColumnNameExpr, s *scope, top bool) (column, error) {
	f, err := a.resolve(s, ref.Name, fromOnly)
	if err != nil {
		return column{}, err
	}
	return a.output(f, ref, top), nil
}

// output notes a bare column in a select list, raw and masked by the gateway if
// its mask is of that kind and it is one of the result's own columns.
func (a *analysis) output(f found, ref *ast.ColumnNameExpr, top bool) column {
	a.unqualify(ref, f)
	c := *f.column
	if c.class == nil || !c.plain {
		return c
	}
	kind, seen := connectors.UseOutput, connectors.SeenMasked
	if !top {
		kind = connectors.UseExpression
	}
	if c.class.Mask.Kind == masking.Token && top && f.own && f.source != nil && f.source.wrapped {
		a.point(ref, f, f.source)
		c.gateway, seen = true, connectors.SeenGateway
	}
	a.use(c.origin, *c.class, kind, seen, false)
	return c
}

// star writes out * or t.*.
func (a *analysis) star(f *ast.SelectField, s *scope, top bool) ([]column, []*ast.SelectField, error) {
	var (
		out    []column
		fields []*ast.SelectField
	)
	if len(s.merged) > 0 && f.WildCard.Table.L == "" {
		return nil, nil, unsupported("* over JOIN … USING or NATURAL JOIN is not understood", "Name the columns, or use t.*.")
	}
	for _, src := range s.sources {
		if f.WildCard.Table.L != "" && !a.sameName(src.name, f.WildCard.Table.O) {
			continue
		}
		for i := range src.columns {
			ref := &ast.ColumnNameExpr{Name: &ast.ColumnName{Table: ast.NewCIStr(src.name), Name: ast.NewCIStr(src.columns[i].name)}}
			field := &ast.SelectField{Expr: ref}
			c := a.output(found{&src.columns[i], src, true}, ref, top)
			if ref.Name.Name.O != c.name {
				field.AsName = ast.NewCIStr(c.name)
			}
			out, fields = append(out, c), append(fields, field)
		}
	}
	if len(out) == 0 {
		return nil, nil, unresolved("* has no table to stand for", "")
	}
	return out, fields, nil
}

// fieldName is the name of an expression in a result: its alias, or a name that
// holds no literal.
func fieldName(f *ast.SelectField) string {
	if f.AsName.O != "" {
		return f.AsName.O
	}
	switch e := f.Expr.(type) {
	case *ast.ColumnNameExpr:
		return e.Name.Name.O
	case *ast.AggregateFuncExpr:
		return strings.ToLower(e.F)
	case *ast.WindowFuncExpr:
		return strings.ToLower(e.Name)
	case *ast.FuncCallExpr:
		return e.FnName.L
	case *ast.FuncCastExpr:
		return "cast"
	case *ast.CaseExpr:
		return "case"
	}
	return "expr"
}

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
