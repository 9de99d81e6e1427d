package mysql

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestCells runs statements with their hidden counts, and shows as * what
// small-cell suppression takes away: two claims of payer B, twenty of A.
func TestCells(t *testing.T) {
	c := openClinic(t, 0)
	for _, s := range []string{
		"DELETE FROM claims WHERE id > 22", "UPDATE claims SET payer = 'A', patient_id = 1", "UPDATE claims SET payer = 'B' WHERE id > 20",
		"UPDATE claims SET amount = 100",
	} {
		if _, err := c.db.Exec(s); err != nil {
			t.Fatal(s, err)
		}
	}
	var mrn string
	if err := c.db.QueryRow("SELECT mrn FROM patients WHERE id = 1").Scan(&mrn); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		statement string
		args      []any
		want      string
	}{
		{"SELECT payer, count(*) FROM claims GROUP BY payer ORDER BY payer", nil, "A|20; B|*"},
		{"SELECT payer, cast(count(*) AS signed) + 0 FROM claims GROUP BY payer ORDER BY payer", nil, "A|20; B|*"},
		{"SELECT payer, round(avg(amount)) FROM claims GROUP BY payer ORDER BY payer", nil, "A|100; B|*"},
		{"SELECT count(*), sum(payer = 'B'), sum(CASE WHEN payer = 'B' THEN 1 ELSE 0 END) FROM claims", nil, "22|*|*"},
		{"SELECT round(100 * sum(if(payer = 'B', 1, 0)) / count(*)), round(avg(CASE WHEN payer = 'B' THEN amount END)) FROM claims", nil, "*|*"},
		{"SELECT round(100 * sum(if(payer = ?, 1, 0)) / count(*)) FROM claims WHERE amount = ?", []any{"B", 100}, "*"},
		{"SELECT round(100 * sum(if(payer = ?, 1, 0)) / count(*)) FROM claims WHERE amount = ?", []any{"C", 100}, "0"},
		{"SELECT sum(CASE WHEN payer = 'B' THEN 100 END), sum(100) FROM claims", nil, "*|2200"},
		{"SELECT DISTINCT payer, round(avg(amount) OVER (PARTITION BY payer)), 100 * count(*) OVER (PARTITION BY payer) FROM claims ORDER BY 1", nil, "A|100|2000; B|*|*"},
		{"SELECT DISTINCT max(amount) OVER () FROM claims WHERE payer = 'B'", nil, "*"},
		{"SELECT payer, n * 10 FROM (SELECT payer, count(*) n FROM claims GROUP BY payer) x ORDER BY 1", nil, "A|200; B|*"},
		{"SELECT (SELECT count(*) FROM claims WHERE payer = 'B')", nil, "*"},
		{"SELECT n, m FROM (SELECT sum(1) AS n, sum(payer = 'B') AS m FROM claims) x", nil, "22|*"},
		{"SELECT DISTINCT n FROM (SELECT count(*) OVER () AS n FROM claims WHERE payer = 'B') x", nil, "*"},
		{"SELECT sum(1) FROM claims WHERE payer = 'B' UNION ALL SELECT 0 ORDER BY 1", nil, "0; *"},
		{"SELECT payer, count(*) FROM claims GROUP BY payer UNION ALL SELECT 'total', count(*) FROM claims ORDER BY 1", nil, "A|20; B|*; total|22"},
		{"SELECT DISTINCT payer, max(amount) > 0 FROM claims GROUP BY payer ORDER BY 1", nil, "A|1; B|*"},
		{"SELECT count(*) FROM claims c JOIN patients p ON p.id = c.patient_id WHERE p.mrn = ? AND c.payer = 'B'", []any{mrn}, "2"},
		{"SELECT count(*) FROM claims c, patients p WHERE p.mrn = ? AND c.payer = 'B'", []any{mrn}, "*"},
		{"SELECT count(*) FROM claims c LEFT JOIN patients p ON p.id = c.patient_id AND p.mrn = ? WHERE c.payer = 'B'", []any{mrn}, "*"},
		{"SELECT count(*) FROM wards", nil, "2"},
	} {
		in := c.input(test.statement, len(test.args))
		in.Cells = true
		st, err := New().Analyze(c.cat, in)
		if err != nil {
			t.Errorf("%s: %v", test.statement, err)
			continue
		}
		if got := shownCells(st, c.answer(st, test.args...)); got != test.want {
			t.Errorf("%s\n got %s\nwant %s\nsent %s", test.statement, got, test.want, st.Text)
		}
	}
}

func shownCells(st *connectors.Statement, answer string) string {
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
	return strings.Join(rows, "; ")
}

func TestGroupsByKey(t *testing.T) {
	c := openClinic(t, 0)
	for statement, want := range map[string]bool{
		"SELECT id, max(zip) FROM patients GROUP BY id":                     true,
		"SELECT id + 0 AS k, max(zip) FROM patients GROUP BY k":             true,
		"SELECT id % 2 AS k, max(zip) FROM patients GROUP BY k":             false,
		"SELECT id, max(zip) FROM patients GROUP BY 1":                      true,
		"SELECT zip, count(*) FROM patients GROUP BY zip":                   false,
		"SELECT id, count(*) FROM wards GROUP BY id":                        false,
		"SELECT max(x) FROM (SELECT max(id) x FROM patients GROUP BY id) t": false,
	} {
		st, err := New().Analyze(c.cat, c.input(statement, 0))
		if err != nil || st.GroupsByKey != want || want && st.Shape.Filtered {
			t.Errorf("%s: %+v, %v", statement, st, err)
		}
	}
}

// TestCellsOfOnePerson: a column that names a person makes a group, or a filter
// by it, one person's.
func TestCellsOfOnePerson(t *testing.T) {
	c := openClinic(t, 0)
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Decided() {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: c.cat.database, Relation: table, Column: column}] = class
	}
	if _, err := c.db.Exec("CREATE TABLE cards (id int PRIMARY KEY, holder varchar(20), ssn varchar(20))"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.db.Exec("INSERT INTO cards VALUES (1, 'a', 'x'), (2, 'a', 'x'), (3, 'b', 'x'), (4, NULL, 'x')"); err != nil {
		t.Fatal(err)
	}
	cat, err := loadCatalog(t.Context(), c.db, c.cat.database)
	if err != nil {
		t.Fatal(err)
	}
	c.cat = cat
	columns[masking.ColumnRef{Schema: c.cat.database, Relation: "cards", Column: "ssn"}] = "ssn"
	columns[masking.ColumnRef{Schema: c.cat.database, Relation: "cards", Column: "holder"}] = "person"
	if c.classes, err = masking.Classify(masking.HIPAASafeHarbor(), columns); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ statement, want string }{
		// A text that names persons is no number.
		{"SELECT count(*) FROM cards WHERE holder = 'a'", "2"},
		{"SELECT count(*) FROM cards WHERE holder = 0", "*"},
		{"SELECT count(*) FROM cards WHERE ? = holder AND ? = 'a'", "2"},
		// Groups by a person count that person's rows only.
		{"SELECT holder, count(*) FROM cards GROUP BY holder ORDER BY 1", "NULL|*; a|2; b|1"},
		{"SELECT holder, count(*) FROM cards WHERE id < 4 GROUP BY holder WITH ROLLUP", "a|*; b|*; NULL|*"},
		{"SELECT holder AS id, count(*) FROM cards WHERE id = 3 GROUP BY id", "b|*"},
		{"SELECT holder AS who, count(*) FROM cards WHERE id < 4 GROUP BY who ORDER BY 1", "a|2; b|1"},
		{"SELECT c.patient_id, count(*) FROM claims c, cards d WHERE c.patient_id = 7 AND d.id < 4 GROUP BY c.patient_id", "7|*"},
		{"SELECT c.patient_id, count(*) FROM claims c, (SELECT id FROM cards) d WHERE c.patient_id = 7 AND d.id < 4 GROUP BY c.patient_id", "7|*"},
		{"SELECT p.id, count(c.id) FROM patients p LEFT JOIN claims c ON c.patient_id = p.id WHERE p.id < 3 GROUP BY p.id ORDER BY 1", "1|2; 2|2"},
		{"SELECT p.id, count(c.id) FROM patients p JOIN claims c USING (id) WHERE p.id < 3 GROUP BY p.id ORDER BY 1", "1|*; 2|*"},
		{"SELECT d.holder, count(*) FROM cards d JOIN cards e USING (holder) WHERE d.id = 1 GROUP BY d.holder", "a|2"},
		{"SELECT patient_id, sum(count(*)) OVER () FROM claims WHERE patient_id < 3 GROUP BY patient_id ORDER BY 1", "1|*; 2|*"},
		{"SELECT count(*) FROM claims c JOIN patients p ON c.id = p.id WHERE p.id = 2", "*"},
		{"SELECT count(*) FROM claims WHERE patient_id = 7", "2"},
		{"SELECT patient_id, count(*) FROM claims WHERE patient_id < 3 GROUP BY patient_id ORDER BY 1", "1|2; 2|2"},
		{"SELECT p.id, count(*) AS n FROM claims c JOIN patients p ON p.id = c.patient_id WHERE p.id < 2 GROUP BY 1", "1|2"},
		{"SELECT count(*) FROM claims c JOIN patients p ON p.id = c.patient_id WHERE p.id = 7", "2"},
		{"SELECT count(*) FROM claims WHERE patient_id <> 7 AND id < 5", "*"},
		{"SELECT count(*) FROM claims WHERE patient_id = 7 OR id < 5", "*"},
		{"SELECT count(DISTINCT patient_id) FROM claims WHERE id < 5", "*"},
	} {
		args := make([]any, strings.Count(test.statement, "?"))
		for i := range args {
			args[i] = "a"
		}
		in := c.input(test.statement, len(args))
		in.Cells = true
		st, err := New().Analyze(c.cat, in)
		if err != nil {
			t.Errorf("%s: %v", test.statement, err)
			continue
		}
		// As a bag: under a window MariaDB forgets ORDER BY at times.
		if got := shownCells(st, c.answer(st, args...)); !slices.Equal(rowsOf(got), rowsOf(test.want)) {
			t.Errorf("%s\n got %s\nwant %s\nsent %s", test.statement, got, test.want, st.Text)
		}
	}
}

func rowsOf(shown string) []string { return slices.Sorted(slices.Values(strings.Split(shown, "; "))) }

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
