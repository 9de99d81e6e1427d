package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// TestMasksCommand: print first, apply, find a change, drop; the exit code
// tells, and the DSN is never printed.
func TestMasksCommand(t *testing.T) {
	ctx := t.Context()
	db := testenv.Postgres(t)
	if err := testenv.SeedPostgres(ctx, db, clinicdata.Tables(5, 0), "vaultpw"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	var out bytes.Buffer
	command := func(want int, args ...string) string {
		t.Helper()
		out.Reset()
		if got := run(ctx, args, &out, &out); got != want {
			t.Fatalf("%v: exit code %d, want %d:\n%s", args, got, want, out.String())
		}
		if strings.Contains(out.String(), db.AdminPassword) {
			t.Fatalf("%v prints the password", args)
		}
		return out.String()
	}
	command(exitOK, "keys", "signing", "--name", "t1", "--out", path("signing.key"))
	auditor := ""
	for _, name := range []string{"approvals.key", "auditor.key"} {
		for _, word := range strings.Fields(command(exitOK, "keys", "age", "--out", path(name))) {
			if strings.HasPrefix(word, "age1") {
				auditor = word
			}
		}
	}
	var random [32]byte
	_, _ = rand.Read(random[:])
	schema := "k_" + hex.EncodeToString(random[:4])
	for name, text := range map[string]string{"token.key": hex.EncodeToString(random[:]), "admin": db.AdminPassword, "dsn": db.DSN} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`instance: t1
listen: 127.0.0.1:0
public_url: http://127.0.0.1:8080
identity: {issuer: "http://127.0.0.1:9", audience: a, roles_claim: roles}
store: {dir: {path: %[1]s/store}, retention: 24h}
evidence: {signing_key: {file: %[1]s/signing.key}, auditors: [%[2]s]}
approvals: {key: {file: %[1]s/approvals.key}}
masking: {token_key: {file: %[1]s/token.key}, mrn_pattern: 'MRN-\d{7}'}
connections:
  clinic:
    engine: postgres
    host: %[3]s
    port: %[4]d
    database: %[5]s
    masked_schema: %[6]s
    tls: {mode: "off"}
    credentials: {issuer: native, admin_user: postgres, admin_password: {file: %[1]s/admin}, read_group: %[6]s_ro}
    columns: {public.patients.ssn: ssn, public.patients.dob: birth_date}
`, dir, auditor, db.Host, db.Port, db.Name, schema)
	if err := os.WriteFile(path("c.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	masks := func(want int, verb string, more ...string) string {
		t.Helper()
		return command(want, append([]string{"masks", verb, "--config", path("c.yaml"), "--connection", "clinic", "--dsn-file", path("dsn")}, more...)...)
	}
	t.Cleanup(func() {
		_ = run(context.Background(), []string{"masks", "drop", "--config", path("c.yaml"), "--connection", "clinic", "--dsn-file", path("dsn"), "--yes"}, &out, &out)
	})
	for _, more := range [][]string{{}, {"--print"}, {"--print", "--yes"}} {
		if got := masks(exitOK, "apply", more...); !strings.Contains(got, "CREATE VIEW") || !strings.Contains(got, "Nothing was changed") {
			t.Errorf("apply %v prints %s", more, got)
		}
	}
	if got := masks(exitFindings, "diff"); !strings.Contains(got, "missing") {
		t.Errorf("diff before apply: %s", got)
	}
	masks(exitOK, "apply", "--yes")
	masks(exitOK, "diff")
	conn, err := pgx.Connect(ctx, db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(ctx, "GRANT SELECT ON patients TO "+schema+"_ro"); err != nil {
		t.Fatal(err)
	}
	if got := masks(exitFindings, "diff"); !strings.Contains(got, "patients: too many privileges") {
		t.Errorf("diff: %s", got)
	}
	if got := masks(exitOK, "drop"); !strings.Contains(got, "DROP SCHEMA") {
		t.Errorf("drop prints %s", got)
	}
	masks(exitOK, "drop", "--yes")
	command(exitFailed, "masks", "apply", "--config", path("c.yaml"), "--connection", "clinic") // no DSN
	command(exitFailed, "masks", "undo", "--config", path("c.yaml"))
	command(exitFailed, "masks", "diff", "--config", path("c.yaml"), "--connection", "other", "--dsn-file", path("dsn"))
	masks(exitFailed, "apply", "--schema", "pg_bad")
}
