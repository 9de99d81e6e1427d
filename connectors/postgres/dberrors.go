package postgres

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-sql/chaperone/connectors"
)

// databaseError rebuilds an error of the server from what can carry no data:
// its SQLSTATE, and identifiers where they occur in the statement as it was
// understood. The server's own message, detail, hint and context may quote
// values, so none of them is passed on.
func databaseError(e *pgconn.PgError, st *connectors.Statement) *connectors.Error {
	out := &connectors.Error{Kind: connectors.KindStatement, SQLState: e.Code, Message: "the database refused the statement"}
	if known, ok := states[e.Code]; ok {
		out.Kind, out.Message, out.Hint, out.Retryable = known.kind, known.message, known.hint, known.retryable
	} else if class, ok := classes[e.Code[:min(2, len(e.Code))]]; ok {
		out.Kind, out.Message, out.Retryable = class.kind, class.message, class.retryable
	}
	if name := identifier(e, st); name != "" {
		out.Message += ": " + name
	}
	return out
}

// template is what a state becomes.
type template struct {
	kind          connectors.ErrorKind
	message, hint string
	retryable     bool
}

var states = map[string]template{
	"22001": {kind: connectors.KindStatement, message: "a value is too long for its column"},
	"22003": {kind: connectors.KindStatement, message: "a number is out of range"},
	"22007": {kind: connectors.KindStatement, message: "a value is no valid date or time"},
	"22008": {kind: connectors.KindStatement, message: "a date or time is out of range"},
	"22012": {kind: connectors.KindStatement, message: "division by zero", hint: "Use NULLIF(divisor, 0)."},
	"22023": {kind: connectors.KindStatement, message: "an argument of a function has an invalid value"},
	"22P02": {kind: connectors.KindStatement, message: "a value has no valid form for its type",
		hint: "Check the types of parameters and casts. Masked values cannot be cast."},
	"23502": {kind: connectors.KindStatement, message: "a column that must not be NULL would be"},
	"23503": {kind: connectors.KindStatement, message: "a foreign key would be violated"},
	"23505": {kind: connectors.KindStatement, message: "a unique key would be violated"},
	"23514": {kind: connectors.KindStatement, message: "a check would be violated"},
	"25006": {kind: connectors.KindPermission, message: "the transaction is read only"},
	"40001": {kind: connectors.KindConflict, message: "another transaction was in the way", retryable: true},
	"40P01": {kind: connectors.KindConflict, message: "a deadlock was resolved at this statement's cost", retryable: true},
	"42501": {kind: connectors.KindPermission, message: "the minted user lacks the right"},
	"42601": {kind: connectors.KindSyntax, message: "syntax error"},
	"42703": {kind: connectors.KindUnresolved, message: "no such column"},
	"42P01": {kind: connectors.KindUnresolved, message: "no such table"},
	"42702": {kind: connectors.KindUnresolved, message: "a column name is ambiguous", hint: "Qualify it with the table's alias."},
	"42803": {kind: connectors.KindStatement, message: "a column must appear in GROUP BY or in an aggregate",
		hint: "Add it to GROUP BY. A table with protected columns does not let its key stand for the others."},
	"42804": {kind: connectors.KindStatement, message: "types do not match"},
	"42883": {kind: connectors.KindStatement, message: "no operator or function takes these types", hint: "Add explicit casts."},
	"42725": {kind: connectors.KindStatement, message: "an operator or function is ambiguous", hint: "Add explicit casts."},
	"42P18": {kind: connectors.KindParameter, message: "a parameter's type cannot be inferred",
		hint: `Cast it ($1::integer), or send {"value": …, "type": "integer"}.`},
	"42P08": {kind: connectors.KindParameter, message: "a parameter is used with two types", hint: "Cast it where it is used."},
	"53300": {kind: connectors.KindUnavailable, message: "the database has no connection left", retryable: true},
	"55P03": {kind: connectors.KindConflict, message: "a lock could not be had in time", retryable: true},
	"57014": {kind: connectors.KindTimeout, message: "the statement's time was up", retryable: true},
	"57P01": {kind: connectors.KindUnavailable, message: "the database ended the session", retryable: true},
}

// classes are the first two characters of a state, for what states leaves out.
var classes = map[string]template{
	"08": {kind: connectors.KindUnavailable, message: "the connection to the database broke off", retryable: true},
	"21": {kind: connectors.KindStatement, message: "a subquery that must give one row gave more"},
	"22": {kind: connectors.KindStatement, message: "a value cannot be used as the statement asks"},
	"23": {kind: connectors.KindStatement, message: "a constraint would be violated"},
	"25": {kind: connectors.KindStatement, message: "the transaction's state does not allow this"},
	"28": {kind: connectors.KindUnavailable, message: "the database refused the minted credential", retryable: true},
	"40": {kind: connectors.KindConflict, message: "the transaction was rolled back", retryable: true},
	"42": {kind: connectors.KindStatement, message: "the database does not accept the statement"},
	"53": {kind: connectors.KindUnavailable, message: "the database is out of resources", retryable: true},
	"54": {kind: connectors.KindStatement, message: "the statement is too complex for the database"},
	"57": {kind: connectors.KindUnavailable, message: "the database was interrupted", retryable: true},
	"58": {kind: connectors.KindUnavailable, message: "the database has a system error"},
	"XX": {kind: connectors.KindStatement, message: "the database has an internal error"},
}

// quoted finds the identifier that PostgreSQL quotes in the states of class 42.
var quoted = regexp.MustCompile(`^[a-z ]*"([A-Za-z_][A-Za-z0-9_.]{0,62})"`)

// identifier is a name from the message of a naming error (class 42), if it
// occurs as a word of the normalised statement, which holds no literal.
func identifier(e *pgconn.PgError, st *connectors.Statement) string {
	if st == nil || !strings.HasPrefix(e.Code, "42") {
		return ""
	}
	m := quoted.FindStringSubmatch(e.Message)
	if m == nil {
		return ""
	}
	for word := range strings.FieldsFuncSeq(st.Normalized, func(r rune) bool {
		return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		if strings.EqualFold(word, m[1]) {
			return m[1]
		}
	}
	return ""
}
