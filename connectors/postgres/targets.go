package postgres

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// targets analyses the select list. Stars over masked relations are written
// out, so that a hidden raw column never is part of one.
func (a *analysis) targets(n *pg.SelectStmt, s *scope, top bool) ([]column, error) {
	var (
		out  []column
		list []*pg.Node
	)
	for _, t := range n.TargetList {
		r := t.GetResTarget()
		if r == nil || len(r.Indirection) > 0 {
			return nil, unsupported("this form of select list is not understood", "")
		}
		spread, err := a.fields(r.Val, s)
		if err != nil {
			return nil, err
		}
		ref := r.Val.GetColumnRef()
		if spread != nil {
			ref = spread
		}
		if ref == nil {
			c, err := a.expr(r.Val, s, connectors.UseExpression)
			if err != nil {
				return nil, err
			}
			c.name, c.plain, c.ref = targetName(r), false, nil
			out, list = append(out, c), append(list, t)
			continue
		}
		parts, star := names(ref)
		if star {
			cols, nodes, err := a.star(parts, s, top)
			if err != nil {
				return nil, err
			}
			out, list = append(out, cols...), append(list, nodes...)
			continue
		}
		f, err := a.resolve(s, ref)
		if err != nil {
			return nil, err
		}
		if r.Name == "" {
			r.Name = parts[len(parts)-1] // a hidden name must not show
		}
		c := a.output(f, ref, top)
		if f.whole {
			c = a.whole(f, connectors.UseExpression)
		}
		c.name = r.Name
		if err := a.inPlace(r.Val, s); err != nil {
			return nil, err
		}
		out, list = append(out, c), append(list, t)
	}
	n.TargetList = list
	return out, nil
}

// fields turns (p).column into p.column, in place, and gives p.* for (p).*,
// where p is a source.
func (a *analysis) fields(n *pg.Node, s *scope) (star *pg.ColumnRef, err error) {
	e := n.GetAIndirection()
	if e == nil || len(e.Indirection) != 1 || e.Arg.GetColumnRef() == nil {
		return nil, nil
	}
	parts, isStar := names(e.Arg.GetColumnRef())
	if isStar || len(parts) != 1 {
		return nil, nil
	}
	f, err := a.resolve(s, e.Arg.GetColumnRef())
	if err != nil || !f.whole {
		return nil, err
	}
	f.source.asValue(-1) // it is taken apart again
	switch field := e.Indirection[0]; {
	case field.GetString_() != nil:
		n.Node = &pg.Node_ColumnRef{ColumnRef: columnRef(parts[0], field.GetString_().Sval)}
	case field.GetAStar() != nil:
		ref := columnRef(parts[0])
		ref.Fields = append(ref.Fields, field)
		return ref, nil
	}
	return nil, nil
}

// output notes a bare column in a select list: raw, to be masked by the
// gateway, if its mask is of that kind and it is one of the result's own.
func (a *analysis) output(f found, ref *pg.ColumnRef, top bool) column {
	a.pin(ref, f)
	c := *f.column
	c.via = f.source
	if c.class == nil || !c.plain {
		return c
	}
	kind, seen := connectors.UseOutput, connectors.SeenMasked
	if !top {
		kind = connectors.UseExpression
	}
	if c.class.Mask.InGateway() && top && !a.collapsed && a.st.Kind == connectors.KindSelect && f.own && f.source != nil && f.source.wrapped && !f.source.view {
		switch person, ok := a.personBeside(f); {
		case c.class.Mask.Kind != masking.DateShift:
			a.point(ref, f)
			c.gateway, seen = true, connectors.SeenGateway
		case ok:
			c.typ = a.pointDated(ref, f, person)
			c.gateway, seen = true, connectors.SeenGateway
		}
	}
	a.use(c.origin, *c.class, kind, seen, false)
	return c
}

// spreadStars writes out t.* in a row of VALUES.
func (a *analysis) spreadStars(items []*pg.Node, s *scope) ([]*pg.Node, error) {
	var out []*pg.Node
	for _, item := range items {
		parts, star := names(item.GetColumnRef())
		if !star || len(parts) == 0 {
			out = append(out, item)
			continue
		}
		_, nodes, err := a.star(parts, s, false)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			out = append(out, n.GetResTarget().Val)
		}
	}
	return out, nil
}

// star writes out * or t.*.
func (a *analysis) star(parts []string, s *scope, top bool) ([]column, []*pg.Node, error) {
	list, own := s.stars, true
	if len(parts) > 2 {
		return nil, nil, unsupported("names across databases are not understood", "")
	}
	if len(parts) > 0 {
		list = nil
		for level := s; level != nil && list == nil; level = level.parent {
			for _, src := range level.sources {
				if src.name == parts[len(parts)-1] && !src.covered && (len(parts) == 1 || src.schema == parts[0]) {
					list, own = []shown{}, level == s
					for _, c := range src.columns {
						list = append(list, shown{c.name, src})
					}
				}
			}
		}
		if list == nil {
			return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42P01", Message: "no such table: " + word(parts[len(parts)-1])}
		}
	}
	if len(list) == 0 {
		return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42601", Message: "* has no table to stand for"}
	}
	var (
		out   []column
		nodes []*pg.Node
	)
	for _, item := range list {
		ref := columnRef(item.name)
		f := found{column: s.merged[item.name], own: true}
		if item.source != nil {
			ref = columnRef(item.source.name, item.name)
			for i := range item.source.columns {
				if item.source.columns[i].name == item.name {
					f = found{column: &item.source.columns[i], source: item.source, own: own}
				}
			}
		}
		if f.column == nil {
			return nil, nil, unsupported("* is not understood here", "Name the columns.")
		}
		f.column.used = true
		c := a.output(f, ref, top)
		c.name = item.name
		out = append(out, c)
		value := &pg.Node{Node: &pg.Node_ColumnRef{ColumnRef: ref}}
		if err := a.inPlace(value, s); err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: item.name, Val: value}}})
	}
	return out, nodes, nil
}

func columnRef(parts ...string) *pg.ColumnRef {
	ref := &pg.ColumnRef{}
	for _, p := range parts {
		ref.Fields = append(ref.Fields, pg.MakeStrNode(p))
	}
	return ref
}

// targetName is the name that PostgreSQL gives an expression, where it is known.
func targetName(r *pg.ResTarget) string {
	if r.Name != "" {
		return r.Name
	}
	return exprName(r.Val)
}

// exprName is exact where it says a name: one that the server does not give would
// hide another that it finds further outside.
func exprName(n *pg.Node) string {
	name, _ := figured(n)
	return name
}

// figured is a name as PostgreSQL's FigureColname finds it; weak names give way
// to that of a cast.
func figured(n *pg.Node) (name string, weak bool) {
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		if parts, _ := names(e.ColumnRef); len(parts) > 0 {
			return parts[len(parts)-1], false
		}
	case *pg.Node_FuncCall:
		return last(e.FuncCall.Funcname), false
	case *pg.Node_TypeCast:
		if name, weak := figured(e.TypeCast.Arg); !weak {
			return name, false
		}
		return last(e.TypeCast.TypeName.GetNames()), true
	case *pg.Node_CoalesceExpr:
		return "coalesce", false
	case *pg.Node_MinMaxExpr:
		if e.MinMaxExpr.Op == pg.MinMaxOp_IS_LEAST {
			return "least", false
		}
		return "greatest", false
	case *pg.Node_CaseExpr:
		if name, weak := figured(e.CaseExpr.Defresult); !weak {
			return name, false
		}
		return "case", true
	case *pg.Node_AArrayExpr:
		return "array", false
	case *pg.Node_RowExpr:
		return "row", false
	case *pg.Node_SubLink:
		switch e.SubLink.SubLinkType {
		case pg.SubLinkType_EXISTS_SUBLINK:
			return "exists", false
		case pg.SubLinkType_ARRAY_SUBLINK:
			return "array", false
		}
		if sel := e.SubLink.Subselect.GetSelectStmt(); e.SubLink.SubLinkType == pg.SubLinkType_EXPR_SUBLINK && sel != nil && len(sel.TargetList) == 1 {
			return targetName(sel.TargetList[0].GetResTarget()), false
		}
	case *pg.Node_CollateClause:
		return figured(e.CollateClause.Arg)
	case *pg.Node_AIndirection:
		for _, part := range slices.Backward(e.AIndirection.Indirection) {
			if part.GetString_() != nil {
				return part.GetString_().Sval, false
			}
		}
		return figured(e.AIndirection.Arg)
	}
	return "?column?", true
}

func last(names []*pg.Node) string {
	if len(names) == 0 {
		return "?column?"
	}
	return names[len(names)-1].GetString_().GetSval()
}
