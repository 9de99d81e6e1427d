// Package questions holds the gateway against over-blocking: honest questions of
// people in a clinic, with the SQL that they or a language model would write,
// run through the real analysis, masking and policy on real servers.
package questions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

const (
	patients = 1200 // more than the built-in rules let leave in bulk
	rowLimit = 1000 // the gateway's default

	// leastShare is how many percent must be answered.
	leastShare = 95
)

// question is one thing that somebody wants to know.
type question struct {
	Ask string `yaml:"ask"`
	// SQL is for both engines, unless one has its own.
	SQL      string `yaml:"sql"`
	Postgres string `yaml:"postgres"`
	MariaDB  string `yaml:"mariadb"`
	// Stopped is for each engine what keeps the gateway from just answering:
	// "refused" by the analysis, a rule, or "outgrown". Reason is why that is right,
	// or what is missing.
	Stopped map[string]string `yaml:"stopped"`
	Reason  string            `yaml:"reason"`
	// Only names the engine that a question is for, if it is for one only.
	Only string `yaml:"only"`
}

func (q *question) text(engine string) string {
	own := q.Postgres
	if engine == "mysql" {
		own = q.MariaDB
	}
	if q.Only != "" && q.Only != engine {
		return ""
	}
	if own == "" {
		return q.SQL
	}
	return own
}

// asked is a file of questions of people of one profession.
type asked struct {
	Who       string     `yaml:"who"`
	Questions []question `yaml:"questions"`
}

func read(t *testing.T) []asked {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no questions", err)
	}
	var all []asked
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var a asked
		if err := yaml.UnmarshalWithOptions(text, &a, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, a)
	}
	return all
}

// TestPostgres and TestMariaDB ask every question of an agent's own, without
// anybody's approval.
func TestPostgres(t *testing.T) {
	server := testenv.Postgres(t)
	if err := testenv.SeedPostgres(t.Context(), server, clinicdata.Tables(patients, 0), "vaultpw"); err != nil {
		t.Fatal(err)
	}
	askAll(t, open(t, postgres.New(), server, "public", []string{"public"}))
}

func TestMariaDB(t *testing.T) {
	server := testenv.MariaDB(t)
	if err := testenv.SeedMariaDB(t.Context(), server, clinicdata.Tables(patients, 0), "vaultpw"); err != nil {
		t.Fatal(err)
	}
	db, err := server.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "ANALYZE TABLE patients, encounters, medications, claims"); err != nil {
		t.Fatal(err)
	}
	askAll(t, open(t, mysql.New(), server, server.Name, nil))
}

// askAll compares each decision with the expected one.
func askAll(t *testing.T, c *clinic) {
	t.Helper()
	total, answered := 0, 0
	for _, a := range read(t) {
		for _, q := range a.Questions {
			text := q.text(c.engine.Name())
			if text == "" {
				continue
			}
			total++
			stopped, why, err := c.ask(t.Context(), text)
			if stopped != "" || err != nil {
				if err := c.connect(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				t.Errorf("%s: %s\n%s\n%v", a.Who, q.Ask, text, err)
				continue
			}
			if stopped == "" {
				answered++
			} else if q.Reason == "" {
				t.Errorf("%s: %s: no reason says why this is stopped", a.Who, q.Ask)
			}
			if expected := q.Stopped[c.engine.Name()]; stopped != expected {
				t.Errorf("%s: %s\n%s\nstopped by %q instead of %q: %s", a.Who, q.Ask, text, stopped, expected, why)
			}
		}
	}
	share := 100 * float64(answered) / float64(max(1, total))
	t.Logf("%d questions, %d answered (%.1f %%)", total, answered, share)
	if total < 150 || share < leastShare {
		t.Errorf("%d of %d questions were answered, which is %.1f %%", answered, total, share)
	}
}

// clinic is the demo's database behind the gateway's own code.
type clinic struct {
	engine  connectors.Engine
	target  connectors.Target
	cred    connectors.Credential
	classes *masking.Classification
	cat     connectors.Catalog
	rules   *policy.Engine
	session connectors.Session
}

// connect opens a session anew: an error ends one, and so does what is not executed.
func (c *clinic) connect(ctx context.Context) (err error) {
	if c.session != nil {
		_ = c.session.Close(ctx)
	}
	c.session, err = c.engine.Connect(ctx, c.target, c.cred)
	return err
}

func open(t *testing.T, engine connectors.Engine, db *testenv.Database, schema string, path []string) *clinic {
	t.Helper()
	columns := map[masking.ColumnRef]string{}
	for name, class := range clinicdata.Decided() {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: schema, Relation: table, Column: column}] = class
	}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.New(policy.HIPAA(policy.DefaultFigures()))
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{engine: engine, classes: classes, rules: rules,
		target: connectors.Target{Host: db.Host, Port: db.Port, Database: db.Name, SearchPath: path, ConnectTimeout: 10 * time.Second},
		cred:   connectors.Credential{Username: db.AdminUser, Password: masking.Secret(db.AdminPassword)}}
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.session.Close(context.Background()) })
	if c.cat, err = c.session.Catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask gives "" if a statement ran and all it asked for was answered, else what
// stopped it: "refused" by the analysis, the rule, or "outgrown" what was allowed.
// An error is the database's, which no honest question has.
func (c *clinic) ask(ctx context.Context, text string) (stopped, why string, err error) {
	st, err := c.engine.Analyze(c.cat, connectors.Input{Text: text, Classes: c.classes, SearchPath: c.target.SearchPath,
		Today: time.Now().UTC(), Cells: true})
	var refusal *connectors.Error
	if errors.As(err, &refusal) {
		return "refused", refusal.Message + " " + refusal.Hint, nil
	} else if err != nil {
		return "", "", err
	}
	if d, err := c.decide(st, nil); err != nil || d.Effect == policy.Deny {
		return rule(d), reasons(d), err
	}
	est, err := c.session.Prepare(ctx, st, nil, connectors.Limits{Timeout: 20 * time.Second, LockTimeout: time.Second, MaxAffected: -1, Classes: c.classes})
	if err != nil {
		return "", "", fmt.Errorf("%w\nruns as\n%s", err, st.Text)
	}
	d, err := c.decide(st, &est)
	if err != nil || d.Effect != policy.Allow {
		return rule(d), fmt.Sprintf("%s (%+v, %+v)", reasons(d), est, st.Shape), err
	}
	rows := &counter{most: d.MaxRows}
	if _, err := c.session.Execute(ctx, rows); err != nil {
		return "", "", fmt.Errorf("%w\nruns as\n%s", err, st.Text)
	}
	if rows.outgrown {
		return "outgrown", d.OutgrownRule, nil
	}
	return "", "", nil
}

func (c *clinic) decide(st *connectors.Statement, est *connectors.Estimate) (policy.Decision, error) {
	return c.rules.Decide(policy.Input{Statement: st, Connection: "clinic", Engine: st.Engine, Estimate: est, Now: time.Now(),
		Principal: policy.Principal{Subject: "agent", Roles: []string{"agent"}},
		Request:   policy.Request{RowLimit: rowLimit, MaxAffected: -1, TimeoutMS: 20_000}})
}

func rule(d policy.Decision) string {
	if len(d.Matched) == 0 {
		return ""
	}
	return d.Matched[0].Rule
}

func reasons(d policy.Decision) string {
	text := ""
	for _, m := range d.Matched {
		text += fmt.Sprintf("%s: %s %s ", m.Rule, m.Message, m.Hint)
	}
	return text
}

// counter takes rows as the gateway does, up to the limit.
type counter struct {
	rows, most int64
	outgrown   bool
}

func (*counter) Columns([]connectors.ResultColumn) error { return nil }

func (c *counter) Row([]connectors.Cell) (bool, error) {
	if c.most > 0 && c.rows == c.most {
		c.outgrown = true
		return false, nil
	}
	c.rows++
	return c.rows <= rowLimit, nil
}
