package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/gateway"
)

const goodBody = `{"connection":"clinic","statement":"select 1"}`

func TestQueryRows(t *testing.T) {
	f := start(t)
	f.gw.answer = rowsAnswer()
	a := f.do("POST", "/v1/query", goodBody, "X-Request-Id", "req-1")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	// Rows leave byte for byte as they were recorded.
	if !strings.Contains(string(a.body), `"rows":[ ["<b>&"],[1.10]],`) {
		t.Errorf("rows were written again: %s", a.body)
	}
	for name, want := range map[string]string{
		"Server-Timing": "auth;dur=1.5, total;dur=20", "X-Request-Id": "req-1", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff", "Server": "", "Idempotency-Replayed": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	r := f.gw.requests[0]
	if r.Meta.RequestID != "req-1" || r.Meta.Transport != "rest" || !strings.HasPrefix(r.Meta.RemoteAddr, "127.0.0.1:") {
		t.Errorf("meta: %+v", r.Meta)
	}
	f.gw.answer.Replayed = true
	if a := f.do("POST", "/v1/query", goodBody, "Idempotency-Key", "k 1"); a.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("a replayed answer does not say so")
	}
	if got := f.gw.requests[1].IdempotencyKey; got != "k 1" {
		t.Errorf("key %q", got)
	}
}

func TestQueryPending(t *testing.T) {
	f := start(t)
	f.gw.answer = pendingAnswer()
	a := f.do("POST", "/v1/query", goodBody, "Prefer", `respond-async, wait="90"`)
	if a.StatusCode != http.StatusAccepted || a.Header.Get("Location") != "/v1/queries/q_2" || a.Header.Get("Retry-After") != "5" ||
		a.Header.Get("Preference-Applied") != "wait=25" {
		t.Errorf("status %d, headers %v", a.StatusCode, a.Header)
	}
	if f.gw.requests[0].Wait != 25*time.Second {
		t.Errorf("wait %v", f.gw.requests[0].Wait)
	}
	var body map[string]any
	if err := json.Unmarshal(a.body, &body); err != nil || body["rows"] != nil {
		t.Errorf("%v %s", err, a.body)
	}
	// Denied while the request waited: still no rows, still 202, and no Retry-After.
	f.gw.answer.State, f.gw.answer.Pending.RetryAfter = approvals.Denied, 0
	if a := f.do("POST", "/v1/query", goodBody); a.StatusCode != http.StatusAccepted || a.Header.Get("Retry-After") != "" {
		t.Errorf("status %d", a.StatusCode)
	}
}

func TestQueryDryRun(t *testing.T) {
	f := start(t)
	f.gw.answer = &gateway.Answer{QueryID: "q_1", State: approvals.Succeeded, DryRun: &gateway.Explanation{Decision: "approve"}}
	if a := f.do("POST", "/v1/query", goodBody); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"status":"dry_run"`) {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
}

// Everything that is wrong with a known caller's request is recorded.
func TestQueryRejected(t *testing.T) {
	f := start(t)
	for _, test := range []struct {
		name, body string
		headers    []string
		code       gateway.Code
	}{
		{"unknown field", `{"connection":"c","statement":"s","sql":1}`, nil, gateway.CodeMalformed},
		{"content type", goodBody, []string{"Content-Type", "text/plain"}, codeMediaType},
		{"no content type", goodBody, []string{"Content-Type", ""}, codeMediaType},
		{"charset", goodBody, []string{"Content-Type", "application/json; charset=latin1"}, codeMediaType},
		{"compressed", goodBody, []string{"Content-Encoding", "gzip"}, codeMediaType},
		{"empty", "", nil, gateway.CodeMalformed},
		{"too large", `{"connection":"` + strings.Repeat("a", 4<<20) + `"}`, nil, gateway.CodeTooLarge},
		{"idempotency key", goodBody, []string{"Idempotency-Key", strings.Repeat("k", 256)}, gateway.CodeMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(f.gw.rejected)
			a := f.do("POST", "/v1/query", test.body, test.headers...)
			d := a.problem(t)
			if d.Code != test.code || d.RecordingID != "gw-1.1" {
				t.Errorf("got %+v", d)
			}
			if len(f.gw.rejected) != before+1 || !f.gw.rejected[before].known {
				t.Errorf("recorded %+v", f.gw.rejected[before:])
			}
		})
	}
	if len(f.gw.requests) != 0 {
		t.Error("a rejected request reached the gateway")
	}
}

func TestAuthentication(t *testing.T) {
	f := start(t)
	for _, test := range []struct {
		name      string
		header    string
		status    int
		challenge string
	}{
		{"none", "", 401, `Bearer realm="chaperone", resource_metadata=`},
		{"basic", "Basic Z29vZDpnb29k", 401, `Bearer realm="chaperone", error="invalid_request"`},
		{"empty token", "Bearer ", 401, `error="invalid_request"`},
		{"two tokens", "Bearer good good", 401, `error="invalid_request"`},
		{"bad", "Bearer bad", 401, `error="invalid_token"`},
		{"provider down", "Bearer down", 503, ""},
		{"defect", "Bearer odd", 500, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(f.gw.rejected)
			a := f.do("GET", "/v1/connections", "", "Authorization", test.header)
			a.problem(t)
			if a.StatusCode != test.status || !strings.Contains(a.Header.Get("Www-Authenticate"), test.challenge) ||
				(test.challenge == "") != (a.Header.Get("Www-Authenticate") == "") {
				t.Errorf("status %d, challenge %q", a.StatusCode, a.Header.Get("Www-Authenticate"))
			}
			if strings.Contains(string(a.body), "secret detail") {
				t.Error("an inner error left")
			}
			if len(f.gw.rejected) != before+1 || f.gw.rejected[before].known {
				t.Errorf("recorded %+v", f.gw.rejected[before:])
			}
		})
	}
	if a := f.do("GET", "/v1/connections", "", "Authorization", "bEaReR  good"); a.StatusCode != http.StatusOK {
		t.Errorf("the scheme is case-insensitive, got %d", a.StatusCode)
	}
	// net/http cannot send two different lines under one canonical name; a socket can.
	got := f.socket("GET /v1/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nAuthorization: Bearer good\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 401") {
		t.Errorf("two Authorization headers: %.60s", got)
	}
}

func TestOtherRoutes(t *testing.T) {
	f := start(t)
	f.gw.view = testView()
	f.gw.open = []approvals.Status{f.gw.view.Status}
	f.gw.schema = &gateway.Schema{Connection: "clinic", Engine: "postgres", Version: "v1",
		Tables: []gateway.SchemaTable{{Schema: "public", Name: "t", Kind: "table"}}}

	f.gw.answer = pendingAnswer()
	f.gw.answer.State = approvals.Approved
	if a := f.do("GET", "/v1/queries/q_2", ""); a.StatusCode != http.StatusOK ||
		!strings.Contains(string(a.body), `"result_url":"/v1/queries/q_2/result"`) {
		t.Errorf("state: %d %s", a.StatusCode, a.body)
	}
	f.gw.answer = &gateway.Answer{QueryID: "q_2", State: approvals.Failed, Problem: &gateway.Problem{Code: gateway.CodeStatement, QueryID: "q_2"}}
	f.do("GET", "/v1/queries/q_2", "")
	f.gw.answer = &gateway.Answer{QueryID: "q_2", State: approvals.Cancelled}
	if a := f.do("POST", "/v1/queries/q_2/cancel", ""); a.StatusCode != http.StatusOK {
		t.Errorf("cancel: %d", a.StatusCode)
	}
	f.gw.answer.State = approvals.Running
	if a := f.do("POST", "/v1/queries/q_2/cancel", ""); a.StatusCode != http.StatusAccepted {
		t.Errorf("cancel of a running one: %d", a.StatusCode)
	}
	f.gw.answer = rowsAnswer()
	if a := f.do("POST", "/v1/queries/q_2/result", "", "Idempotency-Key", "k1"); a.StatusCode != http.StatusOK || f.gw.claims[0] != "q_2 k1" {
		t.Errorf("result: %d %v", a.StatusCode, f.gw.claims)
	}
	f.do("GET", "/v1/connections", "")

	a := f.do("GET", "/v1/connections/clinic/schema", "")
	tag := a.Header.Get("Etag")
	if a.StatusCode != http.StatusOK || tag == "" || !strings.Contains(string(a.body), `"columns":[]`) {
		t.Errorf("schema: %d %q %s", a.StatusCode, tag, a.body)
	}
	if a := f.do("GET", "/v1/connections/clinic/schema", "", "If-None-Match", `"x", W/`+tag); a.StatusCode != http.StatusNotModified || len(a.body) > 0 {
		t.Errorf("schema again: %d", a.StatusCode)
	}
	f.gw.schema.Version = "v2"
	if a := f.do("GET", "/v1/connections/clinic/schema", "", "If-None-Match", tag); a.StatusCode != http.StatusOK {
		t.Errorf("changed schema: %d", a.StatusCode)
	}

	if a := f.do("GET", "/v1/approvals", ""); strings.Contains(string(a.body), "sealed") {
		t.Error("the list holds the sealed part")
	}
	a = f.do("GET", "/v1/approvals/q_2", "")
	if strings.Contains(string(a.body), "sealed") || !strings.Contains(string(a.body), "last_name = $1") {
		t.Errorf("approval: %s", a.body)
	}
	if a := f.do("POST", "/v1/approvals/q_2/decision", `{"decision":"deny","comment":"no"}`); a.StatusCode != http.StatusOK {
		t.Errorf("decision: %d %s", a.StatusCode, a.body)
	}
	if d := f.gw.decided[0]; d.approve || d.comment != "no" || d.id != "q_2" || d.meta.Transport != "rest" {
		t.Errorf("decided %+v", d)
	}
	for _, body := range []string{`{"decision":"deny"}`, `{"decision":"deny","comment":"  "}`, `{"decision":"maybe"}`, `{}`, `[]`,
		`{"decision":"approve","decision":"deny","comment":"x"}`, `{"decision":"approve","force":true}`,
		`{"decision":"approve","comment":1}`, `{"decision":"approve","comment":"` + strings.Repeat("x", 1001) + `"}`} {
		if d := f.do("POST", "/v1/approvals/q_2/decision", body).problem(t); d.Code != gateway.CodeMalformed {
			t.Errorf("%s: %+v", body, d)
		}
	}
	if len(f.gw.decided) != 1 {
		t.Error("a malformed decision was made")
	}
	for _, path := range []string{"/v1/queries/a%2Fb", "/v1/queries/" + strings.Repeat("a", 129), "/v1/queries/%00"} {
		if d := f.do("GET", path, "").problem(t); d.Code != gateway.CodeNotFound {
			t.Errorf("%s: %+v", path, d)
		}
	}
}

func TestService(t *testing.T) {
	f := start(t)
	f.do("GET", "/healthz", "")
	if a := f.do("GET", "/readyz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("ready: %d", a.StatusCode)
	}
	f.gw.ready = errors.Join(errors.New("the evidence store cannot be reached"), errors.New("vault is sealed"))
	if a := f.do("GET", "/readyz", ""); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"vault is sealed"`) {
		t.Errorf("not ready: %d %s", a.StatusCode, a.body)
	}
	a := f.do("GET", "/openapi.yaml", "")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("openapi: %d", a.StatusCode)
	}
	if again := f.do("GET", "/openapi.yaml", "", "If-None-Match", a.Header.Get("Etag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("openapi again: %d", again.StatusCode)
	}
	f.do("GET", resourceMetadataPath, "")

	f.gw.answer = rowsAnswer()
	f.do("POST", "/v1/query", goodBody)
	f.raw("BREW", "/v1/query?ssn=123-45-6789", "")
	f.raw("GET", "/patients/123-45-6789", "")
	a = f.do("GET", "/metrics", "")
	for _, want := range []string{`chaperone_http_requests_total{method="POST",route="/v1/query",status="200"} 1`,
		`route="unmatched"`, `chaperone_step_duration_seconds_count{step="auth"} 1`, `chaperone_build_info{version="test"} 1`} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(string(a.body)+f.logs.String(), "123-45") {
		t.Error("a path or method as sent became a label or a log line")
	}
}

func TestUnknownRoutes(t *testing.T) {
	f := start(t)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404}, {"GET", "/v1/query/", 404}, {"GET", "/V1/connections", 404}, {"GET", "/v1/query", 405},
		{"DELETE", "/v1/queries/q_1", 405}, {"POST", "/healthz", 405}, {"BREW", "/v1/query", 501},
	} {
		a := f.raw(test.method, test.path, "", "Authorization", "Bearer good")
		if test.status == 501 { // fiber itself knows no such method
			if a.StatusCode < 400 {
				t.Errorf("%s: %d", test.method, a.StatusCode)
			}
			continue
		}
		if d := a.problem(t); d.Status != test.status || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %+v", test.method, test.path, d)
		}
	}
	if a := f.raw("GET", "/v1/query", ""); a.Header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
}

// Every kind of error a gateway can return, known or not, is a problem document
// of the contract.
func TestProblems(t *testing.T) {
	f := start(t)
	for code, m := range meanings {
		f.gw.err = &gateway.Problem{Code: code, Detail: "Detail.", Hint: "Hint.", QueryID: "q_1", SQLState: "22012", Position: 7,
			Rule: "rule", Retryable: true, RetryAfter: 1200 * time.Millisecond, RecordingID: "gw-1.2"}
		a := f.do("POST", "/v1/query", goodBody)
		d := a.problem(t)
		if d.Status != m.status || d.Code != code || d.Type != "urn:chaperone:problem:"+string(code) ||
			d.Instance != "/v1/queries/q_1" || d.Position != 7 || a.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: %+v, Retry-After %q", code, d, a.Header.Get("Retry-After"))
		}
	}
	for name, err := range map[string]error{
		"unknown error": errors.New("pq: secret detail"), "wrapped": fmt.Errorf("x: %w", io.ErrUnexpectedEOF),
		"unknown code":      &gateway.Problem{Code: "novel", Detail: "secret detail"},
		"no problem at all": (*gateway.Problem)(nil),
	} {
		f.gw.err = err
		if d := f.do("POST", "/v1/query", goodBody).problem(t); d.Code != gateway.CodeInternal || strings.Contains(d.Detail, "secret") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if strings.Contains(f.logs.String(), "secret detail") {
		t.Error("an inner error was logged in full")
	}
}
