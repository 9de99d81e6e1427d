package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// defined is what is known of the functions of one name that users defined.
type defined struct {
	// digest is of all their definitions, overloads together.
	digest string
	// plain is false if one of them is an aggregate, a procedure or gives rows.
	plain      bool
	volatility connectors.Volatility
}

// definedSQL digests definitions by schema and name: whose rights a function has
// counts where it does not run with its caller's.
const definedSQL = `SELECT n.nspname::text, p.proname::text,
	'sha256:' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.string_agg(
		(CASE WHEN p.prosecdef THEN pg_catalog.pg_get_userbyid(p.proowner)::text ELSE '' END) || E'\n' ||
		(CASE WHEN p.prokind = 'a' THEN p.oid::text ELSE pg_catalog.pg_get_functiondef(p.oid) END), E'\n'
		ORDER BY pg_catalog.pg_get_function_identity_arguments(p.oid) COLLATE "C"), 'UTF8')), 'hex'),
	pg_catalog.bool_and(p.prokind = 'f' AND NOT p.proretset AND t.typtype IN ('b', 'e', 'd')), pg_catalog.max(p.provolatile::text)
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_type t ON t.oid = p.prorettype `

// loadDefined reads the functions that users defined in the search path.
func (c *catalog) loadDefined(ctx context.Context, q querier) error {
	var schema, name, volatility string
	var one defined
	return each(ctx, q, []any{&schema, &name, &one.digest, &one.plain, &volatility}, func() {
		one.volatility = map[string]connectors.Volatility{"i": connectors.Immutable, "s": connectors.Stable}[volatility]
		if one.volatility == "" {
			one.volatility = connectors.Volatile
		}
		c.defined[schema+"."+name] = one
	}, definedSQL+"WHERE n.nspname = ANY($1) AND p.oid >= 16384 GROUP BY 1, 2", c.searchPath)
}

// definedNow reads the digests of some functions again.
func definedNow(ctx context.Context, q querier, schemas, names []string, found func(schema, name, digest string)) error {
	var schema, name, digest, volatility string
	var plain bool
	return each(ctx, q, []any{&schema, &name, &digest, &plain, &volatility}, func() { found(schema, name, digest) },
		definedSQL+`JOIN unnest($1::text[], $2::text[]) AS o(schema, name) ON o.schema = n.nspname AND o.name = p.proname GROUP BY 1, 2`,
		schemas, names)
}

// userFunction allows a function that users defined if the configuration lists
// it with the digest that its definition has now, and names its schema.
func (a *analysis) userFunction(e *pg.FuncCall) error {
	name, schemas := last(e.Funcname), a.cat.searchPath
	if len(e.Funcname) == 2 {
		schemas = []string{e.Funcname[0].GetString_().GetSval()}
	}
	for _, schema := range schemas {
		f, ok := a.cat.defined[schema+"."+name]
		if !ok {
			continue
		}
		full := schema + "." + name
		_, builtin := functions[name]
		listed, has := a.in.Functions[full]
		switch {
		case !f.plain || builtin || e.AggStar || e.AggDistinct || e.AggWithinGroup || e.AggFilter != nil || e.Over != nil || len(e.AggOrder) > 0:
			return unsupported("of the functions that users defined only those can be called that give one value and have no built-in one's name: "+word(name),
				"Write the expression itself.")
		case !has:
			return unsupported("functions that users defined can be called only if the configuration lists them: "+word(name),
				fmt.Sprintf("Write the expression itself. An operator who has read its definition lists it: functions: {%s: %s}.", full, f.digest))
		case listed != f.digest:
			return unsupported("the function "+word(name)+" has changed since the configuration listed it",
				fmt.Sprintf("Write the expression itself. An operator who has read its new definition lists it: functions: {%s: %s}.", full, f.digest))
		}
		e.Funcname = []*pg.Node{pg.MakeStrNode(schema), pg.MakeStrNode(name)}
		a.called(connectors.Function{Name: full, Volatility: f.volatility, Class: connectors.FunctionListed})
		a.defined[schema+"\x00"+name] = f.digest
		return nil
	}
	err := unsupported("the gateway does not know the function "+word(name), "Use a standard function.")
	if near := connectors.Suggest(name, slices.Collect(maps.Keys(functions))); near != "" {
		err.Hint = near
	}
	err.Position = a.find(name)
	return err
}
