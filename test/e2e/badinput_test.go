package e2e

import (
	"bytes"
	"strings"
	"testing"
)

// TestBadInput: every one gets a clear problem and changes nothing.
func TestBadInput(t *testing.T) {
	g := mainGateway(t)
	ok := `{"connection":"clinic","statement":"SELECT 1"}`
	cases := []struct {
		name, body string
		status     int
		code       string
	}{
		{"not JSON", `SELECT 1`, 400, "malformed_request"},
		{"not an object", `[]`, 400, "malformed_request"},
		{"unknown field", `{"connection":"clinic","statement":"SELECT 1","admin":true}`, 400, "malformed_request"},
		{"field twice", `{"connection":"clinic","statement":"SELECT 1","statement":"SELECT 2"}`, 400, "malformed_request"},
		{"trailing data", ok + `{}`, 400, "malformed_request"},
		{"no statement", `{"connection":"clinic"}`, 400, "malformed_request"},
		{"empty statement", `{"connection":"clinic","statement":""}`, 400, "malformed_request"},
		{"blank statement", `{"connection":"clinic","statement":"  "}`, 400, "malformed_request"},
		{"only a comment", `{"connection":"clinic","statement":"-- hello"}`, 400, ""},
		{"NUL", `{"connection":"clinic","statement":"SELECT '\u0000'"}`, 400, "malformed_request"},
		{"lone surrogate", `{"connection":"clinic","statement":"SELECT '\ud800'"}`, 400, "malformed_request"},
		{"invalid UTF-8", "{\"connection\":\"clinic\",\"statement\":\"SELECT '\xff'\"}", 400, "malformed_request"},
		{"two statements", `{"connection":"clinic","statement":"SELECT 1; SELECT 2"}`, 400, ""},
		{"negative row limit", `{"connection":"clinic","statement":"SELECT 1","row_limit":-1}`, 400, "malformed_request"},
		{"huge row limit", `{"connection":"clinic","statement":"SELECT 1","row_limit":99999999}`, 400, "malformed_request"},
		{"unknown purpose", `{"connection":"clinic","statement":"SELECT 1","purpose_of_use":"FUN"}`, 400, "malformed_request"},
		{"too few parameters", `{"connection":"clinic","statement":"SELECT $1::int","parameters":[]}`, 422, "sql_parameter"},
		{"too many parameters", `{"connection":"clinic","statement":"SELECT 1","parameters":[1]}`, 422, "sql_parameter"},
		{"parameter of a wrong type", `{"connection":"clinic","statement":"SELECT id FROM medications WHERE id = $1","parameters":["Meier"]}`, 422, ""},
		{"unknown connection", `{"connection":"nowhere","statement":"SELECT 1"}`, 404, "unknown_connection"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := g.raw(t, []byte(c.body))
			problem(t, a, c.status, c.code)
			if a.str("recording_id") == "" {
				t.Errorf("not recorded: %s", a.raw)
			}
			if strings.Contains(string(a.raw), "Meier") {
				t.Errorf("repeats a value: %s", a.raw)
			}
		})
	}
	t.Run("body over 4 MiB", func(t *testing.T) {
		big := append([]byte(`{"connection":"clinic","statement":"SELECT '`), bytes.Repeat([]byte("x"), 4<<20)...)
		a := g.raw(t, append(big, []byte(`'"}`)...))
		if a.status != 413 && a.status != 0 { // a server may close instead of reading on
			t.Fatalf("status %d: %.200s", a.status, a.raw)
		}
	})
	t.Run("a connection the caller may not see is the same as none", func(t *testing.T) {
		one := g.queryAs(t, g.env.clinicOnly, ask("billing", "SELECT 1"))
		two := g.queryAs(t, g.env.clinicOnly, ask("nowhere", "SELECT 1"))
		if one.status != 404 || two.status != 404 || one.str("detail") != two.str("detail") || one.str("code") != two.str("code") {
			t.Fatalf("%s\n%s", one.raw, two.raw)
		}
	})
	must(t, g.raw(t, []byte(ok)), 200)
}

// TestBadTokens: whoever cannot be authenticated learns nothing.
func TestBadTokens(t *testing.T) {
	g := mainGateway(t)
	for name, token := range g.env.badTokens(t) {
		t.Run(name, func(t *testing.T) {
			a := problem(t, g.queryAs(t, token, ask("clinic", "SELECT 1")), 401, "unauthenticated")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if token != "" && len(token) > 20 && strings.Contains(string(a.raw), token[:20]) {
				t.Error("the answer repeats the token")
			}
		})
	}
	problem(t, g.queryAs(t, g.env.auditor, ask("clinic", "SELECT 1")), 403, "forbidden")
}
