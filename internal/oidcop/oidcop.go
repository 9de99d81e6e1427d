// Package oidcop is a real OpenID provider for tests, the development stack and
// the demo: discovery, rotating keys, authorization code with PKCE and a login
// form, client credentials. It is built on a certified library. It is never
// part of the production binary: its users have passwords like "nurse".
package oidcop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// PageClient is the public client of the gateway's pages; MachineClient may
// use client credentials with its own name as the secret.
const (
	PageClient = "chaperone-pages"
	Audience   = "chaperone"
)

// User is somebody who can sign in, or an agent that gets tokens.
type User struct {
	Subject string
	Name    string
	// Password of the login form; the user name is the subject.
	Password string
	// Roles is the claim chaperone_roles.
	Roles []string
}

// Config of a provider.
type Config struct {
	// Listen is host:port; port 0 chooses one.
	Listen string
	// Issuer is the provider's URL if it is not the listener's own.
	Issuer string
	Users  []User
	// RedirectURIs of PageClient.
	RedirectURIs []string
	// KeyFile keeps the signing key (PEM), made if it does not exist; "" keeps
	// none. Whoever has the file can mint tokens: see Mint.
	KeyFile string
}

// Provider is a running provider.
type Provider struct {
	*storage.Storage
	issuer string
	addr   string
	users  map[string]User
	pages  op.Client
	server *http.Server

	mu   sync.Mutex
	keys []signingKey // the last one signs; the older ones are still published
}

// Start runs a provider until Close.
func Start(cfg Config) (*Provider, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting the OIDC provider: %w", err)
	}
	p := &Provider{issuer: "http://" + l.Addr().String(), users: map[string]User{}}
	if cfg.Issuer != "" {
		p.issuer = cfg.Issuer
	}
	p.addr = l.Addr().String()
	for _, u := range cfg.Users {
		p.users[u.Subject] = u
	}
	p.pages = pageClient{storage.NativeClient(PageClient, cfg.RedirectURIs...)}
	p.Storage = storage.NewStorageWithClients(people{p}, map[string]*storage.Client{
		PageClient: storage.NativeClient(PageClient, cfg.RedirectURIs...),
	})
	key, err := loadKey(cfg.KeyFile)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p.keys = []signingKey{key}
	if err := p.serve(l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return p, nil
}

func (p *Provider) serve(l net.Listener) error {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	provider, err := op.NewProvider(&op.Config{
		CryptoKey: secret, CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true,
		DefaultLogoutRedirectURI: "/signed-out",
	}, p, op.StaticIssuer(p.issuer), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("building the OIDC provider: %w", err)
	}
	callback := op.AuthCallbackURL(provider)
	withIssuer := op.NewIssuerInterceptor(provider.IssuerFromRequest)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/username", loginForm)
	mux.HandleFunc("POST /login/username", withIssuer.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.PostFormValue("authRequestID")
		if err := p.CheckUsernamePassword(r.PostFormValue("username"), r.PostFormValue("password"), id); err != nil {
			http.Error(w, "wrong user or password", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, callback(r.Context(), id), http.StatusFound)
	}))
	mux.Handle("/", provider)
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return nil
}

// Issuer is the provider's URL.
func (p *Provider) Issuer() string { return p.issuer }

// Addr is where it listens.
func (p *Provider) Addr() string { return p.addr }

// Close stops the provider.
func (p *Provider) Close() error { return p.server.Close() }

// Rotate makes a new signing key; tokens signed with older ones stay valid.
func (p *Provider) Rotate() error {
	key, err := newKey()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, key)
	return nil
}

// Token is a signed access token of a user, valid for ttl, with the user's
// claims; extra ones override (nil removes).
func (p *Provider) Token(subject string, ttl time.Duration, extra map[string]any) (string, error) {
	user, ok := p.users[subject]
	if !ok {
		return "", fmt.Errorf("no user %q", subject)
	}
	p.mu.Lock()
	key := p.keys[len(p.keys)-1]
	p.mu.Unlock()
	return mint(key, p.issuer, user, ttl, extra)
}

// Mint signs a token with the key in a file, for an issuer that runs elsewhere.
func Mint(keyFile, issuer string, user User, ttl time.Duration) (string, error) {
	key, err := loadKey(keyFile)
	if err != nil {
		return "", err
	}
	return mint(key, issuer, user, ttl, nil)
}

func mint(key signingKey, issuer string, user User, ttl time.Duration, extra map[string]any) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss": issuer, "sub": user.Subject, "aud": []string{Audience}, "azp": user.Subject, "client_id": user.Subject,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(ttl).Unix(), "auth_time": now.Unix(), "name": user.Name,
		"jti": newID(), "chaperone_roles": user.Roles,
	}
	maps.Copy(claims, extra)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.key, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// What the library asks of its storage, where ours differs from the example's.

// SigningKey is the newest key.
func (p *Provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1], nil
}

// SignatureAlgorithms is RS256.
func (p *Provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet are the public keys.
func (p *Provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]op.Key, 0, len(p.keys))
	for _, k := range p.keys {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

// GetClientByClientID knows the pages and, as machines, every user.
func (p *Provider) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id == PageClient {
		return p.pages, nil
	}
	if _, ok := p.users[id]; ok {
		return pageClient{storage.WebClient(id, "")}, nil
	}
	return nil, errors.New("no such client")
}

// AuthorizeClientIDSecret checks a machine's secret: its password.
func (p *Provider) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if u, ok := p.users[id]; !ok || u.Password != secret {
		return errors.New("wrong client or secret")
	}
	return nil
}

// ClientCredentials authenticates a machine.
func (p *Provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := p.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return p.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest gives a machine a token for the gateway.
func (p *Provider) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{Audience}, Scopes: scopes}, nil
}

// GetPrivateClaimsFromScopes puts the roles into access tokens.
func (p *Provider) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	u := p.users[user]
	return map[string]any{"chaperone_roles": u.Roles, "name": u.Name, "azp": user}, nil
}

// SetUserinfoFromRequest puts the roles into ID tokens.
func (p *Provider) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, token op.IDTokenRequest, _ []string) error {
	u, ok := p.users[token.GetSubject()]
	if !ok {
		return errors.New("no such user")
	}
	info.Subject, info.Name = u.Subject, u.Name
	info.AppendClaims("chaperone_roles", u.Roles)
	return nil
}

// pageClient is a client whose access tokens are JWTs and whose redirects may
// be plain http on loopback.
type pageClient struct{ *storage.Client }

func (pageClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (pageClient) DevMode() bool                        { return true }
func (pageClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (pageClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeClientCredentials, oidc.GrantTypeRefreshToken}
}

// people is the login form's view of the users.
type people struct{ p *Provider }

func (s people) GetUserByID(id string) *storage.User { return s.GetUserByUsername(id) }

func (s people) GetUserByUsername(name string) *storage.User {
	u, ok := s.p.users[name]
	if !ok {
		return nil
	}
	return &storage.User{ID: u.Subject, Username: u.Subject, Password: u.Password, FirstName: u.Name}
}

func (people) ExampleClientID() string { return "" }

// signingKey is an RSA key.
type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.key }
func (k signingKey) ID() string                                  { return k.id }

type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.key.PublicKey }

func newKey() (signingKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	return keyed(key), nil
}

func keyed(key *rsa.PrivateKey) signingKey {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return signingKey{hex.EncodeToString(sum[:8]), key}
}

func loadKey(file string) (signingKey, error) {
	if file == "" {
		return newKey()
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err := newKey()
		if err != nil {
			return key, err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.key)})
		return key, os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return signingKey{}, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return signingKey{}, fmt.Errorf("%s holds no PEM key", file)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, err
	}
	return keyed(key), nil
}

func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// BadTokens are tokens that a gateway must refuse, by what is wrong with them.
func (p *Provider) BadTokens(subject string) (map[string]string, error) {
	good, err := p.Token(subject, time.Hour, nil)
	if err != nil {
		return nil, err
	}
	bad := map[string]string{"empty": "", "garbage": "abc", "three parts": "a.b.c", "truncated": good[:len(good)-8]}
	for name, extra := range map[string]map[string]any{
		"expired":          {"exp": time.Now().Add(-time.Hour).Unix()},
		"not yet":          {"nbf": time.Now().Add(time.Hour).Unix()},
		"wrong audience":   {"aud": []string{"somebody-else"}},
		"no audience":      {"aud": nil},
		"wrong issuer":     {"iss": "https://evil.example.org"},
		"no subject":       {"sub": nil},
		"no expiry":        {"exp": nil},
		"issued in future": {"iat": time.Now().Add(time.Hour).Unix(), "nbf": nil},
	} {
		if bad[name], err = p.Token(subject, time.Hour, extra); err != nil {
			return nil, err
		}
	}
	user := p.users[subject]
	other, err := newKey()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	own := p.keys[len(p.keys)-1]
	p.mu.Unlock()
	if bad["unknown key"], err = mint(other, p.issuer, user, time.Hour, nil); err != nil {
		return nil, err
	}
	other.id = own.id
	if bad["another key under our key's name"], err = mint(other, p.issuer, user, time.Hour, nil); err != nil {
		return nil, err
	}
	return bad, p.forge(bad, user, own)
}

// forge adds tokens with an algorithm that must not be accepted.
func (p *Provider) forge(bad map[string]string, user User, own signingKey) error {
	claims := map[string]any{"iss": p.issuer, "sub": user.Subject, "aud": []string{Audience},
		"exp": time.Now().Add(time.Hour).Unix(), "chaperone_roles": user.Roles}
	public, err := x509.MarshalPKIXPublicKey(&own.key.PublicKey)
	if err != nil {
		return err
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	for name, key := range map[string]jose.SigningKey{
		"HS256 with the public key as secret": {Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: own.id}},
		"ES256 under an RSA key's name":       {Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: ec, KeyID: own.id}},
	} {
		signer, err := jose.NewSigner(key, nil)
		if err != nil {
			return err
		}
		if bad[name], err = jwt.Signed(signer).Claims(claims).Serialize(); err != nil {
			return err
		}
	}
	bad["alg none"] = unsigned(claims)
	return nil
}
