package mysql

import (
	"fmt"
	"regexp"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// plainName is a name that is the same inside quotes in every mode.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_$]+$`)

// shownBy is the query of information_schema that SHOW TABLES, SHOW INDEX, SHOW
// COLUMNS or DESCRIBE stands for, to be analysed as if the client had written it:
// it gives names and types, and never the server's statistics. It is "" for any
// other statement, and for these with clauses of their own.
func shownBy(node ast.StmtNode) string {
	if explain, ok := node.(*ast.ExplainStmt); ok {
		node = explain.Stmt // DESCRIBE patients
	}
	show, ok := node.(*ast.ShowStmt)
	if !ok || show.Pattern != nil || show.Where != nil || show.Limit != nil || show.Column != nil || show.Extended ||
		show.Partition.O != "" || show.IndexName.O != "" || show.DBName != "" {
		return ""
	}
	if show.Tp == ast.ShowTables {
		return "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
	}
	if show.Table == nil || show.Table.Schema.O != "" || !plainName.MatchString(show.Table.Name.O) {
		return ""
	}
	of := fmt.Sprintf("WHERE table_schema = DATABASE() AND table_name = '%s'", show.Table.Name.O)
	switch show.Tp {
	case ast.ShowColumns:
		return "SELECT column_name AS `Field`, column_type AS `Type`, is_nullable AS `Null`, column_key AS `Key`, " +
			"column_default AS `Default`, extra AS `Extra` FROM information_schema.columns " + of + " ORDER BY ordinal_position"
	case ast.ShowIndex:
		return "SELECT table_name AS `Table`, non_unique AS `Non_unique`, index_name AS `Key_name`, seq_in_index AS `Seq_in_index`, " +
			"column_name AS `Column_name`, index_type AS `Index_type` FROM information_schema.statistics " + of +
			" ORDER BY index_name, seq_in_index"
	}
	return ""
}
