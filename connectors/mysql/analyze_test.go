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
		`CREATE VIEW seen_patients AS SELECT id, mrn AS record, ssn, right(ssn, 4) AS last4, dob AS born, year(dob) AS years,
			ssn LIKE '9%' AS starts, count(*) OVER (ORDER BY ssn) AS place, (SELECT count(*) FROM claims c WHERE c.member_id = p.insurance_id) AS claims,
			created_at FROM patients p WHERE email IS NOT NULL`,
		"CREATE VIEW seen_again AS SELECT s.*, concat(s.last4, 'x') AS again FROM seen_patients s JOIN claims c USING (id)",
		`CREATE VIEW turned AS WITH RECURSIVE r(a, b, n) AS (SELECT CAST(id AS char(20)), CAST(ssn AS char(20)), 0 FROM patients WHERE id = 1
			UNION ALL SELECT b, a, n + 1 FROM r WHERE n < 3) SELECT n, a FROM r`,
		"CREATE VIEW ranked AS SELECT id, row_number() OVER (ORDER BY last_name) AS n, CASE WHEN zip > '5' THEN 1 ELSE 2 END AS side FROM patients p",
		"CREATE VIEW by_name AS SELECT id, zip FROM patients ORDER BY last_name",
		"CREATE VIEW peeking AS SELECT id, peek(id) FROM wards",
		`CREATE TABLE generated_columns (id int PRIMARY KEY, name varchar(40), initial varchar(1) AS (left(name, 1)) STORED,
			small varchar(1) AS (lower(initial)) VIRTUAL, doubled int AS (id * 2) STORED)`,
		"CREATE VIEW first_five AS SELECT id FROM patients WHERE id < 6 ORDER BY ssn",
		"CREATE VIEW matched AS SELECT w.id, w.name, p.id AS pid FROM wards w LEFT JOIN patients p ON p.ssn > '95' AND p.id = w.id",
		"CREATE TABLE beds (id int PRIMARY KEY, ward int, ssn varchar(20), KEY by_ssn (ward, ssn), KEY by_ward (ward))",
		"INSERT INTO beds SELECT id, id % 3, ssn FROM patients",
		"CREATE TABLE rooms (id int PRIMARY KEY, ward int, ssn varchar(20), KEY by_ssn (ward, ssn))",
		// Views over tables with an index in whose order a protected column shows.
		"CREATE VIEW ward_beds AS SELECT id, ward FROM beds",
		"CREATE VIEW roster AS SELECT id, insurance_id AS name, created_at FROM patients",
		"CREATE VIEW roster_again AS SELECT id, name, created_at AS since FROM roster",
		"CREATE VIEW with_mrn AS SELECT id, created_at FROM patients WHERE mrn IS NOT NULL",
		"CREATE TABLE letters (id int PRIMARY KEY, ward int, body varchar(200), FULLTEXT KEY words (body))",
		"INSERT INTO letters SELECT id, id % 3, notes FROM encounters WHERE id < 20",
		"CREATE VIEW letter_wards AS SELECT l.id, l.ward FROM letters l JOIN patients p ON p.id = l.id AND p.created_at > '2001-01-01' AND l.ward > 0",
		"INSERT INTO generated_columns (id, name) SELECT id, last_name FROM patients WHERE id < 20",
	} {
		if _, err := db.Exec(s); err != nil {
			tb.Fatal(err)
		}
	}
	cat, err := loadCatalog(tb.Context(), db, server.Name)
	if err != nil {
		tb.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{{Schema: server.Name, Relation: "generated_columns", Column: "name"}: "name",
		{Schema: server.Name, Relation: "beds", Column: "ssn"}: "ssn", {Schema: server.Name, Relation: "rooms", Column: "ssn"}: "ssn",
		{Schema: server.Name, Relation: "letters", Column: "body"}: "free_text"}
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

// BenchmarkAnalyze understands and rewrites a query of ten lines, on a catalog
// that is at hand: one that is new each time, and one seen before.
func BenchmarkAnalyze(b *testing.B) {
	c := openClinic(b, 0)
	text := `WITH recent AS (
			SELECT e.patient_id, count(*) AS stays, max(e.admitted_at) AS latest
			FROM encounters e WHERE e.diagnosis_code LIKE 'E11%%'
			GROUP BY e.patient_id)
		SELECT p.zip, year(p.dob) AS born, count(*) AS n, avg(c.amount) AS mean, sum(r.stays) AS stays
		FROM patients p JOIN recent r ON r.patient_id = p.id
		LEFT JOIN claims c ON c.patient_id = p.id AND c.amount > 100
		WHERE p.id BETWEEN 1 AND %d
		GROUP BY p.zip, year(p.dob) HAVING count(*) > 3
		ORDER BY n DESC LIMIT 20`
	input := func(n int) connectors.Input {
		in := c.input(fmt.Sprintf(text, n), 0)
		in.Cells = true // as the gateway asks for
		return in
	}
	e, n := New(), 0
	b.Run("new", func(b *testing.B) {
		testenv.Percentiles(b, func() error {
			n++
			_, err := e.Analyze(c.cat, input(n))
			return err
		})
	})
	b.Run("seen", func(b *testing.B) {
		seen := input(0)
		testenv.Percentiles(b, func() error {
			_, err := e.Analyze(c.cat, seen)
			return err
		})
	})
}
