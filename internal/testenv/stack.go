package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/oidcop"
	"github.com/chaperone-sql/chaperone/masking"
)

// Servers are all the real servers, seeded: what the development stack and the
// end-to-end tests run a gateway against.
type Servers struct {
	Dir      string
	Postgres *Database // connection clinic
	MariaDB  *Database // connection billing
	S3       *ObjectStore
	Vault    *VaultServer
	AppRole  *AppRole

	processes []*process
	signals   []syscall.Signal
}

// People are the users of the OIDC provider in tests and development. Their
// passwords are their names.
func People() []oidcop.User {
	person := func(name, full string, roles ...string) oidcop.User {
		return oidcop.User{Subject: name, Name: full, Password: name, Roles: roles}
	}
	return []oidcop.User{
		// The agent may approve, too: that it cannot decide its own is a promise.
		person("crew", "Chart review crew", "agent:clinic", "agent:billing", "approver:clinic", "approver:billing"),
		person("crew2", "Another crew", "agent:clinic", "agent:billing"),
		person("clinic-crew", "A crew of the clinic only", "agent:clinic"),
		person("nurse", "Nurse Joy, privacy officer", "approver:clinic", "approver:billing"),
		person("doctor", "Doctor Who, privacy officer", "approver:clinic", "approver:billing"),
		person("auditor", "Audrey the auditor", "auditor:*"),
	}
}

// Options of Start.
type Options struct {
	// Dir is where the servers keep everything; other users must get into it.
	Dir string
	// Patients and Variant choose the data; see clinicdata.Tables.
	Patients, Variant int
	// LeaseTTL is the longest that a minted user lives, such as "10m".
	LeaseTTL string
	// Keep lets the servers outlive this process; else Stop ends them.
	Keep bool
}

// Start runs every server and seeds the clinic.
func Start(ctx context.Context, o Options) (s *Servers, err error) {
	dir, keep := o.Dir, o.Keep
	s = &Servers{Dir: dir}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // postgres and mysql must get through
		return nil, err
	}
	started := func(p *process, sig syscall.Signal, err error) error {
		if p != nil {
			s.processes, s.signals = append(s.processes, p), append(s.signals, sig)
		}
		return err
	}
	var p *process
	s.Postgres, p, err = startPostgres(ctx, dir, keep)
	if err = started(p, quitPostgres, err); err != nil {
		return s, err
	}
	s.MariaDB, p, err = startMariaDB(ctx, dir, keep)
	if err = started(p, quitOther, err); err != nil {
		return s, err
	}
	s.S3, p, err = startS3(ctx, dir, keep)
	if err = started(p, quitOther, err); err != nil {
		return s, err
	}
	s.Vault, p, err = startVault(ctx, dir, keep)
	if err = started(p, quitOther, err); err != nil {
		return s, err
	}
	return s, s.seed(ctx, o)
}

func (s *Servers) seed(ctx context.Context, o Options) (err error) {
	if s.Postgres, _, err = freshPostgres(ctx, s.Postgres, "clinic"); err != nil {
		return err
	}
	if s.MariaDB, _, err = freshMariaDB(ctx, s.MariaDB, "billing"); err != nil {
		return err
	}
	if s.S3, err = freshBucket(ctx, s.S3, "chaperone-evidence"); err != nil {
		return err
	}
	tables, password := clinicdata.Tables(o.Patients, o.Variant), randomName("vault")
	if err := SeedPostgres(ctx, s.Postgres, tables, password); err != nil {
		return err
	}
	if err := SeedMariaDB(ctx, s.MariaDB, tables, password); err != nil {
		return err
	}
	s.AppRole, err = BootstrapVault(ctx, s.Vault, []VaultDatabase{
		{Name: "clinic", Engine: "postgres", Database: s.Postgres, Password: password, TTL: o.LeaseTTL},
		{Name: "billing", Engine: "mysql", Database: s.MariaDB, Password: password, TTL: o.LeaseTTL},
	})
	return err
}

// PIDs are the servers' processes.
func (s *Servers) PIDs() []int {
	var pids []int
	for _, p := range s.processes {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// Stop ends the servers, the last one first.
func (s *Servers) Stop() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].stop(s.signals[i])
	}
}

// GatewayConfig is what a gateway's configuration is written from.
type GatewayConfig struct {
	Dir       string // for keys and the file itself
	Instance  string
	Listen    string
	PublicURL string
	Issuer    string
	// Addresses as the gateway shall see them, perhaps through a proxy.
	PostgresPort, MariaDBPort int
	VaultAddr, S3Endpoint     string
	// Extra is appended: further sections of YAML.
	Extra string
	// Timeout is the longest of a statement; the credential's TTL is a little more.
	Timeout, TTL string
}

// Keys are the files that WriteConfig made.
type Keys struct {
	Config, VerifierKeys, AuditorIdentity string
}

// WriteConfig writes a gateway's configuration with fresh keys.
func WriteConfig(s *Servers, g GatewayConfig) (*Keys, error) {
	if err := os.MkdirAll(g.Dir, 0o700); err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(g.Dir, name) }
	var errs []error
	private := func(name string, text masking.Secret) {
		if _, err := os.Stat(path(name)); err == nil {
			return // a restart keeps its keys
		}
		errs = append(errs, os.WriteFile(path(name), []byte(text.Reveal()+"\n"), 0o600))
	}
	signing, public, err := evidence.GenerateSigner(g.Instance)
	errs = append(errs, err)
	auditor, auditorRecipient, err := evidence.GenerateIdentity(false)
	errs = append(errs, err)
	approvals, _, err := evidence.GenerateIdentity(false)
	errs = append(errs, err)
	if _, err := os.Stat(path("signing.key")); err != nil {
		errs = append(errs, os.WriteFile(path("verifier-keys.txt"), []byte(public+"\n"), 0o644), //nolint:gosec // public
			os.WriteFile(path("auditor.pub"), []byte(auditorRecipient+"\n"), 0o644)) //nolint:gosec // public
	}
	private("signing.key", signing)
	private("auditor.key", auditor)
	private("approvals.key", approvals)
	private("token.key", masking.Secret(randomHex(32)))
	private("session.key", masking.Secret(randomHex(32)))
	private("vault-role-id", masking.Secret(s.AppRole.RoleID))
	private("vault-secret-id", masking.Secret(s.AppRole.SecretID))
	private("s3-access-key", masking.Secret(s.S3.AccessKey))
	private("s3-secret-key", masking.Secret(s.S3.SecretKey))
	recipient, err := os.ReadFile(path("auditor.pub"))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`instance: %s
listen: %s
public_url: %s
log: {level: info, format: json}
identity:
  issuer: %s
  audience: %s
  roles_claim: chaperone_roles
  login: {client_id: %s, scopes: [profile], session_key: {file: %s}}
vault:
  address: %s
  approle: {role_id: {file: %s}, secret_id: {file: %s}}
  timeout: 3s
store:
  s3: {endpoint: "%s", region: %s, bucket: %s, path_style: true, access_key: {file: %s}, secret_key: {file: %s}}
  retention: 24h
evidence:
  signing_key: {file: %s}
  verifier_keys: %s
  auditors: [%s]
  heartbeat: 10s
approvals: {key: {file: %s}}
masking: {token_key: {file: %s}, mrn_pattern: '%s'}
limits: {max_timeout: %s}
connections:
  clinic:
    description: The synthetic clinic, on PostgreSQL
    engine: postgres
    host: %s
    port: %d
    database: %s
    tls: {mode: "off"}
    credentials: {issuer: vault, read_role: clinic-ro, write_role: clinic-rw, ttl: %s}
    columns:
%s  billing:
    description: The synthetic clinic, on MariaDB
    engine: mysql
    host: %s
    port: %d
    database: %s
    tls: {mode: "off"}
    credentials: {issuer: vault, read_role: billing-ro, write_role: billing-rw, ttl: %s}
    columns:
%s`, g.Instance, g.Listen, g.PublicURL, g.Issuer, oidcop.Audience, oidcop.PageClient, path("session.key"),
		g.VaultAddr, path("vault-role-id"), path("vault-secret-id"), g.S3Endpoint, s.S3.Region, s.S3.Bucket,
		path("s3-access-key"), path("s3-secret-key"), path("signing.key"), path("verifier-keys.txt"),
		strings.TrimSpace(string(recipient)), path("approvals.key"), path("token.key"), clinicdata.MRNPattern, g.Timeout,
		s.Postgres.Host, g.PostgresPort, s.Postgres.Name, g.TTL, columns("public."),
		s.MariaDB.Host, g.MariaDBPort, s.MariaDB.Name, g.TTL, columns(""))
	keys := &Keys{Config: path("chaperone.yaml"), VerifierKeys: path("verifier-keys.txt"), AuditorIdentity: path("auditor.key")}
	return keys, os.WriteFile(keys.Config, []byte(text+g.Extra), 0o600)
}

// columns writes the classification of the clinic.
func columns(prefix string) string {
	var lines []string
	for name, class := range clinicdata.Decided() {
		lines = append(lines, fmt.Sprintf("      %s%s: %s\n", prefix, name, class))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
