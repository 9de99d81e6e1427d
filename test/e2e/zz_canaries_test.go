package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestZZ_NoCanaryAnywhere runs last (files are compiled in name order): it
// searches every answer of the run, every log and metric of every gateway, and
// the clear part of everything in the stores.
func TestZZ_NoCanaryAnywhere(t *testing.T) {
	env := theEnv(t)
	metrics := must(t, call(t, mainGateway(t).url, "GET", "/metrics", "", nil), 200)
	if found := env.canary(metrics.raw); found != "" {
		t.Errorf("the metrics hold %q", found)
	}
	scan := func(dir string) (files int) {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			if found := env.canary(b); found != "" {
				at := bytes.Index(b, []byte(found))
				t.Errorf("%s holds %q: …%s…", path, found, b[max(0, at-60):min(len(b), at+60)])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	stored := filepath.Join(t.TempDir(), "bucket")
	env.copyBucket(t, stored)
	if n := scan(stored); n < 50 {
		t.Errorf("only %d objects in the store: the run recorded too little to prove anything", n)
	}
	if n := scan(env.logs); n < 2 {
		t.Errorf("only %d log files scanned", n)
	}
	// The search itself is shown to work.
	planted := filepath.Join(t.TempDir(), "planted")
	if err := os.WriteFile(planted, []byte("x "+env.canaries[len(env.canaries)/2]+" y"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(planted)
	if env.canary(b) == "" {
		t.Fatal("the search does not find a planted canary")
	}
}
