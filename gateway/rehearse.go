package gateway

import (
	"context"
	"log/slog"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/policy"
)

// Rehearsal understands and decides statements as a Gateway does, but runs and
// records nothing: what `chaperone policy explain` and `policy test` are.
type Rehearsal struct {
	Policy Decider
	Limits Limits
	// Clock is what rules and masks take as now.
	Clock func() time.Time
}

// Rehearsed is what would become of a statement. Problem is set if it would be
// refused or denied; Explanation unless it was not even understood.
type Rehearsed struct {
	Decision    policy.Decision
	Explanation *Explanation
	Problem     *Problem
}

// Rehearse takes a statement through the steps before its execution. The
// planner's estimate is the one given, or what live, a session that can only
// read, says; both may be nil.
func (r *Rehearsal) Rehearse(ctx context.Context, db *Database, cat connectors.Catalog, p *identity.Principal, q *Request,
	estimate *connectors.Estimate, live connectors.Session,
) *Rehearsed {
	g := &Gateway{cfg: Config{Policy: r.Policy, Limits: r.Limits, Clock: r.Clock,
		Logger: slog.New(slog.DiscardHandler)}}
	out := &Rehearsed{}
	if !p.Has(identity.Agent, db.Name) {
		out.Problem = &Problem{Code: CodeUnknownConn, Detail: "The principal has not the role agent on this connection."}
		return out
	}
	if out.Problem = g.applyLimits(q); out.Problem != nil {
		return out
	}
	c := &call{g: g, p: p, r: q, db: db, access: credentials.ReadOnly, params: q.Positional}
	c.orderParameters()
	err := c.rehearse(ctx, cat, estimate, live)
	out.Decision = c.decision
	if c.st != nil {
		out.Explanation = explanationOf(c.st, c.decision, c.estimate)
	}
	if err != nil {
		out.Problem = g.problem(ctx, err)
	}
	return out
}

// rehearse is attempt without a record and without an execution.
func (c *call) rehearse(ctx context.Context, cat connectors.Catalog, given *connectors.Estimate, live connectors.Session) (err error) {
	if c.st, err = c.db.Engine.Analyze(cat, c.input()); err != nil {
		return err
	}
	if err := c.checkWrites(); err != nil {
		return err
	}
	if err := c.decide(nil); err != nil { // by shape alone: what is denied never meets a database
		return err
	}
	switch {
	case given != nil:
		return c.decide(given)
	case live == nil, c.st.Write: // nothing that can write is minted before an approval
		return nil
	}
	found, err := live.Prepare(ctx, c.st, c.bound(), connectors.Limits{Timeout: c.r.Timeout, LockTimeout: c.g.cfg.Limits.LockTimeout,
		MaxAffected: c.r.MaxAffected, Classes: c.db.Classes})
	if err != nil {
		return err
	}
	return c.decide(&found)
}
