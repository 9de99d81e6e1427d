package e2e

import (
	"sync"
	"testing"
	"time"
)

// TestPromise3_EachRequestItsOwnUser: the databases' own logs show a different
// user for each request, and none of them exists afterwards.
func TestPromise3_EachRequestItsOwnUser(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) {
			const n = 12
			g.env.settled(t, connection)
			users := map[string]bool{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					a := g.query(t, ask(connection, "SELECT count(*) FROM medications"))
					if a.status != 200 {
						t.Errorf("%d %s", a.status, a.raw)
						return
					}
					for _, r := range g.records(t, a.str("query_id")) {
						if r.Type == "query.outcome" {
							mu.Lock()
							users[r.Lease.Username] = true
							mu.Unlock()
						}
					}
				})
			}
			all.Wait()
			if len(users) != n {
				t.Fatalf("%d users for %d requests", len(users), n)
			}
			log := g.env.databaseLog(t, connection)
			for user := range users {
				if !log.names(user) {
					t.Errorf("the database never saw %s", user)
				}
			}
			g.env.settled(t, connection)
		})
	}
}

// TestPromise3_EndsWithTheRequest: a timeout and a cancel leave neither a user
// nor a running statement.
func TestPromise3_EndsWithTheRequest(t *testing.T) {
	g := mainGateway(t)
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection, func(t *testing.T) {
			release := g.env.lockTable(t, connection, "medications")
			slow := ask(connection, "SELECT count(*) FROM medications")
			slow["timeout_ms"] = 1500
			started := time.Now()
			a := problem(t, g.query(t, slow), 504, "timeout")
			if took := time.Since(started); took > 12*time.Second {
				t.Errorf("a timeout of 1.5 s took %v", took)
			}
			if a.str("recording_id") == "" {
				t.Errorf("the timeout was not recorded: %s", a.raw)
			}

			slow["timeout_ms"] = 20000
			done := make(chan answer, 1)
			go func() { done <- g.query(t, slow, "Idempotency-Key", "cancel-"+connection) }()
			time.Sleep(500 * time.Millisecond) // the first to come is the one that runs
			var id string
			eventually(t, 10*time.Second, "the query is running", func() bool {
				again := g.query(t, slow, "Idempotency-Key", "cancel-"+connection)
				id = again.str("query_id")
				return again.status == 409 && id != ""
			})
			time.Sleep(300 * time.Millisecond)
			must(t, call(t, g.url, "POST", "/v1/queries/"+id+"/cancel", g.env.agent, nil), 202)
			select {
			case a := <-done:
				problem(t, a, 409, "cancelled")
			case <-time.After(10 * time.Second):
				t.Fatal("a cancelled query did not end")
			}
			release()
			g.env.settled(t, connection)
		})
	}
}
