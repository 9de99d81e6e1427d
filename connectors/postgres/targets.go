package postgres

import (
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
		ref := r.Val.GetColumnRef()
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
		c.name = r.Name
		out, list = append(out, c), append(list, t)
	}
	n.TargetList = list
	return out, nil
}

// output notes a bare column in a select list: raw, to be masked by the
// gateway, if its mask is of that kind and it is one of the result's own.
func (a *analysis) output(f found, ref *pg.ColumnRef, top bool) column {
	a.unqualify(ref, f)
	c := *f.column
	if c.class == nil || !c.plain {
		return c
	}
	kind, seen := connectors.UseOutput, connectors.SeenMasked
	if !top {
		kind = connectors.UseExpression
	}
	if c.class.Mask.Kind == masking.Token && top && a.st.Kind == connectors.KindSelect && f.own && f.source != nil && f.source.wrapped {
		a.point(ref, f)
		c.gateway, seen = true, connectors.SeenGateway
	}
	a.use(c.origin, *c.class, kind, seen, false)
	return c
}

// star writes out * or t.*.
func (a *analysis) star(parts []string, s *scope, top bool) ([]column, []*pg.Node, error) {
	if len(parts) > 1 {
		return nil, nil, unsupported("schema.table.* is not understood", "Use the table's name or alias.")
	}
	list := s.stars
	if len(parts) == 1 {
		list = nil
		for _, src := range s.sources {
			if src.name == parts[0] {
				for _, c := range src.columns {
					list = append(list, shown{c.name, src})
				}
			}
		}
		if list == nil {
			return nil, nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42P01", Message: "no such table: " + word(parts[0])}
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
		f := found{s.merged[item.name], nil, true}
		if item.source != nil {
			ref = columnRef(item.source.name, item.name)
			for i := range item.source.columns {
				if item.source.columns[i].name == item.name {
					f = found{&item.source.columns[i], item.source, true}
				}
			}
		}
		if f.column == nil {
			return nil, nil, unsupported("* is not understood here", "Name the columns.")
		}
		c := a.output(f, ref, top)
		c.name = item.name
		out = append(out, c)
		nodes = append(nodes, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: item.name,
			Val: &pg.Node{Node: &pg.Node_ColumnRef{ColumnRef: ref}}}}})
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

func exprName(n *pg.Node) string {
	switch e := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		if parts, _ := names(e.ColumnRef); len(parts) > 0 {
			return parts[len(parts)-1]
		}
	case *pg.Node_FuncCall:
		return last(e.FuncCall.Funcname)
	case *pg.Node_TypeCast:
		if name := exprName(e.TypeCast.Arg); name != "?column?" {
			return name
		}
		return last(e.TypeCast.TypeName.GetNames())
	case *pg.Node_CoalesceExpr:
		return "coalesce"
	case *pg.Node_MinMaxExpr:
		if e.MinMaxExpr.Op == pg.MinMaxOp_IS_LEAST {
			return "least"
		}
		return "greatest"
	case *pg.Node_CaseExpr:
		return "case"
	case *pg.Node_AArrayExpr:
		return "array"
	case *pg.Node_RowExpr:
		return "row"
	case *pg.Node_SubLink:
		switch e.SubLink.SubLinkType {
		case pg.SubLinkType_EXISTS_SUBLINK:
			return "exists"
		case pg.SubLinkType_ARRAY_SUBLINK:
			return "array"
		}
		if sel := e.SubLink.Subselect.GetSelectStmt(); sel != nil && len(sel.TargetList) == 1 {
			return targetName(sel.TargetList[0].GetResTarget())
		}
	case *pg.Node_CollateClause:
		return exprName(e.CollateClause.Arg)
	case *pg.Node_AIndirection:
		return exprName(e.AIndirection.Arg)
	}
	return "?column?"
}

func last(names []*pg.Node) string {
	if len(names) == 0 {
		return "?column?"
	}
	return names[len(names)-1].GetString_().GetSval()
}
