package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func rendered(t testing.TB, content *bundle.Content) string {
	t.Helper()
	var out bytes.Buffer
	must(t, Part().Write(&out, content))
	return out.String()
}

// TestGolden: the whole page of a day with one of everything, and of a bundle about
// one person. Read a change as a privacy officer would.
func TestGolden(t *testing.T) {
	for name, f := range map[string]*evidence.Filter{"day": nil, "person": {Patient: "mrn:tok_1"}} {
		t.Run(name, func(t *testing.T) {
			got := rendered(t, aDay().content(f))
			file := filepath.Join("testdata", name+".html")
			if *update {
				must(t, os.MkdirAll("testdata", 0o755))
				must(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if got != string(want) {
				t.Errorf("the report is another than %s; -update rewrites it", file)
			}
		})
	}
}
