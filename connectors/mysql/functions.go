package mysql

import (
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
)

// functions are the functions that statements may name, with what they can do.
// One that is not here is refused. Reviewed by hand: harmless means that it
// computes from its arguments, or from the clock and a random number, and can
// read no table, setting, session or file.
var functions = functionTable(map[connectors.FunctionClass]string{
	connectors.FunctionHarmless: `
abs acos asin atan atan2 ceil ceiling conv cos cot crc32 degrees exp floor ln log log10 log2 mod pi pow power radians
rand round sign sin sqrt tan truncate greatest least
ascii bin bit_length char char_length character_length concat concat_ws elt export_set field find_in_set format
from_base64 hex insert_func insert instr lcase left length locate lower lpad ltrim make_set mid oct octet_length ord
position quote repeat replace reverse right rpad rtrim soundex space strcmp substr substring substring_index to_base64
trim ucase unhex upper weight_string regexp_like regexp_replace regexp_substr regexp_instr
adddate addtime convert_tz curdate current_date current_time current_timestamp curtime date date_add date_format date_sub
datediff day dayname dayofmonth dayofweek dayofyear extract from_days from_unixtime get_format hour last_day localtime
localtimestamp makedate maketime microsecond minute month monthname now period_add period_diff quarter sec_to_time second
str_to_date subdate subtime sysdate time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_days
to_seconds unix_timestamp utc_date utc_time utc_timestamp week weekday weekofyear year yearweek
dateliteral timeliteral timestampliteral
if ifnull nullif coalesce isnull interval
cast convert binary_func charset coercibility collation
md5 sha sha1 sha2 compress uncompress uncompressed_length
json_array json_array_append json_array_insert json_contains json_contains_path json_depth json_extract json_insert
json_keys json_length json_merge_patch json_merge_preserve json_object json_overlaps json_pretty json_quote json_remove
json_replace json_search json_set json_type json_unquote json_valid json_value json_exists json_query json_compact json_loose
json_detailed
bit_count inet_aton inet_ntoa inet6_aton inet6_ntoa is_ipv4 is_ipv6 uuid is_uuid uuid_to_bin bin_to_uuid any_value
count sum avg max min group_concat bit_and bit_or bit_xor std stddev stddev_pop stddev_samp var_pop var_samp variance
json_arrayagg json_objectagg
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value`,
	connectors.FunctionFile:    `load_file`,
	connectors.FunctionSleep:   `sleep benchmark`,
	connectors.FunctionLock:    `get_lock release_lock release_all_locks is_free_lock is_used_lock`,
	connectors.FunctionProgram: `sys_exec sys_eval sys_get sys_set`,
	connectors.FunctionSession: `user current_user session_user system_user current_role connection_id database schema version
found_rows row_count last_insert_id`,
	connectors.FunctionNetwork:  `master_pos_wait source_pos_wait master_gtid_wait`,
	connectors.FunctionSequence: `nextval lastval setval uuid_short`,
	connectors.FunctionReads:    `extractvalue updatexml ps_thread_id`,
})

// volatile and stable functions; the rest are immutable.
var volatility = func() map[string]connectors.Volatility {
	out := map[string]connectors.Volatility{}
	for _, name := range strings.Fields("rand uuid uuid_short sleep benchmark nextval setval sysdate") {
		out[name] = connectors.Volatile
	}
	for _, name := range strings.Fields(`now curdate current_date curtime current_time current_timestamp localtime localtimestamp
utc_date utc_time utc_timestamp unix_timestamp user current_user database version connection_id`) {
		out[name] = connectors.Stable
	}
	return out
}()

func functionTable(classes map[connectors.FunctionClass]string) map[string]connectors.FunctionClass {
	out := map[string]connectors.FunctionClass{}
	for class, names := range classes {
		for _, name := range strings.Fields(names) {
			out[name] = class
		}
	}
	return out
}

// call notes a function, or refuses one that is not known.
func (a *analysis) call(schema, name string) error {
	lower := strings.ToLower(name)
	class, ok := functions[lower]
	if schema != "" || a.cat.routines[lower] {
		return unsupported("stored functions are not possible through the gateway: "+word(name), "Write the expression itself.")
	}
	if !ok {
		return unsupported("the gateway does not know the function "+word(name), "Use a standard function.")
	}
	for _, f := range a.st.Functions {
		if f.Name == lower {
			return nil
		}
	}
	v, ok := volatility[lower]
	if !ok {
		v = connectors.Immutable
	}
	a.st.Functions = append(a.st.Functions, connectors.Function{Name: lower, Volatility: v, Class: class})
	return nil
}

// word shows a name in a message only if it is a plain identifier.
func word(name string) string {
	if name == "" || len(name) > 64 || !wordStart(name[0]) {
		return "(not a plain name)"
	}
	for i := range len(name) {
		if !wordByte(name[i]) {
			return "(not a plain name)"
		}
	}
	return name
}
