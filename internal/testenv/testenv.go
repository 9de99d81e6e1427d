// Package testenv gives tests and the development stack the real servers:
// PostgreSQL, MariaDB, Vault, an S3 server with Object Lock, an OIDC provider.
//
// A test asks for what it needs (Postgres(t), S3(t), …). If the environment
// names a running server (CHAPERONE_TEST_POSTGRES and so on, as `make test`
// sets), the test gets a fresh database or bucket of its own there; otherwise
// a private server is started for the test process. A server that cannot be
// had fails the test and says what is missing: it is never skipped.
package testenv

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// Database is a running database server and a fresh database on it that the
// calling test owns.
type Database struct {
	Host          string
	Port          int
	Name          string
	AdminUser     string
	AdminPassword string
	// DSN is the administrator's URL of the database:
	// postgres://user:pass@host:port/name or mysql://user:pass@host:port/name.
	DSN string
}

// ObjectStore is an S3 server and a fresh bucket with Object Lock on it.
type ObjectStore struct {
	Endpoint, Region, Bucket, AccessKey, SecretKey string
}

// Environment variables that name running servers.
const (
	EnvPostgres   = "CHAPERONE_TEST_POSTGRES"    // postgres://admin:pass@host:port/postgres
	EnvMariaDB    = "CHAPERONE_TEST_MARIADB"     // mysql://root:pass@host:port/
	EnvS3         = "CHAPERONE_TEST_S3"          // http://access:secret@host:port
	EnvVault      = "CHAPERONE_TEST_VAULT"       // http://host:port
	EnvVaultToken = "CHAPERONE_TEST_VAULT_TOKEN" //nolint:gosec // a variable's name
)

// Postgres gives the test a fresh database, dropped when it ends.
func Postgres(tb testing.TB) *Database {
	tb.Helper()
	ctx := startContext(tb)
	server, err := parseServer(os.Getenv(EnvPostgres))
	if os.Getenv(EnvPostgres) == "" {
		var p *process
		server, p, err = startPostgres(ctx, serverDir(tb), false)
		must(tb, err)
		tb.Cleanup(func() { p.stop(quitPostgres) })
	}
	must(tb, err)
	db, drop, err := freshPostgres(ctx, server, randomName("t"))
	must(tb, err)
	tb.Cleanup(drop)
	return db
}

// MariaDB gives the test a fresh database, dropped when it ends.
func MariaDB(tb testing.TB) *Database {
	tb.Helper()
	ctx := startContext(tb)
	server, err := parseServer(os.Getenv(EnvMariaDB))
	if os.Getenv(EnvMariaDB) == "" {
		var p *process
		server, p, err = startMariaDB(ctx, serverDir(tb), false)
		must(tb, err)
		tb.Cleanup(func() { p.stop(quitOther) })
	}
	must(tb, err)
	db, drop, err := freshMariaDB(ctx, server, randomName("t"))
	must(tb, err)
	tb.Cleanup(drop)
	return db
}

// S3 gives the test a fresh bucket with Object Lock. It stays: what is locked
// cannot be deleted.
func S3(tb testing.TB) *ObjectStore {
	tb.Helper()
	ctx := startContext(tb)
	var server *ObjectStore
	if text := os.Getenv(EnvS3); text != "" {
		u, err := url.Parse(text)
		must(tb, err)
		secret, _ := u.User.Password()
		server = &ObjectStore{Endpoint: u.Scheme + "://" + u.Host, Region: "us-east-1", AccessKey: u.User.Username(), SecretKey: secret}
	} else {
		var (
			p   *process
			err error
		)
		server, p, err = startS3(ctx, serverDir(tb), false)
		must(tb, err)
		tb.Cleanup(func() { p.stop(quitOther) })
	}
	store, err := freshBucket(ctx, server, strings.ReplaceAll(randomName("t"), "_", "-"))
	must(tb, err)
	return store
}

// Vault gives the test a running Vault.
func Vault(tb testing.TB) *VaultServer {
	tb.Helper()
	if addr := os.Getenv(EnvVault); addr != "" {
		return &VaultServer{Addr: addr, Token: os.Getenv(EnvVaultToken)}
	}
	v, p, err := startVault(startContext(tb), serverDir(tb), false)
	must(tb, err)
	tb.Cleanup(func() { p.stop(quitOther) })
	return v
}

func startContext(tb testing.TB) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(stop)
	return ctx
}

// serverDir is a directory that other users may enter; testing's own may not.
func serverDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "chaperone-test-")
	must(tb, err)
	must(tb, os.Chmod(dir, 0o755)) //nolint:gosec // postgres and mysql must get through
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
