package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// swaps says how many swaps a race test makes; CHAPERONE_RACE_SWAPS asks for more.
func swaps(t *testing.T) int64 {
	if text := os.Getenv("CHAPERONE_RACE_SWAPS"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 400
}

// TestCatalogRace swaps what names mean, over and over, while statements are
// analysed with a catalog that may be stale and run: a view, a column, a
// function, an operator, a table for a view. No protected value is released.
func TestCatalogRace(t *testing.T) {
	db := testenv.Postgres(t)
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	exec := func(statements ...string) error {
		tx, err := admin.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }()
		for _, s := range statements {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return tx.Commit(ctx)
	}
	if err := exec("CREATE TABLE people (id int PRIMARY KEY, open text, secret text)",
		"INSERT INTO people SELECT i, 'open' || i, 'canary' || i FROM generate_series(1, 50) i",
		"CREATE VIEW shown AS SELECT id, open AS x FROM people",
		"CREATE TABLE changing (id int, secret text, x text)", "INSERT INTO changing SELECT id, secret, open FROM people",
		"CREATE VIEW either AS SELECT id, open AS x FROM people"); err != nil {
		t.Fatal(err)
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), map[masking.ColumnRef]string{
		{Schema: "public", Relation: "people", Column: "secret"}:   "ssn",
		{Schema: "public", Relation: "changing", Column: "secret"}: "ssn"})
	if err != nil {
		t.Fatal(err)
	}
	there := [][]string{
		{"CREATE OR REPLACE VIEW shown AS SELECT id, secret AS x FROM people"},
		{"ALTER TABLE changing DROP COLUMN x", "ALTER TABLE changing ADD COLUMN x text GENERATED ALWAYS AS (secret || '') STORED"},
		{"CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT max(secret) FROM people'",
			"CREATE FUNCTION cat(varchar, varchar) RETURNS text LANGUAGE sql AS 'SELECT max(secret) FROM people'",
			"CREATE OPERATOR ~~ (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = cat)"},
		{"DROP VIEW either", "CREATE TABLE either AS SELECT id, open AS x FROM people", "DROP TABLE either",
			"CREATE VIEW either AS SELECT id, secret AS x FROM people ORDER BY secret"},
	}
	back := [][]string{
		{"CREATE OR REPLACE VIEW shown AS SELECT id, open AS x FROM people"},
		{"DROP TABLE changing", "CREATE TABLE changing (id int, secret text, x text)", "INSERT INTO changing SELECT id, secret, open FROM people"},
		{"DROP OPERATOR ~~ (varchar, varchar)", "DROP FUNCTION cat(varchar, varchar)", "DROP FUNCTION upper(varchar)"},
		{"DROP VIEW either", "CREATE VIEW either AS SELECT id, open AS x FROM people"},
	}
	statements := []string{"SELECT x FROM shown WHERE id = 7", "SELECT x FROM changing WHERE id = 7",
		"SELECT upper(open::varchar), open::varchar ~~ 'o%' FROM people WHERE id = 7", "SELECT x FROM either WHERE id < 3",
		"SELECT s.x, c.x FROM shown s JOIN changing c USING (id) WHERE id = 9"}

	engine := New()
	engine.Warm()
	var done atomic.Int64
	total := swaps(t)
	failed := make(chan error, 1)
	go func() {
		defer done.Store(total)
		for done.Load() < total {
			for _, set := range [][][]string{there, back} {
				for _, s := range set {
					// A reader may hold what is to be changed.
					for err := exec(s...); err != nil; err = exec(s...) {
						if ctx.Err() != nil || !strings.Contains(err.Error(), "deadlock") {
							failed <- err
							return
						}
					}
					done.Add(1)
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // there is a time to answer in
				}
			}
		}
		failed <- nil
	}()

	released, withheld, masked, refused := 0, 0, 0, map[string]int{}
	var cat connectors.Catalog
	made := func() bool { return done.Load() >= total }
	for i := 0; !made(); i++ {
		s, err := engine.Connect(ctx, connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, SearchPath: []string{"public"},
			ConnectTimeout: 5 * time.Second}, connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)})
		if err != nil {
			t.Fatal(err)
		}
		if cat == nil || i%5 == 0 { // stale more often than not
			if cat, err = s.Catalog(ctx); err != nil { // it was changed too often
				cat = nil
				_ = s.Close(ctx)
				continue
			}
		}
		text := statements[i%len(statements)]
		st, err := engine.Analyze(cat, connectors.Input{Text: text, Classes: classes, SearchPath: []string{"public"}, Today: time.Now()})
		var c collect
		if err == nil {
			if _, err = s.Prepare(ctx, st, nil, bounds); err == nil {
				_, err = s.Execute(ctx, &c)
			}
		}
		var known *connectors.Error
		switch {
		case err == nil:
			released++
			if strings.Contains(strings.ToLower(string(c.rows)), "canary") {
				t.Fatalf("%s released %s", text, c.rows)
			}
			if strings.Contains(string(c.rows), "[redacted]") {
				masked++
			}
		case errors.Is(err, connectors.ErrCatalogChanged):
			withheld++
			cat = nil
		case errors.As(err, &known):
			if strings.Contains(known.Error()+known.Hint, "canary") {
				t.Fatal(known)
			}
			refused[known.Message]++
			cat = nil
		default:
			t.Fatal(err)
		}
		_ = s.Close(ctx)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d swaps: %d answers released (%d masked), %d withheld, refused %v", done.Load(), released, masked, withheld, refused)
	if released == 0 || withheld == 0 || (masked == 0 && total > 1000) {
		t.Error("the race did not happen")
	}
}
