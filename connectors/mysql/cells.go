package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// cellPrefix begins the names of the counts that the rewriting adds.
const cellPrefix = hiddenPrefix + "n"

// cells finds the result's columns that tell of a number of protected rows, and
// adds to the select list the counts that say of how many: of each group, and of
// what goes into each aggregate. They are hidden outputs, last in the list.
func (a *analysis) cells(n *ast.SelectStmt, s *scope, out []column, top bool) ([]column, error) {
	if !top || !a.in.Cells || a.st.Kind != connectors.KindSelect || !a.touchesProtected() {
		return out, nil
	}
	one, person := a.onePerson(n, s), (*ast.ColumnNameExpr)(nil)
	if !one {
		person = a.personKey(n, s)
	}
	if one || person != nil {
		for i := range out {
			out[i].count = false
		}
	}
	if one {
		return out, nil
	}
	c := &cellCounts{a: a, n: n, shown: len(out), known: map[string]int{}, person: person}
	grouped, aggregate := n.GroupBy != nil, hasAggregate(n.Fields)
	if n.Distinct && grouped && !everyKeyShown(n) {
		return nil, unsupported("DISTINCT over groups of protected rows is not understood", "Leave DISTINCT out, or select every column of GROUP BY.")
	}
	c.selfOnly = n.Distinct && !grouped && !aggregate // another column would change the answer
	for i, f := range n.Fields.Fields[:c.shown] {
		if anyAggregate(f.Expr) {
			out[i].counts = append(out[i].counts, c.add(&ast.AggregateFuncExpr{F: ast.AggFuncCount,
				Args: []ast.ExprNode{ast.NewValueExpr(1, "", "")}}))
		}
		out[i].counts = append(out[i].counts, c.within(i, f.Expr)...)
		if out[i].count && len(out[i].counts) == 0 {
			out[i].counts = []int{i}
		}
		slices.Sort(out[i].counts)
		out[i].counts = slices.Compact(out[i].counts)
	}
	for range len(n.Fields.Fields) - c.shown {
		out = append(out, column{name: cellPrefix, cell: true})
	}
	return out, c.err
}

func (a *analysis) touchesProtected() bool {
	return slices.ContainsFunc(a.st.Relations, func(r connectors.Relation) bool { return r.Protected })
}

// belowProtected reports whether a derived table or common table expression may
// hold protected rows.
func (a *analysis) belowProtected(src *source) bool { return src.table == nil && a.touchesProtected() }

func anyAggregate(e ast.ExprNode) bool {
	return e != nil && hasAggregate(&ast.FieldList{Fields: []*ast.SelectField{{Expr: e}}})
}

// everyKeyShown reports whether groups differ in the select list already, so
// that DISTINCT takes nothing away.
func everyKeyShown(n *ast.SelectStmt) bool {
	for _, item := range n.GroupBy.Items {
		if _, position := item.Expr.(*ast.PositionExpr); position {
			continue
		}
		ref, _ := item.Expr.(*ast.ColumnNameExpr)
		if !slices.ContainsFunc(n.Fields.Fields, func(f *ast.SelectField) bool {
			return outline(f.Expr) == outline(item.Expr) || ref != nil && strings.EqualFold(fieldName(f), ref.Name.Name.O)
		}) {
			return false
		}
	}
	return true
}

// cellCounts are the counts of one select list.
type cellCounts struct {
	a        *analysis
	n        *ast.SelectStmt
	shown    int
	known    map[string]int
	selfOnly bool
	person   *ast.ColumnNameExpr // what the groups, each of one person, are by; or nil
	err      error
}

// add puts a count behind the select list, once, and gives its place. Its
// parameter markers are sent once more.
func (c *cellCounts) add(count ast.ExprNode) int {
	if _, window := count.(*ast.WindowFuncExpr); c.person != nil && !window {
		count = ofNobody(c.person, count)
	}
	v := &markers{}
	count.Accept(v)
	key := outline(count)
	for _, m := range v.found {
		key += fmt.Sprintf(" %p", m)
	}
	if at, ok := c.known[key]; ok {
		return at
	}
	at := len(c.n.Fields.Fields)
	c.known[key] = at
	if len(v.found) > 0 {
		fields := &markers{}
		c.n.Fields.Accept(fields)
		behind := 0
		for i, m := range c.a.markers {
			if slices.Contains(fields.found, m) {
				behind = i + 1
			}
		}
		c.a.markers = slices.Insert(c.a.markers, behind, v.found...)
		c.a.st.Order = c.a.st.Order[:0]
		for _, m := range c.a.markers {
			c.a.st.Order = append(c.a.st.Order, m.Order)
		}
	}
	c.n.Fields.Fields = append(c.n.Fields.Fields, &ast.SelectField{Expr: count, AsName: ast.NewCIStr(cellPrefix + strconv.Itoa(at))})
	return at
}

// within finds the counts that go into column i of the select list.
func (c *cellCounts) within(i int, value ast.ExprNode) []int {
	if value == nil {
		return nil
	}
	v := &countFinder{c: c, column: i, value: bare(value)}
	value.Accept(v)
	return v.counts
}

type countFinder struct {
	c      *cellCounts
	column int
	value  ast.ExprNode
	counts []int
}

func (v *countFinder) note(n ast.ExprNode) {
	w, window := n.(*ast.WindowFuncExpr)
	switch {
	case window && v.c.selfOnly && n != v.value:
		v.counts = append(v.counts, v.c.beside(w.Spec, n))
	case (n == v.value || v.c.selfOnly) && (v.c.person == nil || window):
		v.counts = append(v.counts, v.column)
	default:
		v.counts = append(v.counts, v.c.add(n))
	}
}

// Enter notes an aggregate, and goes deeper otherwise.
func (v *countFinder) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.SubqueryExpr:
		return n, true
	case *ast.ColumnNameExpr:
		if slices.Contains(v.c.a.counted, n) {
			v.note(n)
		}
	case *ast.AggregateFuncExpr:
		counting := v.c.counting(n.F, n.Args)
		if counting {
			v.note(n)
		}
		if (!counting || strings.EqualFold(n.F, ast.AggFuncSum) && !v.c.ofCount(n.Args[0])) && !v.c.selfOnly && len(n.Args) > 0 {
			v.counts = append(v.counts, v.c.add(&ast.AggregateFuncExpr{F: ast.AggFuncCount, Args: n.Args[:1]}))
		}
		return n, true
	case *ast.WindowFuncExpr:
		switch {
		case v.c.counting(n.Name, n.Args):
			v.note(n)
		case slices.ContainsFunc(n.Args, anyAggregate) || !aggregateName(n.Name):
			return n, false // over groups: what is in them is looked at
		case len(n.Args) > 0:
			count := &ast.WindowFuncExpr{Name: ast.AggFuncCount, Args: n.Args[:1], Spec: n.Spec}
			if v.c.selfOnly {
				v.counts = append(v.counts, v.c.beside(n.Spec, count))
			} else {
				v.counts = append(v.counts, v.c.add(count))
			}
		}
		return n, true
	}
	return n, false
}

// Leave is part of the visitor.
func (*countFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// beside adds the count of a window to the rows of a DISTINCT, which must not become
// more by it.
func (c *cellCounts) beside(w ast.WindowSpec, count ast.ExprNode) int {
	hidden := w.Name.O != "" || w.Ref.O != "" || w.OrderBy != nil
	if w.PartitionBy != nil {
		for _, p := range w.PartitionBy.Items {
			hidden = hidden || !slices.ContainsFunc(c.n.Fields.Fields[:c.shown], func(f *ast.SelectField) bool {
				return outline(f.Expr) == outline(p.Expr)
			})
		}
	}
	if hidden {
		c.err = unsupported("DISTINCT over windows of protected rows is not understood",
			"Leave DISTINCT out, or write OVER (PARTITION BY …) without ORDER BY and select what it is by.")
	}
	return c.add(count)
}

func aggregateName(name string) bool {
	return slices.Contains([]string{"avg", "sum", "min", "max", "std", "stddev", "stddev_pop", "stddev_samp", "var_pop", "var_samp",
		"variance", "bit_and", "bit_or", "bit_xor"}, strings.ToLower(name))
}

// counting reports whether an aggregate's value is a number of rows.
func (c *cellCounts) counting(name string, args []ast.ExprNode) bool {
	switch name = strings.ToLower(name); name {
	case "count":
		return true
	case "sum", "min", "max":
		return len(args) == 1 && (c.ofCount(args[0]) || name == "sum" && indicator(args[0]))
	}
	return false
}

// ofCount reports whether an expression is made of a count.
func (c *cellCounts) ofCount(e ast.ExprNode) bool {
	v := &references{}
	e.Accept(v)
	if slices.ContainsFunc(v.found, func(r *ast.ColumnNameExpr) bool { return slices.Contains(c.a.counted, r) }) {
		return true
	}
	inner, ok := bare(e).(*ast.AggregateFuncExpr)
	return ok && strings.EqualFold(inner.F, ast.AggFuncCount)
}

// indicator reports whether an expression is a 0 or 1 (or such) that a
// condition decides: the sum of it is a count.
func indicator(e ast.ExprNode) bool {
	switch e := bare(e).(type) {
	case *test_driver.ValueExpr, *ast.IsNullExpr, *ast.IsTruthExpr, *ast.BetweenExpr, *ast.PatternInExpr, *ast.PatternLikeOrIlikeExpr,
		*ast.PatternRegexpExpr, *ast.ExistsSubqueryExpr, *test_driver.ParamMarkerExpr:
		return true
	case *ast.BinaryOperationExpr:
		return comparing(e.Op) || slices.Contains([]opcode.Op{opcode.LogicAnd, opcode.LogicOr, opcode.LogicXor}, e.Op)
	case *ast.UnaryOperationExpr:
		return e.Op == opcode.Not || e.Op == opcode.Not2 || indicator(e.V)
	case *ast.FuncCastExpr:
		return indicator(e.Expr)
	case *ast.CaseExpr:
		for _, w := range e.WhenClauses {
			if !indicator(w.Result) {
				return false
			}
		}
		return e.ElseClause == nil || indicator(e.ElseClause)
	case *ast.FuncCallExpr:
		switch e.FnName.L {
		case "if":
			return len(e.Args) == 3 && indicator(e.Args[1]) && indicator(e.Args[2])
		case "ifnull", "coalesce":
			return !slices.ContainsFunc(e.Args, func(x ast.ExprNode) bool { return !indicator(x) })
		}
	}
	return false
}

// onePerson reports whether everything that is counted belongs to one person
// whom the client named by a lookup identifier: the protected tables are that
// person's row, or refer to it by its primary key. How often somebody known was
// in hospital is no cell of a table about people.
func (a *analysis) onePerson(n *ast.SelectStmt, s *scope) bool {
	conditions := []ast.ExprNode{n.Where}
	if n.From != nil {
		conditions = append(conditions, innerConditions(n.From.TableRefs)...)
	}
	for range s.sources {
		for _, c := range conditions {
			a.spread(c, s)
		}
	}
	for _, src := range s.sources {
		if src.table == nil || src.wrapped && !src.person {
			return false
		}
	}
	v := &subqueries{}
	n.Fields.Accept(v)
	return !v.found
}

type subqueries struct{ found bool }

// Enter looks for a subquery.
func (v *subqueries) Enter(n ast.Node) (ast.Node, bool) {
	_, sub := n.(*ast.SubqueryExpr)
	v.found = v.found || sub
	return n, sub
}

// Leave is part of the visitor.
func (*subqueries) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// innerConditions are the conditions of inner joins that no outer join holds.
func innerConditions(n ast.ResultSetNode) []ast.ExprNode {
	j, ok := n.(*ast.Join)
	if !ok {
		return nil
	}
	if j.Tp == ast.LeftJoin || j.Tp == ast.RightJoin {
		return nil
	}
	out := append(innerConditions(j.Left), innerConditions(j.Right)...)
	if j.On != nil {
		out = append(out, j.On.Expr)
	}
	return out
}

// spread marks what refers to a person's row by its primary key.
func (a *analysis) spread(e ast.ExprNode, s *scope) {
	b, ok := bare(e).(*ast.BinaryOperationExpr)
	if !ok {
		return
	}
	if b.Op == opcode.LogicAnd {
		a.spread(b.L, s)
		a.spread(b.R, s)
		return
	}
	if ref, value := sides(b); ref != nil && b.Op == opcode.EQ {
		if f, err := a.resolve(s, ref.Name, fromOnly); err == nil && f.own && f.source != nil && a.namesPerson(f) && a.oneValue(b, value, f) {
			f.source.person = true
		}
	}
	left, ok1 := bare(b.L).(*ast.ColumnNameExpr)
	right, ok2 := bare(b.R).(*ast.ColumnNameExpr)
	if b.Op != opcode.EQ || !ok1 || !ok2 {
		return
	}
	l, err1 := a.resolve(s, left.Name, fromOnly)
	r, err2 := a.resolve(s, right.Name, fromOnly)
	if err1 == nil && err2 == nil {
		a.same(l, r)
	}
}

// oneValue reports whether a column that names persons equals a constant for one of
// them only: as a number, every text without digits is 0.
func (a *analysis) oneValue(b *ast.BinaryOperationExpr, value ast.ExprNode, f found) bool {
	if f.source.table == nil {
		return false
	}
	return isNumber(f.source.table.column(f.column.name).dataType) || a.exact(b, value, f) == nil
}

// same marks one of two sources that have equal columns, if the other is one
// person's and the column says so.
func (a *analysis) same(l, r found) {
	if !l.own || !r.own || l.source == nil || r.source == nil {
		return
	}
	l.source.person = l.source.person || r.source.person && a.refers(l, r)
	r.source.person = r.source.person || l.source.person && a.refers(r, l)
}

// refers reports whether a column that equals another one names the person of
// that one's row. A ward that has the number of a person is not the person.
func (a *analysis) refers(to, key found) bool {
	if a.namesPerson(key) {
		return a.namesPerson(to)
	}
	keys := primaryKey(key.source)
	return len(keys) == 1 && key.column.origin == keys[0]
}

func (a *analysis) namesPerson(f found) bool {
	return f.column.ref != nil && a.in.Classes.Person(*f.column.ref)
}

// personKey is what the groups are by, if each is of one person: the protected
// rows that are counted are of the person whom the group is by. Where that is
// NULL, by itself or by an outer join, a group is of many.
func (a *analysis) personKey(n *ast.SelectStmt, s *scope) *ast.ColumnNameExpr {
	if n.GroupBy == nil || n.GroupBy.Rollup || n.From == nil { // whose sums are of many
		return nil
	}
	joins := &joinConditions{}
	n.From.TableRefs.Accept(joins)
	for _, item := range n.GroupBy.Items {
		key := groupedBy(item.Expr, n)
		if key == nil {
			continue
		}
		f, err := a.resolve(s, key.Name, fromOnly)
		if err != nil || !f.own || f.merged || f.source == nil || !a.namesPerson(f) {
			continue
		}
		if ref, ok := item.Expr.(*ast.ColumnNameExpr); ok { // FROM has one of the name too
			if other, err := a.resolve(s, ref.Name, fromOnly); err == nil && other.own && other.column != f.column {
				continue
			}
		}
		f.source.person = true
		for range s.sources {
			for _, e := range append(joins.found, n.Where) {
				a.spread(e, s)
			}
			for _, pair := range s.equal {
				a.same(pair[0], pair[1])
			}
		}
		others := slices.ContainsFunc(s.sources, func(src *source) bool {
			return !src.person && (src.wrapped || src.outlet != nil && src.outlet.people && !src.outlet.single)
		})
		if !others {
			return key
		}
	}
	return nil
}

// groupedBy is the column that an item of GROUP BY means, which may be given by its
// position or name in the select list, or nil.
func groupedBy(item ast.ExprNode, n *ast.SelectStmt) *ast.ColumnNameExpr {
	if p, ok := item.(*ast.PositionExpr); ok {
		if p.P != nil || p.N < 1 || p.N > len(n.Fields.Fields) {
			return nil
		}
		item = n.Fields.Fields[p.N-1].Expr
	}
	ref, ok := item.(*ast.ColumnNameExpr)
	if !ok || ref.Name.Table.L != "" {
		return ref
	}
	for _, f := range n.Fields.Fields {
		if f.AsName.O == "" || !strings.EqualFold(f.AsName.O, ref.Name.Name.O) {
			continue
		}
		ref, _ = f.Expr.(*ast.ColumnNameExpr)
		return ref
	}
	return ref
}

// joinConditions collects what joins are by, not those in derived tables.
type joinConditions struct{ found []ast.ExprNode }

// Enter notes ON.
func (v *joinConditions) Enter(n ast.Node) (ast.Node, bool) {
	if j, ok := n.(*ast.Join); ok && j.On != nil {
		v.found = append(v.found, j.On.Expr)
	}
	switch n.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.OnCondition:
		return n, true
	}
	return n, false
}

// Leave is part of the visitor.
func (*joinConditions) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// ofNobody is a count where the person whom a group is by is NULL.
func ofNobody(person *ast.ColumnNameExpr, count ast.ExprNode) ast.ExprNode {
	return &ast.CaseExpr{WhenClauses: []*ast.WhenClause{{Expr: &ast.IsNullExpr{Expr: person}, Result: count}}}
}

func primaryKey(src *source) (keys []masking.ColumnRef) {
	if src == nil || src.table == nil {
		return nil
	}
	for _, c := range src.table.columns {
		if c.key == "PRI" {
			keys = append(keys, masking.ColumnRef{Schema: src.table.schema, Relation: src.table.name, Column: c.name})
		}
	}
	return keys
}

// groupsByKey reports whether the groups hold one row of a protected table each,
// since its whole primary key is among what is grouped by, also as a part of an
// expression.
func (a *analysis) groupsByKey(n *ast.SelectStmt, s *scope) bool {
	grouped := map[*source]map[string]bool{}
	note := func(e ast.ExprNode) {
		if b, ok := e.(*ast.BinaryOperationExpr); e == nil || ok && b.Op == opcode.Mod { // two groups of id % 2
			return
		}
		v := &references{}
		e.Accept(v)
		for _, ref := range v.found {
			f, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, ref.Name, fromOnly)
			if err != nil || f.source == nil {
				continue
			}
			if grouped[f.source] == nil {
				grouped[f.source] = map[string]bool{}
			}
			grouped[f.source][f.column.origin.Column] = true
		}
	}
	for _, item := range n.GroupBy.Items {
		p, position := item.Expr.(*ast.PositionExpr)
		ref, _ := item.Expr.(*ast.ColumnNameExpr)
		if !position {
			note(item.Expr)
		}
		for i, f := range n.Fields.Fields {
			if position && p.N == i+1 || ref != nil && ref.Name.Table.L == "" && strings.EqualFold(fieldName(f), ref.Name.Name.O) {
				note(f.Expr)
			}
		}
	}
	for src, columns := range grouped {
		keys := primaryKey(src)
		if src.wrapped && len(keys) > 0 && !slices.ContainsFunc(keys, func(k masking.ColumnRef) bool { return !columns[k.Column] }) {
			return true
		}
	}
	return false
}
