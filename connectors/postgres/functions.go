package postgres

import (
	_ "embed"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

//go:embed functions.tsv
var functionsText string

// function is what is known of a function of pg_catalog.
type function struct {
	class      connectors.FunctionClass
	volatility connectors.Volatility
	aggregate  bool
	set        bool // it returns one
	// columns are those of a set of rows, where it has names.
	columns []string
}

// functionInternal is the class of what no statement needs: the parts of types,
// indexes and aggregates. It is refused like a function that is not known.
const functionInternal connectors.FunctionClass = "internal"

// functions are the functions that statements may name. Harmless ones compute
// from their arguments, or from the clock and a random number, and can read no
// table, setting, session or file.
var functions = readFunctions(functionsText)

// aggregates make one row of many.
var aggregates = func() map[string]bool {
	out := map[string]bool{}
	for name, f := range functions {
		out[name] = f.aggregate
	}
	return out
}()

// readFunctions reads the table; what is wrong with it the tests say.
func readFunctions(text string) map[string]function {
	out := map[string]function{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(fields) != 5 {
			continue
		}
		f := function{class: connectors.FunctionClass(fields[1]), volatility: connectors.Volatility(fields[2]),
			aggregate: strings.Contains(fields[3], "aggregate"), set: strings.Contains(fields[3], "set")}
		if fields[4] != "-" {
			f.columns = strings.Split(fields[4], ",")
		}
		out[strings.TrimSuffix(fields[0], "*")] = f
	}
	return out
}

// types that statements may cast to: built-in ones whose input reads nothing.
var types = set(`text varchar bpchar char name bool int2 int4 int8 oid float4 float8 numeric money date time timetz timestamp timestamptz
interval uuid xml json jsonb bytea bit varbit inet cidr macaddr macaddr8 point line lseg box path polygon circle tsvector tsquery
int4range int8range numrange tsrange tstzrange daterange`)

func set(names string) map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(names) {
		out[name] = true
	}
	return out
}

// call notes a function and names its schema, or refuses one that is not known.
func (a *analysis) call(e *pg.FuncCall) error {
	name := last(e.Funcname)
	f, ok := functions[name]
	if len(e.Funcname) > 2 || len(e.Funcname) == 2 && e.Funcname[0].GetString_().GetSval() != "pg_catalog" || !ok || f.class == functionInternal {
		return a.userFunction(e)
	}
	if len(e.Funcname) == 1 { // so that no function of that name can be put before it
		e.Funcname = []*pg.Node{pg.MakeStrNode("pg_catalog"), e.Funcname[0]}
	}
	a.called(connectors.Function{Name: name, Volatility: f.volatility, Class: f.class})
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

// sqlValue notes CURRENT_DATE and its kin; CURRENT_USER is the lease's user.
func (a *analysis) sqlValue(e *pg.SQLValueFunction) error {
	name := strings.ToLower(strings.TrimPrefix(e.Op.String(), "SVFOP_"))
	switch e.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N,
		pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N, pg.SQLValueFunctionOp_SVFOP_CURRENT_USER:
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
		return unsupported("the gateway does not know the type "+word(name), "Leave the cast out (a literal takes the type of what it is compared with), or cast to a built-in type.")
	}
	if a.cat.relations["public."+name] != nil && len(t.Names) == 1 && name != "text" {
		return nil // pg_catalog is searched first: the built-in type wins
	}
	return nil
}
