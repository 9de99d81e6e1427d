package e2e

import (
	"sync"
	"sync/atomic"
	"testing"
)

// bulk is a bulk export: unfiltered rows of a protected table.
func bulk(connection string) query { return ask(connection, "SELECT id, last_name, zip FROM patients") }

// pending files a bulk export and returns its id.
func (g *gatewayProcess) pending(t *testing.T, q query) string {
	t.Helper()
	a := must(t, g.query(t, q), 202)
	if a.str("status") != "pending_approval" || a.str("approval_url") == "" || a.header.Get("Location") == "" ||
		a.header.Get("Retry-After") == "" {
		t.Fatalf("an incomplete 202: %s %v", a.raw, a.header)
	}
	if _, ok := a.body["rows"]; ok {
		t.Fatalf("a 202 with rows: %s", a.raw)
	}
	return a.str("query_id")
}

func TestPromise4_BulkExportNeedsSomebodyElse(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) {
			id := g.pending(t, bulk(connection))
			problem(t, g.claim(t, id), 409, "not_approved")
			// The requester holds the approver role too, and still cannot decide.
			problem(t, g.decide(t, g.env.agent, id, "approve"), 403, "own_request")
			problem(t, g.claim(t, id), 409, "not_approved")
			// Somebody without the role does not even learn that it exists.
			problem(t, g.decide(t, g.env.auditor, id, "approve"), 404, "")
			must(t, g.decide(t, g.env.approver, id, "approve"), 200)
			problem(t, g.decide(t, g.env.approver2, id, "deny"), 409, "already_decided")
			// Nobody else can claim it.
			problem(t, call(t, g.url, "POST", "/v1/queries/"+id+"/result", g.env.agent2, nil), 404, "")

			var won, lost atomic.Int32
			var all sync.WaitGroup
			for range 32 {
				all.Go(func() {
					switch a := g.claim(t, id); a.status {
					case 200:
						won.Add(1)
						if len(a.rows()) == 0 {
							t.Errorf("the claim gave no rows: %s", a.raw)
						}
					case 409:
						lost.Add(1)
					default:
						t.Errorf("a claim answered %d: %s", a.status, a.raw)
					}
				})
			}
			all.Wait()
			if won.Load() != 1 || lost.Load() != 31 {
				t.Fatalf("%d claims ran, %d were refused; want 1 and 31", won.Load(), lost.Load())
			}
			problem(t, g.claim(t, id), 409, "already_claimed")
			state := must(t, call(t, g.url, "GET", "/v1/queries/"+id, g.env.agent, nil), 200)
			if state.str("status") != "succeeded" {
				t.Fatalf("state %q", state.str("status"))
			}
		})
	}
}

func TestPromise4_DeniedIsFinal(t *testing.T) {
	g := mainGateway(t)
	id := g.pending(t, bulk("clinic"))
	must(t, g.decide(t, g.env.approver, id, "deny"), 200)
	problem(t, g.decide(t, g.env.approver2, id, "approve"), 409, "already_decided")
	problem(t, g.claim(t, id), 409, "not_approved")
}

func TestPromise4_WithdrawnCannotRun(t *testing.T) {
	g := mainGateway(t)
	id := g.pending(t, bulk("clinic"))
	problem(t, call(t, g.url, "POST", "/v1/queries/"+id+"/cancel", g.env.agent2, nil), 404, "")
	must(t, call(t, g.url, "POST", "/v1/queries/"+id+"/cancel", g.env.agent, nil), 200)
	a := g.decide(t, g.env.approver, id, "approve")
	if a.status == 200 {
		t.Fatalf("a withdrawn request was approved: %s", a.raw)
	}
	problem(t, g.claim(t, id), 409, "cancelled")
}

func TestPromise4_LostAnswerComesAgainWithTheSameKey(t *testing.T) {
	g := mainGateway(t)
	id := g.pending(t, bulk("clinic"))
	must(t, g.decide(t, g.env.approver, id, "approve"), 200)
	first := must(t, g.claim(t, id, "Idempotency-Key", "claim-1"), 200)
	second := must(t, g.claim(t, id, "Idempotency-Key", "claim-1"), 200)
	if first.str("recording_id") == "" || first.str("recording_id") != second.str("recording_id") {
		t.Fatalf("the second answer has another recording: %q, %q", first.str("recording_id"), second.str("recording_id"))
	}
	if len(first.rows()) != len(second.rows()) {
		t.Fatal("the second answer has other rows")
	}
	problem(t, g.claim(t, id, "Idempotency-Key", "claim-2"), 409, "already_claimed")
}

func TestPromise4_WritesWait(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) {
			marker := map[string]string{"clinic": "$1", "billing": "?"}[connection]
			write := query{"connection": connection, "max_affected": 1, "parameters": []any{"2 mg"},
				"statement": "UPDATE medications SET dose = " + marker + " WHERE id = 1"}
			id := g.pending(t, write)
			if dose := g.env.scalar(t, connection, "SELECT dose FROM medications WHERE id = 1"); dose == "2 mg" {
				t.Fatal("the write ran before it was approved")
			}
			must(t, g.decide(t, g.env.approver, id, "approve"), 200)
			a := must(t, g.claim(t, id), 200)
			if n, _ := a.body["affected_rows"].(float64); n != 1 {
				t.Fatalf("affected %v: %s", n, a.raw)
			}
			if dose := g.env.scalar(t, connection, "SELECT dose FROM medications WHERE id = 1"); dose != "2 mg" {
				t.Fatalf("the write did not commit: %q", dose)
			}
			wide := query{"connection": connection, "max_affected": 1, "parameters": []any{"9 mg"},
				"statement": "UPDATE medications SET dose = " + marker + " WHERE id < 50"}
			id = g.pending(t, wide)
			must(t, g.decide(t, g.env.approver, id, "approve"), 200)
			problem(t, g.claim(t, id), 422, "too_many_affected")
			if n := g.env.scalar(t, connection, "SELECT count(*) FROM medications WHERE dose = '9 mg'"); n != "0" {
				t.Fatalf("%s rows kept a write that was to be rolled back", n)
			}
		})
	}
}
