package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
)

// State tells where a query stands: to its requester, to approvers and
// auditors of its connection. It never gives rows; the claim does.
func (g *Gateway) State(ctx context.Context, p *identity.Principal, id string, _ Meta) (*Answer, error) {
	if _, err := evidence.QueryTime(id); err != nil {
		return nil, notFound()
	}
	status, err := g.cfg.Requests.Get(ctx, id)
	switch {
	case err == nil:
		name := status.Request.Connection
		if status.Request.Requester != p.Key() && !p.Has(identity.Approver, name) && !p.Has(identity.Auditor, name) {
			return nil, notFound()
		}
		if status.State == approvals.Running || status.State == approvals.Interrupted {
			g.settle(ctx, status)
		}
		return g.pendingAnswer(status), nil
	case !errors.Is(err, approvals.ErrNotFound):
		return nil, g.problem(ctx, err)
	}
	g.mu.Lock()
	run, running := g.running[id]
	g.mu.Unlock()
	if running && run.principal == p.Key() {
		return &Answer{QueryID: id, State: approvals.Running}, nil
	}
	records, err := g.cfg.Recordings.Find(ctx, id)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	return g.stateOf(p, id, records)
}

// settle corrects the state of a claimed request whose outcome is recorded but
// was not noted beside it.
func (g *Gateway) settle(ctx context.Context, s *approvals.Status) {
	records, err := g.cfg.Recordings.Find(ctx, s.Request.ID)
	if err != nil {
		return // the state stays what the objects say
	}
	if last := outcome(records); last != nil {
		s.State = approvals.Failed
		if last.Result.Status == string(succeeded) {
			s.State = succeeded
		}
	}
}

// stateOf reads the state of a query that never needed approval.
func (g *Gateway) stateOf(p *identity.Principal, id string, records []evidence.Record) (*Answer, error) {
	if len(records) == 0 || records[0].Actor == nil {
		return nil, notFound()
	}
	first := records[0]
	mine := first.Actor.Key() == p.Key()
	if !mine && !p.Has(identity.Auditor, first.Connection) {
		return nil, notFound()
	}
	last := outcome(records)
	if last == nil {
		state := approvals.Running
		if g.cfg.Clock().Sub(first.Time) > g.cfg.Limits.MaxTimeout+2*recordTimeout {
			state = approvals.Interrupted
		}
		return &Answer{QueryID: id, State: state}, nil
	}
	a := &Answer{QueryID: id, State: approvals.Failed}
	switch last.Result.Status {
	case string(succeeded), "dry_run":
		a.State = succeeded
	case "denied":
		a.State = approvals.Denied
	}
	if last.Result.Problem != nil {
		a.Problem = recordedProblem(last)
	}
	return a, nil
}

// outcome is the last outcome among a query's records, or nil.
func outcome(records []evidence.Record) *evidence.Record {
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Type == evidence.TypeOutcome && records[i].Result != nil {
			return &records[i]
		}
	}
	return nil
}

func recordedProblem(r *evidence.Record) *Problem {
	var p Problem
	if err := json.Unmarshal(r.Result.Problem, &p); err != nil {
		return &Problem{Code: CodeInternal, QueryID: r.QueryID, Detail: "The recorded answer cannot be read."}
	}
	p.RecordingID = r.ID
	return &p
}

// recorded gives the answer of a query again, from its recording.
func (g *Gateway) recorded(ctx context.Context, id string, status *approvals.Status) (*Answer, error) {
	records, err := g.cfg.Recordings.Find(ctx, id)
	if err != nil {
		return nil, withID(g.problem(ctx, err), id)
	}
	last := outcome(records)
	if last == nil {
		if status != nil && status.State == approvals.Interrupted {
			return nil, &Problem{Code: CodeInterrupted, QueryID: id,
				Detail: "The gateway stopped while this ran. What it did is unknown; it will not be run again."}
		}
		return nil, &Problem{Code: CodeStillRunning, QueryID: id, Retryable: true, RetryAfter: time.Second,
			Detail: "The first request with this Idempotency-Key is still running."}
	}
	if last.Result.Problem != nil {
		return nil, recordedProblem(last)
	}
	if last.Result.Status != string(succeeded) {
		return nil, &Problem{Code: CodeConflict, QueryID: id, Detail: "The first answer holds no rows to repeat."}
	}
	result := &Result{
		Command: last.Result.Command, Rows: last.Result.Rows, RowCount: last.Result.RowCount, Notes: last.Result.Notes,
		Truncated: last.Result.Truncated != "", TruncationReason: last.Result.Truncated, RecordingID: last.ID,
	}
	if err := json.Unmarshal(last.Result.Columns, &result.Columns); err != nil {
		return nil, withID(g.problem(ctx, fmt.Errorf("reading recorded columns: %w", err)), id)
	}
	if last.Result.Affected >= 0 {
		result.AffectedRows = &last.Result.Affected
	}
	return &Answer{QueryID: id, State: succeeded, Result: result, Replayed: true}, nil
}

// firstUse is the create-once object that binds an Idempotency-Key to the first
// request that came with it.
type firstUse struct {
	Version int       `json:"version"`
	QueryID string    `json:"query_id"`
	Body    string    `json:"body_hmac"`
	At      time.Time `json:"at"`
}

// firstAnswer claims the request's Idempotency-Key. If an earlier request of
// the same principal has it, that one's answer is given; a different body is
// refused. Nil and nil mean this request is the first.
func (c *call) firstAnswer(ctx context.Context) (*Answer, *Problem) {
	g := c.g
	key := "idempotency/" + hashKey(c.p, c.r.IdempotencyKey)
	mine := firstUse{Version: 1, QueryID: c.id, Body: c.bodyDigest(), At: g.cfg.Clock().UTC()}
	err := g.cfg.Store.Create(ctx, key, mustJSON(mine))
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, worm.ErrExists) {
		return nil, g.problem(ctx, err)
	}
	object, err := g.cfg.Store.Get(ctx, key, 4096)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	var first firstUse
	if err := json.Unmarshal(object.Body, &first); err != nil {
		return nil, g.problem(ctx, fmt.Errorf("reading an idempotency claim: %w", err))
	}
	if !hmac.Equal([]byte(first.Body), []byte(mine.Body)) {
		return nil, &Problem{Code: CodeIdempotencyReuse, QueryID: first.QueryID,
			Detail: "This Idempotency-Key was used with another request."}
	}
	status, err := g.cfg.Requests.Get(ctx, first.QueryID)
	if err == nil {
		return g.pendingAnswer(status), nil
	}
	if !errors.Is(err, approvals.ErrNotFound) {
		return nil, g.problem(ctx, err)
	}
	answer, err := g.recorded(ctx, first.QueryID, nil)
	if err != nil {
		return nil, g.problem(ctx, err)
	}
	return answer, nil
}

// bodyDigest tells bodies apart without letting the stored digest confirm a
// guessed literal: the client's key, which is not stored, keys it.
func (c *call) bodyDigest() string {
	mac := hmac.New(sha256.New, []byte(c.r.IdempotencyKey))
	mac.Write(c.r.Body)
	return hex.EncodeToString(mac.Sum(nil))
}

// hashKey names an Idempotency-Key of a principal without showing it; "" for none.
func hashKey(p *identity.Principal, key string) string {
	if key == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("idempotency\x00" + p.Key()))
	return hex.EncodeToString(mac.Sum(nil))
}
