package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPromise5_Witnessed: a gateway whose log is cosigned by a witness that runs
// beside it verifies with the witness' key, also from its bundle, by both
// verifiers; with another witness' key it does not.
func TestPromise5_Witnessed(t *testing.T) {
	g := freshGateway(t, false, false)
	g.stop()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := strings.TrimSpace(g.cli(t, 0, "keys", "witness", "--name", "witness.test/w1", "--out", path("witness.key")))
	write("witnesses", key+"\n")
	write("others", g.cli(t, 0, "keys", "witness", "--name", "witness.test/w1", "--out", path("other.key")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var said bytes.Buffer
	witness := exec.Command(g.env.binary, "witness", "--listen", address, "--key", path("witness.key"), "--gateways", g.keys,
		"--state", path("state"), "--init")
	witness.Stdout, witness.Stderr = &said, &said
	if err := witness.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = witness.Process.Kill()
		_ = witness.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	change(t, g.config, func(b []byte) []byte {
		return bytes.Replace(b, []byte("heartbeat: 10s"), fmt.Appendf(nil, "heartbeat: 10s\n  observe: 1s\n  witnesses: [{url: \"http://%s\", key: %q}]", address, key), 1)
	})
	since := time.Now().UTC()
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	must(t, g.query(t, lookUp("clinic")), 200)
	cosigned := `chaperone_witness_requests_total{outcome="cosigned",witness="witness.test/w1"}`
	eventually(t, 15*time.Second, "the witness cosigned", func() bool {
		return bytes.Contains(must(t, call(t, g.url, "GET", "/metrics", "", nil), 200).raw, []byte(cosigned))
	})
	must(t, g.query(t, lookUp("clinic")), 200)
	g.stop()

	g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", path("copy"))
	until := time.Now().UTC()
	g.cli(t, 0, "evidence", "bundle", "--config", g.config, "--since", since.Format(time.RFC3339Nano), "--until", until.Format(time.RFC3339Nano),
		"--out", path("bundle.zip"))
	asked := []string{"--keys", g.keys, "--witness-since", since.Format(time.RFC3339Nano), "--witness-keys"}
	for want, keys := range []string{"witnesses", "others"} {
		for _, what := range [][]string{{"--dir", path("copy")}, {"--bundle", path("bundle.zip")}} {
			out := g.cli(t, want, append(append([]string{"evidence", "verify"}, what...), append(asked, path(keys))...)...)
			if (want == 1) != strings.Contains(out, "unwitnessed") {
				t.Errorf("%s, %s: %s", keys, what, out)
			}
			python := exec.Command("python3", append(append([]string{"../../evidence/bundle/verify.py"}, append(asked, path(keys))...), what[1])...)
			text, _ := python.CombinedOutput()
			if python.ProcessState.ExitCode() != want || (want == 1) != bytes.Contains(text, []byte("unwitnessed")) {
				t.Errorf("verify.py: %s, %s: %s", keys, what, text)
			}
		}
	}
	held := call(t, "http://"+address, "GET", "/checkpoints", "", nil)
	write("held.json", string(must(t, held, 200).raw))
	g.cli(t, 0, "evidence", "verify", "--dir", path("copy"), "--keys", g.keys, "--checkpoints", path("held.json"))
}
