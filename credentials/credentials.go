// Package credentials issues database credentials, one for each execution,
// and sees to it that each is revoked.
//
// Issuer is the contract; credentials/vault asks Vault's database engine,
// credentials/native creates the user itself.
package credentials

import (
	"context"
	"errors"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// ErrUnavailable says that no credential could be had for now.
var ErrUnavailable = errors.New("the credential issuer is unavailable")

// Access is what a credential may do.
type Access string

// The accesses a grant can ask for. Each maps to a role of the issuer.
const (
	ReadOnly  Access = "ro"
	ReadWrite Access = "rw"
)

// Grant is what a credential is asked for.
type Grant struct {
	Connection string
	Access     Access
	// QueryID and Principal go to the issuer's own audit log where it has one.
	QueryID   string
	Principal string
	// TTL is the longest the credential may live.
	TTL time.Duration
}

// Lease is one credential.
type Lease struct {
	// ID is the issuer's identifier, enough to revoke it after a crash.
	ID         string
	Connection string
	// QueryID and Access are the grant's, for the record of its end; Leases sets
	// them.
	QueryID   string
	Access    Access
	Username  string
	Password  masking.Secret
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Issuer mints and revokes. Implementations are safe for concurrent use and
// pass credentials/issuertest.
type Issuer interface {
	// Issue mints a credential. It fails with ErrUnavailable (wrapped) when
	// the issuer cannot be reached in time, and leaves nothing behind that
	// outlives grant.TTL.
	Issue(ctx context.Context, grant Grant) (*Lease, error)
	// Revoke ends a lease by its ID: the user is dropped and its sessions
	// are ended. A lease that is gone already is no error.
	Revoke(ctx context.Context, connection, leaseID string) error
	// Check mints and revokes one credential for a connection, for `chaperone check`
	// and readiness.
	Check(ctx context.Context) error
}
