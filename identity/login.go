package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/chaperone-sql/chaperone/masking"
)

// LoginConfig is the OIDC client of the pages.
type LoginConfig struct {
	ClientID     string
	ClientSecret masking.Secret // "" for a public client
	RedirectURL  string
	Scopes       []string // besides openid
}

// Login signs people in by the authorization code flow with PKCE (RFC 7636).
type Login struct {
	verifier *Verifier
	cfg      LoginConfig
}

// NewLogin uses the provider and the role rules of a Verifier.
func NewLogin(v *Verifier, cfg LoginConfig) *Login { return &Login{v, cfg} }

func (l *Login) client(provider *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: l.cfg.ClientID, ClientSecret: l.cfg.ClientSecret.Reveal(), Endpoint: provider.Endpoint(),
		RedirectURL: l.cfg.RedirectURL, Scopes: append([]string{oidc.ScopeOpenID}, l.cfg.Scopes...),
	}
}

// AuthURL is where the browser is sent.
func (l *Login) AuthURL(state, nonce, pkceVerifier string) (string, error) {
	provider, _, err := l.verifier.discovered()
	if err != nil {
		return "", err
	}
	return l.client(provider).AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(pkceVerifier)), nil
}

// Exchange turns the code that came back into who signed in. Roles come from
// the ID token's claims.
func (l *Login) Exchange(ctx context.Context, code, pkceVerifier, nonce string) (*Principal, error) {
	provider, _, err := l.verifier.discovered()
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, l.verifier.client)
	token, err := l.client(provider).Exchange(ctx, code, oauth2.VerifierOption(pkceVerifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%w: the provider refused the sign-in", ErrInvalidToken)
	case err != nil:
		return nil, fmt.Errorf("%w: the sign-in could not be completed", ErrProviderUnavailable)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, fmt.Errorf("%w: the provider gave no ID token", ErrInvalidToken)
	}
	idToken, err := provider.VerifierContext(ctx, &oidc.Config{
		ClientID: l.cfg.ClientID, SupportedSigningAlgs: l.verifier.cfg.Algorithms, SkipExpiryCheck: true,
	}).Verify(ctx, raw)
	if err != nil {
		return nil, refusal(err)
	}
	if nonce == "" || subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(nonce)) != 1 {
		return nil, fmt.Errorf("%w: it belongs to another sign-in", ErrInvalidToken)
	}
	rules := l.verifier.cfg
	rules.AllowedAZP = nil // the client is this one
	claims, err := rules.checked(idToken)
	if err != nil {
		return nil, err
	}
	p := l.verifier.principal(idToken, claims)
	if p.AuthTime.IsZero() {
		p.AuthTime = idToken.IssuedAt.UTC()
	}
	return p, nil
}

// Sessions keeps a signed-in person in a cookie: AES-256-GCM under a key that
// all gateways share, for at most Lifetime.
type Sessions struct {
	aead     cipher.AEAD
	lifetime time.Duration
	clock    func() time.Time
}

// NewSessions takes a 32-byte key.
func NewSessions(key []byte, lifetime time.Duration, clock func() time.Time) (*Sessions, error) {
	if len(key) != 32 {
		return nil, errors.New("identity: the session key must have 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &Sessions{aead, lifetime, clock}, nil
}

// sealed is what a cookie holds. Groups are left out: they can be many, and no
// page needs them.
type sealed struct {
	Principal Principal
	Until     time.Time
	Salt      string // no two cookies of a person are alike
}

const sessionPurpose = "chaperone session v1"

// Seal makes a cookie's value: URL-safe base64.
func (s *Sessions) Seal(p *Principal) (string, error) {
	c := sealed{Principal: *p, Until: s.clock().Add(s.lifetime), Salt: rand.Text()}
	c.Principal.Groups = nil
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("sealing a session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, []byte(sessionPurpose))), nil // #nosec G407 -- the AEAD draws its own random nonce
}

// Open reads a cookie's value. What was not sealed with the key, or is over, is
// ErrInvalidToken.
func (s *Sessions) Open(cookie string) (*Principal, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(raw) < s.aead.Overhead() {
		return nil, fmt.Errorf("%w: not a session", ErrInvalidToken)
	}
	text, err := s.aead.Open(nil, nil, raw, []byte(sessionPurpose))
	if err != nil {
		return nil, fmt.Errorf("%w: not a session", ErrInvalidToken)
	}
	var c sealed
	if err := json.Unmarshal(text, &c); err != nil || !s.clock().Before(c.Until) {
		return nil, fmt.Errorf("%w: the session is over", ErrInvalidToken)
	}
	return &c.Principal, nil
}
