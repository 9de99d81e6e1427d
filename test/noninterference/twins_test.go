// Package noninterference holds the gateway's understanding of SQL against two
// databases that differ in protected values only: whatever is allowed to run
// answers the same on both.
package noninterference

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/test/noninterference/grammar"
)

// patients in each database.
const patients = 60

// today is fixed, so that the bound of 90 years is.
var today = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// labs is a table beside the clinic's, with the types that it lacks.
type lab struct {
	id, patient        int
	code, doc, tags    string
	value, score       float64
	active             bool
	taken, comment, ip string
}

func labs(variant int) []lab {
	var out []lab
	for id := 1; id <= 2*patients; id++ {
		secret := fmt.Sprintf("secret%d%04d", 7+variant, (id*7919+variant*3571)%10000)
		out = append(out, lab{id: id, patient: 1 + id%patients, code: []string{"HBA1C", "LDL", "NA", "K"}[id%4],
			doc:  fmt.Sprintf(`{"contact": {"name": "%s", "n": %d}, "code": %d}`, secret, (id*31+variant*17)%1000, id%5),
			tags: secret + "-tag", value: float64(id%90) + 0.25, score: float64((id*37+variant*101)%1000) / 8, active: id%3 == 0,
			taken: fmt.Sprintf("202%d-%02d-%02d", id%6, 1+(id+variant)%12, 1+(id*3+variant)%28), comment: "about " + secret,
			ip: fmt.Sprintf("10.%d.%d.7", variant+1, id)})
	}
	return out
}

// clinic is one database of the twins.
type clinic struct {
	engine  connectors.Engine
	target  connectors.Target
	cred    connectors.Credential
	classes *masking.Classification
	cat     connectors.Catalog
	session connectors.Session
	used    int
	db      *testenv.Database
}

var postgresExtras = []string{
	`CREATE TABLE labs (id int PRIMARY KEY, patient_id int NOT NULL REFERENCES patients, code varchar(10) NOT NULL, doc jsonb, tags text[],
		value numeric(8,2), score double precision, active bool, taken date, comment char(40), ip inet, raw bytea,
		shout text GENERATED ALWAYS AS (upper(comment)) STORED)`,
	`CREATE TABLE visits (id int, patient_id int, day date, kind text) PARTITION BY RANGE (id)`,
	"CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (60)",
	"CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (60) TO (1000)",
	"INSERT INTO visits SELECT id, patient_id, admitted_at::date, provider FROM encounters",
	`CREATE VIEW people AS SELECT id, last_name, upper(first_name) AS shout, dob, zip, right(ssn, 4) AS last4, extract(year FROM dob)::int AS born, created_at FROM patients`,
	"CREATE VIEW stays AS SELECT e.id, e.patient_id, p.last_name, e.admitted_at, e.diagnosis_code, length(e.notes) AS len FROM encounters e JOIN patients p ON p.id = e.patient_id",
	"CREATE INDEX ON patients (last_name, id, created_at)", "CREATE INDEX ON labs (comment, id, code)",
	"ALTER TABLE patients SET (autovacuum_enabled = off)", "ALTER TABLE encounters SET (autovacuum_enabled = off)",
	"ALTER TABLE claims SET (autovacuum_enabled = off)", "ALTER TABLE medications SET (autovacuum_enabled = off)",
	"ALTER TABLE labs SET (autovacuum_enabled = off)",
}

var mysqlExtras = []string{
	`CREATE TABLE labs (id int PRIMARY KEY, patient_id int NOT NULL, code varchar(10) NOT NULL, doc json, tags varchar(60),
		value decimal(8,2), score double, active boolean, taken date, comment varchar(40), ip varchar(20), raw blob,
		shout varchar(60) AS (concat(comment, '!')) STORED)`,
	"CREATE TABLE visits (id int, patient_id int, day date, kind varchar(40)) PARTITION BY HASH (id) PARTITIONS 3",
	"INSERT INTO visits SELECT id, patient_id, date(admitted_at), provider FROM encounters",
	"CREATE INDEX by_name ON patients (last_name, id, created_at)", "CREATE INDEX by_comment ON labs (comment, code)",
	`CREATE VIEW people AS SELECT id, last_name, upper(first_name) AS shout, dob, zip, right(ssn, 4) AS last4, year(dob) AS born, created_at FROM patients`,
	"CREATE VIEW stays AS SELECT e.id, e.patient_id, p.last_name, e.admitted_at, e.diagnosis_code, length(e.notes) AS len FROM encounters e JOIN patients p ON p.id = e.patient_id",
}

// protectedExtras are the classes of the tables beside the clinic's.
var protectedExtras = map[string]string{
	"labs.doc": "other_id", "labs.tags": "other_id", "labs.score": "other_id", "labs.taken": "date", "labs.comment": "free_text",
	"labs.ip": "ip", "labs.raw": "photo", "visits.day": "date",
}

// tables are what the grammar may use.
func tables(d grammar.Dialect) []grammar.Table {
	const open, coarse, gone = grammar.Open, grammar.Generalised, grammar.Destroyed
	c := func(name string, t grammar.Type, s grammar.Seen) grammar.Column {
		return grammar.Column{Name: name, Type: t, Seen: s}
	}
	all := []grammar.Table{
		{Name: "patients", Columns: []grammar.Column{c("id", grammar.Int, open), c("mrn", grammar.Text, gone), c("first_name", grammar.Text, gone),
			c("last_name", grammar.Text, gone), c("ssn", grammar.Text, gone), c("dob", grammar.Date, coarse), c("phone", grammar.Text, gone),
			c("email", grammar.Text, gone), c("address", grammar.Text, gone), c("zip", grammar.Text, coarse),
			c("insurance_id", grammar.Text, gone), c("created_at", grammar.Timestamp, open)}},
		{Name: "encounters", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("provider", grammar.Text, open),
			c("admitted_at", grammar.Timestamp, coarse), c("discharged_at", grammar.Timestamp, coarse), c("diagnosis_code", grammar.Text, open),
			c("notes", grammar.Text, gone)}},
		{Name: "medications", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("drug", grammar.Text, open),
			c("dose", grammar.Text, open)}},
		{Name: "claims", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("amount", grammar.Numeric, open),
			c("payer", grammar.Text, open), c("member_id", grammar.Text, gone)}},
		{Name: "labs", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("code", grammar.Text, open),
			c("doc", grammar.JSON, gone), c("value", grammar.Numeric, open), c("active", grammar.Bool, open), c("taken", grammar.Date, coarse),
			c("comment", grammar.Text, gone), c("shout", grammar.Text, gone)}},
		{Name: "visits", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("day", grammar.Date, coarse),
			c("kind", grammar.Text, open)}},
		{Name: "people", Columns: []grammar.Column{c("id", grammar.Int, open), c("last_name", grammar.Text, gone), c("shout", grammar.Text, gone),
			c("dob", grammar.Date, coarse), c("zip", grammar.Text, coarse), c("last4", grammar.Text, gone), c("born", grammar.Int, gone),
			c("created_at", grammar.Timestamp, open)}},
		{Name: "stays", Columns: []grammar.Column{c("id", grammar.Int, open), c("patient_id", grammar.Int, open), c("last_name", grammar.Text, gone),
			c("admitted_at", grammar.Timestamp, coarse), c("diagnosis_code", grammar.Text, open), c("len", grammar.Int, gone)}},
	}
	_ = d
	return all
}

func openPostgres(t *testing.T, variant int, change ...string) *clinic {
	t.Helper()
	server := testenv.Postgres(t)
	if err := testenv.SeedPostgres(t.Context(), server, clinicdata.Tables(patients, variant), "vaultpw"); err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	exec := func(text string, args ...any) {
		if _, err := db.Exec(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for _, s := range postgresExtras {
		exec(s)
	}
	for _, l := range labs(variant) {
		exec("INSERT INTO labs (id, patient_id, code, doc, tags, value, score, active, taken, comment, ip, raw) VALUES ($1,$2,$3,$4::jsonb,$5,$6,$7,$8,$9::date,$10,$11::inet,$12)",
			l.id, l.patient, l.code, l.doc, []string{l.tags, "x"}, l.value, l.score, l.active, l.taken, l.comment, l.ip, []byte(l.tags))
	}
	for _, s := range change {
		exec(s)
	}
	exec("VACUUM ANALYZE") // index-only scans need what VACUUM notes
	return start(t, postgres.New(), server, "public", []string{"public"})
}

func openMariaDB(t *testing.T, variant int, change ...string) *clinic {
	t.Helper()
	server := testenv.MariaDB(t)
	if err := testenv.SeedMariaDB(t.Context(), server, clinicdata.Tables(patients, variant), "vaultpw"); err != nil {
		t.Fatal(err)
	}
	db, err := server.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec := func(text string, args ...any) {
		if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for _, s := range mysqlExtras {
		exec(s)
	}
	for _, l := range labs(variant) {
		exec("INSERT INTO labs (id, patient_id, code, doc, tags, value, score, active, taken, comment, ip, raw) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
			l.id, l.patient, l.code, l.doc, l.tags, l.value, l.score, l.active, l.taken, l.comment, l.ip, []byte(l.tags))
	}
	for _, s := range change {
		exec(s)
	}
	for _, name := range []string{"patients", "encounters", "claims", "medications", "labs", "visits"} {
		exec("ANALYZE TABLE " + name)
	}
	return start(t, mysql.New(), server, server.Name, nil)
}

// start opens a session and reads the catalog.
func start(t *testing.T, engine connectors.Engine, db *testenv.Database, schema string, path []string) *clinic {
	t.Helper()
	columns := map[masking.ColumnRef]string{}
	add := func(list map[string]string) {
		for name, class := range list {
			table, column, _ := strings.Cut(name, ".")
			columns[masking.ColumnRef{Schema: schema, Relation: table, Column: column}] = class
		}
	}
	add(clinicdata.Protected())
	add(protectedExtras)
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{engine: engine, db: db, classes: classes,
		target: connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, SearchPath: path, ConnectTimeout: 10 * time.Second},
		cred:   connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)}}
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.session != nil { // a server that is gone leaves none
			_ = c.session.Close(context.Background())
		}
	})
	if c.cat, err = c.session.Catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// connect opens a session anew.
func (c *clinic) connect(ctx context.Context) (err error) {
	if c.session != nil {
		_ = c.session.Close(ctx)
	}
	c.used = 0
	c.session, err = c.engine.Connect(ctx, c.target, c.cred)
	return err
}

func (c *clinic) input(text string, params int) connectors.Input {
	return connectors.Input{Text: text, Count: params, Classes: c.classes, SearchPath: c.target.SearchPath, Today: today}
}
