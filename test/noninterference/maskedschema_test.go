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
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/test/noninterference/grammar"
)

// throughViews has the database mask: it makes the views, and what follows reads
// as a user who may read nothing else.
func (c *clinic) throughViews(t *testing.T, admin *sql.DB) {
	t.Helper()
	var random [4]byte
	_, _ = rand.Read(random[:])
	names := connectors.NewMaskNames("m_" + hex.EncodeToString(random[:]))
	c.target.MaskedSchema = names.Schema
	dsn := url.URL{Scheme: "mysql", User: url.UserPassword(c.cred.Username, c.cred.Password.Reveal()),
		Host: fmt.Sprint(c.target.Host, ":", c.target.Port), Path: c.target.Database}
	masks, err := mysql.New().OpenMasks(t.Context(), masking.Secret(dsn.String()), c.target, c.classes, names)
	if err != nil {
		t.Fatal(err)
	}
	minted := "u_" + names.Schema
	t.Cleanup(func() { // accounts outlive the database
		_ = masks.Drop(context.Background())
		_ = masks.Close(context.Background())
		_, _ = admin.ExecContext(context.Background(), "DROP USER IF EXISTS "+minted)
	})
	if err := masks.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"CREATE USER " + minted + " IDENTIFIED BY 'pw'", "GRANT " + names.Reader + " TO " + minted,
		"SET DEFAULT ROLE " + names.Reader + " FOR " + minted} {
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

// TestMaskedSchema is TestMariaDB on connections that read through masked views.
func TestMaskedSchema(t *testing.T) {
	var both []*clinic
	for variant := range 2 {
		c := openMariaDB(t, variant)
		admin, err := c.db.OpenMySQL()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Close() })
		c.throughViews(t, admin)
		both = append(both, c)
	}
	fuzz(t, newTwins(t, both[0], both[1]), grammar.New(grammar.MySQL, tables(grammar.MySQL), uint64(number(t, "CHAPERONE_FUZZ_SEED", 1)))) //nolint:gosec // a seed
}
