package postgres

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// functions are the functions of pg_catalog that statements may name, with what
// they can do. One that is not here is refused. Reviewed by hand: harmless
// means that it computes from its arguments, or from the clock and a random
// number, and can read no table, setting, session or file.
var functions = classified(map[connectors.FunctionClass]string{
	connectors.FunctionHarmless: `
abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd degrees div exp
factorial floor gcd lcm ln log log10 min_scale mod pi power pow radians random round scale sign sin sind sinh sqrt tan tand tanh
trim_scale trunc width_bucket
ascii bit_length btrim char_length character_length chr concat concat_ws decode encode format initcap left length lower lpad ltrim
md5 normalize octet_length overlay parse_ident position quote_ident quote_literal quote_nullable regexp_count regexp_instr
regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat replace
reverse right rpad rtrim split_part starts_with string_to_array string_to_table strpos substr substring to_ascii to_hex translate
trim upper unistr is_normalized like_escape similar_escape similar_to_escape
convert_from convert_to get_bit get_byte set_bit set_byte sha224 sha256 sha384 sha512 bit_count
age clock_timestamp date_bin date_part date_trunc extract isfinite justify_days justify_hours justify_interval make_date
make_interval make_time make_timestamp make_timestamptz now statement_timestamp timeofday transaction_timestamp timezone overlaps
to_char to_date to_number to_timestamp date timestamp timestamptz interval time
array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions array_prepend
array_remove array_replace array_to_string array_upper cardinality trim_array unnest generate_series generate_subscripts
array_to_json json_agg json_agg_strict jsonb_agg json_array_elements json_array_elements_text json_array_length json_build_array
json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object json_object_agg json_object_keys
json_strip_nulls json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
jsonb_object_keys jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty
jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_typeof row_to_json to_json to_jsonb
avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every max min mode percentile_cont percentile_disc
array_agg string_agg stddev stddev_pop stddev_samp sum var_pop var_samp variance regr_avgx regr_avgy regr_count regr_intercept
regr_r2 regr_slope regr_sxx regr_sxy regr_syy range_agg range_intersect_agg any_value
cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number grouping
num_nonnulls num_nulls gen_random_uuid isempty lower_inc lower_inf upper_inc upper_inf range_merge daterange int4range int8range
numrange tsrange tstzrange abbrev broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen
area box center circle diameter height isclosed isopen line lseg npoints path point polygon radius slope width
to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_rank ts_headline strip setweight
text varchar bpchar int4 int8 int2 float4 float8 numeric bool xpath_exists`,
	connectors.FunctionCatalog: `format_type obj_description col_description to_regclass to_regtype pg_table_is_visible
pg_type_is_visible pg_get_constraintdef pg_get_indexdef`,
	connectors.FunctionFile: `pg_read_file pg_read_binary_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_ls_tmpdir pg_stat_file
lo_import lo_export lo_get lo_put lo_open lo_creat lo_create lo_unlink loread lowrite lo_from_bytea pg_current_logfile`,
	connectors.FunctionNetwork:  `dblink dblink_exec dblink_connect dblink_connect_u dblink_send_query inet_client_addr inet_server_addr`,
	connectors.FunctionDynamic:  `query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml ts_stat`,
	connectors.FunctionReads:    `table_to_xml table_to_xmlschema schema_to_xml database_to_xml xpath xmltable pg_get_viewdef`,
	connectors.FunctionSleep:    `pg_sleep pg_sleep_for pg_sleep_until`,
	connectors.FunctionLock:     `pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_advisory_xact_lock pg_try_advisory_xact_lock pg_advisory_unlock pg_advisory_unlock_all`,
	connectors.FunctionSetting:  `set_config current_setting pg_reload_conf pg_rotate_logfile`,
	connectors.FunctionSession:  `version current_database current_schema current_schemas pg_backend_pid pg_terminate_backend pg_cancel_backend pg_notify txid_current pg_current_xact_id has_table_privilege pg_stat_get_activity pg_blocking_pids`,
	connectors.FunctionSequence: `nextval currval lastval setval`,
})

// aggregates make one row of many.
var aggregates = set(`avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every max min mode percentile_cont
percentile_disc array_agg string_agg stddev stddev_pop stddev_samp sum var_pop var_samp variance json_agg jsonb_agg json_object_agg
jsonb_object_agg regr_count range_agg any_value`)

// volatile and stable functions; the rest are taken as immutable.
var (
	volatileFunctions = set(`random clock_timestamp gen_random_uuid timeofday nextval setval pg_sleep set_config`)
	stableFunctions   = set(`now statement_timestamp transaction_timestamp to_char to_date to_timestamp date_trunc date_part age
format_type obj_description current_setting version current_database`)
)

// types that statements may cast to: built-in ones whose input reads nothing.
var types = set(`text varchar bpchar char name bool int2 int4 int8 oid float4 float8 numeric money date time timetz timestamp timestamptz
interval uuid json jsonb bytea bit varbit inet cidr macaddr macaddr8 point line lseg box path polygon circle tsvector tsquery
int4range int8range numrange tsrange tstzrange daterange`)

func set(names string) map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(names) {
		out[name] = true
	}
	return out
}

func classified(classes map[connectors.FunctionClass]string) map[string]connectors.FunctionClass {
	out := map[string]connectors.FunctionClass{}
	for class, names := range classes {
		for _, name := range strings.Fields(names) {
			out[name] = class
		}
	}
	return out
}

// call notes a function, or refuses one that is not known.
func (a *analysis) call(funcname []*pg.Node) error {
	name := last(funcname)
	if len(funcname) > 2 || (len(funcname) == 2 && funcname[0].GetString_().GetSval() != "pg_catalog") || a.cat.functions[name] {
		return unsupported("functions that users defined are not possible through the gateway: "+word(name), "Write the expression itself.")
	}
	class, ok := functions[name]
	if !ok {
		return unsupported("the gateway does not know the function "+word(name), "Use a standard function.")
	}
	v := connectors.Immutable
	if stableFunctions[name] {
		v = connectors.Stable
	} else if volatileFunctions[name] {
		v = connectors.Volatile
	}
	a.called(connectors.Function{Name: name, Volatility: v, Class: class})
	return nil
}

func (a *analysis) called(f connectors.Function) {
	for _, known := range a.st.Functions {
		if known.Name == f.Name {
			return
		}
	}
	a.st.Functions = append(a.st.Functions, f)
}

// sqlValue notes CURRENT_DATE and its kin.
func (a *analysis) sqlValue(e *pg.SQLValueFunction) error {
	name := strings.ToLower(strings.TrimPrefix(e.Op.String(), "SVFOP_"))
	switch e.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N,
		pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		a.called(connectors.Function{Name: name, Volatility: connectors.Stable, Class: connectors.FunctionHarmless})
	default:
		a.called(connectors.Function{Name: name, Volatility: connectors.Stable, Class: connectors.FunctionSession})
	}
	return nil
}

// typeName refuses casts to types that are not known.
func (a *analysis) typeName(t *pg.TypeName) error {
	if t == nil || t.PctType || t.Setof {
		return unsupported("this form of type is not understood", "")
	}
	name := last(t.Names)
	if len(t.Names) > 2 || (len(t.Names) == 2 && t.Names[0].GetString_().GetSval() != "pg_catalog") || !types[name] {
		return unsupported("the gateway does not know the type "+word(name), "Cast to a built-in type.")
	}
	if a.cat.relations["public."+name] != nil && len(t.Names) == 1 && name != "text" {
		return nil // pg_catalog is searched first: the built-in type wins
	}
	return nil
}
