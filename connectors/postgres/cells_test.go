package postgres

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestCells runs statements with their hidden counts, and shows as * what
// small-cell suppression takes away. Ward 1 has 12 patients, ward 2 three, one of
// them without a weight; nobody is in ward 3 but by an outer join.
func TestCells(t *testing.T) {
	c := openClinic(t, 0)
	for _, s := range []string{
		"DELETE FROM claims", "DELETE FROM encounters", "ALTER TABLE wards ADD kind text",
		"CREATE TABLE stays (id int PRIMARY KEY, ward int, patient_id int, weight numeric, note text)",
		"INSERT INTO stays SELECT i, CASE WHEN i <= 12 THEN 1 ELSE 2 END, CASE WHEN i <= 3 THEN 1 ELSE i END, CASE WHEN i < 15 THEN 70 + i END, 'n' FROM generate_series(1, 15) i",
		"INSERT INTO wards VALUES (3, 'Empty')",
	} {
		if _, err := c.db.Exec(context.Background(), s); err != nil {
			t.Log(s, err)
		}
	}
	cat, err := loadCatalog(t.Context(), c.db, []string{"public"})
	if err != nil {
		t.Fatal(err)
	}
	c.cat = cat
	c.protect(t, "stays", "note", "free_text")
	var mrn, dob string
	if err := c.db.QueryRow(t.Context(), "SELECT mrn, (SELECT dob::text FROM patients WHERE id = 5) FROM patients WHERE id = 1").Scan(&mrn, &dob); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ statement, want string }{
		{"SELECT ward, count(*) FROM stays GROUP BY ward ORDER BY ward", "1|12; 2|*"},
		// A count of what goes in sees masked tables too, also below.
		{"SELECT count(*), coalesce(max((SELECT p.id FROM patients p WHERE p.id = s.patient_id AND p.dob = '" + dob + "')), 0) FROM stays s WHERE ward = 1", "12|0"},
		{"SELECT ward, count(*)::int n FROM stays GROUP BY ward ORDER BY ward", "1|12; 2|*"},
		{"SELECT ward, coalesce(count(*), 0) FROM stays GROUP BY 1 ORDER BY 1", "1|12; 2|*"},
		{"SELECT ward, avg(weight)::int FROM stays GROUP BY ward ORDER BY ward", "1|77; 2|*"}, // no count asked for
		{"SELECT ward, max(id), sum(id) FROM stays GROUP BY ward ORDER BY ward", "1|12|78; 2|*|*"},
		{"SELECT count(*), count(*) FILTER (WHERE ward = 2), avg(id) FILTER (WHERE ward = 2) FROM stays", "15|*|*"},
		{"SELECT count(*), sum(CASE WHEN ward = 2 THEN 1 ELSE 0 END), sum((ward = 2)::int) FROM stays", "15|*|*"},
		{"SELECT sum(100) FILTER (WHERE ward = 2), sum(CASE WHEN ward = 2 THEN 100 END), sum(1) FROM stays", "*|*|15"},
		{"SELECT round(100.0 * count(*) FILTER (WHERE ward = 2) / count(*)) FROM stays", "*"},
		{"SELECT round(100.0 * count(*) FILTER (WHERE ward = 1) / count(*)) FROM stays", "80"},
		{"SELECT count(*) FILTER (WHERE ward = 9), count(*) FROM stays", "0|15"}, // nobody
		{"SELECT avg(CASE WHEN ward = 2 THEN weight END), count(weight) FROM stays", "*|14"},
		{"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY weight) FILTER (WHERE ward = 2) FROM stays", "*"},
		{"SELECT ward, n FROM (SELECT ward, count(*) n FROM stays GROUP BY ward) x ORDER BY 1", "1|12; 2|*"},
		{"SELECT ward, n * 10 FROM (SELECT ward, count(*) n FROM stays GROUP BY ward) x ORDER BY 1", "1|120; 2|*"},
		{"WITH x AS (SELECT ward, count(*) n FROM stays GROUP BY ward) SELECT min(n), sum(n), count(*) FROM x", "*|*|*"},
		{"SELECT (SELECT count(*) FROM stays WHERE ward = 2)", "*"},
		{"VALUES ((SELECT count(*) FROM stays WHERE ward = 2)), (12)", "*; 12"},
		{"SELECT * FROM (VALUES ((SELECT count(*) FROM stays WHERE ward = 2))) v", "*"},
		{"SELECT n, m, k FROM (SELECT sum(1) AS n, sum(CASE WHEN ward = 2 THEN 1 ELSE 0 END) AS m, regr_count(1, 1) AS k FROM stays) x", "15|*|15"},
		{"SELECT sum(1) FROM stays WHERE ward = 2 UNION ALL SELECT 0 ORDER BY 1", "0; *"},
		{"SELECT DISTINCT ward, avg(id)::int FROM stays GROUP BY ward ORDER BY 1", "1|7; 2|*"},
		{"SELECT DISTINCT ward, count(*) OVER (PARTITION BY ward) FROM stays ORDER BY 1", "1|12; 2|*"},
		{"SELECT DISTINCT ward, avg(id) OVER (PARTITION BY ward)::int, 100 * count(*) OVER (PARTITION BY ward) FROM stays ORDER BY 1", "1|7|1200; 2|*|*"},
		{"SELECT DISTINCT max(id) OVER () FROM stays WHERE ward = 2", "*"},
		{"SELECT ward, count(*) FROM stays GROUP BY ROLLUP (ward) ORDER BY 1", "1|12; 2|*; NULL|15"},
		{"SELECT ward, count(*) FROM stays GROUP BY ward UNION ALL SELECT 0, count(*) FROM stays ORDER BY 1", "0|15; 1|12; 2|*"},
		{"SELECT ward, sum(count(*)) OVER () FROM stays GROUP BY ward ORDER BY 1", "1|15; 2|*"},
		// One person, named by a lookup.
		{"SELECT count(*) FROM stays s JOIN patients p ON p.id = s.patient_id WHERE p.mrn = $1", "3"},
		{"SELECT count(*) FROM stays s JOIN patients p ON p.id > s.patient_id - 20 WHERE p.mrn = $1 AND s.ward = 2", "*"},
		{"SELECT count(*) FROM stays s, patients p WHERE p.mrn = $1 AND s.ward = 2", "*"},
		{"SELECT count(*) FROM stays s LEFT JOIN patients p ON p.id = s.patient_id AND p.mrn = $1 WHERE s.ward = 2", "*"},
		{"SELECT count(*) FROM stays WHERE ward = 2 AND EXISTS (SELECT FROM patients WHERE mrn = $1)", "*"},
		{"SELECT count(*) FROM stays WHERE ward = 2 AND patient_id = 13", "*"},
		// Not of people.
		{"SELECT count(*) FROM wards", "3"},
		{"SELECT id FROM stays WHERE id = 3", "3"},
	} {
		var args []string
		if strings.Contains(test.statement, "$1") {
			args = []string{mrn}
		}
		c.shows(t, test.statement, test.want, args...)
	}
	// A column that names a person makes a group, or a filter by it, one person's.
	for _, test := range []struct{ statement, want string }{
		{"SELECT count(*) FROM stays WHERE ward = 2 AND patient_id = 13", "1"},
		{"SELECT patient_id, count(*) FROM stays WHERE ward = 1 GROUP BY patient_id HAVING count(*) > 2", "1|3"},
		{"SELECT p.id, avg(s.weight)::int FROM stays s JOIN patients p ON p.id = s.patient_id WHERE s.id < 3 GROUP BY p.id", "1|72"},
		{"SELECT count(*) FROM stays s JOIN patients p ON p.id = s.patient_id WHERE p.id = 1", "3"},
		{"SELECT count(*) FROM stays WHERE ward = 2 AND patient_id <> 13", "*"},
		{"SELECT count(*) FROM stays WHERE ward = 2 OR patient_id = 13", "*"},
		// Groups by a person count that person's rows only.
		{"SELECT p.id, count(s.id) FROM patients p LEFT JOIN stays s ON s.patient_id = p.id WHERE p.id IN (1, 2) GROUP BY 1 ORDER BY 1", "1|3; 2|0"},
		{"SELECT patient_id AS who, count(*) FROM stays WHERE id = 13 GROUP BY who", "13|1"},
		{"SELECT s.patient_id, count(*) FROM stays s JOIN stays t USING (patient_id) WHERE s.id = 1 GROUP BY s.patient_id", "1|3"},
		{"SELECT s.patient_id, count(*) FROM stays s, generate_series(1, 2) WHERE s.id = 1 GROUP BY s.patient_id", "1|2"},
		{"SELECT s.patient_id, count(*) FROM stays s JOIN (SELECT patient_id, max(id) AS last FROM stays GROUP BY patient_id) x ON x.patient_id = s.patient_id AND x.last = s.id WHERE s.id = 13 GROUP BY 1", "13|1"},
		{"SELECT e.patient_id, count(*) FROM stays e, stays o WHERE e.id = 1 AND o.ward = 2 GROUP BY e.patient_id", "1|*"},
		{"SELECT e.patient_id, count(*) FROM stays e, (SELECT id FROM stays WHERE ward = 2) o WHERE e.id = 1 GROUP BY e.patient_id", "1|*"},
		{"SELECT e.patient_id, count(*) FROM stays e LEFT JOIN stays o ON o.ward = 2 WHERE e.id = 1 GROUP BY e.patient_id", "1|*"},
		{"SELECT s.patient_id, count(*) FROM patients p LEFT JOIN stays s ON s.patient_id = p.id WHERE p.id BETWEEN 15 AND 18 GROUP BY 1 ORDER BY 1", "15|1; NULL|*"},
		{"SELECT patient_id, sum(count(*)) OVER () FROM stays WHERE ward = 2 GROUP BY patient_id ORDER BY 1", "13|*; 14|*; 15|*"},
		{"SELECT patient_id, count(*) FROM stays WHERE id = 13 GROUP BY ROLLUP (patient_id) ORDER BY 1", "13|*; NULL|*"},
		{"SELECT count(*) FROM stays s JOIN patients p ON s.ward = p.id WHERE p.id = 2", "*"},
		{"SELECT count(*) FROM stays WHERE patient_id IN (13, 14)", "*"},
		{"SELECT ward, count(DISTINCT patient_id) FROM stays WHERE ward = 2 GROUP BY ward", "2|*"},
		{"SELECT count(*) FROM stays s LEFT JOIN patients p ON p.id = s.patient_id AND p.id = 13 WHERE s.ward = 2", "*"},
	} {
		c.protect(t, "stays", "note", "free_text", "stays.patient_id", "person", "patients.id", "person")
		c.shows(t, test.statement, test.want)
	}
}

// TestCellsDistinct: the counts must not make more rows of a DISTINCT.
func TestCellsDistinct(t *testing.T) {
	c := openClinic(t, 0)
	for _, statement := range []string{
		"SELECT DISTINCT avg(amount) OVER (PARTITION BY patient_id) FROM claims",
		"SELECT DISTINCT patient_id, avg(amount) OVER (PARTITION BY patient_id ORDER BY id) FROM claims",
		"SELECT DISTINCT max(amount) OVER w FROM claims WINDOW w AS ()",
		"SELECT DISTINCT 100 * count(*) OVER w FROM claims WINDOW w AS ()",
	} {
		in := c.input(statement, 0)
		in.Cells = true
		if _, err := New().Analyze(c.cat, in); err == nil || !strings.Contains(err.Error(), "DISTINCT over windows") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// shows runs a statement, and compares what is left of its answer.
func (c *clinic) shows(t *testing.T, statement, want string, args ...string) {
	t.Helper()
	in := c.input(statement, len(args))
	in.Cells = true
	st, err := New().Analyze(c.cat, in)
	if err != nil {
		t.Errorf("%s: %v", statement, err)
		return
	}
	answer := c.answer(st, args...)
	var rows []string
	for line := range strings.Lines(answer) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		var shown []string
		for i, out := range st.Outputs {
			if out.Hidden || i >= len(cells) {
				continue
			}
			value := cells[i]
			for _, at := range out.Counts {
				if n, err := strconv.ParseFloat(cells[at], 64); err == nil && n > 0 && n < 11 {
					value = "*"
				}
			}
			shown = append(shown, value)
		}
		rows = append(rows, strings.Join(shown, "|"))
	}
	if got := strings.Join(rows, "; "); got != want {
		t.Errorf("%s\n got %s\nwant %s\nsent %s", statement, got, want, st.Text)
	}
}

func TestGroupsByKey(t *testing.T) {
	c := openClinic(t, 0)
	for statement, want := range map[string]bool{
		"SELECT id, max(zip) FROM patients GROUP BY id":                     true,
		"SELECT id::text, max(zip) FROM patients GROUP BY 1":                true,
		"SELECT id + 0 AS k, max(zip) FROM patients GROUP BY k":             true,
		"SELECT id % 2 AS k, max(zip) FROM patients GROUP BY k":             false,
		"SELECT mod(id, 2), max(zip) FROM patients GROUP BY 1":              false,
		"SELECT zip, id, count(*) FROM patients GROUP BY ROLLUP (zip, id)":  true,
		"SELECT zip, count(*) FROM patients GROUP BY zip":                   false,
		"SELECT id, count(*) FROM wards GROUP BY id":                        false,
		"SELECT max(x) FROM (SELECT max(id) x FROM patients GROUP BY id) t": false,
	} {
		st, err := New().Analyze(c.cat, c.input(statement, 0))
		if err != nil || st.GroupsByKey != want {
			t.Errorf("%s: %v, %v", statement, st, err)
			continue
		}
		if want && st.Shape.Filtered {
			t.Errorf("%s: counts as filtered", statement)
		}
	}
}

// protect classifies one more column, and others as pairs of "table.column" and
// class.
func (c *clinic) protect(t *testing.T, table, column, class string, more ...string) {
	t.Helper()
	columns := map[masking.ColumnRef]string{{Schema: "public", Relation: table, Column: column}: class}
	for i := 0; i < len(more); i += 2 {
		table, column, _ := strings.Cut(more[i], ".")
		columns[masking.ColumnRef{Schema: "public", Relation: table, Column: column}] = more[i+1]
	}
	for name, class := range clinicdata.Protected() {
		t, c, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: "public", Relation: t, Column: c}] = class
	}
	var err error
	if c.classes, err = masking.Classify(masking.HIPAASafeHarbor(), columns); err != nil {
		t.Fatal(err)
	}
}

// TestRowsOut: what an outer query aggregates away does not leave as rows.
func TestRowsOut(t *testing.T) {
	c := openClinic(t, 0)
	for statement, want := range map[string]bool{
		"WITH p AS (SELECT id, zip FROM patients) SELECT * FROM p":                                              true,
		"WITH p AS (SELECT id, zip FROM patients), q AS (SELECT * FROM p) SELECT zip FROM q":                    true,
		"WITH p AS (SELECT id, zip FROM patients), q AS (SELECT count(*) AS n FROM p) SELECT n + 1 AS n FROM q": false,
		"WITH p AS (SELECT id, zip FROM patients), q AS (SELECT count(*) AS n FROM p) SELECT n, zip FROM q, p":  true,
		"SELECT zip, n FROM (SELECT zip, count(*) AS n FROM patients GROUP BY zip) t":                           false,
		"SELECT id, n FROM (SELECT id, count(*) AS n FROM patients GROUP BY id) t":                              true,
	} {
		st, err := New().Analyze(c.cat, c.input(statement, 0))
		if err != nil || st.ProtectedRowsOut != want {
			t.Errorf("%s: %v, %v", statement, st, err)
		}
	}
}
