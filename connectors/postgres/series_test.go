package postgres

import "testing"

// TestSeries tells series, which end, from recursion that may not.
func TestSeries(t *testing.T) {
	c := openClinic(t, 0)
	for statement, recursive := range map[string]bool{
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT sum(i) FROM n":                                                false,
		"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100 AND true) SELECT sum(i) FROM n":                                     false,
		"WITH RECURSIVE m AS (SELECT date '2024-01-01' AS d UNION ALL SELECT (d + interval '1 month')::date FROM m WHERE d < '2024-12-01') SELECT d FROM m": false,
		"WITH RECURSIVE m AS (SELECT date '2024-01-01' AS d UNION ALL SELECT d + 7 FROM m WHERE d + 7 <= CURRENT_DATE - interval '1 day') SELECT d FROM m":  false,
		"WITH RECURSIVE n AS (SELECT 1 AS i UNION SELECT 2) SELECT i FROM n":                                                                                false,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n":                                                              true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n WHERE i < 100) SELECT sum(i) FROM n":                                                    true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT sum(i) FROM n":                                          true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000 * 1000) SELECT sum(i) FROM n":                                        true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT sum(i) FROM n":                                                true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < '1000000000') SELECT sum(i) FROM n":                                       true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100 OR i > 5) SELECT sum(i) FROM n":                                       true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < (SELECT max(id) FROM claims)) SELECT sum(i) FROM n":                       true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + generate_series(1, 9) FROM n WHERE i < 100) SELECT sum(i) FROM n":                            true,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n, claims WHERE i < 100) SELECT sum(i) FROM n":                                        true,
		"WITH RECURSIVE n(i) AS (SELECT id FROM claims UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT sum(i) FROM n":                                   true,
		"WITH RECURSIVE r(id) AS (SELECT 1 UNION ALL SELECT w.id FROM wards w JOIN r ON w.id = r.id + 1 WHERE r.id < 9) SELECT id FROM r":                   true,
	} {
		st, err := New().Analyze(c.cat, c.input(statement, 0))
		if err != nil || st.Shape.Recursive != recursive {
			t.Errorf("%s: %+v, %v", statement, st, err)
		}
	}
}
