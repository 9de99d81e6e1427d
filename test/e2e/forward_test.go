package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/export"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

const forwardToken = "forward-token-4711"

// withForwarding has the gateway forward to two real receivers.
func (g *gatewayProcess) withForwarding(t *testing.T, otel, syslog *testenv.Receiver) {
	t.Helper()
	dir := filepath.Join(g.env.dir, g.name)
	token := filepath.Join(dir, "forward.token")
	if err := os.WriteFile(token, []byte(forwardToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The receiver's folder ends with this test, and the configuration is used after it.
	own := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	text := fmt.Sprintf(`  heartbeat: 10s
  forward_state: %s
  forward:
    - name: lake
      type: otlp
      url: http://%s/v1/logs
      insecure: true
      secret: {file: %s}
    - name: siem
      type: syslog
      address: %s
      tls: {ca_file: %s, cert_file: %s, key_file: %s}
`, filepath.Join(dir, "forward"), otel.Addr, token, syslog.Addr, own(syslog.CAFile), own(syslog.CertFile), own(syslog.KeyFile))
	change(t, g.config, func(b []byte) []byte { return bytes.Replace(b, []byte("  heartbeat: 10s\n"), []byte(text), 1) })
	g.stop()
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
}

// forwardMetric is the value of a metric of a destination.
func (g *gatewayProcess) forwardMetric(t *testing.T, name, destination string) float64 {
	t.Helper()
	text := must(t, call(t, g.url, "GET", "/metrics", "", nil), 200).raw
	m := regexp.MustCompile(`(?m)^chaperone_forward_` + name + `\{destination="` + destination + `"\} (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("there is no metric %s of %s", name, destination)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestForward: a gateway forwards every record that it stores, while receivers go
// away and it is killed itself, and nothing of a patient. Queries do not notice.
func TestForward(t *testing.T) {
	g, otel, syslog := freshGateway(t, false, false), testenv.OTelCollector(t), testenv.Rsyslog(t)
	g.withForwarding(t, otel, syslog)
	checked := g.cli(t, 0, "check", "--config", g.config)
	contains(t, "check", checked, "forward lake", "forward siem")

	since := g.writer(t)
	released := g.queryAs(t, g.env.agent, ask("clinic", "SELECT id, mrn, last_name, zip FROM patients WHERE id < $1 ORDER BY id", 5))
	must(t, released, 200)
	must(t, g.query(t, lookUp("billing")), 200)
	problem(t, g.query(t, ask("clinic", "SELECT pg_sleep(1) FROM patients WHERE ssn = '"+g.env.canaries[0]+"'")), 403, "")

	otel.Kill()
	syslog.Kill()
	for range 20 {
		must(t, g.query(t, lookUp("clinic")), 200) // it is answered all the same
	}
	for _, name := range []string{"lake", "siem"} {
		eventually(t, 20*time.Second, "the lag of "+name+" is told", func() bool {
			return g.forwardMetric(t, "lag_records", name) >= 40 && g.forwardMetric(t, "lag_seconds", name) > 0 && g.forwardMetric(t, "failures_total", name) > 0
		})
	}
	g.kill()
	otel.Start()
	g.restart(t)
	must(t, g.query(t, lookUp("clinic")), 200)
	syslog.Start()
	for _, name := range []string{"lake", "siem"} {
		eventually(t, 90*time.Second, name+" has caught up", func() bool {
			return g.forwardMetric(t, "lag_records", name) == 0 && g.forwardMetric(t, "last_success_timestamp_seconds", name) > 0
		})
	}
	g.stop()

	want := map[string]string{}
	types := map[evidence.Type]int{}
	start, _ := evidence.WriterStart(since)
	g.each(t, func(r *evidence.Record) {
		if begun, _ := evidence.WriterStart(r.Writer); begun.Before(start) {
			return // before there was anything to forward to
		}
		b, err := export.OCSF(nil, clearPart(r))
		if err != nil {
			t.Fatal(err)
		}
		want[r.ID] = string(b)
		types[r.Type]++
	})
	if len(want) < 60 || types[evidence.TypeOutcome] < 20 || types[evidence.TypeWriterClosed] != 1 || types[evidence.TypeWriterStarted] != 2 {
		t.Fatalf("%d records, %v: the test tells little", len(want), types)
	}
	for name, receiver := range map[string]*testenv.Receiver{"lake": otel, "siem": syslog} {
		all := receiver.Received()
		got := map[string]string{}
		for _, one := range all {
			got[one.ID] = one.Body
			raw, _ := json.Marshal(one)
			if found := g.env.canary(raw); found != "" {
				t.Errorf("%s got %q", name, found)
			}
			if strings.Contains(one.Body, `"rows"`) || strings.Contains(one.Body, "sealed") {
				t.Errorf("%s got what is not clear: %s", name, one.Body)
			}
		}
		for id, body := range want {
			if got[id] != body {
				t.Errorf("%s: record %s is\n%s\nwant\n%s", name, id, got[id], body)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s has %d records of %d", name, len(got), len(want))
		}
		t.Logf("%s: %d records stored, %d received", name, len(want), len(all))
	}
	if log := g.logText(t); strings.Contains(log, forwardToken) {
		t.Error("the log holds the token")
	}
}

// clearPart is a record as it may leave.
func clearPart(r *evidence.Record) *evidence.Record {
	c := *r
	c.Sealed, c.Note = nil, ""
	if c.Result != nil {
		result := *c.Result
		result.Rows, result.Columns, result.Notes, result.Problem = nil, nil, nil, nil
		c.Result = &result
	}
	return &c
}
