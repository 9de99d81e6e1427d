package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/loopback"
)

// SQLMode is what the parser and every session agree on: no ANSI_QUOTES, no
// NO_BACKSLASH_ESCAPES, no ORACLE, and nothing silently cut.
const SQLMode = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION"

// collation of the connection; literals and masks have it.
const collation = "utf8mb4_general_ci"

// flavour is which server answers.
type flavour int

const (
	mariaDB flavour = iota
	mySQL
	embedded // go-mysql-server, in the demo
)

// Connect opens a session: one connection, never shared or reused.
func (e *Engine) Connect(ctx context.Context, t connectors.Target, c connectors.Credential) (connectors.Session, error) {
	if t.TLS == nil && !loopback.Is(t.Host) {
		return nil, &connectors.Error{Kind: connectors.KindUnavailable,
			Message: "the connection is not encrypted and the database is not on this machine"}
	}
	cfg := driversql.NewConfig()
	cfg.User, cfg.Passwd = c.Username, c.Password.Reveal()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	cfg.DBName, cfg.Collation, cfg.TLS = cmp.Or(t.MaskedSchema, t.Database), collation, t.TLS
	cfg.Timeout = t.ConnectTimeout
	// A write counts the rows that it found, as PostgreSQL does: how many it changed
	// would tell which of them held the value already.
	cfg.ClientFoundRows = true
	cfg.InterpolateParams, cfg.MultiStatements, cfg.ParseTime = false, false, false
	cfg.AllowAllFiles, cfg.AllowCleartextPasswords, cfg.AllowOldPasswords = false, false, false
	cfg.AllowFallbackToPlaintext, cfg.CheckConnLiveness = false, false
	cfg.AllowNativePasswords = true // MariaDB's default; the password lives for one request
	cfg.Logger = log.New(io.Discard, "", 0)
	connector, err := driversql.NewConnector(cfg)
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.KindUnavailable, Message: "the connection's settings are malformed"}
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2) // the session, and one to kill its query
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, unreachable(err)
	}
	s := &session{db: db, conn: conn, database: t.Database, masked: t.MaskedSchema}
	if err := s.pin(ctx); err != nil {
		_ = s.Close(ctx)
		return nil, s.failed(ctx, err)
	}
	return s, nil
}

// pin fixes every setting that changes what a statement means.
func (s *session) pin(ctx context.Context) error {
	var version, comment string
	if err := s.conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), @@version, @@version_comment").
		Scan(&s.id, &version, &comment); err != nil {
		return err
	}
	switch {
	case strings.Contains(strings.ToLower(comment), "dolt"), strings.Contains(strings.ToLower(version), "dolt"):
		s.flavour = embedded
	case strings.Contains(strings.ToLower(version), "mariadb"):
		s.flavour = mariaDB
	default:
		s.flavour = mySQL
	}
	for _, set := range []string{
		"SET SESSION sql_mode = '" + SQLMode + "'",
		"SET NAMES utf8mb4 COLLATE " + collation,
		"SET SESSION time_zone = '+00:00'",
		"SET SESSION autocommit = 1",
		"SET SESSION group_concat_max_len = 1048576",
	} {
		if _, err := s.conn.ExecContext(ctx, set); err != nil {
			if s.flavour == embedded && !strings.Contains(set, "sql_mode") {
				continue // what the embedded server does not have, it cannot get wrong
			}
			return err
		}
	}
	return nil
}

// bounds are the statements that begin a transaction.
func (s *session) bounds(lim connectors.Limits) []string {
	mode := "READ ONLY"
	if lim.Write {
		mode = "READ WRITE"
	}
	begin := "START TRANSACTION " + mode
	lock := fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d", max(1, int(lim.LockTimeout.Seconds())))
	meta := fmt.Sprintf("SET SESSION lock_wait_timeout = %d", int(lim.Timeout.Seconds())+2) // the statement's own time ends first
	switch s.flavour {
	case mariaDB:
		// It ends a recursion after 1000 rounds without an error, as if that were all;
		// the statement's time ends it with one.
		return []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", lock, meta,
			fmt.Sprintf("SET SESSION max_recursive_iterations = 4294967295, max_statement_time = %.3f", max(0.001, lim.Timeout.Seconds())), begin}
	case mySQL:
		return []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", lock, meta,
			fmt.Sprintf("SET SESSION max_execution_time = %d", max(1, lim.Timeout.Milliseconds())), begin}
	case embedded:
	}
	return []string{begin}
}

func unreachable(err error) error {
	out := &connectors.Error{Kind: connectors.KindUnavailable, Message: "the database cannot be reached", Retryable: true}
	var server *driversql.MySQLError
	if errors.As(err, &server) {
		out.SQLState = state(server)
		switch server.Number {
		case 1044, 1045, 1698:
			out.Message = "the database refused the minted credential"
		case 1040, 1203, 1226:
			out.Message = "the database has no connection left"
		}
	}
	return out
}

// ended is the error of a request whose context is over.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &connectors.Error{Kind: connectors.KindTimeout, Message: "the statement's time was up", Retryable: true}
	}
	return &connectors.Error{Kind: connectors.KindCancelled, Message: "the statement was cancelled"}
}

// kill ends the session's query from a second connection, with the same
// credential: a user may end its own.
func (s *session) kill() {
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	_, _ = s.db.ExecContext(ctx, "KILL QUERY "+strconv.FormatInt(s.id, 10)) // else the statement's own time limit ends it
}
