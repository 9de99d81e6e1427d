package mysql

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

// classify gives some columns other classes.
func (c *clinic) classify(t *testing.T, of map[string]string) {
	t.Helper()
	all := clinicdata.Protected()
	maps.Copy(all, of)
	columns := map[masking.ColumnRef]string{}
	for name, class := range all {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: c.cat.database, Relation: table, Column: column}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	c.classes = classes
}

// TestNestedWith shows that no name of a common table expression can mean a
// table to the server, wherever it stands.
func TestNestedWith(t *testing.T) {
	c := openClinic(t, 0)
	const with = "WITH patients AS (SELECT 1 AS id, 'mine' AS ssn) "
	for _, text := range []string{
		with + "SELECT * FROM (SELECT * FROM patients) q",
		with + "SELECT * FROM (WITH x AS (SELECT 2) SELECT * FROM patients) q",
		with + "SELECT (WITH x AS (SELECT 2) SELECT ssn FROM patients) AS s",
		with + "SELECT * FROM patients a JOIN patients b ON a.id = b.id",
		with + ", y AS (WITH z AS (SELECT * FROM patients) SELECT * FROM z) SELECT * FROM y",
		"WITH y AS (SELECT id, ssn FROM patients), patients AS (SELECT 1 AS id) SELECT * FROM y",
		"WITH RECURSIVE y AS (SELECT id, ssn FROM patients), patients AS (SELECT 1 AS id) SELECT * FROM y",
		"WITH patients AS (SELECT id, ssn FROM patients) SELECT * FROM patients",
		"WITH RECURSIVE patients AS (SELECT 1 AS id, 'mine' AS ssn UNION ALL SELECT id + 1, ssn FROM patients WHERE id < 3) SELECT * FROM patients",
	} {
		st, err := New().Analyze(c.cat, c.input(text, 0))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := c.answer(st)
		if strings.HasPrefix(got, "prepare") {
			t.Errorf("%s: %s\n%s", text, got, st.Text)
		}
		for line := range strings.Lines(got) {
			if strings.Contains(line, "-") {
				t.Errorf("%s leaks\n%.200s\n%s", text, got, st.Text)
				break
			}
		}
	}
	for _, text := range []string{
		with + "SELECT * FROM (WITH x AS (SELECT * FROM patients) SELECT * FROM x) q",
		with + "SELECT (WITH x AS (SELECT ssn FROM patients) SELECT max(ssn) FROM x) AS s",
		with + "SELECT * FROM wards w WHERE EXISTS (WITH x AS (SELECT * FROM patients) SELECT * FROM x WHERE x.ssn LIKE '9%')",
		"WITH wards AS (SELECT id, ssn FROM patients) SELECT * FROM wards UNION ALL SELECT * FROM (WITH x AS (SELECT * FROM wards) SELECT * FROM x) q",
		"WITH chaperone_raw_0 AS (SELECT 1 AS id) SELECT * FROM chaperone_raw_0",
		"SELECT id AS `Chaperone_RAW_0` FROM wards",
		"SELECT id AS châperone_raw_0 FROM wards",
		"SELECT chaperone_raw_x.id FROM wards chaperone_raw_x",
		"WITH x AS (SELECT 1 AS id), X AS (SELECT 2 AS id) SELECT * FROM x",
	} {
		if st, err := New().Analyze(c.cat, c.input(text, 0)); err == nil {
			t.Errorf("%s is not refused: %s", text, st.Text)
		}
	}
}

// TestLookupIsExact shows that a lookup opens the one value that was given, and
// reads it through the column's index.
func TestLookupIsExact(t *testing.T) {
	c := openClinic(t, 0)
	for _, s := range []string{
		"CREATE TABLE numbered (id int PRIMARY KEY, n bigint UNIQUE, d decimal(20,0) UNIQUE, u bigint unsigned UNIQUE, l varchar(20) CHARACTER SET latin1 UNIQUE)",
		`INSERT INTO numbered SELECT id, 9007199254740990 + id, 9007199254740990 + id, 9007199254740990 + id, concat('L', id) FROM patients`,
	} {
		if _, err := c.db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	cat, err := loadCatalog(t.Context(), c.db, c.cat.database)
	if err != nil {
		t.Fatal(err)
	}
	c.cat = cat
	c.classify(t, map[string]string{"patients.mrn": "mrn", "numbered.n": "mrn", "numbered.d": "mrn", "numbered.u": "mrn", "numbered.l": "mrn"})
	for _, condition := range []string{"mrn = 0", "mrn = 0e0", "mrn = 0.0", "mrn = TRUE", "mrn = FALSE", "mrn = x'4d524e'", "mrn = 0x00", "mrn = b'0'",
		"mrn = -0", "mrn = -'a'", "mrn = +?", "mrn = _latin1'a'", "mrn = _binary'a'", "mrn = N'a'", "mrn = NULL", "0 = (mrn)"} {
		in := c.input("SELECT id FROM patients WHERE "+condition, strings.Count(condition, "?"))
		if st, err := New().Analyze(c.cat, in); err == nil && len(st.Lookups) > 0 {
			t.Errorf("%s is a lookup: %s", condition, st.Text)
		}
	}
	var mrn string
	if err := c.db.QueryRow("SELECT mrn FROM patients WHERE id = 5").Scan(&mrn); err != nil {
		t.Fatal(err)
	}
	for _, look := range []struct {
		table, condition string
		arg              any
		want             string
	}{
		{"patients", "mrn = ?", mrn, "5|\n"},
		{"patients", "? = (mrn)", mrn, "5|\n"},
		{"patients", "mrn = '" + mrn + "'", nil, "5|\n"},
		{"patients", "mrn = ?", 0, ""},
		{"patients", "mrn = ?", 0.0, ""},
		{"patients", "mrn = ?", false, ""},
		{"patients", "mrn = ?", "", ""},
		{"numbered", "n = ?", 9007199254740993, "3|\n"},
		{"numbered", "n = ?", "9007199254740993", "3|\n"},
		{"numbered", "n = ?", 9007199254740993e0, "2|\n"},
		{"numbered", "n = 9007199254740993", nil, "3|\n"},
		{"numbered", "d = ?", "9007199254740993", "3|\n"},
		{"numbered", "u = ?", 9007199254740993, "3|\n"},
		{"numbered", "l = ?", "L3", "3|\n"},
		{"numbered", "l = ?", 3, ""},
	} {
		var args []any
		if look.arg != nil {
			args = append(args, look.arg)
		}
		st, err := New().Analyze(c.cat, c.input("SELECT id FROM "+look.table+" WHERE "+look.condition, len(args)))
		if err != nil || len(st.Lookups) != 1 {
			t.Errorf("%+v: %v %+v", look, err, st)
			continue
		}
		if got := c.answer(st, args...); got != look.want {
			t.Errorf("%+v gives %q: %s", look, got, st.Text)
		}
		if look.want == "" {
			continue
		}
		st.Text = "EXPLAIN " + st.Text
		if plan := c.answer(st, args...); !strings.Contains(plan, "const") {
			t.Errorf("%+v uses no index:\n%s\n%s", look, plan, st.Text)
		}
	}
}

// TestRawOutput shows that a raw output, which the gateway masks, is reached by
// no name or position of the client's.
func TestRawOutput(t *testing.T) {
	one, two := openClinic(t, 0), openClinic(t, 1)
	for _, c := range []*clinic{one, two} {
		c.classify(t, map[string]string{"patients.mrn": "pseudonym", "patients.ssn": "pseudonym"})
	}
	for _, text := range []string{
		"SELECT id, mrn FROM patients ORDER BY mrn, id",
		"SELECT id, mrn AS m FROM patients ORDER BY m DESC, id",
		"SELECT mrn AS id, id AS i FROM patients ORDER BY 1, 2",
		"SELECT * FROM patients ORDER BY 2, 1",
		"SELECT p.*, ssn FROM patients p ORDER BY p.mrn, ssn, p.id",
		"SELECT id, mrn AS m FROM patients ORDER BY lower(m), right(m, 1), id",
		"SELECT id, mrn AS m FROM patients ORDER BY CASE WHEN m IS NULL THEN 1 ELSE 2 END, id",
		"SELECT id, mrn AS m FROM patients HAVING m > 'MRN-5'",
		"SELECT id, mrn AS m FROM patients HAVING left(m, 5) IS NOT NULL",
		"SELECT id, mrn AS m FROM patients GROUP BY id, m ORDER BY m, id",
		"SELECT id, mrn AS m FROM patients GROUP BY 1, 2 ORDER BY 2, 1",
		"SELECT DISTINCT mrn AS m, id FROM patients ORDER BY m, id",
		"SELECT id, mrn AS m, row_number() OVER (ORDER BY mrn, id) AS n FROM patients ORDER BY m, n",
		"SELECT id, mrn FROM patients ORDER BY (SELECT mrn), id",
		"SELECT id, mrn AS m FROM patients ORDER BY ssn LIKE '9%', m = 'x', id",
	} {
		var answers []string
		for _, c := range []*clinic{one, two} {
			st, err := New().Analyze(c.cat, c.input(text, 0))
			if err != nil {
				answers = append(answers, "refused")
				continue
			}
			for i, o := range st.Outputs {
				if o.Gateway && strings.Contains(strings.SplitN(st.Text, " FROM ", 2)[0], fmt.Sprintf(" AS `%s`", o.Name)) {
					t.Errorf("%s: output %d is raw under the client's name: %s", text, i, st.Text)
				}
			}
			answers = append(answers, c.unmasked(st))
		}
		if answers[0] != answers[1] {
			t.Errorf("%s tells the databases apart\n%.300s\n%.300s", text, answers[0], answers[1])
		}
	}
}

// unmasked is an answer without what the gateway masks.
func (c *clinic) unmasked(st *connectors.Statement, args ...any) string {
	var b strings.Builder
	for line := range strings.Lines(c.answer(st, args...)) {
		cells := strings.Split(line, "|")
		for i, cell := range cells {
			if i < len(st.Outputs) && len(cells) > len(st.Outputs) && st.Outputs[i].Gateway {
				cell = "token"
			}
			b.WriteString(cell + "|")
		}
	}
	return b.String()
}
