package gateway

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
)

// execution is one statement under one lease in one session.
type execution struct {
	c        *call
	lease    *credentials.Lease
	session  connectors.Session
	estimate connectors.Estimate
	release  func()
}

// prepare makes the intent durable and mints the credential side by side, then
// has the database resolve the statement and estimate it. Nothing runs yet.
//
// A crash in here leaves an intent without an outcome, and at most a lease
// that the next start revokes or that ends by its TTL.
func (c *call) prepare(ctx context.Context) (ready *execution, err error) {
	run := &execution{c: c}
	c.access = credentials.ReadOnly
	if c.st.Write {
		c.access = credentials.ReadWrite
	}
	if run.release, err = c.g.takeSession(ctx, c.db); err != nil {
		return nil, err
	}
	defer func() {
		if ready == nil { // also when an engine panics
			run.end(ctx)
		}
	}()
	if err := run.mint(ctx); err != nil {
		return nil, err
	}
	connected := c.step("connect")
	run.session, err = c.db.Engine.Connect(ctx, c.db.Target, connectors.Credential{
		Username: run.lease.Username, Password: run.lease.Password,
	})
	connected()
	if err != nil {
		return nil, err
	}
	c.session = run.session.ID()
	prepared := c.step("prepare")
	run.estimate, err = run.session.Prepare(ctx, c.st, c.bound(), connectors.Limits{
		Write: c.st.Write, Timeout: c.r.Timeout, LockTimeout: c.g.cfg.Limits.LockTimeout, MaxAffected: c.r.MaxAffected,
		Classes: c.db.Classes,
	})
	prepared()
	if err != nil {
		return nil, err
	}
	return run, nil
}

// mint stores the intent and mints in parallel; both must succeed. The lease's
// own record follows without waiting: it is what lets the next start revoke it.
func (run *execution) mint(ctx context.Context) error {
	c := run.c
	both, gctx := errgroup.WithContext(ctx)
	if !c.intent {
		both.Go(func() error {
			start := time.Now()
			_, err := c.g.cfg.Log.Append(gctx, c.intentRecord())
			c.took("intent", time.Since(start))
			return err
		})
	}
	var minted time.Duration
	both.Go(func() (err error) {
		start := time.Now()
		run.lease, err = c.g.cfg.Leases.Issue(gctx, credentials.Grant{
			Connection: c.db.Name, Access: c.access, QueryID: c.id, Principal: c.p.Subject, TTL: c.db.LeaseTTL,
		})
		minted = time.Since(start)
		return err
	})
	err := both.Wait()
	c.took("mint", minted)
	if err != nil {
		return err
	}
	c.intent, c.lease = true, run.lease
	return c.g.cfg.Log.AppendAsync(&evidence.Record{
		Type: evidence.TypeLeaseIssued, QueryID: c.id, SessionID: c.r.SessionID, Connection: c.db.Name, Lease: leaseRecord(run.lease, c.access),
	})
}

// execute runs the statement, makes its outcome durable and only then returns
// the rows.
func (run *execution) execute(ctx context.Context) (*Answer, error) {
	c := run.c
	out := newSink(c)
	c.began = c.g.cfg.Clock()
	executed := c.step("execute")
	outcome, err := run.session.Execute(ctx, out)
	executed()
	if err != nil {
		return nil, err
	}
	c.took("mask", out.took)
	result := out.result(outcome, c.st.Notes)
	receipt, err := run.record(ctx, outcome, out, result)
	if err != nil {
		return nil, err
	}
	result.RecordingID = receipt.RecordID
	return &Answer{QueryID: c.id, State: succeeded, Result: result}, nil
}

// end closes the session and gives the lease back to be revoked. It is safe on
// a half-made execution.
func (run *execution) end(ctx context.Context) {
	if run.session != nil {
		closeSession(ctx, run.session)
	}
	if run.lease != nil {
		run.c.g.cfg.Leases.Release(run.lease)
	}
	run.release()
}
