package mysql

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
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
	out, err := a.parts(n.SelectList, s, rows)
	if err != nil {
		return nil, err
	}
	s.fields = out
	if err := a.orderBy(n.OrderBy, n.Limit, s); err != nil {
		return nil, err
	}
	return out, a.limit(n.Limit, s, true)
}

// parts analyses the queries of a set operation.
func (a *analysis) parts(list *ast.SetOprSelectList, s *scope, rows bool) ([]column, error) {
	if list == nil {
		return nil, unsupported("this form of set operation is not understood", "")
	}
	s = &scope{parent: s, rowsOut: rows}
	if err := a.with(list.With, s); err != nil {
		return nil, err
	}
	var out []column
	within, summed := s.parent.united, true
	for i, part := range list.Selects {
		var (
			cols  []column
			err   error
			after = operator(part)
		)
		s.united = within || united(list.Selects, i)
		switch part := part.(type) {
		case *ast.SelectStmt:
			cols, err = a.query(part, s, rows)
		case *ast.SetOprSelectList:
			cols, err = a.bracketed(part, s, rows)
		default:
			err = unsupported("this form of set operation is not understood", "Use derived tables.")
		}
		if err != nil {
			return nil, err
		}
		summed = summed && a.summed
		a.summed = summed
		if i == 0 {
			out = append([]column(nil), cols...)
			continue
		}
		if len(cols) != len(out) {
			return nil, &connectors.Error{Kind: connectors.KindStatement, SQLState: "21000",
				Message: "the parts of a set operation have different numbers of columns"}
		}
		for j := range out {
			if after == nil || *after != ast.UnionAll {
				a.compared(&out[j], connectors.UseGroup)
				a.compared(&cols[j], connectors.UseGroup)
			}
			out[j] = a.merge(out[j], cols[j])
		}
	}
	return out, nil
}

// operator is what stands before a part of a set operation.
func operator(part ast.Node) *ast.SetOprType {
	switch part := part.(type) {
	case *ast.SelectStmt:
		return part.AfterSetOperator
	case *ast.SetOprSelectList:
		return part.AfterSetOperator
	}
	return nil
}

// united reports whether a set operation keeps no duplicates of a part: a UNION
// makes all before it distinct, INTERSECT and EXCEPT their neighbour.
func united(parts []ast.Node, i int) bool {
	for j := max(1, i); j < len(parts); j++ {
		switch op := operator(parts[j]); {
		case op == nil:
		case *op == ast.Union, j <= i+1 && (*op == ast.Intersect || *op == ast.Except):
			return true
		}
	}
	return false
}

// bracketed is a set operation in parentheses.
func (a *analysis) bracketed(list *ast.SetOprSelectList, s *scope, rows bool) ([]column, error) {
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.leave()
	cols, err := a.parts(list, s, rows)
	if err != nil {
		return nil, err
	}
	s = &scope{parent: s, fields: cols}
	if err := a.orderBy(list.OrderBy, list.Limit, s); err != nil {
		return nil, err
	}
	return cols, a.limit(list.Limit, s, false)
}

// merge is a column that is one or the other.
func (*analysis) merge(x, y column) column {
	if x.class == nil && y.class != nil {
		x.class, x.origin = y.class, y.origin
	}
	if x.class != nil && (y.class == nil || y.class.Name != x.class.Name || !x.plain || !y.plain) {
		x.plain = false
	}
	x.ref, x.base, x.gateway, x.count = nil, nil, false, x.count || y.count
	return x
}

// with analyses common table expressions into the scope. Each is sent under a
// hidden name: servers differ from each other about which names a nested WITH
// sees, and one that looked past an expression to a table of its name would read
// that table raw.
func (a *analysis) with(w *ast.WithClause, s *scope) error {
	if w == nil {
		return nil
	}
	s.ctes = map[string]cte{}
	for _, c := range w.CTEs {
		name := c.Name.L
		if _, twice := s.ctes[name]; twice {
			return &connectors.Error{Kind: connectors.KindStatement, SQLState: "42000",
				Message: "two common table expressions have the name " + word(c.Name.O)}
		}
		c.Name = ast.NewCIStr(a.hide())
		itself := &outlet{out: true, open: true}
		series := isSeries(c.Query.Query, name)
		if w.IsRecursive {
			own, err := a.ofItself(c, s)
			if err != nil {
				return err
			}
			if own != nil {
				s.ctes[name] = cte{columns: own, hidden: c.Name.O, outlet: itself}
			}
		}
		inside, reads, single, decides := len(a.rewrites), len(a.reads), oneRow(c.Query.Query), len(a.decides)
		cols, err := a.withQuery(c, w.IsRecursive, s)
		if err != nil {
			return err
		}
		a.st.Shape.Recursive = a.st.Shape.Recursive || len(itself.readers) > 0 && !series
		one := cte{columns: cols, hidden: c.Name.O, outlet: &outlet{single: single, summed: a.summed}, decides: connectors.FirstUse(a.decides[decides:])}
		s.ctes[name] = one
		a.enclose(one.outlet, inside, reads)
	}
	return nil
}

// ofItself is what a recursive expression may say of itself.
func (a *analysis) ofItself(c *ast.CommonTableExpression, s *scope) ([]column, error) {
	var cols []column
	for _, name := range c.ColNameList {
		cols = append(cols, column{name: name.O})
	}
	if first := a.firstPart(c.Query.Query); cols == nil && first != nil {
		return a.dry(first, s)
	}
	return cols, nil
}

// withQuery analyses the query of a common table expression.
func (a *analysis) withQuery(c *ast.CommonTableExpression, recursive bool, s *scope) ([]column, error) {
	before := a.mark()
	cols, err := a.query(c.Query, &scope{parent: s, body: true}, s.rowsOut)
	if err != nil {
		return nil, err
	}
	if a.strict && recursive { // its columns may have gone round
		for i := range cols {
			cols[i] = a.tainted(cols[i], a.since(before))
		}
	}
	if len(c.ColNameList) > 0 {
		if len(c.ColNameList) != len(cols) {
			return nil, &connectors.Error{Kind: connectors.KindStatement, Message: "a common table expression names another number of columns"}
		}
		for i, name := range c.ColNameList {
			cols[i].name = name.O
		}
	}
	return cols, nil
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
		return nil, unsupported("TABLE and VALUES statements are not understood", "Use SELECT … UNION ALL SELECT ….")
	case n.SelectIntoOpt != nil:
		return nil, unsupported("SELECT … INTO is not possible through the gateway", "Results are returned as JSON.")
	case len(n.TableHints) > 0:
		return nil, unsupported("optimizer hints are not possible through the gateway", "Leave the hint out.")
	case n.SelectStmtOpts != nil && n.CalcFoundRows:
		return nil, unsupported("SQL_CALC_FOUND_ROWS is not understood", "Use COUNT(*).")
	case n.SelectStmtOpts != nil && (n.Priority != mysql.NoPriority || n.StraightJoin || n.SQLBigResult || n.SQLSmallResult || n.SQLBufferResult):
		return nil, unsupported("what SELECT says to the planner is not possible through the gateway", "Leave it out.")
	}
	if n.LockInfo != nil && n.LockInfo.LockType != ast.SelectLockNone {
		a.st.Shape.Locking = true
		return nil, unsupported("FOR UPDATE and LOCK IN SHARE MODE do nothing here: each request is a transaction of its own, so the lock ends with the answer",
			"Leave the lock out. To change only what is still as it was read, compare it in the WHERE of the UPDATE.")
	}
	top := a.top()
	grouped := n.GroupBy != nil
	aggregate := hasAggregate(n.Fields)
	s := &scope{parent: parent, rowsOut: rows && !grouped && !aggregate && (top || !smallLimit(n.Limit)), merged: map[string]bool{}}
	if err := a.with(n.With, s); err != nil {
		return nil, err
	}
	if n.From != nil {
		var err error
		if s.stars, _, err = a.tableRefs(n.From.TableRefs, s); err != nil {
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
		if s.windows == nil {
			s.windows = map[string]*ast.WindowSpec{}
		}
		s.windows[n.WindowSpecs[i].Name.L] = &n.WindowSpecs[i]
	}
	out, err := a.fields(n, s, top)
	if err != nil {
		return nil, err
	}
	s.fields = out
	if err := a.grouping(n, s, out); err != nil {
		return nil, err
	}
	if n.Having != nil {
		if err := a.havingNames(n, s); err != nil {
			return nil, err
		}
		if err := a.condition(n.Having.Expr, s, connectors.UsePredicate, fieldsFirst); err != nil {
			return nil, err
		}
	}
	if err := a.orderBy(n.OrderBy, n.Limit, s); err != nil {
		return nil, err
	}
	if err := a.limit(n.Limit, s, top); err != nil {
		return nil, err
	}
	if (n.Distinct || parent != nil && parent.united) && !grouped && !aggregate && !a.distinctRows(n, s) {
		grouped, s.rowsOut = true, false
	}
	byKey := n.GroupBy != nil && a.groupsByKey(n, s)
	if byKey { // each group is a row
		s.rowsOut = rows && (top || !smallLimit(n.Limit))
		a.st.GroupsByKey = a.st.GroupsByKey || top
	}
	a.shape(n, s, top, grouped, aggregate)
	a.gather(n, s, (grouped || aggregate) && !byKey)
	return a.cells(n, s, out, top)
}

// distinctRows reports whether DISTINCT, or a set operation, takes nothing away, since a primary key
// is in the select list.
func (a *analysis) distinctRows(n *ast.SelectStmt, s *scope) bool {
	groups := &ast.SelectStmt{Fields: &ast.FieldList{}, GroupBy: &ast.GroupByClause{}}
	for _, f := range n.Fields.Fields {
		groups.GroupBy.Items = append(groups.GroupBy.Items, &ast.ByItem{Expr: f.Expr})
	}
	return a.groupsByKey(groups, s)
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

// orderBy analyses a query's ORDER BY. Where it does not choose rows, ordering
// by a mask does no harm, and is said.
func (a *analysis) orderBy(o *ast.OrderByClause, l *ast.Limit, s *scope) error {
	if o == nil {
		return nil
	}
	defer func() { a.harmless = false }()
	for i, item := range o.Items {
		a.harmless = i > 0 || l == nil
		if err := a.item(item, s, connectors.UseOrder, fieldsFirst); err != nil {
			return err
		}
	}
	return nil
}

// grouping analyses DISTINCT and GROUP BY. Beside a table's key, its other
// columns make no group: then their masks do not lie.
func (a *analysis) grouping(n *ast.SelectStmt, s *scope, out []column) error {
	defer func() { a.keyed = nil }()
	if n.Distinct {
		a.keyed = keyedBy(out)
		for i := range out {
			a.compared(&out[i], connectors.UseGroup)
		}
	}
	if n.GroupBy == nil {
		return nil
	}
	a.keyed = keyedBy(a.groupColumns(n, s))
	for _, item := range n.GroupBy.Items {
		if err := a.item(item, s, connectors.UseGroup, fromFirst); err != nil {
			return err
		}
	}
	return nil
}

// groupColumns are the plain columns of GROUP BY.
func (a *analysis) groupColumns(n *ast.SelectStmt, s *scope) []column {
	if n.GroupBy == nil {
		return nil
	}
	var columns []column
	for _, item := range n.GroupBy.Items {
		switch e := item.Expr.(type) {
		case *ast.PositionExpr:
			if e.P == nil && e.N >= 1 && e.N <= len(s.fields) {
				columns = append(columns, s.fields[e.N-1])
			}
		case *ast.ColumnNameExpr:
			if f, err := a.resolve(s, e.Name, fromFirst); err == nil && f.own {
				c := *f.column
				if f.source != nil {
					c.via = f.source
				}
				columns = append(columns, c)
			}
		}
	}
	return columns
}

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
		out[row] = row.base.table.keyed(list)
	}
	return out
}

// keyed reports whether columns hold the table's whole primary key.
func (t *table) keyed(columns []string) bool {
	has := false
	for _, c := range t.columns {
		if c.key == "PRI" {
			if has = slices.Contains(columns, c.name); !has {
				return false
			}
		}
	}
	return has
}

// item is one expression of GROUP BY, ORDER BY or PARTITION BY.
func (a *analysis) item(item *ast.ByItem, s *scope, kind connectors.UseKind, order lookupOrder) error {
	if p, ok := item.Expr.(*ast.PositionExpr); ok {
		if p.P != nil || p.N < 1 || p.N > len(s.fields) {
			return unsupported("a position in ORDER BY or GROUP BY is not one of the select list", "")
		}
		c := &s.fields[p.N-1]
		if c.gateway {
			item.Expr = &ast.ColumnNameExpr{Name: maskedName(c)}
		}
		a.compared(c, kind)
		return nil
	}
	if positioned(item.Expr) {
		return unsupported("a number in brackets or with a sign in ORDER BY or GROUP BY is a position to the server", "Write the position itself, or the column.")
	}
	_, err := a.expr(item.Expr, s, kind, order)
	return err
}

// positioned reports whether MariaDB takes an expression for a position though the
// parser does not: its grammar drops brackets and signs, and binds a marker later.
func positioned(e ast.ExprNode) bool {
	switch e := bare(e).(type) {
	case *test_driver.ValueExpr:
		return e.Kind() == test_driver.KindInt64 || e.Kind() == test_driver.KindUint64
	case *test_driver.ParamMarkerExpr:
		return true
	case *ast.UnaryOperationExpr:
		return positioned(e.V)
	}
	return false
}

// compared notes that a column's values decide about rows.
func (a *analysis) compared(c *column, kind connectors.UseKind) {
	if c.class == nil {
		return
	}
	seen := connectors.SeenGeneralised
	switch {
	case !c.hides():
	case kind == connectors.UseGroup && c.base != nil && c.plain && a.keyed[rowOf{c.base, c.via}]:
		seen = connectors.SeenMasked
	case kind == connectors.UseOrder && a.harmless:
		seen = connectors.SeenMasked
		a.note(c.origin.String() + " is masked; ordering by it means nothing.")
	default:
		seen = connectors.SeenDestroyed
	}
	a.use(c.origin, *c.class, kind, seen, false)
}
