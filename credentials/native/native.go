// Package native issues database credentials without Vault: it creates and
// drops the users itself, with an administrator's login. It is for the demo and
// for those who have no Vault; with Vault the gateway holds no such login.
package native

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/masking"
)

// prefix begins every user's name, so that Reap finds those that a crash left.
const prefix = "chp_"

// Database is one connection's server and the administrator on it.
type Database struct {
	Engine   string // postgres or mysql
	Host     string
	Port     int
	Name     string
	User     string
	Password masking.Secret
	// ReadGroup and WriteGroup are the roles that users join. Empty on a server
	// without roles: users get SELECT on the database, and no more.
	ReadGroup, WriteGroup string
}

// dialect creates and drops users on one kind of server.
type dialect interface {
	create(ctx context.Context, user string, password masking.Secret, group string, until time.Time) error
	// drop ends the user and its sessions; a user that is gone is no error.
	drop(ctx context.Context, user string) error
	// users lists those with our prefix.
	users(ctx context.Context) ([]string, error)
}

// Issuer is a credentials.Issuer.
type Issuer struct {
	clock     func() time.Time
	databases map[string]Database
}

var _ credentials.Issuer = (*Issuer)(nil)

// New builds an Issuer without contacting a database.
func New(databases map[string]Database, clock func() time.Time) (*Issuer, error) {
	for name, d := range databases {
		if d.Engine != "postgres" && d.Engine != "mysql" {
			return nil, fmt.Errorf("native credentials: connection %q: unknown engine %q", name, d.Engine)
		}
	}
	return &Issuer{clock, databases}, nil
}

func (i *Issuer) dialect(connection string) (dialect, Database, error) {
	d, ok := i.databases[connection]
	if !ok {
		return nil, d, fmt.Errorf("native credentials: no connection %q", connection)
	}
	if d.Engine == "postgres" {
		return postgres{d}, d, nil
	}
	return mysqlServer{d}, d, nil
}

// Issue creates a user. Its name carries when it ends, for Reap.
func (i *Issuer) Issue(ctx context.Context, grant credentials.Grant) (*credentials.Lease, error) {
	server, d, err := i.dialect(grant.Connection)
	if err != nil {
		return nil, err
	}
	group := d.ReadGroup
	if grant.Access == credentials.ReadWrite {
		if group = d.WriteGroup; group == "" {
			return nil, fmt.Errorf("%w: connection %q has no group for writing", credentials.ErrUnavailable, grant.Connection)
		}
	}
	now := i.clock()
	until := now.Add(grant.TTL)
	var random [6]byte
	var secret [24]byte
	_, _ = rand.Read(random[:]) // never fail (crypto/rand)
	_, _ = rand.Read(secret[:])
	user := fmt.Sprintf("%s%08x_%s", prefix, until.Unix(), hex.EncodeToString(random[:])) // 25 characters; MySQL takes 32
	password := masking.Secret(hex.EncodeToString(secret[:]))
	if err := server.create(ctx, user, password, group, until); err != nil {
		// It may exist although the answer was lost.
		clean, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		_ = server.drop(clean, user) // else Reap does, when its time is over
		return nil, fmt.Errorf("%w: creating a user", credentials.ErrUnavailable)
	}
	return &credentials.Lease{ID: "native/" + user, Connection: grant.Connection, Username: user, Password: password,
		IssuedAt: now, ExpiresAt: until}, nil
}

// Revoke drops the user of a lease and ends its sessions.
func (i *Issuer) Revoke(ctx context.Context, connection, leaseID string) error {
	server, _, err := i.dialect(connection)
	if err != nil {
		return err
	}
	user, ok := strings.CutPrefix(leaseID, "native/")
	if !ok || !ours(user) {
		return errors.New("native credentials: not a lease of this issuer")
	}
	if err := server.drop(ctx, user); err != nil {
		return fmt.Errorf("%w: dropping a user", credentials.ErrUnavailable)
	}
	return nil
}

// Check creates and drops a user on every connection.
func (i *Issuer) Check(ctx context.Context) error {
	var all []error
	for name := range i.databases {
		lease, err := i.Issue(ctx, credentials.Grant{Connection: name, Access: credentials.ReadOnly, TTL: time.Minute})
		if err == nil {
			err = i.Revoke(ctx, name, lease.ID)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(all...)
}

// Reap drops the users whose time is over: what a crash left.
func (i *Issuer) Reap(ctx context.Context) error {
	var all []error
	for name := range i.databases {
		server, _, err := i.dialect(name)
		if err != nil {
			return err
		}
		users, err := server.users(ctx)
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, user := range users {
			if ours(user) && i.clock().After(ends(user)) {
				if err := server.drop(ctx, user); err != nil {
					all = append(all, fmt.Errorf("%s: %w", name, err))
				}
			}
		}
	}
	return errors.Join(all...)
}

// ours reports whether a name is one that Issue made, and so needs no quoting.
func ours(user string) bool {
	rest, ok := strings.CutPrefix(user, prefix)
	if !ok || len(rest) != 21 || rest[8] != '_' {
		return false
	}
	for i := range len(rest) {
		if c := rest[i]; i != 8 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func ends(user string) time.Time {
	seconds, err := strconv.ParseInt(user[len(prefix):len(prefix)+8], 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
