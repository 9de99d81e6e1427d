package postgres

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// cellPrefix begins the names of the counts that the rewriting adds.
const cellPrefix = hiddenPrefix + "n"

// cells finds the result's columns that tell of a number of protected rows, and
// adds to the select list the counts that say of how many: of each group, and of
// what goes into each aggregate. They are hidden outputs, last in the list.
func (a *analysis) cells(n *pg.SelectStmt, s *scope, out []column, top bool) ([]column, error) {
	if !top || !a.in.Cells || !a.touchesProtected() {
		return out, nil
	}
	one, person := a.onePerson(n, s), (*pg.Node)(nil)
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
	c := &cellCounts{a: a, n: n, shown: len(out), person: person}
	grouped, aggregate := len(n.GroupClause) > 0, false
	for _, t := range n.TargetList {
		aggregate = aggregate || hasAggregate(t)
	}
	if distinct(n) && grouped && !everyKeyShown(n) {
		return nil, unsupported("DISTINCT over groups of protected rows is not understood", "Leave DISTINCT out, or select every column of GROUP BY.")
	}
	c.selfOnly = distinct(n) && !grouped && !aggregate // another column would change the answer
	for i, t := range n.TargetList[:c.shown] {
		value := t.GetResTarget().GetVal()
		cell := hasAggregate(value)
		if cell {
			out[i].counts = append(out[i].counts, c.whole())
		}
		out[i].counts = append(out[i].counts, c.within(i, value)...)
		if out[i].count && len(out[i].counts) == 0 {
			out[i].counts = []int{i}
		}
		slices.Sort(out[i].counts)
		out[i].counts = slices.Compact(out[i].counts)
	}
	for range len(n.TargetList) - c.shown {
		out = append(out, column{name: cellPrefix, cell: true})
	}
	return out, c.err
}

func (a *analysis) touchesProtected() bool {
	return slices.ContainsFunc(a.st.Relations, func(r connectors.Relation) bool { return r.Protected })
}

// belowProtected reports whether a derived table or common table expression may
// hold protected rows.
func (a *analysis) belowProtected(src *source) bool {
	return src.relation == nil && a.touchesProtected()
}

func distinct(n *pg.SelectStmt) bool {
	return len(n.DistinctClause) > 0 && n.DistinctClause[0].Node == nil
}

// everyKeyShown reports whether groups differ in the select list already, so
// that DISTINCT takes nothing away.
func everyKeyShown(n *pg.SelectStmt) bool {
	shown := map[string]bool{}
	for i, t := range n.TargetList {
		shown[spelled(t.GetResTarget().GetVal())], shown[spelled(pg.MakeAConstIntNode(int64(i+1), -1))] = true, true
		if name := t.GetResTarget().GetName(); name != "" {
			shown[quote(name)] = true
		}
	}
	for _, g := range n.GroupClause {
		bare := g.GetColumnRef()
		if !shown[spelled(g)] && (bare == nil || !shown[quote(last(bare.Fields))]) {
			return false
		}
	}
	return true
}

// spelled tells expressions apart, wherever in the text they stand.
func spelled(n *pg.Node) string {
	if n == nil {
		return ""
	}
	bare := proto.CloneOf(n)
	unplace(bare.ProtoReflect())
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return fmt.Sprintf("%p", n) // like nothing else
	}
	return string(out)
}

// unplace clears where in a text the nodes of a message were.
func unplace(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case locates(f):
			m.Clear(f)
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				unplace(v.List().Get(i).Message())
			}
		default:
			unplace(v.Message())
		}
		return true
	})
}

// cellCounts are the counts of one select list.
type cellCounts struct {
	a        *analysis
	n        *pg.SelectStmt
	shown    int
	selfOnly bool
	person   *pg.Node // what the groups, each of one person, are by; or nil
	group    int      // where the count of the whole group is; 0 if it is not there yet
	said     []string // the counts behind the select list
	err      error
}

// whole gives the place of the count of the whole group.
func (c *cellCounts) whole() int {
	if c.group == 0 {
		c.group = c.add(countOf(nil, nil))
	}
	return c.group
}

// add puts a count behind the select list, once, and gives its place.
func (c *cellCounts) add(count *pg.Node) int {
	if c.person != nil && count.GetFuncCall().GetOver() == nil {
		count = ofNobody(c.person, count)
	}
	said := spelled(count)
	if at := slices.Index(c.said, said); at >= 0 {
		return c.shown + at
	}
	c.said = append(c.said, said)
	at := len(c.n.TargetList)
	// The very nodes, not copies: what the rewriting does to tables in them counts here too.
	c.n.TargetList = append(c.n.TargetList, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{
		Name: cellPrefix + itoa(at), Val: count}}})
	return at
}

// within finds the counts that go into column i of the select list.
func (c *cellCounts) within(i int, value *pg.Node) (counts []int) {
	note := func(n *pg.Node) {
		if f := n.GetFuncCall(); c.selfOnly && f != nil && n != value {
			counts = append(counts, c.beside(f, n))
			return
		}
		if (n == value || c.selfOnly) && (c.person == nil || n.GetFuncCall().GetOver() != nil) {
			counts = append(counts, i)
		} else {
			counts = append(counts, c.add(n))
		}
	}
	visit(value, func(n *pg.Node) bool {
		if n.GetSubLink() != nil {
			return false
		}
		if ref := n.GetColumnRef(); ref != nil && c.a.counted[ref] {
			note(n)
		}
		f := n.GetFuncCall()
		if f == nil || !f.AggStar && !aggregates[last(f.Funcname)] {
			return true
		}
		switch {
		case c.counting(f):
			note(n)
			if last(f.Funcname) == "sum" && !c.selfOnly && !c.ofCount(f.Args[0]) { // of 100 for each
				counts = append(counts, c.add(countOf(f, f.Args[0])))
			}
		case f.Over != nil && slices.ContainsFunc(f.Args, hasAggregate):
			return true // over groups: what is in them is looked at
		case c.selfOnly && len(f.Args) > 0:
			counts = append(counts, c.beside(f, countOf(f, f.Args[0])))
		case !c.selfOnly && len(f.AggOrder) > 0 && f.AggWithinGroup:
			counts = append(counts, c.add(countOf(f, f.AggOrder[0].GetSortBy().GetNode())))
		case !c.selfOnly && len(f.Args) > 0:
			counts = append(counts, c.add(countOf(f, f.Args[0])))
		}
		return false
	})
	return counts
}

// beside adds the count of a window to the rows of a DISTINCT, which must not become
// more by it.
func (c *cellCounts) beside(f *pg.FuncCall, count *pg.Node) int {
	w := f.Over
	hidden := w.GetName() != "" || w.GetRefname() != "" || len(w.GetOrderClause()) > 0
	for _, p := range w.GetPartitionClause() {
		hidden = hidden || !slices.ContainsFunc(c.n.TargetList[:c.shown], func(t *pg.Node) bool {
			return spelled(t.GetResTarget().GetVal()) == spelled(p)
		})
	}
	if hidden {
		c.err = unsupported("DISTINCT over windows of protected rows is not understood",
			"Leave DISTINCT out, or write OVER (PARTITION BY …) without ORDER BY and select what it is by.")
	}
	return c.add(count)
}

// counting reports whether an aggregate's value is a number of rows.
func (c *cellCounts) counting(f *pg.FuncCall) bool {
	switch name := last(f.Funcname); name {
	case "count", "regr_count":
		return true
	case "sum", "min", "max":
		return len(f.Args) == 1 && (c.ofCount(f.Args[0]) || name == "sum" && indicator(f.Args[0]))
	}
	return false
}

// ofCount reports whether an expression is made of a count.
func (c *cellCounts) ofCount(n *pg.Node) (found bool) {
	visit(n, func(n *pg.Node) bool {
		found = found || n.GetColumnRef() != nil && c.a.counted[n.GetColumnRef()] ||
			n.GetFuncCall() != nil && last(n.GetFuncCall().Funcname) == "count"
		return true
	})
	return found
}

// indicator reports whether an expression is a 0 or 1 (or such) that a
// condition decides: the sum of it is a count.
func indicator(n *pg.Node) bool {
	n = bare(n)
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst, *pg.Node_BoolExpr, *pg.Node_NullTest, *pg.Node_BooleanTest:
		return true
	case *pg.Node_AExpr:
		return comparing(e.AExpr)
	case *pg.Node_CaseExpr:
		for _, w := range e.CaseExpr.Args {
			if !indicator(w.GetCaseWhen().GetResult()) {
				return false
			}
		}
		return e.CaseExpr.Defresult == nil || indicator(e.CaseExpr.Defresult)
	case *pg.Node_CoalesceExpr:
		return !slices.ContainsFunc(e.CoalesceExpr.Args, func(n *pg.Node) bool { return !indicator(n) })
	}
	return false
}

// countOf counts what goes into an aggregate: its values that are not NULL,
// under its FILTER or in its window. Without one it is the whole group.
func countOf(f *pg.FuncCall, value *pg.Node) *pg.Node {
	call := &pg.FuncCall{Funcname: []*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode("count")}, AggStar: value == nil,
		Funcformat: pg.CoercionForm_COERCE_EXPLICIT_CALL}
	if f != nil {
		call.AggFilter, call.Over = f.AggFilter, f.Over
	}
	if value != nil {
		call.Args = []*pg.Node{value}
	}
	return &pg.Node{Node: &pg.Node_FuncCall{FuncCall: call}}
}

// onePerson reports whether everything that is counted belongs to one person
// whom the client named by a lookup identifier: the protected relations are that
// person's row, or refer to it by its primary key. How often somebody known was
// in hospital is no cell of a table about people.
func (a *analysis) onePerson(n *pg.SelectStmt, s *scope) bool {
	conditions := []*pg.Node{n.WhereClause}
	for _, f := range n.FromClause {
		visit(f, func(n *pg.Node) bool {
			j := n.GetJoinExpr()
			if j != nil && j.Jointype == pg.JoinType_JOIN_INNER {
				conditions = append(conditions, j.Quals)
			}
			return j != nil && j.Jointype == pg.JoinType_JOIN_INNER
		})
	}
	for range s.sources {
		for _, c := range conditions {
			a.spread(c, s)
		}
	}
	for _, src := range s.sources {
		if src.relation == nil || src.wrapped && !src.person {
			return false
		}
	}
	for _, t := range n.TargetList {
		sub := false
		visit(t, func(n *pg.Node) bool { sub = sub || n.GetSubLink() != nil; return true })
		if sub {
			return false
		}
	}
	return true
}

// spread marks what refers to a person's row by its primary key.
func (a *analysis) spread(n *pg.Node, s *scope) {
	if b := n.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
		for _, arg := range b.Args {
			a.spread(arg, s)
		}
	}
	e := n.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || operator(e.Name) != "=" {
		return
	}
	for _, pair := range [][2]*pg.Node{{e.Lexpr, e.Rexpr}, {e.Rexpr, e.Lexpr}} {
		if ref := pair[0].GetColumnRef(); ref != nil && constant(pair[1]) {
			if f, err := a.resolve(s, ref); err == nil && f.own && f.source != nil && a.namesPerson(f) {
				f.source.person = true
			}
		}
	}
	if e.Lexpr.GetColumnRef() == nil || e.Rexpr.GetColumnRef() == nil {
		return
	}
	l, err1 := a.resolve(s, e.Lexpr.GetColumnRef())
	r, err2 := a.resolve(s, e.Rexpr.GetColumnRef())
	if err1 == nil && err2 == nil {
		a.same(l, r)
	}
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
	return !f.whole && f.column.ref != nil && a.in.Classes.Person(*f.column.ref)
}

// personKey is what the groups are by, if each is of one person: the protected
// rows that are counted are of the person whom the group is by. Where that is
// NULL, by itself or by an outer join, a group is of many.
func (a *analysis) personKey(n *pg.SelectStmt, s *scope) *pg.Node {
	for _, g := range n.GroupClause {
		key := a.groupedBy(g, n, s)
		if key.GetColumnRef() == nil {
			continue
		}
		f, own := a.level(s, key.GetColumnRef())
		if !own || f.source == nil || !a.namesPerson(f) {
			continue
		}
		f.source.person = true
		for range s.sources {
			a.spread(n.WhereClause, s)
			for _, from := range n.FromClause {
				visit(from, func(n *pg.Node) bool {
					a.spread(n.GetJoinExpr().GetQuals(), s)
					return n.GetJoinExpr() != nil
				})
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

// groupedBy is the expression that an item of GROUP BY means, which may be given by
// its position or name in the select list.
func (a *analysis) groupedBy(g *pg.Node, n *pg.SelectStmt, s *scope) *pg.Node {
	if at := g.GetAConst().GetIval(); at != nil && int(at.Ival) >= 1 && int(at.Ival) <= len(n.TargetList) {
		return n.TargetList[at.Ival-1].GetResTarget().GetVal()
	}
	parts, _ := names(g.GetColumnRef())
	if len(parts) != 1 {
		return g
	}
	if _, ok := a.level(s, g.GetColumnRef()); ok {
		return g
	}
	for _, t := range n.TargetList {
		if r := t.GetResTarget(); r.GetName() == parts[0] {
			return r.GetVal()
		}
	}
	return g
}

// ofNobody is a count where the person whom a group is by is NULL.
func ofNobody(person, count *pg.Node) *pg.Node {
	null := &pg.Node{Node: &pg.Node_NullTest{NullTest: &pg.NullTest{Arg: person, Nulltesttype: pg.NullTestType_IS_NULL}}}
	when := &pg.Node{Node: &pg.Node_CaseWhen{CaseWhen: &pg.CaseWhen{Expr: null, Result: count}}}
	return &pg.Node{Node: &pg.Node_CaseExpr{CaseExpr: &pg.CaseExpr{Args: []*pg.Node{when}}}}
}

func primaryKey(src *source) (keys []masking.ColumnRef) {
	if src == nil || src.relation == nil {
		return nil
	}
	for _, c := range src.relation.columns {
		if c.primaryKey {
			keys = append(keys, masking.ColumnRef{Schema: src.relation.schema, Relation: src.relation.name, Column: c.name})
		}
	}
	return keys
}

// groupsByKey reports whether the groups hold one row of a protected relation
// each, since its whole primary key is among what is grouped by, also as a part
// of an expression.
func (a *analysis) groupsByKey(n *pg.SelectStmt, s *scope) bool {
	grouped := map[*source]map[string]bool{}
	note := func(ref *pg.ColumnRef) {
		if f, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, ref); err == nil {
			for _, src := range s.sources {
				merged := f.source == nil && slices.ContainsFunc(src.columns, func(c column) bool { return c.name == f.column.name })
				if src != f.source && !merged {
					continue
				}
				if grouped[src] == nil {
					grouped[src] = map[string]bool{}
				}
				grouped[src][f.column.origin.Column] = true
			}
		}
	}
	whole := func(n *pg.Node) bool {
		if ref := n.GetColumnRef(); ref != nil {
			note(ref)
		}
		return last(n.GetFuncCall().GetFuncname()) != "mod" && operator(n.GetAExpr().GetName()) != "%" // two groups of id % 2
	}
	for _, g := range n.GroupClause {
		visit(g, whole)
		for i, t := range n.TargetList { // by position, or by its name there
			r := t.GetResTarget()
			at := g.GetAConst().GetIval()
			ref := g.GetColumnRef()
			if at != nil && int(at.Ival) == i+1 || ref != nil && len(ref.Fields) == 1 && last(ref.Fields) == r.GetName() {
				visit(r.GetVal(), whole)
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
