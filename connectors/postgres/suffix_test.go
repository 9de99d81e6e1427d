package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
)

// TestSuffix: (value).name is a field or a harmless function, also if something of
// that name comes to be while the statement is on its way.
func TestSuffix(t *testing.T) {
	c := openClinic(t, 0)
	exec := func(sql string) {
		t.Helper()
		if _, err := c.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE FUNCTION ssn_of(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM patients WHERE id = $1';
		CREATE FUNCTION pg_catalog.told(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.patients WHERE id = $1';
		CREATE TYPE mood AS ENUM ('well'); CREATE TYPE place AS (city text, name text); CREATE TABLE at (id int, addr place)`)
	var err error
	if c.cat, err = loadCatalog(t.Context(), c.db, []string{"public"}); err != nil {
		t.Fatal(err)
	}
	try := func(text string) (*connectors.Statement, error) { return New().Analyze(c.cat, c.input(text, 0)) }
	for _, text := range []string{"SELECT (id).ssn_of FROM patients", "SELECT (id).told FROM patients", "SELECT ('well'::text).mood",
		"SELECT ('patients'::text).regclass", "SELECT ('patients'::text)._text", "SELECT ('SELECT ssn FROM patients'::text).ts_stat",
		"SELECT (id).count FROM patients", "SELECT ('{1}'::int[]).unnest", "SELECT ((addr).city).pg_read_file FROM at"} {
		_, err := try(text)
		var e *connectors.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, "could call") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, change := range []string{"CREATE FUNCTION city(text) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM patients'",
		"CREATE DOMAIN city AS text", "CREATE FUNCTION pg_catalog.name(int) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM public.patients'"} {
		st, err := try("SELECT (addr).city, (addr).name FROM at")
		if err != nil {
			t.Fatal(err)
		}
		for _, changed := range []bool{false, true} {
			exec("BEGIN")
			if changed {
				exec(change)
			}
			now, err := currentStamps(t.Context(), c.db, st.Stamps)
			if err != nil || slices.Equal(now, st.Stamps) == changed {
				t.Errorf("%s (%v): %v %v", change, changed, now, err)
			}
			exec("ROLLBACK")
		}
	}
}

// TestFunctionOfRow: a name that the server does not find among a row's columns is
// no call of a function on the row.
func TestFunctionOfRow(t *testing.T) {
	c := openClinic(t, 0)
	if _, err := c.db.Exec(t.Context(), `CREATE FUNCTION told(wards) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM patients'`); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.cat, err = loadCatalog(t.Context(), c.db, []string{"public"}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"SELECT told.told FROM wards, json_populate_record(wards, '{}') AS told",
		"SELECT * FROM wards, jsonb_populate_recordset(wards, '[{}]') AS told",
		"SELECT told.told FROM unnest(ARRAY(SELECT w FROM wards w)) AS told",
		"SELECT told.told FROM ROWS FROM (upper('a'), lower('b')) AS told",
		"WITH RECURSIVE r AS (SELECT told.* FROM wards told UNION ALL SELECT 9, r.told, 'x' FROM r WHERE r.told < 'z') SELECT * FROM r",
		"WITH RECURSIVE r AS (SELECT told.* FROM wards told WHERE id = 1 UNION ALL SELECT 9, (SELECT r.told), 'x' FROM r) SELECT * FROM r",
	} {
		st, err := New().Analyze(c.cat, c.input(text, 0))
		var e *connectors.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v\n%s", text, err, c.answer(st))
		}
	}
	for _, text := range []string{"SELECT * FROM unnest(ARRAY[1, 2])", "SELECT told.value FROM unnest(ARRAY[1, 2]) AS told(value)",
		"SELECT n.n FROM unnest(ARRAY[1, 2]) AS n", "SELECT upper, lower FROM ROWS FROM (upper('a'), lower('b')) AS told"} {
		st, err := New().Analyze(c.cat, c.input(text, 0))
		if err != nil {
			t.Fatal(text, err)
		}
		t.Log(st.Text, c.answer(st))
	}
}

// TestNamesAsResolved: what is sent does not change its meaning where a relation
// comes to be in an earlier schema, nor where users defined an operator that a form
// stands for.
func TestNamesAsResolved(t *testing.T) {
	c := openClinic(t, 0)
	exec := func(sql string) {
		t.Helper()
		if _, err := c.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA early; SET search_path = early, public")
	load := func() {
		t.Helper()
		var err error
		if c.cat, err = loadCatalog(t.Context(), c.db, []string{"early", "public"}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(text string) (*connectors.Statement, error) {
		in := c.input(text, 0)
		in.SearchPath = []string{"early", "public"}
		return New().Analyze(c.cat, in)
	}
	load()
	st, err := try("SELECT name FROM wards WHERE id = 1")
	if err != nil {
		t.Fatal(err)
	}
	exec("CREATE VIEW early.wards AS SELECT id, ssn AS name FROM patients")
	if got := c.answer(st); got != "North|\n" {
		t.Error(got)
	}
	exec(`CREATE FUNCTION told(text, int) RETURNS bool LANGUAGE sql AS 'SELECT ssn > $1 FROM public.patients WHERE id = $2';
		CREATE OPERATOR early.>= (LEFTARG = text, RIGHTARG = int, FUNCTION = told);
		CREATE OPERATOR early.< (LEFTARG = text, RIGHTARG = int, FUNCTION = told);
		CREATE OPERATOR early.= (LEFTARG = text, RIGHTARG = int, FUNCTION = told)`)
	load()
	for _, text := range []string{"SELECT '5'::text BETWEEN 1 AND '9'", "SELECT '5'::text NOT BETWEEN 1 AND 2", "SELECT '5'::text BETWEEN SYMMETRIC 1 AND '9'",
		"SELECT CASE '5'::text WHEN 1 THEN 1 END", "SELECT '5'::text IN (SELECT 1)", "SELECT 1 FROM (SELECT '5'::text AS x) a JOIN (SELECT 1 AS x) b USING (x)",
		"SELECT 1 FROM (SELECT '5'::text AS x) a NATURAL JOIN (SELECT 1 AS x) b"} {
		if _, err := try(text); err == nil || !strings.Contains(err.Error(), "operators that users defined") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
