package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/s3"
)

// auditorConfig writes an auditor's own configuration: an identity of the store that
// can read, hold and extend, and a signing key that the gateway's verifiers know.
func (g *gatewayProcess) auditorConfig(t *testing.T) (config string) {
	t.Helper()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	public := g.cli(t, 0, "keys", "signing", "--name", "auditor-audrey", "--out", path("auditor.key"))
	keys := string(read(t, g.keys)) + public
	change(t, g.keys, func([]byte) []byte { return []byte(keys) })

	server := g.env.servers.S3
	gatewayUser, auditorUser := testenv.S3User(t, server, "gateway"), testenv.S3User(t, server, "auditor")
	testenv.S3Policy(t, server, string(read(t, "../../deploy/s3-bucket-policy.json")), "PREFIX", g.name+"/",
		"GATEWAY", gatewayUser.AccessKey, "AUDITOR", auditorUser.AccessKey)
	recipient := strings.TrimSpace(string(read(t, filepath.Join(filepath.Dir(g.config), "auditor.pub"))))
	for name, text := range map[string]string{"access": auditorUser.AccessKey, "secret": auditorUser.SecretKey, "chaperone.yaml": fmt.Sprintf(`store:
  s3: {endpoint: "%s", region: %s, bucket: %s, path_style: true, prefix: %s/, access_key: {file: %s}, secret_key: {file: %s}}
  retention: 24h
evidence:
  signing_key: {file: %s}
  verifier_keys: %s
  auditors: [%s]
`, server.Endpoint, server.Region, server.Bucket, g.name, path("access"), path("secret"), path("auditor.key"), g.keys, recipient)} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path("chaperone.yaml")
}

// locks gives the lock of every object of the gateway, as the administrator sees it.
func (g *gatewayProcess) locks(t *testing.T) map[string]worm.Lock {
	t.Helper()
	o := g.env.servers.S3
	store, err := s3.New(t.Context(), s3.Config{Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket, Prefix: g.name + "/", PathStyle: true,
		Retention: time.Hour, AccessKey: o.AccessKey, SecretKey: masking.Secret(o.SecretKey)})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]worm.Lock{}
	var keys []string
	if err := store.List(t.Context(), "", "", func(e worm.Entry) bool { keys = append(keys, e.Key); return true }); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if all[key], err = store.Lock(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestPromise5_HoldAndExtend: an auditor with his own identity holds a session's
// evidence and keeps a period longer; the store itself says so of each object, and
// the acts are evidence that verifies.
func TestPromise5_HoldAndExtend(t *testing.T) {
	g := freshGateway(t, false, false)
	auditor := g.auditorConfig(t)
	direct := must(t, g.query(t, lookUp("clinic")), 200).str("query_id")
	q := bulk("clinic")
	q["session_id"] = "chain-clinic"
	approved := g.pending(t, q)
	must(t, g.decide(t, g.env.approver, approved, "approve"), 200)
	must(t, g.claim(t, approved), 200)
	other := must(t, g.query(t, lookUp("billing")), 200).str("query_id")
	for _, id := range []string{direct, approved, other} {
		g.chain(t, id)
	}

	const reason = "matter 4711, patient Example"
	out := g.cli(t, 0, "evidence", "hold", "--config", auditor, "--session", "chain-clinic", "--reason", reason)
	t.Log(out)
	held := 0
	for key, lock := range g.locks(t) {
		// What a record of the session is in, its approval, and the order itself.
		want := strings.Contains(key, approved) || strings.HasPrefix(key, "evidence/holds/") && !strings.HasSuffix(key, ".done")
		if want && !lock.Hold {
			t.Errorf("%s is not held", key)
		}
		if lock.Hold {
			held++
		}
	}
	for _, id := range []string{direct, approved} {
		if n := g.heldSegments(t, id); n == 0 {
			t.Errorf("no segment of %s is held", id)
		}
	}
	if n := g.heldSegments(t, other); n > 0 {
		t.Errorf("%d segments of another session are held", n)
	}
	again := g.cli(t, 0, "evidence", "hold", "--config", auditor, "--session", "chain-clinic", "--reason", reason)
	if !strings.Contains(again, "nothing was left to do") || !strings.Contains(again, " 0 held now") {
		t.Errorf("the second hold: %s", again)
	}

	// Extending what was recorded until now, by far more than the configured day.
	to := time.Now().Add(10 * 24 * time.Hour).UTC().Truncate(24 * time.Hour)
	period := []string{"evidence", "extend", "--config", auditor, "--since", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		"--until", time.Now().Add(time.Minute).UTC().Format(time.RFC3339), "--reason", reason}
	t.Log(g.cli(t, 0, append(period, "--to", to.Format(time.DateOnly))...))
	longer := 0
	for key, lock := range g.locks(t) {
		if lock.Until.Before(to) && (strings.HasPrefix(key, "evidence/links/") || strings.HasPrefix(key, "approvals/")) {
			t.Errorf("%s was not extended: until %v", key, lock.Until)
		}
		if !lock.Until.Before(to) {
			longer++
		}
	}
	if longer < held {
		t.Errorf("%d objects were extended", longer)
	}
	sooner := g.cli(t, 0, append(period, "--to", to.Add(-48*time.Hour).Format(time.DateOnly))...)
	if !strings.Contains(sooner, "were so before") {
		t.Errorf("an earlier date: %s", sooner)
	}
	for key, lock := range g.locks(t) {
		if strings.HasPrefix(key, "approvals/") && lock.Until.Before(to) {
			t.Errorf("%s was shortened to %v", key, lock.Until)
		}
	}
	g.cli(t, 2, append(period, "--to", "3026-01-01")...)
	g.cli(t, 2, append(period, "--to", "2020-01-01")...)

	t.Log(g.cli(t, 0, "evidence", "hold", "--config", auditor, "--session", "chain-clinic", "--release", "--reason", "settled"))
	for key, lock := range g.locks(t) {
		if lock.Hold {
			t.Errorf("%s is still held", key)
		}
	}

	// The gateway's own configuration has no auditor's key: it cannot order anything.
	g.cli(t, 2, "evidence", "hold", "--config", g.config, "--session", "chain-clinic", "--reason", "x")
	g.cli(t, 0, "evidence", "verify", "--config", g.config)
	copied := filepath.Join(t.TempDir(), "copy")
	g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", copied)
	orders, err := filepath.Glob(filepath.Join(copied, "evidence/holds/*"))
	if err != nil || len(orders) < 6 {
		t.Fatalf("%d notes, %v", len(orders), err)
	}
	for _, name := range orders {
		if strings.Contains(string(read(t, name)), "4711") {
			t.Errorf("%s tells the reason in clear", name)
		}
	}
	change(t, orders[0], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if out := g.cli(t, 1, "evidence", "verify", "--dir", copied, "--keys", g.keys); !strings.Contains(out, filepath.Base(orders[0])) {
		t.Errorf("the finding does not name the order: %s", out)
	}
}

// heldSegments counts the segments that hold records of a query and are on hold.
func (g *gatewayProcess) heldSegments(t *testing.T, id string) (held int) {
	t.Helper()
	all := g.locks(t)
	copied := filepath.Join(t.TempDir(), "copy")
	g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", copied)
	segments := 0
	for key, lock := range all {
		if !strings.Contains(key, "/segments/") || !strings.Contains(string(read(t, filepath.Join(copied, key))), `"query_id":"`+id+`"`) {
			continue
		}
		if segments++; lock.Hold {
			held++
		}
	}
	if held > 0 && held < segments {
		t.Errorf("%d of %d segments of %s are held", held, segments, id)
	}
	return held
}
