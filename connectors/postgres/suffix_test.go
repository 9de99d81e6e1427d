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
