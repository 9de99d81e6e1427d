package server

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/gateway"
)

// ReadOnly is a minted credential that can only read, for an operator's tools.
type ReadOnly struct {
	Database *gateway.Database

	issuers *Issuers
	lease   *credentials.Lease
}

// OpenReadOnly mints a credential for one connection. Close revokes it.
func OpenReadOnly(ctx context.Context, cfg *config.Config, connection string) (*ReadOnly, error) {
	if _, ok := cfg.Connections[connection]; !ok {
		return nil, fmt.Errorf("there is no connection %q in the configuration", connection)
	}
	issuers, err := NewIssuers(cfg, time.Now)
	if err != nil {
		return nil, err
	}
	databases, err := Databases(cfg)
	if err != nil {
		return nil, err
	}
	db := databases[connection]
	lease, err := issuers.Issue(ctx, credentials.Grant{Connection: connection, Access: credentials.ReadOnly, TTL: db.LeaseTTL})
	if err != nil {
		return nil, fmt.Errorf("minting a credential for %s: %w", connection, err)
	}
	return &ReadOnly{db, issuers, lease}, nil
}

// Session opens a session; its caller closes it before Close.
func (r *ReadOnly) Session(ctx context.Context) (connectors.Session, error) {
	return r.Database.Engine.Connect(ctx, r.Database.Target, connectors.Credential{Username: r.lease.Username, Password: r.lease.Password})
}

// Catalog reads the catalog in a session of its own.
func (r *ReadOnly) Catalog(ctx context.Context) (connectors.Catalog, error) {
	session, err := r.Session(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = session.Close(context.WithoutCancel(ctx)) }()
	return session.Catalog(ctx)
}

// Close revokes the credential, also after ctx has ended.
func (r *ReadOnly) Close(ctx context.Context) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	return r.issuers.Revoke(ctx, r.Database.Name, r.lease.ID)
}
