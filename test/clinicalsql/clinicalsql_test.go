// Package clinicalsql reads real clinical SQL through the real analysis: how much
// of it is understood and rewritten, and what is not, by cause.
package clinicalsql

import (
	"context"
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

//go:embed testdata/omop.sql
var omop string

// classes are what a hospital would protect of the common data model.
var classes = map[string]string{
	"person.birth_datetime": "birth_date", "person.month_of_birth": "other_id", "person.day_of_birth": "other_id",
	"person.person_source_value": "mrn", "note.note_text": "free_text", "note.note_date": "date", "note.note_datetime": "date",
	"death.death_date": "date", "death.death_datetime": "date", "location.address_1": "address", "location.address_2": "address",
	"location.city": "address", "location.zip": "zip", "location.county": "address", "location.location_source_value": "address",
	"provider.provider_name": "name", "observation.value_as_string": "free_text",
	"visit_occurrence.visit_start_date": "date", "visit_occurrence.visit_start_datetime": "date",
	"visit_occurrence.visit_end_date": "date", "visit_occurrence.visit_end_datetime": "date",
	"visit_detail.visit_detail_start_date": "date", "visit_detail.visit_detail_start_datetime": "date",
	"visit_detail.visit_detail_end_date": "date", "visit_detail.visit_detail_end_datetime": "date",
	"device_exposure.device_exposure_start_date": "date", "device_exposure.device_exposure_start_datetime": "date",
	"device_exposure.device_exposure_end_date": "date", "device_exposure.device_exposure_end_datetime": "date",
	"specimen.specimen_date": "date", "specimen.specimen_datetime": "date",
	"condition_occurrence.condition_start_date": "date", "condition_occurrence.condition_start_datetime": "date",
	"condition_occurrence.condition_end_date": "date", "condition_occurrence.condition_end_datetime": "date",
	"drug_exposure.drug_exposure_start_date": "date", "drug_exposure.drug_exposure_start_datetime": "date",
	"drug_exposure.drug_exposure_end_date": "date", "drug_exposure.drug_exposure_end_datetime": "date",
	"procedure_occurrence.procedure_date": "date", "procedure_occurrence.procedure_datetime": "date",
	"measurement.measurement_date": "date", "measurement.measurement_datetime": "date",
	"observation.observation_date": "date", "observation.observation_datetime": "date",
	"condition_era.condition_era_start_date": "date", "condition_era.condition_era_end_date": "date",
	"drug_era.drug_era_start_date": "date", "drug_era.drug_era_end_date": "date",
	"observation_period.observation_period_start_date": "date", "observation_period.observation_period_end_date": "date",
}

// queries are the SELECTs of a file, those inside of CREATE TABLE AS and INSERT too.
func queries(text string) (selects []string, total int, err error) {
	tree, err := pgquery.Parse(text)
	if err != nil {
		return nil, 0, err
	}
	for _, raw := range tree.Stmts {
		total++
		var sel *pg.Node
		switch n := raw.Stmt.Node.(type) {
		case *pg.Node_SelectStmt:
			sel = raw.Stmt
		case *pg.Node_CreateTableAsStmt:
			sel = n.CreateTableAsStmt.Query
		case *pg.Node_InsertStmt:
			sel = n.InsertStmt.SelectStmt
		case *pg.Node_ViewStmt:
			sel = n.ViewStmt.Query
		}
		if s := sel.GetSelectStmt(); s == nil || len(s.ValuesLists) > 0 {
			continue
		}
		sel.GetSelectStmt().IntoClause = nil
		one, err := pgquery.Deparse(&pg.ParseResult{Version: tree.Version, Stmts: []*pg.RawStmt{{Stmt: sel}}})
		if err != nil {
			return nil, 0, err
		}
		selects = append(selects, one)
	}
	return selects, total, nil
}

// TestDirectory reports on the .sql files below CHAPERONE_CLINICAL_SQL.
func TestDirectory(t *testing.T) {
	dir, least := os.Getenv("CHAPERONE_CLINICAL_SQL"), 0
	if dir == "" {
		dir, least = "testdata/queries", 47 // our own
	}
	ctx := t.Context()
	server := testenv.Postgres(t)
	db, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	if _, err := db.Exec(ctx, omop); err != nil {
		t.Fatal(err)
	}
	files := read(t, dir)
	// What a file makes, the next ones read: tables are made, from empty ones.
	for range 3 {
		for _, text := range files {
			tree, err := pgquery.Parse(text)
			if err != nil {
				continue
			}
			for _, raw := range tree.Stmts {
				made := raw.Stmt.GetCreateTableAsStmt() != nil || raw.Stmt.GetCreateStmt() != nil || raw.Stmt.GetViewStmt() != nil
				if !made {
					continue
				}
				if c := raw.Stmt.GetCreateTableAsStmt(); c != nil {
					c.Into.Rel.Relpersistence = "p"
				}
				if c := raw.Stmt.GetCreateStmt(); c != nil {
					c.Relation.Relpersistence = "p"
				}
				one, err := pgquery.Deparse(&pg.ParseResult{Version: tree.Version, Stmts: []*pg.RawStmt{raw}})
				if err == nil {
					_, _ = db.Exec(ctx, one) // it may be there, or miss another's
				}
			}
		}
	}
	clinic{engine: postgres.New(), server: server, schema: "public", path: []string{"public"}, queries: queries,
		explain: func(text string) error {
			_, err := db.Exec(ctx, "EXPLAIN "+text)
			return err
		}}.report(t, files, least)
}

// TestMariaDB reports on our own files in MariaDB's dialect.
func TestMariaDB(t *testing.T) {
	ctx := t.Context()
	server := testenv.MariaDB(t)
	db, err := server.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, one := range statements(omop) {
		if _, err := db.ExecContext(ctx, one); err != nil {
			t.Fatal(err)
		}
	}
	clinic{engine: mysql.New(), server: server, schema: server.Name,
		queries: func(text string) ([]string, int, error) {
			list := statements(text)
			return list, len(list), nil
		},
		explain: func(text string) error {
			_, err := db.ExecContext(ctx, "EXPLAIN "+text)
			return err
		}}.report(t, read(t, "testdata/mariadb"), 20)
}

// statements of one of our own files end with their line.
func statements(text string) (list []string) {
	for one := range strings.SplitSeq(text, ";\n") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".sql" {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// clinic is a server with the common data model.
type clinic struct {
	engine  connectors.Engine
	server  *testenv.Database
	schema  string
	path    []string
	queries func(text string) (selects []string, total int, err error)
	explain func(text string) error // fails if the server does not take it
}

// report analyses what the server takes; least is how many SELECTs there must be,
// all of them valid, or 0 for files of others.
func (c clinic) report(t *testing.T, files map[string]string, least int) {
	t.Helper()
	ctx := t.Context()
	session, err := c.engine.Connect(ctx, connectors.Target{Host: c.server.Host, Port: c.server.Port, Database: c.server.Name,
		SearchPath: c.path, ConnectTimeout: 10 * time.Second},
		connectors.Credential{Username: c.server.AdminUser, Password: masking.Secret(c.server.AdminPassword)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(context.Background()) }()
	cat, err := session.Catalog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[masking.ColumnRef]string{}
	for name, class := range classes {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: c.schema, Relation: table, Column: column}] = class
	}
	protected, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	statements, selects, understood, invalid := 0, 0, 0, 0
	unparsed, hidden := 0, 0
	causes, example := map[string]int{}, map[string]string{}
	for path, text := range files {
		list, total, err := c.queries(text)
		if err != nil {
			unparsed++
			causes["the file does not parse"]++
			example["the file does not parse"] = path + ": " + err.Error()
			continue
		}
		statements += total
		for _, one := range list {
			if err := c.explain(one); err != nil {
				invalid++ // the server does not take it here either
				example["invalid"] = path + ": " + err.Error()
				if os.Getenv("CHAPERONE_CLINICAL_SAY") != "" {
					t.Log("invalid: ", path, err)
				}
				continue
			}
			selects++
			st, err := c.engine.Analyze(cat, connectors.Input{Text: one, Classes: protected, SearchPath: c.path, Today: time.Now().UTC(), Cells: true})
			var refusal *connectors.Error
			if errors.As(err, &refusal) {
				causes[refusal.Message]++
				example[refusal.Message] = path
				continue
			} else if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if err := c.explain(st.Text); err != nil {
				cause := "rewritten, the server does not take it: " + err.Error()
				causes[cause]++
				example[cause] = path
				continue
			}
			understood++
			if slices.ContainsFunc(st.Uses, func(u connectors.Use) bool { return u.Seen == connectors.SeenDestroyed }) {
				hidden++ // the rules deny it, or ask a person
			}
		}
	}
	t.Logf("%d files (%d do not parse), %d statements; %d SELECTs that the server takes, %d understood and rewritten (%.1f %%), %d of these compare what a mask hides; %d the server does not take (%s)",
		len(files), unparsed, statements, selects, understood, 100*float64(understood)/float64(max(1, selects)), hidden, invalid, example["invalid"])
	names := make([]string, 0, len(causes))
	for cause := range causes {
		names = append(names, cause)
	}
	sort.Slice(names, func(i, j int) bool { return causes[names[i]] > causes[names[j]] })
	for _, cause := range names {
		t.Logf("%5d %s (%s)", causes[cause], cause, example[cause])
	}
	if least > 0 && (selects < least || invalid > 0) {
		t.Errorf("of %d SELECTs there are %d, and %d the server does not take", least, selects, invalid)
	}
	if understood*100 < selects*95 {
		t.Error("less than 95 % are understood")
	}
}
