package forward

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// child is a gateway process.
type child struct {
	cmd   *exec.Cmd
	ready string
}

func spawn(t *testing.T, o order, log string) *child {
	t.Helper()
	o.Ready = filepath.Join(t.TempDir(), "ready")
	text, err := json.Marshal(o)
	must(t, err)
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer out.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envGateway+"="+string(text))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	c := &child{cmd, o.Ready}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return c
}

func (c *child) kill() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() }

// finish waits until the records are written, and ends it in order.
func (c *child) finish(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, "the gateway has recorded everything", func() bool { _, err := os.Stat(c.ready); return err == nil })
	must(t, c.cmd.Process.Signal(syscall.SIGTERM))
	must(t, c.cmd.Wait())
}

func eventually(t *testing.T, wait time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s not: %s", wait, what)
		}
	}
}

// TestSoak forwards thousands of records to real receivers while the receiver is
// killed, the network resets and cuts, and the gateway is killed. Afterwards the
// receiver has each record that is stored, as it was encoded, and no other.
func TestSoak(t *testing.T) {
	for kind, open := range map[string]func(*testing.T) *receiver{
		"otlp":    func(t *testing.T) *receiver { r := testenv.OTelCollector(t); return &receiver{r, r.Kill, r.Start} },
		"hec":     func(t *testing.T) *receiver { r := testenv.VictoriaLogs(t); return &receiver{r, r.Stop, r.Start} },
		"syslog":  func(t *testing.T) *receiver { r := testenv.Rsyslog(t); return &receiver{r, r.Kill, r.Start} },
		"webhook": func(t *testing.T) *receiver { return hooks(t) },
	} {
		t.Run(kind, func(t *testing.T) { soak(t, kind, open(t)) })
	}
}

const perLife = 4000 // records

func soak(t *testing.T, kind string, r *receiver) {
	w, net, log := newWorld(t), testenv.Toxiproxy(t, r.Addr), logFile(t)
	t.Cleanup(func() {
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("the gateways' log:\n%s", tail(string(text), 60))
		}
	})
	o := order{World: w, Kind: kind, Addr: net.Addr, CA: r.CAFile, Cert: r.CertFile, Key: r.KeyFile, Records: perLife}
	pause := func() { time.Sleep(250 * time.Millisecond) } // something is to be under way

	c := spawn(t, o, log) // 1: the receiver dies, and the gateway while it is dead
	eventually(t, 20*time.Second, "records arrive", func() bool { return len(r.Received()) > 50 })
	r.down()
	pause()
	c.kill()
	c = spawn(t, o, log) // 2: it comes back
	pause()
	r.up()
	pause()
	c.kill()
	c = spawn(t, o, log) // 3: the network resets within answers and requests, then refuses
	net.Add("reset_peer", true, map[string]any{"timeout": 30})
	pause()
	net.Heal()
	net.Add("limit_data", false, map[string]any{"bytes": 20_000})
	pause()
	net.Heal()
	net.Enable(false)
	pause()
	c.kill()
	c = spawn(t, o, log) // 4: the receiver dies again, alone
	net.Enable(true)
	net.Heal()
	pause()
	r.down()
	pause()
	r.up()
	want := map[string]string{}
	t.Cleanup(func() {
		have := distinct(t, r.Received())
		for id := range want {
			if _, ok := have[id]; !ok && t.Failed() {
				t.Logf("missing: %s", id)
			}
		}
	})
	eventually(t, time.Minute, "everything arrives", func() bool {
		if _, err := os.Stat(c.ready); err != nil {
			return false
		}
		want = w.records(t)
		return len(distinct(t, r.Received())) >= len(want)
	})
	c.finish(t)

	want = w.records(t)
	var got []testenv.Received
	eventually(t, 10*time.Second, "the last record can be read", func() bool { // some receivers show it a second later
		got = r.Received()
		return len(distinct(t, got)) >= len(want)
	})
	bodies := distinct(t, got)
	missing, closed := 0, 0
	for id, body := range want {
		if strings.Contains(body, `"writer.closed"`) {
			closed++
		}
		switch have, ok := bodies[id]; {
		case !ok:
			missing++
		case have != body:
			t.Fatalf("record %s was altered:\n%s\n%s", id, have, body)
		}
	}
	for id := range bodies {
		if _, ok := want[id]; !ok {
			t.Errorf("record %s was received and is not stored", id)
		}
	}
	if missing > 0 || closed != 1 {
		t.Errorf("%d of %d records are missing; %d writer.closed, want 1", missing, len(want), closed)
	}
	if len(want) <= perLife {
		t.Errorf("only %d records: the test tested little", len(want))
	}
	t.Logf("%d records stored, %d received, %d distinct", len(want), len(got), len(bodies))
	leaks(t, got, log)
}

// distinct gives the bodies by record id. The same record has the same body each
// time.
func distinct(t *testing.T, all []testenv.Received) map[string]string {
	t.Helper()
	bodies := map[string]string{}
	for _, one := range all {
		if before, ok := bodies[one.ID]; ok && before != one.Body {
			t.Fatalf("record %s came with two bodies", one.ID)
		}
		bodies[one.ID] = one.Body
	}
	return bodies
}

// leaks looks for what must not have left, and for tokens in the log.
func leaks(t *testing.T, all []testenv.Received, log string) {
	t.Helper()
	for _, one := range all {
		text, _ := json.Marshal(one)
		if strings.Contains(string(text), canary) || strings.Contains(one.Body, `"sealed"`) {
			t.Fatalf("what is not clear left: %s", text)
		}
	}
	text, err := os.ReadFile(log)
	must(t, err)
	for _, word := range []string{token, strings.TrimPrefix(secret, "whsec_"), canary, "/v1/logs", "/hook"} {
		if strings.Contains(string(text), word) {
			t.Errorf("the gateways' log holds %q", word)
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
