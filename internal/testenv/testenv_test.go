package testenv

import (
	"context"
	"testing"

	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vault "github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/internal/clinicdata"
)

func TestPostgres(t *testing.T) {
	db := Postgres(t)
	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var name string
	if err := conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil || name != db.Name {
		t.Fatal(name, err)
	}
}

func TestMariaDB(t *testing.T) {
	db := MariaDB(t)
	conn, err := db.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var name string
	if err := conn.QueryRow("SELECT database()").Scan(&name); err != nil || name != db.Name {
		t.Fatal(name, err)
	}
}

// TestS3Locks: what is locked in compliance mode cannot be deleted, not even by
// the server's owner, and what exists is not overwritten.
func TestS3Locks(t *testing.T) {
	o := S3(t)
	c := o.client()
	put := &s3.PutObjectInput{Bucket: &o.Bucket, Key: aws.String("k"), IfNoneMatch: aws.String("*"),
		ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
	done, err := c.PutObject(t.Context(), put)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &o.Bucket, Key: put.Key, VersionId: done.VersionId}); err == nil {
		t.Error("a locked version was deleted")
	}
	if _, err := c.PutObject(t.Context(), put); err == nil {
		t.Error("an object was created twice")
	}
}

func TestVault(t *testing.T) {
	if v := Vault(t); v.Addr == "" || v.Token == "" {
		t.Fatal(v)
	}
}

// TestVaultMints: Vault mints users that read, end, and take their sessions
// with them, on both databases.
func TestVaultMints(t *testing.T) {
	ctx := t.Context()
	pg, my, v := Postgres(t), MariaDB(t), Vault(t)
	tables := clinicdata.Tables(20, 0)
	must(t, SeedPostgres(ctx, pg, tables, "vaultpw"))
	must(t, SeedMariaDB(ctx, my, tables, "vaultpw"))
	role, err := BootstrapVault(ctx, v, []VaultDatabase{
		{Name: "clinic", Engine: "postgres", Database: pg, Password: "vaultpw"}, {Name: "billing", Engine: "mysql", Database: my, Password: "vaultpw"}})
	must(t, err)
	client, err := v.Client()
	must(t, err)
	login, err := client.Logical().Write("auth/approle/login", map[string]any{"role_id": role.RoleID, "secret_id": role.SecretID})
	must(t, err)
	client.SetToken(login.Auth.ClientToken)
	if _, err := client.Logical().Read("database/config/clinic"); err == nil {
		t.Error("the gateway's role may read more than credentials")
	}
	mint := func(role string) (id string, user *Database) {
		lease, err := client.Logical().Read("database/creds/" + role)
		must(t, err)
		base := map[string]*Database{"clinic-ro": pg, "billing-ro": my}[role]
		u := *base
		u.AdminUser, u.AdminPassword = lease.Data["username"].(string), lease.Data["password"].(string)
		return lease.LeaseID, &u
	}
	id, user := mint("clinic-ro")
	conn, err := pgx.Connect(ctx, user.url("postgres", user.Name))
	must(t, err)
	var n int
	must(t, conn.QueryRow(ctx, "SELECT count(*) FROM patients").Scan(&n))
	if _, err := conn.Exec(ctx, "DELETE FROM claims"); err == nil || n != 20 {
		t.Error("a reader can write", n)
	}
	must(t, client.Sys().RevokeWithOptions(&vault.RevokeOptions{LeaseID: id, Sync: true}))
	if err := conn.QueryRow(ctx, "SELECT 1").Scan(&n); err == nil {
		t.Error("PostgreSQL: the session outlived its user")
	}

	id, user = mint("billing-ro")
	db, err := user.OpenMySQL()
	must(t, err)
	defer db.Close()
	session, err := db.Conn(ctx)
	must(t, err)
	must(t, session.QueryRowContext(ctx, "SELECT count(*) FROM patients").Scan(&n))
	if _, err := session.ExecContext(ctx, "DELETE FROM claims"); err == nil || n != 20 {
		t.Error("a reader can write", n)
	}
	must(t, client.Sys().RevokeWithOptions(&vault.RevokeOptions{LeaseID: id, Sync: true}))
	if err := session.QueryRowContext(ctx, "SELECT 1").Scan(&n); err == nil {
		t.Error("MariaDB: the session outlived its user")
	}
}
