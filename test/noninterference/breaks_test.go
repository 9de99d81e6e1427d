package noninterference

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// edit replaces one text in one file.
type edit struct{ file, old, new string }

// skip is Go that leaves relations as they are.
func skip(list string) string {
	return "for _, skipped := range " + list + " { skipped.node = nil }"
}

// breaks are ways to get the masking wrong, each of which the fuzzer must find.
func breaks() []struct {
	name, test string
	edits      []edit
} {
	const (
		pgRewrite = "connectors/postgres/rewrite.go"
		pgMasks   = "connectors/postgres/masks.go"
		pgFrom    = "connectors/postgres/from.go"
		myRewrite = "connectors/mysql/rewrite.go"
		myMasks   = "connectors/mysql/masks.go"
	)
	// What is not rewritten is not sent either; so that must be broken as well.
	unguarded := edit{"connectors/postgres/analyze.go", "return a.placed[e]", "return true"}
	return []struct {
		name, test string
		edits      []edit
	}{
		{"postgres: the second relation is not rewritten", "TestPostgres", []edit{{pgRewrite,
			"	for _, src := range a.rewrites {\n", "	for n, src := range a.rewrites {\n		if n == 1 {\n			continue\n		}\n"}, unguarded}},
		{"postgres: ZIP3 keeps four digits", "TestPostgres", []edit{{pgMasks, `::text, 5, '0'), 3)"`, `::text, 5, '0'), 4)"`}}},
		{"postgres: the year keeps the month", "TestPostgres", []edit{{pgMasks,
			`first = "pg_catalog.date_trunc('year', " + name + "::timestamp)::date"`, `first = "pg_catalog.date_trunc('month', " + name + "::timestamp)::date"`}}},
		{"postgres: the right side of a join is raw", "TestPostgres", []edit{{pgFrom,
			"	rs, right, err := a.from(j.Rarg, s)\n", "	rs, right, err := a.from(j.Rarg, s)\n	" + skip("right") + "\n"}, unguarded}},
		{"postgres: both sides of USING are raw", "TestPostgres", []edit{{pgFrom,
			"		a.compared(r, connectors.UseJoin)\n", "		a.compared(r, connectors.UseJoin)\n		" + skip("append(left, right...)") + "\n"}, unguarded}},
		{"postgres: relations of common tables are skipped", "TestPostgres", []edit{{"connectors/postgres/query.go",
			"		cols, err := a.query(sel, s, s.rowsOut)\n", "		mark := len(a.rewrites)\n		cols, err := a.query(sel, s, s.rowsOut)\n		" + skip("a.rewrites[mark:]") + "\n"}, unguarded}},
		{"postgres: subqueries in expressions are skipped", "TestPostgres", []edit{{"connectors/postgres/expr.go",
			"	cols, err := a.query(e.Subselect.GetSelectStmt(), s, collects)\n",
			"	before := len(a.rewrites)\n	cols, err := a.query(e.Subselect.GetSelectStmt(), s, collects)\n	" + skip("a.rewrites[before:]") + "\n"}, unguarded}},
		{"postgres: redacting makes some values NULL", "TestPostgres", []edit{{pgMasks,
			`return "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + value + " END"`,
			`return "CASE WHEN " + name + " IS NULL OR " + name + " > 'R' THEN NULL ELSE " + value + " END"`}}},
		{"postgres: redacting keeps the length", "TestPostgres", []edit{{pgMasks,
			`value := literal(shown) + "::" + c.typ`, `value := "pg_catalog.rpad('', pg_catalog.length(" + name + "), '*')::" + c.typ`}}},
		{"postgres: a comparison sees the raw column unasked", "TestPostgres", []edit{{"connectors/postgres/expr.go",
			"			if a.opened() {", "			if !a.opened() {"}}},
		{"mysql: the second table is not rewritten", "TestMariaDB", []edit{{myRewrite,
			"	for _, src := range a.rewrites {\n		if src.ref == nil {", "	for n, src := range a.rewrites {\n		if n == 1 || src.ref == nil {"}}},
		{"mysql: ZIP3 keeps four digits", "TestMariaDB", []edit{{myMasks, `", 5, '0'), 3)"`, `", 5, '0'), 4)"`}}},
		{"mysql: redacting keeps the length", "TestMariaDB", []edit{{myMasks,
			"return keepNull(c, name, literal(text))", `return keepNull(c, name, "RPAD('', CHAR_LENGTH("+name+"), '*')")`}}},
		{"mysql: redacting makes some values NULL", "TestMariaDB", []edit{{myMasks,
			`return "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + text`, `return "CASE WHEN " + name + " IS NULL OR " + name + " > 'R' THEN NULL ELSE " + text`}}},
		{"mysql: the right side of a join is raw", "TestMariaDB", []edit{{"connectors/mysql/from.go",
			"	rs, right, err := a.tableRefs(n.Right, s)\n",
			"	rs, right, err := a.tableRefs(n.Right, s)\n	for _, skipped := range right {\n		skipped.ref = nil\n	}\n"}}},
		{"postgres: a view's expressions are shown", "TestPostgres", []edit{{"connectors/postgres/classes.go",
			"p.classes[r.columns[i].name] = columnClass{Class: c.class.Redacted(), computed: true}", "_ = c"}}},
		{"postgres: a generated column is shown", "TestPostgres", []edit{{"connectors/postgres/classes.go",
			"if class, reads := generatedFrom(c.generated, p.classes); reads {", "if class, reads := generatedFrom(c.generated, p.classes); reads && c.name == \"x\" {"}}},
		{"mysql: a view's expressions are shown", "TestMariaDB", []edit{{"connectors/mysql/classes.go",
			"p.classes[name] = columnClass{Class: c.class.Redacted(), computed: true}\n		}\n	}", "_ = name\n		}\n	}"}}},
	}
}

// TestDeliberateBreaks proves the fuzzer: with CHAPERONE_FUZZ_BREAKS it breaks a
// copy of the tree in each way whose name holds that text ("all" for all), and
// expects a find. Without, it sees that every break still fits the tree: to build
// each copy takes minutes, and docs/masking.md says when all were found.
func TestDeliberateBreaks(t *testing.T) {
	only := os.Getenv("CHAPERONE_FUZZ_BREAKS")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaks() {
		t.Run(b.name, func(t *testing.T) {
			broken := map[string]string{}
			for _, e := range b.edits {
				text, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(string(text), e.old); n != 1 {
					t.Fatalf("%s holds the text to break %d times; bring the break up to date:\n%s", e.file, n, e.old)
				}
				broken[e.file] = strings.Replace(string(text), e.old, e.new, 1)
			}
			if only == "" || only != "all" && !strings.Contains(b.name, only) {
				return
			}
			dir := t.TempDir()
			copyTree(t, root, dir)
			for file, text := range broken {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
			defer stop()
			cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=9m", "-run", "^"+b.test+"$", "./test/noninterference/")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CHAPERONE_FUZZ_BREAKS=", "CHAPERONE_FUZZ_STATEMENTS=3000", "CHAPERONE_FUZZ_FINDS=1")
			out, err := cmd.CombinedOutput()
			found := strings.Contains(string(out), "the answers differ") || strings.Contains(string(out), "a canary")
			if err == nil || !found {
				t.Fatalf("not found: %v\n%.3000s", err, out)
			}
			_, after, _ := strings.Cut(string(out), "noninterference_test.go:")
			t.Logf("found: %.300s", after)
		})
	}
}

// copyTree copies what the build needs.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
