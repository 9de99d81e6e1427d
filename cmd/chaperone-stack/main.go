// Command chaperone-stack starts and stops the development stack: the real
// servers and a gateway built from this tree, without Docker.
//
//	chaperone-stack up     start what is not running, restart the gateway, write .stack/env
//	chaperone-stack down   stop everything
//	chaperone-stack exec   run a command with the servers that tests share
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-sql/chaperone/internal/oidcop"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

const (
	stackDir = ".stack"
	patients = 3000
	tokenTTL = 12 * time.Hour
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chaperone-stack:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case "up":
		return up(ctx)
	case "down":
		return down()
	case "oidc":
		return oidc(ctx, os.Args[2:])
	case "exec":
		return execWith(ctx, os.Args[2:])
	}
	return errors.New("up, down or exec?")
}

// state is what a running stack remembers.
type state struct {
	Servers     *testenv.Servers
	ServerPIDs  []int
	OIDC        int
	Gateway     int
	Issuer      string
	GatewayPort int
}

func (s *state) path() string { return filepath.Join(stackDir, "state.json") }

func load() *state {
	s := &state{}
	if b, err := os.ReadFile(s.path()); err != nil || json.Unmarshal(b, s) != nil {
		return nil
	}
	for _, pid := range append(s.ServerPIDs, s.OIDC) {
		if !alive(pid) {
			return nil
		}
	}
	return s
}

func (s *state) save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(), b, 0o600)
}

// up starts the servers, if they are not running, and the gateway anew.
func up(ctx context.Context) error {
	s := load()
	if s == nil {
		_ = down() // what a crash left
		var err error
		if s, err = startServers(ctx); err != nil {
			return err
		}
	}
	stopPID(s.Gateway)
	if err := startGateway(ctx, s); err != nil {
		return errors.Join(err, s.save())
	}
	if err := errors.Join(s.save(), writeEnv(s)); err != nil {
		return err
	}
	fmt.Printf("The stack is up. Gateway: http://127.0.0.1:%d\nLoad its tokens and addresses: . %s/env\n", s.GatewayPort, stackDir)
	return nil
}

func startServers(ctx context.Context) (*state, error) {
	dir, err := filepath.Abs(stackDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// postgres and mysql must get into the folder; a home that is closed to
	// others would keep them out.
	data, err := os.MkdirTemp("", "chaperone-stack-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(data, 0o755); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	fmt.Println("Starting PostgreSQL, MariaDB, Vault and the S3 server …")
	servers, err := testenv.Start(ctx, testenv.Options{Dir: data, Patients: patients, LeaseTTL: "10m", Keep: true})
	if err != nil {
		return nil, err
	}
	s := &state{Servers: servers, ServerPIDs: servers.PIDs()}
	if s.GatewayPort, err = freePort(); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.Issuer = fmt.Sprintf("http://127.0.0.1:%d", port)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// `go run` removes its binary: the provider needs one that stays.
	bin := filepath.Join(dir, "bin", "chaperone-stack")
	if err := copyFile(self, bin); err != nil {
		return nil, err
	}
	s.OIDC, err = daemon(filepath.Join(dir, "oidc.log"), bin, "oidc", strings.TrimPrefix(s.Issuer, "http://"),
		filepath.Join(dir, "oidc.key"), fmt.Sprintf("http://127.0.0.1:%d/login/callback", s.GatewayPort))
	if err != nil {
		return nil, err
	}
	return s, errors.Join(s.save(), waitHTTP(ctx, s.Issuer+"/.well-known/openid-configuration"))
}

// startGateway builds the gateway from the tree and runs it.
func startGateway(ctx context.Context, s *state) error {
	dir, err := filepath.Abs(stackDir)
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin", "chaperone")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/chaperone")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the gateway: %w", err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", s.GatewayPort)
	keys, err := testenv.WriteConfig(s.Servers, testenv.GatewayConfig{
		Dir: filepath.Join(dir, "gateway"), Instance: "stack", Listen: address, PublicURL: "http://" + address, Issuer: s.Issuer,
		PostgresPort: s.Servers.Postgres.Port, MariaDBPort: s.Servers.MariaDB.Port, VaultAddr: s.Servers.Vault.Addr,
		S3Endpoint: s.Servers.S3.Endpoint, Timeout: "5m", TTL: "10m",
	})
	if err != nil {
		return err
	}
	if s.Gateway, err = daemon(filepath.Join(dir, "gateway.log"), bin, "serve", "--config", keys.Config); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	return waitHTTP(ctx, "http://"+address+"/readyz")
}

// writeEnv writes what tests and people need to use the stack.
func writeEnv(s *state) error {
	dir, err := filepath.Abs(stackDir)
	if err != nil {
		return err
	}
	gateway := filepath.Join(dir, "gateway")
	values := [][2]string{
		{"CHAPERONE_URL", fmt.Sprintf("http://127.0.0.1:%d", s.GatewayPort)},
		{"CHAPERONE_CONFIG", filepath.Join(gateway, "chaperone.yaml")},
		{"CHAPERONE_BIN", filepath.Join(dir, "bin", "chaperone")},
		{"CHAPERONE_LOG", filepath.Join(dir, "gateway.log")},
		{"CHAPERONE_PID", strconv.Itoa(s.Gateway)},
		{"CHAPERONE_AUDITOR_KEY", filepath.Join(gateway, "auditor.key")},
		{"CHAPERONE_VERIFIER_KEYS", filepath.Join(gateway, "verifier-keys.txt")},
		{"PG_ADMIN_DSN", s.Servers.Postgres.DSN},
		{"MYSQL_ADMIN_DSN", s.Servers.MariaDB.DSN},
		{"VAULT_ADDR", s.Servers.Vault.Addr},
		{"VAULT_TOKEN", s.Servers.Vault.Token},
		{"S3_ENDPOINT", s.Servers.S3.Endpoint},
		{"S3_BUCKET", s.Servers.S3.Bucket},
		{"AWS_ACCESS_KEY_ID", s.Servers.S3.AccessKey},
		{"AWS_SECRET_ACCESS_KEY", s.Servers.S3.SecretKey},
		{"AWS_REGION", s.Servers.S3.Region},
		{"OIDC_ISSUER", s.Issuer},
	}
	people := map[string]oidcop.User{}
	for _, u := range testenv.People() {
		people[u.Subject] = u
	}
	for _, t := range [][2]string{{"AGENT", "crew"}, {"AGENT2", "crew2"}, {"APPROVER", "nurse"}, {"APPROVER2", "doctor"}, {"AUDITOR", "auditor"}} {
		token, err := oidcop.Mint(filepath.Join(dir, "oidc.key"), s.Issuer, people[t[1]], tokenTTL)
		if err != nil {
			return err
		}
		values = append(values, [2]string{"CHAPERONE_" + t[0] + "_TOKEN", token})
	}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], v[1])
	}
	return os.WriteFile(filepath.Join(stackDir, "env"), []byte(b.String()), 0o600)
}

// down stops everything that up started.
func down() error {
	s := &state{}
	b, err := os.ReadFile(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := errors.Join(err, json.Unmarshal(b, s)); err != nil {
		return err
	}
	stopPID(s.Gateway)
	stopPID(s.OIDC)
	for i := len(s.ServerPIDs) - 1; i >= 0; i-- {
		stopPID(s.ServerPIDs[i])
	}
	if s.Servers != nil && strings.Contains(s.Servers.Dir, "chaperone-stack-") {
		_ = os.RemoveAll(s.Servers.Dir)
	}
	return os.RemoveAll(stackDir)
}

// oidc runs the provider: address, key file, redirect URI.
func oidc(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("oidc ADDRESS KEYFILE REDIRECT")
	}
	p, err := oidcop.Start(oidcop.Config{Listen: args[0], Users: testenv.People(), KeyFile: args[1], RedirectURIs: args[2:]})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return p.Close()
}

// execWith runs a command with servers that all test packages share.
func execWith(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("exec what?")
	}
	dir, err := os.MkdirTemp("", "chaperone-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s, err := testenv.StartShared(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), s.Environment()...)
	return cmd.Run()
}

func daemon(log, name string, args ...string) (pid int, err error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// stopPID asks a process to end, and kills it after ten seconds.
func stopPID(pid int) {
	if !alive(pid) {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for range 200 {
		if !alive(pid) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func waitHTTP(ctx context.Context, url string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer; see %s/*.log", url, stackDir)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}
