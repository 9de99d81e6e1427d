package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sort"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// call is one statement on its way through the steps. It is used by one
// goroutine.
type call struct {
	g  *Gateway
	p  *identity.Principal
	r  *Request
	db *Database

	id      string
	salt    string
	started time.Time
	timing  []Timing

	// names and params are the client's parameters in the order that
	// connectors.Statement.Order refers to.
	names  []string
	params []connectors.Param

	st       *connectors.Statement
	decision policy.Decision
	estimate *connectors.Estimate

	// approved is the request that this call runs, in a claim; claim carries
	// it out at the last moment before the database is asked to execute.
	approved *approvals.Status
	// approvers are who approved it as the recordings say; nil until they are read.
	approvers []string
	claim     func(context.Context) error

	// lease, access and session are what the last execution had, for the record.
	lease   *credentials.Lease
	access  credentials.Access
	session string
	// began is when the database was asked to execute, zero before.
	began time.Time

	taken        bool // the approved request is claimed by this call
	intent       bool // the intent is durable
	lookupsTaken bool
	// notBefore asks for a catalog read later than this.
	notBefore time.Time
}

// Query takes a statement through every step and returns rows, a pending
// approval or an explanation. Its error is always a *Problem, and is recorded
// before it is returned.
func (g *Gateway) Query(ctx context.Context, p *identity.Principal, r *Request) (*Answer, error) {
	db, problem := g.connection(p, r.Connection, identity.Agent)
	if problem != nil {
		return nil, g.Reject(ctx, p, problem, r.Meta, "")
	}
	if problem := g.applyLimits(r); problem != nil {
		return nil, g.Reject(ctx, p, problem, r.Meta, db.Name)
	}
	c := g.newCall(p, db, r, evidence.NewQueryID(g.cfg.Log.Writer(), g.cfg.Clock()))
	if r.IdempotencyKey != "" {
		answer, problem := c.firstAnswer(ctx)
		if problem != nil {
			return nil, g.Reject(ctx, p, problem, r.Meta, db.Name)
		}
		if answer != nil {
			return answer, nil
		}
	}
	answer, problem := c.serve(ctx)
	if problem != nil {
		return nil, problem
	}
	if answer.Pending != nil && r.Wait > 0 {
		g.await(ctx, answer, r.Wait)
	}
	return answer, nil
}

func (g *Gateway) newCall(p *identity.Principal, db *Database, r *Request, id string) *call {
	c := &call{g: g, p: p, r: r, db: db, id: id, salt: newSalt(), started: g.cfg.Clock(), params: r.Positional}
	c.timing = append(c.timing, Timing{"auth", r.Meta.AuthTook})
	c.orderParameters()
	return c
}

// orderParameters puts named parameters in the order of their names.
func (c *call) orderParameters() {
	r := c.r
	if r.Named != nil {
		for name := range r.Named {
			c.names = append(c.names, name)
		}
		sort.Strings(c.names)
		for _, name := range c.names {
			c.params = append(c.params, r.Named[name])
		}
		if c.names == nil {
			c.names = []string{}
		}
	}
}

// applyLimits fills in defaults and refuses what is beyond the maxima.
func (g *Gateway) applyLimits(r *Request) *Problem {
	l := g.cfg.Limits
	over := func(field string, most any) *Problem {
		return &Problem{Code: CodeMalformed, Detail: fmt.Sprintf("%s is more than this gateway allows.", field),
			Hint: fmt.Sprintf("The most is %v.", most)}
	}
	switch {
	case r.RowLimit > l.MaxRows:
		return over("row_limit", l.MaxRows)
	case r.ByteLimit > l.MaxBytes:
		return over("byte_limit", l.MaxBytes)
	case r.Timeout > l.MaxTimeout:
		return over("timeout_ms", l.MaxTimeout.Milliseconds())
	}
	if r.RowLimit == 0 {
		r.RowLimit = l.DefaultRows
	}
	if r.ByteLimit == 0 {
		r.ByteLimit = l.DefaultBytes
	}
	if r.Timeout == 0 {
		r.Timeout = l.DefaultTimeout
	}
	return nil
}

// serve runs the steps within the request's time, again once if the catalog
// changed underneath.
func (c *call) serve(ctx context.Context) (*Answer, *Problem) {
	leave, ok := c.g.admit.enter(c.p.Key())
	if !ok {
		return nil, &Problem{Code: CodeTooMany, Retryable: true, RetryAfter: time.Second,
			Detail: "Too many requests are in work for you or for the gateway."}
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeout(ctx, c.r.Timeout)
	defer stop()
	defer c.g.track(c.id, c.p.Key(), cancel)()

	answer, err := c.contained(ctx)
	if errors.Is(err, connectors.ErrCatalogChanged) {
		c.notBefore = c.g.cfg.Clock()
		answer, err = c.contained(ctx)
	}
	if err != nil {
		return nil, c.refuse(ctx, c.g.problem(ctx, err))
	}
	answer.Timing = c.timings()
	return answer, nil
}

// contained makes a panic on a request's way an error, so that it is recorded as
// any other end is. The value of a panic may hold data, so only its type and the
// stack, which holds none, are logged.
func (c *call) contained(ctx context.Context) (answer *Answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.g.cfg.Logger.ErrorContext(ctx, "panic in a query", "panic", fmt.Sprintf("%T", r), "query_id", c.id, "stack", string(debug.Stack()))
			answer, err = nil, &Problem{Code: CodeInternal, Detail: "Something went wrong inside the gateway. Nothing was released."}
		}
	}()
	return c.attempt(ctx)
}

// attempt is the way of a request. What it returns without error is recorded;
// an error is for serve to record.
func (c *call) attempt(ctx context.Context) (*Answer, error) {
	if err := c.analyse(ctx); err != nil {
		return nil, err
	}
	// First by shape alone: a statement that is denied never meets a database.
	if err := c.decide(nil); err != nil {
		return nil, err
	}
	if err := c.checkApproved(ctx); err != nil {
		return nil, err
	}
	// A credential that can write exists only once the write was approved.
	if c.decision.Effect == policy.Approve && c.approved == nil && c.st.Write {
		if c.r.DryRun {
			return c.explain(ctx)
		}
		return c.pend(ctx)
	}
	if err := c.spendLookups(); err != nil {
		return nil, err
	}
	run, err := c.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer run.end(ctx)
	if err := c.decide(&run.estimate); err != nil {
		return nil, err
	}
	if err := c.checkBinding(); err != nil {
		return nil, err
	}
	if err := c.checkApproved(ctx); err != nil { // the estimate may have asked for more people
		return nil, err
	}
	switch {
	case c.r.DryRun:
		return c.explain(ctx)
	case c.decision.Effect == policy.Approve && c.approved == nil:
		return c.pend(ctx)
	}
	if c.claim != nil {
		if err := c.claim(ctx); err != nil {
			return nil, err
		}
	}
	return run.execute(ctx)
}

// analyse understands the statement. A name that does not resolve may be newer
// than the catalog at hand, so that is read again before the statement is
// called wrong.
func (c *call) analyse(ctx context.Context) error {
	defer c.step("analyse")()
	cat, err := c.g.catalog(ctx, c.db, c.notBefore)
	if err != nil {
		return err
	}
	in := c.input()
	if c.approved != nil {
		in.Open = c.approved.Request.Open
	}
	st, err := c.db.Engine.Analyze(cat, in)
	var wrong *connectors.Error
	if errors.As(err, &wrong) && wrong.Kind == connectors.KindUnresolved {
		newer, loadErr := c.g.catalog(ctx, c.db, c.started)
		if loadErr != nil {
			return loadErr
		}
		if newer.Version() != cat.Version() {
			st, err = c.db.Engine.Analyze(newer, in)
		}
	}
	if err != nil {
		return err
	}
	c.st = st
	return c.checkWrites()
}

// input is what the engine is given.
func (c *call) input() connectors.Input {
	return connectors.Input{
		Text: c.r.Statement, Names: c.names, Count: len(c.params), Classes: c.db.Classes,
		SearchPath: c.db.Target.SearchPath, Today: c.g.cfg.Clock().UTC().Truncate(24 * time.Hour),
		Cells: c.smallCell() > 0, Functions: c.db.Functions,
	}
}

// checkWrites refuses a parameter that one of our masks could have produced as
// the new value of a protected column: an agent must not store what it was shown.
func (c *call) checkWrites() error {
	for _, w := range c.st.Writes {
		if w.Param < 0 || c.params[w.Param].Null {
			continue
		}
		if class, ok := c.db.Classes.Class(w.Column); ok && masking.LooksMasked(class, c.params[w.Param].Text) {
			return &Problem{Code: CodeParameter,
				Detail: fmt.Sprintf("The value for %s looks like a mask, not like data.", w.Column),
				Hint:   "Values read through the gateway are masked; they cannot be written back."}
		}
	}
	return nil
}

// decide asks policy, and is an error if the answer is deny.
func (c *call) decide(estimate *connectors.Estimate) error {
	defer c.step("decide")()
	if estimate != nil {
		c.estimate = estimate
	}
	d, err := c.g.cfg.Policy.Decide(c.policyInput())
	if err != nil {
		return fmt.Errorf("deciding: %w", err)
	}
	c.decision = d
	if d.Effect == policy.Deny {
		return denial(d)
	}
	if !c.st.Runnable {
		// A rule of the operator allowed a kind that no engine can run.
		return &Problem{Code: CodeUnsupported, Detail: "This kind of statement cannot run through the gateway."}
	}
	if c.st.Write && (d.Effect == policy.Allow || c.approved != nil) && slices.ContainsFunc(c.st.Uses, func(u connectors.Use) bool {
		return u.Openable && u.Seen == connectors.SeenDestroyed
	}) {
		// A rule of the operator allowed it. The table that is written is not masked by
		// every engine: what nobody opened would read it raw.
		return &Problem{Code: CodeUnsupported, Detail: "A write compares a protected column, which only an approval can open.",
			Hint: "Name the rows by unprotected columns, or look them up by an identifier."}
	}
	return nil
}

// policyInput is what rules see.
func (c *call) policyInput() policy.Input {
	return policy.Input{
		Statement: c.st, Connection: c.db.Name, Engine: c.db.Engine.Name(), Estimate: c.estimate, Now: c.g.cfg.Clock(),
		Principal: policy.Principal{
			Subject: c.p.Subject, ClientID: c.p.ClientID, OnBehalfOf: c.p.OnBehalfOf, Groups: c.p.Groups,
			Roles: roleNames(c.p, c.db.Name),
		},
		Request: policy.Request{
			RowLimit: c.r.RowLimit, ByteLimit: c.r.ByteLimit, TimeoutMS: c.r.Timeout.Milliseconds(),
			MaxAffected: c.r.MaxAffected, PurposeOfUse: c.r.PurposeOfUse, HasReason: c.r.Reason != "",
			SessionID: c.r.SessionID, DryRun: c.r.DryRun, Parameters: int64(len(c.params)),
		},
	}
}

// spendLookups takes the statement's raw lookups from the principal's budget,
// once. A dry run costs as much: MariaDB reads the row of a unique key when it
// plans, so whether planning fails, and what rules say of the estimate, tells of it.
func (c *call) spendLookups() error {
	if len(c.st.Lookups) == 0 || c.lookupsTaken {
		return nil
	}
	if !c.g.lookups.spend(c.p.Key()+" "+c.db.Name, len(c.st.Lookups)) {
		return &Problem{Code: CodeLookupBudget, Retryable: true, RetryAfter: 10 * time.Minute,
			Detail: "Your budget of look-ups by identifier on this connection is used up for this hour."}
	}
	c.lookupsTaken = true
	return nil
}

// bound returns the parameters in the order the server expects them.
func (c *call) bound() []connectors.Param {
	args := make([]connectors.Param, len(c.st.Order))
	for i, from := range c.st.Order {
		args[i] = c.params[from]
	}
	return args
}

// track makes the query cancellable by its requester while it is in work.
func (g *Gateway) track(id, principal string, cancel context.CancelCauseFunc) (untrack func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[id] = runningQuery{principal, cancel}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.running, id)
	}
}

// step measures one step; steps that ran twice add up.
func (c *call) step(name string) (done func()) {
	start := time.Now()
	return func() { c.took(name, time.Since(start)) }
}

func (c *call) took(name string, d time.Duration) {
	for i := range c.timing {
		if c.timing[i].Step == name {
			c.timing[i].Took += d
			return
		}
	}
	c.timing = append(c.timing, Timing{name, d})
}

func (c *call) timings() []Timing {
	return append(c.timing, Timing{"total", c.g.cfg.Clock().Sub(c.started) + c.r.Meta.AuthTook})
}

func roleNames(p *identity.Principal, connection string) []string {
	names := []string{}
	for _, role := range []identity.Role{identity.Agent, identity.Approver, identity.Auditor} {
		if p.Has(role, connection) {
			names = append(names, string(role))
		}
	}
	return names
}
