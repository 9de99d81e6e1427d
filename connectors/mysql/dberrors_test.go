package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// failure is an entry of the golden file of errors: a wrong statement in, what
// the client is told out.
type failure struct {
	Statement string   `yaml:"statement"`
	Params    []string `yaml:"params,omitempty"`
	// Given is what is so: the user may read beds only (reader), somebody else
	// holds the row wards 2 (locked) or wants it too (deadlock), the query or
	// the session is killed, the transaction may not write (readonly).
	Given string `yaml:"given,omitempty"`
	// Direct goes to the server without analysis, which would refuse it.
	Direct bool `yaml:"direct,omitempty"`

	Kind     string `yaml:"kind"`
	SQLState string `yaml:"sqlstate,omitempty"`
	Message  string `yaml:"message"`
	Hint     string `yaml:"hint,omitempty"`
	Position int    `yaml:"position,omitempty"`
}

// broken is a clinic with a table that has every kind of constraint.
type broken struct {
	admin  *sql.DB
	server *testenv.Database
	cat    *catalog
	reader string
	// values are what no message may hold.
	classes *masking.Classification
	values  []string
}

func openBroken(t *testing.T) *broken {
	t.Helper()
	server := testenv.MariaDB(t)
	tables := clinicdata.Tables(50, 0)
	if err := testenv.SeedMariaDB(t.Context(), server, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	admin, err := server.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	reader := fmt.Sprintf("r%.20s", server.Name)
	for _, s := range []string{
		`CREATE TABLE wards (id int PRIMARY KEY, name varchar(10) NOT NULL UNIQUE, beds smallint CHECK (beds > 0), head int, opened date,
			score decimal(4,2), kind enum('open','shut'), place point, note json, FOREIGN KEY (head) REFERENCES patients (id))`,
		"INSERT INTO wards (id, name, beds, head, opened, score) VALUES (1, 'Northwing', 4171, 1, '2020-02-03', 1.5), (2, 'Southwing', 12, 2, '2021-02-03', 0)",
		"CREATE TABLE beds (id int PRIMARY KEY, label varchar(40) CHARACTER SET latin1)", "INSERT INTO beds VALUES (1, 'Northwing 1')",
		"CREATE USER " + reader + "@'%' IDENTIFIED BY '" + server.AdminPassword + "'", "GRANT SELECT ON " + server.Name + ".beds TO " + reader + "@'%'",
	} {
		if _, err := admin.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = admin.Exec("DROP USER " + reader + "@'%'") })
	cat, err := loadCatalog(t.Context(), admin, server.Name)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Protected() {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: server.Name, Relation: table, Column: column}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	return &broken{admin, server, cat, reader, classes, append(clinicdata.Canaries(tables, 50), "Northwing", "Southwing", "4171")}
}

// enough is a sink that drops rows.
type enough struct{}

func (enough) Columns([]connectors.ResultColumn) error      { return nil }
func (enough) Row([]connectors.Cell) (more bool, err error) { return true, nil }

// run analyses and executes as the gateway does, and gives the error.
func (b *broken) run(t *testing.T, f failure) error {
	t.Helper()
	ctx := t.Context()
	st := &connectors.Statement{Kind: connectors.KindSelect, Text: f.Statement, Outputs: []connectors.Output{{Name: "v"}}}
	if f.Direct {
		st.Write = !strings.HasPrefix(f.Statement, "SELECT") && !strings.HasPrefix(f.Statement, "WITH")
	} else {
		var err error
		if st, err = New().Analyze(b.cat, connectors.Input{Text: f.Statement, Count: len(f.Params), Classes: b.classes,
			Today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}); err != nil {
			return err
		}
	}
	user := b.server.AdminUser
	if f.Given == "reader" {
		user = b.reader
	}
	s, err := New().Connect(ctx, connectors.Target{Host: b.server.Host, Port: b.server.Port, Database: b.server.Name, ConnectTimeout: 10 * time.Second},
		connectors.Credential{Username: user, Password: masking.Secret(b.server.AdminPassword)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(ctx) }()
	defer b.given(t, f.Given, s.ID())()
	var params []connectors.Param
	for _, text := range f.Params {
		params = append(params, connectors.Param{Text: text})
	}
	if _, err := s.Prepare(ctx, st, params, connectors.Limits{Write: st.Write && f.Given != "readonly", Timeout: 2 * time.Second,
		LockTimeout: time.Second, MaxAffected: 100, Classes: b.classes}); err != nil {
		return err
	}
	_, err = s.Execute(ctx, enough{})
	return err
}

// given makes what a statement meets, for the session of that id.
func (b *broken) given(t *testing.T, what, id string) (end func()) {
	t.Helper()
	if what == "killed" || what == "ended" {
		kill := map[string]string{"killed": "KILL QUERY ", "ended": "KILL "}[what]
		timer := time.AfterFunc(500*time.Millisecond, func() { _, _ = b.admin.Exec(kill + id) })
		return func() { timer.Stop() }
	}
	if what != "locked" && what != "deadlock" {
		return func() {}
	}
	tx, err := b.admin.BeginTx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"UPDATE patients SET zip = '00000'", "UPDATE wards SET score = 2 WHERE id = 2"} { // many rows: the other gives way
		if _, err := tx.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if what == "deadlock" {
			time.Sleep(500 * time.Millisecond)
			_, _ = tx.Exec("UPDATE wards SET score = 3 WHERE id = 1")
		}
	}()
	return func() {
		<-done
		_ = tx.Rollback()
	}
}

// TestGoldenErrors: what real errors of the server become, and that no value of
// a row, a literal or a parameter is told.
func TestGoldenErrors(t *testing.T) {
	b := openBroken(t)
	path := filepath.Join("testdata", "errors", "statements.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []failure
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		f := failure{Statement: w.Statement, Params: w.Params, Given: w.Given, Direct: w.Direct}
		var e *connectors.Error
		if err := b.run(t, f); !errors.As(err, &e) {
			t.Errorf("%s: %v", f.Statement, err)
			continue
		}
		f.Kind, f.SQLState, f.Message, f.Hint, f.Position = string(e.Kind), e.SQLState, e.Message, e.Hint, e.Position
		got = append(got, f)
		told := e.Message + "\n" + e.Hint
		for _, value := range append(stringsIn(f.Statement), append(b.values, f.Params...)...) {
			if strings.Contains(told, value) {
				t.Errorf("%s tells %q: %s", f.Statement, value, told)
			}
		}
	}
	out, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out, text) {
		for i := range min(len(got), len(want)) {
			if fmt.Sprint(want[i]) != fmt.Sprint(got[i]) {
				t.Errorf("%s\n got %+v\nwant %+v", want[i].Statement, got[i], want[i])
			}
		}
		t.Error("the golden file differs; run with -update and read the diff")
	}
}

// TestRecursionIsWhole: the server would stop after 1000 rounds and call that the answer.
func TestRecursionIsWhole(t *testing.T) {
	var c collect
	err := fetch(t, open(t, testenv.MariaDB(t)), &c, "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5000) SELECT count(*) AS v FROM r")
	if got := strings.TrimSpace(string(c.rows)); err != nil || got != `"5000"` {
		t.Errorf("%s, %v", got, err)
	}
}
