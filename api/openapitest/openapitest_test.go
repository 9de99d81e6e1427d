package openapitest

import (
	"encoding/json"
	"maps"
	"net/http"
	"testing"
)

func TestDocument(t *testing.T) {
	if _, err := Document(); err != nil {
		t.Fatal(err)
	}
}

// What an approver sees is composed of two schemas; the seal of a request must
// not slip in between them.
func TestComposedSchemasAreClosed(t *testing.T) {
	doc, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	media := doc.Paths.Value("/v1/approvals/{id}").Get.Responses.Status(http.StatusOK).Value.Content["application/json"]
	example, ok := media.Examples["open"].Value.Value.(map[string]any)
	if !ok {
		t.Fatal("no example")
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for _, sealed := range []bool{false, true} {
		if sealed {
			example = maps.Clone(example)
			example["sealed"] = "x"
		}
		body, err := json.Marshal(example)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(doc, "GET", "/v1/approvals/q_1", http.StatusOK, header, body); (err != nil) != sealed {
			t.Errorf("sealed %v: %v", sealed, err)
		}
	}
}

// A validator that accepts everything would make every other test worthless.
func TestCheckRefuses(t *testing.T) {
	doc, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	jsonType := http.Header{"Content-Type": {"application/json"}}
	problem := http.Header{"Content-Type": {"application/problem+json"}}
	good := `{"query_id":"q_1","status":"running"}`
	for _, test := range []struct {
		name, method, path string
		status             int
		header             http.Header
		body               string
		ok                 bool
	}{
		{"good", "GET", "/v1/queries/q_1", 200, jsonType, good, true},
		{"unknown path", "GET", "/v1/nothing", 200, jsonType, good, false},
		{"unknown method", "PUT", "/v1/queries/q_1", 200, jsonType, good, false},
		{"wrong content type", "GET", "/v1/queries/q_1", 200, problem, good, false},
		{"no content type", "GET", "/v1/queries/q_1", 200, http.Header{}, good, false},
		{"unknown member", "GET", "/v1/queries/q_1", 200, jsonType, `{"query_id":"q_1","status":"running","rows":[]}`, false},
		{"missing member", "GET", "/v1/queries/q_1", 200, jsonType, `{"query_id":"q_1"}`, false},
		{"unknown state", "GET", "/v1/queries/q_1", 200, jsonType, `{"query_id":"q_1","status":"fine"}`, false},
		{"unknown code", "GET", "/v1/queries/q_1", 404, problem,
			`{"type":"urn:chaperone:problem:x","title":"x","status":404,"code":"x","retryable":false}`, false},
		{"default problem", "GET", "/v1/queries/q_1", 418, problem,
			`{"type":"urn:chaperone:problem:internal","title":"x","status":500,"code":"internal","retryable":false}`, true},
		{"rows in a 202", "POST", "/v1/query", 202, jsonType, `{"query_id":"q_1","status":"succeeded","rows":[]}`, false},
		{"unknown field in a detail", "GET", "/v1/approvals/q_1", 200, jsonType, `{"query_id":"q_1","sealed":"x"}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := check(doc, test.method, test.path, test.status, test.header, []byte(test.body))
			if (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
