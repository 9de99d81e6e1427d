package postgres

import (
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestAffectedInWith: the command tag says nothing of what WITH changed; the
// bound on it holds all the same, and what exceeds it is rolled back.
func TestAffectedInWith(t *testing.T) {
	ctx := t.Context()
	server := testenv.Postgres(t)
	c, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	for _, s := range []string{"CREATE TABLE visits (id int PRIMARY KEY, kind int)", "CREATE TABLE kept (id int)",
		"INSERT INTO visits SELECT i, 0 FROM generate_series(1, 10) i"} {
		if _, err := c.Exec(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	cat, err := loadCatalog(ctx, c, []string{"public"})
	if err != nil {
		t.Fatal(err)
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	password, _ := u.User.Password()
	run := func(text string, most int64) (connectors.Outcome, error) {
		st, err := New().Analyze(cat, connectors.Input{Text: text, Classes: classes, SearchPath: []string{"public"}})
		if err != nil {
			t.Fatal(err)
		}
		session, err := New().Connect(ctx, connectors.Target{Host: u.Hostname(), Port: port, Database: u.Path[1:], SearchPath: []string{"public"},
			ConnectTimeout: 5 * time.Second}, connectors.Credential{Username: u.User.Username(), Password: masking.Secret(password)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = session.Close(ctx) }()
		if _, err := session.Prepare(ctx, st, nil, connectors.Limits{Write: true, MaxAffected: most, Timeout: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		return session.Execute(ctx, &bounded{most: 100})
	}
	moved := "WITH d AS (DELETE FROM visits WHERE id < 5 RETURNING id) INSERT INTO kept (id) SELECT id FROM d"
	var refused *connectors.Error
	if _, err := run(moved, 7); !errors.As(err, &refused) || refused.Kind != connectors.KindTooMany {
		t.Error("eight rows under a bound of seven:", err)
	}
	if _, err := run("WITH d AS (DELETE FROM visits RETURNING id) SELECT count(*) FROM d WHERE id = 1", 9); !errors.As(err, &refused) {
		t.Error("ten rows under a bound of nine:", err)
	}
	var left int
	if err := c.QueryRow(ctx, "SELECT count(*) FROM visits").Scan(&left); err != nil || left != 10 {
		t.Error("not rolled back:", left, err)
	}
	out, err := run(moved, 8)
	if err != nil || out.Affected != 8 {
		t.Error(out, err)
	}
	if _, err := c.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{u.Path[1:]}.Sanitize()+" SET track_counts = off"); err != nil {
		t.Fatal(err)
	}
	if _, err := run("WITH d AS (DELETE FROM visits RETURNING id) SELECT 1", 100); !errors.As(err, &refused) {
		t.Error("what is not counted is refused:", err)
	}
}
