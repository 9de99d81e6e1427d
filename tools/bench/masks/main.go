// Command masks measures what the rewriting costs the database: twenty shapes
// of question over a million patients and two million encounters, each as the
// client wrote it and as the gateway rewrites it, both run on a real server by
// turns. It prints one Markdown table an engine, and fails if the rewriting loses
// an index on an unprotected column. Compare the ratios, not the milliseconds.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func main() {
	o := options{}
	flag.IntVar(&o.patients, "patients", 1_000_000, "rows of patients; there are twice as many encounters")
	flag.DurationVar(&o.each, "each", 3*time.Second, "time for each shape on each engine")
	flag.StringVar(&o.extra, "extra", "", "SQL that is run on both servers after filling, such as CREATE INDEX")
	flag.StringVar(&o.only, "only", "", "measure shapes whose name contains this")
	flag.BoolVar(&o.verbose, "v", false, "print rewritten texts and plans of shapes whose plan differs")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "masks:", err)
		os.Exit(1)
	}
}

type options struct {
	patients int
	each     time.Duration
	only     string
	extra    string
	verbose  bool
}

// database runs texts on one server, as the gateway's sessions do.
type database interface {
	exec(ctx context.Context, script string) error
	// fetch runs a query and reads every row.
	fetch(ctx context.Context, text string) error
	// plan lists the steps that read a relation, outermost first.
	plan(ctx context.Context, text string) ([]step, error)
	// prepare makes the session as the gateway would for this statement.
	prepare(ctx context.Context, st *connectors.Statement) error
	close()
}

// step is how one relation is read: "Index Scan", "ref", … by an index or none.
type step struct{ relation, how, index string }

func (s step) String() string { return strings.TrimSpace(s.relation + " " + s.how + " " + s.index) }

func run(o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "chaperone-masks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // postgres and mysql must get through
		return err
	}
	pg, maria, stop, err := testenv.StartDatabases(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	return errors.Join(
		measure(ctx, o, out, postgres.New(), pg, openPostgres),
		measure(ctx, o, out, mysql.New(), maria, openMariaDB))
}

// measure fills one server and prints its table.
func measure(ctx context.Context, o options, out io.Writer, engine connectors.Engine, server *testenv.Database,
	open func(context.Context, *testenv.Database) (database, error)) error {
	db, err := open(ctx, server)
	if err != nil {
		return err
	}
	defer db.close()
	start := time.Now()
	sizes := strings.NewReplacer("{patients}", strconv.Itoa(o.patients), "{encounters}", strconv.Itoa(2*o.patients))
	for text := range strings.SplitSeq(sizes.Replace(scripts[engine.Name()])+";"+o.extra, ";") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		if err := db.exec(ctx, text); err != nil {
			return fmt.Errorf("filling %s: %w", engine.Name(), err)
		}
	}
	fmt.Fprintf(os.Stderr, "%s was filled in %s\n", engine.Name(), time.Since(start).Round(time.Second))
	rewrite, err := rewriter(ctx, engine, server)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n| %s | client's p50 ms | rewritten p50 ms | p99 | p99 | ratio of p50 | runs | plan | index |\n|---|---|---|---|---|---|---|---|---|\n", engine.Name())
	var lost []string
	for _, s := range shapes {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		st, err := rewrite(s.in(engine.Name()))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		row, ok, err := compare(ctx, o, db, s, s.in(engine.Name()), st)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if !ok {
			lost = append(lost, s.name)
		}
		fmt.Fprintln(out, row)
	}
	if len(lost) > 0 {
		return fmt.Errorf("%s loses an index of an unprotected column: %s", engine.Name(), strings.Join(lost, ", "))
	}
	return nil
}

// rewriter analyses as the gateway does.
func rewriter(ctx context.Context, engine connectors.Engine, server *testenv.Database) (func(string) (*connectors.Statement, error), error) {
	target := connectors.Target{Host: server.Host, Port: server.Port, Database: server.Name, ConnectTimeout: 10 * time.Second}
	schema := server.Name
	if engine.Name() == "postgres" {
		schema, target.SearchPath = "public", []string{"public"}
	}
	session, err := engine.Connect(ctx, target, connectors.Credential{Username: server.AdminUser, Password: masking.Secret(server.AdminPassword)})
	if err != nil {
		return nil, err
	}
	defer session.Close(ctx)
	catalog, err := session.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range classes {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: schema, Relation: table, Column: column}] = class
	}
	known, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		return nil, err
	}
	return func(text string) (*connectors.Statement, error) {
		return engine.Analyze(catalog, connectors.Input{Text: text, Classes: known, SearchPath: target.SearchPath,
			Today: time.Now().UTC().Truncate(24 * time.Hour), Cells: known.Profile().SmallCell > 0})
	}, nil
}

// compare runs both texts by turns and writes a row of the table; ok is false
// if an index on an unprotected column was lost.
func compare(ctx context.Context, o options, db database, s shape, text string, st *connectors.Statement) (row string, ok bool, err error) {
	ways := []struct {
		text string
		st   *connectors.Statement
	}{{text, &connectors.Statement{}}, {st.Text, st}}
	var (
		plans [2][]step
		took  [2][]time.Duration
	)
	for i, w := range ways {
		if err := errors.Join(db.prepare(ctx, w.st), db.fetch(ctx, w.text)); err != nil {
			return "", false, err
		}
		if plans[i], err = db.plan(ctx, w.text); err != nil {
			return "", false, err
		}
	}
	start := time.Now()
	for round := 0; round < 5 || (time.Since(start) < o.each && round < 500); round++ {
		for turn := range 2 {
			i := (turn + round) % 2 // who is first changes
			if err := db.prepare(ctx, ways[i].st); err != nil {
				return "", false, err
			}
			begin := time.Now()
			if err := db.fetch(ctx, ways[i].text); err != nil {
				return "", false, err
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	verdict, ok := indexesKept(plans[0], plans[1])
	plan := "same"
	if !slices.EqualFunc(plans[0], plans[1], func(a, b step) bool { return a.how == b.how && a.index == b.index }) {
		plan = "differs"
		if o.verbose {
			fmt.Fprintf(os.Stderr, "%s\n  %s\n  client's  %v\n  rewritten %v\n", s.name, st.Text, plans[0], plans[1])
		}
	}
	name := s.name
	if s.masks {
		name += " †"
	}
	before, after := quantile(took[0], 0.5), quantile(took[1], 0.5)
	return fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %d | %s | %s |", name, before, after,
		quantile(took[0], 0.99), quantile(took[1], 0.99), after/before, len(took[0]), plan, verdict), ok, nil
}

// indexesKept says whether every index of the client's plan is in the other.
func indexesKept(before, after []step) (verdict string, ok bool) {
	verdict, ok = "none", true
	for _, s := range before {
		switch {
		case s.index == "":
		case slices.ContainsFunc(after, func(t step) bool { return t.index == s.index }):
			verdict = cmp.Or(map[bool]string{true: "kept"}[verdict == "none"], verdict)
		case slices.Contains(protectedIndexes, s.index):
			verdict = "not the protected " + s.index
		default:
			return "LOST " + s.index, false
		}
	}
	return verdict, ok
}

func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return float64(took[min(len(took)-1, int(q*float64(len(took))))]) / float64(time.Millisecond)
}
