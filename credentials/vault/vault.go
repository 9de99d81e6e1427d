// Package vault issues database credentials through Vault's database engine, and
// reads secrets of its key-value engine.
package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/masking"
)

// Roles are where one connection's credentials come from.
type Roles struct {
	// Mount of the database engine.
	Mount string
	// Read and Write are its roles; Write may be "".
	Read, Write string
}

// Config of an Issuer.
type Config struct {
	Address   string
	CAFile    string // PEM; "" is the system's
	Namespace string
	// AppRoleMount, and the functions that read role id and secret id anew at
	// each login, so that they can be rotated.
	AppRoleMount     string
	RoleID, SecretID func() (masking.Secret, error)
	Connections      map[string]Roles
	Timeout          time.Duration
	Clock            func() time.Time
}

// Issuer is a credentials.Issuer. It logs in when it first needs to, and again
// when its token is about to end or Vault no longer takes it.
type Issuer struct {
	cfg    Config
	client *api.Client

	mu    sync.Mutex
	token string
	until time.Time // when to log in anew
}

var _ credentials.Issuer = (*Issuer)(nil)

// New builds an Issuer without contacting Vault.
func New(cfg Config) (*Issuer, error) {
	if cfg.RoleID == nil || cfg.SecretID == nil || cfg.Clock == nil || cfg.Timeout <= 0 {
		return nil, errors.New("vault: a required part of the configuration is missing")
	}
	c := api.DefaultConfig()
	if c.Error != nil {
		return nil, errors.New("vault: the environment's VAULT_* settings are malformed")
	}
	c.Address, c.Timeout, c.MaxRetries = cfg.Address, cfg.Timeout, 1
	c.MinRetryWait, c.MaxRetryWait = 50*time.Millisecond, 200*time.Millisecond
	if cfg.CAFile != "" {
		if err := c.ConfigureTLS(&api.TLSConfig{CACert: cfg.CAFile}); err != nil {
			return nil, fmt.Errorf("vault: %w", err)
		}
	}
	if t, ok := c.HttpClient.Transport.(*http.Transport); ok {
		t.MaxIdleConnsPerHost = 64 // one for each mint in flight
	}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client.ClearToken() // none from the environment
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	return &Issuer{cfg: cfg, client: client}, nil
}

// session is a client with a token that is good for now.
func (i *Issuer) session(ctx context.Context) (*api.Client, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.token == "" || !i.cfg.Clock().Before(i.until) {
		if err := i.login(ctx); err != nil {
			return nil, err
		}
	}
	client, err := i.client.CloneWithHeaders()
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client.SetToken(i.token)
	return client, nil
}

// login takes a new token, to be used for two thirds of its life.
func (i *Issuer) login(ctx context.Context) error {
	role, err := i.cfg.RoleID()
	if err != nil {
		return fmt.Errorf("%w: %w", credentials.ErrUnavailable, err)
	}
	secret, err := i.cfg.SecretID()
	if err != nil {
		return fmt.Errorf("%w: %w", credentials.ErrUnavailable, err)
	}
	ctx, stop := context.WithTimeout(ctx, i.cfg.Timeout)
	defer stop()
	out, err := i.client.Logical().WriteWithContext(ctx, "auth/"+i.cfg.AppRoleMount+"/login", map[string]any{
		"role_id": role.Reveal(), "secret_id": secret.Reveal(),
	})
	if err != nil {
		return unavailable("logging in", err)
	}
	if out == nil || out.Auth == nil || out.Auth.ClientToken == "" {
		return fmt.Errorf("%w: logging in gave no token", credentials.ErrUnavailable)
	}
	i.token = out.Auth.ClientToken
	life := time.Duration(out.Auth.LeaseDuration) * time.Second
	if life <= 0 {
		life = time.Hour
	}
	i.until = i.cfg.Clock().Add(life * 2 / 3)
	return nil
}

// forget drops a token that Vault no longer takes.
func (i *Issuer) forget(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.token == token {
		i.token = ""
	}
}

// call runs a request with a token, once more with a new one if Vault says no:
// it may have been restarted.
func (i *Issuer) call(ctx context.Context, what string, do func(context.Context, *api.Client) error) error {
	for attempt := 0; ; attempt++ {
		client, err := i.session(ctx)
		if err != nil {
			return err
		}
		one, stop := context.WithTimeout(ctx, i.cfg.Timeout)
		err = do(one, client)
		stop()
		var answer *api.ResponseError
		if errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden && attempt == 0 {
			i.forget(client.Token())
			continue
		}
		if err != nil {
			return unavailable(what, err)
		}
		return nil
	}
}

// unavailable keeps of an error what can hold no secret: the status. Vault's
// own words may repeat a database's.
func unavailable(what string, err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %s: Vault answered %d", credentials.ErrUnavailable, what, answer.StatusCode)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %s: no answer in time", credentials.ErrUnavailable, what)
	}
	return fmt.Errorf("%w: %s: Vault cannot be reached", credentials.ErrUnavailable, what)
}

// Issue mints a credential. If the answer is lost after Vault made the user,
// the user ends by the role's own TTL.
func (i *Issuer) Issue(ctx context.Context, grant credentials.Grant) (*credentials.Lease, error) {
	roles, ok := i.cfg.Connections[grant.Connection]
	if !ok {
		return nil, fmt.Errorf("vault: no roles for connection %q", grant.Connection)
	}
	role := roles.Read
	if grant.Access == credentials.ReadWrite {
		role = roles.Write
	}
	if role == "" {
		return nil, fmt.Errorf("%w: connection %q has no role for %s", credentials.ErrUnavailable, grant.Connection, grant.Access)
	}
	var out *api.Secret
	err := i.call(ctx, "minting", func(ctx context.Context, client *api.Client) (err error) {
		out, err = client.Logical().ReadWithContext(ctx, roles.Mount+"/creds/"+role)
		return err
	})
	if err != nil {
		return nil, err
	}
	if out == nil {
		return nil, fmt.Errorf("%w: minting: Vault has no role %q", credentials.ErrUnavailable, role)
	}
	username, _ := out.Data["username"].(string)
	password, _ := out.Data["password"].(string)
	now := i.cfg.Clock()
	lease := &credentials.Lease{
		ID: out.LeaseID, Connection: grant.Connection, Username: username, Password: masking.Secret(password),
		IssuedAt: now, ExpiresAt: now.Add(time.Duration(out.LeaseDuration) * time.Second),
	}
	if lease.ID == "" || username == "" || password == "" {
		return nil, fmt.Errorf("%w: minting: Vault's answer is incomplete", credentials.ErrUnavailable)
	}
	if grant.TTL > 0 && lease.ExpiresAt.After(now.Add(grant.TTL+time.Second)) {
		err := fmt.Errorf("%w: Vault's role %q gives credentials for longer than the connection's ttl; set its default_ttl",
			credentials.ErrUnavailable, role)
		return nil, errors.Join(err, i.Revoke(context.WithoutCancel(ctx), grant.Connection, lease.ID))
	}
	return lease, nil
}

// Secret reads one field of a secret that a key-value engine keeps. The path is
// that of Vault's API, with data/ in it for version 2 of the engine.
func (i *Issuer) Secret(ctx context.Context, path, field string) (masking.Secret, error) {
	var out *api.Secret
	err := i.call(ctx, "reading a secret", func(ctx context.Context, client *api.Client) (err error) {
		out, err = client.Logical().ReadWithContext(ctx, path)
		return err
	})
	if err != nil {
		return "", err
	}
	if out == nil {
		return "", fmt.Errorf("%w: Vault has nothing at %s; version 2 of the key-value engine wants MOUNT/data/NAME", credentials.ErrUnavailable, path)
	}
	data := out.Data
	if inner, ok := data["data"].(map[string]any); ok && data["metadata"] != nil {
		data = inner
	}
	text, ok := data[field].(string)
	if text = strings.TrimSpace(text); !ok || text == "" {
		return "", fmt.Errorf("%w: the secret at %s has no text %s", credentials.ErrUnavailable, path, field)
	}
	return masking.Secret(text), nil
}

// Revoke ends a lease and waits until Vault has dropped the user. Vault answers
// 400 when the database could not be told, and success for a lease that is gone.
func (i *Issuer) Revoke(ctx context.Context, _, leaseID string) error {
	return i.call(ctx, "revoking", func(ctx context.Context, client *api.Client) error {
		return client.Sys().RevokeWithOptionsWithContext(ctx, &api.RevokeOptions{LeaseID: leaseID, Sync: true})
	})
}

// Check mints and revokes a credential for reading on every connection.
func (i *Issuer) Check(ctx context.Context) error {
	var all []error
	for name := range i.cfg.Connections {
		lease, err := i.Issue(ctx, credentials.Grant{Connection: name, Access: credentials.ReadOnly})
		if err == nil {
			err = i.Revoke(ctx, name, lease.ID)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(all...)
}
