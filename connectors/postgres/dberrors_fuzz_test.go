package postgres

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-sql/chaperone/connectors"
)

// rawMessages are what a server says, by state: a form each that the gateway
// reads, and some that hold a value.
var rawMessages = [][2]string{
	{"22P02", `invalid input syntax for type integer: "value"`},
	{"22P02", `invalid input value for enum mood: "value"`},
	{"22003", "integer out of range"},
	{"22003", `value "99999999999" is out of range for type integer`},
	{"22007", `invalid input syntax for type date: "value"`},
	{"23502", `null value in column "last_name" of relation "patients" violates not-null constraint`},
	{"23503", `insert or update on table "visits" violates foreign key constraint "visits_patient_id_fkey"`},
	{"23503", `update or delete on table "patients" violates foreign key constraint "fk" on table "visits"`},
	{"23505", `duplicate key value violates unique constraint "patients_pkey"`},
	{"23514", `new row for relation "patients" violates check constraint "c"`},
	{"42501", "permission denied for table patients"},
	{"42703", `column "ssn" does not exist`},
	{"42703", "column p.ssn does not exist"},
	{"42702", `column reference "id" is ambiguous`},
	{"42P01", `relation "patients" does not exist`},
	{"42P01", `missing FROM-clause entry for table "patients"`},
	{"42803", `column "patients.id" must appear in the GROUP BY clause or be used in an aggregate function`},
	{"42803", `subquery uses ungrouped column "p.id" from outer query`},
	{"42803", "aggregate functions are not allowed in WHERE"},
	{"42804", `column "id" is of type integer but expression is of type text`},
	{"42804", "UNION types integer and text cannot be matched"},
	{"42804", "argument of WHERE must be type boolean, not type integer"},
	{"42846", "cannot cast type integer to date"},
	{"42883", "operator does not exist: integer = text"},
	{"42883", "function pg_catalog.lower(integer) does not exist"},
	{"P0001", "value"},
	{"", ""},
}

// canaries are values of a row as a server's message may quote them: each could
// be taken for a name, a number or a type.
var canaries = []string{"zqcanary", "Zq_Canary", "987650123", "zq canary", "zq'canary\"é"}

var messageWord = regexp.MustCompile(`[A-Za-z0-9_]+`)

// FuzzDatabaseError: whatever a server says, no value of it is told, nothing
// panics, and the position is inside the client's text. A value is planted in
// the place of every word of the message, and in every other field.
func FuzzDatabaseError(f *testing.F) {
	cat, classes := fuzzCatalog(f)
	text, err := os.ReadFile(filepath.Join("testdata", "errors", "statements.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	var golden []failure
	if err := yaml.Unmarshal(text, &golden); err != nil {
		f.Fatal(err)
	}
	for _, g := range golden {
		f.Add(g.Statement, uint8(len(g.Params)), g.SQLState, g.Message, "patients", "ssn", int32(g.Position)) //nolint:gosec // short texts
	}
	for _, raw := range rawMessages {
		f.Add("SELECT p.id, lower(p.ssn) FROM patients p WHERE p.id = $1", uint8(1), raw[0], raw[1], "patients", "last_name", int32(14))
	}
	e := New()
	var last string // analysing is most of the time, and few inputs change the statement
	var st *connectors.Statement
	f.Fuzz(func(t *testing.T, statement string, params uint8, code, message, table, column string, position int32) {
		if last != statement || st == nil {
			last = statement
			if st, err = e.Analyze(cat, connectors.Input{Text: statement, Count: int(params), Classes: classes, SearchPath: []string{"public"},
				Today: time.Unix(0, 0)}); err != nil {
				st = nil // as for an error before any statement
			}
		}
		about := strings.ToLower(strings.Join([]string{statement, code}, " "))
		for _, canary := range canaries {
			if strings.Contains(about, strings.ToLower(canary)) {
				continue // the client's own word
			}
			check := func(message, table, column string) {
				told := databaseError(&pgconn.PgError{Severity: canary, SeverityUnlocalized: canary, Code: code, Message: message, Detail: canary,
					Hint: canary, Position: position, InternalPosition: position, InternalQuery: canary, Where: canary, SchemaName: canary,
					TableName: table, ColumnName: column, DataTypeName: canary, ConstraintName: canary, File: canary, Routine: canary}, st)
				if told.Kind == "" || told.Message == "" {
					t.Fatalf("%q, %q: nothing is told: %+v", code, message, told)
				}
				if said := strings.ToLower(told.SQLState + "\n" + told.Message + "\n" + told.Hint); strings.Contains(said, strings.ToLower(canary)) {
					t.Fatalf("%q, %q of %q: %q is told: %q", code, message, statement, canary, said)
				}
				if told.Position < 0 || told.Position > utf8.RuneCountInString(statement)+1 {
					t.Fatalf("%q: position %d", statement, told.Position)
				}
			}
			check(canary, canary, canary)
			check(message+canary, table, canary)
			check(canary+message, canary, column)
			for _, at := range messageWord.FindAllStringIndex(message, 32) {
				check(message[:at[0]]+canary+message[at[1]:], table, column)
			}
		}
	})
}
