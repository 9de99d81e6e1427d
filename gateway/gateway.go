// Package gateway is the way of a request, and nothing else: it alone knows
// the order in which connectors, masking, policy, approvals, evidence and
// credentials are asked. It releases nothing whose recording is not durable
// (promise 1) and refuses what any step is unsure of (promise 6).
//
// It speaks no HTTP and no SQL.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
	"github.com/chaperone-sql/chaperone/worm"
)

// Decider says whether a statement may run.
type Decider interface {
	Decide(policy.Input) (policy.Decision, error)
}

// Leases hands out credentials and takes them back off the response path.
type Leases interface {
	Issue(ctx context.Context, grant credentials.Grant) (*credentials.Lease, error)
	Release(lease *credentials.Lease)
}

// Recorder is the evidence log of this process. Append returns when the record
// is durable; the caller must release nothing if it returns an error.
type Recorder interface {
	Append(ctx context.Context, r *evidence.Record) (evidence.Receipt, error)
	AppendAsync(r *evidence.Record) error
	Writer() string
}

// Recordings reads back what any gateway recorded.
type Recordings interface {
	Find(ctx context.Context, queryID string) ([]evidence.Record, error)
}

// Requests keeps the approval requests.
type Requests interface {
	Create(ctx context.Context, r approvals.Request, s approvals.Secret) error
	Get(ctx context.Context, id string) (*approvals.Status, error)
	OpenSecret(ctx context.Context, id string) (*approvals.Secret, error)
	Decide(ctx context.Context, id string, v approvals.Vote) (*approvals.Status, error)
	Cancel(ctx context.Context, id, requester string) (*approvals.Status, error)
	Claim(ctx context.Context, id string, c approvals.Claim) error
	Finish(ctx context.Context, id string, o approvals.Outcome) error
	ListOpen(ctx context.Context, yield func(*approvals.Status) bool) error
}

// Database is one configured connection and the database behind it.
type Database struct {
	Name        string
	Description string
	Engine      connectors.Engine
	Target      connectors.Target
	Classes     *masking.Classification
	// Functions of users that may be called; see connectors.Input.
	Functions map[string]string
	// LeaseTTL is the longest a credential may live; longer than MaxTimeout.
	LeaseTTL time.Duration
	// MaxSessions bounds the sessions open on the database at once.
	MaxSessions int
}

// Limits are the bounds of a request.
type Limits struct {
	DefaultRows, MaxRows       int64
	DefaultBytes, MaxBytes     int64
	DefaultTimeout, MaxTimeout time.Duration
	// LockTimeout bounds a statement's wait for locks.
	LockTimeout time.Duration
	// Concurrency and PerPrincipal bound the requests in work at once.
	Concurrency, PerPrincipal int
	// LookupsPerHour is each principal's budget of raw lookups, per connection.
	LookupsPerHour int
}

// Config is everything a Gateway is made of. Every field must be set unless
// its comment says otherwise.
type Config struct {
	Databases  map[string]*Database
	Policy     Decider
	Leases     Leases
	Log        Recorder
	Recordings Recordings
	Requests   Requests
	// Store holds the idempotency claims.
	Store     worm.Store
	Tokens    *masking.Tokenizer
	Detectors *masking.Detectors
	Limits    Limits
	// PublicURL is the base of approval links, without a trailing slash.
	PublicURL string
	// ApprovalTTL is how long a request waits when its rule does not say.
	ApprovalTTL time.Duration
	// Decode reads a request body again that an approval kept.
	Decode func(body []byte) (*Request, error)
	// Probes are what Ready asks, by the name of the part.
	Probes map[string]func(context.Context) error
	// Clock is time.Now in production.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Gateway runs requests. It is safe for concurrent use and keeps no state that
// another gateway would need.
type Gateway struct {
	cfg      Config
	catalogs map[string]*catalogCache
	programs map[string]map[string]*masking.Program // by connection and class
	sessions map[string]chan struct{}
	admit    *admission
	lookups  *budget
	failures *failureLog

	mu      sync.Mutex
	running map[string]runningQuery
}

// runningQuery is a statement in work in this process.
type runningQuery struct {
	principal string
	cancel    context.CancelCauseFunc
}

// New checks the configuration and builds a Gateway. It contacts nothing.
func New(cfg Config) (*Gateway, error) {
	switch {
	case cfg.Policy == nil, cfg.Leases == nil, cfg.Log == nil, cfg.Recordings == nil, cfg.Requests == nil,
		cfg.Store == nil, cfg.Tokens == nil, cfg.Detectors == nil, cfg.Decode == nil, cfg.Clock == nil, cfg.Logger == nil:
		return nil, errors.New("gateway: a required part of the configuration is missing")
	case cfg.Limits.MaxRows < 1, cfg.Limits.MaxBytes < 1, cfg.Limits.MaxTimeout <= 0, cfg.Limits.Concurrency < 1,
		cfg.Limits.PerPrincipal < 1:
		return nil, errors.New("gateway: every limit must be positive")
	}
	g := &Gateway{
		cfg:      cfg,
		catalogs: make(map[string]*catalogCache, len(cfg.Databases)),
		programs: make(map[string]map[string]*masking.Program, len(cfg.Databases)),
		sessions: make(map[string]chan struct{}, len(cfg.Databases)),
		admit:    newAdmission(cfg.Limits.Concurrency, cfg.Limits.PerPrincipal),
		lookups:  newBudget(cfg.Limits.LookupsPerHour, time.Hour, cfg.Clock),
		failures: newFailureLog(cfg.Clock),
		running:  make(map[string]runningQuery),
	}
	for name, c := range cfg.Databases {
		if c.MaxSessions < 1 {
			return nil, errors.New("gateway: connection " + name + ": MaxSessions must be positive")
		}
		if c.Classes != nil {
			var err error
			if g.programs[name], err = c.Classes.Profile().Programs(); err != nil {
				return nil, fmt.Errorf("gateway: connection %s: %w", name, err)
			}
		}
		g.catalogs[name] = newCatalogCache()
		g.sessions[name] = make(chan struct{}, c.MaxSessions)
	}
	return g, nil
}

// connection finds a connection on which the principal has the role. One that
// does not exist and one that the principal may not see are the same answer.
func (g *Gateway) connection(p *identity.Principal, name string, role identity.Role) (*Database, *Problem) {
	c, ok := g.cfg.Databases[name]
	if !ok || !visible(p, name) {
		return nil, &Problem{Code: CodeUnknownConn, Detail: "There is no such connection, or you have no role on it.",
			Hint: "GET /v1/connections lists the connections you may use."}
	}
	if !p.Has(role, name) {
		return nil, &Problem{Code: CodeForbidden, Detail: "This needs the role " + string(role) + " on the connection."}
	}
	return c, nil
}

// visible reports whether the principal has any role on a connection.
func visible(p *identity.Principal, name string) bool {
	return len(p.Roles[name]) > 0 || len(p.Roles["*"]) > 0
}

// Connections lists what the principal has a role on, by name.
func (g *Gateway) Connections(_ context.Context, p *identity.Principal) ([]Connection, error) {
	list := []Connection{}
	for name, c := range g.cfg.Databases {
		if !visible(p, name) {
			continue
		}
		var roles []string
		for _, role := range []identity.Role{identity.Agent, identity.Approver, identity.Auditor} {
			if p.Has(role, name) {
				roles = append(roles, string(role))
			}
		}
		list = append(list, Connection{Name: name, Engine: c.Engine.Name(), Description: c.Description, Roles: roles})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// Ready asks every probe, at most two seconds each, and is nil if all answer.
// Its text names the parts that do not, and nothing else.
func (g *Gateway) Ready(ctx context.Context) error {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		down []string
	)
	for name, probe := range g.cfg.Probes {
		all.Go(func() {
			ctx, stop := context.WithTimeout(ctx, 2*time.Second)
			defer stop()
			if err := probe(ctx); err != nil {
				g.cfg.Logger.WarnContext(ctx, "not ready", "part", name, "error", err)
				mu.Lock()
				down = append(down, name)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(down) == 0 {
		return nil
	}
	sort.Strings(down)
	return errors.New("not ready: " + strings.Join(down, ", "))
}
