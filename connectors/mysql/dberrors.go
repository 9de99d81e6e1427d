package mysql

import (
	"regexp"
	"strings"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/connectors"
)

// databaseError rebuilds an error of the server from its number and names that
// the statement itself has. The server's own message quotes values ("Duplicate
// entry '…'", "Truncated incorrect DOUBLE value: '…'"), so none of it is passed on.
func databaseError(e *driversql.MySQLError, st *connectors.Statement) *connectors.Error {
	out := &connectors.Error{Kind: connectors.KindStatement, SQLState: state(e), Message: "the database refused the statement"}
	known, ok := numbers[e.Number]
	if !ok {
		return out
	}
	out.Kind, out.Message, out.Hint, out.Retryable = known.kind, known.message, known.hint, known.retryable
	if known.about == nil {
		return out
	}
	if g := known.about.FindStringSubmatch(e.Message); g != nil && says(st, g[1]) {
		out.Message += ": " + strings.ToLower(g[1])
	}
	return out
}

// The server's messages that name what they are about at a fixed place. A value
// that is quoted before the name cannot move it: the name ends the message.
var (
	aboutColumn   = regexp.MustCompile("(?s)(?:^Column|^Field|[Ff]or column) (?:`[^`]*`\\.)*['`]([A-Za-z_][A-Za-z0-9_]*)['`] (?:cannot be null|specified twice|doesn't have a default value|at row [0-9]+)$")
	aboutFunction = regexp.MustCompile("^Incorrect parameter count in the call to native function '([A-Za-z_][A-Za-z0-9_]*)'$")
	aboutWindow   = regexp.MustCompile("^Window specification with name '([A-Za-z_][A-Za-z0-9_]*)' is not defined$")
)

// says reports whether a statement has a name: the normalised text holds no
// literal, but every name.
func says(st *connectors.Statement, name string) bool {
	if st == nil {
		return false
	}
	for said := range strings.FieldsFuncSeq(st.Normalized, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r < 0x80
	}) {
		if strings.EqualFold(said, name) {
			return true
		}
	}
	return false
}

// state is the SQLSTATE, "" for what is none.
func state(e *driversql.MySQLError) string {
	for _, b := range e.SQLState {
		if (b < '0' || b > '9') && (b < 'A' || b > 'Z') {
			return ""
		}
	}
	return string(e.SQLState[:])
}

// template is what an error number becomes.
type template struct {
	kind          connectors.ErrorKind
	message, hint string
	retryable     bool
	about         *regexp.Regexp // its group is a name that may be said
}

const hintRange = "Cast to decimal or double before computing, or use signed numbers."

var (
	wrongValue = template{kind: connectors.KindStatement, message: "a value has no valid form for its type",
		hint: "Check the types of parameters and casts. Masked values cannot be cast.", about: aboutColumn}
	denied    = template{kind: connectors.KindPermission, message: "the minted user lacks the right"}
	full      = template{kind: connectors.KindUnavailable, message: "the database is out of resources", retryable: true}
	cut       = template{kind: connectors.KindUnavailable, message: "the database ended the session", retryable: true}
	uniqueKey = template{kind: connectors.KindStatement, message: "a unique key would be violated"}
	orphan    = template{kind: connectors.KindStatement, message: "a foreign key would be violated",
		hint: "The row that it refers to does not exist."}
	parent = template{kind: connectors.KindStatement, message: "rows of another table refer to this one",
		hint: "Change those rows first."}
	check    = template{kind: connectors.KindStatement, message: "a check would be violated", hint: "A json column takes valid JSON only."}
	tooSlow  = template{kind: connectors.KindTimeout, message: "the statement's time was up", retryable: true}
	readOnly = template{kind: connectors.KindPermission, message: "the transaction is read only"}
	syntax   = template{kind: connectors.KindSyntax, message: "syntax error"}
	grouping = template{kind: connectors.KindStatement, message: "a column must appear in GROUP BY or in an aggregate",
		hint: "Add it to GROUP BY."}
	ambiguous = template{kind: connectors.KindUnresolved, message: "a column name is ambiguous", hint: "Qualify it with the table's alias."}
	arity     = template{kind: connectors.KindStatement, message: "a function does not take this number of arguments", about: aboutFunction}
	window    = template{kind: connectors.KindStatement, message: "window functions are allowed only in the select list and in ORDER BY",
		hint: "Compute it in a subquery."}
	nested = template{kind: connectors.KindStatement, message: "a window function is inside another or inside an aggregate",
		hint: "Compute the inner one in a subquery."}
	aggregate = template{kind: connectors.KindStatement, message: "an aggregate is not allowed there",
		hint: "Use HAVING, or compute it in a subquery."}
	charset = template{kind: connectors.KindStatement, message: "a character set or collation does not fit",
		hint: "Compare with CONVERT(… USING utf8mb4), or leave COLLATE out."}
	badJSON = template{kind: connectors.KindStatement, message: "a value is no valid JSON"}
	shape   = template{kind: connectors.KindStatement, message: "a subquery or row gives another number of columns than is needed",
		hint: "Select one column, or as many as it is compared with."}
)

var numbers = map[uint16]template{
	1040: full, 1041: full, 1203: full, 1226: full, 1021: full, 1037: full, 1038: full, 1114: full, 1135: full,
	1044: denied, 1045: denied, 1142: denied, 1143: denied, 1227: denied, 1370: denied, 1290: denied,
	1048: {kind: connectors.KindStatement, message: "a column that must not be NULL would be", about: aboutColumn},
	1364: {kind: connectors.KindStatement, message: "a column without a default needs a value", about: aboutColumn},
	1052: ambiguous,
	1054: {kind: connectors.KindUnresolved, message: "no such column"},
	1146: {kind: connectors.KindUnresolved, message: "no such table"},
	1305: {kind: connectors.KindUnresolved, message: "no such function"},
	1176: {kind: connectors.KindUnresolved, message: "no such index"},
	1049: {kind: connectors.KindUnresolved, message: "no such database"},
	1055: grouping, 1140: grouping,
	1056: {kind: connectors.KindStatement, message: "an aggregate cannot be grouped by",
		hint: "Group by the columns, and filter aggregates in HAVING."},
	1111: aggregate,
	1060: {kind: connectors.KindStatement, message: "two columns of a derived table have the same name",
		hint: "Give them different aliases."},
	1066: {kind: connectors.KindStatement, message: "two tables have the same name", hint: "Give them different aliases."},
	1110: {kind: connectors.KindStatement, message: "a column is assigned twice", about: aboutColumn},
	1136: {kind: connectors.KindStatement, message: "a row has another number of values than columns"},
	1062: uniqueKey, 1586: uniqueKey,
	1064: syntax, 1149: syntax,
	1193: {kind: connectors.KindStatement, message: "no such setting"},
	1205: {kind: connectors.KindConflict, message: "a lock could not be had in time", retryable: true},
	1213: {kind: connectors.KindConflict, message: "a deadlock was resolved at this statement's cost", retryable: true},
	1020: {kind: connectors.KindConflict, message: "another transaction was in the way", retryable: true},
	1216: orphan, 1452: orphan, 1217: parent, 1451: parent,
	1221: {kind: connectors.KindStatement, message: "two clauses cannot be used together", hint: "Compute one of them in a subquery."},
	1222: {kind: connectors.KindStatement, message: "the parts of a set operation have different numbers of columns"},
	1235: {kind: connectors.KindStatement, message: "the database does not support this form of the statement",
		hint: "Join a derived table instead of IN with LIMIT."},
	1241: shape,
	1242: {kind: connectors.KindStatement, message: "a subquery that must give one row gave more",
		hint: "Use IN, an aggregate, or LIMIT 1."},
	1264: {kind: connectors.KindStatement, message: "a number is out of range", about: aboutColumn},
	1690: {kind: connectors.KindStatement, message: "a number is out of range", hint: hintRange},
	1265: wrongValue, 1292: wrongValue, 1366: wrongValue, 1411: wrongValue, 1525: wrongValue, 1105: wrongValue,
	1416: {kind: connectors.KindStatement, message: "a value is no valid geometry"},
	3037: {kind: connectors.KindStatement, message: "a value is no valid geometry"},
	1365: {kind: connectors.KindStatement, message: "division by zero", hint: "Use NULLIF(divisor, 0)."},
	1406: {kind: connectors.KindStatement, message: "a value is too long for its column", about: aboutColumn},
	1425: {kind: connectors.KindStatement, message: "a type has more decimals than the database allows"},
	1426: {kind: connectors.KindStatement, message: "a type has more digits than the database allows",
		hint: "decimal takes at most 65 digits."},
	1139: {kind: connectors.KindStatement, message: "a regular expression is invalid"},
	1115: charset, 1253: charset, 1267: charset, 1270: charset, 1271: charset, 1273: charset,
	1107: arity, 1582: arity, 1583: arity, 1318: arity,
	1093: {kind: connectors.KindStatement, message: "a table is changed and read at once", hint: "Read it in a derived table."},
	1137: {kind: connectors.KindStatement, message: "a temporary table cannot be used twice in a statement"},
	1247: {kind: connectors.KindStatement, message: "an alias refers to what is not computed yet",
		hint: "Repeat the expression, or compute it in a subquery."},
	1317: {kind: connectors.KindCancelled, message: "the statement was stopped"},
	1792: readOnly, 1836: readOnly,
	1927: cut, 1053: cut, 2013: cut, 2006: cut,
	1969: tooSlow, 3024: tooSlow,
	4005: {kind: connectors.KindStatement, message: "a recursive common table expression has no part that does not refer to itself",
		hint: "Begin it with a SELECT of its own, joined by UNION ALL."},
	3636: {kind: connectors.KindStatement, message: "a recursive common table expression does not end",
		hint: "End the recursion in its WHERE."},
	4009: {kind: connectors.KindStatement, message: "a window is not defined", about: aboutWindow},
	4015: window, 3593: window,
	1250: {kind: connectors.KindStatement, message: "ORDER BY of a set operation names a table",
		hint: "Name the column of the result alone."},
	4124: {kind: connectors.KindStatement, message: "the table keeps no history"},
	4016: nested, 4074: nested,
	4025: check, 3819: check,
	4037: badJSON, 4038: badJSON, 3140: badJSON, 3141: badJSON,
	4042: {kind: connectors.KindStatement, message: "a JSON path is invalid"},
	3143: {kind: connectors.KindStatement, message: "a JSON path is invalid"},
	4078: {kind: connectors.KindStatement, message: "an operator or function does not take these types", hint: "Add explicit casts."},
	4079: {kind: connectors.KindStatement, message: "a function does not take an argument of this type", hint: "Add explicit casts."},
}
