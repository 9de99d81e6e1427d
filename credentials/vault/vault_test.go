package vault_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/credentials/issuertest"
	"github.com/chaperone-sql/chaperone/credentials/vault"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func secret(text string) func() (masking.Secret, error) {
	return func() (masking.Secret, error) { return masking.Secret(text), nil }
}

func TestConformance(t *testing.T) {
	pg, my, v := testenv.Postgres(t), testenv.MariaDB(t), testenv.Vault(t)
	tables := clinicdata.Tables(5, 0)
	if err := testenv.SeedPostgres(t.Context(), pg, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	if err := testenv.SeedMariaDB(t.Context(), my, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	role, err := testenv.BootstrapVault(t.Context(), v, []testenv.VaultDatabase{
		{Name: "clinic", Engine: "postgres", Database: pg, Password: "vaultpw"},
		{Name: "billing", Engine: "mysql", Database: my, Password: "vaultpw"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := vault.Config{Address: v.Addr, AppRoleMount: "approle", RoleID: secret(role.RoleID), SecretID: secret(role.SecretID),
		Timeout: 5 * time.Second, Clock: time.Now}
	for name, s := range map[string]issuertest.Server{"clinic": {Engine: "postgres", Database: pg}, "billing": {Engine: "mysql", Database: my}} {
		t.Run(name, func(t *testing.T) {
			cfg.Connections = map[string]vault.Roles{"c": {Mount: "database", Read: name + "-ro", Write: name + "-rw"}}
			issuer, err := vault.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			issuertest.Run(t, issuer, s)
		})
	}
	t.Run("a token that Vault forgot is replaced", func(t *testing.T) {
		now := time.Now()
		cfg.Clock = func() time.Time { return now }
		issuer, err := vault.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := issuer.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(8 * time.Minute) // past two thirds of ten minutes
		if err := issuer.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a lease that is too long is refused and revoked", func(t *testing.T) {
		issuer, err := vault.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = issuer.Issue(t.Context(), credentials.Grant{Connection: "c", Access: credentials.ReadOnly, TTL: time.Second})
		if !errors.Is(err, credentials.ErrUnavailable) || !strings.Contains(err.Error(), "default_ttl") {
			t.Error(err)
		}
	})
	t.Run("a revocation that the database refuses is no success", func(t *testing.T) {
		cfg.Connections = map[string]vault.Roles{"c": {Mount: "database", Read: "clinic-ro"}}
		issuer, err := vault.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		lease, err := issuer.Issue(t.Context(), credentials.Grant{Connection: "c", Access: credentials.ReadOnly})
		if err != nil {
			t.Fatal(err)
		}
		admin, err := pgx.Connect(t.Context(), pg.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = admin.Close(context.Background()) }()
		user := pgx.Identifier{lease.Username}.Sanitize()
		// A role that holds a privilege cannot be dropped.
		if _, err := admin.Exec(t.Context(), "GRANT SELECT ON medications TO "+user); err != nil {
			t.Fatal(err)
		}
		if err := issuer.Revoke(t.Context(), "c", lease.ID); !errors.Is(err, credentials.ErrUnavailable) {
			t.Errorf("the user is still there, and revoking says %v", err)
		}
		if _, err := admin.Exec(t.Context(), "REVOKE SELECT ON medications FROM "+user); err != nil {
			t.Fatal(err)
		}
		if err := issuer.Revoke(t.Context(), "c", lease.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("a secret of the key-value engine", func(t *testing.T) { secrets(t, v, cfg) })
	t.Run("down", func(t *testing.T) {
		cfg.Address = "http://127.0.0.1:1"
		issuer, err := vault.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.Issue(t.Context(), credentials.Grant{Connection: "c"}); !errors.Is(err, credentials.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("a wrong secret is not repeated", func(t *testing.T) {
		cfg.Address, cfg.SecretID = v.Addr, secret("hunter2-hunter2")
		issuer, err := vault.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = issuer.Issue(t.Context(), credentials.Grant{Connection: "c"})
		if !errors.Is(err, credentials.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	})
}

// secrets reads version 1 of the engine and what version 2 answers like.
func secrets(t *testing.T, v *testenv.VaultServer, cfg vault.Config) {
	admin, err := v.Client()
	if err != nil {
		t.Fatal(err)
	}
	const key = "hunter2-hunter2-hunter2-hunter2-hunter2"
	err = errors.Join(
		admin.Sys().Mount("secret", &api.MountInput{Type: "kv"}),
		admin.Sys().PutPolicy("tokens", `path "secret/chaperone" { capabilities = ["read"] } path "secret/data/*" { capabilities = ["read"] }`),
	)
	for path, data := range map[string]map[string]any{
		"auth/approle/role/chaperone/policies": {"token_policies": "chaperone,tokens"},
		"secret/chaperone":                     {"token_key": key + "\n", "number": 7},
		"secret/other":                         {"token_key": key},
		"secret/data/chaperone":                {"data": map[string]any{"token_key": key}, "metadata": map[string]any{"version": 1}},
	} {
		_, writeErr := admin.Logical().Write(path, data)
		err = errors.Join(err, writeErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := vault.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"secret/chaperone", "secret/data/chaperone"} {
		if got, err := issuer.Secret(t.Context(), path, "token_key"); err != nil || got.Reveal() != key {
			t.Errorf("%s: %v, %d bytes", path, err, len(got.Reveal()))
		}
	}
	for _, c := range []struct{ path, field, want string }{
		{"secret/chaperone", "tokens", "no text tokens"}, {"secret/chaperone", "number", "no text number"},
		{"secret/data/none", "token_key", "nothing at"}, {"secret/other", "token_key", "403"},
	} {
		_, err := issuer.Secret(t.Context(), c.path, c.field)
		if !errors.Is(err, credentials.ErrUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s#%s: %v", c.path, c.field, err)
		}
	}
}
