package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPromise1_OutcomeIsInTheStore: what was answered stands in the bucket, rows
// included, with the intent before it.
func TestPromise1_OutcomeIsInTheStore(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		a := must(t, g.query(t, ask(connection, "SELECT id, last_name, zip FROM patients WHERE id = 7")), 200)
		records := g.records(t, a.str("query_id"))
		var intent, outcome int
		for i, r := range records {
			switch r.Type {
			case "query.intent":
				intent = i + 1
			case "query.outcome":
				outcome = i + 1
				if r.ID != a.str("recording_id") {
					t.Errorf("recording %s, answered %s", r.ID, a.str("recording_id"))
				}
				var rows [][]any
				if err := json.Unmarshal(r.Result.Rows, &rows); err != nil {
					t.Fatal(err)
				}
				want, _ := json.Marshal(a.body["rows"])
				got, _ := json.Marshal(rows)
				if !bytes.Equal(want, got) {
					t.Errorf("recorded %s, released %s", got, want)
				}
				if r.Lease == nil || r.Lease.Username == "" {
					t.Error("the outcome does not name its credential")
				}
			}
		}
		if intent == 0 || outcome < intent {
			t.Fatalf("intent at %d, outcome at %d of %d records", intent, outcome, len(records))
		}
	}
}

// TestPromise1_RefusalsAreRecorded: errors and counts are answers too.
func TestPromise1_RefusalsAreRecorded(t *testing.T) {
	g := mainGateway(t)
	for _, statement := range []string{"SELECT nope FROM patients", "DROP TABLE patients", "SELEKT", "SELECT 1/0"} {
		a := g.query(t, ask("clinic", statement))
		if a.status < 400 || a.str("recording_id") == "" {
			t.Fatalf("%s: %d %s", statement, a.status, a.raw)
		}
		if len(g.records(t, a.str("query_id"))) == 0 {
			t.Errorf("%s: no record of %s", statement, a.str("query_id"))
		}
	}
}

// TestPromise1_StoreDown: without a durable recording there is no answer but 503,
// and the gateway works again when the store is back, without a restart.
func TestPromise1_StoreDown(t *testing.T) {
	g := faultGateway(t)
	good := ask("clinic", "SELECT id FROM patients WHERE id = 1")
	must(t, g.query(t, good), 200)
	for _, m := range []mode{refuse, hang} {
		g.wires.s3.set(t, m)
		for _, q := range []query{good, ask("clinic", "SELECT nope FROM patients"), ask("clinic", "DROP TABLE patients"),
			bulk("clinic")} {
			a := g.query(t, q)
			if a.status != 503 {
				t.Errorf("mode %d, %v: status %d: %s", m, q["statement"], a.status, a.raw)
			}
			if _, leaked := a.body["rows"]; leaked {
				t.Errorf("rows without a recording: %s", a.raw)
			}
		}
		g.wires.s3.set(t, pass)
		eventually(t, 30*time.Second, "answers after the store is back", func() bool {
			return g.query(t, good).status == 200
		})
	}
}

// TestPromise1_OutcomeNotStored: the store takes the intent and then nothing
// more. The statement ran, and still not a row leaves.
func TestPromise1_OutcomeNotStored(t *testing.T) {
	g := crashGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		good := ask(connection, "SELECT id FROM patients WHERE id = 1")
		must(t, g.query(t, good), 200)
		g.quiet(t)
		stored := 0
		g.trap.refuse(func(r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/segments/") {
				return false
			}
			stored++
			return stored > 1
		})
		a := problem(t, g.query(t, good), 503, "evidence_unavailable")
		if strings.Contains(string(a.raw), "rows") {
			t.Errorf("rows without a recording: %s", a.raw)
		}
		g.trap.refuse(nil)
		eventually(t, 30*time.Second, "answers after the store is back", func() bool { return g.query(t, good).status == 200 })
	}
}
