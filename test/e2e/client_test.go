package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// answer is one HTTP answer of the gateway.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (a answer) str(key string) string {
	s, _ := a.body[key].(string)
	return s
}

// rows gives the rows of a 200.
func (a answer) rows() [][]any {
	list, _ := a.body["rows"].([]any)
	rows := make([][]any, len(list))
	for i := range list {
		rows[i], _ = list[i].([]any)
	}
	return rows
}

// query is the body of POST /v1/query; extra fields override.
type query map[string]any

func ask(connection, statement string, params ...any) query {
	q := query{"connection": connection, "statement": statement}
	if len(params) > 0 {
		q["parameters"] = params
	}
	return q
}

// transcript keeps every answer of the run, for the canary scan at its end.
var transcript = struct {
	sync.Mutex
	file *os.File
}{}

func openTranscript(dir string) error {
	f, err := os.Create(filepath.Join(dir, "transcript.log"))
	transcript.file = f
	return err
}

// call sends one request to the gateway. Answers of the API are validated
// against openapi.yaml.
func call(t *testing.T, base, method, path, token string, body any, header ...string) answer {
	t.Helper()
	var reader io.Reader
	if raw, ok := body.([]byte); ok {
		reader = bytes.NewReader(raw)
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, base+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: 90 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	res, err := client.Do(req)
	if err != nil {
		return answer{status: 0, body: map[string]any{"transport_error": err.Error()}}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{status: 0, body: map[string]any{"transport_error": err.Error()}}
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: raw}
	_ = json.Unmarshal(raw, &a.body)
	transcript.Lock()
	fmt.Fprintf(transcript.file, "%s %s -> %d %v\n%s\n", method, path, a.status, res.Header, raw)
	transcript.Unlock()
	validate(t, method, path, a)
	return a
}

// query asks as the agent of the run.
func (g *gatewayProcess) query(t *testing.T, q query, header ...string) answer {
	t.Helper()
	return call(t, g.url, "POST", "/v1/query", g.env.agent, q, header...)
}

// must fails the test unless the answer has the status.
func must(t *testing.T, a answer, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s%v", a.status, status, a.raw, a.body["transport_error"])
	}
	return a
}

// problem fails the test unless the answer is that problem and carries no rows.
func problem(t *testing.T, a answer, status int, code string) answer {
	t.Helper()
	must(t, a, status)
	if got := a.str("code"); code != "" && got != code {
		t.Fatalf("code %q, want %q: %s", got, code, a.raw)
	}
	if _, ok := a.body["rows"]; ok {
		t.Fatalf("a problem with rows: %s", a.raw)
	}
	if a.str("detail") == "" {
		t.Fatalf("a problem without words: %s", a.raw)
	}
	return a
}

// decide posts a decision.
func (g *gatewayProcess) decide(t *testing.T, token, id, decision string) answer {
	t.Helper()
	return call(t, g.url, "POST", "/v1/approvals/"+id+"/decision", token,
		map[string]any{"decision": decision, "comment": "end-to-end test"})
}

// claim asks for the result of an approved query.
func (g *gatewayProcess) claim(t *testing.T, id string, header ...string) answer {
	t.Helper()
	return call(t, g.url, "POST", "/v1/queries/"+id+"/result", g.env.agent, nil, header...)
}

// eventually waits until ok is true, for at most wait.
func eventually(t *testing.T, wait time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", wait, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
