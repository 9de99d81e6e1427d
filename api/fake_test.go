package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	chaperone "github.com/chaperone-sql/chaperone"
	"github.com/chaperone-sql/chaperone/api/openapitest"
	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
)

var testNow = time.Date(2026, 11, 24, 11, 0, 0, 0, time.UTC)

// fakeGateway answers what a test put into it and remembers what it was asked.
type fakeGateway struct {
	mu       sync.Mutex
	requests []*gateway.Request
	rejected []rejection
	decided  []decision
	claims   []string
	signedIn []string

	answer  *gateway.Answer
	err     error
	view    *gateway.ApprovalView
	open    []approvals.Status
	schema  *gateway.Schema
	ready   error
	onQuery func(ctx context.Context) // runs inside Query
}

type rejection struct {
	known   bool
	problem *gateway.Problem
	meta    gateway.Meta
}

type decision struct {
	id, comment string
	approve     bool
	meta        gateway.Meta
}

func (g *fakeGateway) Query(ctx context.Context, _ *identity.Principal, r *gateway.Request) (*gateway.Answer, error) {
	g.mu.Lock()
	g.requests = append(g.requests, r)
	g.mu.Unlock()
	if g.onQuery != nil {
		g.onQuery(ctx)
	}
	return g.answer, g.err
}

func (g *fakeGateway) State(context.Context, *identity.Principal, string, gateway.Meta) (*gateway.Answer, error) {
	return g.answer, g.err
}

func (g *fakeGateway) Result(_ context.Context, _ *identity.Principal, id, key string, _ gateway.Meta) (*gateway.Answer, error) {
	g.claims = append(g.claims, id+" "+key)
	return g.answer, g.err
}

func (g *fakeGateway) Cancel(context.Context, *identity.Principal, string, gateway.Meta) (*gateway.Answer, error) {
	return g.answer, g.err
}

func (g *fakeGateway) Connections(context.Context, *identity.Principal) ([]gateway.Connection, error) {
	return []gateway.Connection{{Name: "clinic", Engine: "postgres", Roles: []string{"agent"}}}, g.err
}

func (g *fakeGateway) Schema(context.Context, *identity.Principal, string) (*gateway.Schema, error) {
	return g.schema, g.err
}

func (g *fakeGateway) Approvals(context.Context, *identity.Principal) ([]approvals.Status, error) {
	return g.open, g.err
}

func (g *fakeGateway) Approval(context.Context, *identity.Principal, string, gateway.Meta) (*gateway.ApprovalView, error) {
	return g.view, g.err
}

func (g *fakeGateway) Decide(_ context.Context, _ *identity.Principal, id string, approve bool, comment string,
	m gateway.Meta,
) (*approvals.Status, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decided = append(g.decided, decision{id, comment, approve, m})
	if g.err != nil {
		return nil, g.err
	}
	return &g.view.Status, nil
}

func (g *fakeGateway) Reject(_ context.Context, p *identity.Principal, problem *gateway.Problem, m gateway.Meta, _ string) *gateway.Problem {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rejected = append(g.rejected, rejection{p != nil, problem, m})
	problem.RecordingID = "gw-1.1"
	return problem
}

func (g *fakeGateway) SignedIn(_ context.Context, p *identity.Principal, m gateway.Meta) error {
	if g.err != nil {
		return g.err
	}
	g.signedIn = append(g.signedIn, p.Subject+" "+m.Transport)
	return nil
}

func (g *fakeGateway) Ready(context.Context) error { return g.ready }

// fakeAuth knows one token.
type fakeAuth struct{}

func (fakeAuth) Verify(_ context.Context, raw string) (*identity.Principal, error) {
	switch raw {
	case "good":
		return testPrincipal(), nil
	case "down":
		return nil, errors.Join(identity.ErrProviderUnavailable, errors.New("dial tcp 10.1.2.3:443: secret detail"))
	case "odd":
		return nil, errors.New("an unexpected secret detail")
	}
	return nil, identity.ErrInvalidToken
}

func testPrincipal() *identity.Principal {
	return &identity.Principal{Subject: "ada", Issuer: "https://id.example.org", Name: "Ada Moss",
		Expires: testNow.Add(time.Hour), Roles: map[string][]identity.Role{"*": {identity.Approver}}}
}

type fakeLogin struct{ err error }

func (fakeLogin) AuthURL(state, nonce, _ string) (string, error) {
	return "https://id.example.org/authorize?state=" + state + "&nonce=" + nonce, nil
}

func (l fakeLogin) Exchange(_ context.Context, code, verifier, nonce string) (*identity.Principal, error) {
	if l.err != nil {
		return nil, l.err
	}
	if code != "code" || verifier == "" || nonce == "" {
		return nil, identity.ErrInvalidToken
	}
	return testPrincipal(), nil
}

type fakeSessions struct{}

func (fakeSessions) Seal(p *identity.Principal) (string, error) { return "sealed-" + p.Subject, nil }

func (fakeSessions) Open(cookie string) (*identity.Principal, error) {
	if cookie != "sealed-ada" {
		return nil, identity.ErrInvalidToken
	}
	return testPrincipal(), nil
}

// fixture is a server on a real listener with a fake gateway behind it.
type fixture struct {
	t      *testing.T
	gw     *fakeGateway
	server *Server
	addr   string
	client *http.Client
	logs   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testConfig(gw Gateway, public string, logs io.Writer) Config {
	return Config{
		Gateway: gw, Auth: fakeAuth{}, Login: fakeLogin{}, Sessions: fakeSessions{},
		LoginKey: masking.Secret(strings.Repeat("k", loginKeySize)), Registry: prometheus.NewRegistry(),
		Logger:    slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		PublicURL: public, Issuer: "https://id.example.org", BodyLimit: 4 << 20, Concurrency: 64, Connections: 1024,
		MaxTimeout: time.Minute, OpenAPI: chaperone.OpenAPI, Version: "test", Clock: func() time.Time { return testNow },
	}
}

func start(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, gw: &fakeGateway{}, addr: l.Addr().String(), logs: &lockedBuffer{}}
	cfg := testConfig(f.gw, "http://"+f.addr, f.logs)
	for _, c := range change {
		c(&cfg)
	}
	if f.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(l) }()
	f.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return f
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request with a good token and holds the answer to openapi.yaml.
func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.t.Helper()
	headers = append([]string{"Authorization", "Bearer good", "Content-Type", "application/json"}, headers...)
	a := f.raw(method, path, body, headers...)
	openapitest.ValidateResponse(f.t, method, path, a.StatusCode, a.Header, a.body)
	return a
}

// raw sends a request with exactly these headers; an empty value removes one.
func (f *fixture) raw(method, path, body string, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequest(method, "http://"+f.addr+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp, read}
}

func (a answer) problem(t *testing.T) document {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d with content type %q, body %s", a.StatusCode, got, a.body)
	}
	var d document
	if err := json.Unmarshal(a.body, &d); err != nil {
		t.Fatal(err)
	}
	if d.Status != a.StatusCode {
		t.Errorf("the document says %d, the answer is %d", d.Status, a.StatusCode)
	}
	return d
}

func rowsAnswer() *gateway.Answer {
	return &gateway.Answer{
		QueryID: "q_1", State: approvals.Succeeded,
		Result: &gateway.Result{
			Command: "SELECT", Columns: []gateway.Column{{Name: "ssn", Type: "text", Table: "public.patients", Masked: true, Mask: "redact"}},
			Rows: json.RawMessage(`[ ["<b>&"],[1.10]]`), RowCount: 2, RecordingID: "gw-1.7",
		},
		Timing: []gateway.Timing{{Step: "auth", Took: 1500 * time.Microsecond}, {Step: "total", Took: 20 * time.Millisecond}},
	}
}

func pendingAnswer() *gateway.Answer {
	return &gateway.Answer{QueryID: "q_2", State: approvals.Pending, Pending: &gateway.Pending{
		ApprovalURL: "https://c.example.org/approvals/q_2", ExpiresAt: testNow.Add(time.Hour),
		StatementSHA256: strings.Repeat("ab", 32), Reasons: []approvals.Reason{{Rule: "bulk-export", Message: "It is big."}},
		RetryAfter: 5 * time.Second,
	}}
}

func testView() *gateway.ApprovalView {
	rows := 4200.0
	return &gateway.ApprovalView{
		Status: approvals.Status{
			State: approvals.Pending,
			Request: approvals.Request{
				Version: 1, ID: "q_2", Connection: "clinic", Created: testNow.Add(-10 * time.Minute), Expires: testNow.Add(110 * time.Minute),
				Requester: "https://id.example.org#svc-discharge", RequesterName: "Discharge summariser", ClientID: "crew-prod",
				OnBehalfOf: "https://id.example.org#nurse.okafor", SessionID: "crew-run-77", PurposeOfUse: "HOPERAT",
				Binding: strings.Repeat("9f", 32), Normalized: "select p.id, p.zip from patients p where p.mrn = $1", Kind: "select",
				Summary:   "Reads 3 columns of patients and encounters, about 4200 rows. 2 protected columns masked.",
				Relations: []string{"public.patients", "public.encounters"},
				Columns: []approvals.Column{
					{Name: "public.patients.zip", Class: "zip", Use: string(connectors.UseOutput), Seen: string(connectors.SeenGeneralised)},
					{Name: "public.patients.last_name", Class: "name", Use: string(connectors.UsePredicate), Seen: string(connectors.SeenDestroyed)},
					{Name: "public.encounters.notes", Class: "free_text", Use: string(connectors.UseOutput), Seen: string(connectors.SeenMasked)},
				},
				Open: []string{"u1"}, EstimateRows: &rows,
				Reasons: []approvals.Reason{
					{Rule: "bulk-export", Message: "This may read more than 1,000 rows of a protected table."},
					{Rule: "protected-predicate", Message: "It compares a protected column with a real value."},
				},
				Approvals: 1, Sealed: []byte("sealed secret"),
			},
		},
		Statement: "select p.id, p.zip, e.notes\n  from patients p\n  join encounters e on e.patient_id = p.id\n" +
			" where p.last_name = $1\n   and e.admitted_at >= date '2026-01-01'\n order by p.id",
		Parameters: json.RawMessage(`["O'Brien <b>",2026,null,{"a":[1,2]}]`),
		Reason:     "Yearly report on readmissions for the quality board, ticket 1182.",
		MayDecide:  true,
	}
}
