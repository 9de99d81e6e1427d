// Package e2e tests the six promises on real servers: PostgreSQL, MariaDB,
// Vault, an S3 server with Object Lock and an OIDC provider, with the gateway
// as a process of its own. A file is named after each promise.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/api/openapitest"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/oidcop"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

const (
	patients = 2000
	leaseTTL = 75 * time.Second
)

// environment is what all tests of the run share.
type environment struct {
	dir, logs, binary string
	servers           *testenv.Servers
	provider          *oidcop.Provider
	providerWire      *wire
	canaries          []string

	agent, agent2, approver, approver2, auditor, clinicOnly string

	gateways []*gatewayProcess
}

var shared struct {
	sync.Mutex
	env     *environment
	err     error
	tried   bool
	main    *gatewayProcess
	twin    *gatewayProcess
	twinEnv *environment
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, env := range []*environment{shared.env, shared.twinEnv} {
		if env != nil {
			env.stop()
		}
	}
	os.Exit(code)
}

// theEnv starts the servers once.
func theEnv(t testing.TB) *environment {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.env, shared.err = newEnvironment(0)
		if shared.err == nil {
			shared.err = openTranscript(shared.env.logs)
		}
	}
	if shared.err != nil {
		t.Fatalf("starting the servers: %v", shared.err)
	}
	return shared.env
}

func newEnvironment(variant int) (*environment, error) {
	d, err := os.MkdirTemp("", "chaperone-e2e-")
	if err != nil {
		return nil, err
	}
	env := &environment{dir: d, logs: filepath.Join(d, "logs"), binary: filepath.Join(d, "chaperone")}
	if err := errors.Join(os.Chmod(d, 0o755), os.Mkdir(env.logs, 0o755)); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", env.binary, "../../cmd/chaperone")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the gateway: %w: %s", err, out)
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	env.servers, err = testenv.Start(ctx, testenv.Options{Dir: filepath.Join(d, "servers"), Patients: patients, Variant: variant,
		LeaseTTL: leaseTTL.String()})
	if err != nil {
		return nil, err
	}
	if env.providerWire, err = newWire(""); err != nil {
		return nil, err
	}
	env.provider, err = oidcop.Start(oidcop.Config{Listen: "127.0.0.1:0", Issuer: "http://" + env.providerWire.addr(), Users: testenv.People(),
		RedirectURIs: []string{"http://127.0.0.1/login/callback"}}) // a loopback address of any port (RFC 8252, section 7.3)
	if err != nil {
		return nil, err
	}
	env.providerWire.target = env.provider.Addr()
	env.canaries = clinicdata.Canaries(clinicdata.Tables(patients, variant), 60)
	for name, token := range map[string]*string{"crew": &env.agent, "crew2": &env.agent2, "nurse": &env.approver,
		"doctor": &env.approver2, "auditor": &env.auditor, "clinic-crew": &env.clinicOnly} {
		if *token, err = env.provider.Token(name, 12*time.Hour, nil); err != nil {
			return nil, err
		}
	}
	return env, nil
}

func (env *environment) stop() {
	for _, g := range env.gateways {
		g.stop()
	}
	_ = env.provider.Close()
	env.servers.Stop()
	if os.Getenv("CHAPERONE_E2E_KEEP") == "" {
		_ = os.RemoveAll(env.dir)
	}
}

// gatewayProcess is a running gateway.
type gatewayProcess struct {
	env      *environment
	name     string
	url      string
	config   string
	keys     string
	auditor  string
	leaseTTL time.Duration
	wires    struct{ s3, vault, postgres, mariadb *wire }
	trap     *trap

	mu  sync.Mutex
	cmd *exec.Cmd
}

// newGateway configures a gateway with a prefix of its own in the bucket.
func (env *environment) newGateway(name string, proxied, trapped bool) (*gatewayProcess, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	g := &gatewayProcess{env: env, name: name, url: "http://" + addr, leaseTTL: leaseTTL}
	s := env.servers
	c := testenv.GatewayConfig{Dir: filepath.Join(env.dir, name), Instance: name, Listen: addr, PublicURL: g.url,
		Issuer: env.provider.Issuer(), PostgresPort: s.Postgres.Port, MariaDBPort: s.MariaDB.Port, VaultAddr: s.Vault.Addr,
		S3Endpoint: s.S3.Endpoint, Timeout: "60s", TTL: leaseTTL.String()}
	if proxied {
		for _, p := range []struct {
			to     **wire
			target string
		}{{&g.wires.s3, strings.TrimPrefix(s.S3.Endpoint, "http://")}, {&g.wires.vault, strings.TrimPrefix(s.Vault.Addr, "http://")},
			{&g.wires.postgres, fmt.Sprintf("%s:%d", s.Postgres.Host, s.Postgres.Port)},
			{&g.wires.mariadb, fmt.Sprintf("%s:%d", s.MariaDB.Host, s.MariaDB.Port)}} {
			if *p.to, err = newWire(p.target); err != nil {
				return nil, err
			}
		}
		c.S3Endpoint, c.VaultAddr = "http://"+g.wires.s3.addr(), "http://"+g.wires.vault.addr()
		c.PostgresPort, c.MariaDBPort = g.wires.postgres.port(), g.wires.mariadb.port()
	}
	if trapped {
		if g.trap, err = newTrap(s.S3.Endpoint); err != nil {
			return nil, err
		}
		c.S3Endpoint = g.trap.url
	}
	keys, err := testenv.WriteConfig(s, c)
	if err != nil {
		return nil, err
	}
	g.config, g.keys, g.auditor = keys.Config, keys.VerifierKeys, keys.AuditorIdentity
	text, err := os.ReadFile(g.config)
	if err != nil {
		return nil, err
	}
	text = bytes.Replace(text, []byte("path_style: true"), []byte("path_style: true, prefix: "+name+"/"), 1)
	if err := os.WriteFile(g.config, text, 0o600); err != nil {
		return nil, err
	}
	env.gateways = append(env.gateways, g)
	return g, g.start()
}

func (g *gatewayProcess) logFile() string { return filepath.Join(g.env.logs, g.name+".log") }

func (g *gatewayProcess) start() error {
	out, err := os.OpenFile(g.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(g.env.binary, "serve", "--config", g.config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	g.mu.Lock()
	g.cmd = cmd
	g.mu.Unlock()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if res, err := http.Get(g.url + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(30 * time.Millisecond)
	}
	log, _ := os.ReadFile(g.logFile())
	return fmt.Errorf("the gateway %s is not ready: %s", g.name, log)
}

func (g *gatewayProcess) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd != nil {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

func (g *gatewayProcess) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

// killAt kills the gateway just before or just after the store sees a request.
func (g *gatewayProcess) killAt(match func(*http.Request) bool, before bool) {
	if before {
		g.trap.arm(match, g.kill, nil)
	} else {
		g.trap.arm(match, nil, g.kill)
	}
}

// restart starts the gateway again, which must have been killed.
func (g *gatewayProcess) restart(t *testing.T) {
	t.Helper()
	eventually(t, 15*time.Second, "the gateway was killed", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.cmd == nil
	})
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
}

// quiet waits until nothing is being stored any more, so that the next request
// to the store is the one that the test means. (Users that a crash left may
// live on until their TTL.)
func (g *gatewayProcess) quiet(t *testing.T) {
	t.Helper()
	quiet := time.Now()
	last := g.trap.seen.Load()
	eventually(t, 10*time.Second, "the gateway is quiet", func() bool {
		if now := g.trap.seen.Load(); now != last {
			last, quiet = now, time.Now()
		}
		return time.Since(quiet) > 700*time.Millisecond
	})
}

func (g *gatewayProcess) logText(t *testing.T) string { return string(read(t, g.logFile())) }

// gateways of the tests.

func mainGateway(t *testing.T) *gatewayProcess {
	t.Helper()
	env := theEnv(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.main == nil {
		g, err := env.newGateway("main", false, false)
		if err != nil {
			t.Fatal(err)
		}
		shared.main = g
	}
	return shared.main
}

// faultGateway reaches everything through proxies that the test controls.
func faultGateway(t *testing.T) *gatewayProcess { return freshGateway(t, true, false) }

// crashGateway reaches the store through a trap.
func crashGateway(t *testing.T) *gatewayProcess { return freshGateway(t, false, true) }

func freshGateway(t *testing.T, proxied, trapped bool) *gatewayProcess {
	t.Helper()
	env := theEnv(t)
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name()), "-")
	g, err := env.newGateway(name[:min(len(name), 28)], proxied, trapped)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	return g
}

// twinGateway runs on servers whose data differs in protected values only.
func twinGateway(t *testing.T) *gatewayProcess {
	t.Helper()
	theEnv(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.twin == nil {
		env, err := newEnvironment(1)
		if err != nil {
			t.Fatal(err)
		}
		shared.twinEnv = env
		if shared.twin, err = env.newGateway("twin", false, false); err != nil {
			t.Fatal(err)
		}
	}
	return shared.twin
}

// cli runs a subcommand, checks its exit code and gives its output.
func (g *gatewayProcess) cli(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, err := exec.Command(g.env.binary, args...).CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != want {
		t.Fatalf("chaperone %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return string(out)
}

// reader reads a copy of what the gateway stored.
func (g *gatewayProcess) reader(t *testing.T) *evidence.Reader {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", copied)
	store, err := dir.New(dir.Config{Path: copied, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	trusted, err := evidence.LoadVerifiers(g.keys)
	if err != nil {
		t.Fatal(err)
	}
	return evidence.NewReader(store, trusted)
}

// records gives what was recorded of a query, read from a copy of the store.
func (g *gatewayProcess) records(t *testing.T, id string) []evidence.Record {
	t.Helper()
	list, err := g.reader(t).Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// writer is the name of the gateway's present writer.
func (g *gatewayProcess) writer(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`"writer":"([^"]+)"`).FindAllStringSubmatch(g.logText(t), -1)
	if len(m) == 0 {
		t.Fatal("the log does not name the writer")
	}
	return m[len(m)-1][1]
}

func (g *gatewayProcess) queryAs(t *testing.T, token string, q query) answer {
	t.Helper()
	return call(t, g.url, "POST", "/v1/query", token, q)
}

func (g *gatewayProcess) raw(t *testing.T, body []byte) answer {
	t.Helper()
	return call(t, g.url, "POST", "/v1/query", g.env.agent, body)
}

// validate holds an answer of the API to openapi.yaml.
func validate(t *testing.T, method, path string, a answer) {
	t.Helper()
	if strings.HasPrefix(path, "/v1/") {
		openapitest.Validate(t, method, path, a.status, a.header.Get("Content-Type"), a.raw)
	}
}

// issuer takes the OIDC provider away, or brings it back.
func (env *environment) issuer(t *testing.T, up bool) {
	t.Helper()
	if up {
		env.providerWire.set(t, pass)
	} else {
		env.providerWire.set(t, refuse)
	}
}

func (env *environment) badTokens(t *testing.T) map[string]string {
	t.Helper()
	bad, err := env.provider.BadTokens("crew")
	if err != nil {
		t.Fatal(err)
	}
	return bad
}

// canary is a seeded protected value that occurs in b, or "".
func (env *environment) canary(b []byte) string {
	for _, c := range env.canaries {
		if bytes.Contains(b, []byte(c)) {
			return c
		}
	}
	return ""
}

func (l serverLog) names(user string) bool { return strings.Contains(string(l), user) }

// copyBucket copies everything that every gateway stored.
func (env *environment) copyBucket(t *testing.T, to string) {
	t.Helper()
	for _, g := range env.gateways {
		g.cli(t, 0, "evidence", "fetch", "--config", g.config, "--to", filepath.Join(to, g.name))
	}
}
