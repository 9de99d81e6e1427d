package mysql

import (
	"github.com/pingcap/tidb/pkg/parser/ast"
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
