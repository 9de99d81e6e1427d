package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/credentials/native"
	"github.com/chaperone-sql/chaperone/credentials/vault"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
	"github.com/chaperone-sql/chaperone/worm/s3"
)

// connectTimeout bounds dialling and logging in to a database.
const connectTimeout = 5 * time.Second

// OpenStore opens the configured write-once store.
func OpenStore(ctx context.Context, cfg *config.Config) (worm.Store, error) {
	retention := time.Duration(cfg.Store.Retention)
	if cfg.Store.Dir != nil {
		return dir.New(dir.Config{Path: cfg.Store.Dir.Path, Retention: retention})
	}
	c := cfg.Store.S3
	out := s3.Config{Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Prefix: c.Prefix, PathStyle: c.PathStyle,
		Retention: retention, CAFile: c.CAFile}
	if c.AccessKey != nil && c.SecretKey != nil {
		access, err := c.AccessKey.Resolve()
		if err != nil {
			return nil, err
		}
		out.AccessKey = access.Reveal()
		if out.SecretKey, err = c.SecretKey.Resolve(); err != nil {
			return nil, err
		}
	}
	return s3.New(ctx, out)
}

// Auditors are the recipients that everything sealed is sealed to.
func Auditors(cfg *config.Config) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, text := range cfg.Evidence.Auditors {
		one, err := evidence.ParseRecipients(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

// approvalKey reads the age identity that opens waiting statements, and its
// recipient.
func approvalKey(cfg *config.Config) (age.Identity, age.Recipient, error) {
	text, err := cfg.Approvals.Key.Resolve()
	if err != nil {
		return nil, nil, err
	}
	ids, err := age.ParseIdentities(strings.NewReader(text.Reveal()))
	if err != nil || len(ids) != 1 {
		return nil, nil, errors.New("approvals.key holds no age identity; make one with `chaperone keys age`")
	}
	switch id := ids[0].(type) {
	case *age.X25519Identity:
		return id, id.Recipient(), nil
	case *age.HybridIdentity:
		return id, id.Recipient(), nil
	}
	return nil, nil, errors.New("approvals.key is of a kind that has no recipient")
}

// newVerifier builds the token verifier.
func newVerifier(cfg *config.Config, clock func() time.Time) (*identity.Verifier, error) {
	var grants []identity.Grant
	for _, g := range cfg.Identity.Grants {
		grants = append(grants, identity.Grant{Claim: g.Claim, Value: g.Value, Role: identity.Role(g.Role), Connections: g.Connections})
	}
	return identity.New(identity.Config{
		Issuer: cfg.Identity.Issuer, CAFile: cfg.Identity.CAFile, Audience: cfg.Identity.Audience,
		Algorithms: cfg.Identity.Algorithms, ClockSkew: time.Duration(cfg.Identity.ClockSkew),
		AllowedAZP: cfg.Identity.AllowedAZP, RolesClaim: cfg.Identity.RolesClaim, Grants: grants,
		OnBehalfOf: cfg.Identity.OnBehalfOfClaim, Clock: clock,
	})
}

// login builds the sign-in of the pages, or nil if it is not configured.
func login(cfg *config.Config, v *identity.Verifier, clock func() time.Time) (*identity.Login, *identity.Sessions, []byte, error) {
	l := cfg.Identity.Login
	if l == nil {
		return nil, nil, nil, nil
	}
	var secret masking.Secret
	if l.ClientSecret != nil {
		var err error
		if secret, err = l.ClientSecret.Resolve(); err != nil {
			return nil, nil, nil, err
		}
	}
	text, err := l.SessionKey.Resolve()
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := hex.DecodeString(text.Reveal())
	if err != nil {
		return nil, nil, nil, errors.New("identity.login.session_key is not hex")
	}
	sessions, err := identity.NewSessions(key, sessionLifetime, clock)
	if err != nil {
		return nil, nil, nil, err
	}
	return identity.NewLogin(v, identity.LoginConfig{
		ClientID: l.ClientID, ClientSecret: secret, RedirectURL: cfg.PublicURL + "/login/callback", Scopes: l.Scopes,
	}), sessions, key, nil
}

// sessionLifetime is how long a person stays signed in.
const sessionLifetime = 30 * time.Minute

// Issuers are the credential issuers of a configuration behind one.
type Issuers struct {
	by     map[string]credentials.Issuer
	all    []credentials.Issuer
	native *native.Issuer
}

var _ credentials.Issuer = (*Issuers)(nil)

// NewIssuers builds every issuer that connections name. It contacts nobody.
func NewIssuers(cfg *config.Config, clock func() time.Time) (*Issuers, error) {
	out := &Issuers{by: map[string]credentials.Issuer{}}
	roles := map[string]vault.Roles{}
	servers := map[string]native.Database{}
	for name, c := range cfg.Connections {
		if c.Credentials.Issuer == "vault" {
			roles[name] = vault.Roles{Mount: c.Credentials.Mount, Read: c.Credentials.ReadRole, Write: c.Credentials.WriteRole}
			continue
		}
		password, err := c.Credentials.AdminPassword.Resolve()
		if err != nil {
			return nil, err
		}
		servers[name] = native.Database{Engine: c.Engine, Host: c.Host, Port: c.Port, Name: c.Database, User: c.Credentials.AdminUser,
			Password: password, ReadGroup: c.Credentials.ReadGroup, WriteGroup: c.Credentials.WriteGroup}
	}
	if len(roles) > 0 {
		issuer, err := openVault(cfg, roles, clock)
		if err != nil {
			return nil, err
		}
		out.all = append(out.all, issuer)
		for name := range roles {
			out.by[name] = issuer
		}
	}
	if len(servers) > 0 {
		issuer, err := native.New(servers, clock)
		if err != nil {
			return nil, err
		}
		out.native = issuer
		out.all = append(out.all, issuer)
		for name := range servers {
			out.by[name] = issuer
		}
	}
	return out, nil
}

// Issue mints with the connection's issuer.
func (i *Issuers) Issue(ctx context.Context, g credentials.Grant) (*credentials.Lease, error) {
	issuer, ok := i.by[g.Connection]
	if !ok {
		return nil, fmt.Errorf("no issuer for connection %q", g.Connection)
	}
	return issuer.Issue(ctx, g)
}

// Revoke ends a lease with the connection's issuer.
func (i *Issuers) Revoke(ctx context.Context, connection, lease string) error {
	issuer, ok := i.by[connection]
	if !ok {
		return fmt.Errorf("no issuer for connection %q", connection)
	}
	return issuer.Revoke(ctx, connection, lease)
}

// Check mints and revokes on every connection.
func (i *Issuers) Check(ctx context.Context) error {
	var all []error
	for _, issuer := range i.all {
		all = append(all, issuer.Check(ctx))
	}
	return errors.Join(all...)
}

// openVault is the Vault of the configuration; it is not contacted yet.
func openVault(cfg *config.Config, roles map[string]vault.Roles, clock func() time.Time) (*vault.Issuer, error) {
	return vault.New(vault.Config{
		Address: cfg.Vault.Address, CAFile: cfg.Vault.CAFile, Namespace: cfg.Vault.Namespace,
		AppRoleMount: cfg.Vault.AppRole.Mount, RoleID: cfg.Vault.AppRole.RoleID.Resolve,
		SecretID: cfg.Vault.AppRole.SecretID.Resolve, Connections: roles, Timeout: time.Duration(cfg.Vault.Timeout), Clock: clock,
	})
}

// SigningKey is the key that a configuration names for signing evidence.
func SigningKey(cfg *config.Config) (*evidence.Signer, error) {
	text, err := cfg.Evidence.SigningKey.Resolve()
	if err != nil {
		return nil, err
	}
	return evidence.ParseSigner(text)
}

// Tokenizer makes the tokens of a configuration, with the key that it names.
func Tokenizer(ctx context.Context, cfg *config.Config) (*masking.Tokenizer, error) {
	key, err := tokenKey(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("masking.token_key: %w", err)
	}
	return masking.NewTokenizer([]byte(key.Reveal()))
}

func tokenKey(ctx context.Context, cfg *config.Config) (masking.Secret, error) {
	path, field, ok := cfg.Masking.TokenKey.InVault()
	if !ok {
		return cfg.Masking.TokenKey.Resolve()
	}
	v, err := openVault(cfg, nil, time.Now)
	if err != nil {
		return "", err
	}
	return v.Secret(ctx, path, field)
}

// Databases builds the configured connections.
func Databases(cfg *config.Config) (map[string]*gateway.Database, error) {
	pg := postgres.New()
	go pg.Warm()
	engines := map[string]connectors.Engine{"postgres": pg, "mysql": mysql.New()}
	out := map[string]*gateway.Database{}
	for name, c := range cfg.Connections {
		if c.SmallCell == nil {
			c.SmallCell = &cfg.Masking.SmallCell
		}
		classes, err := c.Classification(&cfg.Masking)
		if err != nil {
			return nil, fmt.Errorf("connection %s: %w", name, err)
		}
		target := connectors.Target{Host: c.Host, Port: c.Port, Database: c.Database, SearchPath: c.SearchPath, MaskedSchema: c.MaskedSchema,
			ConnectTimeout: connectTimeout}
		if c.TLS.Mode == "verify-full" {
			if target.TLS, err = databaseTLS(c); err != nil {
				return nil, fmt.Errorf("connection %s: %w", name, err)
			}
		}
		out[name] = &gateway.Database{Name: name, Description: c.Description, Engine: engines[c.Engine], Target: target,
			Classes: classes, Functions: c.Functions, LeaseTTL: time.Duration(c.Credentials.TTL), MaxSessions: c.MaxSessions}
	}
	return out, nil
}

func databaseTLS(c config.Connection) (*tls.Config, error) {
	name := c.TLS.ServerName
	if name == "" {
		name = c.Host
	}
	out := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, err
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.TLS.CAFile)
		}
	}
	return out, nil
}
