package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

// failure is an entry of the golden file of errors: a wrong statement in, what
// the client is told out. At is the client's text from Position on.
type failure struct {
	Statement string `yaml:"statement"`
	// Params are positional parameters; As is reader for a user who may only
	// read wards; Locked is true if somebody else holds the row wards 2.
	Params []string `yaml:"params,omitempty"`
	As     string   `yaml:"as,omitempty"`
	Locked bool     `yaml:"locked,omitempty"`

	Kind     string `yaml:"kind"`
	SQLState string `yaml:"sqlstate,omitempty"`
	Message  string `yaml:"message"`
	Hint     string `yaml:"hint,omitempty"`
	Position int    `yaml:"position,omitempty"`
	At       string `yaml:"at,omitempty"`
}

// broken is a clinic with a table that has every kind of constraint.
type broken struct {
	admin   *pgx.Conn
	target  connectors.Target
	cat     *catalog
	classes *masking.Classification
	values  []string // that no message may hold

	credentials map[string]connectors.Credential
}

func openBroken(t *testing.T) *broken {
	t.Helper()
	ctx := t.Context()
	server := testenv.Postgres(t)
	tables := clinicdata.Tables(50, 0)
	if err := testenv.SeedPostgres(ctx, server, tables, "vaultpw"); err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	password, _ := u.User.Password()
	b := &broken{admin: admin, classes: fuzzClasses(t), values: append(clinicdata.Canaries(tables, 50), "Northwing", "Southwing", "4171"),
		target: connectors.Target{Host: u.Hostname(), Port: port, Database: u.Path[1:], SearchPath: []string{"public"}, ConnectTimeout: 10 * time.Second}}
	reader := "reader_" + b.target.Database
	for _, s := range []string{
		`CREATE TABLE wards (id int PRIMARY KEY, name varchar(10) NOT NULL UNIQUE, beds smallint CHECK (beds > 0), head int REFERENCES patients,
			opened date, score numeric(4,2), code uuid, open boolean)`,
		"INSERT INTO wards VALUES (1, 'Northwing', 4171, 1, '2020-02-03', 1.5), (2, 'Southwing', 0 + 12, 2, '2021-02-03', 0)",
		"CREATE ROLE " + reader + " LOGIN PASSWORD '" + password + "'",
		"GRANT CONNECT ON DATABASE " + b.target.Database + " TO " + reader, "GRANT SELECT ON wards TO " + reader,
	} {
		if _, err := admin.Exec(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = admin.Exec(context.Background(), "DROP OWNED BY "+reader+"; DROP ROLE "+reader) })
	b.credentials = map[string]connectors.Credential{"": {Username: u.User.Username(), Password: masking.Secret(password)},
		"reader": {Username: reader, Password: masking.Secret(password)}}
	if b.cat, err = loadCatalog(ctx, admin, []string{"public"}); err != nil {
		t.Fatal(err)
	}
	return b
}

// run analyses and executes as the gateway does, and gives the error.
func (b *broken) run(t *testing.T, f failure) error {
	t.Helper()
	ctx := t.Context()
	if f.Locked {
		tx, err := b.admin.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(ctx) }()
		if _, err := tx.Exec(ctx, "SELECT FROM wards WHERE id = 2 FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
	}
	st, err := New().Analyze(b.cat, connectors.Input{Text: f.Statement, Count: len(f.Params), Classes: b.classes,
		SearchPath: []string{"public"}, Today: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		return err
	}
	var params []connectors.Param
	for _, text := range f.Params {
		params = append(params, connectors.Param{Text: text})
	}
	s, err := New().Connect(ctx, b.target, b.credentials[f.As])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(ctx) }()
	if _, err := s.Prepare(ctx, st, params, connectors.Limits{Write: st.Write, Timeout: 2 * time.Second, LockTimeout: 200 * time.Millisecond,
		MaxAffected: 100, Classes: b.classes}); err != nil {
		return err
	}
	_, err = s.Execute(ctx, &bounded{most: 1000})
	return err
}

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
		f := failure{Statement: w.Statement, Params: w.Params, As: w.As, Locked: w.Locked}
		var e *connectors.Error
		if err := b.run(t, f); !errors.As(err, &e) {
			t.Errorf("%s: %v", f.Statement, err)
			continue
		}
		f.Kind, f.SQLState, f.Message, f.Hint, f.Position = string(e.Kind), e.SQLState, e.Message, e.Hint, e.Position
		if runes := []rune(f.Statement); f.Position > 0 && f.Position <= len(runes) {
			f.At = string(runes[f.Position-1 : min(len(runes), f.Position+14)])
		}
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
		for i := range got {
			if fmt.Sprint(want[i]) != fmt.Sprint(got[i]) {
				t.Errorf("%s\n got %+v\nwant %+v", want[i].Statement, got[i], want[i])
			}
		}
		t.Error("the golden file differs; run with -update and read the diff")
	}
}
