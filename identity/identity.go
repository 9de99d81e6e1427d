// Package identity finds out who asks: it verifies OIDC tokens and turns them
// into a Principal with roles. It trusts nothing but the configured issuer's
// keys.
package identity

import (
	"errors"
	"time"
)

// Errors of Verify. Every other error is a defect.
var (
	// ErrInvalidToken: the token is missing, malformed, expired, for another
	// audience, or not signed by the issuer. The text says which in safe words.
	ErrInvalidToken = errors.New("invalid token")
	// ErrProviderUnavailable: the issuer's keys cannot be had and the token's
	// key is not known; nothing can be said about the token.
	ErrProviderUnavailable = errors.New("identity provider unavailable")
)

// Role is what a principal may do on a connection.
type Role string

// The roles.
const (
	Agent    Role = "agent"    // may send statements
	Approver Role = "approver" // may decide approval requests of others
	Auditor  Role = "auditor"  // may read evidence
)

// Principal is an authenticated caller. It is immutable.
type Principal struct {
	Subject string
	Issuer  string
	// ClientID is the OAuth client (azp or client_id claim).
	ClientID string
	// OnBehalfOf is the subject of the person an agent acts for (RFC 8693
	// "act"/"sub", as configured), or "".
	OnBehalfOf string
	Name       string
	Email      string
	AuthTime   time.Time
	// ACR is how strongly the provider says it authenticated (the acr claim of
	// OpenID Connect Core, section 2), "" if it does not say.
	ACR     string
	Expires time.Time
	TokenID string
	Groups  []string

	// Roles maps a connection's name to roles; "*" is every connection.
	Roles map[string][]Role
}

// Has reports whether the principal holds a role on a connection.
func (p *Principal) Has(role Role, connection string) bool {
	for _, name := range []string{connection, "*"} {
		for _, r := range p.Roles[name] {
			if r == role {
				return true
			}
		}
	}
	return false
}

// Key identifies the principal across issuers: issuer and subject.
func (p *Principal) Key() string { return p.Issuer + "#" + p.Subject }
