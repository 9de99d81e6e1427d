package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// maskedClinic is a clinic whose masks are in the database, and a user who has
// the reader's role only.
type maskedClinic struct {
	*clinic
	masks  connectors.Masks
	names  connectors.MaskNames
	user   *sql.Conn
	target connectors.Target
	login  connectors.Credential
}

func openMasked(t *testing.T) *maskedClinic {
	t.Helper()
	ctx := t.Context()
	c := openClinic(t, 0)
	dsn, err := url.Parse(os.Getenv(testenv.EnvMariaDB))
	if err != nil || dsn.Host == "" {
		t.Skip("needs the shared MariaDB")
	}
	var random [4]byte
	_, _ = rand.Read(random[:])
	m := &maskedClinic{clinic: c, names: connectors.NewMaskNames("m_" + hex.EncodeToString(random[:]))}
	port, _ := strconv.Atoi(dsn.Port())
	m.target = connectors.Target{Host: dsn.Hostname(), Port: port, Database: c.cat.database, MaskedSchema: m.names.Schema, ConnectTimeout: 5 * time.Second}
	dsn.Path = "/" + c.cat.database
	if m.masks, err = New().OpenMasks(ctx, masking.Secret(dsn.String()), m.target, c.classes, m.names); err != nil {
		t.Fatal(err)
	}
	minted := "u_" + m.names.Schema
	t.Cleanup(func() { // accounts outlive the database
		background := context.Background()
		_, _ = c.db.Exec("DROP VIEW IF EXISTS " + m.names.Schema + ".extra")
		_ = m.masks.Drop(background)
		_ = m.masks.Close(background)
		_, _ = c.db.Exec("DROP USER IF EXISTS " + minted)
	})
	if err := m.masks.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"CREATE USER " + minted + " IDENTIFIED BY 'pw'", "GRANT " + m.names.Reader + " TO " + minted,
		"SET DEFAULT ROLE " + m.names.Reader + " FOR " + minted} {
		m.exec(t, s)
	}
	m.login = connectors.Credential{Username: minted, Password: "pw"}
	cfg := driversql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName, cfg.MultiStatements = minted, "pw", "tcp", dsn.Host, m.names.Schema, true
	connector, err := driversql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	if m.user, err = db.Conn(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.user.ExecContext(ctx, "SET NAMES utf8mb4 COLLATE "+collation); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *maskedClinic) exec(t *testing.T, text string) {
	t.Helper()
	if _, err := m.db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func (m *maskedClinic) diff(t *testing.T) string {
	t.Helper()
	list, err := m.masks.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range list {
		lines = append(lines, d.Object+": "+d.Problem)
	}
	return strings.Join(lines, "\n")
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// raw runs text and gives everything that came back.
func raw(t *testing.T, q queryer, text string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	rows, err := q.QueryContext(ctx, text)
	if err != nil {
		return "error " + err.Error()
	}
	defer rows.Close()
	cols, _ := rows.Columns()
	cells := make([]sql.RawBytes, len(cols))
	dest := make([]any, len(cols))
	for i := range cells {
		dest[i] = &cells[i]
	}
	var b strings.Builder
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return b.String() + "error " + err.Error()
		}
		for i, v := range cells {
			if i > 0 {
				b.WriteByte('|')
			}
			if v == nil {
				b.WriteString("NULL")
			}
			b.Write(v)
		}
		b.WriteByte('\n')
	}
	if err := rows.Err(); err != nil {
		b.WriteString("error " + err.Error())
	}
	return b.String()
}

func TestMasksDiff(t *testing.T) {
	m := openMasked(t)
	n := m.names
	replace := strings.NewReplacer("$base", m.target.Database, "$masked", n.Schema, "$reader", n.Reader, "$owner", "'"+n.Owner+"'@'localhost'")
	if d := m.diff(t); d != "" {
		t.Fatalf("a fresh installation differs:\n%s", d)
	}
	for _, c := range []struct{ name, change, back, want string }{
		{"tampered", "CREATE OR REPLACE DEFINER=$owner VIEW $masked.claims AS SELECT id, patient_id, amount, payer, member_id FROM $base.claims", "", "claims: changed: its definition"},
		{"invoker", "ALTER DEFINER=$owner SQL SECURITY INVOKER VIEW $masked.ward_names AS SELECT `id`, `name` FROM $base.ward_names", "", "ward_names: changed: SQL SECURITY"},
		{"missing", "DROP VIEW $masked.patients", "", "patients: missing"},
		{"stale view", "CREATE DEFINER=$owner VIEW $masked.extra AS SELECT ssn FROM $base.patients", "", "extra: stale"},
		{"stale table", "CREATE TABLE $masked.extra AS SELECT ssn FROM $base.patients", "DROP TABLE $masked.extra", "extra: stale"},
		{"grant", "GRANT SELECT ON $base.patients TO $reader", "", "too many privileges: GRANT SELECT ON"},
		{"column grant", "GRANT SELECT (ssn) ON $base.patients TO $reader", "", "too many privileges: GRANT SELECT (`ssn`)"},
		{"whole database", "GRANT SELECT ON $base.* TO $reader", "", "too many privileges"},
		{"file", "GRANT FILE ON *.* TO $reader", "REVOKE FILE ON *.* FROM $reader", "too many privileges: GRANT FILE"},
		{"membership", "GRANT chaperone_ro TO $reader", "REVOKE chaperone_ro FROM $reader", "too many privileges: GRANT `chaperone_ro`"},
		{"write", "GRANT INSERT ON $masked.wards TO $reader", "REVOKE INSERT ON $masked.wards FROM $reader", "too many privileges"},
		{"lost", "REVOKE SELECT ON $masked.wards FROM $reader", "", "missing: GRANT SELECT"},
		{"unlocked", "ALTER USER $owner ACCOUNT UNLOCK", "ALTER USER $owner ACCOUNT LOCK", "can log in"},
		{"routine", "CREATE FUNCTION $masked.leak() RETURNS text READS SQL DATA RETURN (SELECT max(ssn) FROM $base.patients)", "DROP FUNCTION $masked.leak", "leak: stale"},
		{"new column", "ALTER TABLE $base.wards ADD extra text", "ALTER TABLE $base.wards DROP extra", "wards: changed"},
		{"new table", "CREATE TABLE $base.fresh (id int)", "DROP TABLE $base.fresh", "fresh: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.exec(t, replace.Replace(c.change))
			if d := m.diff(t); !strings.Contains(d, c.want) {
				t.Errorf("diff finds %q, want %q", d, c.want)
			}
			if c.back != "" {
				m.exec(t, replace.Replace(c.back))
			}
			if err := m.masks.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := m.diff(t); d != "" {
				t.Fatalf("after apply:\n%s", d)
			}
		})
	}
}

func TestMasksDrop(t *testing.T) {
	m := openMasked(t)
	m.exec(t, "CREATE TABLE "+m.names.Schema+".foreign_thing (id int)")
	if err := m.masks.Drop(t.Context()); err == nil {
		t.Error("drop takes along what it did not make")
	}
	m.exec(t, "DROP TABLE "+m.names.Schema+".foreign_thing")
	if err := m.masks.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := strings.ReplaceAll("SELECT (SELECT count(*) FROM mysql.user WHERE user LIKE '$%'), (SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '$'), "+
		"(SELECT count(*) FROM mysql.tables_priv WHERE user LIKE '$%' OR Db = '$'), (SELECT count(*) FROM mysql.db WHERE user LIKE '$%' OR Db = '$')", "$", m.names.Schema)
	if got := raw(t, m.db, left); got != "0|0|0|0\n" {
		t.Errorf("left behind: %s", got)
	}
	if d := m.diff(t); strings.Count(d, ": missing") != 3 {
		t.Errorf("after drop diff says %s", d)
	}
}

// TestMasksWithoutRewriting: the client's own text, sent as it is by a user with
// the masked role, reaches no protected value. No gateway has a part in it.
func TestMasksWithoutRewriting(t *testing.T) {
	m := openMasked(t)
	canaries := clinicdata.Canaries(clinicdata.Tables(200, 0), 200)
	base := m.target.Database
	for _, text := range []string{"SELECT ssn FROM " + base + ".patients", "SELECT x FROM " + base + ".legacy", "SELECT " + base + ".peek(1)",
		"USE " + base, "SET ROLE chaperone_ro", "SELECT * FROM mysql.user", "SHOW CREATE TABLE " + base + ".patients",
		"SELECT * FROM mysql.column_stats", "LOAD DATA INFILE '/etc/passwd' INTO TABLE wards"} {
		if got := raw(t, m.user, text); !strings.HasPrefix(got, "error Error 1") {
			t.Errorf("%s: not refused: %.200s", text, got)
		}
	}
	file, err := os.ReadFile(filepath.Join("testdata", "analysis", "statements.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var corpus []entry
	if err := yaml.Unmarshal(file, &corpus); err != nil {
		t.Fatal(err)
	}
	statements := []string{"SELECT * FROM legacy", "SELECT * FROM encounters", "SELECT * FROM claims", "SELECT * FROM patients WHERE cast(ssn AS int) = 1",
		"SELECT extractvalue(1, concat('~', ssn)) FROM patients", "SELECT updatexml(1, concat('~', mrn), 1) FROM patients", "SELECT CAST(address AS date) FROM patients; SHOW WARNINGS",
		"SELECT exp(length(ssn) * 1000) FROM patients", "SELECT * FROM patients WHERE dob + 0 > 0", "EXPLAIN FORMAT=JSON SELECT * FROM patients WHERE ssn > '9'",
		"ANALYZE FORMAT=JSON SELECT * FROM patients WHERE ssn > '9'", "SHOW CREATE VIEW patients", "SELECT load_file('/etc/passwd')",
		"SELECT * FROM information_schema.PROCESSLIST", "SELECT * FROM information_schema.COLUMNS", "SELECT json_arrayagg(address) FROM patients",
		"SET timestamp = 1; SELECT * FROM patients", "SHOW TABLES", "SELECT count(*) FROM patients WHERE ssn LIKE '9%'"}
	for _, e := range corpus {
		statements = append(statements, e.Statement)
	}
	// What a server says about how it ran a statement: a table of which one row
	// is read becomes constants in it.
	statements = append(statements, "SET optimizer_trace = 'enabled=on'", "SELECT * FROM patients WHERE id = 1", "SELECT * FROM information_schema.OPTIMIZER_TRACE",
		"EXPLAIN EXTENDED SELECT * FROM patients WHERE id = 1 AND ssn > '1'", "SHOW WARNINGS", "ANALYZE SELECT * FROM patients WHERE id = 1 AND ssn > '1'", "SHOW WARNINGS",
		"ANALYZE FORMAT=JSON SELECT * FROM patients WHERE id = 1", "SELECT * FROM patients PROCEDURE ANALYSE()", "SELECT * FROM patients WHERE id = 1 PROCEDURE ANALYSE()",
		"SELECT * FROM patients WHERE ssn = 1", "SHOW WARNINGS", "SELECT CAST(mrn AS datetime) FROM patients", "SHOW WARNINGS", "SELECT default(ssn) FROM patients",
		"HANDLER patients OPEN", "CHECKSUM TABLE patients EXTENDED", "SHOW STATUS LIKE 'Last_query%'", "SHOW PROFILES", "SHOW EXPLAIN FOR 1",
		"CREATE TEMPORARY TABLE patients AS SELECT 1", "PREPARE p FROM 'SELECT * FROM patients'", "EXECUTE p", "DESCRIBE patients", "SHOW FULL COLUMNS FROM patients",
		"SELECT * FROM information_schema.STATISTICS", "SELECT * FROM information_schema.VIEWS")
	answered := 0
	for _, text := range statements {
		got := raw(t, m.user, text)
		if got != "" && !strings.HasPrefix(got, "error") {
			answered++
		}
		for _, value := range canaries {
			if strings.Contains(got, value) && !strings.Contains(text, value) {
				t.Errorf("%s: reaches %q", text, value)
				break
			}
		}
	}
	t.Logf("%d of %d statements answered something", answered, len(statements))
	if answered < len(statements)/4 {
		t.Error("too few statements answered anything: the test shows nothing")
	}
	if got := raw(t, m.user, "SELECT count(*), count(DISTINCT mrn), min(mrn), min(zip), max(length(zip)), count(DISTINCT dob) > 5 FROM patients"); got != "200|1|[redacted]|000|3|1\n" {
		t.Errorf("the masks are not in the views: %q", got)
	}
	_ = raw(t, m.user, "SET timestamp = 1")
	now := time.Now().UTC().Year()
	if got := raw(t, m.user, "SELECT min(dob) FROM patients"); !strings.HasPrefix(got, strconv.Itoa(now-90)) {
		t.Errorf("a session's own clock decides who is 90: %q", got)
	}
}

// TestMasksThroughTheGateway: the rewritten statement reads the views, and
// answers as it does over the tables.
func TestMasksThroughTheGateway(t *testing.T) {
	m := openMasked(t)
	ctx := t.Context()
	e := New()
	s, err := e.Connect(ctx, m.target, m.login)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	cat, err := s.Catalog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in := func(text string) connectors.Input {
		i := m.input(text, 0)
		i.Today = time.Now().UTC()
		return i
	}
	limits := connectors.Limits{Timeout: 5 * time.Second, LockTimeout: time.Second, Classes: m.classes}
	base := m.target.Database
	for _, text := range []string{
		"SELECT * FROM patients ORDER BY id", "SELECT " + base + ".patients.zip, count(*) FROM " + base + ".patients GROUP BY 1 ORDER BY 1",
		"SELECT w.name, wards.* FROM wards, wards AS w ORDER BY 1, 2, 3", "SELECT " + base + ".wards.name FROM " + base + ".wards ORDER BY 1",
		"SELECT * FROM ward_names ORDER BY id", "SELECT p.dob, e.admitted_at, e.notes FROM patients p JOIN encounters e ON e.patient_id = p.id ORDER BY p.id, e.id",
		"WITH c AS (SELECT member_id, amount FROM claims) SELECT count(*) FROM c", "SELECT count(*) FROM wards",
	} {
		masked, err := e.Analyze(cat, in(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if strings.Contains(masked.Text, "FROM `"+base+"`") || !strings.Contains(masked.Text, m.names.Schema) {
			t.Errorf("%s: reads the base: %s", text, masked.Text)
		}
		plain, err := e.Analyze(m.cat, in(text))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(masked.Shape, masked.Uses, masked.Outputs) != fmt.Sprint(plain.Shape, plain.Uses, plain.Outputs) {
			t.Errorf("%s: understood as\n%+v %+v %+v, over the tables as\n%+v %+v %+v", text, masked.Shape, masked.Uses, masked.Outputs, plain.Shape, plain.Uses, plain.Outputs)
		}
		got, want := raw(t, m.user, masked.Text), raw(t, m.db, plain.Text)
		if got != want {
			t.Errorf("%s: through the views\n%.300s\nover the tables\n%.300s", text, got, want)
		}
		if _, err := s.Prepare(ctx, masked, nil, limits); err != nil {
			t.Errorf("%s: prepare: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"SELECT * FROM patients WHERE mrn = 'MRN-0000001'": "neither looked up nor opened",
		"UPDATE wards SET note = 'x' WHERE id = 1":         "cannot write",
		"SELECT * FROM " + m.names.Schema + ".patients":    "no such database",
	} {
		if _, err := e.Analyze(cat, in(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if st, err := e.Analyze(cat, in("SELECT count(*) FROM patients WHERE ssn = 'x'")); err != nil || st.Uses[0].Openable {
		t.Errorf("an approval is offered that could open nothing: %v", err)
	}
	// A view that was swapped shows nothing, and is noticed.
	st, err := e.Analyze(cat, in("SELECT ssn, zip, dob FROM patients WHERE ssn IS NOT NULL"))
	if err != nil {
		t.Fatal(err)
	}
	m.exec(t, fmt.Sprintf("CREATE OR REPLACE DEFINER='%s'@'localhost' VIEW %s.patients AS SELECT * FROM %s.patients", m.names.Owner, m.names.Schema, base))
	answer := raw(t, m.user, st.Text)
	if strings.HasPrefix(answer, "error") || answer == "" {
		t.Errorf("no answer: %s", answer)
	}
	for _, value := range clinicdata.Canaries(clinicdata.Tables(200, 0), 200) {
		if strings.Contains(answer, value) {
			t.Fatalf("a changed view shows %q through the gateway", value)
		}
	}
	if _, err := s.Prepare(ctx, st, nil, limits); !errors.Is(err, connectors.ErrCatalogChanged) {
		t.Errorf("a changed view is not noticed: %v", err)
	}
}
