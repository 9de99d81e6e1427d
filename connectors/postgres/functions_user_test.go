package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
)

// TestListedFunctions: a function of users runs while its definition is the one
// that the configuration lists, and no longer.
func TestListedFunctions(t *testing.T) {
	c := openClinic(t, 0)
	exec := func(sql string) {
		t.Helper()
		if _, err := c.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE FUNCTION bmi(kg numeric, m numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT round(kg / (m * m))'")
	exec("CREATE FUNCTION many() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1'")
	exec("CREATE SCHEMA other; CREATE FUNCTION other.bmi() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	exec("CREATE AGGREGATE longest(text) (SFUNC = textcat, STYPE = text)")
	exec("CREATE FUNCTION upper(p patients) RETURNS text LANGUAGE sql AS 'SELECT p.ssn'")
	reload := func() {
		t.Helper()
		var err error
		if c.cat, err = loadCatalog(t.Context(), c.db, []string{"public"}); err != nil {
			t.Fatal(err)
		}
	}
	reload()
	first := c.cat.defined["public.bmi"].digest
	try := func(text string, listed map[string]string) (*connectors.Statement, error) {
		in := c.input(text, 0)
		in.Functions = listed
		return New().Analyze(c.cat, in)
	}
	refused := func(text string, listed map[string]string, says string) {
		t.Helper()
		_, err := try(text, listed)
		var e *connectors.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message+e.Hint, says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	refused("SELECT bmi(80, 2)", nil, "functions: {public.bmi: "+first+"}")
	listed := map[string]string{"public.bmi": first, "public.many": c.cat.defined["public.many"].digest,
		"public.longest": c.cat.defined["public.longest"].digest, "public.upper": c.cat.defined["public.upper"].digest, "other.bmi": first}
	for _, text := range []string{"SELECT bmi(80, 2)", "SELECT public.bmi(m => 2, kg => 80)", "SELECT b FROM public.bmi(80, 2) b"} {
		st, err := try(text, listed)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := c.answer(st); got != "20|\n" || !strings.Contains(st.Text, "public.bmi(") || st.Functions[0].Class != connectors.FunctionListed {
			t.Errorf("%s gives %q: %s %+v", text, got, st.Text, st.Functions)
		}
	}
	for _, text := range []string{"SELECT * FROM many()", "SELECT longest(name) FROM wards", "SELECT public.upper(p) FROM patients p"} {
		refused(text, listed, "give one value")
	}
	refused("SELECT other.bmi()", listed, "does not know") // outside of the search path

	st, err := try("SELECT bmi(80, 2)", listed)
	if err != nil {
		t.Fatal(err)
	}
	same := func() bool {
		t.Helper()
		now, err := currentStamps(t.Context(), c.db, st.Stamps)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Equal(now, st.Stamps)
	}
	for _, change := range []string{
		"CREATE OR REPLACE FUNCTION bmi(kg numeric, m numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT max(id) FROM patients'",
		"ALTER FUNCTION bmi(numeric, numeric) SECURITY DEFINER",
		"CREATE FUNCTION bmi(kg int, m int) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM patients'",
		"DROP FUNCTION bmi(numeric, numeric)",
	} {
		exec("BEGIN")
		if !same() {
			t.Fatal("unchanged, and the stamp differs")
		}
		exec(change)
		if same() {
			t.Errorf("%s: the stamp is the same", change)
		}
		if reload(); !strings.HasPrefix(change, "DROP") {
			refused("SELECT bmi(80, 2)", listed, "has changed")
		}
		exec("ROLLBACK")
	}
}
