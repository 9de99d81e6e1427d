package mysql

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/connectors"
)

// rawMessages are what a server says: a form each that the gateway reads, and
// some that hold a value.
var rawMessages = map[uint16]string{
	1048: "Column 'last_name' cannot be null",
	1062: "Duplicate entry 'value' for key 'PRIMARY'",
	1064: "You have an error in your SQL syntax; check the manual for the right syntax to use near 'value' at line 1",
	1105: "XPATH syntax error: 'value'",
	1110: "Column 'id' specified twice",
	1264: "Out of range value for column 'id' at row 1",
	1265: "Data truncated for column 'last_name' at row 1",
	1292: "Incorrect date value: 'value' for column `clinic`.`patients`.`dob` at row 1",
	1364: "Field 'last_name' doesn't have a default value",
	1366: "Incorrect integer value: 'x for column `ssn` at row 1' for column `clinic`.`patients`.`id` at row 1",
	1406: "Data too long for column 'last_name' at row 1",
	1411: "Incorrect datetime value: 'value' for function str_to_date",
	1582: "Incorrect parameter count in the call to native function 'lower'",
	1690: "BIGINT value is out of range in '9223372036854775807 + `clinic`.`patients`.`id`'",
	4009: "Window specification with name 'w' is not defined",
	4025: "CONSTRAINT `patients.id` failed for `clinic`.`patients`",
	9999: "value",
}

// canaries are values of a row as a server's message may quote them: each could
// be taken for a name, a number or the end of a quotation.
var canaries = []string{"zqcanary", "Zq_Canary", "987650123", "zq canary", "zq'canary`é"}

var messageWord = regexp.MustCompile(`[A-Za-z0-9_]+`)

// FuzzDatabaseError: whatever a server says, no value of it is told and nothing
// panics. A value is planted in the place of every word of the message.
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
	all := slices.Sorted(maps.Keys(numbers))
	for i, g := range golden {
		f.Add(g.Statement, uint8(len(g.Params)), all[i%len(all)], g.SQLState, g.Message) //nolint:gosec // a few
	}
	for number, message := range rawMessages {
		f.Add("UPDATE patients SET id = 1, dob = ?, last_name = lower(last_name) WHERE id = 2", uint8(1), number, "22007", message)
	}
	e := New()
	var last string // analysing is most of the time, and few inputs change the statement
	var st *connectors.Statement
	f.Fuzz(func(t *testing.T, statement string, params uint8, number uint16, code, message string) {
		if last != statement || st == nil {
			last = statement
			if st, err = e.Analyze(cat, connectors.Input{Text: statement, Count: int(params), Classes: classes, Today: time.Unix(0, 0)}); err != nil {
				st = nil // as for an error before any statement
			}
		}
		var sqlState [5]byte
		copy(sqlState[:], code)
		about := strings.ToLower(statement + " " + code)
		for _, canary := range canaries {
			if strings.Contains(about, strings.ToLower(canary)) {
				continue // the client's own word
			}
			check := func(message string) {
				told := databaseError(&driversql.MySQLError{Number: number, SQLState: sqlState, Message: message}, st)
				if told.Kind == "" || told.Message == "" || told.Position != 0 {
					t.Fatalf("%d, %q: %+v", number, message, told)
				}
				if said := strings.ToLower(told.SQLState + "\n" + told.Message + "\n" + told.Hint); strings.Contains(said, strings.ToLower(canary)) {
					t.Fatalf("%d, %q of %q: %q is told: %q", number, message, statement, canary, said)
				}
			}
			check(canary)
			check(message + canary)
			check(canary + message)
			for _, at := range messageWord.FindAllStringIndex(message, 32) {
				check(message[:at[0]] + canary + message[at[1]:])
			}
		}
	})
}
