package postgres

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// change analyses a statement that changes data and gives what it returns.
func (a *analysis) change(node *pg.Node, outer *scope) ([]column, error) {
	switch n := node.GetNode().(type) {
	case *pg.Node_InsertStmt:
		return a.insert(n.InsertStmt, outer)
	case *pg.Node_UpdateStmt:
		return a.update(n.UpdateStmt, outer)
	case *pg.Node_DeleteStmt:
		return a.delete(n.DeleteStmt, outer)
	case *pg.Node_MergeStmt:
		return a.merge(n.MergeStmt, outer)
	}
	return nil, unsupported("this kind of statement is not understood", "")
}

// changeBeneath is a change of data in WITH. It makes the whole statement one.
func (a *analysis) changeBeneath(node *pg.Node, s *scope) ([]column, error) {
	if s.parent != nil {
		return nil, unsupported("a change of data can stand in the outermost WITH only", "Move it there.")
	}
	a.st.ChangesInWith = true
	depth := a.depth
	defer func() { a.depth = depth }()
	return a.change(node, s)
}

// severity orders the changes of data: of several in one statement the worst
// gives it its kind.
var severity = []connectors.Kind{connectors.KindSelect, connectors.KindInsert, connectors.KindMerge, connectors.KindUpdate, connectors.KindDelete}

// changes notes a change of data; bounded says that it tells which rows.
func (a *analysis) changes(kind connectors.Kind, bounded bool) {
	a.st.Write = true
	if slices.Index(severity, kind) > slices.Index(severity, a.st.Kind) {
		a.st.Kind = kind
	}
	a.unbounded = a.unbounded || !bounded
}

// merge analyses MERGE: the source is masked as any, the target as in UPDATE.
func (a *analysis) merge(n *pg.MergeStmt, outer *scope) ([]column, error) {
	a.changes(connectors.KindMerge, true)
	s, src, err := a.target(n.Relation, outer)
	if err != nil {
		return nil, err
	}
	if err := a.with(n.WithClause, s); err != nil {
		return nil, err
	}
	if s.stars, _, err = a.from(n.SourceRelation, s); err != nil {
		return nil, err
	}
	links := len(s.links)
	if err := a.condition(n.JoinCondition, s, connectors.UseJoin, true); err != nil {
		return nil, err
	}
	joined := slices.ContainsFunc(s.links[links:], func(l [2]*source) bool { return slices.Contains(l[:], src) })
	a.unbounded = a.unbounded || !joined && !src.filtered
	source := &scope{parent: s.parent, ctes: s.ctes, sources: s.sources[1:], merged: s.merged}
	target := &scope{parent: s.parent, ctes: s.ctes, sources: s.sources[:1], merged: map[string]*column{}}
	for _, w := range n.MergeWhenClauses {
		when := w.GetMergeWhenClause()
		seen := s
		switch when.GetMatchKind() {
		case pg.MergeMatchKind_MERGE_WHEN_MATCHED:
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_TARGET:
			seen = source
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_SOURCE:
			seen = target
		default:
			return nil, unsupported("this form of MERGE is not understood", "Use WHEN MATCHED and WHEN NOT MATCHED.")
		}
		if err := a.mergeWhen(when, seen, s, src); err != nil {
			return nil, err
		}
	}
	return a.returning(&n.ReturningList, s)
}

// mergeWhen is one WHEN of MERGE, with what it sees.
func (a *analysis) mergeWhen(when *pg.MergeWhenClause, seen, s *scope, src *source) error {
	if err := a.condition(when.Condition, seen, connectors.UsePredicate, true); err != nil {
		return err
	}
	switch when.CommandType {
	case pg.CmdType_CMD_DELETE, pg.CmdType_CMD_NOTHING:
		return nil
	case pg.CmdType_CMD_UPDATE:
		return a.assignments(when.TargetList, seen, src)
	case pg.CmdType_CMD_INSERT:
		if len(when.TargetList) == 0 && len(when.Values) > 0 { // they are the first ones of the table
			for i := 0; i < len(when.Values) && i < len(src.relation.columns); i++ {
				when.TargetList = append(when.TargetList, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: src.relation.columns[i].name}}})
			}
		}
		if len(when.TargetList) != len(when.Values) {
			return &connectors.Error{Kind: connectors.KindStatement, SQLState: "42601", Message: "a row has another number of values than columns"}
		}
		for i, value := range when.Values {
			if err := a.assign(when.TargetList[i].GetResTarget(), value, s, seen, src); err != nil {
				return err
			}
		}
		return nil
	}
	return unsupported("this form of MERGE is not understood", "Use UPDATE, DELETE, INSERT or DO NOTHING.")
}
