package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"

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
	return cat.(*catalog), fuzzClasses(tb)
}

func fuzzClasses(tb testing.TB) *masking.Classification {
	tb.Helper()
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Protected() {
		t, c, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: "public", Relation: t, Column: c}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		tb.Fatal(err)
	}
	return classes
}

// TestFuzzCatalog keeps the saved catalog what the clinic has. Of the system's
// own relations only some are kept.
func TestFuzzCatalog(t *testing.T) {
	c := openClinic(t, 0)
	for key, r := range c.cat.relations {
		system := r.schema == "pg_catalog" || r.schema == "information_schema"
		if system && r.name != "pg_class" && r.name != "pg_stats" && r.name != "columns" {
			delete(c.cat.relations, key)
		}
	}
	renumber(c.cat)
	saved, err := json.MarshalIndent(c.cat, "", " ")
	if err != nil {
		t.Fatal(err)
	}
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

// renumber gives relations the numbers of their order by name: a server's own
// differ from the next one's.
func renumber(c *catalog) {
	number := map[int64]int64{}
	for i, name := range slices.Sorted(maps.Keys(c.relations)) {
		number[c.relations[name].oid] = int64(i + 1)
	}
	of := func(oids []int64) (out []int64) {
		for _, oid := range oids {
			if number[oid] > 0 {
				out = append(out, number[oid])
			}
		}
		return out
	}
	for _, r := range c.relations {
		r.oid, r.reads, r.kin, r.stamp = number[r.oid], of(r.reads), of(r.kin), ""
		for i := range r.columns {
			r.columns[i].rowsOf = of(r.columns[i].rowsOf)
		}
	}
}

// TestCatalogInCircles: no server has such tables, but a file may.
func TestCatalogInCircles(t *testing.T) {
	cat, classes := fuzzCatalog(t)
	wards, claims := cat.relations["public.wards"], cat.relations["public.claims"]
	wards.columns[1].rowsOf, claims.columns[1].rowsOf = []int64{claims.oid}, []int64{wards.oid}
	cat.seal()
	_, err := New().Analyze(cat, connectors.Input{Text: "SELECT w.name FROM wards w JOIN claims USING (id)", Classes: classes, SearchPath: []string{"public"}})
	var refused *connectors.Error
	if err != nil && !errors.As(err, &refused) {
		t.Error(err)
	}
}

// statements are those of the golden file.
func statements(tb testing.TB) (list []entry) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "analysis", "statements.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &list); err != nil {
		tb.Fatal(err)
	}
	return list
}

func seeds(f *testing.F) {
	f.Helper()
	for _, e := range statements(f) {
		f.Add(e.Statement, uint8(e.Params)) //nolint:gosec // a few
	}
}

// FuzzAnalyze: a statement is understood or refused, never with a panic; what
// would be sent parses; and what is logged or told holds no literal of it.
func FuzzAnalyze(f *testing.F) {
	cat, classes := fuzzCatalog(f)
	seeds(f)
	e := New()
	e.Warm() // or the first input takes longer than a fuzzer waits
	f.Fuzz(func(t *testing.T, text string, params uint8) {
		st, err := e.Analyze(cat, connectors.Input{Text: text, Count: int(params), Classes: classes, SearchPath: []string{"public"},
			Today: time.Unix(0, 0), Cells: params%2 == 1})
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
			if again, err := pgquery.Parse(st.Text); err != nil || len(again.Stmts) != 1 {
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
	tokens, err := pgquery.Scan(text)
	if err != nil {
		return nil
	}
	var out []string
	for _, token := range tokens.Tokens {
		if token.Token != pg.Token_SCONST {
			continue
		}
		inside := strings.Trim(text[token.Start:token.End], "'")
		if len(inside) >= 6 && strings.Count(text, inside) == 1 {
			out = append(out, inside)
		}
	}
	return out
}

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
