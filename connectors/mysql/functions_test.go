package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// TestFunctionTable holds the table against the server's own list of built-in
// functions, as far as it has one: every one of them is in the table, and what
// the table has beyond is marked.
func TestFunctionTable(t *testing.T) {
	server := testenv.MariaDB(t)
	db, err := server.OpenMySQL()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	listed, beyond, previous := map[string]bool{}, map[string]bool{}, ""
	for line := range strings.Lines(functionsText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			t.Fatalf("%q has not four fields", line)
		}
		name := strings.TrimSuffix(fields[0], "*")
		if listed[name] || fields[0] < previous {
			t.Errorf("%s is listed twice, or not in order", name)
		}
		listed[name], beyond[name], previous = true, name != fields[0], fields[0]
	}
	var name string
	live := map[string]bool{}
	err = scan(t.Context(), db, []any{&name}, func() {
		live[strings.ToLower(name)] = true
		if !listed[strings.ToLower(name)] {
			t.Errorf("the server has %s, the table has not", name)
		}
	}, "SELECT `FUNCTION` FROM information_schema.SQL_FUNCTIONS")
	if err != nil {
		t.Fatal(err)
	}
	for name := range listed {
		if live[name] == beyond[name] {
			t.Errorf("%s: the table says wrongly whether the server lists it", name)
		}
	}
	t.Logf("%d functions", len(live))
}

// TestFunctionClasses names members of every class, so that a slip of the table
// shows.
func TestFunctionClasses(t *testing.T) {
	for class, names := range map[connectors.FunctionClass]string{
		connectors.FunctionHarmless: "upper count date_format json_object now rand group_concat extractvalue updatexml row_number version current_user",
		connectors.FunctionFile:     "load_file des_encrypt",
		connectors.FunctionSleep:    "sleep benchmark",
		connectors.FunctionLock:     "get_lock release_lock release_all_locks is_used_lock",
		connectors.FunctionProgram:  "sys_exec sys_eval",
		connectors.FunctionSession:  "user session_user connection_id last_insert_id found_rows row_count",
		connectors.FunctionCatalog:  "database schema",
		connectors.FunctionNetwork:  "master_pos_wait master_gtid_wait wsrep_sync_wait_upto_gtid",
		connectors.FunctionSequence: "nextval setval lastval uuid_short",
		connectors.FunctionReads:    "decode_histogram",
	} {
		for name := range strings.FieldsSeq(names) {
			if functions[name].class != class {
				t.Errorf("%s is %q, not %q", name, functions[name].class, class)
			}
		}
	}
	volatile := strings.Fields("rand uuid sysdate random_bytes sys_guid encrypt")
	for name, f := range functions {
		if f.class == connectors.FunctionHarmless && f.volatility == connectors.Volatile && !slices.Contains(volatile, name) {
			t.Errorf("%s is volatile and called harmless", name)
		}
	}
}
