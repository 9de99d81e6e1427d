package api

import (
	"context"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// Gateway is what the routes call. Every error is a *gateway.Problem that was
// recorded before it is returned, except those of Ready.
type Gateway interface {
	Query(ctx context.Context, p *identity.Principal, r *gateway.Request) (*gateway.Answer, error)
	// State tells where a query stands, to its requester, and to approvers and
	// auditors of its connection.
	State(ctx context.Context, p *identity.Principal, id string, meta gateway.Meta) (*gateway.Answer, error)
	// Result claims an approved query and runs it.
	Result(ctx context.Context, p *identity.Principal, id, idempotencyKey string, meta gateway.Meta) (*gateway.Answer, error)
	Cancel(ctx context.Context, p *identity.Principal, id string, meta gateway.Meta) (*gateway.Answer, error)
	Connections(ctx context.Context, p *identity.Principal) ([]gateway.Connection, error)
	Schema(ctx context.Context, p *identity.Principal, connection string) (*gateway.Schema, error)
	// Approvals lists the open requests that this approver may decide.
	Approvals(ctx context.Context, p *identity.Principal) ([]approvals.Status, error)
	// Approval shows a request to an approver of its connection, and to nobody else.
	Approval(ctx context.Context, p *identity.Principal, id string, meta gateway.Meta) (*gateway.ApprovalView, error)
	Decide(ctx context.Context, p *identity.Principal, id string, approve bool, comment string,
		meta gateway.Meta) (*approvals.Status, error)
	// Reject records a request that this package refused, and returns the
	// problem to answer with. A nil principal is one that could not be
	// authenticated.
	Reject(ctx context.Context, p *identity.Principal, problem *gateway.Problem, meta gateway.Meta,
		connection string) *gateway.Problem
	// SignedIn records that a person signed in to the pages. No session may be
	// given out if it fails.
	SignedIn(ctx context.Context, p *identity.Principal, meta gateway.Meta) error
	// Ready is nil if requests can be served. The lines of its error's text
	// are shown to anyone, so they name parts and hold no address or secret.
	Ready(ctx context.Context) error
}

// Authenticator verifies bearer tokens. Its errors are identity.ErrInvalidToken
// and identity.ErrProviderUnavailable, wrapped.
type Authenticator interface {
	Verify(ctx context.Context, raw string) (*identity.Principal, error)
}

// Login signs people in with the provider (authorization code with PKCE).
type Login interface {
	// AuthURL is where the browser is sent.
	AuthURL(state, nonce, pkceVerifier string) (string, error)
	// Exchange turns the code that came back into who signed in.
	Exchange(ctx context.Context, code, pkceVerifier, nonce string) (*identity.Principal, error)
}

// Sessions keeps a signed-in person in a cookie: encrypted, authenticated, and
// refused by Open once it expired.
type Sessions interface {
	Seal(p *identity.Principal) (string, error)
	Open(cookie string) (*identity.Principal, error)
}
