package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

// maskedClinic is a clinic whose masks are in the database, and a user who is in
// the reader's role only.
type maskedClinic struct {
	*clinic
	masks  connectors.Masks
	names  connectors.MaskNames
	user   *pgx.Conn
	target connectors.Target
	login  connectors.Credential
}

func openMasked(t *testing.T) *maskedClinic {
	t.Helper()
	ctx := t.Context()
	c := openClinic(t, 0)
	var random [4]byte
	_, _ = rand.Read(random[:])
	m := &maskedClinic{clinic: c, names: connectors.NewMaskNames("m_" + hex.EncodeToString(random[:]))}
	cfg := c.db.Config()
	m.target = connectors.Target{Host: cfg.Host, Port: int(cfg.Port), Database: cfg.Database, SearchPath: []string{"public"}, MaskedSchema: m.names.Schema,
		ConnectTimeout: 5 * time.Second}
	admin := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port), Path: "/" + cfg.Database}
	var err error
	if m.masks, err = New().OpenMasks(ctx, masking.Secret(admin.String()), m.target, c.classes, m.names); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.masks.Close(context.Background()) })
	if err := m.masks.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	minted := "u_" + m.names.Schema
	m.exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'pw' IN ROLE %s", minted, m.names.Reader))
	t.Cleanup(func() { // roles outlive the database
		background := context.Background()
		if m.user != nil {
			_ = m.user.Close(background)
		}
		_ = m.masks.Drop(background)
		_, _ = c.db.Exec(background, "DROP OWNED BY "+minted)
		_, _ = c.db.Exec(background, "DROP ROLE "+minted)
	})
	m.login = connectors.Credential{Username: minted, Password: "pw"}
	config := cfg.Copy()
	config.User, config.Password, config.RuntimeParams = minted, "pw", map[string]string{"search_path": m.names.Schema}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if m.user, err = pgx.ConnectConfig(ctx, config); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *maskedClinic) exec(t *testing.T, text string) {
	t.Helper()
	if _, err := m.db.Exec(t.Context(), text); err != nil {
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

// raw runs text as the masked user and gives everything that came back.
func raw(t *testing.T, conn *pgx.Conn, text string) string {
	t.Helper()
	var b bytes.Buffer
	results, err := conn.PgConn().Exec(t.Context(), text).ReadAll()
	for _, r := range results {
		for _, row := range r.Rows {
			b.Write(bytes.Join(row, []byte("|")))
			b.WriteByte('\n')
		}
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		fmt.Fprintf(&b, "%s %s %s %s %s", server.Code, server.Message, server.Detail, server.Hint, server.Where)
	} else if err != nil {
		b.WriteString(err.Error())
	}
	return b.String()
}

func TestMasksDiff(t *testing.T) {
	m := openMasked(t)
	n := m.names
	if d := m.diff(t); d != "" {
		t.Fatalf("a fresh installation differs:\n%s", d)
	}
	for _, c := range []struct{ name, change, back, want string }{
		{"tampered", "CREATE OR REPLACE VIEW %[1]s.claims AS SELECT id, patient_id, amount, payer, member_id FROM public.claims", "", "claims: changed: its definition"},
		{"tampered beside its mask", "CREATE OR REPLACE VIEW %[1]s.wards AS SELECT id, name, (SELECT left(max(ssn), 100) FROM public.patients)::varchar(100) AS note FROM public.wards", "", "wards: changed: its definition"},
		{"missing", "DROP VIEW %[1]s.patients", "", "patients: missing"},
		{"no barrier", "ALTER VIEW %[1]s.patients RESET (security_barrier)", "", "patients: changed: its options"},
		{"comment", "COMMENT ON VIEW %[1]s.patients IS 'x'", "", "patients: changed: it was made of another text"},
		{"stale view", "CREATE VIEW %[1]s.extra AS SELECT ssn FROM public.patients", "DROP VIEW %[1]s.extra", "extra: stale"},
		{"grant", "GRANT SELECT ON public.patients TO %[2]s", "REVOKE ALL ON public.patients FROM %[2]s", "patients: too many privileges"},
		{"column grant", "GRANT SELECT (ssn) ON public.patients TO %[2]s", "REVOKE SELECT (ssn) ON public.patients FROM %[2]s", "patients: too many privileges"},
		{"grant to everybody", "GRANT SELECT ON public.claims TO PUBLIC", "REVOKE ALL ON public.claims FROM PUBLIC", "claims: too many privileges"},
		{"membership", "GRANT chaperone_ro TO %[2]s", "REVOKE chaperone_ro FROM %[2]s", "member of chaperone_ro"},
		{"somebody acts as the owner", "GRANT %[3]s TO %[2]s", "REVOKE %[3]s FROM %[2]s", "member of"},
		{"attribute", "ALTER ROLE %[2]s BYPASSRLS", "ALTER ROLE %[2]s NOBYPASSRLS", "NOLOGIN role without attributes"},
		{"statistics", "GRANT SELECT ON pg_catalog.pg_statistic TO %[2]s", "REVOKE ALL ON pg_catalog.pg_statistic FROM %[2]s", "pg_statistic: too many"},
		{"definer function", "CREATE FUNCTION public.leak() RETURNS text SECURITY DEFINER LANGUAGE sql AS 'SELECT max(ssn) FROM public.patients'", "DROP FUNCTION public.leak()", "leak(): too many privileges"},
		{"write", "GRANT INSERT ON %[1]s.wards TO %[2]s", "", "wards: too many privileges"},
		{"new column", "ALTER TABLE public.wards ADD extra text", "ALTER TABLE public.wards DROP extra", "wards: changed"},
		{"new table", "CREATE TABLE public.fresh (id int)", "DROP VIEW IF EXISTS %[1]s.fresh; DROP TABLE public.fresh", "fresh: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.exec(t, fmt.Sprintf(c.change+" -- %[1]s%[2]s%[3]s", n.Schema, n.Reader, n.Owner))
			if d := m.diff(t); !strings.Contains(d, c.want) {
				t.Errorf("diff finds %q, want %q", d, c.want)
			}
			if c.back != "" {
				for _, s := range strings.Split(c.back, "; ") {
					m.exec(t, fmt.Sprintf(s+" -- %[1]s%[2]s%[3]s", n.Schema, n.Reader, n.Owner))
				}
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
	before := "SELECT (SELECT count(*) FROM pg_class WHERE relkind = 'v'), (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'm\\_%'), " +
		"(SELECT count(*) FROM pg_roles WHERE rolname LIKE '" + strings.ReplaceAll(m.names.Schema, "_", `\_`) + "%'), " +
		"(SELECT count(*) FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee NOT IN (SELECT oid FROM pg_roles) AND x.grantee <> 0)"
	m.exec(t, "CREATE TABLE "+m.names.Schema+".foreign_thing (id int)")
	if err := m.masks.Drop(t.Context()); err == nil {
		t.Error("drop takes along what it did not make")
	}
	m.exec(t, "DROP TABLE "+m.names.Schema+".foreign_thing")
	if err := m.masks.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := raw(t, m.db, before); !strings.HasSuffix(got, "|0|0|0\n") {
		t.Errorf("left behind: %s", got)
	}
	if d := m.diff(t); strings.Count(d, ": missing") != 3 {
		t.Errorf("after drop diff says %s", d)
	}
}

// TestMasksWithoutRewriting: the client's own text, sent as it is by a user in
// the masked role, reaches no protected value. No gateway has a part in it.
func TestMasksWithoutRewriting(t *testing.T) {
	m := openMasked(t)
	canaries := clinicdata.Canaries(clinicdata.Tables(200, 0), 200)
	for _, text := range []string{"SELECT ssn FROM public.patients", "SELECT * FROM public.child", "SELECT x FROM public.legacy", "TABLE public.copied",
		"SET ROLE chaperone_ro", "SET ROLE " + m.names.Owner, "SELECT * FROM pg_statistic", "COPY public.patients TO STDOUT"} {
		if got := raw(t, m.user, text); !strings.Contains(got, "42501") {
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
	answered := 0
	statements := []string{"SELECT * FROM legacy", "SELECT * FROM child", "SELECT * FROM pg_stats", "SELECT patients::text, row_to_json(patients) FROM patients", "SELECT * FROM patients WHERE cast(ssn AS int) = 1",
		"SELECT 1/(length(ssn)-10) FROM patients", "SELECT * FROM patients WHERE dob::text::int > 0", "SELECT xmlparse(content '<' || address) FROM patients",
		"EXPLAIN (VERBOSE, ANALYZE) SELECT * FROM patients WHERE ssn > '9'", "SELECT count(*) FROM patients WHERE ssn LIKE '9%'",
		"SELECT query_to_xml('SELECT * FROM patients', true, true, '')", "SELECT * FROM encounters", "SELECT * FROM claims", "SELECT ctid, * FROM patients",
		"ANALYZE", "SELECT * FROM pg_statistic_ext_data", "SET log_statement_stats = on", "EXPLAIN SELECT dob, count(*) FROM patients GROUP BY 1",
		"SET client_min_messages = debug5; SET debug_print_plan = on; SELECT * FROM patients WHERE id = 1", "CREATE TEMP TABLE t AS SELECT * FROM patients; SELECT * FROM t",
		"CREATE TEMP VIEW v AS SELECT * FROM patients; SELECT * FROM v", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM patients; FETCH ALL c",
		"PREPARE p AS SELECT * FROM patients; EXECUTE p", "COPY (SELECT * FROM patients) TO STDOUT", "SELECT * FROM patients FOR UPDATE",
		"DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM patients LOOP RAISE EXCEPTION '%', r; END LOOP; END $$",
		"SELECT pg_get_viewdef('patients'::regclass)", "SELECT * FROM cursor_to_xmlschema('c', true, true, '')", "SELECT table_to_xml('patients', true, true, '')",
		"SELECT * FROM pg_logical_slot_get_changes('x', NULL, NULL)", "SELECT database_to_xml(true, true, '')", "SELECT * FROM patients TABLESAMPLE SYSTEM (100)",
		"SELECT pg_read_file('/etc/passwd')", "SELECT lo_import('/etc/passwd')", "SELECT * FROM pg_stat_activity"}
	for _, e := range corpus {
		statements = append(statements, e.Statement)
	}
	for _, text := range statements {
		_ = raw(t, m.user, "ROLLBACK")
		got := raw(t, m.user, text)
		if got != "" && !strings.HasPrefix(got, "42") {
			answered++
		}
		for _, value := range canaries {
			if strings.Contains(got, value) && !strings.Contains(text, value) {
				t.Errorf("%s: reaches %q", text, value)
				break
			}
		}
	}
	if answered < len(statements)/4 {
		t.Errorf("only %d of %d statements answered anything: the test shows nothing", answered, len(statements))
	}
	t.Logf("%d of %d statements answered something", answered, len(statements))
	if got := raw(t, m.user, "SELECT count(*), count(DISTINCT mrn), min(mrn), min(zip), max(length(zip)), count(DISTINCT dob) > 5 FROM patients"); got != "200|1|[redacted]|000|3|t\n" {
		t.Errorf("the masks are not in the views: %q", got)
	}
	// A function of the user's own with no cost is what a planner pushes down
	// first. It sees masked values only.
	leaky := raw(t, m.user, `CREATE FUNCTION pg_temp.leak(v text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN
		IF v IS NOT NULL AND v <> '[redacted]' THEN RAISE EXCEPTION 'saw %', v; END IF; RETURN true; END $$;
		SELECT count(*) FROM patients WHERE pg_temp.leak(ssn) AND pg_temp.leak(mrn) AND pg_temp.leak(address) AND id > 0`)
	if leaky != "200\n" {
		t.Errorf("a leaky function: %q", leaky)
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
	for _, text := range []string{
		"SELECT * FROM patients ORDER BY id", "SELECT public.patients.zip, count(*) FROM public.patients GROUP BY 1 ORDER BY 1",
		"SELECT w.name, wards.* FROM wards, wards AS w ORDER BY 1, 2, 3", "SELECT public.wards.name FROM public.wards ORDER BY 1",
		"SELECT * FROM ward_names ORDER BY id", "SELECT p.dob, e.admitted_at, e.notes FROM patients p JOIN encounters e ON e.patient_id = p.id ORDER BY p.id, e.id",
		"WITH c AS (SELECT member_id, amount FROM claims) SELECT count(*) FROM c", "SELECT count(*) FROM wards",
	} {
		masked, err := e.Analyze(cat, in(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if strings.Contains(masked.Text, "FROM public.") || !strings.Contains(masked.Text, m.names.Schema) {
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
		if _, err := s.Prepare(ctx, masked, nil, connectors.Limits{Timeout: time.Second, LockTimeout: time.Second, Classes: m.classes}); err != nil {
			t.Errorf("%s: prepare: %v", text, err)
		}
		_, _ = s.(*session).conn.Exec(ctx, "ROLLBACK; DEALLOCATE ALL")
	}
	for text, want := range map[string]string{
		"SELECT * FROM patients WHERE mrn = 'MRN-0000001'": "neither looked up nor opened",
		"UPDATE wards SET note = 'x' WHERE id = 1":         "cannot write",
		"SELECT * FROM ONLY patients":                      "ONLY",
		"SELECT * FROM " + m.names.Schema + ".wards":       "has no masked view",
	} {
		if _, err := e.Analyze(cat, in(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	opened := in("SELECT count(*) FROM patients WHERE ssn = 'x'")
	opened.Open = []string{"u1"}
	if _, err := e.Analyze(cat, opened); err == nil {
		t.Error("an approval opens a raw column that is not there")
	}
	if st, err := e.Analyze(cat, in("SELECT count(*) FROM patients WHERE ssn = 'x'")); err != nil || st.Uses[0].Openable {
		t.Errorf("an approval is offered that could open nothing: %v", err)
	}
	// A view that was swapped shows nothing, and is refused once the catalog is read.
	st, err := e.Analyze(cat, in("SELECT ssn, zip, dob FROM patients WHERE ssn IS NOT NULL"))
	if err != nil {
		t.Fatal(err)
	}
	m.exec(t, "CREATE OR REPLACE VIEW "+m.names.Schema+".patients AS SELECT id, mrn, first_name, last_name, ssn, dob, phone, email, address, zip, insurance_id, created_at FROM public.patients")
	for _, value := range clinicdata.Canaries(clinicdata.Tables(200, 0), 200) {
		if strings.Contains(raw(t, m.user, st.Text), value) {
			t.Fatalf("a changed view shows %q through the gateway", value)
		}
	}
	if _, err := s.Prepare(ctx, st, nil, connectors.Limits{Timeout: time.Second, LockTimeout: time.Second, Classes: m.classes}); !errors.Is(err, connectors.ErrCatalogChanged) {
		t.Errorf("a changed view is not noticed: %v", err)
	}
	// A column classified since is not read unmasked.
	columns := map[masking.ColumnRef]string{{Schema: "public", Relation: "wards", Column: "note"}: "free_text"}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	late := in("SELECT * FROM wards")
	late.Classes = classes
	if _, err := e.Analyze(cat, late); err == nil || !strings.Contains(err.Error(), "not what the configuration asks for") {
		t.Errorf("a view without a mask that is asked for now: %v", err)
	}
}

// TestMasksByOrdinaryAdministrator: CREATEROLE and the right to pass SELECT on
// are enough, and the administrator keeps no way to act as the owner.
func TestMasksByOrdinaryAdministrator(t *testing.T) {
	m := openMasked(t)
	ctx := t.Context()
	adm := "adm_" + m.names.Schema
	for _, s := range []string{"CREATE ROLE %[1]s LOGIN PASSWORD 'pw' CREATEROLE", "GRANT CREATE, CONNECT ON DATABASE %[2]s TO %[1]s WITH GRANT OPTION",
		"GRANT USAGE ON SCHEMA public TO %[1]s WITH GRANT OPTION", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[1]s WITH GRANT OPTION"} {
		m.exec(t, fmt.Sprintf(s+" -- %[1]s %[2]s", adm, m.target.Database))
	}
	t.Cleanup(func() {
		_, _ = m.db.Exec(context.Background(), "DROP OWNED BY "+adm+" CASCADE")
		_, _ = m.db.Exec(context.Background(), "DROP ROLE "+adm)
	})
	u := url.URL{Scheme: "postgres", User: url.UserPassword(adm, "pw"), Host: fmt.Sprintf("%s:%d", m.target.Host, m.target.Port), Path: "/" + m.target.Database}
	masks, err := New().OpenMasks(ctx, masking.Secret(u.String()), m.target, m.classes, connectors.NewMaskNames(m.names.Schema+"x"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = masks.Close(context.Background()) }()
	for range 2 {
		if err := masks.Apply(ctx); err != nil {
			t.Fatal(err)
		}
		if d, err := masks.Diff(ctx); err != nil || len(d) > 0 {
			t.Errorf("diff: %v %v", d, err)
		}
	}
	if err := masks.Drop(ctx); err != nil {
		t.Fatal(err)
	}
}
