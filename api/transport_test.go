package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/gateway"
)

func TestPanic(t *testing.T) {
	f := start(t)
	f.gw.onQuery = func(context.Context) { panic("patient 123-45-6789") }
	if d := f.do("POST", "/v1/query", goodBody).problem(t); d.Code != gateway.CodeInternal {
		t.Errorf("%+v", d)
	}
	if strings.Contains(f.logs.String(), "123-45-6789") || !strings.Contains(f.logs.String(), "panic in a handler") {
		t.Error("the log of a panic")
	}
	f.gw.onQuery, f.gw.answer = nil, rowsAnswer()
	if a := f.do("POST", "/v1/query", goodBody); a.StatusCode != http.StatusOK {
		t.Errorf("after a panic: %d", a.StatusCode)
	}
}

// What a handler keeps must stay what it was while fasthttp reuses its buffers.
func TestKeptStringsStay(t *testing.T) {
	f := start(t)
	f.gw.answer = rowsAnswer()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				mark := strings.Repeat(fmt.Sprintf("%d-%d.", worker, i), 20)
				f.raw("POST", "/v1/query", `{"connection":"`+mark[:50]+`","statement":"`+mark+`","session_id":"`+mark[:50]+
					`","parameters":["`+mark+`"]}`, "Authorization", "Bearer good", "Content-Type", "application/json",
					"X-Request-Id", mark, "Idempotency-Key", mark)
			}
		}()
	}
	wg.Wait()
	for _, r := range f.gw.requests {
		for _, kept := range []string{r.IdempotencyKey, r.Meta.RequestID, r.Positional[0].Text} {
			if kept != r.Statement {
				t.Fatalf("a string changed: %q is not %q", kept, r.Statement)
			}
		}
		if r.Connection != r.Statement[:50] || r.SessionID != r.Statement[:50] {
			t.Fatalf("a string changed: %q", r.Connection)
		}
	}
}

func TestAdmission(t *testing.T) {
	f := start(t, func(c *Config) { c.Concurrency = 1 })
	in, out := make(chan struct{}), make(chan struct{})
	f.gw.answer = rowsAnswer()
	f.gw.onQuery = func(context.Context) { in <- struct{}{}; <-out }
	first := make(chan int)
	go func() {
		first <- f.raw("POST", "/v1/query", goodBody, "Authorization", "Bearer good", "Content-Type", "application/json").StatusCode
	}()
	<-in
	if a := f.do("GET", "/v1/connections", ""); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("second request: %d", a.StatusCode)
	}
	if a := f.do("GET", "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("probe of a full gateway: %d", a.StatusCode)
	}
	close(out)
	if status := <-first; status != 200 {
		t.Errorf("first request: %d", status)
	}
}

// Shutdown waits for a request in work, and cancels it when its own time is up.
func TestShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		f := start(t)
		in := make(chan struct{})
		f.gw.answer = rowsAnswer()
		f.gw.onQuery = func(ctx context.Context) {
			close(in)
			if patient {
				time.Sleep(50 * time.Millisecond) // the work itself
				return
			}
			<-ctx.Done()
		}
		status := make(chan int, 1)
		go func() {
			resp, err := http.DefaultClient.Do(mustRequest(t, "http://"+f.addr+"/v1/query"))
			if err != nil {
				status <- 0
				return
			}
			_ = resp.Body.Close()
			status <- resp.StatusCode
		}()
		<-in
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if !patient {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
		}
		err := f.server.Shutdown(ctx)
		cancel()
		if patient && err != nil || !patient && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("patient %v: %v", patient, err)
		}
		if got := <-status; got != 200 {
			t.Errorf("patient %v: status %d", patient, got)
		}
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(goodBody))
	if err != nil {
		t.Error(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/json")
	return req
}

// socket sends bytes and returns everything that comes back until the server
// closes or stays silent.
func (f *fixture) socket(request string) string {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		f.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	got, _ := io.ReadAll(bufio.NewReader(c)) // the deadline is how it ends
	return string(got)
}

// A body that a handler did not read must never be taken for a request.
func TestNoSmuggling(t *testing.T) {
	f := start(t)
	f.gw.answer = rowsAnswer()
	inner := "POST /v1/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(goodBody), goodBody)
	probe := "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	const readAhead = 8 << 10 // what fasthttp reads of a body before it calls us
	for name, outer := range map[string]string{
		"body of a GET":       fmt.Sprintf("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"chunked body, GET":   fmt.Sprintf("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
		"refused before read": fmt.Sprintf("POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"unknown route":       fmt.Sprintf("POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
		"large, refused": fmt.Sprintf("POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s%s",
			readAhead+len(inner), strings.Repeat(" ", readAhead), inner),
	} {
		t.Run(name, func(t *testing.T) {
			got := f.socket(outer + probe)
			if len(f.gw.requests) != 0 {
				t.Fatal("the body was run as a request")
			}
			if n := strings.Count(got, "HTTP/1.1 "); n != 2 || !strings.HasSuffix(got, `{"status":"ok","version":"test"}`) {
				t.Errorf("%d answers: %s", n, got)
			}
		})
	}
	// A chunked body read to its end leaves the next request whole.
	got := f.socket(fmt.Sprintf("POST /v1/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%s", len(goodBody), goodBody, probe))
	if strings.Count(got, "HTTP/1.1 200") != 2 {
		t.Errorf("chunked body and a probe: %s", got)
	}
}

func TestTransportErrors(t *testing.T) {
	f := start(t)
	for name, test := range map[string]struct{ send, want string }{
		"headers too large": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("a", headerLimit) + "\r\n\r\n", "headers_too_large"},
		"no HTTP":           {"hello\r\n\r\n", "malformed_request"},
	} {
		got := f.socket(test.send)
		if !strings.Contains(got, test.want) || !strings.Contains(got, "application/problem+json") || strings.Contains(got, "\nServer:") {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Larger than what is drained: refused all the same, and the connection ends.
	got := f.socket(fmt.Sprintf("POST /v1/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", 1<<40, strings.Repeat(" ", 9<<10)))
	if !strings.Contains(got, "too_large") || !strings.Contains(got, "Connection: close") {
		t.Errorf("huge body: %s", got)
	}
}
