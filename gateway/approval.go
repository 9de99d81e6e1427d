package gateway

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
)

// pendingRetry is how soon a client should look again.
const pendingRetry = 5 * time.Second

// pend records that the statement waits and files the request for approval. In
// this order: a crash between the two leaves a record of a request that nobody
// can approve, never a request that was not recorded.
func (c *call) pend(ctx context.Context) (*Answer, error) {
	now := c.g.cfg.Clock().UTC()
	ttl := c.g.cfg.ApprovalTTL
	for _, m := range c.decision.Matched { // the strictest of the rules that matched
		if m.Expires > 0 && m.Expires < ttl {
			ttl = m.Expires
		}
	}
	request := c.approvalRequest(now, now.Add(ttl), c.quorum())
	record := c.record(evidence.TypeApprovalRequested)
	record.Approval = &evidence.Approval{Rule: request.Reasons[0].Rule, ExpiresAt: &request.Expires}
	record.Result = &evidence.Result{Status: string(approvals.Pending), Affected: -1}
	done := c.step("record")
	defer done()
	if _, err := c.g.append(ctx, record); err != nil {
		return nil, err
	}
	err := c.g.cfg.Requests.Create(ctx, request, approvals.Secret{
		Statement: c.r.Statement, Body: c.r.Body, Reason: c.r.Reason, Salt: c.salt,
	})
	if err != nil {
		return nil, err
	}
	return c.g.pendingAnswer(&approvals.Status{Request: request, State: approvals.Pending}), nil
}

// quorum is how many people must approve: as the strictest of the rules that
// matched says.
func (c *call) quorum() int {
	quorum := 1
	for _, m := range c.decision.Matched {
		quorum = max(quorum, m.Approvals)
	}
	return quorum
}

func (c *call) approvalRequest(now, expires time.Time, quorum int) approvals.Request {
	r := approvals.Request{
		Version: 1, ID: c.id, Connection: c.db.Name, Created: now, Expires: expires,
		Requester: c.p.Key(), RequesterName: c.p.Name, ClientID: c.p.ClientID, SessionID: c.r.SessionID,
		PurposeOfUse: c.r.PurposeOfUse, Binding: c.binding(), PolicyVersion: c.decision.Version,
		Classification: c.db.Classes.Version(), Catalog: c.st.CatalogVersion,
		Normalized: c.st.Normalized, Kind: string(c.st.Kind), Summary: summary(c.st, c.estimate),
		Reasons: policyReasons(c.decision), Approvals: quorum, TransportNote: c.r.Meta.Transport,
	}
	if c.p.OnBehalfOf != "" {
		r.OnBehalfOf = c.p.Issuer + "#" + c.p.OnBehalfOf
	}
	r.Relations = relationNames(c.st)
	for _, use := range c.st.Uses {
		r.Columns = append(r.Columns, approvals.Column{
			Name: use.Column.String(), Class: use.Class, Use: string(use.Kind), Seen: string(use.Seen),
		})
		if use.Openable && use.Seen == connectors.SeenDestroyed {
			r.Open = append(r.Open, use.ID)
		}
	}
	if c.estimate != nil && c.estimate.Known {
		r.EstimateRows = &c.estimate.Rows
	}
	return r
}

// pendingAnswer is the 202 of a request in whatever state it is by now.
func (g *Gateway) pendingAnswer(s *approvals.Status) *Answer {
	a := &Answer{QueryID: s.Request.ID, State: s.State, Pending: &Pending{
		ApprovalURL: g.cfg.PublicURL + "/approvals/" + s.Request.ID, ExpiresAt: s.Request.Expires,
		StatementSHA256: s.Request.Binding, Reasons: s.Request.Reasons,
	}}
	if s.State == approvals.Pending {
		a.Pending.RetryAfter = pendingRetry
	}
	return a
}

// await waits for a decision, at most wait. Looking costs one or two reads of
// the store, so it looks less often as time passes.
func (g *Gateway) await(ctx context.Context, a *Answer, wait time.Duration) {
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	for pause := 250 * time.Millisecond; ; pause = min(pause*3/2, 2*time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		status, err := g.cfg.Requests.Get(ctx, a.QueryID)
		if err != nil {
			continue // the answer stays what it is: pending
		}
		a.State = status.State
		if status.State != approvals.Pending {
			return
		}
	}
}

// Result claims an approved statement and runs it, once ever, with a fresh
// credential. Repeated with the same Idempotency-Key it gives the recorded
// answer again.
func (g *Gateway) Result(ctx context.Context, p *identity.Principal, id, idempotencyKey string, m Meta) (*Answer, error) {
	status, err := g.cfg.Requests.Get(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	db, problem := g.connection(p, status.Request.Connection, identity.Agent)
	if problem != nil || status.Request.Requester != p.Key() {
		return nil, notFound()
	}
	keyHash := hashKey(p, idempotencyKey)
	if claim := status.Claim; claim != nil {
		if claim.IdempotencyKey != "" && claim.IdempotencyKey == keyHash {
			return g.recorded(ctx, id, status)
		}
		return nil, withID(g.problem(ctx, approvals.ErrAlreadyClaimed), id)
	}
	if problem := g.claimable(ctx, status); problem != nil {
		return nil, withID(problem, id)
	}
	secret, err := g.cfg.Requests.OpenSecret(ctx, id)
	if err != nil {
		return nil, withID(g.problem(ctx, err), id)
	}
	r, err := g.cfg.Decode(secret.Body)
	if err != nil {
		return nil, withID(g.problem(ctx, fmt.Errorf("reading an approved request: %w", err)), id)
	}
	if problem := g.applyLimits(r); problem != nil {
		return nil, withID(problem, id)
	}
	r.Meta = m
	c := g.newCall(p, db, r, id)
	c.salt, c.approved = secret.Salt, status
	c.claim = func(ctx context.Context) error { return c.take(ctx, keyHash) }
	answer, problem := c.serve(ctx)
	if problem != nil {
		if c.taken {
			g.finish(ctx, c, approvals.Failed, problem.RecordingID, problem.Code)
		} else if problem.Code == CodeAlreadyClaimed && keyHash != "" {
			// Perhaps by the first try of this very call.
			if now, err := g.cfg.Requests.Get(ctx, id); err == nil && now.Claim != nil && now.Claim.IdempotencyKey == keyHash {
				return g.recorded(ctx, id, now)
			}
		}
		return nil, problem
	}
	g.finish(ctx, c, approvals.Succeeded, answer.Result.RecordingID, "")
	return answer, nil
}

// claimable is nil for an approved request.
func (g *Gateway) claimable(ctx context.Context, s *approvals.Status) *Problem {
	switch s.State {
	case approvals.Approved:
		return nil
	case approvals.Expired:
		return g.problem(ctx, approvals.ErrExpired)
	case approvals.Cancelled:
		return g.problem(ctx, approvals.ErrCancelled)
	case approvals.Denied:
		return &Problem{Code: CodeNotApproved, Detail: "The request was denied. That is final."}
	default:
		return g.problem(ctx, approvals.ErrNotApproved)
	}
}

// take claims the request for this run. From here on the statement counts as
// run: a crash before its outcome leaves it interrupted, never run again.
func (c *call) take(ctx context.Context, keyHash string) error {
	if c.taken {
		return nil // the second attempt of the same run, after a changed catalog
	}
	defer c.step("claim")()
	now := c.g.cfg.Clock().UTC()
	err := c.g.cfg.Requests.Claim(ctx, c.id, approvals.Claim{
		Version: 1, ID: c.id, Gateway: c.g.cfg.Log.Writer(), At: now,
		Deadline:       now.Add(c.r.Timeout + 2*recordTimeout),
		IdempotencyKey: keyHash, Nonce: newSalt(),
	})
	if err != nil {
		return err
	}
	c.taken = true
	// The claim object decides who runs it; the record says so where nobody can
	// deny it. Nothing has run yet, and without the record nothing does.
	return c.g.recordStep(ctx, evidence.TypeApprovalClaimed, c.p, c.approved, &evidence.Approval{Approvers: c.approvers}, c.r.Meta)
}

// checkBinding refuses to run anything but what was approved. The request, the
// requester, the policy and what the statement touches are all in the digest.
func (c *call) checkBinding() error {
	if c.approved == nil || c.binding() == c.approved.Request.Binding {
		return nil
	}
	return &Problem{Code: CodeConflict,
		Detail: "The policy or the database changed since this was approved, so the approval no longer covers it.",
		Hint:   "Send the statement again."}
}

// finish notes the end of a claimed run beside its request. The recording is
// durable already, so a failure here only makes the state look up slower.
func (g *Gateway) finish(ctx context.Context, c *call, state approvals.State, record string, code Code) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer stop()
	err := g.cfg.Requests.Finish(ctx, c.id, approvals.Outcome{
		Version: 1, ID: c.id, State: state, RecordID: record, Code: string(code), At: g.cfg.Clock().UTC(),
	})
	if err != nil {
		g.cfg.Logger.WarnContext(ctx, "the outcome of a claimed query was recorded, but not noted beside its request",
			"query_id", c.id, "error", err)
	}
}

// Approvals lists the open requests that the principal may decide, soonest
// expiry first.
func (g *Gateway) Approvals(ctx context.Context, p *identity.Principal) ([]approvals.Status, error) {
	open := []approvals.Status{}
	err := g.cfg.Requests.ListOpen(ctx, func(s *approvals.Status) bool {
		if p.Has(identity.Approver, s.Request.Connection) && mayNotDecide(p, s) == "" {
			open = append(open, *s)
		}
		return true
	})
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	sort.Slice(open, func(i, j int) bool { return open[i].Request.Expires.Before(open[j].Request.Expires) })
	return open, nil
}

// mayNotDecide says why a principal cannot decide a request, or "".
func mayNotDecide(p *identity.Principal, s *approvals.Status) string {
	switch {
	case s.Request.Requester == p.Key(), s.Request.OnBehalfOf != "" && s.Request.OnBehalfOf == p.Key():
		return "You asked for this statement, so somebody else must decide."
	case s.State != approvals.Pending:
		return "This request is no longer open."
	}
	for _, v := range s.Votes {
		if v.Approver == p.Key() {
			return "You decided this already; it needs another approver."
		}
	}
	return ""
}

// Approval shows an approver the exact statement. Reading it is recorded before
// it is shown.
func (g *Gateway) Approval(ctx context.Context, p *identity.Principal, id string, m Meta) (*ApprovalView, error) {
	status, err := g.cfg.Requests.Get(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	if !p.Has(identity.Approver, status.Request.Connection) {
		return nil, notFound()
	}
	secret, err := g.cfg.Requests.OpenSecret(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	r, err := g.cfg.Decode(secret.Body)
	if err != nil {
		return nil, g.problem(ctx, fmt.Errorf("reading an approval request: %w", err))
	}
	if err := g.recordStep(ctx, evidence.TypeApprovalViewed, p, status, nil, m); err != nil {
		return nil, err
	}
	view := &ApprovalView{Status: *status, Statement: secret.Statement, Reason: secret.Reason,
		Parameters: parametersJSON(r), WhyNot: mayNotDecide(p, status)}
	view.MayDecide = view.WhyNot == ""
	return view, nil
}

// Decide approves or denies. The record of it comes first: a vote without it
// counts for nothing (checkApproved), so that nobody who can write to the store
// can approve.
func (g *Gateway) Decide(ctx context.Context, p *identity.Principal, id string, approve bool, comment string, m Meta) (*approvals.Status, error) {
	status, err := g.cfg.Requests.Get(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	if !p.Has(identity.Approver, status.Request.Connection) {
		if status.Request.Requester == p.Key() {
			return nil, g.Reject(ctx, p, withID(g.problem(ctx, approvals.ErrOwnRequest), id), m, status.Request.Connection)
		}
		return nil, notFound()
	}
	step := &evidence.Approval{Decision: "deny"}
	if approve {
		step.Decision = "approve"
	}
	if mayNotDecide(p, status) == "" {
		if err := g.recordStep(ctx, evidence.TypeApprovalDecided, p, status, step, m); err != nil {
			return nil, err
		}
	}
	decided, err := g.cfg.Requests.Decide(ctx, id, approvals.Vote{
		Version: 1, ID: id, Approver: p.Key(), Name: p.Name, Approve: approve, Comment: comment,
		At: g.cfg.Clock().UTC(), AuthTime: p.AuthTime.UTC(), Binding: status.Request.Binding, Nonce: newSalt(),
	})
	if err != nil {
		return nil, g.Reject(ctx, p, withID(g.problem(ctx, err), id), m, status.Request.Connection)
	}
	return decided, nil
}

// checkApproved refuses to run what no signed log says was approved by enough
// people, none of whom asked for it. What the store holds of votes is not
// believed: anybody who can write there could have put it there.
func (c *call) checkApproved(ctx context.Context) error {
	if c.approved == nil {
		return nil
	}
	if c.approvers == nil {
		records, err := c.g.cfg.Recordings.Find(ctx, c.id)
		if err != nil {
			return err
		}
		c.approvers = c.approversIn(records)
	}
	if len(c.approvers) >= c.quorum() {
		return nil
	}
	return &Problem{Code: CodeNotApproved, Detail: "The approval is not in the recordings, so nobody can prove that it was given.",
		Hint: "Send the statement again. Whoever runs the gateway should look at why: chaperone evidence verify."}
}

// approversIn are the keys of those who, as records say, approved exactly this.
func (c *call) approversIn(records []evidence.Record) []string {
	keys := []string{}
	voted := func(key string) bool {
		return slices.ContainsFunc(c.approved.Votes, func(v approvals.Vote) bool { return v.Approve && v.Approver == key })
	}
	for i := range records {
		r := &records[i]
		if r.Type != evidence.TypeApprovalDecided || r.Approval == nil || r.Approval.Decision != "approve" || r.Actor == nil ||
			r.Statement == nil || r.Statement.SHA256 != c.approved.Request.Binding {
			continue
		}
		key := r.Actor.Key()
		if key != c.p.Key() && key != c.p.Issuer+"#"+c.p.OnBehalfOf && voted(key) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// recordStep makes a step of an approval durable.
func (g *Gateway) recordStep(ctx context.Context, kind evidence.Type, p *identity.Principal, s *approvals.Status,
	step *evidence.Approval, m Meta,
) error {
	_, err := g.append(ctx, &evidence.Record{
		Type: kind, QueryID: s.Request.ID, SessionID: s.Request.SessionID, RequestID: m.RequestID,
		Connection: s.Request.Connection, Actor: ActorOf(p, m), Approval: step, Relations: s.Request.Relations,
		Statement: &evidence.Statement{SHA256: s.Request.Binding, Normalized: s.Request.Normalized, Kind: s.Request.Kind},
		Data:      map[string]string{"transport": m.Transport},
	})
	if err != nil {
		return g.problem(ctx, err)
	}
	return nil
}

// Cancel withdraws a pending request, or stops a statement that runs in this
// process. Only its requester may.
func (g *Gateway) Cancel(ctx context.Context, p *identity.Principal, id string, m Meta) (*Answer, error) {
	g.mu.Lock()
	run, ok := g.running[id]
	g.mu.Unlock()
	if ok && run.principal == p.Key() {
		run.cancel(errCancelled)
		return &Answer{QueryID: id, State: approvals.Running}, nil
	}
	status, err := g.cfg.Requests.Get(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	if status.Request.Requester != p.Key() {
		return nil, notFound()
	}
	status, err = g.cfg.Requests.Cancel(ctx, id, p.Key())
	if err != nil {
		return nil, withID(g.problem(ctx, err), id)
	}
	if err := g.recordStep(ctx, evidence.TypeApprovalCancelled, p, status, nil, m); err != nil {
		return nil, err
	}
	return &Answer{QueryID: id, State: status.State}, nil
}

func withID(p *Problem, id string) *Problem {
	p.QueryID = id
	return p
}
