package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestExpressions: each is taken and gives on the server what it says, over a
// text; and NULL over NULL and over other types.
func TestExpressions(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	m := maskWriter{profile: masking.Custom(), today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	for _, test := range []struct{ expression, typ, value, want string }{
		{"left($value, 2) || '***'", "text", "Johnson", "Jo***"},
		{"left($value, 2) || '***'", "text", "", "***"},
		{"left($value, 2) || '***'", "character varying(4)", "John", "Jo**"},
		{"upper(substring($value from 2 for 3))", "text", "Johnson", "OHN"},
		{"substr($value, 6)", "text", "Johnson", "on"},
		{"repeat('*', char_length($value) - 3) || right($value, 3)", "text", "Johnson", "****son"},
		{"repeat('*', char_length($value) - 3) || right($value, 3)", "text", "Jo", "Jo"},
		{"CASE WHEN $value LIKE 'J%' THEN 'a J' WHEN $value IN ('x', 'y') THEN 'x or y' ELSE NULL END", "text", "Johnson", "a J"},
		{"CASE WHEN $value LIKE 'J%' THEN 'a J' WHEN $value IN ('x', 'y') THEN 'x or y' END", "text", "y", "x or y"},
		{"CASE left($value, 1) WHEN 'J' THEN 'a J' ELSE 'other' END", "text", "y", "other"},
		{"CASE WHEN $value NOT BETWEEN 'A' AND 'M' AND NOT ($value = 'Z') OR $value IS NULL THEN 'N-Y' ELSE 'other' END", "text", "Olaf", "N-Y"},
		{"coalesce(nullif(trim($value), ''), 'empty')::text", "text", "  ", "empty"},
		{"replace($value, '-', '')", "text", "123-45-6789", "123456789"},
		{"lpad(rpad(left($value, 1), 3, '.'), 5, '#')", "text", "Johnson", "##J.."},
		{"'it''s ' || reverse(lower($value))", "text", "It's", "it's s'ti"},
		{"left($value, 2)", "integer", "12345", "NULL"},
	} {
		base := map[string]string{"character varying(4)": "varchar", "integer": "int4"}[test.typ]
		if base == "" {
			base = test.typ
		}
		if _, err := ParseMask(test.expression); err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		sql := m.mask(masking.Class{Name: "x", Mask: masking.Mask{Kind: masking.Expression, Postgres: test.expression}},
			relationColumn{name: "v", typ: test.typ, base: base})
		for value, want := range map[string]string{literal(test.value): test.want, "NULL": "NULL"} {
			var got string
			query := "SELECT coalesce((" + sql + ")::text, 'NULL') FROM (SELECT " + value + "::" + test.typ + " AS v) AS t"
			if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s of %s is %q, %v; want %q\n%s", test.expression, value, got, err, want, sql)
			}
		}
	}
}

func TestExpressionsThatAreRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"$value": "as it is", "($value)::text": "as it is", "char_length($value)": "a mask is a text", "": "one expression", "1": "a mask is a text",
		"$1": "no other $", "left($value, $2)": "no other $", "left('$value', 2)": "outside of quotes", "$$x$$ || $value": "no other $",
		"left($value, 2), $value": "one expression", "left($value, 2) AS x": "nothing else", "left($value, 2) FROM patients": "nothing else",
		"left($value, 2); DROP TABLE patients": "no expression", "left($value, 2) -- x": "", "left($value, 2) UNION SELECT ssn FROM patients": "one expression",
		"left($value, 2) LIMIT 1": "nothing else", "left($value, 2) INTO x": "nothing else", "(SELECT max(ssn) FROM patients)": "this form", "ssn": "no column",
		"patients.ssn": "no column", "$value::int::text": "nothing but a text", "$value::varchar(3)": "nothing but a text", "substring($value, 0, 2)": "takes",
		"substring($value from '[0-9]+')": "takes", "regexp_replace($value, '.', '')": "regexp_replace", "md5($value)": "md5", "pg_sleep(1)": "pg_sleep",
		"public.left($value, 2)": "left", "length($value)": "char_length", "concat($value, 'x')": "||", "pg_read_file($value)": "pg_read_file",
		"repeat($value, 1000)": "takes", "repeat('*', 1000000) || ''": "", "lpad($value, 2000000, 'x')": "number is from", "lpad($value, 2000, 'x')": "takes",
		"replace($value, '', 'x')": "takes", "replace($value, 'x', 'xx')": "takes", "$value || 1": "takes", "1 / char_length($value) || ''": "not possible",
		"CASE WHEN 1 / char_length($value) > 0 THEN 'a' ELSE 'b' END": "not possible", "$value LIKE $value": "takes", "$value LIKE 'x\\'": "takes",
		"current_user": "this form", "current_date::text": "this form", "ARRAY[$value]": "this form", "$value COLLATE \"C\"": "this form",
		"left($value, 2) || count(*)": "count", "lower($value) OVER ()": "lower", "left(DISTINCT $value, 2)": "left", "$value ~ 'x'": "not possible",
		"$value SIMILAR TO 'x'": "not possible", "$value ILIKE 'x'": "not possible", "left($value, -1)": "number is from", "B'1'": "constants", "1.5": "constants",
		strings.Repeat("lower(", 300) + "$value" + strings.Repeat(")", 300): "at most",
	} {
		_, err := ParseMask(expression)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.80s: %v, want %q", expression, err, want)
		}
	}
}

// TestMaskFunctions: what a mask may call, the function table knows as harmless
// and immutable.
func TestMaskFunctions(t *testing.T) {
	for name := range maskFunctions {
		if f := functions[name]; f.class != connectors.FunctionHarmless || f.volatility != connectors.Immutable {
			t.Errorf("%s is %s, %s", name, f.class, f.volatility)
		}
	}
}
