package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/connectors"
)

// session is one connection under one credential.
type session struct {
	db       *sql.DB
	conn     *sql.Conn
	id       int64
	flavour  flavour
	database string
	masked   string
	closed   bool

	st   *connectors.Statement
	lim  connectors.Limits
	args []any
	stmt *sql.Stmt
}

// ID is the server's connection id.
func (s *session) ID() string { return strconv.FormatInt(s.id, 10) }

// Catalog reads a snapshot.
func (s *session) Catalog(ctx context.Context) (connectors.Catalog, error) {
	cat, err := loadCatalog(ctx, s.conn, cmp.Or(s.masked, s.database))
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	cat.readMasked(s.masked, s.database)
	return cat, nil
}

// Close ends the session.
func (s *session) Close(context.Context) error {
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.conn.Close(), s.db.Close())
}

// Prepare opens the transaction, has the server resolve the statement, and asks
// for its plan. MySQL keeps no lock after preparing, so the stamps are compared
// here to fail early, and again after the execution, which is what counts.
func (s *session) Prepare(ctx context.Context, st *connectors.Statement, args []connectors.Param, lim connectors.Limits,
) (connectors.Estimate, error) {
	s.st, s.lim = st, lim
	if s.stmt != nil { // a fuzzer runs many statements in one session
		_ = s.stmt.Close()
	}
	var err error
	if s.args, err = bind(args); err != nil {
		return connectors.Estimate{}, err
	}
	for _, text := range s.bounds(lim) {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return connectors.Estimate{}, s.failed(ctx, err)
		}
	}
	if err := s.unchanged(ctx); err != nil {
		return connectors.Estimate{}, err
	}
	// Always prepared: the binary protocol has no place for a second statement.
	if s.stmt, err = s.conn.PrepareContext(ctx, st.Text); err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	return s.estimate(ctx)
}

func (s *session) unchanged(ctx context.Context) error {
	if len(s.st.Stamps) == 0 {
		return nil
	}
	now, err := currentStamps(ctx, s.conn, s.st.Stamps)
	if err != nil {
		return s.failed(ctx, err)
	}
	if !slices.Equal(now, s.st.Stamps) {
		return connectors.ErrCatalogChanged
	}
	return nil
}

// Execute runs the prepared statement and feeds the sink.
func (s *session) Execute(ctx context.Context, sink connectors.Sink) (connectors.Outcome, error) {
	stop := context.AfterFunc(ctx, s.kill) // the driver only drops the connection
	defer stop()
	out := connectors.Outcome{Command: strings.ToUpper(string(s.st.Kind)), Affected: -1}
	var err error
	if s.lim.Write {
		out.Affected, err = s.change(ctx, sink)
	} else {
		err = s.stream(ctx, sink)
	}
	if err != nil {
		return connectors.Outcome{}, err
	}
	// The metadata locks of what was just read hold until the transaction ends.
	if err := s.unchanged(ctx); err != nil {
		return connectors.Outcome{}, err
	}
	how := "ROLLBACK"
	if s.lim.Write {
		how = "COMMIT"
		if s.lim.MaxAffected >= 0 && out.Affected > s.lim.MaxAffected {
			message := fmt.Sprintf("the statement touched %d rows, more than max_affected allows; it was rolled back", out.Affected)
			_, err := s.conn.ExecContext(ctx, "ROLLBACK")
			return connectors.Outcome{}, errors.Join(&connectors.Error{Kind: connectors.KindTooMany, Message: message}, err)
		}
	}
	if _, err := s.conn.ExecContext(ctx, how); err != nil {
		return connectors.Outcome{}, s.failed(ctx, err)
	}
	return out, nil
}

func (s *session) change(ctx context.Context, sink connectors.Sink) (affected int64, err error) {
	if err := sink.Columns(nil); err != nil {
		return 0, err
	}
	res, err := s.stmt.ExecContext(ctx, s.args...)
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	if s.st.Given > 0 {
		return s.st.Given, nil
	}
	if affected, err = res.RowsAffected(); err != nil {
		return 0, s.failed(ctx, err)
	}
	return affected, nil
}

// stream reads rows until the sink has enough; then the query is killed on the
// server, which leaves the transaction and its metadata locks as they are.
func (s *session) stream(ctx context.Context, sink connectors.Sink) error {
	rows, err := s.stmt.QueryContext(ctx, s.args...)
	if err != nil {
		return s.failed(ctx, err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return s.failed(ctx, err)
	}
	if len(types) != len(s.st.Outputs) {
		return &connectors.Error{Kind: connectors.KindUnsupported,
			Message: "the database describes another result than the gateway understood"}
	}
	enc := newEncoder(types)
	if err := sink.Columns(enc.described); err != nil {
		return err
	}
	for rows.Next() {
		cells, err := enc.scan(rows)
		if err != nil {
			return s.failed(ctx, err)
		}
		more, err := sink.Row(cells)
		if err != nil {
			s.kill() // there may be many more rows
			_ = rows.Close()
			return err
		}
		if !more {
			s.kill()
			_ = rows.Close() // reports the kill
			return s.settle(ctx)
		}
	}
	if err := rows.Err(); err != nil {
		return s.failed(ctx, err)
	}
	return nil
}

// settle waits out a kill that came too late for its query: it would hit the
// next one.
func (s *session) settle(ctx context.Context) error {
	for range 20 {
		var one int
		err := s.conn.QueryRowContext(ctx, "SELECT 1").Scan(&one)
		var server *driversql.MySQLError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &server) && server.Number == 1317:
			time.Sleep(time.Millisecond)
		default:
			return s.failed(ctx, err)
		}
	}
	return &connectors.Error{Kind: connectors.KindUnavailable, Message: "the database keeps interrupting the session", Retryable: true}
}

// failed turns any failure into a *connectors.Error without values.
func (s *session) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if errors.Is(err, connectors.ErrCatalogChanged) {
		return connectors.ErrCatalogChanged
	}
	var known *connectors.Error
	if errors.As(err, &known) {
		return known
	}
	var server *driversql.MySQLError
	if errors.As(err, &server) {
		return databaseError(server, s.st)
	}
	return &connectors.Error{Kind: connectors.KindUnavailable, Message: "the connection to the database broke off", Retryable: true}
}
