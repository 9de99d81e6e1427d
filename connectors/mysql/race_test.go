package mysql

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
// analysed with a catalog that may be stale and run: a view, a column, a table
// for a view, a stored function with a built-in's name. No protected value is
// released.
func TestCatalogRace(t *testing.T) {
	db := testenv.MariaDB(t)
	ctx := t.Context()
	admin, err := db.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	admin.SetMaxOpenConns(1)
	exec := func(statements ...string) error {
		for _, s := range statements {
			if _, err := admin.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
	if err := exec("CREATE TABLE people (id int PRIMARY KEY, open varchar(40), secret varchar(40))",
		"INSERT INTO people SELECT seq, concat('open', seq), concat('canary', seq) FROM seq_1_to_50",
		"CREATE VIEW shown AS SELECT id, open AS x FROM people",
		"CREATE TABLE changing (id int, secret varchar(40), x varchar(40))", "INSERT INTO changing SELECT id, secret, open FROM people",
		"CREATE VIEW either AS SELECT id, open AS x FROM people"); err != nil {
		t.Fatal(err)
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), map[masking.ColumnRef]string{
		{Schema: db.Name, Relation: "people", Column: "secret"}:   "ssn",
		{Schema: db.Name, Relation: "changing", Column: "secret"}: "ssn"})
	if err != nil {
		t.Fatal(err)
	}
	there := [][]string{
		{"CREATE OR REPLACE VIEW shown AS SELECT id, secret AS x FROM people"},
		{"ALTER TABLE changing MODIFY x varchar(40) AS (concat(secret, '')) STORED"},
		{"CREATE FUNCTION upper(s varchar(40)) RETURNS varchar(40) READS SQL DATA RETURN (SELECT max(secret) FROM people)"},
		{"DROP VIEW either", "CREATE VIEW either AS SELECT id, secret AS x FROM people ORDER BY secret"},
	}
	back := [][]string{
		{"CREATE OR REPLACE VIEW shown AS SELECT id, open AS x FROM people"},
		{"ALTER TABLE changing DROP COLUMN x", "ALTER TABLE changing ADD COLUMN x varchar(40)", "UPDATE changing SET x = 'open'"},
		{"DROP FUNCTION upper"},
		{"DROP VIEW either", "CREATE TABLE either AS SELECT id, open AS x FROM people", "DROP TABLE either",
			"CREATE VIEW either AS SELECT id, open AS x FROM people"},
	}
	statements := []string{"SELECT x FROM shown WHERE id = 7", "SELECT x FROM changing WHERE id = 7",
		"SELECT upper(open) FROM people WHERE id = 7", "SELECT x FROM either WHERE id < 3",
		"SELECT s.x, c.x AS y FROM shown s JOIN changing c USING (id) WHERE id = 9"}

	engine := New()
	var done atomic.Int64
	total := swaps(t)
	failed := make(chan error, 1)
	go func() {
		defer done.Store(total)
		for done.Load() < total {
			for _, set := range [][][]string{there, back} {
				for _, s := range set {
					if err := exec(s...); err != nil {
						failed <- err
						return
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
		s, err := engine.Connect(ctx, connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, ConnectTimeout: 5 * time.Second},
			connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)})
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
		st, err := engine.Analyze(cat, connectors.Input{Text: text, Classes: classes, Today: time.Now()})
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
