package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

var deployed = filepath.Join("..", "..", "deploy")

// offline are the flags of a test without any server or secret.
func offline(words ...string) []string {
	return append(words, "--config", filepath.Join(deployed, "chaperone.example.yaml"),
		"--catalog", filepath.Join(deployed, "policy-tests", "clinic.catalog.json"))
}

func TestPolicyTest(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	text := "connection: clinic\nnow: 2026-11-24T12:00:00Z\nstatements:\n  - name: all\n    statement: SELECT id FROM patients\n    expect: {decision: allow}\n"
	if err := os.WriteFile(wrong, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{offline("policy", "test", filepath.Join(deployed, "policy-tests", "hipaa.yaml")), exitOK, "statements are as expected"},
		{offline("policy", "test", wrong), exitFindings, "wrong.yaml:4: all\n    SELECT id FROM patients\n  - decision: expected allow, but it is approve"},
		{offline("policy", "test", "--json", wrong), exitFindings, `"failed": 1`},
		{offline("policy", "test", "nothing.yaml"), exitFailed, "no such file"},
		{offline("policy", "test"), exitFailed, "which file"},
		{[]string{"policy", "test", wrong, "--config", wrong}, exitFailed, "there is no such key here"},
		{[]string{"policy", "fly"}, exitFailed, "there are explain and test"},
		{offline("policy", "explain", "--connection", "clinic", "SELECT ssn FROM patients WHERE id = 1"), exitOK, "masked: redact"},
		{offline("policy", "explain", "--connection", "clinic", "DROP TABLE patients"), exitOK, "no-ddl: Changing the schema"},
		{offline("policy", "explain", "--connection", "clinic", "--json", "SELECT zip FROM patients LIMIT 5"), exitOK, `"mask": "zip3"`},
		{offline("policy", "explain", "--connection", "clinic", "SELECT nope FROM patients"), exitFindings, "sql_unresolved"},
		{offline("policy", "explain", "--connection", "other", "SELECT 1"), exitFailed, `no connection "other"`},
		{offline("policy", "explain", "--connection", "clinic"), exitFailed, "give one statement"},
	} {
		var out bytes.Buffer
		if exit := run(t.Context(), c.args, &out, &out); exit != c.exit || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q ends with %d, not %d, and says\n%s", c.args, exit, c.exit, out.String())
		}
	}
}

// TestExplainInput: a statement with identifiers need not be on the command line.
func TestExplainInput(t *testing.T) {
	for _, c := range []struct {
		args  []string
		input string
	}{
		{offline("explain", "--connection", "clinic", "-"), "SELECT id FROM patients WHERE mrn = 'MRN-0000997'"},
		{offline("explain", "--request", "-"), `{"connection": "clinic", "statement": "SELECT id FROM patients WHERE mrn = $1", "parameters": ["MRN-0000997"]}`},
	} {
		var out bytes.Buffer
		err := policyCommand(t.Context(), c.args, strings.NewReader(c.input), &out)
		if err != nil || !strings.Contains(out.String(), "lookup") {
			t.Errorf("%q: %v\n%s", c.args, err, out.String())
		}
	}
}

// liveConfig writes a configuration for a live database of an engine.
func liveConfig(t *testing.T, engine string) string {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	var (
		db  *testenv.Database
		err error
	)
	if engine == "postgres" {
		db = testenv.Postgres(t)
		err = testenv.SeedPostgres(t.Context(), db, clinicdata.Tables(100, 0), "vaultpw")
	} else {
		db = testenv.MariaDB(t)
		err = testenv.SeedMariaDB(t.Context(), db, clinicdata.Tables(100, 0), "vaultpw")
	}
	signing, _, err1 := evidence.GenerateSigner("test")
	identity, recipient, err2 := evidence.GenerateIdentity(false)
	errs := []error{err, err1, err2}
	for name, secret := range map[string]string{"signing": signing.Reveal(), "age": identity.Reveal(), "token": strings.Repeat("ab", 32),
		"admin": db.AdminPassword} {
		errs = append(errs, os.WriteFile(path(name), []byte(secret), 0o600))
	}
	text := fmt.Sprintf(`instance: test
listen: 127.0.0.1:0
public_url: http://127.0.0.1:8080
identity: {issuer: "http://127.0.0.1:9", audience: chaperone, roles_claim: roles}
store: {dir: {path: %s}, retention: 24h}
evidence: {signing_key: {file: %s}, auditors: [%s]}
approvals: {key: {file: %s}}
masking: {token_key: {file: %s}, mrn_pattern: 'MRN-\d{7}'}
connections:
  clinic:
    engine: %s
    host: 127.0.0.1
    port: %d
    database: %s
    tls: {mode: "off"}
    credentials: {issuer: native, admin_user: %s, admin_password: {file: %s}, read_group: chaperone_ro}
`, path("store"), path("signing"), recipient, path("age"), path("token"), engine, db.Port, db.Name, db.AdminUser, path("admin"))
	if err := errors.Join(append(errs, os.WriteFile(path("chaperone.yaml"), []byte(text), 0o600))...); err != nil {
		t.Fatal(err)
	}
	return path("chaperone.yaml")
}

// TestLive goes the way of an operator: classify, put the proposal into the
// configuration, save the catalog, explain with and without it.
func TestLive(t *testing.T) {
	for _, engine := range []string{"postgres", "mysql"} {
		t.Run(engine, func(t *testing.T) {
			file := liveConfig(t, engine)
			dir := filepath.Dir(file)
			proposal, catalog := filepath.Join(dir, "columns.yaml"), filepath.Join(dir, "catalog.json")
			do := func(args ...string) string {
				t.Helper()
				var out bytes.Buffer
				if exit := run(t.Context(), append(args, "--config", file, "--connection", "clinic"), &out, &out); exit != exitOK {
					t.Fatalf("%q ends with %d: %s", args, exit, out.String())
				}
				return out.String()
			}
			do("classify", "--out", proposal)
			text, err := os.ReadFile(proposal)
			if err != nil {
				t.Fatal(err)
			}
			var read struct {
				Columns map[string]string `yaml:"columns"`
			}
			if err := yaml.Unmarshal(text, &read); err != nil || len(read.Columns) != 15 {
				t.Fatalf("%v: %d columns are proposed in\n%s", err, len(read.Columns), text)
			}
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range strings.Split(string(text), "\n") {
				whole = append(whole, "    "+l+"\n"...)
			}
			if err := os.WriteFile(file, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(file); err != nil {
				t.Fatal(err)
			}
			if out := do("classify", "--previous", proposal); !strings.Contains(out, "# Since the previous file:\n#   nothing") {
				t.Errorf("classifying again says\n%s", out)
			}
			do("catalog", "save", "--out", catalog)
			const statement = "SELECT id, ssn, zip, drug FROM patients JOIN medications USING (id) WHERE medications.id = 3"
			live := do("policy", "explain", statement)
			saved := do("policy", "explain", statement, "--catalog", catalog)
			// The proposal left patients.id a comment: it is redacted, so the key of the join is.
			for _, out := range []string{live, saved} {
				if !strings.Contains(out, "unclassified") {
					t.Errorf("an undecided column is not said to be one:\n%s", out)
				}
			}
			if !strings.Contains(live, "column") || !strings.Contains(live, "ssn masked: redact") || !strings.Contains(saved, "ssn masked: redact") {
				t.Errorf("live\n%s\nsaved\n%s", live, saved)
			}
		})
	}
}
