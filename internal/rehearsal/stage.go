package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/policy"
)

// Stage is where statements are tried. It is used by one goroutine.
type Stage struct {
	cfg       *config.Config
	policy    *policy.Engine
	databases map[string]*gateway.Database
	catalogs  map[string]connectors.Catalog
	live      map[string]*server.ReadOnly
}

// Question is one statement to try.
type Question struct {
	Request   *gateway.Request
	Principal *identity.Principal
	// Now is what rules and masks take as the time; zero is the real one.
	Now time.Time
	// Estimate stands for the planner's; nil asks the database, if it is live.
	Estimate *connectors.Estimate
}

// New reads the saved catalogs. A connection without one is asked live, which
// needs a configuration with its secrets.
func New(cfg *config.Config, catalogs []string) (*Stage, error) {
	rules, err := cfg.Rules()
	if err != nil {
		return nil, err
	}
	s := &Stage{cfg: cfg, databases: map[string]*gateway.Database{}, catalogs: map[string]connectors.Catalog{},
		live: map[string]*server.ReadOnly{}}
	if s.policy, err = policy.New(rules); err != nil {
		return nil, err
	}
	engines := map[string]connectors.Engine{"postgres": postgres.New(), "mysql": mysql.New()}
	for _, path := range catalogs {
		name, cat, err := readCatalog(path, cfg)
		if err != nil {
			return nil, err
		}
		if s.catalogs[name] != nil {
			return nil, fmt.Errorf("%s: the connection %q has a catalog already", path, name)
		}
		c := cfg.Connections[name]
		classes, err := c.Classification(&cfg.Masking)
		if err != nil {
			return nil, fmt.Errorf("connection %s: %w", name, err)
		}
		s.catalogs[name] = cat
		s.databases[name] = &gateway.Database{Name: name, Engine: engines[c.Engine], Classes: classes, Functions: c.Functions,
			Target: connectors.Target{SearchPath: c.SearchPath}}
	}
	return s, nil
}

// Try says what would become of a statement. An error is of the stage, not of
// the statement.
func (s *Stage) Try(ctx context.Context, q Question) (*gateway.Rehearsed, error) {
	name := q.Request.Connection
	if err := s.open(ctx, name); err != nil {
		return nil, err
	}
	var session connectors.Session
	if live := s.live[name]; live != nil && q.Estimate == nil {
		var err error
		if session, err = live.Session(ctx); err != nil {
			return nil, err
		}
		defer func() { _ = session.Close(context.WithoutCancel(ctx)) }()
	}
	now := q.Now
	if now.IsZero() {
		now = time.Now()
	}
	l := s.cfg.Limits
	r := gateway.Rehearsal{Policy: s.policy, Clock: func() time.Time { return now }, Limits: gateway.Limits{
		DefaultRows: l.Rows, MaxRows: l.MaxRows, DefaultBytes: int64(l.Bytes), MaxBytes: int64(l.MaxBytes),
		DefaultTimeout: time.Duration(l.Timeout), MaxTimeout: time.Duration(l.MaxTimeout), LockTimeout: time.Duration(l.LockTimeout),
	}}
	return r.Rehearse(ctx, s.databases[name], s.catalogs[name], q.Principal, q.Request, q.Estimate, session), nil
}

// open connects to a connection that has no saved catalog.
func (s *Stage) open(ctx context.Context, name string) error {
	if s.catalogs[name] != nil {
		return nil
	}
	live, err := server.OpenReadOnly(ctx, s.cfg, name)
	if err != nil {
		return err
	}
	s.live[name] = live
	cat, err := live.Catalog(ctx)
	if err != nil {
		return err
	}
	s.catalogs[name], s.databases[name] = cat, live.Database
	return nil
}

// Close revokes what was minted.
func (s *Stage) Close(ctx context.Context) error {
	var all []error
	for _, live := range s.live {
		all = append(all, live.Close(ctx))
	}
	return errors.Join(all...)
}
