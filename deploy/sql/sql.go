// Package sql holds what an administrator runs once on each database, and the
// schema of the demo clinic, for the demo and the development stack.
package sql

import _ "embed"

// Postgres and MariaDB make the group roles and Vault's own user.
var (
	//go:embed postgres.sql
	Postgres string
	//go:embed mariadb.sql
	MariaDB string
)

// ClinicPostgres and ClinicMariaDB make the tables of the demo clinic.
var (
	//go:embed clinic.postgres.sql
	ClinicPostgres string
	//go:embed clinic.mariadb.sql
	ClinicMariaDB string
)
