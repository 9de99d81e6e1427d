package e2e

import (
	"strings"
	"testing"
)

func TestPromise6_WhatIsNotUnderstoodIsRefused(t *testing.T) {
	g := mainGateway(t)
	cases := []struct{ connection, statement string }{
		{"clinic", "SELECT nope FROM patients WHERE id = 1"},
		{"clinic", "SELECT * FROM no_such_table"},
		{"clinic", "SELECT no_such_function(1)"},
		{"clinic", "SELECT pg_read_file('/etc/passwd')"},
		{"clinic", "SELECT most_common_vals FROM pg_stats WHERE tablename = 'patients'"},
		{"clinic", "SELECT query FROM pg_stat_activity"},
		{"clinic", "SELECT query_to_xml('select * from patients', true, false, '')"},
		{"clinic", "SELECT dblink('host=x', 'select 1')"},
		{"clinic", "SELECT pg_sleep(1)"},
		{"clinic", "SELECT set_config('search_path', 'x', false)"},
		{"clinic", "SELECT lo_import('/etc/passwd')"},
		{"clinic", "COPY patients TO '/tmp/x'"},
		{"clinic", "DO $$ BEGIN END $$"},
		{"clinic", "CREATE TABLE t (a int)"},
		{"clinic", "DROP TABLE patients"},
		{"clinic", "GRANT ALL ON patients TO public"},
		{"clinic", "SET search_path = x"},
		{"clinic", "LOCK TABLE patients"},
		{"clinic", "SELECT 1; SELECT 2"},
		{"clinic", "SELECT FROM WHERE"},
		{"billing", "SELECT nope FROM patients WHERE id = 1"},
		{"billing", "SELECT LOAD_FILE('/etc/passwd')"},
		{"billing", "SELECT SLEEP(1)"},
		{"billing", "SELECT BENCHMARK(1000000, SHA1('x'))"},
		{"billing", "SELECT @@version"},
		{"billing", "SELECT @a := 1"},
		{"billing", "SELECT id /*!90000 , ssn */ FROM patients WHERE id = 1"},
		{"billing", "SELECT id /*M!100000 , ssn */ FROM patients WHERE id = 1"},
		{"billing", "SELECT /*+ MAX_EXECUTION_TIME(1) */ id FROM patients WHERE id = 1"},
		{"billing", "SELECT id FROM patients WHERE id = 1 INTO OUTFILE '/tmp/x'"},
		{"billing", "SELECT User FROM mysql.user"},
		{"billing", "SELECT INFO FROM information_schema.PROCESSLIST"},
		{"billing", "CALL p()"},
		{"billing", "LOAD DATA INFILE '/etc/passwd' INTO TABLE claims"},
		{"billing", "DROP TABLE patients"},
		{"billing", "SELECT 1; SELECT 2"},
	}
	for _, c := range cases {
		t.Run(c.connection+" "+c.statement, func(t *testing.T) {
			a := g.query(t, ask(c.connection, c.statement))
			if a.status < 400 || a.status >= 500 {
				t.Fatalf("status %d: %s", a.status, a.raw)
			}
			problem(t, a, a.status, "")
			if a.str("recording_id") == "" {
				t.Fatalf("the refusal was not recorded: %s", a.raw)
			}
			if strings.Contains(string(a.raw), "passwd") {
				t.Fatalf("the refusal repeats a literal: %s", a.raw)
			}
		})
	}
}

// TestPromise6_RefusalsTeach: an agent can correct itself from what it is told.
func TestPromise6_RefusalsTeach(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		a := problem(t, g.query(t, ask(connection, "SELECT ssnn FROM patients WHERE id = 1")), 422, "sql_unresolved")
		if !strings.Contains(a.str("hint")+a.str("detail"), "ssn") {
			t.Errorf("%s: no proposal for a misspelt column: %s", connection, a.raw)
		}
	}
}

// TestPromise6_ANewTableIsUsableAtOnce: refusing what is unknown must not mean
// forgetting to look.
func TestPromise6_ANewTableIsUsableAtOnce(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		g.env.exec(t, connection, "CREATE TABLE wards (id int PRIMARY KEY, name varchar(40))")
		g.env.exec(t, connection, "INSERT INTO wards VALUES (1, 'North')")
		g.env.exec(t, connection, "GRANT SELECT ON wards TO chaperone_ro")
		a := must(t, g.query(t, ask(connection, "SELECT name FROM wards")), 200)
		if rows := a.rows(); len(rows) != 1 || rows[0][0] != "North" {
			t.Fatalf("%s: %s", connection, a.raw)
		}
		g.env.exec(t, connection, "DROP TABLE wards")
	}
}

// TestPromise6_UnknownFunctionsAreNotTried: functions that the servers have and
// the gateway does not know never reach them.
func TestPromise6_UnknownFunctionsAreNotTried(t *testing.T) {
	g := mainGateway(t)
	g.env.exec(t, "clinic", "CREATE FUNCTION widest() RETURNS text LANGUAGE sql STABLE AS 'SELECT max(ssn) FROM public.patients'")
	g.env.exec(t, "billing", "CREATE FUNCTION widest() RETURNS text READS SQL DATA RETURN (SELECT max(ssn) FROM patients)")
	g.env.exec(t, "billing", "GRANT EXECUTE ON FUNCTION widest TO chaperone_ro")
	for _, connection := range []string{"clinic", "billing"} {
		problem(t, g.query(t, ask(connection, "SELECT widest()")), 422, "sql_not_understood")
		g.env.exec(t, connection, "DROP FUNCTION widest")
	}
	problem(t, g.query(t, ask("clinic", "SELECT int4smaller(1, 2)")), 422, "sql_not_understood") // what no statement needs
}
