// Command chaperone-demo is the whole product in one process on embedded parts:
// a MySQL-compatible database, an OpenID provider, native credentials, and a
// folder as the write-once store. It tells the main job as a story and then
// leaves the gateway up. Nothing of it is part of the production binary.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/oidcop"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

const (
	patients  = 2000
	adminUser = "demo_admin"
	tokenTTL  = 12 * time.Hour
)

func main() {
	once := flag.Bool("once", false, "tell the story and exit; non-zero if a step went wrong")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *once, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nchaperone-demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, once bool, out io.Writer) (err error) {
	home, err := os.MkdirTemp("", "chaperone-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	fmt.Fprintf(out, "Chaperone demo: an agent, a clinic with %d invented patients, and a gateway between them.\n", patients)
	fmt.Fprintln(out, "Everything runs in this process; nothing is installed.")

	password := masking.Secret(randomHex())
	db, err := startDatabase(connection, adminUser, password.Reveal())
	if err != nil {
		return err
	}
	defer db.close()
	admin, err := openAdmin(db.port, password)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := seed(ctx, admin); err != nil {
		return err
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String()
	provider, err := oidcop.Start(oidcop.Config{Listen: "127.0.0.1:0", RedirectURIs: []string{base + "/login/callback"}, Users: []oidcop.User{
		{Subject: "crew", Name: "Chart review crew", Password: "crew", Roles: []string{"agent:clinic", "approver:clinic"}},
		{Subject: "nurse", Name: "Nurse Joy, privacy officer", Password: "nurse", Roles: []string{"approver:clinic"}},
	}})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, provider.Close()) }()

	cfg, err := writeConfig(home, base, provider.Issuer(), db.port, password)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	logs, err := os.Create(filepath.Join(home, "gateway.log"))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer logs.Close()
	gw, err := server.New(ctx, cfg, "demo", slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- gw.Serve(l) }()
	defer func() {
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer stop()
		err = errors.Join(err, gw.Close(closing))
	}()

	agent, err := provider.Token("crew", tokenTTL, nil)
	if err != nil {
		return err
	}
	nurse, err := provider.Token("nurse", tokenTTL, nil)
	if err != nil {
		return err
	}
	s := &story{out: out, url: base, agent: agent, nurse: nurse,
		verify: func(ctx context.Context, copied string) ([]string, error) { return verify(ctx, home, copied) },
		tamper: func(ctx context.Context) (string, string, error) { return tamper(ctx, home) },
		users:  func(ctx context.Context) ([]string, error) { return mintedUsers(ctx, admin) },
	}
	if err := s.tell(ctx); err != nil || once {
		return err
	}
	fmt.Fprintf(out, `
The gateway stays up until Ctrl-C. Paste this to ask by yourself:

  export TOKEN=%s

  curl -s %s/v1/query -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"connection":"clinic","statement":"SELECT id, last_name, dob, zip FROM patients WHERE id < ?","parameters":[5]}'

  curl -s %s/v1/connections/clinic/schema -H "Authorization: Bearer $TOKEN"

What waits for a person:  %s/approvals   (sign in as nurse, password nurse)
`, agent, base, base, base)
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nStopping.")
		return nil
	case err := <-served:
		return err
	}
}

// openAdmin connects the embedded database's administrator.
func openAdmin(port int, password masking.Secret) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = adminUser, password.Reveal(), "tcp", fmt.Sprintf("127.0.0.1:%d", port), connection
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// seed makes the clinic.
func seed(ctx context.Context, db *sql.DB) error {
	for _, s := range strings.Split(schema, ";\n") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("making the clinic: %w", err)
		}
	}
	for _, t := range clinicdata.Tables(patients, 0) {
		for from := 0; from < len(t.Rows); from += 500 {
			rows := t.Rows[from:min(from+500, len(t.Rows))]
			one := "(" + strings.TrimSuffix(strings.Repeat("?,", len(t.Columns)), ",") + ")"
			var args []any
			for _, r := range rows {
				args = append(args, r...)
			}
			statement := "INSERT INTO " + t.Name + " (" + strings.Join(t.Columns, ",") + ") VALUES " +
				strings.TrimSuffix(strings.Repeat(one+",", len(rows)), ",")
			if _, err := db.ExecContext(ctx, statement, args...); err != nil {
				return fmt.Errorf("seeding %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// mintedUsers lists the users that the gateway made and that still exist.
func mintedUsers(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT User FROM mysql.user")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, "chp_") {
			names = append(names, name)
		}
	}
	return names, rows.Err()
}

// writeConfig writes a real configuration with fresh keys, and loads it.
func writeConfig(home, base, issuer string, port int, admin masking.Secret) (*config.Config, error) {
	path := func(name string) string { return filepath.Join(home, name) }
	signing, public, err1 := evidence.GenerateSigner("demo")
	_, auditor, err2 := evidence.GenerateIdentity(false)
	approvals, _, err3 := evidence.GenerateIdentity(false)
	errs := []error{err1, err2, err3}
	for name, secret := range map[string]masking.Secret{"signing.key": signing, "approvals.key": approvals,
		"token.key": masking.Secret(randomHex()), "session.key": masking.Secret(randomHex()), "admin": admin} {
		errs = append(errs, os.WriteFile(path(name), []byte(secret.Reveal()), 0o600))
	}
	errs = append(errs, os.WriteFile(path("verifier-keys.txt"), []byte(public+"\n"), 0o644))
	var columns []string
	for name, class := range clinicdata.Decided() {
		columns = append(columns, fmt.Sprintf("      %s: %s\n", name, class))
	}
	sort.Strings(columns)
	text := fmt.Sprintf(`instance: demo
listen: %s
public_url: %s
identity:
  issuer: %s
  audience: %s
  roles_claim: chaperone_roles
  login: {client_id: %s, scopes: [profile], session_key: {file: %s}}
store: {dir: {path: %s}, retention: 24h}
evidence:
  signing_key: {file: %s}
  verifier_keys: %s
  auditors: [%s]
  heartbeat: 5s
approvals: {key: {file: %s}}
masking: {token_key: {file: %s}, mrn_pattern: '%s'}
connections:
  clinic:
    description: The demo clinic, embedded
    engine: mysql
    host: 127.0.0.1
    port: %d
    database: %s
    tls: {mode: "off"}
    credentials: {issuer: native, admin_user: %s, admin_password: {file: %s}}
    columns:
%s`, strings.TrimPrefix(base, "http://"), base, issuer, oidcop.Audience, oidcop.PageClient, path("session.key"), path("store"),
		path("signing.key"), path("verifier-keys.txt"), auditor, path("approvals.key"), path("token.key"), clinicdata.MRNPattern,
		port, connection, adminUser, path("admin"), strings.Join(columns, ""))
	errs = append(errs, os.WriteFile(path("chaperone.yaml"), []byte(text), 0o600))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return config.Load(path("chaperone.yaml"))
}

func randomHex() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// verify checks the demo's recordings, or a copy of them, with public keys.
func verify(ctx context.Context, home, copied string) ([]string, error) {
	path, isCopy := copied, true
	if path == "" {
		path, isCopy = filepath.Join(home, "store"), false
	}
	store, err := dir.New(dir.Config{Path: path, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	trusted, err := evidence.LoadVerifiers(filepath.Join(home, "verifier-keys.txt"))
	if err != nil {
		return nil, err
	}
	o := evidence.Options{Copy: isCopy}
	if !isCopy {
		o.Now = time.Now()
	}
	report, err := evidence.Verify(ctx, store, trusted, o)
	if err != nil {
		return nil, err
	}
	var findings []string
	for _, f := range report.Findings {
		findings = append(findings, fmt.Sprintf("%s: %s", f.Object, f.Message))
	}
	return findings, nil
}

// tamper copies the recordings and changes one byte of one segment.
func tamper(ctx context.Context, home string) (copied, object string, err error) {
	copied = filepath.Join(home, "copy")
	from, err := dir.New(dir.Config{Path: filepath.Join(home, "store"), ReadOnly: true})
	if err != nil {
		return "", "", err
	}
	to, err := dir.New(dir.Config{Path: copied})
	if err != nil {
		return "", "", err
	}
	if _, err := evidence.Fetch(ctx, from, to, "evidence/"); err != nil {
		return "", "", err
	}
	segments, err := filepath.Glob(filepath.Join(copied, "evidence", "*", "segments", "*"))
	if err != nil || len(segments) < 3 {
		return "", "", fmt.Errorf("%d segments in the copy: %w", len(segments), err)
	}
	victim := segments[len(segments)/2]
	b, err := os.ReadFile(victim)
	if err != nil {
		return "", "", err
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(victim, 0o600), os.WriteFile(victim, b, 0o600)); err != nil {
		return "", "", err
	}
	return copied, filepath.Base(victim), nil
}
