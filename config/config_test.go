package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/policy"
)

// example returns the shipped example, with the files that it names made in dir.
func example(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/chaperone.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	contents["tls.crt"], contents["tls.key"] = keyPair(t)
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	contents["approvals.key"] = identity.String()
	named := regexp.MustCompile(`/(run/secrets|etc/chaperone)/[a-z.-]+`)
	return named.ReplaceAllStringFunc(string(text), func(p string) string {
		content, ok := contents[filepath.Base(p)]
		if !ok {
			content = strings.Repeat("ab", 32)
		}
		return file(t, dir, filepath.Base(p), content, 0o600)
	})
}

func file(t testing.TB, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// keyPair makes a certificate and its key.
func keyPair(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

func TestExampleLoads(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Load(file(t, dir, "chaperone.yaml", example(t, dir), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	conn := cfg.Connections["clinic"]
	if time.Duration(cfg.Store.Retention) != 6*Year || cfg.Limits.Rows != 1000 || conn.MaxSessions != 32 ||
		conn.TLS.Mode != "verify-full" || conn.SearchPath[0] != "public" || cfg.Vault.AppRole.Mount != "approle" ||
		time.Duration(conn.Credentials.TTL) != 10*time.Minute {
		t.Errorf("defaults are not as documented: %+v", cfg)
	}
	if c, err := conn.Classification(&cfg.Masking); err != nil || c.Version() == "" {
		t.Error(err)
	}
	rules, err := cfg.Rules()
	if err != nil || len(rules) != len(policy.HIPAA(policy.DefaultFigures()))+1 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
}

// TestAnExplicitZeroIsNoDefault: what is written counts, also where it is zero.
func TestAnExplicitZeroIsNoDefault(t *testing.T) {
	text := strings.Replace(example(t, t.TempDir()), "  profile: hipaa", "  lookups_per_hour: 0\n  profile: hipaa", 1)
	text = strings.Replace(text, "  audience:", "  clock_skew: 0s\n  audience:", 1)
	cfg, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Masking.LookupsPerHour != 0 || cfg.Identity.ClockSkew != 0 {
		t.Errorf("%d look-ups, skew %v", cfg.Masking.LookupsPerHour, time.Duration(cfg.Identity.ClockSkew))
	}
}

func TestMySQLColumns(t *testing.T) {
	c := &Connection{Engine: "mysql", Database: "billing",
		Columns: map[string]string{"patients.ssn": "ssn", "archive.patients.zip": "zip"}}
	classes, err := c.Classification(&Masking{Profile: "hipaa-safe-harbor"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"patients.ssn": "ssn", "billing.patients.ssn": "ssn", "archive.patients.zip": "zip",
	} {
		ref, err := c.column(name)
		if class, ok := classes.Class(ref); err != nil || !ok || class.Name != want {
			t.Errorf("%s: %v, %v", name, class, err)
		}
	}
	c.Columns["billing.patients.ssn"] = "name"
	if _, err := c.Classification(&Masking{Profile: "hipaa-safe-harbor"}); err == nil {
		t.Error("a column with two classes was accepted")
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "6y": 6 * 8766 * time.Hour, "0s": 0,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "30", "-1s", "6.5y", "-6y", "999y", "1e3s", "y", "30d"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a duration: %v", text, time.Duration(d))
		}
	}
	for text, want := range map[string]Size{"1": 1, "64KiB": 64 << 10, "4 MiB": 4 << 20, "2GiB": 2 << 30} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "4MB", "1.5MiB", "9999999999999", "MiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a size: %v", text, s)
		}
	}
}

func TestSecretsAreReadFromOrdinaryFilesOnly(t *testing.T) {
	dir := t.TempDir()
	good := file(t, dir, "good", " s3cret\n", 0o400)
	link := filepath.Join(dir, "link") // as Kubernetes mounts secrets
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{good, link, file(t, dir, "group", "s3cret", 0o440)} {
		if s, err := (SecretRef{File: path}).Resolve(); err != nil || s.Reveal() != "s3cret" {
			t.Errorf("%s: %v", path, err)
		}
	}
	for name, ref := range map[string]SecretRef{
		"device": {File: "/dev/zero"}, "directory": {File: dir}, "none": {}, "missing": {File: filepath.Join(dir, "none")},
		"empty": {File: file(t, dir, "empty", " \n", 0o600)}, "world": {File: file(t, dir, "world", "s3cret", 0o604)},
		"writable": {File: file(t, dir, "writable", "s3cret", 0o620)}, "both": {File: good, Env: "HOME"},
		"large": {File: file(t, dir, "large", strings.Repeat("s3cret", maxSecret), 0o600)}, "unset": {Env: "CHAPERONE_TEST_UNSET"},
	} {
		if s, err := ref.Resolve(); err == nil || s != "" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("CHAPERONE_TEST_SECRET", "s3cret\n")
	if s, err := (SecretRef{Env: "CHAPERONE_TEST_SECRET"}).Resolve(); err != nil || s.Reveal() != "s3cret" {
		t.Errorf("%v", err)
	}
}

// FuzzParse is best run with -fuzzminimizetime 5x: making the example smaller
// would otherwise take all the time there is.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("../deploy/chaperone.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, s := range []string{
		"a: &x [*x]", "connections: {a: {columns: {a.b.c: d}}}", "- 1", "vault:\n", "? a\n: b", "a: !!x b", "a: |\n  b",
	} {
		f.Add([]byte(s))
	}
	place := regexp.MustCompile(`^f:\d+:\d+: .`)
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse("f", text)
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error")
		}
		var problems Problems
		if errors.As(err, &problems) {
			for _, p := range problems {
				if !place.MatchString(p) {
					t.Fatalf("no place: %q", p)
				}
			}
		} else if err != nil {
			t.Fatalf("not Problems: %v", err)
		}
	})
}
