package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
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

// world is every part of a gateway as a fake that writes down what was asked
// of it, in order. The claims about real parts are test/e2e's.
type world struct {
	mu     sync.Mutex
	events []string

	recordErr  func(r *evidence.Record) error
	issueErr   error
	analyzeErr error
	prepareErr []error // one for each call; the last stays
	executeErr error
	panicIn    string          // the step that panics, with a value
	effect     []policy.Effect // one for each decision; the last stays
	st         connectors.Statement
	rows       [][]connectors.Cell

	records  []*evidence.Record
	requests map[string]*approvals.Status
	secrets  map[string]approvals.Secret
	objects  map[string][]byte
}

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

func (w *world) panics(step string) {
	if w.panicIn == step {
		panic("SECRET 219-09-9998")
	}
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.events, " ")
}

func newWorld() *world {
	return &world{
		effect: []policy.Effect{policy.Allow},
		st: connectors.Statement{Kind: connectors.KindSelect, Runnable: true, Text: "SELECT 1", Normalized: "SELECT ?",
			Outputs: []connectors.Output{{Name: "id", Detect: true}}},
		rows:     [][]connectors.Cell{{{Kind: connectors.CellNumber, Text: []byte("1")}}},
		requests: map[string]*approvals.Status{}, secrets: map[string]approvals.Secret{}, objects: map[string][]byte{},
	}
}

func (w *world) gateway(t *testing.T) *Gateway {
	t.Helper()
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := masking.NewTokenizer([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	detectors, err := masking.NewDetectors(masking.DetectorConfig{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{
		Databases: map[string]*Database{"clinic": {Name: "clinic", Engine: w, Classes: classes, LeaseTTL: time.Minute,
			MaxSessions: 4}},
		Policy: decider{w}, Leases: w, Log: w, Recordings: w, Requests: w, Store: (*objects)(w), Tokens: tokens,
		Detectors: detectors, PublicURL: "https://gw", ApprovalTTL: time.Hour, Clock: time.Now,
		Decode: func(body []byte) (*Request, error) {
			r := request(string(body))
			return r, nil
		},
		Limits: Limits{DefaultRows: 10, MaxRows: 100, DefaultBytes: 1000, MaxBytes: 10000, DefaultTimeout: 5 * time.Second,
			MaxTimeout: 10 * time.Second, Concurrency: 8, PerPrincipal: 4, LookupsPerHour: 2},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func request(statement string) *Request {
	return &Request{Connection: "clinic", Statement: statement, MaxAffected: -1, Body: []byte(statement)}
}

func agent(name string) *identity.Principal {
	return &identity.Principal{Subject: name, Issuer: "iss", Roles: map[string][]identity.Role{"clinic": {identity.Agent}}}
}

func approver(name string) *identity.Principal {
	return &identity.Principal{Subject: name, Issuer: "iss",
		Roles: map[string][]identity.Role{"clinic": {identity.Approver}}}
}

// Engine.

func (w *world) Name() string { return "fake" }

func (w *world) Analyze(connectors.Catalog, connectors.Input) (*connectors.Statement, error) {
	w.note("analyse")
	w.panics("analyse")
	if w.analyzeErr != nil {
		return nil, w.analyzeErr
	}
	st := w.st
	return &st, nil
}

func (w *world) Connect(context.Context, connectors.Target, connectors.Credential) (connectors.Session, error) {
	w.note("connect")
	w.panics("connect")
	return &fakeSession{w}, nil
}

type fakeSession struct{ w *world }

func (s *fakeSession) ID() string { return "42" }

func (s *fakeSession) Catalog(context.Context) (connectors.Catalog, error) { return fakeCatalog{}, nil }

func (s *fakeSession) Prepare(context.Context, *connectors.Statement, []connectors.Param, connectors.Limits) (connectors.Estimate, error) {
	s.w.note("prepare")
	s.w.panics("prepare")
	return connectors.Estimate{Known: true, Rows: 1}, next(&s.w.prepareErr)
}

func (s *fakeSession) Execute(_ context.Context, sink connectors.Sink) (connectors.Outcome, error) {
	s.w.note("execute")
	s.w.panics("execute")
	cols := make([]connectors.ResultColumn, len(s.w.st.Outputs))
	if err := sink.Columns(cols); err != nil {
		return connectors.Outcome{}, err
	}
	for _, row := range s.w.rows {
		more, err := sink.Row(row)
		if err != nil {
			return connectors.Outcome{}, err
		}
		if !more {
			break
		}
	}
	return connectors.Outcome{Command: "SELECT", Affected: -1}, s.w.executeErr
}

func (s *fakeSession) Close(context.Context) error { s.w.note("close"); return nil }

type fakeCatalog struct{}

func (fakeCatalog) Version() string            { return "c1" }
func (fakeCatalog) Tables() []connectors.Table { return nil }

// next takes the first of a list of results; the last one stays.
func next[T any](list *[]T) (v T) {
	if len(*list) == 0 {
		return v
	}
	v = (*list)[0]
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return v
}

// Decider.

type decider struct{ w *world }

func (x decider) Decide(policy.Input) (policy.Decision, error) {
	w := x.w
	d := policy.Decision{Effect: next(&w.effect), Version: "p1"}
	w.note(string(d.Effect))
	if d.Effect != policy.Allow {
		d.Matched = []policy.Matched{{Rule: "r", Message: "because"}}
	}
	return d, nil
}

// Leases.

func (w *world) Issue(_ context.Context, grant credentials.Grant) (*credentials.Lease, error) {
	if w.issueErr != nil {
		return nil, w.issueErr
	}
	if grant.QueryID != "" {
		w.note("mint-" + string(grant.Access))
	}
	return &credentials.Lease{ID: "l", Connection: grant.Connection, Username: "u"}, nil
}

func (w *world) Release(*credentials.Lease) { w.note("release") }

// Recorder and Recordings.

func (w *world) Append(_ context.Context, r *evidence.Record) (evidence.Receipt, error) {
	if w.recordErr != nil {
		if err := w.recordErr(r); err != nil {
			return evidence.Receipt{}, err
		}
	}
	status := ""
	if r.Result != nil {
		status = ":" + r.Result.Status
	}
	w.note(string(r.Type) + status)
	w.mu.Lock()
	defer w.mu.Unlock()
	r.ID = "w." + strconv.Itoa(len(w.records))
	r.Time = time.Now()
	w.records = append(w.records, r)
	return evidence.Receipt{RecordID: r.ID}, nil
}

func (w *world) AppendAsync(*evidence.Record) error { return nil }

func (w *world) Writer() string { return "gw-1" }

func (w *world) Find(_ context.Context, id string) ([]evidence.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []evidence.Record
	for _, r := range w.records {
		if r.QueryID == id {
			found = append(found, *r)
		}
	}
	return found, nil
}

// Requests.

func (w *world) Create(_ context.Context, r approvals.Request, s approvals.Secret) error {
	w.note("file")
	w.requests[r.ID] = &approvals.Status{Request: r, State: approvals.Pending}
	w.secrets[r.ID] = s
	return nil
}

func (w *world) Get(_ context.Context, id string) (*approvals.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.requests[id]
	if !ok {
		return nil, approvals.ErrNotFound
	}
	c := *s
	return &c, nil
}

func (w *world) OpenSecret(_ context.Context, id string) (*approvals.Secret, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.secrets[id]
	return &s, nil
}

func (w *world) Decide(_ context.Context, id string, v approvals.Vote) (*approvals.Status, error) {
	s := w.requests[id]
	if s.Request.Requester == v.Approver {
		return nil, approvals.ErrOwnRequest
	}
	s.State = approvals.Denied
	if v.Approve {
		s.State = approvals.Approved
	}
	s.Votes = append(s.Votes, v)
	return s, nil
}

func (w *world) Cancel(_ context.Context, id, _ string) (*approvals.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[id].State = approvals.Cancelled
	return w.requests[id], nil
}

func (w *world) Claim(_ context.Context, id string, c approvals.Claim) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests[id].Claim != nil {
		return approvals.ErrAlreadyClaimed
	}
	w.requests[id].Claim, w.requests[id].State = &c, approvals.Running
	w.events = append(w.events, "claim")
	return nil
}

func (w *world) Finish(_ context.Context, id string, o approvals.Outcome) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[id].Outcome, w.requests[id].State = &o, o.State
	return nil
}

func (w *world) ListOpen(_ context.Context, yield func(*approvals.Status) bool) error {
	for _, s := range w.requests {
		if s.State == approvals.Pending && !yield(s) {
			break
		}
	}
	return nil
}

// objects is the idempotency store.
type objects world

func (o *objects) Create(_ context.Context, key string, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.objects[key]; ok {
		return worm.ErrExists
	}
	o.objects[key] = body
	return nil
}

func (o *objects) CreateFrom(ctx context.Context, key string, r io.ReadSeeker, _ int64) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return o.Create(ctx, key, body)
}
func (o *objects) Open(ctx context.Context, key string) (io.ReadCloser, worm.Entry, error) {
	object, err := o.Get(ctx, key, 0)
	return io.NopCloser(bytes.NewReader(object.Body)), worm.Entry{Key: key, Size: int64(len(object.Body))}, err
}
func (o *objects) Get(_ context.Context, key string, _ int64) (worm.Object, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return worm.Object{Body: o.objects[key]}, nil
}

func (o *objects) List(context.Context, string, string, func(worm.Entry) bool) error {
	return errors.New("not needed")
}
func (o *objects) Check(context.Context) error { return nil }

func mustProblem(t *testing.T, err error, code Code) *Problem {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("error %v, want problem %s", err, code)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	return p
}
