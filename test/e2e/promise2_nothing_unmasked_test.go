package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// clinical are questions an analyst asks, and some that a thief would. Each runs
// on both engines; %s is left out, so none of them needs a literal of the data.
var clinical = []string{
	"SELECT * FROM patients WHERE id BETWEEN 1 AND 20",
	"SELECT id, mrn, first_name, last_name, ssn, dob, phone, email, address, zip, insurance_id FROM patients WHERE id < 10",
	"SELECT p.id, p.last_name AS id2, e.notes FROM patients p JOIN encounters e ON e.patient_id = p.id WHERE p.id < 20",
	"SELECT zip, count(*) AS n FROM patients GROUP BY zip ORDER BY zip",
	"SELECT count(*) AS n, count(ssn) AS m FROM patients",
	"SELECT max(ssn), min(last_name), max(dob) FROM patients",
	"WITH a AS (SELECT id, ssn, dob FROM patients WHERE id < 30) SELECT * FROM a ORDER BY id",
	"SELECT x.s FROM (SELECT ssn AS s, id FROM patients WHERE id < 5) x",
	"SELECT concat(first_name, ' ', last_name) FROM patients WHERE id < 5",
	"SELECT upper(ssn), length(ssn), substring(ssn, 1, 3) FROM patients WHERE id < 5",
	"SELECT CASE WHEN id > 2 THEN ssn ELSE email END FROM patients WHERE id < 5",
	"SELECT coalesce(email, phone, 'none') FROM patients WHERE id < 40",
	"SELECT id FROM patients WHERE id < 5 UNION ALL SELECT id FROM encounters WHERE id < 5",
	"SELECT (SELECT max(ssn) FROM patients) AS s",
	"SELECT e.id, (SELECT p.ssn FROM patients p WHERE p.id = e.patient_id) AS s FROM encounters e WHERE e.id < 10",
	"SELECT payer, count(*) AS n, sum(amount) AS total FROM claims GROUP BY payer ORDER BY payer",
	"SELECT member_id, amount FROM claims WHERE id < 5",
	"SELECT dob FROM patients WHERE id < 50 ORDER BY id",
	"SELECT CAST(ssn AS char(20)) FROM patients WHERE id < 5",
	"SELECT ssn FROM patients WHERE id < 100 ORDER BY id LIMIT 3",
	"SELECT id, row_number() OVER (ORDER BY id) AS r, last_name FROM patients WHERE id < 8",
	"SELECT 1 / (id - 1), ssn FROM patients WHERE id < 3",
	"SELECT patient_id, notes FROM encounters WHERE patient_id < 10",
	"SELECT drug, count(*) FROM medications GROUP BY drug ORDER BY drug",
	"SELECT id FROM patients WHERE dob > '1990-01-01' AND id < 200 ORDER BY id",
	"SELECT zip FROM patients WHERE zip LIKE '9%' AND id < 300 ORDER BY id",
	"SELECT id FROM patients WHERE ssn LIKE '1%'",
	"SELECT ssn, count(*) FROM patients GROUP BY ssn",
	"SELECT id FROM patients ORDER BY ssn LIMIT 1",
	"SELECT a.id FROM patients a JOIN patients b ON a.ssn = b.ssn WHERE a.id < 3",
	"SELECT DISTINCT last_name FROM patients",
	"SELECT CAST(ssn AS decimal) FROM patients WHERE id = 1",
	"SELECT patients.* FROM patients WHERE patients.id = 3",
	"SELECT id FROM patients WHERE id = 1 AND ssn IS NOT NULL",
	"SELECT count(DISTINCT ssn) FROM patients",
}

// postgresOnly are clinical statements in PostgreSQL's own words.
var postgresOnly = []string{
	"SELECT id, dob::text, date_trunc('year', admitted_at) FROM patients JOIN encounters USING (id) WHERE id < 10",
	"SELECT array_agg(ssn ORDER BY id) FROM patients WHERE id < 5",
	"SELECT json_agg(row_to_json(x)) FROM (SELECT id, ssn, email FROM patients WHERE id < 5) x",
	"SELECT string_agg(last_name, ',') FROM patients WHERE id < 5",
	"SELECT ssn::int FROM patients WHERE id = 1",
	"SELECT encode(convert_to(ssn, 'UTF8'), 'hex') FROM patients WHERE id < 5",
	"SELECT reverse(ssn), md5(ssn) FROM patients WHERE id < 5",
	"SELECT * FROM patients p, LATERAL (SELECT p.ssn AS again) x WHERE p.id < 3",
	"SELECT count(*) FILTER (WHERE ssn LIKE '1%') FROM patients",
	"SELECT extract(year FROM age(dob)) FROM patients WHERE id < 5",
	"SELECT (p).ssn FROM patients p WHERE id = 1",
	"SELECT to_json(p) FROM patients p WHERE id = 1",
	"TABLE patients",
}

// TestPromise2_NoCanaryLeaves runs every statement and searches each answer for
// the seeded protected values. Statements that a person must approve are
// approved and claimed too, for their rows are masked all the same.
func TestPromise2_NoCanaryLeaves(t *testing.T) {
	g := mainGateway(t)
	for _, c := range []struct {
		connection string
		statements []string
	}{
		{"clinic", append(append([]string{}, clinical...), postgresOnly...)}, {"billing", clinical},
	} {
		ran := 0
		for _, statement := range c.statements {
			a := g.query(t, ask(c.connection, statement))
			if a.status == 202 && !strings.Contains(statement, "ssn LIKE") {
				id := a.str("query_id")
				must(t, g.decide(t, g.env.approver, id, "approve"), 200)
				a = g.claim(t, id)
			}
			if a.status == 200 {
				ran++
			} else if a.status >= 500 {
				t.Errorf("%s: %s: %d %s", c.connection, statement, a.status, a.raw)
			}
			if found := g.env.canary(a.raw); found != "" {
				t.Errorf("%s: %s leaks %q", c.connection, statement, found)
			}
		}
		if ran < len(c.statements)/2 {
			t.Errorf("%s: only %d of %d statements ran: a gateway that refuses everything proves nothing",
				c.connection, ran, len(c.statements))
		}
		t.Logf("%s: %d of %d ran", c.connection, ran, len(c.statements))
	}
}

// TestPromise2_Noninterference: on two databases that differ only in protected
// values, every answer is the same to the byte.
func TestPromise2_Noninterference(t *testing.T) {
	one, two := mainGateway(t), twinGateway(t)
	for _, c := range []struct {
		connection string
		statements []string
	}{
		{"clinic", append(append([]string{}, clinical...), postgresOnly...)}, {"billing", clinical},
	} {
		for _, statement := range c.statements {
			a, b := one.query(t, ask(c.connection, statement)), two.query(t, ask(c.connection, statement))
			if got, want := essence(b), essence(a); got != want {
				t.Errorf("%s: %s tells the databases apart:\n%s\n%s", c.connection, statement, want, got)
			}
		}
	}
}

// essence is an answer without what differs from request to request.
func essence(a answer) string {
	return fmt.Sprint(a.status, a.body["columns"], a.body["rows"], a.body["row_count"], a.body["truncated"], a.body["notes"],
		a.body["code"], a.body["detail"], a.body["hint"], a.body["sqlstate"], a.body["position"], a.body["reasons"])
}

// TestPromise2_Masks: what the masks keep is kept.
func TestPromise2_Masks(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		a := must(t, g.query(t, ask(connection, "SELECT ssn, email, zip, dob FROM patients WHERE id <= 60 ORDER BY id")), 200)
		for i, row := range a.rows() {
			raw := g.env.row(t, connection, fmt.Sprintf("SELECT ssn, email, zip, dob FROM patients WHERE id = %d", i+1))
			for column, cell := range row {
				if (cell == nil) != (raw[column] == "") {
					t.Fatalf("%s: nullness of column %d changed: %v", connection, column, row)
				}
			}
			if row[0] != nil && row[0] != "[redacted]" {
				t.Fatalf("%s: ssn %v", connection, row[0])
			}
			if zip, _ := row[2].(string); row[2] != nil && zip != raw[2][:3] && zip != "000" {
				t.Fatalf("%s: zip %v of %v", connection, row[2], raw[2])
			}
			dob, _ := row[3].(string)
			if row[3] != nil && (!strings.HasSuffix(dob, "-01-01") || dob[:4] < raw[3][:4]) {
				t.Fatalf("%s: dob %v of %v", connection, row[3], raw[3])
			}
		}
	}
}

// TestPromise2_Lookup: an agent that was given an MRN may find its patient, and
// learns nothing else by it.
func TestPromise2_Lookup(t *testing.T) {
	g := mainGateway(t)
	for connection, marker := range map[string]string{"clinic": "$1", "billing": "?"} {
		mrn := g.env.scalar(t, connection, "SELECT mrn FROM patients WHERE id = 5")
		a := must(t, g.query(t, ask(connection, "SELECT id, mrn, last_name FROM patients WHERE mrn = "+marker, mrn)), 200)
		rows := a.rows()
		if len(rows) != 1 || rows[0][1] != "[redacted]" || rows[0][2] != "[redacted]" {
			t.Fatalf("%s: %s", connection, a.raw)
		}
	}
}

// TestPromise2_Detectors: a protected value in a column that nobody classified
// is caught on its way out.
func TestPromise2_Detectors(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		g.env.exec(t, connection, "CREATE TABLE scraps (id int PRIMARY KEY, body varchar(200))")
		g.env.exec(t, connection, "INSERT INTO scraps VALUES (1, 'call Ann, SSN 219-09-9998, ann@example.org')")
		g.env.exec(t, connection, "GRANT SELECT ON scraps TO chaperone_ro")
		a := must(t, g.query(t, ask(connection, "SELECT body FROM scraps")), 200)
		if text := string(a.raw); strings.Contains(text, "219-09") || strings.Contains(text, "ann@") ||
			!strings.Contains(text, "[redacted:") {
			t.Errorf("%s: %s", connection, text)
		}
		g.env.exec(t, connection, "DROP TABLE scraps")
	}
}
