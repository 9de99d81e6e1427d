package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	maxToken = 12 << 10
	// cacheFor bounds how long a verified token is trusted without looking at
	// it again; cacheSize how many are.
	cacheFor  = time.Minute
	cacheSize = 4096
	// discoverEvery bounds how often an unreachable provider is asked again.
	discoverEvery = time.Second
	fetchTimeout  = 5 * time.Second
)

// Grant gives a role on connections to tokens whose claim holds a value.
type Grant struct {
	// Claim is a path with dots, such as "realm_access.roles".
	Claim, Value string
	Role         Role
	// Connections the role is for; "*" is all.
	Connections []string
}

// Config of a Verifier.
type Config struct {
	// Issuer must equal the tokens' iss.
	Issuer string
	// CAFile is a PEM file of the provider's certificate authority; "" is the
	// system's.
	CAFile   string
	Audience string
	// Algorithms are the JWS algorithms taken; none and HMAC never are.
	Algorithms []string
	ClockSkew  time.Duration
	// AllowedAZP are the clients taken; empty takes all.
	AllowedAZP []string
	// RolesClaim is a path to a list of "role:connection".
	RolesClaim string
	Grants     []Grant
	// OnBehalfOf is a path to the subject of the person an agent acts for.
	OnBehalfOf string
	// Clock is time.Now in production.
	Clock func() time.Time
}

// Verifier turns tokens into principals. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
	keys     *oidc.IDTokenVerifier
	tried    time.Time
	cache    map[[32]byte]cached
}

type cached struct {
	principal *Principal
	until     time.Time
}

// New builds a Verifier. It contacts nobody: the provider is discovered by the
// first token, and may be down until then.
func New(cfg Config) (*Verifier, error) {
	if cfg.Issuer == "" || cfg.Audience == "" || len(cfg.Algorithms) == 0 || cfg.Clock == nil {
		return nil, errors.New("identity: issuer, audience, algorithms and clock are needed")
	}
	for _, a := range cfg.Algorithms {
		if a == "none" || strings.HasPrefix(a, "HS") {
			return nil, fmt.Errorf("identity: algorithm %q cannot be verified with public keys", a)
		}
	}
	client, err := httpClient(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &Verifier{cfg: cfg, client: client, cache: map[[32]byte]cached{}}, nil
}

func httpClient(caFile string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		pem, err := os.ReadFile(caFile) // #nosec G304 -- the operator names it
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("identity: %s holds no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: fetchTimeout}, nil
}

// Ready is nil once the provider was discovered.
func (v *Verifier) Ready(context.Context) error {
	_, _, err := v.discovered()
	return err
}

// discovered gives the provider, asking for it if it is not known yet. The
// provider keeps its keys, fetches them anew for an unknown key id, and goes
// on with those it has while it cannot.
func (v *Verifier) discovered() (*oidc.Provider, *oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.provider != nil {
		return v.provider, v.keys, nil
	}
	if now := v.cfg.Clock(); now.Sub(v.tried) < discoverEvery {
		return nil, nil, fmt.Errorf("%w: it did not answer a moment ago", ErrProviderUnavailable)
	}
	v.tried = v.cfg.Clock()
	// The provider keeps this context for its later fetches of keys.
	ctx := oidc.ClientContext(context.Background(), v.client)
	provider, err := oidc.NewProvider(ctx, v.cfg.Issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: discovery failed", ErrProviderUnavailable)
	}
	v.provider = provider
	v.keys = provider.VerifierContext(ctx, &oidc.Config{
		ClientID: v.cfg.Audience, SupportedSigningAlgs: v.cfg.Algorithms,
		SkipExpiryCheck: true, // checked below, with the skew
	})
	return v.provider, v.keys, nil
}

// Verify checks a bearer token. Its error wraps ErrInvalidToken, whose text is
// safe to show, or ErrProviderUnavailable.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Principal, error) {
	if raw == "" || len(raw) > maxToken || strings.Count(raw, ".") != 2 {
		return nil, fmt.Errorf("%w: not a JWT", ErrInvalidToken)
	}
	key := sha256.Sum256([]byte(raw))
	now := v.cfg.Clock()
	v.mu.Lock()
	hit, ok := v.cache[key]
	v.mu.Unlock()
	if ok && now.Before(hit.until) {
		return hit.principal, nil
	}
	_, keys, err := v.discovered()
	if err != nil {
		return nil, err
	}
	token, err := keys.Verify(oidc.ClientContext(ctx, v.client), raw)
	if err != nil {
		return nil, refusal(err)
	}
	claims, err := v.cfg.checked(token)
	if err != nil {
		return nil, err
	}
	principal := v.principal(token, claims)
	v.remember(key, principal, now)
	return principal, nil
}

// refusal says in safe words why the library refused a token.
func refusal(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "fetching keys"), strings.Contains(text, "get keys failed"):
		return fmt.Errorf("%w: its keys cannot be fetched", ErrProviderUnavailable)
	case strings.Contains(text, "audience"):
		return fmt.Errorf("%w: it is for another audience", ErrInvalidToken)
	case strings.Contains(text, "issued by a different provider"):
		return fmt.Errorf("%w: it is of another issuer", ErrInvalidToken)
	case strings.Contains(text, "algorithm"):
		return fmt.Errorf("%w: its signature algorithm is not accepted", ErrInvalidToken)
	}
	return fmt.Errorf("%w: its signature or form is wrong", ErrInvalidToken)
}

// checked verifies what the library leaves to its caller.
func (c Config) checked(token *oidc.IDToken) (map[string]any, error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: its claims are malformed", ErrInvalidToken)
	}
	now, skew := c.Clock(), c.ClockSkew
	switch {
	case token.Subject == "" || len(token.Subject) > 255:
		return nil, fmt.Errorf("%w: it has no subject", ErrInvalidToken)
	case claims["exp"] == nil || !now.Before(token.Expiry.Add(skew)):
		return nil, fmt.Errorf("%w: it expired", ErrInvalidToken)
	case token.IssuedAt.After(now.Add(skew)):
		return nil, fmt.Errorf("%w: it was issued in the future", ErrInvalidToken)
	case after(claims["nbf"], now.Add(skew)):
		return nil, fmt.Errorf("%w: it is not valid yet", ErrInvalidToken)
	}
	if len(c.AllowedAZP) > 0 && !slices.Contains(c.AllowedAZP, clientOf(claims)) {
		return nil, fmt.Errorf("%w: its client is not accepted", ErrInvalidToken)
	}
	return claims, nil
}

func after(claim any, limit time.Time) bool {
	if claim == nil {
		return false
	}
	seconds, ok := claim.(float64)
	return !ok || seconds > float64(limit.Unix())
}

func clientOf(claims map[string]any) string {
	for _, name := range []string{"azp", "client_id"} {
		if s, ok := claims[name].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func (v *Verifier) principal(token *oidc.IDToken, claims map[string]any) *Principal {
	text := func(name string) string {
		s, _ := at(claims, name).(string)
		return s
	}
	p := &Principal{
		Subject: token.Subject, Issuer: token.Issuer, ClientID: clientOf(claims), Name: text("name"), Email: text("email"),
		ACR:     text("acr"),
		Expires: token.Expiry, TokenID: text("jti"), Groups: list(claims["groups"]), Roles: map[string][]Role{},
	}
	if v.cfg.OnBehalfOf != "" {
		p.OnBehalfOf = text(v.cfg.OnBehalfOf)
	}
	if seconds, ok := claims["auth_time"].(float64); ok {
		p.AuthTime = time.Unix(int64(seconds), 0).UTC()
	}
	give := func(role Role, connection string) {
		if !slices.Contains(p.Roles[connection], role) {
			p.Roles[connection] = append(p.Roles[connection], role)
		}
	}
	if v.cfg.RolesClaim != "" {
		for _, entry := range list(at(claims, v.cfg.RolesClaim)) {
			role, connection, ok := strings.Cut(entry, ":")
			if ok && connection != "" && slices.Contains([]Role{Agent, Approver, Auditor}, Role(role)) {
				give(Role(role), connection)
			}
		}
	}
	for _, g := range v.cfg.Grants {
		if slices.Contains(list(at(claims, g.Claim)), g.Value) {
			for _, connection := range g.Connections {
				give(g.Role, connection)
			}
		}
	}
	return p
}

// at finds a claim by its path. A claim whose own name holds the dots wins.
func at(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[head].(map[string]any)
	return at(inner, rest)
}

// list reads a claim that is a string or a list of strings.
func list(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// remember keeps a verified token for a while. A full cache is emptied: that
// costs a signature check each, and bounds memory.
func (v *Verifier) remember(key [32]byte, p *Principal, now time.Time) {
	until := now.Add(cacheFor)
	if p.Expires.Before(until) {
		until = p.Expires
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.cache) >= cacheSize {
		clear(v.cache)
	}
	v.cache[key] = cached{p, until}
}
