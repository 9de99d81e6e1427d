package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCrash kills the gateway with SIGKILL around each durable step of a query
// and of a claim. Afterwards: nothing was released without a recording, nothing
// approved ran twice, no credential outlives its TTL, the restarted gateway
// says what it found, and the recordings verify.
func TestCrash(t *testing.T) {
	g := crashGateway(t)
	put := func(part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == http.MethodPut && strings.Contains(r.URL.Path, part) }
	}
	nth := func(n int, match func(*http.Request) bool) func(*http.Request) bool {
		return func(r *http.Request) bool {
			if match(r) {
				n--
			}
			return n == 0
		}
	}
	segment := put("/segments/")
	read := ask("clinic", "SELECT id, last_name FROM patients WHERE id = 1")

	for _, c := range []struct {
		name   string
		match  func(*http.Request) bool
		before bool
	}{
		{"before the intent is stored", nth(1, segment), true},
		{"after the intent is stored", nth(1, segment), false},
		{"before the outcome is stored", nth(2, segment), true},
		{"after the outcome is stored", nth(2, segment), false},
	} {
		t.Run("query/"+c.name, func(t *testing.T) {
			must(t, g.query(t, read), 200)
			g.quiet(t)
			g.killAt(c.match, c.before)
			a := g.query(t, read)
			if a.status == 200 {
				t.Fatalf("released: %s", a.raw)
			}
			g.restart(t)
			must(t, g.query(t, read), 200)
			g.cli(t, 0, "evidence", "verify", "--config", g.config)
		})
	}

	for _, c := range []struct {
		name   string
		match  func(*http.Request) bool
		before bool
		// terminal are the states the request may be in after the restart.
		terminal []string
	}{
		{"before the claim is stored", put("/claim"), true, []string{"approved", "succeeded"}},
		{"after the claim is stored", put("/claim"), false, []string{"running", "interrupted"}},
		{"before the claimed outcome is stored", nth(2, segment), true, []string{"approved", "succeeded", "running", "interrupted"}},
		{"after the claimed outcome is stored", nth(2, segment), false, []string{"succeeded", "running", "interrupted"}},
	} {
		t.Run("claim/"+c.name, func(t *testing.T) {
			g.env.exec(t, "clinic", "UPDATE medications SET dose = '0' WHERE id = 2")
			id := g.pending(t, query{"connection": "clinic", "statement": "UPDATE medications SET dose = dose || '+' WHERE id = 2"})
			must(t, g.decide(t, g.env.approver, id, "approve"), 200)
			g.quiet(t)
			g.killAt(c.match, c.before)
			if a := g.claim(t, id); a.status == 200 {
				t.Fatalf("released: %s", a.raw)
			}
			g.restart(t)
			for range 3 { // whatever the client does now, it runs at most once in all
				g.claim(t, id)
			}
			if dose := g.env.scalar(t, "clinic", "SELECT dose FROM medications WHERE id = 2"); dose != "0" && dose != "0+" {
				t.Fatalf("it ran more than once: %q", dose)
			}
			state := must(t, call(t, g.url, "GET", "/v1/queries/"+id, g.env.agent, nil), 200).str("status")
			found := false
			for _, want := range c.terminal {
				found = found || state == want
			}
			if !found {
				t.Errorf("state %q, want one of %v", state, c.terminal)
			}
			g.cli(t, 0, "evidence", "verify", "--config", g.config)
		})
	}

	if !strings.Contains(g.logText(t), "predecessor") {
		t.Error("the restarted gateway did not say what it found")
	}
	g.env.settledWithin(t, "clinic", g.leaseTTL+30*time.Second)
}
