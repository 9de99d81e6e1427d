package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example returns the shipped example with its files in a temporary place.
func example(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/chaperone.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return regexp.MustCompile(`/(run/secrets|etc/chaperone)/[a-z.-]+`).ReplaceAllStringFunc(string(text), func(p string) string {
		path := filepath.Join(dir, filepath.Base(p))
		if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	})
}

func TestExampleLoads(t *testing.T) {
	cfg, err := Parse("example.yaml", []byte(example(t)))
	if err != nil {
		t.Fatal(err)
	}
	if time.Duration(cfg.Store.Retention) != 6*year || cfg.Limits.Rows != 1000 || cfg.Connections["clinic"].MaxSessions != 32 {
		t.Errorf("%+v", cfg)
	}
	conn := cfg.Connections["clinic"]
	if c, err := conn.Classification(cfg.Masking.Profile); err != nil || c.Version() == "" {
		t.Error(err)
	}
}

// TestWhatIsWrongIsSaid: each change of the example is found, at its line, with
// words that lead to the fix.
func TestWhatIsWrongIsSaid(t *testing.T) {
	good := example(t)
	secret := regexp.MustCompile(`secret_id: \{file: [^}]+\}`).FindString(good)
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "instance: gateway-1", "instanze: gateway-1", "instanze"},
		{"unknown key deep", "bulk_rows: 1000", "bulk_row: 1000", "bulk_row"},
		{"key twice", "instance: gateway-1", "instance: gateway-1\ninstance: x", "instance"},
		{"not YAML", "instance: gateway-1", "instance: [", "example.yaml:"},
		{"instance", "instance: gateway-1", "instance: 'a b'", "instance: name this gateway"},
		{"no port", "listen: 0.0.0.0:8443", "listen: 0.0.0.0", "listen: write host:port"},
		{"clear text on the network", "tls:\n  cert_file", "log:\n  level: info\nx_tls:\n  cert_file", "x_tls"},
		{"only a certificate", "key_file:", "#", "go together"},
		{"public URL", "public_url: https:", "public_url: http:", "public_url: must be https"},
		{"issuer", "issuer: https://login.example.org", "issuer: http://login.example.org", "identity.issuer: must be https"},
		{"issuer with password", "https://login.", "https://u:p@login.", "without user or password"},
		{"audience", "audience: chaperone", "audience: ''", "identity.audience"},
		{"symmetric algorithm", "audience: chaperone", "audience: chaperone\n  algorithms: [HS256]", "no asymmetric"},
		{"none", "audience: chaperone", "audience: chaperone\n  algorithms: [none]", "no asymmetric"},
		{"skew", "audience: chaperone", "audience: chaperone\n  clock_skew: 1h", "at most 5m"},
		{"duration", "expires: 24h", "expires: soon", "is no duration"},
		{"negative duration", "expires: 24h", "expires: -1h", "is no duration"},
		{"retention", "retention: 6y", "retention: 30d", "is no duration"},
		{"short retention", "retention: 6y", "retention: 720h", "at least 6y"},
		{"role", "role: approver", "role: boss", "none of agent, approver, auditor"},
		{"grant for an unknown connection", "connections: [clinic]", "connections: [nowhere]", "no connection \"nowhere\""},
		{"inline secret", secret, "secret_id: hunter2", "example.yaml:"},
		{"missing secret file", secret, "secret_id: {file: /nowhere/x}", "vault.approle.secret_id"},
		{"unset secret variable", secret, "secret_id: {env: CHAPERONE_TEST_UNSET}", "empty or not set"},
		{"file and env", secret, "secret_id: {file: /x, env: Y}", "not both"},
		{"secret that others read", secret, "secret_id: {file: " + open + "}", "chmod 600"},
		{"two stores", "store:\n", "store:\n  dir: {path: /x}\n", "either s3 or dir"},
		{"no bucket", "bucket: example-chaperone-evidence", "bucket: ''", "needs bucket and region"},
		{"no auditor", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "nobody", "no age recipient"},
		{"profile", "profile: hipaa-safe-harbor", "profile: none", "masking.profile"},
		{"MRN pattern", `'MRN-\d{7}'`, "'('", "MRN pattern"},
		{"rule set", "builtin: [hipaa]", "builtin: [gdpr]", "no built-in rule set"},
		{"CEL", "statement.protected\n", "statement.secret\n", "no-nights"},
		{"rule effect", "effect: approve", "effect: shrug", "none of allow, approve, deny"},
		{"engine", "engine: postgres", "engine: oracle", "neither postgres nor mysql"},
		{"port", "port: 5432", "port: 0", "needs host, port and database"},
		{"database TLS", "database: clinic", "database: clinic\n    tls: {mode: 'off'}", "off is for loopback"},
		{"database TLS mode", "database: clinic", "database: clinic\n    tls: {mode: prefer}", "neither verify-full nor off"},
		{"issuer of credentials", "issuer: vault,", "issuer: magic,", "neither vault nor native"},
		{"no read role", "read_role: clinic-ro, ", "", "read_role"},
		{"short TTL", "issuer: vault,", "issuer: vault, ttl: 1m,", "longer than limits.max_timeout"},
		{"class", "public.patients.ssn: ssn", "public.patients.ssn: sssn", "no class \"sssn\""},
		{"column", "public.patients.ssn: ssn", "ssn: ssn", "write schema.table.column"},
		{"connection name", "  clinic:\n", "  Clinic!:\n", "small letters"},
		{"limits", "policy:\n", "limits: {rows: 10, max_rows: 5}\npolicy:\n", "at most max_rows"},
		{"size", "policy:\n", "limits: {bytes: many}\npolicy:\n", "is no size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the example has no %q", c.old)
			}
			_, err := Parse("example.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
			var problems Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if !regexp.MustCompile(`^example\.yaml:\d+:\d+: `).MatchString(problems[0]) {
				t.Errorf("no place: %s", problems[0])
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is repeated: %v", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	bad := strings.NewReplacer("instance: gateway-1", "instance: ''", "audience: chaperone", "audience: ''").Replace(example(t))
	_, err := Parse("x.yaml", []byte(bad))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 {
		t.Fatalf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("../deploy/chaperone.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse("f", text)
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error")
		}
	})
}
