package mysql

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

var fuzzCatalogFile = filepath.Join("testdata", "fuzz-catalog.json")

// fuzzCatalog is the clinic as it was saved, with its classes: a fuzzer cannot
// wait for a server.
func fuzzCatalog(tb testing.TB) (*catalog, *masking.Classification) {
	tb.Helper()
	text, err := os.ReadFile(fuzzCatalogFile)
	if err != nil {
		tb.Fatal(err)
	}
	cat, err := ParseCatalog(text)
	if err != nil {
		tb.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Protected() {
		t, c, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: "clinic", Relation: t, Column: c}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		tb.Fatal(err)
	}
	return cat.(*catalog), classes
}

// TestFuzzCatalog keeps the saved catalog what the clinic has. Of
// information_schema only some tables are kept.
func TestFuzzCatalog(t *testing.T) {
	c := openClinic(t, 0)
	for key := range c.cat.info {
		if key != "tables" && key != "columns" {
			delete(c.cat.info, key)
		}
	}
	for _, table := range c.cat.tables {
		table.stamp = ""
	}
	saved, err := json.MarshalIndent(c.cat, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	saved = bytes.ReplaceAll(saved, []byte(c.cat.database), []byte("clinic"))
	if *update {
		if err := os.WriteFile(fuzzCatalogFile, saved, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(fuzzCatalogFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved, was) {
		t.Error("the clinic has changed; run with -update")
	}
}

// seeds adds the statements of the golden file.
func seeds(f *testing.F) {
	f.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "analysis", "statements.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	var list []entry
	if err := yaml.Unmarshal(text, &list); err != nil {
		f.Fatal(err)
	}
	for _, e := range list {
		f.Add(e.Statement, uint8(e.Params)) //nolint:gosec // a few
	}
}

// FuzzAnalyze: a statement is understood or refused, never with a panic; what
// would be sent parses; and what is logged or told holds no literal of it.
func FuzzAnalyze(f *testing.F) {
	cat, classes := fuzzCatalog(f)
	seeds(f)
	e := New()
	f.Fuzz(func(t *testing.T, text string, params uint8) {
		st, err := e.Analyze(cat, connectors.Input{Text: text, Count: int(params), Classes: classes, Today: time.Unix(0, 0),
			Cells: params%2 == 1})
		var told string
		var refused *connectors.Error
		switch {
		case errors.As(err, &refused):
			if refused.Message == panicked {
				t.Fatalf("%q panics", text)
			}
			if refused.Position < 0 || refused.Position > utf8.RuneCountInString(text)+1 {
				t.Fatalf("%q: position %d", text, refused.Position)
			}
			told = refused.Message + "\n" + refused.Hint
		case err != nil:
			t.Fatalf("%q: %v", text, err)
		default:
			told = st.Normalized + "\n" + strings.Join(st.Notes, "\n")
			if !st.Runnable {
				break
			}
			if _, err := parse(st.Text); err != nil {
				t.Fatalf("%q became %q, which is not one statement: %v", text, st.Text, err)
			}
		}
		for _, literal := range stringsIn(text) {
			if strings.Contains(told, literal) {
				t.Fatalf("%q: the literal %q is told: %s", text, literal, told)
			}
		}
	})
}

// stringsIn are the statement's string constants that are said nowhere else in it.
func stringsIn(text string) []string {
	node, err := parse(text)
	if err != nil {
		return nil
	}
	v := &constants{text: text}
	node.Accept(v)
	return v.found
}

type constants struct {
	text  string
	found []string
}

func (v *constants) Enter(n ast.Node) (ast.Node, bool) {
	if c, ok := n.(*test_driver.ValueExpr); ok && c.Kind() == test_driver.KindString {
		if s := c.GetString(); len(s) >= 6 && strings.Count(v.text, s) == 1 {
			v.found = append(v.found, s)
		}
	}
	return n, false
}

func (*constants) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// TestPanicIsARefusal: an analysis without a classification panics, which must
// end neither the process nor the recording of the request.
func TestPanicIsARefusal(t *testing.T) {
	cat, _ := fuzzCatalog(t)
	st, err := New().Analyze(cat, connectors.Input{Text: "SELECT id FROM patients"})
	var refused *connectors.Error
	if !errors.As(err, &refused) || refused.Kind != connectors.KindUnsupported || refused.Message != panicked || st != nil {
		t.Errorf("%+v, %v", st, err)
	}
}
