package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// session is one connection under one credential.
type session struct {
	conn       *pgx.Conn
	searchPath []string
	masked     string
	closed     bool

	st     *connectors.Statement
	lim    connectors.Limits
	values [][]byte
	cols   []described
}

// described is an output as the server describes it.
type described struct {
	name    string
	oid     uint32
	element uint32 // of an array, else 0
	typ     string
}

// statementName is the one prepared statement of a session.
const statementName = "chaperone"

// ID is the server's process id.
func (s *session) ID() string { return strconv.FormatUint(uint64(s.conn.PgConn().PID()), 10) }

// Catalog reads a snapshot.
func (s *session) Catalog(ctx context.Context) (connectors.Catalog, error) {
	for attempt := 0; ; attempt++ {
		cat, err := loadCatalog(ctx, s.conn, s.searchPath)
		if err == nil {
			cat.readMasked(s.masked)
			return cat, nil
		}
		// The functions that write definitions look at the newest state, and fail
		// on what was dropped since the query began.
		var server *pgconn.PgError
		if attempt == 5 || !errors.As(err, &server) || (server.Code != "XX000" && server.Code != "42P01") {
			return nil, s.failed(ctx, err)
		}
	}
}

// Close ends the session; a query that still runs is cancelled by the server
// when the connection goes.
func (s *session) Close(ctx context.Context) error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.conn.Close(ctx)
}

// Prepare opens the transaction and has the server resolve the statement. From
// then on its relations are locked, so the stamps that are compared next stay
// true until the transaction ends.
func (s *session) Prepare(ctx context.Context, st *connectors.Statement, args []connectors.Param, lim connectors.Limits,
) (connectors.Estimate, error) {
	pg := s.conn.PgConn()
	if s.st != nil { // a fuzzer runs many statements in one session
		if err := pg.Deallocate(ctx, statementName); err != nil {
			return connectors.Estimate{}, s.failed(ctx, err)
		}
	}
	s.st, s.lim = st, lim
	set := settings(lim)
	if st.NoIndexOnly {
		set += "; SET LOCAL enable_indexonlyscan = off"
	}
	if _, err := pg.Exec(ctx, set).ReadAll(); err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	oids, err := declared(args)
	if err != nil {
		return connectors.Estimate{}, err
	}
	desc, err := pg.Prepare(ctx, statementName, st.Text, oids)
	if err != nil {
		if changed, stampErr := s.changed(ctx, true); stampErr == nil && changed {
			return connectors.Estimate{}, connectors.ErrCatalogChanged
		}
		return connectors.Estimate{}, s.failed(ctx, err)
	}
	if changed, err := s.changed(ctx, false); err != nil {
		return connectors.Estimate{}, s.failed(ctx, err)
	} else if changed {
		return connectors.Estimate{}, connectors.ErrCatalogChanged
	}
	if len(desc.ParamOIDs) != len(args) {
		return connectors.Estimate{}, &connectors.Error{Kind: connectors.KindParameter,
			Message: fmt.Sprintf("the statement takes %d parameters, %d were given", len(desc.ParamOIDs), len(args))}
	}
	if s.values, err = bind(args, desc.ParamOIDs); err != nil {
		return connectors.Estimate{}, err
	}
	if err := s.witness(ctx, desc.Fields); err != nil {
		return connectors.Estimate{}, err
	}
	return s.estimate(ctx, desc.ParamOIDs)
}

// changed compares the stamps with the database's own state by now. After a
// failed statement the transaction is over, so a new one is opened.
func (s *session) changed(ctx context.Context, again bool) (bool, error) {
	if len(s.st.Stamps) == 0 {
		return false, nil
	}
	if again {
		if _, err := s.conn.PgConn().Exec(ctx, "ROLLBACK; "+settings(s.lim)).ReadAll(); err != nil {
			return false, err
		}
	}
	now, err := currentStamps(ctx, s.conn, s.st.Stamps)
	if err != nil {
		return false, err
	}
	return !slices.Equal(now, s.st.Stamps), nil
}

// witness holds the server's description of the result against the analysis:
// the same width, and no output that the server traces to a protected column
// unless the gateway is about to mask it.
func (s *session) witness(ctx context.Context, fields []pgconn.FieldDescription) error {
	if len(fields) != len(s.st.Outputs) {
		return &connectors.Error{Kind: connectors.KindUnsupported,
			Message: "the database describes another result than the gateway understood"}
	}
	types := s.conn.TypeMap()
	s.cols = make([]described, len(fields))
	var unknown, tables, attributes []uint32
	for i, f := range fields {
		s.cols[i] = described{name: f.Name, oid: f.DataTypeOID}
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			s.cols[i].typ = canonical(t.Name)
			if array, ok := t.Codec.(*pgtype.ArrayCodec); ok {
				s.cols[i].element = array.ElementType.OID
				s.cols[i].typ = canonical(array.ElementType.Name) + "[]"
			}
		} else {
			unknown = append(unknown, f.DataTypeOID)
		}
		if f.TableOID != 0 && int16(f.TableAttributeNumber) > 0 && !s.st.Outputs[i].Gateway { //nolint:gosec // negative: a system column
			tables, attributes = append(tables, f.TableOID), append(attributes, uint32(f.TableAttributeNumber))
		}
	}
	if err := s.nameTypes(ctx, unknown); err != nil {
		return s.failed(ctx, err)
	}
	if len(tables) == 0 || s.lim.Classes == nil {
		return nil
	}
	rows, err := s.conn.Query(ctx, `SELECT n.nspname::text, c.relname::text, a.attname::text
		FROM unnest($1::oid[], $2::int4[]) AS o(rel, att)
		JOIN pg_catalog.pg_class c ON c.oid = o.rel JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = o.rel AND a.attnum = o.att`, oidArray(tables), oidArray(attributes))
	if err != nil {
		return s.failed(ctx, err)
	}
	traced, err := pgx.CollectRows(rows, pgx.RowToStructByPos[masking.ColumnRef])
	if err != nil {
		return s.failed(ctx, err)
	}
	if len(traced) != len(tables) {
		return &connectors.Error{Kind: connectors.KindUnsupported, Message: "the database traces a result to a column that is not in its catalog"}
	}
	for _, ref := range traced {
		if _, protected := s.lim.Classes.Class(ref); protected {
			return &connectors.Error{Kind: connectors.KindUnsupported,
				Message: "the database traces a result to a protected column that would leave unmasked"}
		}
	}
	return nil
}

// nameTypes asks for the names of types that the driver does not know.
func (s *session) nameTypes(ctx context.Context, oids []uint32) error {
	if len(oids) == 0 {
		return nil
	}
	rows, err := s.conn.Query(ctx, `SELECT t.oid::int8, pg_catalog.format_type(t.oid, NULL)::text, (CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END)::int8
		FROM pg_catalog.pg_type t WHERE t.oid = ANY($1::oid[])`, oidArray(oids))
	if err != nil {
		return err
	}
	var (
		oid, element int64
		name         string
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &element}, func() error {
		for i := range s.cols {
			if int64(s.cols[i].oid) == oid && s.cols[i].typ == "" {
				s.cols[i].typ, s.cols[i].element = name, uint32(element) //nolint:gosec // an oid
			}
		}
		return nil
	})
	return err
}

// oidArray writes oids as a PostgreSQL array, for a parameter in text format.
func oidArray(oids []uint32) string {
	parts := make([]string, len(oids))
	for i, o := range oids {
		parts[i] = strconv.FormatUint(uint64(o), 10)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// Execute runs the prepared statement and feeds the sink.
func (s *session) Execute(ctx context.Context, sink connectors.Sink) (connectors.Outcome, error) {
	result := make([]connectors.ResultColumn, len(s.cols))
	for i, c := range s.cols {
		result[i] = connectors.ResultColumn{Name: c.name, Type: c.typ}
	}
	if err := sink.Columns(result); err != nil {
		return connectors.Outcome{}, err
	}
	before, err := s.touched(ctx)
	if err != nil {
		return connectors.Outcome{}, err
	}
	tag, err := s.stream(ctx, sink)
	if err != nil {
		return connectors.Outcome{}, err
	}
	out := connectors.Outcome{Command: command(tag), Affected: -1}
	if !s.lim.Write {
		return out, s.end(ctx, "ROLLBACK")
	}
	if out.Affected = tag.RowsAffected(); s.several() {
		after, err := s.touched(ctx)
		if err != nil {
			return connectors.Outcome{}, err
		}
		out.Affected = after - before
	}
	if s.lim.MaxAffected >= 0 && out.Affected > s.lim.MaxAffected {
		message := fmt.Sprintf("the statement touched %d rows, more than max_affected allows; it was rolled back", out.Affected)
		return connectors.Outcome{}, errors.Join(&connectors.Error{Kind: connectors.KindTooMany, Message: message}, s.end(ctx, "ROLLBACK"))
	}
	id := s.conn.PgConn().ExecParams(ctx, "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text", nil, nil, nil, nil).Read()
	if id.Err == nil && len(id.Rows) == 1 {
		out.TransactionID = string(id.Rows[0][0])
	}
	return out, s.end(ctx, "COMMIT")
}

// several reports whether the statement changes data in WITH, of which the
// command tag says nothing.
func (s *session) several() bool {
	return s.lim.Write && s.st.ChangesInWith
}

// touched counts the rows that the transaction has written, for a statement that
// changes data in WITH.
func (s *session) touched(ctx context.Context) (int64, error) {
	if !s.several() {
		return 0, nil
	}
	var rows *int64
	err := s.conn.QueryRow(ctx, `SELECT CASE WHEN pg_catalog.current_setting('track_counts')::bool THEN
		(SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 FROM pg_catalog.pg_stat_xact_all_tables) END`).Scan(&rows)
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	if rows == nil {
		return 0, &connectors.Error{Kind: connectors.KindUnsupported,
			Message: "the database does not count what a change of data in WITH touches (track_counts is off)", Hint: "Send the change as a statement of its own."}
	}
	return *rows, nil
}

// stream reads rows until the sink has enough.
func (s *session) stream(ctx context.Context, sink connectors.Sink) (pgconn.CommandTag, error) {
	rr := s.conn.PgConn().ExecPrepared(ctx, statementName, s.values, nil, nil)
	enc := newEncoder(s.cols)
	wanted := true
	for rr.NextRow() {
		if !wanted {
			continue // a write must run to its end
		}
		more, err := sink.Row(enc.row(rr.Values()))
		if err != nil {
			if !s.lim.Write {
				_ = s.conn.PgConn().CancelRequest(ctx) // there may be many more rows
			}
			_, _ = rr.Close()
			return pgconn.CommandTag{}, err
		}
		if wanted = more; !more && !s.lim.Write {
			return s.stop(ctx, rr)
		}
	}
	tag, err := rr.Close()
	if err != nil {
		return tag, s.failed(ctx, err)
	}
	return tag, nil
}

// stop ends a read that has given enough rows: the server is told to cancel,
// and what it sent meanwhile is dropped. That may be an error of a later row,
// which it reached or not before the cancelling reached it.
func (s *session) stop(ctx context.Context, rr *pgconn.ResultReader) (pgconn.CommandTag, error) {
	if err := s.conn.PgConn().CancelRequest(ctx); err != nil {
		return pgconn.CommandTag{}, s.failed(ctx, err)
	}
	_, err := rr.Close()
	var server *pgconn.PgError
	if err != nil && !errors.As(err, &server) {
		return pgconn.CommandTag{}, s.failed(ctx, err)
	}
	return pgconn.NewCommandTag("SELECT 0"), nil
}

// end closes the transaction and checks that the server did what it was told.
func (s *session) end(ctx context.Context, how string) error {
	res, err := s.conn.PgConn().Exec(ctx, how).ReadAll()
	if err != nil {
		return s.failed(ctx, err)
	}
	if len(res) != 1 || res[0].CommandTag.String() != how {
		return &connectors.Error{Kind: connectors.KindStatement, Message: "the transaction was rolled back by the database"}
	}
	return nil
}

// failed turns any failure into a *connectors.Error without values.
func (s *session) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var known *connectors.Error
	if errors.As(err, &known) {
		return known
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return databaseError(server, s.st)
	}
	return &connectors.Error{Kind: connectors.KindUnavailable, Message: "the connection to the database broke off", Retryable: true}
}

// command is the first word of a command tag.
func command(tag pgconn.CommandTag) string {
	word, _, _ := strings.Cut(tag.String(), " ")
	return word
}
