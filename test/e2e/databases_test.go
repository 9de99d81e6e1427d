package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// exec runs an administrator's statement.
func (env *environment) exec(t *testing.T, connection, statement string) {
	t.Helper()
	if connection == "billing" {
		db, err := env.servers.MariaDB.OpenMySQL()
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if strings.HasPrefix(statement, "GRANT SELECT ON") {
			return // the role has SELECT on the whole database there
		}
		statement = strings.ReplaceAll(statement, "dose || '+'", "concat(dose, '+')")
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), env.servers.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// row is one row as an administrator sees it; NULL is "".
func (env *environment) row(t *testing.T, connection, statement string) []string {
	t.Helper()
	var out []string
	if connection == "billing" {
		db, err := env.servers.MariaDB.OpenMySQL()
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query(statement)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		cols, _ := rows.Columns()
		raw := make([][]byte, len(cols))
		dest := make([]any, len(cols))
		for i := range raw {
			dest[i] = &raw[i]
		}
		if !rows.Next() {
			t.Fatalf("%s: no row", statement)
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		for _, v := range raw {
			out = append(out, string(v))
		}
		return out
	}
	conn, err := pgx.Connect(t.Context(), env.servers.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	res := conn.PgConn().ExecParams(t.Context(), statement, nil, nil, nil, nil).Read()
	if res.Err != nil || len(res.Rows) == 0 {
		t.Fatalf("%s: %v", statement, res.Err)
	}
	for _, v := range res.Rows[0] {
		out = append(out, string(v))
	}
	return out
}

func (env *environment) scalar(t *testing.T, connection, statement string) string {
	t.Helper()
	return env.row(t, connection, statement)[0]
}

// minted counts the users that Vault made and that still exist.
func (env *environment) minted(t *testing.T, connection string) string {
	t.Helper()
	if connection == "billing" {
		return env.scalar(t, connection, "SELECT count(*) FROM mysql.user WHERE User LIKE 'v-%'")
	}
	return env.scalar(t, connection, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'")
}

// settled waits until no minted user is left.
func (env *environment) settled(t *testing.T, connection string) {
	t.Helper()
	env.settledWithin(t, connection, 20*time.Second)
}

func (env *environment) settledWithin(t *testing.T, connection string, wait time.Duration) {
	t.Helper()
	eventually(t, wait, "no minted user is left on "+connection, func() bool { return env.minted(t, connection) == "0" })
}

// serverLog is a database's own log.
type serverLog string

func (env *environment) databaseLog(t *testing.T, connection string) serverLog {
	t.Helper()
	path := filepath.Join(env.dir, "servers", "postgres.log")
	if connection == "billing" {
		path = filepath.Join(env.dir, "servers", "mariadb", "general.log")
	}
	return serverLog(read(t, path))
}

// lockTable keeps everybody else from a table until release.
func (env *environment) lockTable(t *testing.T, connection, table string) (release func()) {
	t.Helper()
	unlock := env.lock(t, connection, table)
	release = sync.OnceFunc(unlock)
	t.Cleanup(release) // also when the test fails
	return release
}

func (env *environment) lock(t *testing.T, connection, table string) (release func()) {
	t.Helper()
	if connection == "billing" {
		db, err := env.servers.MariaDB.OpenMySQL()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(context.Background(), "LOCK TABLES "+table+" WRITE"); err != nil {
			t.Fatal(err)
		}
		return func() {
			_, _ = conn.ExecContext(context.Background(), "UNLOCK TABLES")
			_, _ = conn.Close(), db.Close()
		}
	}
	conn, err := pgx.Connect(t.Context(), env.servers.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = conn.Close(context.Background()) }
}
