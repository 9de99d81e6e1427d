package mysql

import (
	"bytes"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

var update = flag.Bool("update", false, "rewrite golden files")

// clinic is a database with one variant of the synthetic data.
type clinic struct {
	db      *sql.DB
	cat     *catalog
	classes *masking.Classification
}

func openClinic(tb testing.TB, variant int) *clinic {
	tb.Helper()
	server := testenv.MariaDB(tb)
	if err := testenv.SeedMariaDB(tb.Context(), server, clinicdata.Tables(200, variant), "vaultpw"); err != nil {
		tb.Fatal(err)
	}
	db, err := server.OpenMySQL()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	for _, s := range []string{
		"CREATE TABLE wards (id int PRIMARY KEY, name varchar(40), note varchar(100))",
		"INSERT INTO wards VALUES (1, 'North', 'n'), (2, 'South', NULL)",
		"CREATE VIEW ward_names AS SELECT id, upper(name) AS name FROM wards",
		"CREATE VIEW legacy AS SELECT id, ssn AS x FROM patients",
		"CREATE FUNCTION peek(i int) RETURNS varchar(20) READS SQL DATA RETURN (SELECT ssn FROM patients WHERE id = i)",
	} {
		if _, err := db.Exec(s); err != nil {
			tb.Fatal(err)
		}
	}
	cat, err := loadCatalog(tb.Context(), db, server.Name)
	if err != nil {
		tb.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Protected() {
		t, c, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: server.Name, Relation: t, Column: c}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		tb.Fatal(err)
	}
	return &clinic{db, cat, classes}
}

func (c *clinic) input(text string, count int) connectors.Input {
	return connectors.Input{Text: text, Count: count, Classes: c.classes, Today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
}

// answer runs an analysed statement and writes down all that a client could see.
func (c *clinic) answer(st *connectors.Statement, args ...any) string {
	ordered := make([]any, len(st.Order))
	for i, from := range st.Order {
		ordered[i] = args[from]
	}
	stmt, err := c.db.Prepare(st.Text)
	if err != nil {
		return "prepare: " + err.Error()
	}
	defer stmt.Close()
	rows, err := stmt.Query(ordered...)
	if err != nil {
		return "error"
	}
	defer rows.Close()
	cols, _ := rows.Columns()
	raw := make([]sql.RawBytes, len(cols))
	dest := make([]any, len(cols))
	for i := range raw {
		dest[i] = &raw[i]
	}
	var b strings.Builder
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return "scan: " + err.Error()
		}
		for _, v := range raw {
			if v == nil {
				b.WriteString("NULL|")
			} else {
				fmt.Fprintf(&b, "%s|", v)
			}
		}
		b.WriteByte('\n')
	}
	if rows.Err() != nil {
		b.WriteString("error")
	}
	return b.String()
}

// corpus is the golden file of analyses: statement in; uses, rewritten text or
// refusal out.
type entry struct {
	Statement string   `yaml:"statement"`
	Params    int      `yaml:"params,omitempty"`
	Error     string   `yaml:"error,omitempty"`
	Kind      string   `yaml:"kind,omitempty"`
	Uses      []string `yaml:"uses,omitempty"`
	Shape     string   `yaml:"shape,omitempty"`
	Normal    string   `yaml:"normalized,omitempty"`
	Text      string   `yaml:"text,omitempty"`
}

func (c *clinic) entry(e entry) entry {
	out := entry{Statement: e.Statement, Params: e.Params}
	st, err := New().Analyze(c.cat, c.input(e.Statement, e.Params))
	var refused *connectors.Error
	if errors.As(err, &refused) {
		out.Error = string(refused.Kind) + ": " + refused.Message
		if refused.Hint != "" {
			out.Error += " | " + refused.Hint
		}
		out.Error = strings.ReplaceAll(out.Error, c.cat.database, "DB")
		return out
	} else if err != nil {
		out.Error = "defect: " + err.Error()
		return out
	}
	out.Kind, out.Normal = string(st.Kind), strings.ReplaceAll(st.Normalized, c.cat.database, "DB")
	out.Text = strings.ReplaceAll(st.Text, c.cat.database, "DB")
	if st.Runnable {
		out.Shape = strings.ReplaceAll(fmt.Sprintf("%+v", st.Shape), "{", "")
	}
	for _, u := range st.Uses {
		out.Uses = append(out.Uses, fmt.Sprintf("%s %s.%s %s %s", u.ID, u.Column.Relation, u.Column.Column, u.Kind, u.Seen))
	}
	return out
}

func TestGolden(t *testing.T) {
	c := openClinic(t, 0)
	path := filepath.Join("testdata", "analysis", "statements.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []entry
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	var got []entry
	for _, e := range want {
		got = append(got, c.entry(e))
	}
	out, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out, text) {
		for i := range want {
			if fmt.Sprint(want[i]) != fmt.Sprint(got[i]) {
				t.Errorf("%s\n got %+v\nwant %+v", want[i].Statement, got[i], want[i])
			}
		}
		t.Error("the golden file differs; run with -update and read the diff")
	}
}

// TestNoninterference runs every statement of the corpus that is understood on
// two databases that differ in protected values only: the answers are the same.
func TestNoninterference(t *testing.T) {
	one, two := openClinic(t, 0), openClinic(t, 1)
	canaries := append(clinicdata.Canaries(clinicdata.Tables(200, 0), 60), clinicdata.Canaries(clinicdata.Tables(200, 1), 60)...)
	text, err := os.ReadFile(filepath.Join("testdata", "analysis", "statements.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	if err := yaml.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, e := range list {
		a, err1 := New().Analyze(one.cat, one.input(e.Statement, e.Params))
		b, err2 := New().Analyze(two.cat, two.input(e.Statement, e.Params))
		if strings.ReplaceAll(fmt.Sprint(err1), one.cat.database, "") != strings.ReplaceAll(fmt.Sprint(err2), two.cat.database, "") {
			t.Errorf("%s: %v, %v", e.Statement, err1, err2)
			continue
		}
		if err1 != nil || !a.Runnable || a.Write || len(a.Lookups) > 0 || deniedByRules(a) {
			continue
		}
		args := make([]any, e.Params)
		for i := range args {
			args[i] = 1
		}
		x, y := one.answer(a, args...), two.answer(b, args...)
		if strings.HasPrefix(x, "prepare") {
			t.Errorf("%s: the server does not take it: %s\n%s", e.Statement, x, a.Text)
			continue
		}
		ran++
		if x != y {
			t.Errorf("%s tells the databases apart\n%.300s\n%.300s\n%s", e.Statement, x, y, a.Text)
		}
		for _, canary := range canaries {
			if strings.Contains(x, canary) || strings.Contains(y, canary) {
				t.Errorf("%s leaks %q", e.Statement, canary)
			}
		}
	}
	t.Logf("%d of %d statements ran", ran, len(list))
	if ran < len(list)/3 {
		t.Errorf("only %d of %d statements ran", ran, len(list))
	}
}

// deniedByRules reports whether the built-in rules would deny a statement.
func deniedByRules(st *connectors.Statement) bool {
	for _, r := range st.Relations {
		if r.Denied != "" {
			return true
		}
	}
	for _, f := range st.Functions {
		if f.Class != connectors.FunctionHarmless && f.Class != connectors.FunctionCatalog {
			return true
		}
	}
	return false
}

func TestNamedParameters(t *testing.T) {
	c := openClinic(t, 0)
	in := c.input("SELECT id, ':x', `id` /* :y */ FROM wards WHERE id = :b AND name = :a OR id = :b -- :c", 0)
	in.Names = []string{"a", "b"}
	st, err := New().Analyze(c.cat, in)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(st.Order) != "[1 0 1]" {
		t.Error(st.Order)
	}
	in.Text = "SELECT id FROM wards LIMIT :a OFFSET :b"
	if st, err = New().Analyze(c.cat, in); err != nil || fmt.Sprint(st.Order) != "[1 0]" {
		t.Error(st, err)
	}
	for _, text := range []string{"SELECT id FROM wards WHERE id = :c", "SELECT id FROM wards WHERE id = :a"} {
		in.Text = text
		if _, err := New().Analyze(c.cat, in); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

func TestLookupAndOpened(t *testing.T) {
	c := openClinic(t, 0)
	var mrn string
	if err := c.db.QueryRow("SELECT mrn FROM patients WHERE id = 5").Scan(&mrn); err != nil {
		t.Fatal(err)
	}
	st, err := New().Analyze(c.cat, c.input("SELECT id, mrn FROM patients WHERE mrn = ?", 1))
	if err != nil || len(st.Lookups) != 1 {
		t.Fatal(st, err)
	}
	if got := c.answer(st, mrn); got != "5|[redacted]|\n" {
		t.Errorf("%q\n%s", got, st.Text)
	}
	in := c.input("SELECT count(*) FROM patients WHERE ssn LIKE '9%'", 0)
	closed, err := New().Analyze(c.cat, in)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.answer(closed); got != "0|\n" {
		t.Errorf("a comparison that was not opened sees %q", got)
	}
	in.Open = []string{closed.Uses[0].ID}
	opened, err := New().Analyze(c.cat, in)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.answer(opened); got == "0|\n" {
		t.Errorf("an opened comparison sees %q\n%s", got, opened.Text)
	}
}

func FuzzAnalyze(f *testing.F) {
	cat := &catalog{database: "d", tables: map[string]*table{"t": {schema: "d", name: "t", kind: "table",
		columns: []tableColumn{{name: "id", dataType: "int"}, {name: "s", dataType: "varchar", length: 20, nullable: true}}}},
		info: map[string]*table{}, routines: map[string]bool{}}
	cat.seal()
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), map[masking.ColumnRef]string{{Schema: "d", Relation: "t", Column: "s"}: "ssn"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"SELECT * FROM t", "SELECT s FROM t a JOIN t b USING (id)", "SELECT /**/ 'a''b\\' FROM t", "UPDATE t SET s='x' WHERE id=1"} {
		f.Add(s)
	}
	e := New()
	f.Fuzz(func(t *testing.T, text string) {
		st, err := e.Analyze(cat, connectors.Input{Text: text, Classes: classes, Today: time.Unix(0, 0)})
		var known *connectors.Error
		switch {
		case err != nil && !errors.As(err, &known):
			t.Fatalf("%v", err)
		case err == nil && st.Runnable:
			if _, err := parse(st.Text); err != nil {
				t.Fatalf("%s does not parse again", st.Text)
			}
		}
	})
}

func BenchmarkAnalyze(b *testing.B) {
	c := openClinic(b, 0)
	text := `SELECT p.zip, year(p.dob) AS born, count(*) AS n, avg(c.amount) AS mean
		FROM patients p JOIN encounters e ON e.patient_id = p.id LEFT JOIN claims c ON c.patient_id = p.id
		WHERE e.diagnosis_code LIKE 'E11%' AND c.amount > 100 AND p.id BETWEEN 1 AND 1000
		GROUP BY p.zip, year(p.dob) HAVING count(*) > 3 ORDER BY n DESC LIMIT 20`
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, err := New().Analyze(c.cat, c.input(text, 0)); err != nil {
				b.Fatal(err)
			}
		}
	})
	e := New()
	b.Run("seen", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Analyze(c.cat, c.input(text, 0)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
