package noninterference

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
)

// plan is the form of a statement's plan: its nodes and what they use.
func (c *clinic) plan(ctx context.Context, st *connectors.Statement) string {
	if st.Engine == "mysql" {
		return c.mysqlPlan(ctx, st.Text, len(st.Order))
	}
	db, err := pgx.Connect(ctx, c.db.DSN)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = db.Close(ctx) }()
	var text string
	if err := db.QueryRow(ctx, "EXPLAIN (COSTS off, FORMAT JSON) "+st.Text).Scan(&text); err != nil && len(st.Order) == 0 {
		rows, err := db.Query(ctx, "EXPLAIN (COSTS off) "+st.Text)
		if err != nil {
			return err.Error()
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err.Error()
		}
		return strings.Join(lines, "\n")
	}
	return text
}

func (c *clinic) mysqlPlan(ctx context.Context, text string, params int) string {
	db, err := c.db.OpenMySQL()
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	args := make([]any, params)
	for i := range args {
		args[i] = "a"
	}
	var plan string
	if err := db.QueryRowContext(ctx, "EXPLAIN FORMAT=JSON "+strings.ReplaceAll(text, "`"+c.db.Name+"`.", ""), args...).Scan(&plan); err != nil {
		return err.Error()
	}
	var tree any
	if err := json.Unmarshal([]byte(plan), &tree); err != nil {
		return plan
	}
	var b strings.Builder
	outline(&b, tree)
	return b.String()
}

// outline writes a JSON plan without its estimates.
func outline(b *strings.Builder, node any) {
	switch n := node.(type) {
	case map[string]any:
		for _, key := range []string{"table_name", "access_type", "key"} {
			if v, ok := n[key]; ok {
				fmt.Fprintf(b, "%s=%v ", key, v)
			}
		}
		keys := make([]string, 0, len(n))
		for key := range n {
			keys = append(keys, key)
		}
		// The order of keys is the plan's only where it is an array.
		for _, key := range sorted(keys) {
			switch n[key].(type) {
			case map[string]any, []any:
				b.WriteString(key + "(")
				outline(b, n[key])
				b.WriteString(")")
			}
		}
	case []any:
		for _, v := range n {
			outline(b, v)
		}
	}
}
