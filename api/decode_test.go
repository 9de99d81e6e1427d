package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/api/openapitest"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/gateway"
)

func TestDecodeQuery(t *testing.T) {
	r, err := DecodeQuery([]byte(`{"statement":"select $1","connection":"clinic","row_limit":1000,"byte_limit":1048576,
		"timeout_ms":30000,"purpose_of_use":"TREAT","reason":"chart review","session_id":"crew-run-77","dry_run":true,
		"max_affected":0,"parameters":[1.10,"a<b\u00e9\ud83d\ude00",true,null,[1,{"z":1,"a":"\u2028"}],
		{"value":"1.5","type":"numeric(10, 2)"},{"null":true},{"value":null,"type":"int"},{"value":{"value":1}},{"a":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &gateway.Request{
		Connection: "clinic", Statement: "select $1", RowLimit: 1000, ByteLimit: 1 << 20, Timeout: 30 * time.Second,
		MaxAffected: 0, PurposeOfUse: "TREAT", Reason: "chart review", SessionID: "crew-run-77", DryRun: true,
		Positional: []connectors.Param{
			{Kind: connectors.ParamNumber, Text: "1.10"}, {Text: "a<bé😀"}, {Kind: connectors.ParamBool, Text: "true"},
			{Null: true}, {Kind: connectors.ParamJSON, Text: `[1,{"z":1,"a":"\u2028"}]`}, {Text: "1.5", Type: "numeric(10, 2)"},
			{Null: true}, {Null: true, Type: "int"}, {Kind: connectors.ParamJSON, Text: `{"value":1}`},
			{Kind: connectors.ParamJSON, Text: `{"a":1}`},
		},
		Body: []byte(`{"connection":"clinic","statement":"select $1","parameters":[1.10,"a<bé😀",true,null,` +
			`{"value":[1,{"z":1,"a":"\u2028"}]},{"value":"1.5","type":"numeric(10, 2)"},null,{"value":null,"type":"int"},` +
			`{"value":{"value":1}},{"value":{"a":1}}],"row_limit":1000,"byte_limit":1048576,"timeout_ms":30000,"max_affected":0,` +
			`"purpose_of_use":"TREAT","reason":"chart review","session_id":"crew-run-77","dry_run":true}`),
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v\nbody %s", r, want, r.Body)
	}
	again, err := DecodeQuery(r.Body)
	if err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("the canonical body means something else: %+v %v", again, err)
	}
}

// Bodies that mean the same have one canonical form, for Idempotency-Key.
func TestCanonicalBody(t *testing.T) {
	for _, pair := range [][2]string{
		{`{"connection":"c","statement":"s"}`, ` { "statement" : "\u0073", "connection":"c", "parameters":[] , "dry_run":false}`},
		{`{"connection":"c","statement":"s","parameters":{"a":1,"b":"x"}}`, `{"parameters":{"b":{"value":"x"},"a":1},"connection":"c","statement":"s"}`},
		{`{"connection":"c","statement":"s","parameters":[null]}`, `{"connection":"c","statement":"s","parameters":[{"null":true}]}`},
	} {
		a, errA := DecodeQuery([]byte(pair[0]))
		b, errB := DecodeQuery([]byte(pair[1]))
		if errA != nil || errB != nil || string(a.Body) != string(b.Body) {
			t.Errorf("%s and %s differ: %v %v", pair[0], pair[1], errA, errB)
		}
	}
	a, _ := DecodeQuery([]byte(`{"connection":"c","statement":"s","parameters":[1.0]}`))
	b, _ := DecodeQuery([]byte(`{"connection":"c","statement":"s","parameters":[1]}`))
	if string(a.Body) == string(b.Body) {
		t.Error("1.0 and 1 are not the same parameter")
	}
	if r, err := DecodeQuery([]byte(`{"connection":"c","statement":"s","parameters":{}}`)); err != nil || r.Named == nil {
		t.Errorf("named parameters, none of them: %+v %v", r, err)
	}
}

func TestDecodeQueryRefuses(t *testing.T) {
	doc, err := openapitest.Document()
	if err != nil {
		t.Fatal(err)
	}
	with := func(field string) string { return `{"connection":"c","statement":"s",` + field + `}` }
	for _, test := range []struct {
		name, body, detail, hint string
		// schema is true if the JSON schema of the contract must refuse it too.
		schema bool
	}{
		{"empty", "", "not valid JSON", "", false},
		{"no object", "[]", "must be a JSON object", "", true},
		{"two values", `{"connection":"c","statement":"s"} {}`, "not valid JSON at byte", "", false},
		{"trailing comma", with(`"dry_run":true,`), "not valid JSON", "", false},
		{"comment", `{"connection":"c",/**/"statement":"s"}`, "not valid JSON", "", false},
		{"byte order mark", "\ufeff" + with(`"dry_run":true`), "not valid JSON", "", false},
		{"no connection", `{"statement":"s"}`, "The field connection is required.", "lists your connections", true},
		{"no statement", `{"connection":"c"}`, "The field statement is required.", "", true},
		{"empty statement", `{"connection":"c","statement":""}`, "The field statement is empty.", "", true},
		{"unknown field", with(`"force":true`), "The field force is unknown.", "", true},
		{"synonym", `{"connection":"c","sql":"s"}`, "The field sql is unknown.", "Did you mean statement?", true},
		{"case", `{"Connection":"c","statement":"s"}`, "The field Connection is unknown.", "", true},
		{"field that is data", with(`"O'Brien, 1950-01-02":1`), "A field is unknown.", "", true},
		{"repeated field", with(`"statement":"t"`), "The field statement appears twice.", "", false},
		{"repeated by escape", with(`"\u0073tatement":"t"`), "The field statement appears twice.", "", false},
		{"repeated within", with(`"parameters":[{"a":1,"a":2}]`), "A parameter holds an object with the same name twice.", "", false},
		{"invalid UTF-8", with("\"reason\":\"\xff\""), "not valid UTF-8", "", false},
		{"overlong UTF-8", with("\"reason\":\"\xc0\x80\""), "not valid UTF-8", "", false},
		{"raw surrogate", with("\"reason\":\"\xed\xa0\x80\""), "not valid UTF-8", "", false},
		{"lone high surrogate", with(`"reason":"\ud83d"`), "half of a surrogate pair", "", false},
		{"lone low surrogate", with(`"reason":"\ude00"`), "half of a surrogate pair", "", false},
		{"high and letter", with(`"reason":"\ud83d\u0061"`), "half of a surrogate pair", "", false},
		{"high and newline", with(`"reason":"\ud83d\n    "`), "half of a surrogate pair", "", false},
		{"two high", with(`"reason":"\ud83d\ud83d"`), "half of a surrogate pair", "", false},
		{"surrogate in a name", with(`"parameters":[{"\ud83d":1}]`), "half of a surrogate pair", "", false},
		{"NUL escape", with(`"reason":"\u0000"`), "NUL", "", false},
		{"NUL", with("\"reason\":\"\x00\""), "not valid JSON", "", false},
		{"nesting", with(`"parameters":[` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `]`), "nested more than 32 deep", "", false},
		{"deep nesting", strings.Repeat("[", 1<<20), "not valid JSON", "", false},
		{"null field", with(`"reason":null`), "The field reason must be a string, not null.", "", true},
		{"number as text", with(`"row_limit":"5"`), "The field row_limit must be a number, not a string.", "", true},
		{"fraction", with(`"row_limit":1.5`), "whole number", "", true},
		{"exponent", with(`"row_limit":1e3`), "whole number", "", false},
		{"huge", with(`"row_limit":99999999999999999999`), "out of range", "", false},
		{"row_limit 0", with(`"row_limit":0`), "at least 1", "", true},
		{"byte_limit", with(`"byte_limit":-1`), "at least 1", "", true},
		{"timeout 0", with(`"timeout_ms":0`), "at least 1", "", true},
		{"timeout huge", with(`"timeout_ms":9223372036854775807`), "more than a day", "", true},
		{"max_affected", with(`"max_affected":-1`), "at least 0", "", true},
		{"dry_run", with(`"dry_run":"true"`), "must be a boolean", "", true},
		{"purpose", with(`"purpose_of_use":"treat"`), "not an HL7 v3 PurposeOfUse code", "TREAT", true},
		{"reason", with(`"reason":"` + strings.Repeat("é", 1001) + `"`), "longer than 1000 characters", "", true},
		{"session", with(`"session_id":"a b"`), "session_id may hold", "", true},
		{"long session", with(`"session_id":"` + strings.Repeat("a", 129) + `"`), "longer than 128", "", true},
		{"parameters", with(`"parameters":1`), "parameters must be a list", "", true},
		{"parameter name", with(`"parameters":{":a":1}`), "no identifier", "without the colon", true},
		{"wrapper", with(`"parameters":[{"value":1,"unit":"kg"}]`), "Parameter 1: an object with the member value", "wrap it", true},
		{"null false", with(`"parameters":[{"null":false}]`), "Parameter 1", "wrap it", true},
		{"null and value", with(`"parameters":{"a":{"null":true,"value":1}}`), "Parameter a", "wrap it", true},
		{"type", with(`"parameters":[{"value":1,"type":"int; drop"}]`), "type is no SQL type name", "", true},
		{"type kind", with(`"parameters":[{"value":1,"type":1}]`), "type must be a string", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeQuery([]byte(test.body))
			var p *gateway.Problem
			if !errors.As(err, &p) || p.Code != gateway.CodeMalformed || !strings.Contains(p.Detail, test.detail) ||
				!strings.Contains(p.Hint, test.hint) {
				t.Errorf("got %v, hint %q", err, hintOf(p))
			}
			if strings.Contains(fmt.Sprint(err), "O'Brien") {
				t.Error("the problem quotes data")
			}
			if refused := openapitest.ValidateQuery(doc, []byte(test.body)); test.schema && refused == nil {
				t.Error("openapi.yaml allows it")
			}
		})
	}
}

func hintOf(p *gateway.Problem) string {
	if p == nil {
		return ""
	}
	return p.Hint
}

// Every example of the contract is a query that the decoder takes.
func TestContractExamples(t *testing.T) {
	doc, err := openapitest.Document()
	if err != nil {
		t.Fatal(err)
	}
	media := doc.Paths.Value("/v1/query").Post.RequestBody.Value.Content["application/json"]
	if len(media.Examples) == 0 {
		t.Fatal("no examples")
	}
	for name, example := range media.Examples {
		body, err := json.Marshal(example.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeQuery(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	enum := doc.Components.Schemas["PurposeOfUse"].Value.Enum
	for _, code := range enum {
		if evidence.PurposeName(fmt.Sprint(code)) == "" {
			t.Errorf("%v is in openapi.yaml only", code)
		}
	}
	if len(enum) != len(evidence.Purposes()) {
		t.Errorf("openapi.yaml has %d purposes, the decoder %d", len(enum), len(evidence.Purposes()))
	}
}

// The contract names every problem code, with an example of its status and title.
func TestContractProblems(t *testing.T) {
	doc, err := openapitest.Document()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(doc.Components.Schemas["Code"].Value.Enum); got != len(meanings) {
		t.Errorf("openapi.yaml has %d codes, the gateway %d", got, len(meanings))
	}
	seen := make(map[gateway.Code]bool)
	for name, response := range doc.Components.Responses {
		media := response.Value.Content["application/problem+json"]
		if media == nil {
			continue
		}
		for code, example := range media.Examples {
			value, err := json.Marshal(example.Value.Value)
			if err != nil {
				t.Fatal(err)
			}
			var d document
			if err := json.Unmarshal(value, &d); err != nil {
				t.Fatal(err)
			}
			m := meanings[d.Code]
			if string(d.Code) != code || d.Status != m.status || d.Title != m.title {
				t.Errorf("%s, example %s: %+v, want %+v", name, code, d, m)
			}
			seen[d.Code] = true
		}
	}
	for code := range meanings {
		if !seen[code] {
			t.Errorf("no example of %s", code)
		}
	}
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add([]byte(`{"connection":"c","statement":"s","parameters":[1,"a",null,{"value":[1],"type":"jsonb"},{"null":true},{"a":{}}]}`))
	f.Add([]byte(`{"connection":"c","statement":"\ud83d\ude00","parameters":{"a":1e400},"row_limit":1,"max_affected":0}`))
	f.Add([]byte(`{"connection":"c","statement":"s\u0000","reason":"\ud800"}`))
	f.Add([]byte(goodBody))
	doc, err := openapitest.Document()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeQuery(body)
		if err != nil {
			var p *gateway.Problem
			if !errors.As(err, &p) || p.Code != gateway.CodeMalformed || p.Detail == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if !json.Valid(r.Body) || strings.ContainsRune(string(r.Body), 0) {
			t.Fatalf("the canonical body of %q is %q", body, r.Body)
		}
		again, err := DecodeQuery(r.Body)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%q: canonical %q means %+v, not %+v (%v)", body, r.Body, again, r, err)
		}
		if err := openapitest.ValidateQuery(doc, r.Body); err != nil {
			t.Fatalf("the decoder takes %q, openapi.yaml does not: %v", r.Body, err)
		}
	})
}
