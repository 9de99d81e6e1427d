package postgres

import (
	"context"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// The server reads (value).name as name(value) where the value has no such field:
// any function of one argument can be called so, also ts_stat, which runs the text
// that it is given, and any type can be cast to.

// suffix refuses a name of (value).name that could be more than a field or a
// harmless function. Array types begin with an underscore.
func (a *analysis) suffix(name string) error {
	if a.strict {
		return nil // the server writes a view's calls as calls, so here it is a field
	}
	f, known := functions[name]
	if a.cat.suffixes[name] || strings.HasPrefix(name, "_") || known && (f.class != connectors.FunctionHarmless || f.aggregate || f.set) {
		return unsupported("(value)."+word(name)+" could call a function or cast to a type of this name",
			"Write a call as "+word(name)+"(value), and a field as to_jsonb(value) ->> '"+word(name)+"'.")
	}
	if known {
		a.called(connectors.Function{Name: name, Volatility: f.volatility, Class: f.class})
	}
	a.suffixed[name] = true
	return nil
}

// composed are the functions whose type is that of an argument: of rows, they give
// the columns of those, and no column of the function's own name.
var composed = set("unnest json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset")

// assumed refuses a function in FROM whose only column the gateway takes for one of
// the name given, where there may be none: then f.f is f(f).
func (a *analysis) assumed(call *pg.FuncCall, r *pg.RangeFunction, name string) error {
	if a.strict || len(r.Alias.GetColnames()) > 0 && len(r.Functions) == 1 || !composed[last(call.Funcname)] {
		return nil
	}
	f, known := functions[name]
	if a.cat.suffixes[name] || known && f.class != connectors.FunctionHarmless {
		return unsupported("a function or type has the name "+word(name)+" that is given to what a function in FROM returns",
			"Name the column too: AS t(value).")
	}
	a.suffixed[name] = true
	return nil
}

// suffixesSQL finds what can be called by a name alone.
const suffixesSQL = `SELECT o.name, o.builtin, o.type FROM (
	SELECT p.proname::text AS name, p.oid < 16384 AS builtin, false AS type, p.pronamespace AS schema FROM pg_catalog.pg_proc p
	UNION SELECT t.typname::text, t.oid < 16384, true, t.typnamespace FROM pg_catalog.pg_type t WHERE t.typrelid = 0 AND t.typname !~ '^_'
	) o JOIN pg_catalog.pg_namespace n ON n.oid = o.schema WHERE `

// calls reports whether a name calls what the gateway does not know.
func calls(name string, builtin, typ bool) bool {
	_, known := functions[name]
	return !builtin || typ && !types[name] || !typ && !known
}

// loadSuffixes reads what users defined, and types that the gateway does not know.
func (c *catalog) loadSuffixes(ctx context.Context, q querier) error {
	var name string
	var builtin, typ bool
	return each(ctx, q, []any{&name, &builtin, &typ}, func() {
		if calls(name, builtin, typ) {
			c.suffixes[name] = true
		}
	}, suffixesSQL+"n.nspname = ANY($1::text[]) AND (o.type OR NOT o.builtin)", append([]string{"pg_catalog"}, c.searchPath...))
}

// suffixesNow looks for names again, also among the functions of a newer server.
func suffixesNow(ctx context.Context, q querier, names []string, found func(name string)) error {
	var name string
	var builtin, typ bool
	return each(ctx, q, []any{&name, &builtin, &typ}, func() {
		if calls(name, builtin, typ) {
			found(name)
		}
	}, suffixesSQL+"n.nspname = ANY(pg_catalog.current_schemas(true)) AND o.name = ANY($1::text[])", names)
}
