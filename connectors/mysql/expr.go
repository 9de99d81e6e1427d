package mysql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
)

// condition analyses WHERE, ON or HAVING: the conjuncts are looked at one by
// one for lookups, for joins and for what filters.
func (a *analysis) condition(e ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) error {
	if p, ok := e.(*ast.ParenthesesExpr); ok {
		return a.condition(p.Expr, s, kind, order)
	}
	if b, ok := e.(*ast.BinaryOperationExpr); ok && b.Op == opcode.LogicAnd {
		if err := a.condition(b.L, s, kind, order); err != nil {
			return err
		}
		return a.condition(b.R, s, kind, order)
	}
	if order == fromOnly {
		if done, err := a.lookup(e, s, kind); done || err != nil {
			return err
		}
	}
	if _, err := a.expr(e, s, kind, order); err != nil {
		return err
	}
	a.conjunct(e, s)
	return nil
}

// lookup opens `column = <literal or parameter>` on a lookup column.
func (a *analysis) lookup(e ast.ExprNode, s *scope, kind connectors.UseKind) (bool, error) {
	b, ok := e.(*ast.BinaryOperationExpr)
	if !ok || b.Op != opcode.EQ {
		return false, nil
	}
	ref, value := sides(b)
	if ref == nil {
		return false, nil
	}
	f, err := a.resolve(s, ref.Name, fromOnly)
	if err != nil || !f.own || f.source == nil || f.source.table == nil || f.column.class == nil || !f.column.class.Lookup {
		return false, err
	}
	if err := a.exact(b, value, f); err != nil {
		return false, err
	}
	a.point(ref, f, f.source)
	a.use(f.column.origin, *f.column.class, kind, connectors.SeenLookup, false)
	l := connectors.Lookup{Column: f.column.origin, Class: f.column.class.Name, Param: -1}
	if m, ok := value.(*test_driver.ParamMarkerExpr); ok {
		l.Param = m.Order
	} else if v, ok := value.(*test_driver.ValueExpr); ok {
		l.Literal = literalText(v)
	}
	a.st.Lookups = append(a.st.Lookups, l)
	f.source.filtered = true
	f.source.person = f.source.person || kind == connectors.UsePredicate
	return true, nil
}

// literalText is a literal's value as text, "" for kinds that name nobody.
func literalText(v *test_driver.ValueExpr) string {
	switch v.Kind() {
	case test_driver.KindString, test_driver.KindBytes:
		return v.GetString()
	case test_driver.KindInt64:
		return strconv.FormatInt(v.GetInt64(), 10)
	case test_driver.KindUint64:
		return strconv.FormatUint(v.GetUint64(), 10)
	case test_driver.KindMysqlDecimal:
		return v.GetMysqlDecimal().String()
	}
	return ""
}

// exact makes a lookup compare in the column's own type. A text beside a number
// is compared as DOUBLE, to which every text without digits is 0: one lookup
// would open them all. A parameter's type is the client's, so it is converted,
// which still uses the column's index.
func (a *analysis) exact(b *ast.BinaryOperationExpr, value ast.ExprNode, f found) error {
	t := f.source.table.column(f.column.name)
	if m, ok := value.(*test_driver.ParamMarkerExpr); ok {
		converted, err := as(t, m)
		a.understood[converted] = true
		if b.L, b.R = bare(b.L), bare(b.R); b.L == value {
			b.L = converted
		} else {
			b.R = converted
		}
		return err
	}
	v, ok := value.(*test_driver.ValueExpr)
	switch {
	case ok && isExact(t.dataType) && (v.Kind() == test_driver.KindInt64 || v.Kind() == test_driver.KindUint64):
	case ok && !isNumber(t.dataType) && v.Kind() == test_driver.KindString && plainText(v):
	default:
		return unsupported(f.column.origin.String()+" can be looked up by a constant of its own type only",
			"Compare it with a parameter, a quoted text for a text column, or a whole number for a number.")
	}
	return nil
}

// plainText reports whether a text literal says no character set of its own.
func plainText(v *test_driver.ValueExpr) bool {
	text, err := restore(v)
	return err == nil && strings.HasPrefix(text, "'")
}

// as converts a parameter to about a column's type.
func as(c tableColumn, m *test_driver.ParamMarkerExpr) (ast.ExprNode, error) {
	text := "CONCAT(?)"
	switch {
	case c.dataType == "decimal":
		text = "CAST(? AS DECIMAL(65,30))"
	case isExact(c.dataType) && strings.Contains(c.columnType, "unsigned"):
		text = "CAST(? AS UNSIGNED)"
	case isExact(c.dataType):
		text = "CAST(? AS SIGNED)"
	}
	node, err := parse("SELECT " + text)
	if err != nil {
		return nil, err
	}
	switch e := node.(*ast.SelectStmt).Fields.Fields[0].Expr.(type) {
	case *ast.FuncCastExpr:
		e.Expr = m
		return e, nil
	case *ast.FuncCallExpr:
		e.Args[0] = m
		return e, nil
	}
	return nil, unsupported("this column cannot be looked up by a parameter", "")
}

// isExact reports whether numbers of a type compare exactly.
func isExact(dataType string) bool {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		return true
	}
	return false
}

// sides takes a comparison of a bare column with a constant apart.
func sides(b *ast.BinaryOperationExpr) (*ast.ColumnNameExpr, ast.ExprNode) {
	l, r := bare(b.L), bare(b.R)
	if ref, ok := l.(*ast.ColumnNameExpr); ok && constant(r) {
		return ref, r
	}
	if ref, ok := r.(*ast.ColumnNameExpr); ok && constant(l) {
		return ref, l
	}
	return nil, nil
}

func bare(e ast.ExprNode) ast.ExprNode {
	for {
		p, ok := e.(*ast.ParenthesesExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// constant reports whether e is a literal or a parameter.
func constant(e ast.ExprNode) bool {
	switch e := bare(e).(type) {
	case *test_driver.ValueExpr, *test_driver.ParamMarkerExpr:
		return true
	case *ast.UnaryOperationExpr:
		return (e.Op == opcode.Minus || e.Op == opcode.Plus) && constant(e.V)
	case *ast.FuncCallExpr:
		return typedLiteral(e) != nil
	}
	return false
}

// typedLiteral is the text of DATE '…', TIME '…' or TIMESTAMP '…', which the parser
// takes for a function of one constant.
func typedLiteral(e ast.ExprNode) *test_driver.ValueExpr {
	f, ok := e.(*ast.FuncCallExpr)
	if !ok || literalTypes[f.FnName.L] == "" || len(f.Args) != 1 {
		return nil
	}
	v, _ := f.Args[0].(*test_driver.ValueExpr)
	return v
}

var literalTypes = map[string]string{ast.DateLiteral: "date", ast.TimeLiteral: "time", ast.TimestampLiteral: "timestamp"}

// conjunct notes what a conjunct says about the statement's shape.
func (a *analysis) conjunct(e ast.ExprNode, s *scope) {
	v := &references{}
	e.Accept(v)
	var sources []*source
	for i, ref := range append(v.found, v.beneath...) {
		f, err := a.resolve(s, ref.Name, fromOnly)
		if err != nil || f.source == nil || !f.own || i >= len(v.found) && ref.Name.Table.L == "" {
			continue
		}
		f.column.tested = true
		if !slices.Contains(sources, f.source) {
			sources = append(sources, f.source)
		}
	}
	if v.constants > 0 || v.queries {
		for _, src := range sources {
			src.filtered = true
		}
	}
	for i := 1; i < len(sources); i++ {
		s.links = append(s.links, [2]*source{sources[0], sources[i]})
	}
}

// references collects the columns of a condition, and apart those of its
// subqueries, some of which may be of its own level.
type references struct {
	found, beneath []*ast.ColumnNameExpr
	constants      int
	queries, not   bool
	depth          int
}

func (v *references) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.ColumnNameExpr:
		if v.depth > 0 {
			v.beneath = append(v.beneath, n)
		} else {
			v.found = append(v.found, n)
		}
	case *test_driver.ValueExpr, *test_driver.ParamMarkerExpr:
		if v.depth == 0 {
			v.constants++
		}
	case *ast.IsNullExpr:
		if !n.Not {
			v.constants++
		}
	case *ast.ExistsSubqueryExpr:
		v.not = v.not || n.Not
	case *ast.PatternInExpr:
		v.not = v.not || n.Not
	case *ast.UnaryOperationExpr:
		v.not = v.not || n.Op == opcode.Not || n.Op == opcode.Not2
	case *ast.SubqueryExpr:
		if v.depth++; v.not {
			v.queries = true
		}
	case *ast.SelectStmt: // one that has a condition with a constant, or gives some rows only
		inner := &references{}
		for _, condition := range []ast.ExprNode{n.Where, having(n)} {
			if condition != nil {
				condition.Accept(inner)
			}
		}
		v.queries = v.queries || n.Limit != nil || oneRow(n) || inner.constants > 0 || inner.queries
	}
	return n, false
}

func having(n *ast.SelectStmt) ast.ExprNode {
	if n.Having == nil {
		return nil
	}
	return n.Having.Expr
}

func (v *references) Leave(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.SubqueryExpr); ok {
		v.depth--
	}
	return n, true
}

func (a *analysis) expression(e ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if err := a.enterExpr(); err != nil {
		return column{}, err
	}
	defer func() { a.nesting-- }()
	all := func(list ...ast.ExprNode) (column, error) { return a.each(list, s, kind, order) }
	switch e := e.(type) {
	case *test_driver.ValueExpr, *test_driver.ParamMarkerExpr, *ast.TimeUnitExpr, *ast.TrimDirectionExpr, *ast.GetFormatSelectorExpr:
		return column{}, nil
	case *ast.ColumnNameExpr:
		return a.reference(e, s, kind, order)
	case *ast.ParenthesesExpr:
		return a.expr(e.Expr, s, kind, order)
	case *ast.BinaryOperationExpr:
		return a.comparison(comparing(e.Op), []ast.ExprNode{e.L, e.R}, s, kind, order)
	case *ast.UnaryOperationExpr:
		return all(e.V)
	case *ast.BetweenExpr:
		return a.comparison(true, []ast.ExprNode{e.Expr, e.Left, e.Right}, s, kind, order)
	case *ast.PatternLikeOrIlikeExpr:
		if !e.IsLike {
			return column{}, unsupported("ILIKE is not of this engine", "Use LIKE.")
		}
		return a.comparison(true, []ast.ExprNode{e.Expr, e.Pattern}, s, kind, order)
	case *ast.PatternRegexpExpr:
		return a.comparison(true, []ast.ExprNode{e.Expr, e.Pattern}, s, kind, order)
	case *ast.PatternInExpr:
		if e.Sel != nil {
			return a.inSubquery(e.Expr, e.Sel, s, kind, order)
		}
		return a.comparison(true, append([]ast.ExprNode{e.Expr}, e.List...), s, kind, order)
	case *ast.CompareSubqueryExpr:
		return a.inSubquery(e.L, e.R, s, kind, order)
	case *ast.IsNullExpr:
		return a.nullTest(e.Expr, s, order)
	case *ast.IsTruthExpr:
		return all(e.Expr)
	case *ast.CaseExpr:
		return a.caseOf(e, s, kind, order)
	case *ast.RowExpr:
		return all(e.Values...)
	case *ast.MatchAgainst:
		return a.matchAgainst(e, s, kind, order)
	case *ast.SetCollationExpr:
		return all(e.Expr)
	case *ast.FuncCastExpr:
		return all(e.Expr)
	case *ast.FuncCallExpr:
		a.understood[e] = true
		if typedLiteral(e) != nil {
			return column{}, nil
		}
		if err := a.call(e.Schema.O, e.FnName.O); err != nil {
			return column{}, err
		}
		if e.FnName.L == "insert_func" { // the parser's own name, which no server knows
			e.FnName.O = "INSERT"
		}
		return all(e.Args...)
	case *ast.AggregateFuncExpr:
		return a.aggregate(e, s, kind, order)
	case *ast.WindowFuncExpr:
		return a.windowFunction(e, s, kind, order)
	case *ast.SubqueryExpr:
		inside := len(a.rewrites)
		cols, err := a.query(e.Query, &scope{parent: s, nested: true}, false)
		if err != nil {
			return column{}, err
		}
		for _, src := range a.rewrites[inside:] {
			src.aside = true
		}
		return a.mixed(cols), nil
	case *ast.ExistsSubqueryExpr: // which a server may make a join
		sub, ok := e.Sel.(*ast.SubqueryExpr)
		if !ok {
			return column{}, unsupported("this form of EXISTS is not understood", "")
		}
		_, err := a.query(sub.Query, &scope{parent: s, nested: true}, false)
		return column{}, err
	case *ast.VariableExpr:
		return column{}, unsupported("user and system variables are not possible through the gateway", "Use parameters.")
	}
	return column{}, unsupported("an expression of the statement is not understood", "Write it with standard operators and functions.")
}

// enterExpr bounds the nesting of expressions.
func (a *analysis) enterExpr() error {
	if a.nesting++; a.nesting > 4*maxDepth {
		return unsupported("an expression is nested too deeply", "Write it more simply.")
	}
	return nil
}

// each analyses expressions and mixes what went into them.
func (a *analysis) each(list []ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	var cols []column
	for _, e := range list {
		if e == nil {
			continue
		}
		c, err := a.expr(e, s, kind, order)
		if err != nil {
			return column{}, err
		}
		cols = append(cols, c)
	}
	return a.mixed(cols), nil
}

// mixed is a value into which columns went: of the class that hides most.
func (*analysis) mixed(cols []column) column {
	var out column
	for i := range cols {
		if c := &cols[i]; c.class != nil && (out.class == nil || c.hides()) {
			out.class, out.origin = c.class, c.origin
		}
		out.count = out.count || cols[i].count
	}
	return out
}

// comparing reports whether an operator decides by its operands' values.
func comparing(op opcode.Op) bool {
	switch op {
	case opcode.EQ, opcode.NE, opcode.LT, opcode.LE, opcode.GT, opcode.GE, opcode.NullEQ:
		return true
	}
	return false
}

// comparison analyses an operator. A comparison of one bare protected column
// with constants can be opened by an approval; then it sees the raw column.
func (a *analysis) comparison(compares bool, operands []ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if !compares {
		return a.each(operands, s, kind, order)
	}
	decides := kind
	if kind == connectors.UseExpression {
		decides = connectors.UsePredicate // a comparison that is shown tells as much
	}
	if ref := openable(operands); ref != nil {
		f, err := a.resolve(s, ref.Name, order)
		if err != nil {
			return column{}, err
		}
		if f.own && f.source != nil && f.source.table != nil && f.column.class != nil && f.column.hides() {
			if a.opened() {
				a.use(f.column.origin, *f.column.class, decides, connectors.SeenOpened, true)
				if kind == connectors.UsePredicate {
					a.point(ref, f, f.source)
				} else { // it is shown for every row, which must not come in its order
					a.carry(ref, f, f.source)
				}
			} else {
				a.pin(ref.Name, f)
				a.use(f.column.origin, *f.column.class, decides, connectors.SeenDestroyed, true)
			}
			return column{}, nil
		}
	}
	_, err := a.each(operands, s, decides, order)
	return column{}, err
}

// openable is the one bare column that is compared with constants only, or nil.
func openable(operands []ast.ExprNode) *ast.ColumnNameExpr {
	var ref *ast.ColumnNameExpr
	for _, o := range operands {
		if c, ok := bare(o).(*ast.ColumnNameExpr); ok && ref == nil {
			ref = c
		} else if !constant(o) {
			return nil
		}
	}
	return ref
}

// reference analyses a column where it stands.
func (a *analysis) reference(e *ast.ColumnNameExpr, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	f, err := a.resolve(s, e.Name, order)
	if err != nil {
		return column{}, err
	}
	a.pin(e.Name, f)
	a.masked(e, f)
	c := *f.column
	if c.count {
		a.counted = append(a.counted, e)
	}
	if c.class == nil {
		return c, nil
	}
	if f.source != nil { // an alias keeps what it stands for
		c.via = f.source
	}
	if kind != connectors.UseExpression && kind != connectors.UseOutput {
		a.compared(&c, kind)
	} else {
		if c.hides() {
			a.note(c.origin.String() + " is masked; an expression over it sees the mask.")
		}
		a.use(c.origin, *c.class, kind, connectors.SeenMasked, false)
	}
	c.plain = false
	return c, nil
}

// nullTest is fine on any column: masks keep NULL.
func (a *analysis) nullTest(e ast.ExprNode, s *scope, order lookupOrder) (column, error) {
	before := len(a.st.Uses)
	_, err := a.expr(e, s, connectors.UseExpression, order)
	if a.strict {
		for _, u := range a.st.Uses[before:] {
			t := a.cat.tables[a.cat.tableKey(u.Column.Relation)]
			a.ranged = a.ranged || t.kind == "view" || len(t.column(u.Column.Column).leads) > 0
		}
	}
	return column{}, err
}

// matchAgainst is a full-text search, which needs the table's own index.
func (a *analysis) matchAgainst(e *ast.MatchAgainst, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	for _, name := range e.ColumnNames {
		f, err := a.resolve(s, name, order)
		if err != nil {
			return column{}, err
		}
		a.pin(name, f)
		if f.source == nil || f.source.wrapped || f.source.table != nil && a.protected(f.source.table) { // the target of a write is not wrapped
			return column{}, unsupported("full-text search is not possible over a table with protected columns", "Use LIKE on an unprotected column.")
		}
	}
	return a.each([]ast.ExprNode{e.Against}, s, kind, order)
}

func (a *analysis) caseOf(e *ast.CaseExpr, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	decides := connectors.UsePredicate
	if e.Value != nil {
		if _, err := a.expr(e.Value, s, decides, order); err != nil {
			return column{}, err
		}
	}
	results := []ast.ExprNode{e.ElseClause}
	for _, w := range e.WhenClauses {
		if _, err := a.expr(w.Expr, s, decides, order); err != nil {
			return column{}, err
		}
		results = append(results, w.Result)
	}
	return a.each(results, s, kind, order)
}

// inSubquery compares a value with the rows of a subquery.
func (a *analysis) inSubquery(value, sub ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if kind == connectors.UseExpression {
		kind = connectors.UsePredicate
	}
	if _, err := a.expr(value, s, kind, order); err != nil {
		return column{}, err
	}
	q, ok := sub.(*ast.SubqueryExpr)
	if !ok {
		return column{}, unsupported("this form of comparison with a subquery is not understood", "")
	}
	cols, err := a.query(q.Query, &scope{parent: s, nested: true}, false)
	if err != nil {
		return column{}, err
	}
	for i := range cols {
		a.compared(&cols[i], kind)
	}
	return column{}, nil
}

func (a *analysis) aggregate(e *ast.AggregateFuncExpr, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if err := a.call("", e.F); err != nil {
		return column{}, err
	}
	inner := kind
	if e.Distinct {
		inner = connectors.UseGroup
	}
	c, err := a.each(e.Args, s, inner, order)
	if err != nil {
		return column{}, err
	}
	if a.ofOuter(e, s, order) {
		return column{}, unsupported("an aggregate in a subquery over columns of the query around is computed by the query around",
			"Write it there, or over a column of the subquery's own.")
	}
	if e.Order != nil {
		for _, item := range e.Order.Items {
			if err := a.item(item, s, connectors.UseOrder, order); err != nil {
				return column{}, err
			}
		}
	}
	if e.F == ast.AggFuncCount {
		c = column{}
	}
	c.count = c.count || a.tallies(e.F, e.Args, s)
	return c, nil
}

// tallies reports whether an aggregate, or one over a window, is a number of
// protected rows, which goes with its column to the levels above.
func (a *analysis) tallies(name string, args []ast.ExprNode, s *scope) bool {
	if name = strings.ToLower(name); name != ast.AggFuncCount && (name != ast.AggFuncSum || len(args) != 1 || !indicator(args[0])) {
		return false
	}
	return slices.ContainsFunc(s.sources, func(src *source) bool {
		return src.wrapped && a.protected(src.table) || a.belowProtected(src)
	})
}

// ofOuter reports whether an aggregate names columns of outer levels only: there it
// is aggregated, and what this level was taken for is not so.
func (a *analysis) ofOuter(e *ast.AggregateFuncExpr, s *scope, order lookupOrder) bool {
	v := &references{}
	for _, arg := range e.Args {
		arg.Accept(v)
	}
	outer := false
	for _, ref := range append(v.found, v.beneath...) {
		f, err := a.resolve(s, ref.Name, order)
		if err == nil && f.own {
			return false
		}
		outer = outer || err == nil
	}
	return outer
}

func (a *analysis) windowFunction(e *ast.WindowFuncExpr, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if err := a.call("", e.Name); err != nil {
		return column{}, err
	}
	c, err := a.each(e.Args, s, kind, order)
	if err != nil {
		return column{}, err
	}
	c.count = c.count || a.tallies(e.Name, e.Args, s)
	return c, a.window(&e.Spec, s)
}

func (a *analysis) window(w *ast.WindowSpec, s *scope) error {
	for _, name := range []string{w.Name.L, w.Ref.L} {
		if named := s.windows[name]; a.strict && named != nil && named != w { // what it is made of goes into each column over it
			if err := a.window(named, s); err != nil {
				return err
			}
		}
	}
	if w.PartitionBy != nil {
		for _, item := range w.PartitionBy.Items {
			if err := a.item(item, s, connectors.UseGroup, fromOnly); err != nil {
				return err
			}
		}
	}
	if w.OrderBy != nil {
		for _, item := range w.OrderBy.Items {
			if err := a.item(item, s, connectors.UseOrder, fromOnly); err != nil {
				return err
			}
		}
	}
	if w.Frame != nil {
		for _, bound := range []ast.ExprNode{w.Frame.Extent.Start.Expr, w.Frame.Extent.End.Expr} {
			if bound != nil && !constant(bound) {
				return unsupported("a window frame takes constants", "")
			}
		}
	}
	return nil
}
