package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/configuration.md")

// bad is one change to the example that must be refused. What is said about it
// is in testdata/problems.golden.
type bad struct{ name, old, new string }

func badConfigs(t *testing.T, good, dir string) []bad {
	secret := regexp.MustCompile(`secret_id: \{file: [^}]+\}`).FindString(good)
	key := regexp.MustCompile(`key_file: \S+`).FindString(good)
	certificate := regexp.MustCompile(`cert_file: \S+`).FindString(good)
	tls := regexp.MustCompile(`tls:\n.*\n.*\n`).FindString(good)
	approvals := regexp.MustCompile(`key: \{file: [^}]+approvals.key\}`).FindString(good)
	token := regexp.MustCompile(`token_key: \{file: [^}]+\}`).FindString(good)
	session := regexp.MustCompile(`session_key: \{file: [^}]+\}`).FindString(good)
	auditor := "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	open := file(t, dir, "open", "hunter2", 0o644)
	short := file(t, dir, "short", "hunter2", 0o600)
	_, otherKey := keyPair(t)
	other := file(t, dir, "other.key", otherKey, 0o600)
	return []bad{
		{"unknown key", "instance: gateway-1", "instanze: gateway-1"},
		{"unknown key deep", "bulk_rows: 1000", "bulk_row: 1000"},
		{"unknown key in a list", "value: privacy-office", "valeu: privacy-office"},
		{"raw rows are not kept", "engine: postgres", "engine: postgres\n    keep_raw_rows: true"},
		{"key twice", "instance: gateway-1", "instance: gateway-1\ninstance: x"},
		{"key twice, quoted", "instance: gateway-1", "instance: gateway-1\n\"instance\": x"},
		{"not YAML", "instance: gateway-1", "instance: ["},
		{"tab", "instance: gateway-1", "\tinstance: gateway-1"},
		{"two documents", "instance: gateway-1", "---\na: b\n---\ninstance: gateway-1"},
		{"anchor", "instance: gateway-1", "instance: &a gateway-1"},
		{"merge", "instance: gateway-1", "<<: {instance: gateway-1}"},
		{"tag", "instance: gateway-1", "instance: !!str gateway-1"},
		{"empty value", "instance: gateway-1", "instance:"},
		{"section where a value belongs", "instance: gateway-1", "instance: {name: gateway-1}"},
		{"value where a section belongs", "policy:\n", "log: info\npolicy:\n"},
		{"value where a list belongs", "builtin: [hipaa]", "builtin: hipaa"},
		{"text where a number belongs", "bulk_rows: 1000", "bulk_rows: many"},
		{"fraction where a whole number belongs", "bulk_rows: 1000", "bulk_rows: 10.5"},
		{"text where true or false belongs", certificate, certificate + "\n  terminated_by_proxy: yes"},
		{"instance", "instance: gateway-1", "instance: 'a b'"},
		{"no port", "listen: 0.0.0.0:8443", "listen: 0.0.0.0"},
		{"clear text on the network", tls, ""},
		{"clear text behind a proxy without https", "public_url: https://chaperone.example.org\n" + tls,
			"public_url: http://127.0.0.1\ntls: {terminated_by_proxy: true}\n"},
		{"only a certificate", key, "terminated_by_proxy: false"},
		{"key of another certificate", key, "key_file: " + other},
		{"certificate and proxy", key, key + "\n  terminated_by_proxy: true"},
		{"no certificate there", certificate, "cert_file: /nowhere/tls.crt"},
		{"public URL in clear text", "public_url: https:", "public_url: http:"},
		{"public URL with a slash", "chaperone.example.org\n", "chaperone.example.org/\n"},
		{"log level", "policy:\n", "log: {level: loud, format: xml}\npolicy:\n"},
		{"issuer in clear text", "issuer: https://login.example.org", "issuer: http://login.example.org"},
		{"issuer with password", "https://login.", "https://u:hunter2@login."},
		{"authority without certificates", "audience: chaperone", "audience: chaperone\n  ca_file: " + short},
		{"audience", "audience: chaperone", "audience: ''"},
		{"symmetric algorithm", "audience: chaperone", "audience: chaperone\n  algorithms: [RS256, HS256]"},
		{"algorithm none", "audience: chaperone", "audience: chaperone\n  algorithms: [none]"},
		{"no algorithm", "audience: chaperone", "audience: chaperone\n  algorithms: []"},
		{"skew", "audience: chaperone", "audience: chaperone\n  clock_skew: 1h"},
		{"role", "role: approver", "role: boss"},
		{"grant without value", "value: privacy-office, ", ""},
		{"grant for an unknown connection", "connections: [clinic]", "connections: [clinic, nowhere]"},
		{"session key", session, "session_key: {file: " + short + "}"},
		{"Vault in clear text", "address: https:", "address: http:"},
		{"Vault mount", "  approle:\n", "  approle:\n    mount: ../sys\n"},
		{"inline secret", secret, "secret_id: hunter2"},
		{"inline secret as a key", secret, "secret_id: {hunter2}"},
		{"inline secret under a key", secret, "secret_id: {value: hunter2}"},
		{"inline secret as a variable's name", secret, "secret_id: {env: hunter2}"},
		{"no secret", secret, "secret_id: {}"},
		{"missing secret file", secret, "secret_id: {file: /nowhere/x}"},
		{"unset secret variable", secret, "secret_id: {env: CHAPERONE_TEST_UNSET}"},
		{"file and env", secret, "secret_id: {file: " + short + ", env: Y}"},
		{"secret that others read", secret, "secret_id: {file: " + open + "}"},
		{"secret that is a device", secret, "secret_id: {file: /dev/zero}"},
		{"duration", "expires: 24h", "expires: soon"},
		{"duration without unit", "expires: 24h", "expires: 24"},
		{"negative duration", "expires: 24h", "expires: -1h"},
		{"no duration", "expires: 24h", "expires: 0s"},
		{"days", "retention: 6y", "retention: 30d"},
		{"short retention", "retention: 6y", "retention: 720h"},
		{"very short retention", "store:\n", "store:\n  dir: {path: /x}\n  retention: 1s\nxstore:\n"},
		{"two stores", "store:\n", "store:\n  dir: {path: /x}\n"},
		{"no bucket", "bucket: example-chaperone-evidence", "bucket: ''"},
		{"store in clear text", "region: eu-central-1", "region: eu-central-1\n    endpoint: http://s3.example.org"},
		{"half an access key", "region: eu-central-1", "region: eu-central-1\n    access_key: {file: " + short + "}"},
		{"no auditor", "auditors:\n    - " + auditor, "auditors: []"},
		{"auditor", auditor, "nobody"},
		{"auditors of two kinds", auditor, auditor + "\n    - " + hybrid.Recipient().String()},
		{"witness without TLS", "auditors:\n    - " + auditor, "witnesses: [{url: http://witness.example.org, key: x}]\n  auditors:\n    - " + auditor},
		{"witness without a key", "auditors:\n    - " + auditor, "witnesses: [{url: https://witness.example.org}]\n  auditors:\n    - " + auditor},
		{"key twice, escaped", "instance: gateway-1", "instance: gateway-1\n\"\\x69nstance\": x"},
		{"approval key", approvals, "key: {file: " + short + "}"},
		{"profile", "profile: hipaa-safe-harbor", "profile: none"},
		{"token key", token, "token_key: {file: " + short + "}"},
		{"token key in Vault without a field", token, "token_key: {vault: secret/data/chaperone}"},
		{"token key in two places", token, "token_key: {vault: secret/data/chaperone#token_key, env: TOKEN_KEY}"},
		{"another secret in Vault", secret, "secret_id: {vault: secret/data/chaperone#secret_id}"},
		{"MRN pattern", `'MRN-\d{7}'`, "'('"},
		{"MRN pattern that matches everything", `'MRN-\d{7}'`, "'.*'"},
		{"detector", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  detectors: [ssn, shoe_size]"},
		{"class without a mask", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {badge: {text: x}}"},
		{"class with another mask's option", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes:\n    badge: {mask: redact, last: 4}"},
		{"class with nothing to keep", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {badge: {mask: partial}}"},
		{"class with a band that is too wide", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {born: {mask: age_band, width: 90}}"},
		{"class with a look-up of a coarser value", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {born: {mask: year, lookup: true}}"},
		{"class with a reserved name", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {person: {mask: redact}}"},
		{"class with a name of other letters", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {Badge: {mask: redact}}"},
		{"class without expression", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {badge: {mask: expression}}"},
		{"class with an expression that can fail", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes:\n    badge:\n      mask: expression\n      postgres: left($value::int::text, 2)\n      mysql: left(ssn, 2)"},
		{"class without expression for the engine", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {ssn: {mask: expression, mysql: \"left($value, 2)\"}}"},
		{"class with a program of no text", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  classes: {badge: {mask: cel, cel: value.size()}}"},
		{"class that custom does not define", "profile: hipaa-safe-harbor", "profile: custom\n  classes: {ssn: {mask: partial, last: 4}}"},
		{"a key of masking that there is not", "profile: hipaa-safe-harbor", "profile: hipaa-safe-harbor\n  small_cells: true"},
		{"rule set", "builtin: [hipaa]", "builtin: [gdpr]"},
		{"figure", "bulk_rows: 1000", "bulk_rows: 0"},
		{"CEL: misspelt field", "statement.protected\n", "statement.secret\n"},
		{"CEL: syntax", "statement.protected\n", "statement.protected &&\n"},
		{"CEL: not a condition", "when: now.getHours(\"Europe/Berlin\") < 6 && statement.protected", "when: statement.kind"},
		{"rule effect", "effect: approve", "effect: shrug"},
		{"rule name taken", "name: no-nights", "name: bulk-export"},
		{"rule without message", "      message: Protected tables are read at night only with a person's approval.\n", ""},
		{"rule that waits too long", "effect: approve", "effect: approve\n      expires: 48h"},
		{"engine", "engine: postgres", "engine: oracle"},
		{"host", "host: db.example.org", "host: postgres://db"},
		{"port", "port: 5432", "port: 0"},
		{"port as text", "port: 5432", "port: postgres"},
		{"no database", "    database: clinic\n", ""},
		{"search path", "database: clinic", "database: clinic\n    search_path: []"},
		{"database in clear text", "database: clinic", "database: clinic\n    tls: {mode: off}"},
		{"database TLS mode", "database: clinic", "database: clinic\n    tls: {mode: prefer}"},
		{"issuer of credentials", "issuer: vault,", "issuer: magic,"},
		{"native without administrator", "issuer: vault, read_role: clinic-ro, write_role: clinic-rw", "issuer: native"},
		{"native with Vault's roles", "issuer: vault,", "issuer: native,"},
		{"no read role", "read_role: clinic-ro, ", ""},
		{"short TTL", "issuer: vault,", "issuer: vault, ttl: 1m,"},
		{"class", "public.patients.ssn: ssn", "public.patients.ssn: sssn"},
		{"column", "public.patients.ssn: ssn", "ssn: ssn"},
		{"connection name", "  clinic:\n", "  Clinic!:\n"},
		{"limits", "policy:\n", "limits: {rows: 10, max_rows: 5, max_timeout: 2h, body: 1GiB}\npolicy:\n"},
		{"size", "policy:\n", "limits: {bytes: 4MB}\npolicy:\n"},
		{"forward without a folder", "approvals:\n", "  forward: [{name: siem, type: syslog, address: 'logs.example.org:6514'}]\napprovals:\n"},
		{"forward: everything wrong", "approvals:\n", "  forward_state: /x\n  forward:\n    - {name: 'a b', type: smoke, url: 'http://logs.example.org', scope: world, " +
			"max_records: 0, max_bytes: 1GiB, since: yesterday}\n    - {name: b, type: hec, url: 'https://u:hunter2@x'}\napprovals:\n"},
		{"forward: of another type", "approvals:\n", "  forward_state: /x\n  forward:\n    - name: a\n      type: syslog\n      url: https://logs.example.org\n" +
			"      secret: {file: " + short + "}\n      index: main\n    - name: a\n      type: otlp\n      address: logs.example.org:6514\napprovals:\n"},
		{"forward: in clear text", "approvals:\n", "  forward_state: /x\n  forward:\n    - {name: a, type: otlp, url: 'http://127.0.0.1:4318/v1/logs'}\n" +
			"    - {name: b, type: syslog, address: 'logs.example.org:6514', insecure: true}\n" +
			"    - {name: c, type: otlp, url: 'https://logs.example.org', insecure: true, tls: {cert_file: /nowhere/x}}\napprovals:\n"},
		{"forward: no key to sign with", "approvals:\n", "  forward_state: /x\n  forward:\n    - {name: a, type: webhook, url: 'https://x', secret: {file: " + short + "}}\n" +
			"    - {name: b, type: hec, url: 'https://x', secret: hunter2}\napprovals:\n"},
		{"many at once", "instance: gateway-1\nlisten: 0.0.0.0:8443", "instance: A\nlisten: x\nfoo: 1\nbar: 2"},
	}
}

// TestWhatIsWrongIsSaid: each change of the example is found, at its line, in
// words that lead to the fix, without repeating a secret.
func TestWhatIsWrongIsSaid(t *testing.T) {
	dir := t.TempDir()
	good := example(t, dir)
	var out strings.Builder
	out.WriteString("# What config says about each bad change of deploy/chaperone.example.yaml.\n")
	seen := map[string]bool{}
	for _, c := range badConfigs(t, good, dir) {
		if !strings.Contains(good, c.old) || c.old == "" || seen[c.name] {
			t.Fatalf("%s: the example has no %q, or the name is taken", c.name, c.old)
		}
		seen[c.name] = true
		_, err := Parse("x.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is repeated: %v", c.name, err)
		}
		fmt.Fprintf(&out, "\n## %s\n%s\n", c.name, strings.ReplaceAll(err.Error(), dir, "$DIR"))
	}
	golden(t, filepath.Join("testdata", "problems.golden"), out.String())
}

// golden compares with a file, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d:\n got %s\nwant %s\n(go test ./config -update rewrites it)", path, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d (go test ./config -update rewrites it)", path, len(gotLines), len(wantLines))
}
