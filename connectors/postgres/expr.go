package postgres

import (
	"slices"
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// condition analyses WHERE, ON or HAVING: the conjuncts are looked at one by
// one for lookups, for joins and for what filters.
func (a *analysis) condition(n *pg.Node, s *scope, kind connectors.UseKind, lookups bool) error {
	if n == nil {
		return nil
	}
	if b := n.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
		for _, arg := range b.Args {
			if err := a.condition(arg, s, kind, lookups); err != nil {
				return err
			}
		}
		return nil
	}
	if lookups {
		if done, err := a.lookup(n, s, kind); done || err != nil {
			return err
		}
	}
	if _, err := a.expr(n, s, kind); err != nil {
		return err
	}
	a.conjunct(n, s)
	return nil
}

// lookup opens `column = <literal or parameter>` on a lookup column.
func (a *analysis) lookup(n *pg.Node, s *scope, kind connectors.UseKind) (bool, error) {
	e := n.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || operator(e.Name) != "=" {
		return false, nil
	}
	ref, value := e.Lexpr.GetColumnRef(), e.Rexpr
	if ref == nil {
		ref, value = e.Rexpr.GetColumnRef(), e.Lexpr
	}
	if ref == nil || !constant(value) {
		return false, nil
	}
	if _, star := names(ref); star {
		return false, nil
	}
	f, err := a.resolve(s, ref)
	if err != nil || f.whole || !f.own || f.source == nil || f.source.relation == nil || f.column.class == nil || !f.column.class.Lookup {
		return false, err
	}
	if err := a.operators(e.Name); err != nil {
		return false, err
	}
	if _, err := a.expr(value, s, kind); err != nil {
		return false, err
	}
	a.point(ref, f)
	a.use(f.column.origin, *f.column.class, kind, connectors.SeenLookup, false)
	l := connectors.Lookup{Column: f.column.origin, Class: f.column.class.Name, Param: -1}
	if p := bare(value).GetParamRef(); p != nil {
		l.Param = int(p.Number) - 1
	} else {
		l.Literal = literalText(bare(value).GetAConst())
	}
	a.st.Lookups = append(a.st.Lookups, l)
	f.source.filtered = true
	f.source.person = f.source.person || kind == connectors.UsePredicate
	return true, nil
}

// literalText is a literal's value as text.
func literalText(c *pg.A_Const) string {
	switch {
	case c.GetSval() != nil:
		return c.GetSval().Sval
	case c.GetIval() != nil:
		return strconv.Itoa(int(c.GetIval().Ival))
	}
	return c.GetFval().GetFval()
}

// bare is a constant without its casts.
func bare(n *pg.Node) *pg.Node {
	for n.GetTypeCast() != nil {
		n = n.GetTypeCast().Arg
	}
	return n
}

// constant reports whether n is a literal or a parameter, perhaps cast.
func constant(n *pg.Node) bool {
	n = bare(n)
	return n.GetAConst() != nil || n.GetParamRef() != nil
}

// operator is an operator's name without schema.
func operator(name []*pg.Node) string { return last(name) }

// operators refuses operators that are not PostgreSQL's own.
func (a *analysis) operators(name []*pg.Node) error {
	if len(name) > 1 && name[0].GetString_().GetSval() != "pg_catalog" || a.cat.operators[operator(name)] {
		return unsupported("operators that users defined are not possible through the gateway", "Use standard operators.")
	}
	if len(name) == 1 {
		a.operated[operator(name)] = true
	}
	return nil
}

// conjunct notes what a conjunct says about the statement's shape.
func (a *analysis) conjunct(n *pg.Node, s *scope) {
	var sources []*source
	constants, queries, not := 0, false, false
	level := &scope{sources: s.sources, merged: s.merged}
	var look func(*pg.Node) bool
	look = func(n *pg.Node) bool {
		switch e := n.GetNode().(type) {
		case *pg.Node_ColumnRef:
			f, err := a.resolve(level, e.ColumnRef)
			switch {
			case err != nil: // of an outer level, whose rows may be few
				if f, err := a.resolve(s, e.ColumnRef); err == nil && f.source != nil && f.source.filtered {
					constants++
				}
			case f.source == nil: // merged by USING: it stands for one of them
				for _, src := range s.sources {
					if slices.ContainsFunc(src.columns, func(c column) bool { return c.name == f.column.name }) {
						f.source = src
					}
				}
				fallthrough
			case !slices.Contains(sources, f.source):
				sources = append(sources, f.source)
			}
		case *pg.Node_AConst, *pg.Node_ParamRef, *pg.Node_SqlvalueFunction:
			constants++
		case *pg.Node_NullTest:
			if e.NullTest.Nulltesttype == pg.NullTestType_IS_NULL {
				constants++
			}
		case *pg.Node_BoolExpr:
			not = not || e.BoolExpr.Boolop == pg.BoolExprType_NOT_EXPR
		case *pg.Node_SubLink:
			if not || chooses(e.SubLink.Subselect) {
				constants, queries = constants+1, true
			}
			visit(e.SubLink.Testexpr, look)
			visit(e.SubLink.Subselect, func(n *pg.Node) bool { // what of this level it is about
				if ref := n.GetColumnRef(); len(ref.GetFields()) > 1 {
					if f, err := a.resolve(level, ref); err == nil && f.source != nil && !slices.Contains(sources, f.source) {
						sources = append(sources, f.source)
					}
				}
				return true
			})
			return false
		}
		return true
	}
	visit(n, look)
	if constants > 0 || queries {
		for _, src := range sources {
			src.filtered = true
		}
	}
	for i := 1; i < len(sources); i++ {
		s.links = append(s.links, [2]*source{sources[0], sources[i]})
	}
}

// chooses reports whether a subquery has a condition with a constant, or gives
// some rows only: IN (SELECT id FROM patients) chooses nothing.
func chooses(n *pg.Node) (found bool) {
	visit(n, func(n *pg.Node) bool {
		if sel := n.GetSelectStmt(); sel != nil {
			found = found || sel.LimitCount != nil || oneRow(sel)
			for _, condition := range []*pg.Node{sel.WhereClause, sel.HavingClause} {
				visit(condition, func(n *pg.Node) bool {
					found = found || n.GetAConst() != nil || n.GetParamRef() != nil || n.GetSqlvalueFunction() != nil
					return !found
				})
			}
		}
		return !found
	})
	return found
}

// expr analyses an expression. What it gives back tells whether protected
// columns went into it; kind is where it stands.
func (a *analysis) expr(n *pg.Node, s *scope, kind connectors.UseKind) (column, error) {
	if a.nesting++; a.nesting > 4*maxDepth {
		return column{}, unsupported("an expression is nested too deeply", "Write it more simply.")
	}
	defer func() { a.nesting-- }()
	if n == nil || n.Node == nil {
		return column{}, nil
	}
	if !a.strict || n.GetColumnRef() != nil {
		return a.expression(n, s, kind)
	}
	before := a.mark()
	c, err := a.expression(n, s, kind)
	return a.tainted(c, a.since(before)), err
}

func (a *analysis) expression(n *pg.Node, s *scope, kind connectors.UseKind) (column, error) {
	all := func(list ...*pg.Node) (column, error) { return a.each(list, s, kind) }
	switch e := n.Node.(type) {
	case *pg.Node_AConst, *pg.Node_SetToDefault:
		return column{}, nil
	case *pg.Node_ParamRef:
		a.params[e.ParamRef.Number] = true
		return column{}, nil
	case *pg.Node_ColumnRef:
		c, err := a.reference(e.ColumnRef, s, kind)
		if err != nil {
			return column{}, err
		}
		return c, a.inPlace(n, s)
	case *pg.Node_AExpr:
		return a.operation(e.AExpr, s, kind)
	case *pg.Node_BoolExpr:
		return all(e.BoolExpr.Args...)
	case *pg.Node_NullTest:
		_, err := a.expr(e.NullTest.Arg, s, connectors.UseExpression) // masks keep NULL
		return column{}, err
	case *pg.Node_BooleanTest:
		return all(e.BooleanTest.Arg)
	case *pg.Node_CoalesceExpr:
		return all(e.CoalesceExpr.Args...)
	case *pg.Node_MinMaxExpr:
		return all(e.MinMaxExpr.Args...)
	case *pg.Node_RowExpr:
		return all(e.RowExpr.Args...)
	case *pg.Node_AArrayExpr:
		return all(e.AArrayExpr.Elements...)
	case *pg.Node_List:
		return all(e.List.Items...)
	case *pg.Node_NamedArgExpr:
		return all(e.NamedArgExpr.Arg)
	case *pg.Node_GroupingFunc:
		return all(e.GroupingFunc.Args...)
	case *pg.Node_CollateClause:
		return all(e.CollateClause.Arg)
	case *pg.Node_XmlExpr:
		return all(append(append([]*pg.Node(nil), e.XmlExpr.NamedArgs...), e.XmlExpr.Args...)...)
	case *pg.Node_XmlSerialize:
		if err := a.typeName(e.XmlSerialize.TypeName); err != nil {
			return column{}, err
		}
		return all(e.XmlSerialize.Expr)
	case *pg.Node_JsonObjectConstructor, *pg.Node_JsonArrayConstructor, *pg.Node_JsonObjectAgg, *pg.Node_JsonArrayAgg,
		*pg.Node_JsonArrayQueryConstructor, *pg.Node_JsonFuncExpr, *pg.Node_JsonParseExpr, *pg.Node_JsonScalarExpr,
		*pg.Node_JsonSerializeExpr, *pg.Node_JsonIsPredicate:
		return column{}, unsupported("the JSON constructors of SQL:2016 (JSON_OBJECT, JSON_ARRAY, JSON_VALUE …) are not understood",
			"Use json_build_object, json_build_array, json_agg, json_object_agg, ->>, #>> or jsonb_path_query.")
	case *pg.Node_ResTarget: // a named argument of XMLFOREST
		return all(e.ResTarget.Val)
	case *pg.Node_TypeCast:
		if err := a.typeName(e.TypeCast.TypeName); err != nil {
			return column{}, err
		}
		return all(e.TypeCast.Arg)
	case *pg.Node_AIndirection:
		return a.indirection(n, s, kind)
	case *pg.Node_CaseExpr:
		return a.caseOf(e.CaseExpr, s, kind)
	case *pg.Node_FuncCall:
		return a.funcCall(e.FuncCall, s, kind)
	case *pg.Node_SqlvalueFunction:
		return column{}, a.sqlValue(e.SqlvalueFunction)
	case *pg.Node_SubLink:
		return a.subLink(e.SubLink, s, kind)
	}
	return column{}, unsupported("an expression of the statement is not understood", "Write it with standard operators and functions.")
}

// each analyses expressions and mixes what went into them: the class that hides
// most counts.
func (a *analysis) each(list []*pg.Node, s *scope, kind connectors.UseKind) (column, error) {
	var out column
	for _, n := range list {
		c, err := a.expr(n, s, kind)
		if err != nil {
			return column{}, err
		}
		if c.class != nil && (out.class == nil || c.hides()) {
			out.class, out.origin = c.class, c.origin
		}
		out.count = out.count || c.count
	}
	return out, nil
}

// indirection is a[1], a[1:2], (p).column and (composite).field.
func (a *analysis) indirection(n *pg.Node, s *scope, kind connectors.UseKind) (column, error) {
	star, err := a.fields(n, s)
	if err != nil {
		return column{}, err
	}
	e := n.GetAIndirection()
	if e == nil {
		return a.expr(n, s, kind)
	}
	if e.Arg.GetAArrayExpr() != nil && !hasAggregate(e.Arg) {
		// The deparser leaves out the parentheses of (ARRAY[…])[1].
		e.Arg = &pg.Node{Node: &pg.Node_SubLink{SubLink: &pg.SubLink{SubLinkType: pg.SubLinkType_EXPR_SUBLINK,
			Subselect: &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{
				TargetList:  []*pg.Node{{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: e.Arg}}}},
				LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE}}}}}}
	}
	list := []*pg.Node{e.Arg}
	for _, i := range e.Indirection {
		switch i.Node.(type) {
		case *pg.Node_AIndices:
			list = append(list, i.GetAIndices().Lidx, i.GetAIndices().Uidx)
		case *pg.Node_String_:
			if err := a.suffix(i.GetString_().Sval); err != nil {
				return column{}, err
			}
		default:
			return column{}, unsupported("(composite).* is not understood here", "Name the fields: (value).field, …")
		}
	}
	if star != nil {
		return column{}, unsupported("* is not understood inside an expression", "Name the columns.")
	}
	return a.each(list, s, kind)
}

// operation analyses an operator. A comparison of one bare protected column
// with constants can be opened by an approval; then it sees the raw column.
func (a *analysis) operation(e *pg.A_Expr, s *scope, kind connectors.UseKind) (column, error) {
	if err := a.operators(e.Name); err != nil {
		return column{}, err
	}
	for _, name := range between[e.Kind] {
		if err := a.operators([]*pg.Node{pg.MakeStrNode(name)}); err != nil {
			return column{}, err
		}
	}
	operands := []*pg.Node{e.Lexpr, e.Rexpr}
	if !comparing(e) {
		return a.each(operands, s, kind)
	}
	decides := kind
	if kind == connectors.UseExpression {
		decides = connectors.UsePredicate // a comparison that is shown tells as much
	}
	if operand := openable(e); operand != nil {
		ref := operand.GetColumnRef()
		f, err := a.resolve(s, ref)
		if err != nil {
			return column{}, err
		}
		if f.own && !f.whole && f.source != nil && f.source.relation != nil && f.column.class != nil && f.column.hides() {
			seen := connectors.SeenDestroyed
			if a.opened() {
				a.point(ref, f)
				seen = connectors.SeenOpened
			} else {
				a.pin(ref, f)
			}
			a.use(f.column.origin, *f.column.class, decides, seen, true)
			if _, err := a.each(constantsOf(e), s, decides); err != nil || seen == connectors.SeenOpened {
				return column{}, err
			}
			return column{}, a.inPlace(operand, s)
		}
	}
	_, err := a.each(operands, s, decides)
	return column{}, err
}

// between are the operators that BETWEEN stands for.
var between = map[pg.A_Expr_Kind][]string{
	pg.A_Expr_Kind_AEXPR_BETWEEN: {">=", "<="}, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN: {"<", ">"},
	pg.A_Expr_Kind_AEXPR_BETWEEN_SYM: {">=", "<="}, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM: {"<", ">"},
}

// comparing reports whether an operator decides by its operands' values.
func comparing(e *pg.A_Expr) bool {
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		return slices.Contains([]string{"=", "<>", "!=", "<", "<=", ">", ">=", "~", "~*", "!~", "!~*", "~~", "!~~", "~~*", "!~~*",
			"^@", "@@", "@>", "<@", "&&", "?"}, operator(e.Name))
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		return false
	}
	return true // IN, LIKE, BETWEEN, DISTINCT FROM, ANY, ALL, SIMILAR
}

// openable is the one bare column that is compared with constants only, or nil.
func openable(e *pg.A_Expr) *pg.Node {
	var ref *pg.Node
	for _, n := range operandsOf(e) {
		if n.GetColumnRef() != nil && ref == nil {
			ref = n
		} else if !constant(n) {
			return nil
		}
	}
	return ref
}

// operandsOf are an operator's operands, lists taken apart.
func operandsOf(e *pg.A_Expr) []*pg.Node {
	var out []*pg.Node
	for _, n := range []*pg.Node{e.Lexpr, e.Rexpr} {
		if list := n.GetList(); list != nil {
			out = append(out, list.Items...)
		} else if n != nil {
			out = append(out, n)
		}
	}
	return out
}

func constantsOf(e *pg.A_Expr) []*pg.Node {
	return slices.DeleteFunc(operandsOf(e), func(n *pg.Node) bool { return n.GetColumnRef() != nil })
}

// reference analyses a column where it stands.
func (a *analysis) reference(ref *pg.ColumnRef, s *scope, kind connectors.UseKind) (column, error) {
	parts, star := names(ref)
	if star && len(parts) != 1 {
		return column{}, unsupported("* is not understood inside an expression", "Name the columns.")
	}
	if star { // count(p.*) is count(p)
		f, err := a.row(s, parts[0])
		return a.whole(f, kind), err
	}
	f, err := a.resolve(s, ref)
	if err != nil {
		return column{}, err
	}
	if f.whole {
		return a.whole(f, kind), nil
	}
	a.pin(ref, f)
	c := *f.column
	a.counted[ref] = c.count
	if c.class == nil {
		return c, nil
	}
	c.via = f.source
	switch {
	case kind != connectors.UseExpression && kind != connectors.UseOutput:
		a.compared(&c, kind)
	default:
		if c.hides() {
			a.note(c.origin.String() + " is masked; an expression over it sees the mask.")
		}
		a.use(c.origin, *c.class, kind, connectors.SeenMasked, false)
	}
	c.plain = false
	return c, nil
}

// whole notes the use of a source as one value.
func (a *analysis) whole(f found, kind connectors.UseKind) column {
	if f.source == nil {
		return column{}
	}
	for _, c := range f.source.columns {
		switch {
		case c.class == nil:
		case kind == connectors.UseExpression || kind == connectors.UseOutput:
			a.use(c.origin, *c.class, kind, connectors.SeenMasked, false)
		default:
			a.compared(&c, kind)
		}
	}
	return *f.column
}

func (a *analysis) caseOf(e *pg.CaseExpr, s *scope, kind connectors.UseKind) (column, error) {
	if e.Arg != nil { // CASE a WHEN b compares by =
		if err := a.operators([]*pg.Node{pg.MakeStrNode("=")}); err != nil {
			return column{}, err
		}
	}
	if _, err := a.expr(e.Arg, s, connectors.UsePredicate); err != nil {
		return column{}, err
	}
	results := []*pg.Node{e.Defresult}
	for _, n := range e.Args {
		w := n.GetCaseWhen()
		if w == nil {
			return column{}, unsupported("this form of CASE is not understood", "")
		}
		if _, err := a.expr(w.Expr, s, connectors.UsePredicate); err != nil {
			return column{}, err
		}
		results = append(results, w.Result)
	}
	return a.each(results, s, kind)
}

// funcCall analyses a function, an aggregate or a window function.
func (a *analysis) funcCall(e *pg.FuncCall, s *scope, kind connectors.UseKind) (column, error) {
	if err := a.call(e); err != nil {
		return column{}, err
	}
	inner := kind
	switch {
	case e.AggDistinct:
		inner = connectors.UseGroup
	case a.strict && functions[last(e.Funcname)].set: // there may be no row
		inner = connectors.UsePredicate
	}
	before := len(a.levels)
	c, err := a.each(e.Args, s, inner)
	if err != nil {
		return column{}, err
	}
	if err := a.sort(e.AggOrder, s, connectors.UseOrder, false); err != nil {
		return column{}, err
	}
	if _, err := a.expr(e.AggFilter, s, connectors.UsePredicate); err != nil {
		return column{}, err
	}
	if e.Over == nil && aggregates[last(e.Funcname)] && outerOnly(a.levels[before:], s) {
		return column{}, unsupported("an aggregate in a subquery over columns of the query around is computed by the query around",
			"Write it there, or over a column of the subquery's own.")
	}
	if e.Over != nil {
		if err := a.window(e.Over, s); err != nil {
			return column{}, err
		}
	}
	if last(e.Funcname) == "count" {
		c = column{}
	}
	c.count = c.count || a.tallies(e, s)
	return c, nil
}

// tallies reports whether an aggregate is a number of protected rows, which goes
// with its column to the levels above.
func (a *analysis) tallies(e *pg.FuncCall, s *scope) bool {
	switch last(e.Funcname) {
	case "count", "regr_count":
	case "sum":
		if len(e.Args) != 1 || !indicator(e.Args[0]) {
			return false
		}
	default:
		return false
	}
	return slices.ContainsFunc(s.sources, func(src *source) bool {
		return src.wrapped && a.protected(src.relation) || a.belowProtected(src)
	})
}

// outerOnly reports whether of the levels of an aggregate's columns none is its own
// and one is further outside: then it is that one's aggregate, and neither level is
// what it was taken for. Levels within it do not count.
func outerOnly(levels []*scope, own *scope) bool {
	for outer := own.parent; outer != nil; outer = outer.parent {
		if slices.Contains(levels, outer) {
			return !slices.Contains(levels, own)
		}
	}
	return false
}

func (a *analysis) window(w *pg.WindowDef, s *scope) error {
	if w == nil {
		return unsupported("this form of window is not understood", "")
	}
	for _, name := range []string{w.Name, w.Refname} {
		if named := s.windows[name]; a.strict && named != nil && named != w { // what it is made of goes into each column over it
			if err := a.window(named, s); err != nil {
				return err
			}
		}
	}
	for _, n := range w.PartitionClause {
		if _, err := a.expr(n, s, connectors.UseGroup); err != nil {
			return err
		}
	}
	if err := a.sort(w.OrderClause, s, connectors.UseOrder, false); err != nil {
		return err
	}
	_, err := a.each([]*pg.Node{w.StartOffset, w.EndOffset}, s, connectors.UseExpression)
	return err
}

// subLink is a subquery in an expression.
func (a *analysis) subLink(e *pg.SubLink, s *scope, kind connectors.UseKind) (column, error) {
	by := e.OperName
	if len(by) == 0 && e.Testexpr != nil { // IN
		by = []*pg.Node{pg.MakeStrNode("=")}
	}
	if err := a.operators(by); len(by) > 0 && err != nil {
		return column{}, err
	}
	if kind == connectors.UseExpression && e.Testexpr != nil {
		kind = connectors.UsePredicate
	}
	if _, err := a.expr(e.Testexpr, s, kind); err != nil {
		return column{}, err
	}
	collects := e.SubLinkType == pg.SubLinkType_ARRAY_SUBLINK
	if collects {
		a.called(connectors.Function{Name: "array_agg", Volatility: connectors.Immutable, Class: connectors.FunctionHarmless})
	}
	cols, err := a.query(e.Subselect.GetSelectStmt(), s, collects)
	if err != nil {
		return column{}, err
	}
	switch e.SubLinkType {
	case pg.SubLinkType_EXISTS_SUBLINK:
		return column{}, nil
	case pg.SubLinkType_ANY_SUBLINK, pg.SubLinkType_ALL_SUBLINK:
		for i := range cols {
			a.compared(&cols[i], kind)
		}
		return column{}, nil
	case pg.SubLinkType_EXPR_SUBLINK, pg.SubLinkType_ARRAY_SUBLINK:
		var out column
		for _, c := range cols {
			if c.class != nil {
				out.class, out.origin = c.class, c.origin
			}
			out.count = out.count || c.count
		}
		return out, nil
	}
	return column{}, unsupported("this form of subquery is not understood", "")
}

// hasAggregate looks for an aggregate outside of subqueries and windows.
func hasAggregate(n *pg.Node) bool {
	found := false
	visit(n, func(n *pg.Node) bool {
		if n.GetSubLink() != nil {
			return false
		}
		if f := n.GetFuncCall(); f != nil && f.Over == nil {
			found = found || f.AggStar || aggregates[last(f.Funcname)]
		}
		return true
	})
	return found
}
