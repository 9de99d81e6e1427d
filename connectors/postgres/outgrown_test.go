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

var errEnough = errors.New("enough")

// bounded refuses the row after the last it may have, as the gateway's sink does.
type bounded struct{ rows, most int }

func (b *bounded) Columns([]connectors.ResultColumn) error { return nil }
func (b *bounded) Row([]connectors.Cell) (bool, error) {
	if b.rows == b.most {
		return false, errEnough
	}
	b.rows++
	return true, nil
}

// TestOutgrown: statistics say one row and there are fifty thousand. The sink's
// refusal stops the statement, and nothing of it counts as done.
func TestOutgrown(t *testing.T) {
	ctx := t.Context()
	server := testenv.Postgres(t)
	c, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	for _, s := range []string{
		"CREATE TABLE visits (id int PRIMARY KEY, kind int) WITH (autovacuum_enabled = off)",
		"INSERT INTO visits SELECT i, 0 FROM generate_series(1, 1000) i", "ANALYZE visits",
		"UPDATE visits SET kind = 1", "INSERT INTO visits SELECT i, 1 FROM generate_series(1001, 50000) i",
	} {
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
	st, err := New().Analyze(cat, connectors.Input{Text: "SELECT id FROM visits WHERE kind = 1", Classes: classes, SearchPath: []string{"public"}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	password, _ := u.User.Password()
	session, err := New().Connect(ctx, connectors.Target{Host: u.Hostname(), Port: port, Database: u.Path[1:], SearchPath: []string{"public"},
		ConnectTimeout: 5 * time.Second}, connectors.Credential{Username: u.User.Username(), Password: masking.Secret(password)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(ctx) }()
	estimate, err := session.Prepare(ctx, st, nil, connectors.Limits{Timeout: 10 * time.Second, LockTimeout: time.Second, MaxAffected: -1, Classes: classes})
	if err != nil || !estimate.Known || estimate.Rows > 1000 {
		t.Fatalf("the estimate is %+v, %v", estimate, err)
	}
	sink := &bounded{most: 1000}
	if _, err := session.Execute(ctx, sink); !errors.Is(err, errEnough) || sink.rows != 1000 {
		t.Errorf("%v after %d rows", err, sink.rows)
	}
}
