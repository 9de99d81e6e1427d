package postgres

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

var update = flag.Bool("update", false, "rewrite golden files")

// clinic is a database with one variant of the synthetic data.
type clinic struct {
	db      *pgx.Conn
	cat     *catalog
	classes *masking.Classification
}

func openClinic(tb testing.TB, variant int) *clinic {
	tb.Helper()
	ctx := tb.Context()
	server := testenv.Postgres(tb)
	if err := testenv.SeedPostgres(ctx, server, clinicdata.Tables(200, variant), "vaultpw"); err != nil {
		tb.Fatal(err)
	}
	db, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	for _, s := range []string{
		"CREATE TABLE wards (id int PRIMARY KEY, name varchar(40), note varchar(100))",
		"INSERT INTO wards VALUES (1, 'North', 'n'), (2, 'South', NULL)",
		"CREATE VIEW ward_names AS SELECT id, upper(name) AS name FROM wards",
		"CREATE VIEW legacy AS SELECT id, ssn AS x FROM patients",
		"CREATE MATERIALIZED VIEW copied AS SELECT id, ssn FROM patients",
		"CREATE TABLE child () INHERITS (patients)",
		"CREATE FUNCTION peek(i int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM patients WHERE id = i'",
		`CREATE VIEW seen_patients AS SELECT id, mrn AS record, ssn, right(ssn, 4) AS last4, dob AS born, extract(year FROM dob) AS years,
			ssn LIKE '9%' AS starts, count(*) OVER (ORDER BY ssn) AS place, (SELECT count(*) FROM claims c WHERE c.member_id = p.insurance_id) AS claims,
			created_at FROM patients p WHERE email IS NOT NULL`,
		"CREATE VIEW seen_again AS SELECT s.*, s.last4 || 'x' AS again FROM seen_patients s JOIN claims c USING (id)",
		`CREATE VIEW turned AS WITH RECURSIVE r(a, b, n) AS (SELECT id::text, ssn, 0 FROM patients WHERE id = 1
			UNION ALL SELECT b, a, n + 1 FROM r WHERE n < 3) SELECT n, a FROM r`,
		"CREATE VIEW ranked AS SELECT id, row_number() OVER (ORDER BY last_name) AS n, CASE WHEN zip > '5' THEN 1 ELSE 2 END AS side, (p.*)::text AS all_of_it FROM patients p",
		"CREATE VIEW by_name AS SELECT id, zip FROM patients ORDER BY last_name",
		"CREATE TABLE past (id int PRIMARY KEY, was patients, all_of_them patients[], note text)",
		"INSERT INTO past SELECT id, p, ARRAY[p], 'n' FROM patients p",
		"CREATE VIEW backwards AS SELECT id, reverse(zip) AS zip FROM patients",
		"CREATE VIEW both_ways AS SELECT id, zip FROM patients UNION ALL SELECT id, zip::text FROM backwards UNION ALL SELECT id, left(zip, 4) FROM patients",
		"CREATE TABLE pseudonyms (id int PRIMARY KEY, code text, kind int)",
		"INSERT INTO pseudonyms SELECT id, md5(ssn), id % 3 FROM patients",
		"CREATE VIEW peeking AS SELECT id, peek(id) FROM wards",
		`CREATE TABLE generated_columns (id int PRIMARY KEY, name text, initial text GENERATED ALWAYS AS (left(name, 1)) STORED,
			doubled int GENERATED ALWAYS AS (id * 2) STORED)`,
		"INSERT INTO generated_columns SELECT id, last_name FROM patients WHERE id < 20",
		// Rows without ORDER BY come in the order of a hash table, which is as large
		// as the planner's statistics say: one of two twins must not get them alone.
		`DO $$ DECLARE r text; BEGIN FOR r IN SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace
			LOOP EXECUTE format('ALTER %s %s SET (autovacuum_enabled = false)',
				(SELECT CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END FROM pg_class WHERE oid = r::regclass), r); END LOOP; END $$`,
	} {
		if _, err := db.Exec(ctx, s); err != nil {
			tb.Fatal(err)
		}
	}
	cat, err := loadCatalog(ctx, db, []string{"public"})
	if err != nil {
		tb.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{{Schema: "public", Relation: "generated_columns", Column: "name"}: "name",
		{Schema: "public", Relation: "pseudonyms", Column: "code"}: "pseudonym"}
	for name, class := range clinicdata.Protected() {
		t, c, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: "public", Relation: t, Column: c}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		tb.Fatal(err)
	}
	return &clinic{db, cat, classes}
}

func (c *clinic) input(text string, count int) connectors.Input {
	return connectors.Input{Text: text, Count: count, Classes: c.classes, SearchPath: []string{"public"}, Today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
}

// answer runs an analysed statement and writes down all that a client could see.
func (c *clinic) answer(st *connectors.Statement, args ...string) string {
	ordered := make([][]byte, len(st.Order))
	for i, from := range st.Order {
		ordered[i] = []byte(args[from])
	}
	pc := c.db.PgConn()
	if _, err := pc.Prepare(context.Background(), "", st.Text, nil); err != nil {
		return "prepare: " + err.Error()
	}
	res := pc.ExecPrepared(context.Background(), "", ordered, nil, nil).Read()
	var b strings.Builder
	for _, row := range res.Rows {
		for i, v := range row {
			if i < len(st.Outputs) && st.Outputs[i].Gateway {
				b.WriteString("token|")
			} else if v == nil {
				b.WriteString("NULL|")
			} else {
				fmt.Fprintf(&b, "%s|", v)
			}
		}
		b.WriteByte('\n')
	}
	if res.Err != nil {
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
	Decision  string   `yaml:"decision,omitempty"`
	Rows      int      `yaml:"rows,omitempty"`
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
		return out
	} else if err != nil {
		out.Error = "defect: " + err.Error()
		return out
	}
	out.Kind, out.Normal = string(st.Kind), st.Normalized
	out.Text = st.Text
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
		if fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Errorf("%s: %v, %v", e.Statement, err1, err2)
			continue
		}
		if err1 == nil && a.Write {
			if _, err := one.db.PgConn().Prepare(t.Context(), "", a.Text, nil); err != nil {
				t.Errorf("%s: the server does not take it: %v\n%.1500s", e.Statement, err, a.Text)
			}
		}
		if err1 != nil || !a.Runnable || a.Write || len(a.Lookups) > 0 || denied(a) {
			continue
		}
		args := make([]string, e.Params)
		for i := range args {
			args[i] = "1"
		}
		x, y := one.answer(a, args...), two.answer(b, args...)
		if strings.HasPrefix(x, "prepare") {
			t.Errorf("%s: the server does not take it: %s\n%.1500s", e.Statement, x, a.Text)
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

// denied reports whether the built-in rules would deny a statement.
func denied(st *connectors.Statement) bool {
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
	in := c.input("SELECT id, ':a', \"id\", id::text /* :a */ FROM wards WHERE id = :b AND name = :a OR id = :b -- :b", 0)
	in.Names = []string{"a", "b"}
	st, err := New().Analyze(c.cat, in)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(st.Order) != "[0 1]" || !strings.Contains(st.Text, "id = $2 AND name = $1") {
		t.Error(st.Order, st.Text)
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
	if err := c.db.QueryRow(t.Context(), "SELECT mrn FROM patients WHERE id = 5").Scan(&mrn); err != nil {
		t.Fatal(err)
	}
	st, err := New().Analyze(c.cat, c.input("SELECT id, mrn FROM patients WHERE mrn = $1", 1))
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
	New().Warm()
	text := `WITH recent AS (
			SELECT e.patient_id, count(*) AS stays, max(e.admitted_at) AS latest
			FROM encounters e WHERE e.diagnosis_code LIKE 'E11%%'
			GROUP BY e.patient_id)
		SELECT p.zip, extract(year FROM p.dob) AS born, count(*) AS n, avg(c.amount) AS mean, sum(r.stays) AS stays
		FROM patients p JOIN recent r ON r.patient_id = p.id
		LEFT JOIN claims c ON c.patient_id = p.id AND c.amount > 100
		WHERE p.id BETWEEN 1 AND %d
		GROUP BY p.zip, extract(year FROM p.dob) HAVING count(*) > 3
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
