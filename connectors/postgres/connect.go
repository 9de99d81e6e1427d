package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/loopback"
)

// pinned are the settings that change what a statement means or how a value is
// written. A session cannot change them: SET is refused by the analysis.
func pinned(searchPath string) map[string]string {
	return map[string]string{
		"application_name":            "chaperone",
		"search_path":                 searchPath,
		"standard_conforming_strings": "on",
		"backslash_quote":             "off",
		"array_nulls":                 "on",
		"transform_null_equals":       "off",
		"client_encoding":             "UTF8",
		"datestyle":                   "ISO, MDY",
		"intervalstyle":               "postgres",
		"timezone":                    "UTC",
		"bytea_output":                "hex",
		"extra_float_digits":          "1",
		"xmlbinary":                   "base64",
		"xmloption":                   "content",
		"client_min_messages":         "error",
		"row_security":                "on",
		"jit":                         "off",
	}
}

// Connect opens a session. Nothing but its arguments decides where and how: no
// PG* variable, service or password file is used.
func (e *Engine) Connect(ctx context.Context, t connectors.Target, c connectors.Credential) (connectors.Session, error) {
	if t.TLS == nil && !loopback.Is(t.Host) {
		return nil, &connectors.Error{Kind: connectors.KindUnavailable,
			Message: "the connection is not encrypted and the database is not on this machine"}
	}
	// ParseConfig is the only way to make a ConnConfig; whatever it took from
	// the environment is replaced.
	cfg, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=none dbname=none password=none sslmode=disable passfile=/nonexistent")
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.KindUnavailable, Message: "the environment's PG settings are malformed"}
	}
	cfg.Host, cfg.Port, cfg.Database = t.Host, uint16(t.Port), t.Database //nolint:gosec // checked by config
	cfg.User, cfg.Password = c.Username, c.Password.Reveal()
	cfg.TLSConfig, cfg.Fallbacks = t.TLS, nil
	cfg.RuntimeParams = pinned(searchPath(t.SearchPath))
	cfg.ConnectTimeout = t.ConnectTimeout
	cfg.ValidateConnect, cfg.AfterConnect, cfg.AfterNetConnect = nil, nil, nil
	cfg.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {} // a notice can hold data
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec       // extended protocol, also without arguments
	cfg.StatementCacheCapacity, cfg.DescriptionCacheCapacity = 0, 0
	// When the request ends, so does the query on the server.
	cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 2 * time.Second}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, unreachable(err)
	}
	return &session{conn: conn, searchPath: t.SearchPath, masked: t.MaskedSchema}, nil
}

// unreachable is a failure to connect. Its cause stays inside: it may name
// hosts and users.
func unreachable(err error) error {
	message := "the database cannot be reached"
	var server *pgconn.PgError
	if errors.As(err, &server) {
		switch server.Code {
		case "28000", "28P01":
			message = "the database refused the minted credential"
		case "53300":
			message = "the database has no connection left"
		}
		return &connectors.Error{Kind: connectors.KindUnavailable, SQLState: server.Code, Message: message, Retryable: true}
	}
	return &connectors.Error{Kind: connectors.KindUnavailable, Message: message, Retryable: true}
}

// ended is the error of a request whose context is over.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &connectors.Error{Kind: connectors.KindTimeout, Message: "the statement's time was up", Retryable: true}
	}
	return &connectors.Error{Kind: connectors.KindCancelled, Message: "the statement was cancelled"}
}

// searchPath quotes the schemas of a path; pg_catalog is searched first anyway,
// and pg_temp is put last, where it can shadow nothing.
func searchPath(schemas []string) string {
	out := ""
	for _, s := range schemas {
		out += pgx.Identifier{s}.Sanitize() + ", "
	}
	return out + "pg_temp"
}

// settings begins a transaction with its bounds. The text is this package's
// own: numbers only.
func settings(lim connectors.Limits) string {
	mode := "READ ONLY"
	if lim.Write {
		mode = "READ WRITE"
	}
	return fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED, %s; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; "+
		"SET LOCAL idle_in_transaction_session_timeout = %d", mode, max(1, lim.Timeout.Milliseconds()),
		max(1, lim.LockTimeout.Milliseconds()), max(1000, 2*lim.Timeout.Milliseconds()))
}
