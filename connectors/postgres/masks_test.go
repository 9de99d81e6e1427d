package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func TestMasksOnAServer(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	m := maskWriter{profile: masking.HIPAASafeHarbor(), today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	partial := masking.Mask{Kind: masking.Partial, Last: 4}
	band := masking.Mask{Kind: masking.AgeBand, Width: 10}
	for _, test := range []struct {
		mask        masking.Mask
		typ, base   string
		value, want string
	}{
		{partial, "text", "text", "'212-555-0143'", "********0143"},
		{partial, "text", "text", "'1234567'", "*******"},
		{partial, "text", "text", "'12345678'", "****5678"},
		{partial, "text", "text", "''", ""},
		{partial, "character varying(8)", "varchar", "'12345678'", "****5678"},
		{partial, "integer", "int4", "7", "NULL"},
		{band, "date", "date", "'1985-07-01'", "1980-01-01"},
		{band, "date", "date", "'1936-12-31'", "1936-01-01"},
		{band, "date", "date", "'1937-01-01'", "1936-01-01"},
		{band, "date", "date", "'0044-03-15 BC'", "1936-01-01"},
		{band, "date", "date", "'infinity'", "NULL"},
		{band, "date", "date", "'-infinity'", "NULL"},
		{band, "timestamp", "timestamp", "'1985-07-01 10:00'", "1980-01-01 00:00:00"},
		{band, "timestamp", "timestamp", "'infinity'", "NULL"},
		{band, "date", "date", "'5874897-12-31'", "5874890-01-01"},
		{masking.Mask{Kind: masking.Age}, "integer", "int4", "89", "89"},
		{masking.Mask{Kind: masking.Age}, "integer", "int4", "104", "90"},
		{masking.Mask{Kind: masking.Age}, "double precision", "float8", "'NaN'", "90"},
		{masking.Mask{Kind: masking.Constant, Text: "0"}, "smallint", "int2", "5", "0"},
		{masking.Mask{Kind: masking.Constant, Text: "hidden"}, "character varying(3)", "varchar", "'abc'", "hid"},
		{masking.Mask{Kind: masking.Null}, "text", "text", "'a'", "NULL"},
	} {
		c := relationColumn{name: "v", typ: test.typ, base: test.base}
		if test.typ == "character varying(3)" {
			c.length = 3
		}
		sql := m.mask(masking.Class{Name: "x", Mask: test.mask}, c)
		for value, want := range map[string]string{test.value: test.want, "NULL": "NULL"} {
			var got string
			query := "SELECT coalesce((" + sql + ")::text, 'NULL') FROM (SELECT " + value + "::" + test.typ + " AS v) AS t"
			if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s of %s::%s is %q, %v; want %q", test.mask.Kind, value, test.typ, got, err, want)
			}
		}
	}
}
