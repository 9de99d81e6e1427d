package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
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

// estimate reads MariaDB's or MySQL's plan. Advice only: a plan of a form that
// is not known is no error.
func (s *session) estimate(ctx context.Context) (connectors.Estimate, error) {
	if s.flavour == embedded {
		return connectors.Estimate{}, nil // its EXPLAIN has no row counts
	}
	if s.masked != "" {
		return connectors.Estimate{}, nil // EXPLAIN of a view asks for rights on its tables
	}
	stmt, err := s.conn.PrepareContext(ctx, "EXPLAIN FORMAT=JSON "+s.st.Text)
	if err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	defer stmt.Close()
	var text string
	if err := stmt.QueryRowContext(ctx, s.args...).Scan(&text); err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return connectors.Estimate{}, nil
	}
	var w walkPlan
	rows := w.rows(tree)
	return connectors.Estimate{Known: true, Rows: rows, Cost: w.read, Scanned: w.scanned, Guess: w.guess}, nil
}

// distinctUnknown is how many distinct values are taken where none are known,
// which is PostgreSQL's number: so often a cached subquery runs.
const distinctUnknown = 200

// walkPlan adds up what a plan reads. The rows of a block are those of its
// nested loop, before grouping and LIMIT; those of a union are added.
type walkPlan struct {
	scanned, read float64
	guess         bool
}

// rows of a part of a plan.
func (w *walkPlan) rows(node any) float64 {
	product := 1.0
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			product *= w.rows(child)
		}
	case map[string]any:
		for name, child := range n {
			switch {
			case name == "table":
				product *= w.table(child)
			case name == "query_specifications":
				product *= w.union(child)
			case !strings.HasSuffix(name, "subqueries"):
				product *= w.rows(child)
			}
		}
		w.guess = w.guess || n["having_condition"] != nil
		w.read = max(w.read, product)
		for name, child := range n {
			if strings.HasSuffix(name, "subqueries") {
				w.subqueries(child, product)
			}
		}
	}
	return product
}

// table is one table of a nested loop. Without statistics on a condition the
// server says that it keeps every row.
func (w *walkPlan) table(node any) float64 {
	n, ok := node.(map[string]any)
	if !ok {
		return 1
	}
	rows := number(n, "rows", "rows_examined_per_scan")
	w.scanned = max(w.scanned, rows)
	switch f := number(n, "filtered"); {
	case f > 0 && f < 100:
		rows *= f / 100
	case n["attached_condition"] != nil:
		w.guess = true
	}
	w.guess = w.guess || n["materialized"] != nil // whose groups are not counted
	w.read += rows
	for name, child := range n {
		if strings.HasSuffix(name, "subqueries") {
			w.subqueries(child, rows)
		} else {
			w.rows(child) // what it is made of
		}
	}
	return rows
}

func (w *walkPlan) union(node any) float64 {
	parts, _ := node.([]any)
	total := 0.0
	for _, part := range parts {
		total += w.rows(part)
	}
	return total
}

// subqueries run once, or for each of the rows of the block that they are in.
func (w *walkPlan) subqueries(node any, outer float64) {
	list, ok := node.([]any)
	if !ok {
		list = []any{node}
	}
	for _, one := range list {
		n, _ := one.(map[string]any)
		times := 1.0
		switch {
		case n["expression_cache"] != nil: // MariaDB's word for one that depends on the row
			times = min(outer, distinctUnknown)
		case n["dependent"] == true: // MySQL's
			times = outer
		}
		inner := &walkPlan{}
		inner.rows(one)
		w.read, w.scanned = w.read+times*inner.read, max(w.scanned, inner.scanned)
	}
}

func number(m map[string]any, names ...string) float64 {
	for _, name := range names {
		if v, ok := m[name].(float64); ok {
			return v
		}
	}
	return 0
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
