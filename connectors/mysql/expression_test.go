package mysql

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestExpressions: each is taken and gives on the server what it says, over a
// text; and NULL over NULL and over other types.
func TestExpressions(t *testing.T) {
	d := testenv.MariaDB(t)
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s:%d)/%s", d.AdminUser, d.AdminPassword, d.Host, d.Port, d.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET sql_mode = '"+SQLMode+"'"); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ expression, typ, value, want string }{
		{"concat(left($value, 2), '***')", "TEXT", "Johnson", "Jo***"},
		{"concat(left($value, 2), '***')", "TEXT", "", "***"},
		{"concat(left($value, 2), '***')", "ENUM('Johnson','Smith')", "Johnson", "Jo***"},
		{"upper(substring($value from 2 for 3))", "TEXT", "Johnson", "OHN"},
		{"substr($value, 6)", "TEXT", "Johnson", "on"},
		{"concat(repeat('*', char_length($value) - 3), right($value, 3))", "VARCHAR(20)", "Johnson", "****son"},
		{"concat(repeat('*', char_length($value) - 3), right($value, 3))", "TEXT", "Jo", "Jo"},
		{"CASE WHEN $value LIKE 'J%' THEN 'a J' WHEN $value IN ('x', 'y') THEN 'x or y' END", "TEXT", "y", "x or y"},
		{"CASE left($value, 1) WHEN 'J' THEN 'a J' ELSE 'other' END", "TEXT", "y", "other"},
		{"if($value NOT BETWEEN 'A' AND 'M' AND NOT ($value = 'Z') || $value IS NULL, 'N-Y', 'other')", "TEXT", "Olaf", "N-Y"},
		{"ifnull(nullif(trim($value), ''), 'empty')", "TEXT", "  ", "empty"},
		{"replace($value, '-', '')", "TEXT", "123-45-6789", "123456789"},
		{"lpad(rpad(left($value, 1), 3, '.'), 5, '#')", "TEXT", "Johnson", "##J.."},
		{`concat('it''s \\ ', reverse(lower($value)))`, "TEXT", "It's", `it's \ s'ti`},
		{"left($value, 2)", "INT", "12345", "NULL"},
	} {
		if _, err := ParseMask(test.expression); err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		dataType, _, _ := strings.Cut(strings.ToLower(test.typ), "(")
		mask := maskWriter{}.mask(masking.Class{Name: "x", Mask: masking.Mask{Kind: masking.Expression, MySQL: test.expression}},
			tableColumn{name: "v", dataType: dataType, nullable: true})
		if _, err := parse("SELECT " + mask); err != nil {
			t.Errorf("%s does not parse: %v", mask, err)
		}
		table := fmt.Sprintf("e%d", i)
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE "+table+" (id INT, v "+test.typ+" NULL)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "INSERT INTO "+table+" VALUES (1, ?), (2, NULL)", test.value); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[int]string{1: test.want, 2: "NULL"} {
			var got string
			query := fmt.Sprintf("SELECT COALESCE(CAST(%s AS CHAR), 'NULL') FROM %s WHERE id = %d", mask, table, id)
			if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s of %s (row %d) is %q, %v; want %q\n%s", test.expression, test.value, id, got, err, want, mask)
			}
		}
	}
}

func TestExpressionsThatAreRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"$value": "as it is", "char_length($value)": "a mask is a text", "": "no expression", "1": "a mask is a text",
		"left('$value', 2)": "outside of quotes", "left($value, 2), $value": "one expression", "left($value, 2) AS x": "nothing else",
		"left($value, 2) FROM patients": "nothing else", "left($value, 2); DROP TABLE patients": "no expression",
		"left($value, 2) UNION SELECT ssn FROM patients": "one expression", "left($value, 2) LIMIT 1": "nothing else",
		"left($value, 2) INTO OUTFILE 'x'": "nothing else", "(SELECT max(ssn) FROM patients)": "this form", "ssn": "no column",
		"patients.$value": "no column", "@@version": "this form", "@x": "this form", "?": "this form", "CAST($value AS CHAR)": "this form",
		"substring($value, 0, 2)": "takes", "regexp_replace($value, '.', '')": "regexp_replace", "md5($value)": "md5", "sleep(1)": "sleep",
		"other.left($value, 2)": "left", "length($value)": "char_length", "load_file($value)": "load_file", "extractvalue($value, 'x')": "extractvalue",
		"repeat($value, 1000)": "takes", "lpad($value, 2000000, 'x')": "number is from", "replace($value, 'x', 'xx')": "takes",
		"$value || 'x'": "write concat", "$value + 1": "takes", "1 / char_length($value)": "not possible", "$value LIKE $value": "takes",
		`$value LIKE 'x\\'`: "takes", "$value LIKE 'x' ESCAPE '!'": "this form", "$value REGEXP 'x'": "this form", "current_user()": "current_user",
		"concat($value, x'41')": "constants", "$value COLLATE utf8mb4_bin": "this form", "-1": "not possible",
		"concat($value /*! , ssn */)": "plain", "1.5": "constants", "group_concat($value)": "this form", "trim(leading 'x' from $value)": "this form",
		strings.Repeat("lower(", 300) + "$value" + strings.Repeat(")", 300): "at most",
	} {
		_, err := ParseMask(expression)
		if err == nil || !strings.Contains(err.Error(), want) {
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
