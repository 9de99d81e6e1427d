package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestCheckMasks: check mints, reads through the views, sees that the tables
// themselves are refused, and tells when they are not or the views differ.
func TestCheckMasks(t *testing.T) {
	for _, engine := range []string{"postgres", "mysql"} {
		t.Run(engine, func(t *testing.T) {
			ctx := t.Context()
			var db *testenv.Database
			var seed func(context.Context, *testenv.Database, []clinicdata.Table, string) error
			prefix := "public."
			if engine == "postgres" {
				db, seed = testenv.Postgres(t), testenv.SeedPostgres
			} else {
				db, seed, prefix = testenv.MariaDB(t), testenv.SeedMariaDB, ""
			}
			if err := seed(ctx, db, clinicdata.Tables(5, 0), "vaultpw"); err != nil {
				t.Fatal(err)
			}
			var random [4]byte
			_, _ = rand.Read(random[:])
			schema := "c_" + hex.EncodeToString(random[:])
			t.Setenv("TEST_ADMIN_PASSWORD", db.AdminPassword)
			c := config.Connection{Engine: engine, Host: db.Host, Port: db.Port, Database: db.Name, MaskedSchema: schema, MaxSessions: 2, Columns: map[string]string{},
				TLS: config.DatabaseTLS{Mode: "off"}, Credentials: config.Credentials{Issuer: "native", AdminUser: db.AdminUser,
					AdminPassword: &config.SecretRef{Env: "TEST_ADMIN_PASSWORD"}, ReadGroup: schema + "_ro", WriteGroup: "chaperone_rw", TTL: config.Duration(time.Minute)}}
			if engine == "postgres" {
				c.SearchPath = []string{"public"}
			}
			for name, class := range clinicdata.Protected() {
				c.Columns[prefix+name] = class
			}
			cfg := &config.Config{Masking: config.Masking{Profile: "hipaa-safe-harbor"}, Connections: map[string]config.Connection{"the-clinic": c}}
			t.Setenv("CHAPERONE_MASKS_DSN_THE_CLINIC", db.DSN)
			masks, _, err := OpenMasks(ctx, cfg, "the-clinic", "", masking.Secret(db.DSN))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = masks.Drop(context.Background())
				_ = masks.Close(context.Background())
			})
			if err := masks.Apply(ctx); err != nil {
				t.Fatal(err)
			}
			try := func(want string) {
				t.Helper()
				detail, err := tryConnection(ctx, cfg, "the-clinic")
				switch {
				case want == "" && err != nil:
					t.Fatalf("check: %v", err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Fatalf("check says %v %s, want %q", err, detail, want)
				}
			}
			try("")
			exec := func(text string) {
				t.Helper()
				if engine == "postgres" {
					conn, err := pgx.Connect(ctx, db.DSN)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = conn.Close(context.Background()) }()
					if _, err := conn.Exec(ctx, text); err != nil {
						t.Fatal(err)
					}
					return
				}
				conn, err := db.OpenMySQL()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.ExecContext(ctx, text); err != nil {
					t.Fatal(err)
				}
			}
			exec("DROP VIEW " + schema + ".medications")
			try("medications: missing")
			if err := masks.Apply(ctx); err != nil {
				t.Fatal(err)
			}
			from := "public"
			if engine == "mysql" {
				from = db.Name
			} else {
				exec("GRANT USAGE ON SCHEMA public TO " + schema + "_ro")
			}
			for _, table := range []string{"patients", "encounters", "claims"} {
				exec("GRANT SELECT ON " + from + "." + table + " TO " + schema + "_ro")
			}
			try("can read")
		})
	}
}
