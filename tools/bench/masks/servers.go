package main

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

type postgresServer struct{ conn *pgx.Conn }

func openPostgres(ctx context.Context, server *testenv.Database) (database, error) {
	cfg, err := pgx.ParseConfig(server.DSN)
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // each execution is planned, as the gateway's are
	cfg.RuntimeParams["jit"] = "off"                 // as the gateway pins it
	cfg.RuntimeParams["timezone"] = "UTC"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := postgresServer{conn}
	return p, p.exec(ctx, "SET log_statement = 'none'")
}

func (p postgresServer) close() { _ = p.conn.Close(context.Background()) }

func (p postgresServer) exec(ctx context.Context, text string) error {
	_, err := p.conn.Exec(ctx, text)
	return err
}

func (p postgresServer) prepare(ctx context.Context, st *connectors.Statement) error {
	return p.exec(ctx, "SET enable_indexonlyscan = "+map[bool]string{true: "off", false: "on"}[st.NoIndexOnly])
}

func (p postgresServer) fetch(ctx context.Context, text string) error {
	rows, err := p.conn.Query(ctx, text)
	if err != nil {
		return err
	}
	for rows.Next() {
		rows.RawValues()
	}
	return rows.Err()
}

func (p postgresServer) plan(ctx context.Context, text string) ([]step, error) {
	var plans []struct {
		Plan node `json:"Plan"`
	}
	if err := p.conn.QueryRow(ctx, "EXPLAIN (FORMAT JSON) "+text).Scan(&plans); err != nil {
		return nil, err
	}
	return plans[0].Plan.steps(nil), nil
}

// node is a node of PostgreSQL's plan.
type node struct {
	How      string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Plans    []node `json:"Plans"`
}

func (n node) steps(list []step) []step {
	if n.Relation != "" || n.Index != "" || n.How == "Subquery Scan" {
		list = append(list, step{n.Relation, n.How, n.Index})
	}
	for _, child := range n.Plans {
		list = child.steps(list)
	}
	return list
}

type mariaDBServer struct {
	db   *sql.DB
	conn *sql.Conn
}

func openMariaDB(ctx context.Context, server *testenv.Database) (database, error) {
	db, err := server.OpenMySQL()
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	m := mariaDBServer{db, conn}
	for _, set := range []string{"SET GLOBAL general_log = 0", "SET GLOBAL innodb_buffer_pool_size = 1 << 30",
		"SET SESSION sql_mode = '" + mysql.SQLMode + "'", "SET SESSION time_zone = '+00:00'",
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"} {
		if err := m.exec(ctx, set); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m mariaDBServer) close() { _, _ = m.conn.Close(), m.db.Close() }

func (m mariaDBServer) exec(ctx context.Context, text string) error {
	_, err := m.conn.ExecContext(ctx, text)
	return err
}

func (mariaDBServer) prepare(context.Context, *connectors.Statement) error { return nil }

func (m mariaDBServer) fetch(ctx context.Context, text string) error {
	rows, err := m.conn.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() { //nolint:revive // only read
	}
	return rows.Err()
}

func (m mariaDBServer) plan(ctx context.Context, text string) ([]step, error) {
	rows, err := m.conn.QueryContext(ctx, "EXPLAIN "+text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list []step
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		dest := make([]any, len(names))
		row := map[string]string{}
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		for i, name := range names {
			row[name] = values[i].String
		}
		list = append(list, step{row["table"], row["type"], row["key"]})
	}
	return list, rows.Err()
}
