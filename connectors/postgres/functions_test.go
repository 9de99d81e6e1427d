package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// classesKnown are the classes that a line of the table may give.
var classesKnown = []connectors.FunctionClass{connectors.FunctionHarmless, connectors.FunctionCatalog, connectors.FunctionReads,
	connectors.FunctionDynamic, connectors.FunctionFile, connectors.FunctionNetwork, connectors.FunctionProgram, connectors.FunctionSleep,
	connectors.FunctionLock, connectors.FunctionSetting, connectors.FunctionSession, connectors.FunctionSequence, functionInternal}

// TestFunctionTable holds the table against the server's own catalog: every
// function of pg_catalog is in it, nothing is in it that the server lacks, and
// volatility and kind are what the server says.
func TestFunctionTable(t *testing.T) {
	db, err := pgx.Connect(t.Context(), testenv.Postgres(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }()
	listed, later, previous := map[string]bool{}, map[string]bool{}, ""
	for line := range strings.Lines(functionsText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			t.Fatalf("%q has not five fields", line)
		}
		name := strings.TrimSuffix(fields[0], "*")
		if listed[name] {
			t.Errorf("%s is listed twice", name)
		}
		if fields[0] < previous {
			t.Errorf("%s is not in order", fields[0])
		}
		previous = fields[0]
		listed[name], later[name] = true, name != fields[0]
		if !slices.Contains(classesKnown, connectors.FunctionClass(fields[1])) {
			t.Errorf("%s: there is no class %q", name, fields[1])
		}
	}
	rank := map[connectors.Volatility]int{connectors.Immutable: 1, connectors.Stable: 2, connectors.Volatile: 3}
	var (
		name       string
		volatility int
		aggregate  bool
		live       = map[string]bool{}
	)
	err = each(t.Context(), db, []any{&name, &volatility, &aggregate}, func() {
		live[name] = true
		f, ok := functions[name]
		switch {
		case !ok:
			t.Errorf("the server has %s, the table has not", name)
		case rank[f.volatility] < volatility:
			t.Errorf("%s is more volatile than the table says", name)
		case f.aggregate != aggregate:
			t.Errorf("%s: aggregate is %v", name, f.aggregate)
		}
	}, `SELECT p.proname::text, max(CASE p.provolatile WHEN 'v' THEN 3 WHEN 's' THEN 2 ELSE 1 END)::int4, bool_or(p.prokind = 'a')
		FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace GROUP BY p.proname`)
	if err != nil {
		t.Fatal(err)
	}
	for name := range listed {
		if !live[name] && !later[name] {
			t.Errorf("the table has %s, the server has not", name)
		}
	}
	t.Logf("%d functions", len(live))
}

// TestFunctionClasses names members of every class, so that a slip of the table
// shows.
func TestFunctionClasses(t *testing.T) {
	for class, names := range map[connectors.FunctionClass]string{
		connectors.FunctionHarmless: "upper count date_trunc json_build_object now random int4eq textlike percentile_cont row_number unnest version current_user",
		connectors.FunctionCatalog:  "format_type to_regclass regclass pg_typeof",
		connectors.FunctionReads:    "table_to_xml database_to_xml pg_get_viewdef pg_get_functiondef currtid2",
		connectors.FunctionDynamic:  "query_to_xml query_to_xml_and_xmlschema cursor_to_xml ts_stat ts_rewrite",
		connectors.FunctionFile:     "pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export lo_get loread",
		connectors.FunctionNetwork:  "dblink dblink_connect inet_client_addr inet_server_addr",
		connectors.FunctionSleep:    "pg_sleep pg_sleep_for pg_sleep_until",
		connectors.FunctionLock:     "pg_advisory_lock pg_try_advisory_xact_lock pg_advisory_unlock_all",
		connectors.FunctionSetting:  "set_config current_setting pg_reload_conf pg_show_all_settings pg_hba_file_rules",
		connectors.FunctionSession: "pg_terminate_backend pg_cancel_backend pg_stat_get_activity session_user has_table_privilege pg_notify " +
			"pg_logical_emit_message pg_export_snapshot pg_switch_wal pg_stat_get_backend_activity pg_relation_size txid_current",
		connectors.FunctionSequence: "nextval setval currval lastval",
		functionInternal:            "int4in regclassin binary_upgrade_set_next_pg_type_oid int4send bthandler xmltable",
	} {
		for name := range strings.FieldsSeq(names) {
			if functions[name].class != class {
				t.Errorf("%s is %q, not %q", name, functions[name].class, class)
			}
		}
	}
	volatile := strings.Fields("clock_timestamp gen_random_uuid random timeofday array_shuffle array_sample random_normal")
	for name, f := range functions {
		if f.class == connectors.FunctionHarmless && f.volatility == connectors.Volatile && !slices.Contains(volatile, name) {
			t.Errorf("%s is volatile and called harmless", name)
		}
	}
}
