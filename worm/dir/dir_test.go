package dir

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/wormtest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := New(Config{Path: path, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	wormtest.Run(t, func(t *testing.T) wormtest.Harness {
		broken, err := New(Config{Path: t.TempDir(), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		_ = broken.Close()
		return wormtest.Harness{Store: open(t, t.TempDir()), Broken: broken}
	})
}

func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	if err := s.Create(t.Context(), "real/k", []byte("body")); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"file": "real/k", "folder": "real", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(path, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"file", "folder/k", "dangling"} {
		if _, err := s.Get(t.Context(), key, 0); err == nil {
			t.Errorf("%s: a symbolic link was followed", key)
		}
		if err := s.Create(t.Context(), key, []byte("body")); err == nil {
			t.Errorf("%s: created through a symbolic link", key)
		}
	}
	anomalies := 0
	err := s.List(t.Context(), "", "", func(e worm.Entry) bool {
		if e.Anomaly != "" {
			anomalies++
		}
		return true
	})
	if err != nil || anomalies != 3 {
		t.Errorf("%d anomalies, %v", anomalies, err)
	}
}

func TestFilesAreReadOnlyAndTempFilesGo(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	if err := s.Create(t.Context(), "a/k", []byte("body")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(path, "a/k"))
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	old := filepath.Join(path, tempDir, "crashed")
	if err := os.WriteFile(old, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-2 * staleTemp)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	left, err := os.ReadDir(filepath.Join(path, tempDir))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

// TestKilledWriterLeavesWholeObjects kills a process that creates objects, and
// sees that each key is whole or absent.
func TestKilledWriterLeavesWholeObjects(t *testing.T) {
	const size = 64 << 10
	if path := os.Getenv("WORM_DIR_CHILD"); path != "" {
		s := open(t, path)
		for i := 0; ; i++ {
			if err := s.Create(t.Context(), "k/"+strconv.Itoa(i), bytes.Repeat([]byte("x"), size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledWriterLeavesWholeObjects$")
	child.Env = append(os.Environ(), "WORM_DIR_CHILD="+path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err := s.Get(t.Context(), "k/20", 0); err == nil {
			break
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	n := 0
	err := s.List(t.Context(), "k/", "", func(e worm.Entry) bool {
		n++
		if e.Size != size {
			t.Errorf("%s has %d bytes", e.Key, e.Size)
		}
		return true
	})
	if err != nil || n < 20 {
		t.Errorf("%d objects, %v", n, err)
	}
}

func TestReadOnly(t *testing.T) {
	if _, err := New(Config{Path: filepath.Join(t.TempDir(), "none"), ReadOnly: true}); err == nil {
		t.Error("a missing directory was opened for reading")
	}
	s, err := New(Config{Path: t.TempDir(), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "k", nil); !errors.Is(err, worm.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
