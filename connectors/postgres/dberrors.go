package postgres

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-sql/chaperone/connectors"
)

// databaseError rebuilds an error of the server from what can carry no data:
// its SQLSTATE, phrases that the server says word by word, names that the
// statement or its relations have, and names of built-in types. The server's own
// message, detail, hint and context may quote values, so none of them is passed
// on.
func databaseError(e *pgconn.PgError, st *connectors.Statement) *connectors.Error {
	out := &connectors.Error{Kind: connectors.KindStatement, SQLState: stateOf(e.Code), Message: "the database refused the statement"}
	if known, ok := states[e.Code]; ok {
		out.Kind, out.Message, out.Hint, out.Retryable = known.kind, known.message, known.hint, known.retryable
	} else if class, ok := classes[e.Code[:min(2, len(e.Code))]]; ok {
		out.Kind, out.Message, out.Hint, out.Retryable = class.kind, class.message, class.hint, class.retryable
	}
	n := namesOf(st)
	if p, ok := phrases[e.Message]; ok {
		out.Message, out.Hint = p.message, p.hint
	} else {
		n.detail(e, out)
	}
	out.Position = n.position(e)
	return out
}

// stateOf is a SQLSTATE, "" for what is none.
func stateOf(code string) string {
	for i := range len(code) {
		if b := code[i]; (b < '0' || b > '9') && (b < 'A' || b > 'Z') {
			return ""
		}
	}
	if len(code) != 5 {
		return ""
	}
	return code
}

// template is what a state becomes.
type template struct {
	kind          connectors.ErrorKind
	message, hint string
	retryable     bool
}

const (
	hintDate = "Write dates as '2024-12-31' and times as '2024-12-31 23:59:59'."
	hintCast = "Check the types of parameters and casts. Masked values cannot be cast."
)

var states = map[string]template{
	"22001": {kind: connectors.KindStatement, message: "a value is too long for its column"},
	"22003": {kind: connectors.KindStatement, message: "a number is out of range", hint: "Cast to bigint or numeric before computing."},
	"22007": {kind: connectors.KindStatement, message: "a value is no valid date or time", hint: hintDate},
	"22008": {kind: connectors.KindStatement, message: "a date or time is out of range", hint: hintDate},
	"22009": {kind: connectors.KindStatement, message: "a time zone is out of range"},
	"22011": {kind: connectors.KindStatement, message: "a substring has a negative length"},
	"22012": {kind: connectors.KindStatement, message: "division by zero", hint: "Use NULLIF(divisor, 0)."},
	"22019": {kind: connectors.KindStatement, message: "an escape character is invalid"},
	"22023": {kind: connectors.KindStatement, message: "an argument of a function has an invalid value"},
	"22025": {kind: connectors.KindStatement, message: "an escape sequence is invalid", hint: "ESCAPE takes one character."},
	"22032": {kind: connectors.KindStatement, message: "a value is no valid JSON"},
	"2201B": {kind: connectors.KindStatement, message: "a regular expression is invalid"},
	"2201E": {kind: connectors.KindStatement, message: "a logarithm is taken of zero or less", hint: "Use NULLIF or a WHERE."},
	"2201F": {kind: connectors.KindStatement, message: "a power or root has an argument without a result", hint: "Use abs, or a WHERE."},
	"2201W": {kind: connectors.KindStatement, message: "LIMIT must not be negative"},
	"2201X": {kind: connectors.KindStatement, message: "OFFSET must not be negative"},
	"22P02": {kind: connectors.KindStatement, message: "a value has no valid form for its type", hint: hintCast},
	"22P05": {kind: connectors.KindStatement, message: "a character is not in the encoding"},
	"23502": {kind: connectors.KindStatement, message: "a column that must not be NULL would be"},
	"23503": {kind: connectors.KindStatement, message: "a foreign key would be violated"},
	"23505": {kind: connectors.KindStatement, message: "a unique key would be violated"},
	"23514": {kind: connectors.KindStatement, message: "a check would be violated"},
	"23P01": {kind: connectors.KindStatement, message: "an exclusion constraint would be violated"},
	"25006": {kind: connectors.KindPermission, message: "the transaction is read only"},
	"40001": {kind: connectors.KindConflict, message: "another transaction was in the way", retryable: true},
	"40P01": {kind: connectors.KindConflict, message: "a deadlock was resolved at this statement's cost", retryable: true},
	"42501": {kind: connectors.KindPermission, message: "the minted user lacks the right"},
	"42601": {kind: connectors.KindStatement, message: "the database does not accept the statement's form"},
	"42703": {kind: connectors.KindUnresolved, message: "no such column"},
	"42P01": {kind: connectors.KindUnresolved, message: "no such table"},
	"42702": {kind: connectors.KindUnresolved, message: "a column name is ambiguous", hint: "Qualify it with the table's alias."},
	"42803": {kind: connectors.KindStatement, message: "a column must appear in GROUP BY or in an aggregate",
		hint: "Add it to GROUP BY. A table with protected columns does not let its key stand for the others."},
	"42804": {kind: connectors.KindStatement, message: "types do not match", hint: "Add explicit casts."},
	"42846": {kind: connectors.KindStatement, message: "there is no cast between the types"},
	"42883": {kind: connectors.KindStatement, message: "no operator or function takes these types", hint: "Add explicit casts."},
	"42725": {kind: connectors.KindStatement, message: "an operator or function is ambiguous", hint: "Add explicit casts."},
	"42P18": {kind: connectors.KindParameter, message: "a parameter's type cannot be inferred",
		hint: `Cast it ($1::integer), or send {"value": …, "type": "integer"}.`},
	"42P08": {kind: connectors.KindParameter, message: "a parameter is used with two types", hint: "Cast it where it is used."},
	"42P10": {kind: connectors.KindStatement, message: "a column is not where the statement needs it",
		hint: "With DISTINCT, ORDER BY takes what is in the select list; ON CONFLICT takes a unique key."},
	"42P20": {kind: connectors.KindStatement, message: "a window function is not allowed there", hint: "Compute it in a subquery."},
	"25P03": {kind: connectors.KindTimeout, message: "the statement's time was up before it ran", retryable: true},
	"53300": {kind: connectors.KindUnavailable, message: "the database has no connection left", retryable: true},
	"54000": {kind: connectors.KindStatement, message: "a value or the statement is larger than the database allows"},
	"55P03": {kind: connectors.KindConflict, message: "a lock could not be had in time", retryable: true},
	"57014": {kind: connectors.KindTimeout, message: "the statement's time was up", retryable: true},
	"57P01": {kind: connectors.KindUnavailable, message: "the database ended the session", retryable: true},
}

// classes are the first two characters of a state, for what states leaves out.
var classes = map[string]template{
	"08": {kind: connectors.KindUnavailable, message: "the connection to the database broke off", retryable: true},
	"21": {kind: connectors.KindStatement, message: "a subquery that must give one row gave more", hint: "Use IN, an aggregate, or LIMIT 1."},
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

// phrases are messages of the server that hold nothing of a statement or a row,
// so that they are recognised word by word.
var phrases = func() map[string]template {
	out := map[string]template{
		"subquery must return only one column": {message: "a subquery that must give one column gives more"},
		"subquery has too many columns":        {message: "a subquery gives more columns than it is compared with"},
		"subquery has too few columns":         {message: "a subquery gives fewer columns than it is compared with"},
		"unequal number of entries in row expressions": {
			message: "two rows that are compared have different numbers of values"},
		"aggregate function calls cannot be nested": {message: "an aggregate is inside another", hint: "Compute the inner one in a subquery."},
		"for SELECT DISTINCT, ORDER BY expressions must appear in select list": {
			message: "with DISTINCT, ORDER BY takes only what is in the select list", hint: "Add it to the select list, or use GROUP BY."},
		"negative substring length not allowed":                         {message: "a substring has a negative length"},
		"INSERT has more expressions than target columns":               {message: "INSERT has more values than columns"},
		"INSERT has more target columns than expressions":               {message: "INSERT has more columns than values"},
		"cannot take square root of a negative number":                  {message: "a square root is taken of a negative number", hint: "Use abs, or a WHERE."},
		"ON CONFLICT DO UPDATE command cannot affect row a second time": {message: "ON CONFLICT would update a row twice"},
	}
	for _, place := range []string{"WHERE", "JOIN conditions", "GROUP BY", "HAVING", "VALUES", "LIMIT", "OFFSET", "UPDATE", "RETURNING", "FILTER"} {
		out["aggregate functions are not allowed in "+place] = template{
			message: "aggregates are not allowed in " + place, hint: "Use HAVING, or compute it in a subquery."}
		out["window functions are not allowed in "+place] = template{
			message: "window functions are not allowed in " + place, hint: "Compute it in a subquery."}
		out["set-returning functions are not allowed in "+place] = template{
			message: "functions that return sets are not allowed in " + place, hint: "Use it in FROM."}
	}
	return out
}()

// sayable are the names that a message may say about a statement.
type sayable struct {
	st    *connectors.Statement
	words map[string]bool
}

func namesOf(st *connectors.Statement) sayable {
	n := sayable{st, map[string]bool{}}
	if st == nil {
		return n
	}
	// The normalised statement holds no literal.
	for word := range strings.FieldsFuncSeq(st.Normalized, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		n.words[strings.ToLower(word)] = true
	}
	for _, r := range st.Relations {
		n.words[strings.ToLower(r.Name)] = true
	}
	for _, column := range st.Columns {
		n.words[strings.ToLower(column)] = true
	}
	return n
}

// known reports whether every part of a name, such as p.ssn, may be said.
func (n sayable) known(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if !n.words[strings.ToLower(part)] || word(part) != part {
			return false
		}
	}
	return true
}

// The server's messages that name what they are about. Each must match whole.
var (
	nameMessage     = regexp.MustCompile(`^[a-z -]*"?([A-Za-z_][A-Za-z0-9_.]*)"? (?:does not exist|is ambiguous|must appear in the GROUP BY clause or be used in an aggregate function)$`)
	innerMessage    = regexp.MustCompile(`^subquery uses ungrouped column "([A-Za-z_][A-Za-z0-9_.]*)" from outer query$`)
	missingMessage  = regexp.MustCompile(`^(?:missing|invalid reference to) FROM-clause entry for table "([A-Za-z_][A-Za-z0-9_]*)"$`)
	assignMessage   = regexp.MustCompile(`^column "([A-Za-z_][A-Za-z0-9_]*)" is of type ([a-z0-9 \[\]]+) but expression is of type ([a-z0-9 \[\]]+)$`)
	matchMessage    = regexp.MustCompile(`^[A-Z]+ (?:types )?([a-z0-9 \[\]]+) and ([a-z0-9 \[\]]+) cannot be matched$`)
	mustMessage     = regexp.MustCompile(`^argument of ([A-Z/ ]+) must be type ([a-z0-9 \[\]]+), not type ([a-z0-9 \[\]]+)$`)
	castMessage     = regexp.MustCompile(`^cannot cast type ([a-z0-9 \[\]]+) to ([a-z0-9 \[\]]+)$`)
	operatorMessage = regexp.MustCompile(`^operator does not exist: (?:([a-z0-9 \[\]]+) )?([-+*/<>=~!@#%^&|?]+) ([a-z0-9 \[\]]+)$`)
	functionMessage = regexp.MustCompile(`^function (?:pg_catalog\.)?([a-z_][a-z0-9_]*)\(([a-z0-9 \[\],]*)\) does not exist$`)
	lackMessage     = regexp.MustCompile(`^permission denied for (table|view|schema|function) ([A-Za-z_][A-Za-z0-9_]*)$`)
)

// detail adds the names that a message is about, if they may be said.
func (n sayable) detail(e *pgconn.PgError, out *connectors.Error) {
	m, say := e.Message, func(form *regexp.Regexp, use func(g []string)) {
		if g := form.FindStringSubmatch(e.Message); g != nil {
			use(g)
		}
	}
	switch e.Code {
	case "23502":
		if n.known(e.ColumnName) && n.known(e.TableName) {
			out.Message = "the column " + e.ColumnName + " of " + e.TableName + " must not be NULL"
		}
	case "23505", "23514", "23503":
		n.constraint(e, out)
	case "42703", "42702", "42P01", "42803":
		for _, form := range []*regexp.Regexp{nameMessage, innerMessage, missingMessage} {
			say(form, func(g []string) {
				if n.known(g[1]) {
					out.Message += ": " + g[1]
				}
			})
		}
	case "42804":
		say(assignMessage, func(g []string) {
			if n.known(g[1]) && isType(g[2]) && isType(g[3]) {
				out.Message = "the column " + g[1] + " has the type " + g[2] + ", its value " + g[3]
			}
		})
		say(matchMessage, func(g []string) {
			if isType(g[1]) && isType(g[2]) {
				out.Message += ": " + g[1] + " and " + g[2]
			}
		})
		say(mustMessage, func(g []string) {
			if places[g[1]] && isType(g[2]) && isType(g[3]) {
				out.Message = g[1] + " takes the type " + g[2] + ", not " + g[3]
			}
		})
	case "42846":
		say(castMessage, func(g []string) {
			if isType(g[1]) && isType(g[2]) {
				out.Message = "there is no cast from " + g[1] + " to " + g[2]
			}
		})
	case "42883":
		say(operatorMessage, func(g []string) {
			if (g[1] == "" || isType(g[1])) && isType(g[3]) {
				out.Message = strings.TrimSpace("no operator takes these types: " + strings.TrimSpace(g[1]+" "+g[2]+" "+g[3]))
			}
		})
		say(functionMessage, func(g []string) {
			if _, ok := functions[g[1]]; ok && (g[2] == "" || !slices.ContainsFunc(strings.Split(g[2], ", "), func(t string) bool { return !isType(t) })) {
				out.Message = "the function " + g[1] + " does not take these types: " + g[1] + "(" + g[2] + ")"
			}
		})
	case "42501":
		say(lackMessage, func(g []string) {
			if n.known(g[2]) {
				out.Message += " for the " + g[1] + " " + g[2]
			}
		})
	case "22P02", "22003":
		// The type ends or begins the message; what is quoted beside it stays out.
		if at := strings.Index(m, ": "); strings.HasPrefix(m, "invalid input syntax for type ") && at > 0 && isType(m[len("invalid input syntax for type "):at]) {
			out.Message = "a value has no valid form for the type " + m[len("invalid input syntax for type "):at]
		} else if name, ok := strings.CutSuffix(m, " out of range"); ok && isType(name) {
			out.Message = "a number is out of the range of " + name
		}
	}
}

// constraint says which table's key or check would be violated.
func (n sayable) constraint(e *pgconn.PgError, out *connectors.Error) {
	if e.Code == "23503" && strings.HasPrefix(e.Message, "update or delete on table ") {
		out.Message, out.Hint = "rows of another table refer to this one", "Change those rows first."
		return
	}
	if !n.known(e.TableName) {
		return
	}
	switch e.Code {
	case "23505":
		out.Message = "a unique key of " + e.TableName + " would be violated"
	case "23514":
		out.Message = "a check of " + e.TableName + " would be violated"
	case "23503":
		out.Message, out.Hint = "a foreign key of "+e.TableName+" would be violated", "The row that it refers to does not exist."
	}
}

// places are what mustMessage may name.
var places = map[string]bool{"WHERE": true, "HAVING": true, "JOIN/ON": true, "AND": true, "OR": true, "NOT": true, "LIMIT": true,
	"OFFSET": true, "FILTER": true, "CASE/WHEN": true, "IS TRUE": true, "IS FALSE": true, "IS NOT TRUE": true, "IS NOT FALSE": true}

// typeNames are how the server writes the built-in types.
var typeNames = func() map[string]bool {
	out := map[string]bool{}
	for name := range strings.SplitSeq("smallint,integer,bigint,numeric,real,double precision,boolean,text,character varying,character,name,"+
		"date,time,time without time zone,time with time zone,timestamp,timestamp without time zone,timestamp with time zone,interval,"+
		"uuid,json,jsonb,bytea,bit,bit varying,inet,cidr,macaddr,xml,money,oid,record,unknown,point,box,circle,polygon,path,line,lseg,"+
		"tsvector,tsquery,int4range,int8range,numrange,daterange,tsrange,tstzrange,regclass", ",") {
		out[name], out[name+"[]"] = true, true
	}
	return out
}()

func isType(name string) bool { return typeNames[name] }

// position is where in the client's text the server found the fault. The server
// saw the rewritten text.
func (n sayable) position(e *pgconn.PgError) int {
	if n.st == nil || e.Position <= 0 {
		return 0
	}
	sent, at := tokensOf(n.st.Text), byteOf(n.st.Text, int(e.Position)-1)
	for i, token := range sent { // the rewriting says the schema of functions
		if token.At == at && token.Text == "pg_catalog" && i+2 < len(sent) {
			at = sent[i+2].At
			break
		}
	}
	return connectors.Locate(n.st.Source, tokensOf(n.st.Source), sent, at)
}

// byteOf is where a character of a text begins, -1 if it has fewer.
func byteOf(text string, character int) int {
	for i := range text {
		if character == 0 {
			return i
		}
		character--
	}
	return -1
}
