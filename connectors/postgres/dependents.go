package postgres

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// dependents makes up for what a derived table takes from GROUP BY: the server
// no longer sees that a primary key stands for the other columns of its table.
// So those that are used outside of aggregates are added to GROUP BY, which
// changes no group.
func (a *analysis) dependents(n *pg.SelectStmt, s *scope) {
	if len(n.GroupClause) == 0 || n.GroupDistinct {
		return
	}
	grouped := map[*source][]string{}
	for _, g := range n.GroupClause {
		if g.GetGroupingSet() != nil {
			return
		}
		ref := g.GetColumnRef()
		if c := g.GetAConst(); c != nil && c.GetIval() != nil { // a position of the select list
			if at := int(c.GetIval().Ival); at >= 1 && at <= len(n.TargetList) {
				ref = n.TargetList[at-1].GetResTarget().GetVal().GetColumnRef()
			}
		}
		if ref == nil {
			continue
		}
		f, ok := a.level(s, ref)
		if !ok {
			if parts, _ := names(ref); len(parts) == 1 { // an alias of the select list
				for _, t := range n.TargetList {
					if r := t.GetResTarget(); r.GetName() == parts[0] && r.GetVal().GetColumnRef() != nil {
						f, ok = a.level(s, r.Val.GetColumnRef())
					}
				}
			}
		}
		if ok && f.source != nil {
			grouped[f.source] = append(grouped[f.source], f.column.origin.Column)
		}
	}
	for src, columns := range grouped {
		if !src.wrapped || src.relation == nil || !src.relation.keyed(columns) {
			delete(grouped, src)
		}
	}
	if len(grouped) == 0 {
		return
	}
	for _, part := range append(append(slices.Clone(n.TargetList), n.HavingClause), n.SortClause...) {
		visit(part, func(n2 *pg.Node) bool {
			if call := n2.GetFuncCall(); call != nil && call.Over == nil && aggregates[last(call.Funcname)] {
				return false
			}
			ref := n2.GetColumnRef()
			if ref == nil {
				return true
			}
			f, ok := a.level(s, ref)
			if !ok || f.whole || f.source == nil {
				return true
			}
			if known, has := grouped[f.source]; has && !slices.Contains(known, f.column.origin.Column) {
				grouped[f.source] = append(known, f.column.origin.Column)
				name := f.column.name
				n.GroupClause = append(n.GroupClause, &pg.Node{Node: &pg.Node_ColumnRef{ColumnRef: columnRef(f.source.name, name)}})
			}
			return true
		})
	}
}

// level resolves a reference among the sources of one level alone.
func (a *analysis) level(s *scope, ref *pg.ColumnRef) (found, bool) {
	if _, star := names(ref); star {
		return found{}, false
	}
	f, err := a.resolve(&scope{sources: s.sources, merged: s.merged}, ref)
	return f, err == nil
}

// keyed reports whether columns hold the relation's whole primary key.
func (r *relation) keyed(columns []string) bool {
	has := false
	for _, c := range r.columns {
		if c.primaryKey {
			if has = slices.Contains(columns, c.name); !has {
				return false
			}
		}
	}
	return has
}
