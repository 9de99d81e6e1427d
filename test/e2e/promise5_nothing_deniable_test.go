package e2e

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// TestPromise5_TamperingIsFound: the bucket verifies; a copy in which somebody
// changed, removed, swapped or cut anything does not, and the object is named.
func TestPromise5_TamperingIsFound(t *testing.T) {
	g := mainGateway(t)
	for range 5 {
		must(t, g.query(t, ask("clinic", "SELECT id FROM patients WHERE id = 1")), 200)
	}
	g.cli(t, 0, "evidence", "verify", "--config", g.config)

	fresh := func(t *testing.T) (dir string, segments []string) {
		dir = filepath.Join(t.TempDir(), "copy")
		g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", dir)
		return dir, segmentFiles(t, dir, g.writer(t))
	}
	verify := func(t *testing.T, dir string, named ...string) {
		t.Helper()
		out := g.cli(t, 1, "evidence", "verify", "--dir", dir, "--keys", g.keys)
		for _, name := range named {
			if !strings.Contains(out, name) {
				t.Errorf("the finding does not name %s:\n%s", name, out)
			}
		}
	}
	t.Run("untouched", func(t *testing.T) {
		dir, _ := fresh(t)
		g.cli(t, 0, "evidence", "verify", "--dir", dir, "--keys", g.keys)
	})
	t.Run("one byte changed", func(t *testing.T) {
		dir, segments := fresh(t)
		victim := segments[len(segments)/2]
		change(t, victim, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		verify(t, dir, filepath.Base(victim))
	})
	t.Run("one segment removed", func(t *testing.T) {
		dir, segments := fresh(t)
		victim := segments[len(segments)/2]
		if err := os.Remove(victim); err != nil {
			t.Fatal(err)
		}
		verify(t, dir, filepath.Base(victim))
	})
	t.Run("two swapped", func(t *testing.T) {
		dir, segments := fresh(t)
		a, b := segments[1], segments[2]
		one, two := read(t, a), read(t, b)
		change(t, a, func([]byte) []byte { return two })
		change(t, b, func([]byte) []byte { return one })
		verify(t, dir, filepath.Base(a))
	})
	t.Run("tail cut", func(t *testing.T) {
		dir, segments := fresh(t)
		for _, s := range segments[len(segments)-2:] {
			if err := os.Remove(s); err != nil {
				t.Fatal(err)
			}
		}
		verify(t, dir, g.writer(t))
	})
}

// segmentFiles lists a writer's segments in a fetched copy, in order.
func segmentFiles(t *testing.T, dir, writer string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, writer) && strings.Contains(path, "segments") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 5 {
		t.Fatalf("%d segments of %s below %s: %v", len(files), writer, dir, err)
	}
	sort.Strings(files)
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b := f(append([]byte(nil), read(t, path)...))
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
