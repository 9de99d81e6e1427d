package e2e

import (
	"testing"
	"time"
)

// TestOutages: each dependency down or hanging gives its own problem in bounded
// time, releases nothing, leaves nothing running, and is over when it is back.
func TestOutages(t *testing.T) {
	g := faultGateway(t)
	good := func(connection string) query {
		q := ask(connection, "SELECT id FROM patients WHERE id = 1")
		q["timeout_ms"] = 4000
		return q
	}
	// A gateway that has just started compiles its parser: no time limit yet.
	must(t, g.query(t, ask("clinic", "SELECT id FROM patients WHERE id = 1")), 200)
	for _, c := range []struct {
		name, connection string
		wire             *wire
		codes            map[string]int
	}{
		{"vault", "clinic", g.wires.vault, map[string]int{"credentials_unavailable": 503, "timeout": 504}},
		{"postgres", "clinic", g.wires.postgres, map[string]int{"database_unavailable": 502, "timeout": 504}},
		{"mariadb", "billing", g.wires.mariadb, map[string]int{"database_unavailable": 502, "timeout": 504}},
	} {
		for name, m := range map[string]mode{"down": refuse, "hanging": hang} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				must(t, g.query(t, good(c.connection)), 200)
				c.wire.set(t, m)
				started := time.Now()
				a := g.query(t, good(c.connection))
				if took := time.Since(started); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				if want, ok := c.codes[a.str("code")]; !ok || a.status != want {
					t.Errorf("%d %s", a.status, a.raw)
				}
				if _, leaked := a.body["rows"]; leaked {
					t.Errorf("rows: %s", a.raw)
				}
				c.wire.set(t, pass)
				eventually(t, 30*time.Second, "answers again", func() bool {
					return g.query(t, good(c.connection)).status == 200
				})
			})
		}
	}
	t.Run("issuer down", func(t *testing.T) {
		must(t, g.query(t, good("clinic")), 200)
		g.env.issuer(t, false)
		// The keys are known: tokens keep working while the issuer is away.
		must(t, g.query(t, good("clinic")), 200)
		g.env.issuer(t, true)
		must(t, g.query(t, good("clinic")), 200)
	})
	for _, connection := range []string{"clinic", "billing"} {
		g.env.settled(t, connection)
	}
}
