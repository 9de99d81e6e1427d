package postgres

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/policy"
)

// language is the golden file of what each construct becomes: how it is
// understood, what the built-in rules say of it, how many rows the server gives.
// Beside the demo's tables it has a schema of its own.
type language struct {
	Schema     []string `yaml:"schema"`
	Statements []entry  `yaml:"statements"`
}

// TestLanguage runs each construct on two databases that differ in protected
// values only.
func TestLanguage(t *testing.T) {
	path := filepath.Join("testdata", "analysis", "language.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file language
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	one, two := openClinic(t, 0), openClinic(t, 1)
	for _, c := range []*clinic{one, two} {
		for _, s := range file.Schema {
			if _, err := c.db.Exec(t.Context(), s); err != nil {
				t.Fatal(s, err)
			}
		}
		if c.cat, err = loadCatalog(t.Context(), c.db, []string{"public"}); err != nil {
			t.Fatal(err)
		}
	}
	canaries := append(clinicdata.Canaries(clinicdata.Tables(200, 0), 60), clinicdata.Canaries(clinicdata.Tables(200, 1), 60)...)
	rules, err := policy.New(policy.HIPAA(policy.DefaultFigures()))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range file.Statements {
		got := one.entry(s)
		got.Normal = ""
		if got.Error == "" {
			st, err := New().Analyze(one.cat, one.input(s.Statement, s.Params))
			if err != nil {
				t.Fatal(err)
			}
			d, err := rules.Decide(policy.Input{Statement: st, Engine: "postgres"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Decision = string(d.Effect); d.Effect == policy.Deny {
				file.Statements[i] = got
				continue
			}
			x, y := one.tried(st, s.Params), two.tried(st, s.Params)
			got.Rows = strings.Count(x, "\n")
			if strings.HasPrefix(x, "prepare") || strings.HasSuffix(x, "error") {
				t.Errorf("%s: the server does not take it: %s\n%s", s.Statement, x, st.Text)
			}
			if x != y && len(st.Lookups) == 0 {
				t.Errorf("%s tells the databases apart\n%.300s\n%.300s\n%s", s.Statement, x, y, st.Text)
			}
			for _, canary := range canaries {
				if strings.Contains(x, canary) || strings.Contains(y, canary) {
					t.Errorf("%s leaks %q", s.Statement, canary)
				}
			}
		}
		file.Statements[i] = got
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out, text) {
		t.Error("the golden file differs; run with -update and read the diff")
	}
}

// tried runs a statement and undoes what it did.
func (c *clinic) tried(st *connectors.Statement, params int) string {
	args := make([]string, params)
	for i := range args {
		args[i] = "1"
	}
	_, _ = c.db.Exec(context.Background(), "BEGIN")
	defer func() { _, _ = c.db.Exec(context.Background(), "ROLLBACK") }()
	return c.answer(st, args...)
}
