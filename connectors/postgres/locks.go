package postgres

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// locking analyses FOR UPDATE and FOR SHARE. A read would hold its locks for no
// longer than its own answer, so only a write may take them, for the rows that it
// chooses. Through a derived table the server locks the rows of the table in it.
func (a *analysis) locking(n *pg.SelectStmt) error {
	if len(n.LockingClause) == 0 {
		return nil
	}
	a.st.Shape.Locking = true
	if !a.st.Write {
		return unsupported("FOR UPDATE and FOR SHARE do nothing in a read: each request is a transaction of its own, so the lock ends with the answer",
			"Leave the lock out. To change only what is still as it was read, compare it in the WHERE of the UPDATE; "+
				"to take rows from a queue, write UPDATE … WHERE id IN (SELECT id … FOR UPDATE SKIP LOCKED) RETURNING ….")
	}
	for _, l := range n.LockingClause {
		for _, rel := range l.GetLockingClause().GetLockedRels() {
			rv := rel.GetRangeVar()
			if rv == nil || rv.Schemaname != "" || rv.Catalogname != "" {
				return unsupported("FOR UPDATE OF takes the names of FROM", "Name the table's alias.")
			}
			a.placed[rv] = true
		}
	}
	return nil
}
