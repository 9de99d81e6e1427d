package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
)

// recordTimeout bounds the wait for a recording after the request's own time
// is up: a statement that timed out is recorded too.
const recordTimeout = 10 * time.Second

// append makes a record durable, also when the request's time is up or its
// client has gone.
func (g *Gateway) append(ctx context.Context, r *evidence.Record) (evidence.Receipt, error) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer stop()
	return g.cfg.Log.Append(ctx, r)
}

// refuse records how a call ended without rows and returns what the caller may
// be told: the problem itself, or that it could not be recorded.
func (c *call) refuse(ctx context.Context, problem *Problem) *Problem {
	problem.QueryID = c.id
	if problem.Code == CodeEvidence {
		problem.Timing = c.timings()
		return problem // recording that recording failed fails the same way
	}
	defer func() { problem.Timing = c.timings() }()
	kind := evidence.TypeOutcome
	if c.claim != nil && !c.taken {
		kind = evidence.TypeRejected // a claim that did not run is not how the query ended
	}
	record := c.record(kind)
	record.Result = &evidence.Result{Status: statusOf(problem), Code: string(problem.Code), SQLState: problem.SQLState,
		Affected: -1, SessionDB: c.session, Problem: problemJSON(problem)}
	if !c.began.IsZero() {
		began, ended := c.began.UTC(), c.g.cfg.Clock().UTC()
		record.Result.Started, record.Result.Ended = &began, &ended
	}
	done := c.step("record")
	receipt, err := c.g.append(ctx, record)
	done()
	if err != nil {
		problem = evidenceProblem()
		problem.QueryID = c.id
		return problem
	}
	problem.RecordingID = receipt.RecordID
	return problem
}

func statusOf(p *Problem) string {
	switch p.Code {
	case CodeDenied, CodeForbidden, CodeOwnRequest:
		return "denied"
	case CodeSyntax, CodeUnresolved, CodeUnsupported, CodeParameter, CodeMalformed, CodeLookupBudget:
		return "refused"
	}
	return "failed"
}

// problemJSON keeps what was answered, for an Idempotency-Key.
func problemJSON(p *Problem) json.RawMessage {
	kept := *p
	kept.Timing = nil
	return mustJSON(kept)
}

// record starts a record of this call with everything known by now.
func (c *call) record(kind evidence.Type) *evidence.Record {
	r := &evidence.Record{
		Type: kind, QueryID: c.id, SessionID: c.r.SessionID, RequestID: c.r.Meta.RequestID, Connection: c.db.Name,
		Actor: ActorOf(c.p, c.r.Meta), PurposeOfUse: c.r.PurposeOfUse,
		Statement: &evidence.Statement{SHA256: c.binding(), Parameters: len(c.params), DryRun: c.r.DryRun},
		Data:      map[string]string{"transport": c.r.Meta.Transport},
	}
	if st := c.st; st != nil {
		r.Statement.Kind, r.Statement.Normalized, r.Statement.Fingerprint = string(st.Kind), st.Normalized, st.Fingerprint
		r.Relations, r.Patients = relationNames(st), c.patients()
		r.Statement.Relations, r.Statement.Uses = mustJSON(st.Relations), mustJSON(st.Uses)
		r.Statement.Aggregate = tellsOfGroups(st)
		r.Statement.Functions, r.Statement.Writes = mustJSON(st.Functions), mustJSON(st.Writes)
		r.Decision = c.decided()
	}
	if c.lease != nil {
		r.Lease = leaseRecord(c.lease, c.access)
	}
	if c.approved != nil {
		r.Approval = &evidence.Approval{Decision: "approve", Approvers: c.approvers, ExpiresAt: &c.approved.Request.Expires}
	}
	if !c.intent {
		r.Secret = c.secret() // the intent, once written, carries it
	}
	return r
}

func relationNames(st *connectors.Statement) (names []string) {
	for _, rel := range st.Relations {
		if name := rel.Schema + "." + rel.Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// patients are tokens of the persons whom the statement's look-ups name,
// "<class>:<token>": for an accounting of disclosures (45 CFR 164.528).
func (c *call) patients() (tokens []string) {
	for _, l := range c.st.Lookups {
		value := l.Literal
		if l.Param >= 0 {
			value = c.params[l.Param].Text
		}
		if value == "" {
			continue
		}
		token := string(c.g.cfg.Tokens.AppendToken([]byte(l.Class+":"), l.Class, []byte(value)))
		if !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

func (c *call) intentRecord() *evidence.Record { return c.record(evidence.TypeIntent) }

func (c *call) decided() *evidence.Decision {
	d := &evidence.Decision{Effect: string(c.decision.Effect), PolicyVersion: c.decision.Version,
		Catalog: c.st.CatalogVersion}
	for i, m := range c.decision.Matched {
		d.Rules = append(d.Rules, m.Rule)
		if i == 0 {
			d.Message = m.Message
		}
	}
	if c.estimate != nil {
		d.Estimate = mustJSON(c.estimate)
	}
	return d
}

// secret is what only auditors may read of a call.
func (c *call) secret() *evidence.Secret {
	s := &evidence.Secret{Statement: c.r.Statement, Parameters: mustJSON(c.params), Reason: c.r.Reason, Salt: c.salt}
	if c.st != nil {
		s.Rewritten = c.st.Text
	}
	return s
}

// record makes the outcome durable. A crash before it leaves an intent without
// an outcome, of which nothing was released; a crash after it, a recording of
// rows that the client may not have seen.
func (run *execution) record(ctx context.Context, o connectors.Outcome, out *sink, res *Result) (evidence.Receipt, error) {
	c := run.c
	ended := c.g.cfg.Clock().UTC()
	began := c.began.UTC()
	r := c.record(evidence.TypeOutcome)
	r.Result = &evidence.Result{
		Status: string(succeeded), SessionDB: c.session, Started: &began, Ended: &ended, Command: o.Command,
		RowCount: res.RowCount, Affected: o.Affected, Truncated: res.TruncationReason, Masks: out.masks,
		Detected: out.detected, Columns: mustJSON(res.Columns), Rows: res.Rows, Notes: res.Notes,
		TransactionID: o.TransactionID,
	}
	defer c.step("record")()
	return c.g.append(ctx, r)
}

// binding is the digest that an approval is bound to: the exact request, who
// asked, what the analysis found and the policy it was decided by. The salt is
// sealed, so that the digest tells nothing about a guessed literal.
func (c *call) binding() string {
	h := sha256.New()
	part := func(b []byte) {
		sum := sha256.Sum256(b) // fixed width: parts cannot run into one another
		h.Write(sum[:])
	}
	part([]byte(c.salt))
	part(c.r.Body)
	part([]byte(c.db.Name))
	part([]byte(c.p.Key()))
	part([]byte(c.db.Classes.Version()))
	part([]byte(c.decision.Version))
	if c.st != nil {
		part(mustJSON(c.st.Relations))
		part(mustJSON(c.st.Functions))
		part(mustJSON(c.st.Writes))
		part(mustJSON(openable(c.st)))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// openable names the comparisons that an approval opens. Their numbers follow the
// analysis, so that a view that was made anew in between could move them.
func openable(st *connectors.Statement) (names []string) {
	for _, use := range st.Uses {
		if use.Openable {
			names = append(names, use.ID+" "+string(use.Kind)+" "+use.Column.String()+" "+use.Class)
		}
	}
	return names
}

func leaseRecord(l *credentials.Lease, access credentials.Access) *evidence.Lease {
	return &evidence.Lease{ID: l.ID, Username: l.Username, Access: string(access),
		IssuedAt: l.IssuedAt.UTC(), ExpiresAt: l.ExpiresAt.UTC()}
}

// ActorOf is who made a call, as a record says it.
func ActorOf(p *identity.Principal, m Meta) *evidence.Actor {
	if p == nil {
		return &evidence.Actor{RemoteAddr: m.RemoteAddr}
	}
	a := &evidence.Actor{Subject: p.Subject, Issuer: p.Issuer, ClientID: p.ClientID, OnBehalfOf: p.OnBehalfOf,
		Name: p.Name, RemoteAddr: m.RemoteAddr}
	if !p.AuthTime.IsZero() {
		at := p.AuthTime.UTC()
		a.AuthTime = &at
	}
	return a
}

// Reject records a request that was no valid query, or whose caller could not
// be authenticated (p is nil), and returns what the caller may be told.
// Requests of unknown callers are recorded at a bounded rate: they must not be
// able to fill a store from which nothing can be deleted.
func (g *Gateway) Reject(ctx context.Context, p *identity.Principal, problem *Problem, m Meta, connection string) *Problem {
	r := &evidence.Record{Type: evidence.TypeRejected, RequestID: m.RequestID, Connection: connection,
		Actor: ActorOf(p, m), Data: map[string]string{"transport": m.Transport},
		Result: &evidence.Result{Status: "refused", Code: string(problem.Code), Affected: -1}}
	if p == nil {
		r.Type, r.Data["why"] = evidence.TypeAuthFailed, problem.Detail
		if g.failures.admit(r) {
			if err := g.cfg.Log.AppendAsync(r); err != nil {
				g.cfg.Logger.WarnContext(ctx, "a failed sign-in was not recorded", "error", err)
			}
		}
		return problem
	}
	receipt, err := g.append(ctx, r)
	if err != nil {
		return evidenceProblem()
	}
	problem.RecordingID = receipt.RecordID
	return problem
}

// maxACR bounds what is kept of an acr claim; those in use are short names or URIs.
const maxACR = 255

// SignedIn records that a person signed in to the pages with the provider. The
// caller must not give out a session on an error, which is what the person may be
// told. A crash after it leaves a record of a sign-in that came to nothing.
func (g *Gateway) SignedIn(ctx context.Context, p *identity.Principal, m Meta) error {
	r := &evidence.Record{Type: evidence.TypeAuthSucceeded, RequestID: m.RequestID, Actor: ActorOf(p, m),
		Data: map[string]string{"transport": m.Transport, "method": "oidc"}}
	if p.ACR != "" && len(p.ACR) <= maxACR {
		r.Data["acr"] = p.ACR
	}
	if _, err := g.append(ctx, r); err != nil {
		problem := evidenceProblem()
		problem.Detail = "That you signed in could not be recorded, so you are not signed in."
		return problem
	}
	return nil
}

func newSalt() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// mustJSON marshals a plain struct of the gateway's own.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("gateway: marshalling own type: " + err.Error())
	}
	return b
}
