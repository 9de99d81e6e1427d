package mysql

import (
	_ "embed"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
)

//go:embed functions.tsv
var functionsText string

// function is what is known of a built-in function.
type function struct {
	class      connectors.FunctionClass
	volatility connectors.Volatility
}

// functions are the functions that statements may name; one that is not here is
// refused. Harmless ones compute from their arguments, or from the clock and a
// random number, and can read no table, setting, session or file.
var functions = readFunctions(functionsText)

// readFunctions reads the table; what is wrong with it the tests say.
func readFunctions(text string) map[string]function {
	out := map[string]function{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(line, "#") && len(fields) == 4 {
			out[strings.TrimSuffix(fields[0], "*")] = function{connectors.FunctionClass(fields[1]), connectors.Volatility(fields[2])}
		}
	}
	return out
}

// call notes a function, or refuses one that is not known.
func (a *analysis) call(schema, name string) error {
	lower := strings.ToLower(name)
	known, ok := functions[lower]
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
	a.st.Functions = append(a.st.Functions, connectors.Function{Name: lower, Volatility: known.volatility, Class: known.class})
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
