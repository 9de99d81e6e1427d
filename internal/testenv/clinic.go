package testenv

import (
	"context"
	"fmt"
	"strings"

	vault "github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	deploysql "github.com/chaperone-sql/chaperone/deploy/sql"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
)

// SeedPostgres makes the clinic in a database, with its roles.
func SeedPostgres(ctx context.Context, db *Database, tables []clinicdata.Table, vaultPassword string) error {
	conn, err := pgx.Connect(ctx, db.DSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, script := range []string{deploysql.ClinicPostgres, deploysql.Postgres,
		"ALTER ROLE vault_admin PASSWORD '" + vaultPassword + "'",
		"REVOKE CONNECT ON DATABASE " + db.Name + " FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + db.Name + " TO chaperone_ro, chaperone_rw, vault_admin"} {
		if _, err := conn.PgConn().Exec(ctx, script).ReadAll(); err != nil {
			return fmt.Errorf("preparing PostgreSQL: %w", err)
		}
	}
	for _, t := range tables {
		if _, err := conn.CopyFrom(ctx, pgx.Identifier{t.Name}, t.Columns, pgx.CopyFromRows(typed(t))); err != nil {
			return fmt.Errorf("seeding %s: %w", t.Name, err)
		}
	}
	_, err = conn.PgConn().Exec(ctx, "ANALYZE").ReadAll()
	return err
}

// typed turns what COPY's binary format cannot take from text.
func typed(t clinicdata.Table) [][]any {
	if t.Name != "claims" {
		return t.Rows
	}
	rows := make([][]any, len(t.Rows))
	for i, row := range t.Rows {
		rows[i] = append([]any(nil), row...)
		rows[i][2] = numeric(row[2].(string))
	}
	return rows
}

// SeedMariaDB makes the clinic in a database, with its roles.
func SeedMariaDB(ctx context.Context, db *Database, tables []clinicdata.Table, vaultPassword string) error {
	conn, err := db.OpenMySQL()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, script := range []string{deploysql.ClinicMariaDB, deploysql.MariaDB,
		"ALTER USER vault_admin@'%' IDENTIFIED BY '" + vaultPassword + "'",
		"GRANT SELECT, SHOW VIEW ON " + db.Name + ".* TO chaperone_ro",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON " + db.Name + ".* TO chaperone_rw"} {
		if _, err := conn.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("preparing MariaDB: %w", err)
		}
	}
	for _, t := range tables {
		for from := 0; from < len(t.Rows); from += 200 {
			rows := t.Rows[from:min(from+200, len(t.Rows))]
			one := "(" + strings.TrimSuffix(strings.Repeat("?,", len(t.Columns)), ",") + ")"
			var args []any
			for _, row := range rows {
				args = append(args, row...)
			}
			statement := "INSERT INTO " + t.Name + " (" + strings.Join(t.Columns, ",") + ") VALUES " +
				strings.TrimSuffix(strings.Repeat(one+",", len(rows)), ",")
			if _, err := conn.ExecContext(ctx, statement, args...); err != nil {
				return fmt.Errorf("seeding %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// AppRole is how a gateway logs in to Vault.
type AppRole struct{ RoleID, SecretID string }

// VaultDatabase is one database that Vault mints users for.
type VaultDatabase struct {
	// Name prefixes the roles: Name-ro and Name-rw.
	Name     string
	Engine   string // postgres or mysql
	Database *Database
	// Password of vault_admin there.
	Password string
	// TTL of the users; "" is ten minutes.
	TTL string
}

// BootstrapVault mounts the database engine, makes the roles of each database
// and an AppRole that may use them and nothing else.
func BootstrapVault(ctx context.Context, v *VaultServer, databases []VaultDatabase) (*AppRole, error) {
	client, err := v.Client()
	if err != nil {
		return nil, err
	}
	if err := client.Sys().MountWithContext(ctx, "database", &vault.MountInput{Type: "database"}); err != nil {
		return nil, err
	}
	if err := client.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &vault.EnableAuthOptions{Type: "approle"}); err != nil {
		return nil, err
	}
	policy := ""
	for _, d := range databases {
		if err := addDatabase(ctx, client, d); err != nil {
			return nil, fmt.Errorf("configuring Vault for %s: %w", d.Name, err)
		}
		policy += fmt.Sprintf("path \"database/creds/%[1]s-*\" { capabilities = [\"read\"] }\n"+
			"path \"sys/leases/revoke/database/creds/%[1]s-*\" { capabilities = [\"update\"] }\n", d.Name)
	}
	if err := client.Sys().PutPolicyWithContext(ctx, "chaperone", policy); err != nil {
		return nil, err
	}
	write := func(path string, data map[string]any) (*vault.Secret, error) {
		return client.Logical().WriteWithContext(ctx, path, data)
	}
	if _, err := write("auth/approle/role/chaperone", map[string]any{
		"token_policies": "chaperone", "token_ttl": "10m", "token_max_ttl": "1h",
	}); err != nil {
		return nil, err
	}
	role, err := client.Logical().ReadWithContext(ctx, "auth/approle/role/chaperone/role-id")
	if err != nil {
		return nil, err
	}
	secret, err := write("auth/approle/role/chaperone/secret-id", nil)
	if err != nil {
		return nil, err
	}
	return &AppRole{role.Data["role_id"].(string), secret.Data["secret_id"].(string)}, nil
}

// Client is an administrator's.
func (v *VaultServer) Client() (*vault.Client, error) {
	cfg := vault.DefaultConfig()
	cfg.Address = v.Addr
	client, err := vault.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.SetToken(v.Token)
	return client, nil
}

func addDatabase(ctx context.Context, client *vault.Client, d VaultDatabase) error {
	config := map[string]any{"allowed_roles": d.Name + "-ro," + d.Name + "-rw", "username": "vault_admin", "password": d.Password,
		"max_open_connections": 8, "max_idle_connections": 8}
	addr := fmt.Sprintf("%s:%d", d.Database.Host, d.Database.Port)
	switch d.Engine {
	case "postgres":
		config["plugin_name"] = "postgresql-database-plugin"
		config["connection_url"] = "postgresql://{{username}}:{{password}}@" + addr + "/" + d.Database.Name + "?sslmode=disable"
	case "mysql":
		config["plugin_name"] = "mysql-database-plugin"
		config["connection_url"] = "{{username}}:{{password}}@tcp(" + addr + ")/"
	}
	if _, err := client.Logical().WriteWithContext(ctx, "database/config/"+d.Name, config); err != nil {
		return err
	}
	for _, access := range []string{"ro", "rw"} {
		ttl := d.TTL
		if ttl == "" {
			ttl = "10m"
		}
		role := map[string]any{"db_name": d.Name, "default_ttl": ttl, "max_ttl": ttl}
		// Group membership instead of grants: four times faster, and revoking is
		// one statement. Sessions are ended here because Vault leaves them open.
		if d.Engine == "postgres" {
			role["creation_statements"] = []string{`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' ` +
				`CONNECTION LIMIT 4 IN ROLE chaperone_` + access}
			role["revocation_statements"] = []string{
				`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'`,
				`DROP ROLE IF EXISTS "{{name}}"`}
		} else {
			role["creation_statements"] = []string{`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
				"GRANT chaperone_" + access + " TO '{{name}}'@'%'", "SET DEFAULT ROLE chaperone_" + access + " FOR '{{name}}'@'%'"}
			role["revocation_statements"] = []string{"DROP USER IF EXISTS '{{name}}'@'%'", "KILL USER '{{name}}'@'%'"}
		}
		if _, err := client.Logical().WriteWithContext(ctx, "database/roles/"+d.Name+"-"+access, role); err != nil {
			return err
		}
	}
	return nil
}
