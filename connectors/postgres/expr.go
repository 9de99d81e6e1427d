package postgres

import (
	"slices"

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
	if err != nil || !f.own || f.source == nil || f.source.relation == nil || f.column.class == nil || !f.column.class.Lookup {
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
	}
	a.st.Lookups = append(a.st.Lookups, l)
	f.source.filtered = true
	return true, nil
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
	return nil
}

// conjunct notes what a conjunct says about the statement's shape.
func (a *analysis) conjunct(n *pg.Node, s *scope) {
	var sources []*source
	constants := 0
	visit(n, func(n *pg.Node) bool {
		switch e := n.GetNode().(type) {
		case *pg.Node_ColumnRef:
			f, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, e.ColumnRef)
			switch {
			case err != nil:
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
		case *pg.Node_SubLink:
			constants++
			return false
		}
		return true
	})
	switch {
	case len(sources) == 1 && constants > 0:
		sources[0].filtered = true
	case len(sources) > 1:
		for _, other := range sources[1:] {
			s.links = append(s.links, [2]*source{sources[0], other})
		}
	}
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
	all := func(list ...*pg.Node) (column, error) { return a.each(list, s, kind) }
	switch e := n.Node.(type) {
	case *pg.Node_AConst, *pg.Node_SetToDefault:
		return column{}, nil
	case *pg.Node_ParamRef:
		a.params[e.ParamRef.Number] = true
		return column{}, nil
	case *pg.Node_ColumnRef:
		return a.reference(e.ColumnRef, s, kind)
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
	case *pg.Node_TypeCast:
		if err := a.typeName(e.TypeCast.TypeName); err != nil {
			return column{}, err
		}
		return all(e.TypeCast.Arg)
	case *pg.Node_AIndirection:
		return a.indirection(e.AIndirection, s, kind)
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
	}
	return out, nil
}

// indirection is a[1], a[1:2]; composite access is refused.
func (a *analysis) indirection(e *pg.A_Indirection, s *scope, kind connectors.UseKind) (column, error) {
	list := []*pg.Node{e.Arg}
	for _, i := range e.Indirection {
		idx := i.GetAIndices()
		if idx == nil {
			return column{}, unsupported("(composite).field is not understood", "Name the columns.")
		}
		list = append(list, idx.Lidx, idx.Uidx)
	}
	return a.each(list, s, kind)
}

// operation analyses an operator. A comparison of one bare protected column
// with constants can be opened by an approval; then it sees the raw column.
func (a *analysis) operation(e *pg.A_Expr, s *scope, kind connectors.UseKind) (column, error) {
	if err := a.operators(e.Name); err != nil {
		return column{}, err
	}
	operands := []*pg.Node{e.Lexpr, e.Rexpr}
	if !comparing(e) {
		return a.each(operands, s, kind)
	}
	decides := kind
	if kind == connectors.UseExpression {
		decides = connectors.UsePredicate // a comparison that is shown tells as much
	}
	if ref := openable(e); ref != nil {
		f, err := a.resolve(s, ref)
		if err != nil {
			return column{}, err
		}
		if f.own && f.source != nil && f.source.relation != nil && f.column.class != nil && f.column.hides() {
			seen := connectors.SeenDestroyed
			if a.opened() {
				a.point(ref, f)
				seen = connectors.SeenOpened
			} else {
				a.unqualify(ref, f)
			}
			a.use(f.column.origin, *f.column.class, decides, seen, true)
			_, err := a.each(constantsOf(e), s, decides)
			return column{}, err
		}
	}
	_, err := a.each(operands, s, decides)
	return column{}, err
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
func openable(e *pg.A_Expr) *pg.ColumnRef {
	var ref *pg.ColumnRef
	for _, n := range operandsOf(e) {
		if c := n.GetColumnRef(); c != nil && ref == nil {
			ref = c
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
	if _, star := names(ref); star {
		return column{}, unsupported("* is not understood inside an expression", "Name the columns.")
	}
	f, err := a.resolve(s, ref)
	if err != nil {
		return column{}, err
	}
	a.unqualify(ref, f)
	c := *f.column
	if c.class == nil {
		return c, nil
	}
	seen := connectors.SeenMasked
	if kind != connectors.UseExpression && kind != connectors.UseOutput {
		seen = connectors.SeenGeneralised
		if c.hides() {
			seen = connectors.SeenDestroyed
		}
	} else if c.hides() {
		a.note(c.origin.String() + " is masked; an expression over it sees the mask.")
	}
	a.use(c.origin, *c.class, kind, seen, false)
	c.plain = false
	return c, nil
}

func (a *analysis) caseOf(e *pg.CaseExpr, s *scope, kind connectors.UseKind) (column, error) {
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
	if err := a.call(e.Funcname); err != nil {
		return column{}, err
	}
	inner := kind
	if e.AggDistinct {
		inner = connectors.UseGroup
	}
	c, err := a.each(e.Args, s, inner)
	if err != nil {
		return column{}, err
	}
	order := connectors.UseOrder
	if err := a.sort(e.AggOrder, s, order, false); err != nil {
		return column{}, err
	}
	if _, err := a.expr(e.AggFilter, s, connectors.UsePredicate); err != nil {
		return column{}, err
	}
	if e.Over != nil {
		if err := a.window(e.Over, s); err != nil {
			return column{}, err
		}
	}
	if last(e.Funcname) == "count" {
		counted := column{}
		for _, src := range s.sources {
			counted.count = counted.count || src.wrapped
		}
		return counted, nil
	}
	return c, nil
}

func (a *analysis) window(w *pg.WindowDef, s *scope) error {
	if w == nil {
		return unsupported("this form of window is not understood", "")
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
	if err := a.operators(e.OperName); len(e.OperName) > 0 && err != nil {
		return column{}, err
	}
	if kind == connectors.UseExpression && e.Testexpr != nil {
		kind = connectors.UsePredicate
	}
	if _, err := a.expr(e.Testexpr, s, kind); err != nil {
		return column{}, err
	}
	cols, err := a.query(e.Subselect.GetSelectStmt(), s, false)
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
