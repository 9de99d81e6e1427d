// Package issuertest is the conformance suite of credentials.Issuer: every
// implementation passes it on real databases.
package issuertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // sql.Open("pgx", …)

	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// Server is a database with the table claims, and how to connect to it.
type Server struct {
	Engine   string
	Database *testenv.Database
}

// open logs in with a lease.
func (s Server) open(t *testing.T, lease *credentials.Lease) *sql.DB {
	t.Helper()
	var (
		db  *sql.DB
		err error
	)
	addr := fmt.Sprintf("%s:%d", s.Database.Host, s.Database.Port)
	if s.Engine == "postgres" {
		db, err = sql.Open("pgx", fmt.Sprintf("postgres://%s:%s@%s/%s", lease.Username,
			lease.Password.Reveal(), addr, s.Database.Name))
	} else {
		cfg := mysql.NewConfig()
		cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = lease.Username, lease.Password.Reveal(), "tcp", addr, s.Database.Name
		db, err = sql.Open("mysql", cfg.FormatDSN())
	}
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Run checks an issuer for a connection called "c" on a server.
func Run(t *testing.T, issuer credentials.Issuer, s Server) {
	ctx := t.Context()
	grant := credentials.Grant{Connection: "c", Access: credentials.ReadOnly, QueryID: "q", TTL: 15 * time.Minute}
	mint := func(t *testing.T, access credentials.Access) *credentials.Lease {
		t.Helper()
		g := grant
		g.Access = access
		lease, err := issuer.Issue(ctx, g)
		if err != nil {
			t.Fatal(err)
		}
		if !lease.ExpiresAt.After(time.Now()) || lease.ExpiresAt.After(time.Now().Add(grant.TTL+time.Minute)) {
			t.Errorf("the lease ends at %v", lease.ExpiresAt)
		}
		return lease
	}
	t.Run("reads and cannot write", func(t *testing.T) {
		lease := mint(t, credentials.ReadOnly)
		db := s.open(t, lease)
		var n int
		if err := db.QueryRow("SELECT count(*) FROM claims").Scan(&n); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		if _, err := db.Exec("DELETE FROM claims"); err == nil {
			t.Error("a reader deleted")
		}
		if err := issuer.Revoke(ctx, "c", lease.ID); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow("SELECT count(*) FROM claims").Scan(&n); err == nil {
			t.Error("the session outlived its lease")
		}
		if err := issuer.Revoke(ctx, "c", lease.ID); err != nil {
			t.Errorf("revoking twice: %v", err)
		}
	})
	t.Run("writes when asked to", func(t *testing.T) {
		lease := mint(t, credentials.ReadWrite)
		if _, err := s.open(t, lease).Exec("UPDATE claims SET payer = payer WHERE id = 1"); err != nil {
			t.Error(err)
		}
		if err := issuer.Revoke(ctx, "c", lease.ID); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var all sync.WaitGroup
		var mu sync.Mutex
		users := map[string]bool{}
		for range 16 {
			all.Go(func() {
				lease, err := issuer.Issue(ctx, grant)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				users[lease.Username] = true
				mu.Unlock()
				if err := issuer.Revoke(ctx, "c", lease.ID); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(users) != 16 {
			t.Errorf("%d users for 16 leases", len(users))
		}
	})
	t.Run("unknown connection", func(t *testing.T) {
		g := grant
		g.Connection = "other"
		if _, err := issuer.Issue(ctx, g); err == nil {
			t.Error("minted for a connection that is not configured")
		}
	})
	t.Run("out of time", func(t *testing.T) {
		ctx, stop := context.WithTimeout(ctx, time.Nanosecond)
		defer stop()
		if _, err := issuer.Issue(ctx, grant); !errors.Is(err, credentials.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
	if err := issuer.Check(ctx); err != nil {
		t.Error(err)
	}
}
