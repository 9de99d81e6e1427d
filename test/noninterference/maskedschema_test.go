package noninterference

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/test/noninterference/grammar"
)

// throughViews has the database mask: it makes the views, and what follows reads
// as a user who may read nothing else. The schema's name is in what PostgreSQL
// runs, so there both twins have the same; roles and accounts are the server's.
func (c *clinic) throughViews(t *testing.T, admin *sql.DB) {
	t.Helper()
	var random [4]byte
	_, _ = rand.Read(random[:])
	names := connectors.NewMaskNames("m_" + hex.EncodeToString(random[:]))
	minted := "u_" + names.Schema
	dsn := url.URL{Scheme: "mysql", User: url.UserPassword(c.cred.Username, c.cred.Password.Reveal()),
		Host: fmt.Sprint(c.target.Host, ":", c.target.Port), Path: c.target.Database}
	mint := []string{"CREATE USER " + minted + " IDENTIFIED BY 'pw'", "GRANT " + names.Reader + " TO " + minted,
		"SET DEFAULT ROLE " + names.Reader + " FOR " + minted}
	unmint := "DROP USER IF EXISTS " + minted
	if c.engine.Name() == "postgres" {
		names.Schema, dsn.Scheme = "chaperone_masked", "postgres"
		mint = []string{fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'pw' IN ROLE %s", minted, names.Reader)}
		unmint = "DROP ROLE IF EXISTS " + minted
	}
	c.target.MaskedSchema = names.Schema
	engine, ok := c.engine.(connectors.MaskEngine)
	if !ok {
		t.Fatalf("%s makes no masks", c.engine.Name())
	}
	masks, err := engine.OpenMasks(t.Context(), masking.Secret(dsn.String()), c.target, c.classes, names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // roles and accounts outlive the database
		_ = c.session.Close(context.Background())
		_ = masks.Drop(context.Background())
		_ = masks.Close(context.Background())
		_, _ = admin.ExecContext(context.Background(), unmint)
	})
	if err := masks.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range mint {
		if _, err := admin.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	c.cred = connectors.Credential{Username: minted, Password: "pw"}
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.cat, err = c.session.Catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMaskedSchemaPostgres and TestMaskedSchemaMariaDB are TestPostgres and
// TestMariaDB on connections that read through masked views.
func TestMaskedSchemaPostgres(t *testing.T) {
	maskedSchema(t, grammar.Postgres, openPostgres, func(c *clinic) (*sql.DB, error) { return sql.Open("pgx", c.db.DSN) })
}

func TestMaskedSchemaMariaDB(t *testing.T) {
	maskedSchema(t, grammar.MySQL, openMariaDB, func(c *clinic) (*sql.DB, error) { return c.db.OpenMySQL() })
}

func maskedSchema(t *testing.T, d grammar.Dialect, open func(*testing.T, int, ...string) *clinic, asAdmin func(*clinic) (*sql.DB, error)) {
	t.Helper()
	var both [2]*clinic
	for variant := range both {
		c := open(t, variant)
		admin, err := asAdmin(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Close() })
		c.throughViews(t, admin)
		both[variant] = c
	}
	fuzz(t, newTwins(t, both[0], both[1]), grammar.New(d, tables(d), uint64(number(t, "CHAPERONE_FUZZ_SEED", 1))), maskedStatements) //nolint:gosec // a seed
}

// maskedStatements run by default: the grammar is the same as without the views.
const maskedStatements = 500
