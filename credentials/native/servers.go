package native

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/masking"
)

// Names of users are made by Issue and checked by ours; passwords are hex.
// Neither CREATE ROLE nor CREATE USER takes parameters, and neither value can
// hold a quote.

// postgres is PostgreSQL.
type postgres struct{ d Database }

func (p postgres) with(ctx context.Context, do func(*pgx.Conn) error) error {
	cfg, err := pgx.ParseConfig("sslmode=prefer")
	if err != nil {
		return err
	}
	cfg.Host, cfg.Port, cfg.Database = p.d.Host, uint16(p.d.Port), p.d.Name //nolint:gosec // checked by config
	cfg.User, cfg.Password, cfg.Fallbacks = p.d.User, p.d.Password.Reveal(), nil
	cfg.TLSConfig = nil // native is for a loopback server
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return errors.New("the administrator cannot connect")
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return do(conn)
}

func (p postgres) create(ctx context.Context, user string, password masking.Secret, group string, until time.Time) error {
	return p.with(ctx, func(conn *pgx.Conn) error {
		text := fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' VALID UNTIL '%s' CONNECTION LIMIT 4", user, password.Reveal(),
			until.UTC().Format(time.RFC3339))
		if group != "" {
			text += " IN ROLE " + pgx.Identifier{group}.Sanitize()
		}
		_, err := conn.Exec(ctx, text)
		return err
	})
}

func (p postgres) drop(ctx context.Context, user string) error {
	return p.with(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", user); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+pgx.Identifier{user}.Sanitize())
		return err
	})
}

func (p postgres) users(ctx context.Context) (names []string, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)", prefix)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return names, err
}

// mysqlServer is MySQL, MariaDB, or the demo's embedded server.
type mysqlServer struct{ d Database }

func (m mysqlServer) with(ctx context.Context, do func(*sql.Conn) error) error {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net = m.d.User, m.d.Password.Reveal(), "tcp"
	cfg.Addr = net.JoinHostPort(m.d.Host, strconv.Itoa(m.d.Port))
	cfg.DBName = m.d.Name
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return errors.New("the administrator's login is malformed")
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.New("the administrator cannot connect")
	}
	defer conn.Close()
	return do(conn)
}

func (m mysqlServer) create(ctx context.Context, user string, password masking.Secret, group string, _ time.Time) error {
	return m.with(ctx, func(conn *sql.Conn) error {
		statements := []string{fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", user, password.Reveal())}
		if group == "" {
			statements = append(statements, fmt.Sprintf("GRANT SELECT ON %s.* TO '%s'@'%%'", identifier(m.d.Name), user))
		} else {
			statements = append(statements, fmt.Sprintf("GRANT %s TO '%s'@'%%'", identifier(group), user),
				fmt.Sprintf("SET DEFAULT ROLE %s FOR '%s'@'%%'", identifier(group), user))
		}
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// drop drops the user first, so that it cannot connect again, and then ends
// its sessions one by one: MySQL has no KILL USER.
func (m mysqlServer) drop(ctx context.Context, user string) error {
	return m.with(ctx, func(conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("DROP USER IF EXISTS '%s'@'%%'", user)); err != nil {
			return err
		}
		rows, err := conn.QueryContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?", user)
		if err != nil {
			return err
		}
		ids, err := numbers(rows)
		if err != nil {
			return err
		}
		for _, id := range ids {
			_, _ = conn.ExecContext(ctx, "KILL "+strconv.FormatInt(id, 10)) // it may have ended meanwhile
		}
		return nil
	})
}

func (m mysqlServer) users(ctx context.Context) (names []string, err error) {
	err = m.with(ctx, func(conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, "SELECT User FROM mysql.user WHERE User LIKE 'chp\\_%'")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	return names, err
}

// numbers reads a result of one number a row.
func numbers(rows *sql.Rows) (ids []int64, err error) {
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func identifier(name string) string {
	out := []byte{'`'}
	for _, b := range []byte(name) {
		if b == '`' {
			out = append(out, '`')
		}
		out = append(out, b)
	}
	return string(append(out, '`'))
}
