// Package testenv gives tests and the development stack the real servers:
// PostgreSQL, MariaDB, Vault, an S3 server with Object Lock, an OIDC provider.
//
// A test asks for what it needs (Postgres(t), S3(t), …). If the environment
// names a running server (CHAPERONE_TEST_POSTGRES and so on, as `make test`
// sets), the test gets a fresh database or bucket of its own there; otherwise
// a private server is started for the test process. A server that cannot be
// had fails the test and says what is missing: it is never skipped.
package testenv

import "testing"

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

// Object store with a fresh bucket that has Object Lock.
type ObjectStore struct {
	Endpoint, Region, Bucket, AccessKey, SecretKey string
}

// Environment variables that name running servers.
const (
	EnvPostgres = "CHAPERONE_TEST_POSTGRES" // postgres://admin:pass@host:port/postgres
	EnvMariaDB  = "CHAPERONE_TEST_MARIADB"  // mysql://root:pass@host:port/
	EnvS3       = "CHAPERONE_TEST_S3"       // http://access:secret@host:port
	EnvVault    = "CHAPERONE_TEST_VAULT"    // http://host:port, token in CHAPERONE_TEST_VAULT_TOKEN
	EnvOIDC     = "CHAPERONE_TEST_OIDC"     // issuer URL
)

var _ = testing.TB(nil)
