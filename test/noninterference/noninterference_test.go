package noninterference

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/test/noninterference/grammar"
)

// number reads a figure from the environment.
func number(t *testing.T, name string, standard int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPostgres and TestMariaDB run statements of the grammar until
// CHAPERONE_FUZZ_STATEMENTS (2,000) were allowed and ran.
func TestPostgres(t *testing.T) {
	w := newTwins(t, openPostgres(t, 0), openPostgres(t, 1))
	fuzz(t, w, grammar.New(grammar.Postgres, tables(grammar.Postgres), uint64(number(t, "CHAPERONE_FUZZ_SEED", 1))), 2000) //nolint:gosec // a seed
}

func TestMariaDB(t *testing.T) {
	w := newTwins(t, openMariaDB(t, 0), openMariaDB(t, 1))
	fuzz(t, w, grammar.New(grammar.MySQL, tables(grammar.MySQL), uint64(number(t, "CHAPERONE_FUZZ_SEED", 1))), 2000) //nolint:gosec // a seed
}

func fuzz(t *testing.T, w *twins, g *grammar.Generator, standard int) {
	t.Helper()
	goal := number(t, "CHAPERONE_FUZZ_STATEMENTS", standard)
	skipped := number(t, "CHAPERONE_FUZZ_SKIP", 0) // to come again to a find
	for range skipped {
		g.Next()
	}
	found, said := 0, time.Now()
	for w.counts.ran < goal && found < number(t, "CHAPERONE_FUZZ_FINDS", 10) {
		st := g.Next()
		problem, err := w.try(t.Context(), st.Text, st.Params)
		if err != nil {
			t.Fatalf("statement %d of the seed: %s: %v", skipped+w.counts.generated, st.Text, err)
		}
		if problem != "" {
			found++
			rewritten := ""
			if a, err := w.one.engine.Analyze(w.one.cat, w.one.input(st.Text, len(st.Params))); err == nil {
				rewritten = a.Text
			}
			t.Errorf("statement %d of the seed: %s\n%q\nruns as\n%s\n%s", skipped+w.counts.generated, st.Text, st.Params, rewritten, problem)
		}
		if time.Since(said) > time.Minute {
			said = time.Now()
			t.Log(w.counts.String())
		}
	}
	t.Log(w.counts.String())
	if share := float64(w.counts.ran) / float64(w.counts.generated); share < 0.6 {
		t.Errorf("only %.0f %% of what was generated was allowed and ran", 100*share)
	}
	if w.counts.timeouts*100 > w.counts.ran {
		t.Errorf("%d timeouts", w.counts.timeouts)
	}
}
