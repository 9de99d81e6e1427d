package noninterference

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
)

// explain gives a statement's plan on this twin.
type explain func(*clinic, context.Context, *connectors.Statement, []string) (string, error)

// planned says whether the twins' plans of a statement differ. Where one cannot
// be had they count as alike.
func (w *twins) planned(ctx context.Context, as explain, st, other *connectors.Statement, params []string) (differ bool) {
	one, err := as(w.one, ctx, st, params)
	two, otherErr := as(w.two, ctx, other, params)
	return err == nil && otherErr == nil && one != two
}

// plan is a statement's plan without its estimates: the nodes and what they use.
func (c *clinic) plan(ctx context.Context, st *connectors.Statement, params []string) (string, error) {
	if st.Engine == "mysql" {
		return c.mysqlPlan(ctx, st, params)
	}
	return c.postgresPlan(ctx, "COSTS off", st, params)
}

// estimates are a statement's plan on PostgreSQL with the rows that the planner
// expects of each node: they size its hash tables, in whose order groups come.
func (c *clinic) estimates(ctx context.Context, st *connectors.Statement, params []string) (string, error) {
	return c.postgresPlan(ctx, "COSTS on", st, params)
}

func (c *clinic) postgresPlan(ctx context.Context, options string, st *connectors.Statement, params []string) (string, error) {
	db, err := pgx.Connect(ctx, c.db.DSN)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close(ctx) }()
	result := db.PgConn().ExecParams(ctx, "EXPLAIN ("+options+") "+st.Text, arguments(st, params, byteParam), nil, nil, nil).Read()
	return fmt.Sprintf("%s", result.Rows), result.Err
}

func (c *clinic) mysqlPlan(ctx context.Context, st *connectors.Statement, params []string) (string, error) {
	db, err := c.db.OpenMySQL()
	if err != nil {
		return "", err
	}
	defer db.Close()
	args := arguments(st, params, anyParam)
	var plan string
	if err := db.QueryRowContext(ctx, "EXPLAIN FORMAT=JSON "+strings.ReplaceAll(st.Text, "`"+c.db.Name+"`.", ""), args...).Scan(&plan); err != nil {
		return "", err
	}
	var tree any
	if err := json.Unmarshal([]byte(plan), &tree); err != nil {
		return "", err
	}
	var b strings.Builder
	outline(&b, tree)
	return b.String(), nil
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
