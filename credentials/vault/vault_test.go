package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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
