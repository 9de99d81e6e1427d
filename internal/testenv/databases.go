package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

const (
	postgresUser = "postgres"
	mysqlUser    = "mysql"
)

// startPostgres runs a private PostgreSQL below dir. Its log shows the user of
// each statement, and no bound value.
func startPostgres(ctx context.Context, dir string, keep bool) (*Database, *process, error) {
	initdb, err := program("initdb", "/usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, nil, err
	}
	bin := filepath.Dir(initdb)
	home, err := privateDir(dir, "postgres", postgresUser)
	if err != nil {
		return nil, nil, err
	}
	db := &Database{Host: "127.0.0.1", AdminUser: "postgres", AdminPassword: randomName("pw"), Name: "postgres"}
	password := filepath.Join(home, "password")
	if err := os.WriteFile(password, []byte(db.AdminPassword), 0o644); err != nil { // a throw-away server's
		return nil, nil, err
	}
	data := filepath.Join(home, "data")
	if _, err := os.Stat(data); err != nil {
		if err := runAs(ctx, postgresUser, initdb, "-D", data, "-A", "scram-sha-256", "-U", "postgres", "--pwfile="+password,
			"--locale=C.UTF-8", "--no-sync"); err != nil {
			return nil, nil, err
		}
	}
	if db.Port, err = freePort(); err != nil {
		return nil, nil, err
	}
	p, err := startProcess(filepath.Join(dir, "postgres.log"), postgresUser, keep, nil, filepath.Join(bin, "postgres"),
		"-D", data, "-p", fmt.Sprint(db.Port), "-h", db.Host, "-k", home, "-c", "fsync=off", "-c", "log_statement=all",
		"-c", "log_line_prefix=%m [%p] user=%u ", "-c", "log_connections=on", "-c", "log_parameter_max_length=0",
		"-c", "max_connections=200")
	if err != nil {
		return nil, nil, err
	}
	db.DSN = db.url("postgres", db.Name)
	return db, p, p.ready(ctx, "PostgreSQL", func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, db.DSN)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// startMariaDB runs a private MariaDB below dir, with its general log on.
func startMariaDB(ctx context.Context, dir string, keep bool) (*Database, *process, error) {
	install, err := program("mariadb-install-db")
	if err != nil {
		return nil, nil, err
	}
	server, err := program("mariadbd", "/usr/sbin")
	if err != nil {
		return nil, nil, err
	}
	home, err := privateDir(dir, "mariadb", mysqlUser)
	if err != nil {
		return nil, nil, err
	}
	// A server that starts removes every temporary table of its tmpdir, also
	// those of a server beside it, which then crashes.
	tmp, err := privateDir(home, "tmp", mysqlUser)
	if err != nil {
		return nil, nil, err
	}
	data := filepath.Join(home, "data")
	if _, err := os.Stat(data); err != nil {
		if err := runAs(ctx, mysqlUser, install, "--no-defaults", "--tmpdir="+tmp, "--datadir="+data, "--auth-root-authentication-method=normal",
			"--skip-test-db"); err != nil {
			return nil, nil, err
		}
	}
	db := &Database{Host: "127.0.0.1", AdminUser: "root", AdminPassword: randomName("pw")}
	if db.Port, err = freePort(); err != nil {
		return nil, nil, err
	}
	// The password is set by a file that runs at the start.
	start := filepath.Join(home, "start.sql")
	if err := os.WriteFile(start, fmt.Appendf(nil, "ALTER USER root@localhost IDENTIFIED BY '%s';\n"+
		"CREATE USER IF NOT EXISTS root@'127.0.0.1';\nALTER USER root@'127.0.0.1' IDENTIFIED BY '%s';\n"+
		"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n", db.AdminPassword, db.AdminPassword), 0o644); err != nil {
		return nil, nil, err
	}
	p, err := startProcess(filepath.Join(dir, "mariadb.log"), mysqlUser, keep, nil, server, "--no-defaults",
		"--datadir="+data, "--tmpdir="+tmp, fmt.Sprintf("--port=%d", db.Port), "--bind-address=127.0.0.1", "--socket="+filepath.Join(home, "s"),
		"--init-file="+start, "--general-log=1", "--general-log-file="+filepath.Join(home, "general.log"),
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M", "--max-connections=200")
	if err != nil {
		return nil, nil, err
	}
	db.DSN = db.url("mysql", "")
	return db, p, p.ready(ctx, "MariaDB", func(ctx context.Context) error {
		conn, err := db.openMySQL("")
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.PingContext(ctx)
	})
}

func (db *Database) url(scheme, name string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(db.AdminUser, db.AdminPassword),
		Host: fmt.Sprintf("%s:%d", db.Host, db.Port), Path: "/" + name}
	return u.String()
}

// openMySQL connects an administrator to a database of the server.
func (db *Database) openMySQL(name string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.DBName = db.AdminUser, db.AdminPassword, "tcp", name
	cfg.Addr = fmt.Sprintf("%s:%d", db.Host, db.Port)
	cfg.MultiStatements = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// OpenMySQL connects an administrator to this database.
func (db *Database) OpenMySQL() (*sql.DB, error) { return db.openMySQL(db.Name) }

// freshPostgres makes a database of its own on a server.
func freshPostgres(ctx context.Context, server *Database, name string) (db *Database, drop func(), err error) {
	conn, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, nil, err
	}
	fresh := *server
	fresh.Name, fresh.DSN = name, server.url("postgres", name)
	return &fresh, func() {
		conn, err := pgx.Connect(context.Background(), server.DSN)
		if err == nil {
			_, _ = conn.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
			_ = conn.Close(context.Background())
		}
	}, nil
}

func freshMariaDB(ctx context.Context, server *Database, name string) (db *Database, drop func(), err error) {
	conn, err := server.openMySQL("")
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		return nil, nil, err
	}
	fresh := *server
	fresh.Name, fresh.DSN = name, server.url("mysql", name)
	return &fresh, func() {
		if conn, err := server.openMySQL(""); err == nil {
			_, _ = conn.Exec("DROP DATABASE " + name)
			_ = conn.Close()
		}
	}, nil
}

func randomName(prefix string) string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return strings.ToLower(prefix) + "_" + hex.EncodeToString(b[:])
}

// quit is how each server is asked to end.
const (
	quitPostgres = syscall.SIGINT // fast shutdown
	quitOther    = syscall.SIGTERM
)
