package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPromise5_BundleOfOnePatient: an auditor asks who looked at one patient,
// gets a bundle without anybody else's content, and checks it with both
// verifiers off the store.
func TestPromise5_BundleOfOnePatient(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) {
			marker := map[string]string{"clinic": "$1", "billing": "?"}[connection]
			// No other test of the run looks this one up.
			mrn := g.env.scalar(t, connection, "SELECT mrn FROM patients WHERE id = 27")
			other := g.env.scalar(t, connection, "SELECT mrn FROM patients WHERE id = 28")
			by := must(t, g.query(t, ask(connection, "SELECT id FROM patients WHERE mrn = "+marker, mrn)), 200).str("query_id")
			literal := must(t, g.query(t, ask(connection, "SELECT id FROM patients WHERE mrn = '"+mrn+"'")), 200).str("query_id")
			must(t, g.query(t, ask(connection, "SELECT id FROM patients WHERE mrn = "+marker, other)), 200)
			time.Sleep(10 * time.Millisecond)
			until := time.Now().UTC().Format(time.RFC3339Nano)

			token := strings.TrimSpace(g.cliWith(t, mrn+"\n", "evidence", "token", "--config", g.config, "--class", "mrn"))
			if !strings.HasPrefix(token, "mrn:") || strings.Contains(token, mrn) {
				t.Fatalf("token %q", token)
			}
			file := filepath.Join(t.TempDir(), "patient.zip")
			out := g.cli(t, 0, "evidence", "bundle", "--config", g.config, "--since", "2026-01-01", "--until", until, "--patient", token,
				"--connection", connection, "--out", file)
			if !strings.Contains(out, " 2 queries ") {
				t.Errorf("bundle: %s", out)
			}
			g.cli(t, 0, "evidence", "verify", "--bundle", file, "--keys", g.keys)
			dir := filepath.Join(t.TempDir(), "bundle")
			unzip(t, file, dir)
			if out, err := exec.Command("python3", filepath.Join(dir, "verify.py"), "--keys", g.keys, dir).CombinedOutput(); err != nil {
				t.Errorf("verify.py: %v\n%s", err, out)
			}
			if found := g.env.canary(concatenated(t, dir)); found != "" {
				t.Errorf("the bundle holds %q", found)
			}
			report := string(read(t, filepath.Join(dir, "report.html")))
			contains(t, "the report", report, by, literal, token, "Queries that name the person of this bundle: 2", "no findings.")
			for _, id := range []string{by, literal} {
				if !strings.Contains(string(concatenated(t, dir)), id) {
					t.Errorf("the bundle does not hold %s", id)
				}
			}
		})
	}
}

// cliWith is cli with a text on standard input.
func (g *gatewayProcess) cliWith(t *testing.T, in string, args ...string) string {
	t.Helper()
	cmd := exec.Command(g.env.binary, args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("chaperone %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func unzip(t *testing.T, file, dir string) {
	t.Helper()
	out, err := exec.Command("python3", "-m", "zipfile", "-e", file, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("unzip: %v\n%s", err, out)
	}
}

func concatenated(t *testing.T, dir string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all = append(all, read(t, path)...)
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatal(fmt.Errorf("reading %s: %w", dir, err))
	}
	return all
}
