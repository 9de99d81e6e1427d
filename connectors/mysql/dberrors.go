package mysql

import (
	driversql "github.com/go-sql-driver/mysql"

	"github.com/chaperone-sql/chaperone/connectors"
)

// databaseError rebuilds an error of the server from its number alone. The
// server's own message quotes values ("Duplicate entry '…'", "Truncated
// incorrect DOUBLE value: '…'"), so no part of it is passed on.
func databaseError(e *driversql.MySQLError) *connectors.Error {
	out := &connectors.Error{Kind: connectors.KindStatement, SQLState: state(e), Message: "the database refused the statement"}
	if known, ok := numbers[e.Number]; ok {
		out.Kind, out.Message, out.Hint, out.Retryable = known.kind, known.message, known.hint, known.retryable
	}
	return out
}

func state(e *driversql.MySQLError) string {
	if e.SQLState == [5]byte{} {
		return ""
	}
	return string(e.SQLState[:])
}

// template is what an error number becomes.
type template struct {
	kind          connectors.ErrorKind
	message, hint string
	retryable     bool
}

var (
	wrongValue = template{kind: connectors.KindStatement, message: "a value has no valid form for its type",
		hint: "Check the types of parameters and casts. Masked values cannot be cast."}
	denied    = template{kind: connectors.KindPermission, message: "the minted user lacks the right"}
	full      = template{kind: connectors.KindUnavailable, message: "the database is out of resources", retryable: true}
	cut       = template{kind: connectors.KindUnavailable, message: "the database ended the session", retryable: true}
	uniqueKey = template{kind: connectors.KindStatement, message: "a unique key would be violated"}
	foreign   = template{kind: connectors.KindStatement, message: "a foreign key would be violated"}
	tooSlow   = template{kind: connectors.KindTimeout, message: "the statement's time was up", retryable: true}
	readOnly  = template{kind: connectors.KindPermission, message: "the transaction is read only"}
	syntax    = template{kind: connectors.KindSyntax, message: "syntax error"}
	grouping  = template{kind: connectors.KindStatement, message: "a column must appear in GROUP BY or in an aggregate"}
)

var numbers = map[uint16]template{
	1040: full, 1041: full, 1203: full, 1226: full, 1021: full, 1037: full,
	1044: denied, 1045: denied, 1142: denied, 1143: denied, 1227: denied, 1370: denied, 1290: denied,
	1048: {kind: connectors.KindStatement, message: "a column that must not be NULL would be"},
	1052: {kind: connectors.KindUnresolved, message: "a column name is ambiguous", hint: "Qualify it with the table's alias."},
	1054: {kind: connectors.KindUnresolved, message: "no such column"},
	1055: grouping, 1140: grouping,
	1062: uniqueKey, 1586: uniqueKey,
	1064: syntax, 1149: syntax,
	1146: {kind: connectors.KindUnresolved, message: "no such table"},
	1205: {kind: connectors.KindConflict, message: "a lock could not be had in time", retryable: true},
	1213: {kind: connectors.KindConflict, message: "a deadlock was resolved at this statement's cost", retryable: true},
	1020: {kind: connectors.KindConflict, message: "another transaction was in the way", retryable: true},
	1216: foreign, 1217: foreign, 1451: foreign, 1452: foreign,
	1242: {kind: connectors.KindStatement, message: "a subquery that must give one row gave more"},
	1264: {kind: connectors.KindStatement, message: "a number is out of range"},
	1690: {kind: connectors.KindStatement, message: "a number is out of range"},
	1292: wrongValue, 1366: wrongValue, 1411: wrongValue, 1525: wrongValue, 1105: wrongValue,
	1365: {kind: connectors.KindStatement, message: "division by zero", hint: "Use NULLIF(divisor, 0)."},
	1406: {kind: connectors.KindStatement, message: "a value is too long for its column"},
	1317: {kind: connectors.KindCancelled, message: "the statement was stopped"},
	1792: readOnly, 1836: readOnly,
	1927: cut, 1053: cut, 2013: cut, 2006: cut,
	1969: tooSlow, 3024: tooSlow,
	4025: {kind: connectors.KindStatement, message: "a check would be violated"},
	3819: {kind: connectors.KindStatement, message: "a check would be violated"},
}
