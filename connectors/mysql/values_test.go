package mysql

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

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// values are columns of every type, with a value each.
var values = [][2]string{
	{"tinyint", "-128"}, {"tinyint unsigned", "255"}, {"boolean", "true"}, {"smallint", "-1"}, {"mediumint", "8388607"}, {"int", "-5"},
	{"int unsigned", "4294967295"}, {"bigint", "9223372036854775807"}, {"bigint unsigned", "18446744073709551615"},
	{"decimal(10,2)", "1.50"}, {"decimal(65,0)", "12345678901234567890123"}, {"float", "0.1"}, {"double", "1e300"}, {"bit(3)", "b'101'"},
	{"char(3)", "'x'"}, {"varchar(10)", "'a\"b'"}, {"tinytext", "'t'"}, {"text", "'é'"}, {"mediumtext", "'m'"}, {"longtext", "'l'"},
	{"binary(3)", "'ab'"}, {"varbinary(3)", "x'00ff'"}, {"tinyblob", "x'01'"}, {"blob", "''"}, {"mediumblob", "x'02'"}, {"longblob", "x'03'"},
	{"date", "'2026-11-24'"}, {"time", "'-838:59:59'"}, {"time(3)", "'10:11:12.5'"}, {"datetime", "'2026-11-24 10:11:12'"},
	{"datetime(6)", "'2026-11-24 10:11:12.123456'"}, {"timestamp(3) null", "'2026-11-24 10:11:12.5'"}, {"year", "2026"},
	{"enum('a','b')", "'b'"}, {"set('a','b')", "'a,b'"}, {"json", "'{\"a\": [1, null]}'"}, {"uuid", "'123e4567-e89b-12d3-a456-426614174000'"},
	{"inet6", "'::1'"}, {"point", "point(1, 2)"}, {"int", "null"}, {"text", "null"},
}

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
	s, err := New().Connect(t.Context(), connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, ConnectTimeout: 5 * time.Second},
		connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

var bounds = connectors.Limits{Timeout: 5 * time.Second, LockTimeout: time.Second, MaxAffected: -1}

func fetch(t *testing.T, s connectors.Session, c *collect, text string, args ...connectors.Param) error {
	t.Helper()
	st := &connectors.Statement{Kind: connectors.KindSelect, Runnable: true, Text: text, Outputs: []connectors.Output{{Name: "v"}}}
	if _, err := s.Prepare(t.Context(), st, args, bounds); err != nil {
		return err
	}
	_, err := s.Execute(t.Context(), c)
	return err
}

// TestEveryType holds the JSON of each type to a golden file.
func TestEveryType(t *testing.T) {
	db := testenv.MariaDB(t)
	admin, err := db.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var out bytes.Buffer
	for i, v := range values {
		name := fmt.Sprintf("t%d", i)
		if _, err := admin.Exec(fmt.Sprintf("CREATE TABLE %s (v %s); INSERT INTO %s VALUES (%s)", name, v[0], name, v[1])); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		s := open(t, db)
		var c collect
		if err := fetch(t, s, &c, "SELECT v FROM "+name); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if !json.Valid(bytes.TrimSpace(c.rows)) {
			t.Errorf("%s: not JSON: %s", v, c.rows)
		}
		fmt.Fprintf(&out, "%-22s %-45s %-20s %s\n", v[0], v[1], c.types[0], c.rows)
		_ = s.Close(t.Context())
	}
	path := filepath.Join("testdata", "values", "types.golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, out.Bytes(), want)
	}
}

// TestSession: parameters of each kind, the exact stop, errors without values.
func TestSession(t *testing.T) {
	db := testenv.MariaDB(t)
	for _, c := range []struct {
		text string
		arg  connectors.Param
		want string
	}{
		{"SELECT ? + 1", connectors.Param{Text: "41", Kind: connectors.ParamNumber}, `"42"`},
		{"SELECT CAST(? AS CHAR)", connectors.Param{Text: `a'b\`}, `"a'b\\"`},
		{"SELECT ?", connectors.Param{Null: true}, "null"},
		{"SELECT CAST(? AS DECIMAL(10,2))", connectors.Param{Text: "1.50", Kind: connectors.ParamNumber}, `"1.50"`},
	} {
		var got collect
		if err := fetch(t, open(t, db), &got, c.text, c.arg); err != nil || strings.TrimSpace(string(got.rows)) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.text, got.rows, err, c.want)
		}
	}
	few := collect{limit: 3}
	if err := fetch(t, open(t, db), &few, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "+
		"SELECT a.i FROM n a JOIN n b ON 1 = 1 ORDER BY 1"); err != nil || strings.TrimSpace(string(few.rows)) != `1 1 1` && few.n != 3 {
		t.Errorf("stopped at %q, %v", few.rows, err)
	}
	for _, text := range []string{"SELECT EXTRACTVALUE(1, CONCAT('~', '219-09-9999'))", "SELECT nope_219", "CREATE TABLE x (a int)"} {
		var c collect
		err := fetch(t, open(t, db), &c, text)
		var known *connectors.Error
		if !errors.As(err, &known) || strings.Contains(known.Error()+known.Hint, "219") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
