package rehearsal

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

var update = flag.Bool("update", false, "save the catalog of deploy/policy-tests again")

var (
	example       = filepath.Join("..", "..", "deploy", "chaperone.example.yaml")
	sampleSuite   = filepath.Join("..", "..", "deploy", "policy-tests", "hipaa.yaml")
	sampleCatalog = filepath.Join("..", "..", "deploy", "policy-tests", "clinic.catalog.json")
)

// clinic is a live database of one engine, with the clinic in it, and its
// connection for a configuration.
func clinic(t *testing.T, engine string, more ...string) (config.Connection, connectors.Catalog) {
	t.Helper()
	var (
		db  *testenv.Database
		e   connectors.Engine
		err error
	)
	tables := clinicdata.Tables(50, 0)
	c := config.Connection{Engine: engine, Columns: map[string]string{}, MaxSessions: 4}
	prefix := ""
	if engine == "postgres" {
		db, e, prefix = testenv.Postgres(t), postgres.New(), "public."
		err = testenv.SeedPostgres(t.Context(), db, tables, "vaultpw")
		c.SearchPath = []string{"public"}
	} else {
		db, e = testenv.MariaDB(t), mysql.New()
		err = testenv.SeedMariaDB(t.Context(), db, tables, "vaultpw")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range more {
		execute(t, engine, db, statement)
	}
	c.Host, c.Port, c.Database = db.Host, db.Port, db.Name
	for name, class := range clinicdata.Decided() {
		c.Columns[prefix+name] = class
	}
	t.Setenv("REHEARSAL_PASSWORD", db.AdminPassword)
	c.Credentials = config.Credentials{Issuer: "native", AdminUser: db.AdminUser, ReadGroup: "chaperone_ro",
		AdminPassword: &config.SecretRef{Env: "REHEARSAL_PASSWORD"}, TTL: config.Duration(10 * time.Minute)}
	session, err := e.Connect(t.Context(), connectors.Target{Host: c.Host, Port: c.Port, Database: c.Database, SearchPath: c.SearchPath,
		ConnectTimeout: 5 * time.Second}, connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(context.Background())
	cat, err := session.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, cat
}

func execute(t *testing.T, engine string, db *testenv.Database, statement string) {
	t.Helper()
	if engine == "postgres" {
		conn, err := pgx.Connect(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := db.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func exampleConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.LoadOffline(example)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func runSuite(t *testing.T, stage *Stage, suite *Suite) []Result {
	t.Helper()
	results, err := stage.Run(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Passed {
			var b bytes.Buffer
			PrintFailure(&b, "suite", &r)
			t.Errorf("%s%s", b.String(), r.Text)
		}
	}
	return results
}

// TestSample runs the sample that is shipped, offline, and sees that it has a
// statement for every built-in rule.
func TestSample(t *testing.T) {
	if *update {
		_, cat := clinic(t, "postgres")
		var b bytes.Buffer
		if err := SaveCatalog(&b, "clinic", exampleConfig(t).Connections["clinic"], cat); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sampleCatalog, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stage, err := New(exampleConfig(t), []string{sampleCatalog})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sampleSuite)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := ParseSuite(sampleSuite, text)
	if err != nil {
		t.Fatal(err)
	}
	runSuite(t, stage, suite)
	if len(suite.Statements) < 40 {
		t.Errorf("only %d statements", len(suite.Statements))
	}
	// The engines refuse what these rules would deny.
	named := map[string]bool{"write-in-query": true, "row-locks": true}
	for _, c := range suite.Statements {
		named[c.Expect.Rule] = true
	}
	for _, rule := range policy.HIPAA(policy.DefaultFigures()) {
		if !named[rule.Name] {
			t.Errorf("no statement expects the rule %s", rule.Name)
		}
	}
}

// TestLiveAndSaved tries the same statements on a live database of each engine
// and on its saved catalog.
func TestLiveAndSaved(t *testing.T) {
	const statements = `
connection: clinic
now: 2026-11-24T12:00:00Z
statements:
  - {statement: "SELECT id, ssn, zip FROM patients WHERE id = 7", expect: {decision: allow, rule: read, masks: {ssn: redact, zip: zip3}}}
  - {statement: SELECT id FROM patients, expect: {decision: approve, rule: bulk-export, masks: {}}}
  - {statement: SELECT id FROM patients WHERE ssn = '900-00-0000', expect: {decision: approve, rule: protected-predicate}}
  - {statement: DELETE FROM claims WHERE id = 1, expect: {decision: approve, rule: write}}
  - {statement: DROP TABLE claims, expect: {decision: deny, rule: no-ddl, code: denied_by_policy}}
  - {statement: SELECT ssnn FROM patients, expect: {decision: refused, code: sql_unresolved}}
  - {statement: "SELECT payer FROM claims WHERE id = :n", parameters: {n: 3}, expect: {decision: allow, masks: {}}}
`
	for _, engine := range []string{"postgres", "mysql"} {
		t.Run(engine, func(t *testing.T) {
			cfg := exampleConfig(t)
			conn, cat := clinic(t, engine)
			cfg.Connections = map[string]config.Connection{"clinic": conn}
			path := filepath.Join(t.TempDir(), "catalog.json")
			var b bytes.Buffer
			if err := SaveCatalog(&b, "clinic", conn, cat); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			var texts [][]string
			for _, catalogs := range [][]string{nil, {path}} {
				stage, err := New(cfg, catalogs)
				if err != nil {
					t.Fatal(err)
				}
				suite, err := ParseSuite("suite", []byte(statements))
				if err != nil {
					t.Fatal(err)
				}
				var list []string
				for _, r := range runSuite(t, stage, suite) {
					list = append(list, r.Decision+" "+r.Text)
				}
				texts = append(texts, list)
				if err := stage.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(texts[0], texts[1]) {
				t.Errorf("live and saved differ\n%q\n%q", texts[0], texts[1])
			}
		})
	}
}

// TestUndecided: a column that nobody decided about is redacted, in what rows
// show and in what a view makes of it; other tables stay as they are.
func TestUndecided(t *testing.T) {
	const statements = `
connection: clinic
now: 2026-11-24T12:00:00Z
statements:
  - {statement: "SELECT id, provider FROM encounters WHERE id = 7", expect: {decision: allow, masks: {provider: redact}}}
  - {statement: "SELECT upper(provider) AS p, 1 AS one FROM encounters WHERE id = 7", expect: {decision: allow}}
  - {statement: SELECT id FROM encounters WHERE provider = 'Ward A', expect: {decision: approve, rule: protected-predicate}}
  - {statement: SELECT drug FROM medications WHERE id = 7, expect: {decision: allow, masks: {}}}
  - {statement: "SELECT id, provider, shout, drug FROM seen WHERE id = 7", expect: {decision: allow, masks: {provider: redact, shout: redact}}}
  - {statement: "SELECT id, added, twice FROM encounters WHERE id = 7", expect: {decision: allow, masks: {added: redact, twice: redact}}}
`
	for _, engine := range []string{"postgres", "mysql"} {
		t.Run(engine, func(t *testing.T) {
			cfg := exampleConfig(t)
			conn, cat := clinic(t, engine, "ALTER TABLE encounters ADD COLUMN added varchar(40)",
				"ALTER TABLE encounters ADD COLUMN twice int GENERATED ALWAYS AS (2 * id) STORED",
				"CREATE VIEW seen AS SELECT e.id, provider, upper(provider) AS shout, drug FROM encounters e JOIN medications m ON m.id = e.id")
			for _, prefix := range []string{"public.", ""} {
				delete(conn.Columns, prefix+"encounters.provider")
				for _, name := range []string{"id", "patient_id", "drug", "dose"} {
					delete(conn.Columns, prefix+"medications."+name)
				}
			}
			cfg.Connections = map[string]config.Connection{"clinic": conn}
			path := filepath.Join(t.TempDir(), "catalog.json")
			var b bytes.Buffer
			if err := SaveCatalog(&b, "clinic", conn, cat); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			stage, err := New(cfg, []string{path})
			if err != nil {
				t.Fatal(err)
			}
			suite, err := ParseSuite("suite", []byte(statements))
			if err != nil {
				t.Fatal(err)
			}
			runSuite(t, stage, suite)
		})
	}
}

// TestExpectations: what is not as expected is found, and said.
func TestExpectations(t *testing.T) {
	stage, err := New(exampleConfig(t), []string{sampleCatalog})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ entry, want string }{
		{"statement: SELECT id FROM patients WHERE id = 1, expect: {decision: deny}", "decision: expected deny, but it is allow"},
		{"statement: SELECT id FROM patients, expect: {decision: approve, rule: read}", "rule: expected read, but it is bulk-export"},
		{"statement: SELECT ssn FROM patients WHERE id = 1, expect: {decision: allow, masks: {}}", "masks: ssn: expected none, but it is redact"},
		{"statement: SELECT id FROM patients WHERE id = 1, expect: {decision: allow, masks: {ssn: redact}}", "masks: ssn: the result has no such column"},
		{"statement: SELECT id FROM patients WHERE id = 1, expect: {decision: allow, masks: {id: redact}}", "masks: id: expected redact, but it is none"},
		{"statement: SELECT 1, expect: {decision: allow, text: SELECT 2}", "text: expected SELECT 2, but it is SELECT 1"},
		{"statement: SELECT x FROM patients, expect: {decision: refused, code: sql_syntax}", "code: expected sql_syntax, but it is sql_unresolved"},
		{"statement: SELECT 1, expect: {decision: allow, notes: [generalised]}", `notes: there is none with "generalised"`},
		{"statement: SELECT 1, parameters: [1], expect: {decision: allow}", "decision: expected allow, but it is refused (the statement uses 0 parameters, 1 were given)"},
	} {
		suite, err := ParseSuite("suite", []byte("connection: clinic\nnow: 2026-11-24T12:00:00Z\nstatements: [{"+c.entry+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		results, err := stage.Run(t.Context(), suite)
		if err != nil {
			t.Fatal(err)
		}
		if got := results[0].Wrong; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s\n got %q\nwant %q", c.entry, got, c.want)
		}
	}
}

func TestParseSuite(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "there are no statements"},
		{"statements: [{statement: SELECT 1, expect: {decision: allow}}]", "suite:1: name the connection"},
		{"connection: c\nstatements:\n  - statement: SELECT 1\n    expect: {decision: maybe}", "suite:3: expect.decision must be"},
		{"connection: c\nstatements:\n  - statement: SELECT 1\n    expects: {decision: allow}", "expects"},
		{"connection: c\nstatements:\n  - {statement: SELECT 1, principal: {roles: [root]}, expect: {decision: allow}}", "there is no role"},
	} {
		if _, err := ParseSuite("suite", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, expected %s", c.text, err, c.want)
		}
	}
}
