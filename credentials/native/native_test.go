package native

import (
	"context"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/credentials/issuertest"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func TestConformance(t *testing.T) {
	tables := clinicdata.Tables(5, 0)
	pg, my := testenv.Postgres(t), testenv.MariaDB(t)
	if err := testenv.SeedPostgres(t.Context(), pg, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	if err := testenv.SeedMariaDB(t.Context(), my, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	for engine, db := range map[string]*testenv.Database{"postgres": pg, "mysql": my} {
		t.Run(engine, func(t *testing.T) {
			now := time.Now()
			issuer, err := New(map[string]Database{"c": {Engine: engine, Host: db.Host, Port: db.Port, Name: db.Name, User: db.AdminUser,
				Password: masking.Secret(db.AdminPassword), ReadGroup: "chaperone_ro", WriteGroup: "chaperone_rw"}},
				func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			issuertest.Run(t, issuer, issuertest.Server{Engine: engine, Database: db})

			lease, err := issuer.Issue(t.Context(), credentials.Grant{Connection: "c", Access: credentials.ReadOnly, TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			left := func() (found bool) {
				server, _, err := issuer.dialect("c")
				if err != nil {
					t.Fatal(err)
				}
				users, err := server.users(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range users {
					found = found || u == lease.Username
				}
				return found
			}
			if err := issuer.Reap(t.Context()); err != nil || !left() {
				t.Fatal("a living user was reaped", err)
			}
			now = now.Add(2 * time.Minute)
			if err := issuer.Reap(t.Context()); err != nil || left() {
				t.Fatal("what a crash left was not reaped", err)
			}
		})
	}
}

func TestOnlyOurNamesAreDropped(t *testing.T) {
	issuer, err := New(map[string]Database{"c": {Engine: "mysql"}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "native/root", "native/chp_x'; DROP DATABASE clinic; --", "database/creds/x",
		"native/chp_00000000_00000000000'", "native/chp_0000000000000000000000"} {
		if err := issuer.Revoke(t.Context(), "c", id); err == nil {
			t.Errorf("%q was taken for a lease", id)
		}
	}
}
