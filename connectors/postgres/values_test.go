package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// values are expressions of every built-in type, with the odd ones of each.
var values = strings.Split(`true
null::boolean
(-32768)::smallint
2147483647::integer
9223372036854775807::bigint
1.50::numeric(10,2)
'NaN'::numeric
0.1::real
1e300::double precision
'Infinity'::double precision
'NaN'::double precision
12.34::money
'a"b'::text
'x'::varchar(5)
'x'::char(3)
'n'::name
'\xdeadbeef'::bytea
''::bytea
'2026-11-24'::date
'0044-03-15 BC'::date
'infinity'::date
'10:11:12.5'::time
'10:11:12+02'::timetz
'2026-11-24 10:11:12.123456'::timestamp
'2026-11-24 10:11:12+02'::timestamptz
'0044-03-15 BC'::timestamptz
'-infinity'::timestamptz
'1 year 2 days 03:04:05'::interval
'{"a": [1, null]}'::json
'{"b": 1.0}'::jsonb
'123e4567-e89b-12d3-a456-426614174000'::uuid
'10.0.0.1'::inet
'10.0.0.0/8'::cidr
'08:00:2b:01:02:03'::macaddr
'08:00:2b:01:02:03:04:05'::macaddr8
B'101'::bit(3)
B'10'::varbit
'(1,2)'::point
'{1,2,3}'::line
'[(0,0),(1,1)]'::lseg
'(1,1),(0,0)'::box
'((0,0),(1,1))'::path
'((0,0),(1,1))'::polygon
'<(0,0),1>'::circle
'a & b'::tsquery
'a b'::tsvector
'<a>x</a>'::xml
'[1,5)'::int4range
'[1.5,2]'::numrange
'[2026-01-01,2026-02-01)'::daterange
'{[1,3),[5,7)}'::int4multirange
1::oid
'pg_class'::regclass
'$.a'::jsonpath
'16/B374D848'::pg_lsn
array[1,null,3]
array[[1,2],[3,4]]
array['a','b,c','"q"',null,'NULL','']
array[true,false]
array[9223372036854775807]
array['2026-11-24 10:00:00+00'::timestamptz]
array['{"a":1}'::jsonb]
array['\x01'::bytea]
'{}'::int[]
'[0:1]={5,6}'::int[]
row(1,'a')`, "\n")

// collect is a sink that keeps the rows as JSON.
type collect struct {
	types []string
	rows  []byte
	limit int
	n     int
}

func (c *collect) Columns(cols []connectors.ResultColumn) error {
	for _, col := range cols {
		c.types = append(c.types, col.Type)
	}
	return nil
}

func (c *collect) Row(cells []connectors.Cell) (bool, error) {
	if c.limit > 0 && c.n == c.limit {
		return false, nil
	}
	c.n++
	for _, cell := range cells {
		c.rows = append(connectors.AppendJSON(c.rows, cell), ' ')
	}
	return true, nil
}

// open connects a session as the administrator.
func open(t *testing.T, db *testenv.Database) connectors.Session {
	t.Helper()
	s, err := New().Connect(t.Context(), connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, SearchPath: []string{"public"},
		ConnectTimeout: 5 * time.Second}, connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

func ask(text string, params int) *connectors.Statement {
	st := &connectors.Statement{Kind: connectors.KindSelect, Runnable: true, Text: text, Outputs: []connectors.Output{{Name: "v"}}}
	for i := range params {
		st.Order = append(st.Order, i)
	}
	return st
}

var bounds = connectors.Limits{Timeout: 5 * time.Second, LockTimeout: time.Second, MaxAffected: -1}

// TestEveryType holds the JSON of each type to a golden file.
func TestEveryType(t *testing.T) {
	db := testenv.Postgres(t)
	var out bytes.Buffer
	for _, v := range values {
		s := open(t, db)
		var c collect
		if _, err := s.Prepare(t.Context(), ask("SELECT "+v, 0), nil, bounds); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if _, err := s.Execute(t.Context(), &c); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if !json.Valid(bytes.TrimSpace(c.rows)) {
			t.Errorf("%s: not JSON: %s", v, c.rows)
		}
		fmt.Fprintf(&out, "%-60s %-30s %s\n", v, c.types[0], c.rows)
		_ = s.Close(t.Context())
	}
	golden(t, filepath.Join("testdata", "values", "types.golden"), out.Bytes())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestSession: parameters of each kind, the exact stop, a changed catalog, and
// errors without values.
func TestSession(t *testing.T) {
	db := testenv.Postgres(t)
	run := func(text string, limit int, args ...connectors.Param) (string, error) {
		s := open(t, db)
		defer func() { _ = s.Close(t.Context()) }()
		c := &collect{limit: limit}
		if _, err := s.Prepare(t.Context(), ask(text, len(args)), args, bounds); err != nil {
			return "", err
		}
		_, err := s.Execute(t.Context(), c)
		return strings.TrimSpace(string(c.rows)), err
	}
	for _, c := range []struct {
		text string
		arg  connectors.Param
		want string
	}{
		{"SELECT $1::int + 1", connectors.Param{Text: "41", Kind: connectors.ParamNumber}, "42"},
		{"SELECT $1::text", connectors.Param{Text: "a'b"}, `"a'b"`},
		{"SELECT $1::bool", connectors.Param{Text: "true", Kind: connectors.ParamBool}, "true"},
		{"SELECT $1::int", connectors.Param{Null: true}, "null"},
		{"SELECT $1", connectors.Param{Text: "1.50", Type: "numeric"}, `"1.50"`},
		{"SELECT $1::int[]", connectors.Param{Text: "[1,null,3]", Kind: connectors.ParamJSON}, "[1,null,3]"},
		{"SELECT $1::jsonb", connectors.Param{Text: `{"a":1}`, Kind: connectors.ParamJSON}, `{"a": 1}`},
		{"SELECT $1", connectors.Param{Text: "3q2+7w==", Type: "bytea"}, `"3q2+7w=="`},
	} {
		if got, err := run(c.text, 0, c.arg); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
	if got, err := run("SELECT generate_series(1, 1000000)", 3); err != nil || got != "1 2 3" {
		t.Errorf("stopped at %q, %v", got, err)
	}
	if got, err := run("SELECT 12 / (5 - g) FROM generate_series(1, 9) g", 3); err != nil || got != "3 4 6" {
		t.Errorf("a row that nobody waits for failed: %q, %v", got, err)
	}
	for _, text := range []string{"SELECT '219-09-9999'::int", "SELECT to_date('219-09-9999', 'YYYY-MM-DD')", "SELECT 1/0",
		"SELECT '219-09-9999'::uuid", "CREATE TABLE x AS SELECT 1"} {
		_, err := run(text, 0)
		var known *connectors.Error
		if !errors.As(err, &known) || strings.Contains(known.Error()+known.Hint, "219") {
			t.Errorf("%s: %v", text, err)
		}
	}
	s := open(t, db) // by a gateway that is too slow to go on
	if _, err := s.Prepare(t.Context(), ask("SELECT 1", 0), nil, connectors.Limits{Timeout: 50 * time.Millisecond, LockTimeout: time.Second, MaxAffected: -1}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // at least a second is left idle
	var late *connectors.Error
	if _, err := s.Execute(t.Context(), &collect{}); !errors.As(err, &late) || late.Kind != connectors.KindTimeout {
		t.Errorf("too late: %v", err)
	}
	s = open(t, db)
	st := ask("SELECT 1", 0)
	st.Stamps = []connectors.Stamp{{Kind: "relation", Name: "public\x00gone", Value: "x"}}
	if _, err := s.Prepare(t.Context(), st, nil, bounds); err != connectors.ErrCatalogChanged { //nolint:errorlint // the very value
		t.Errorf("a changed catalog: %v", err)
	}
}

// BenchmarkEncode turns a row of twelve columns in PostgreSQL's text into cells.
func BenchmarkEncode(b *testing.B) {
	var cols []described
	var row [][]byte
	for _, c := range []struct {
		oid  uint32
		text string
	}{{pgtype.Int4OID, "4711"}, {pgtype.TextOID, "MRN-0004711"}, {pgtype.BoolOID, "t"}, {pgtype.TimestamptzOID, "2024-03-01 10:00:00+00"},
		{pgtype.TimestampOID, "2024-03-01 10:00:00"}, {pgtype.DateOID, "2024-03-01"}, {pgtype.NumericOID, "120.50"}, {pgtype.JSONBOID, "{}"},
		{pgtype.Float8OID, "0.5"}, {pgtype.Int8OID, "1"}, {pgtype.VarcharOID, "E11.9"}, {pgtype.TextOID, "north wing"}} {
		cols, row = append(cols, described{oid: c.oid}), append(row, []byte(c.text))
	}
	enc := newEncoder(cols)
	b.ReportAllocs()
	for b.Loop() {
		enc.row(row)
	}
}
