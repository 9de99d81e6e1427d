package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
)

// catalogCache holds a connection's last catalog. Reading it takes a
// credential of its own, minted for that and revoked after it.
type catalogCache struct {
	last    atomic.Pointer[loadedCatalog]
	loading chan struct{} // holds one token while a load runs
}

type loadedCatalog struct {
	connectors.Catalog
	at time.Time
}

func newCatalogCache() *catalogCache { return &catalogCache{loading: make(chan struct{}, 1)} }

// catalog returns the connection's catalog, loading it if it is not there or
// was loaded before notBefore.
func (g *Gateway) catalog(ctx context.Context, db *Database, notBefore time.Time) (connectors.Catalog, error) {
	cache := g.catalogs[db.Name]
	if last := cache.last.Load(); last != nil && !last.at.Before(notBefore) {
		return last.Catalog, nil
	}
	select {
	case cache.loading <- struct{}{}:
		defer func() { <-cache.loading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if last := cache.last.Load(); last != nil && !last.at.Before(notBefore) {
		return last.Catalog, nil // another request loaded it meanwhile
	}
	started := g.cfg.Clock()
	cat, err := g.loadCatalog(ctx, db)
	if err != nil {
		return nil, err
	}
	cache.last.Store(&loadedCatalog{cat, started})
	return cat, nil
}

func (g *Gateway) loadCatalog(ctx context.Context, db *Database) (connectors.Catalog, error) {
	release, err := g.takeSession(ctx, db)
	if err != nil {
		return nil, err
	}
	defer release()
	lease, err := g.cfg.Leases.Issue(ctx, credentials.Grant{
		Connection: db.Name, Access: credentials.ReadOnly, Principal: "chaperone", TTL: db.LeaseTTL,
	})
	if err != nil {
		return nil, err
	}
	defer g.cfg.Leases.Release(lease)
	if err := g.cfg.Log.AppendAsync(&evidence.Record{
		Type: evidence.TypeLeaseIssued, Connection: db.Name, Lease: leaseRecord(lease, credentials.ReadOnly),
		Note: "for reading the catalog",
	}); err != nil {
		return nil, err
	}
	session, err := db.Engine.Connect(ctx, db.Target, connectors.Credential{
		Username: lease.Username, Password: lease.Password,
	})
	if err != nil {
		return nil, err
	}
	defer closeSession(ctx, session)
	return session.Catalog(ctx)
}

// takeSession waits for one of the connection's sessions.
func (g *Gateway) takeSession(ctx context.Context, db *Database) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // out of time, whether there is a place or not
	}
	places := g.sessions[db.Name]
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// closeSession ends a session even if the request's time is up: a session must
// not outlive its request.
func closeSession(ctx context.Context, s connectors.Session) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	_ = s.Close(ctx) // the credential is revoked next, which ends the session on the server
}
