package connectors

import (
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// Input is a statement to be understood.
type Input struct {
	Text string
	// Names are the sorted names of the parameters when they were given as an
	// object (":name" markers); nil when they were a list.
	Names []string
	// Count is how many positional parameters were given.
	Count int
	// Classes says what is protected on this connection.
	Classes *masking.Classification
	// SearchPath is the connection's pinned search path.
	SearchPath []string
	// Functions lists the functions of users that may be called, by schema and
	// name, with the digest that their definitions must have.
	Functions map[string]string
	// Open lists the uses (Use.ID) that an approval opened: those comparisons
	// see the raw column.
	Open []string
	// Today fixes the age-90 bound of masking.BirthYear (UTC date).
	Today time.Time
	// Cells asks for the counts that small-cell suppression needs (Output.Counts).
	Cells bool
}

// Kind is what a statement does, engine-neutral.
type Kind string

// The kinds of statement. Anything an engine does not know is refused before
// it has a kind.
const (
	KindSelect  Kind = "select"
	KindInsert  Kind = "insert"
	KindUpdate  Kind = "update"
	KindDelete  Kind = "delete"
	KindMerge   Kind = "merge"
	KindDDL     Kind = "ddl"
	KindExplain Kind = "explain"
	KindShow    Kind = "show"
	KindCopy    Kind = "copy"
	KindCall    Kind = "call"    // CALL, DO, EXECUTE, PREPARE: dynamic or opaque
	KindSession Kind = "session" // SET, RESET, LISTEN, LOCK, BEGIN …
	KindGrant   Kind = "grant"
	KindUtility Kind = "utility" // VACUUM, ANALYZE, KILL, FLUSH, LOAD …
)

// Statement is what an engine understood. It is immutable after Analyze and
// may be shared between requests.
//
// Text, Source and Lookups hold literals of the client's statement: they are bound for
// the database and must never be logged. Normalized, Fingerprint and
// everything else is free of literals.
type Statement struct {
	Engine string
	Kind   Kind
	// Runnable is false for kinds that are only understood well enough to be
	// denied by policy (DDL, COPY, …): Text is empty then.
	Runnable bool
	// Write is true if executing needs a transaction that may write.
	Write bool
	// ChangesInWith is true if a common table expression changes data.
	ChangesInWith bool

	// Text is the rewritten statement, exactly as it will be sent.
	Text string
	// Source is the client's own text, which positions of errors refer to. Like
	// Text it must never be logged.
	Source string
	// Columns are the names of the columns of Relations, which messages may say.
	Columns []string
	// Normalized is the client's statement with every literal replaced by a
	// marker.
	Normalized string
	// Fingerprint is equal for statements that differ in literals only.
	Fingerprint string
	// Order maps the server's parameters to the client's: server parameter i
	// takes client parameter Order[i] (index into the list, or into Names).
	Order []int

	Relations []Relation
	Uses      []Use
	Functions []Function
	Outputs   []Output
	Writes    []ColumnWrite
	// Given are the rows of an INSERT … VALUES of MySQL, which counts a row twice
	// if it was there and changed: that would tell what it held.
	Given int64
	Shape Shape
	// GroupsByKey is true if the top level groups by a primary key of a
	// protected relation: each group is a row then.
	GroupsByKey bool
	// RowsOut is true if rows of a relation, or groups by its key, reach the result:
	// not only what is grouped or aggregated on the way. ProtectedRowsOut is so for
	// protected relations.
	RowsOut, ProtectedRowsOut bool

	// Lookups are the comparisons that see a raw lookup column.
	Lookups []Lookup
	// Notes tell the agent what its answer does not say by itself, such as
	// that it filtered by a generalised value.
	Notes []string

	// NoIndexOnly is true if an index that begins with a protected column holds
	// others too: rows read from it alone would come in that column's order.
	NoIndexOnly bool

	// CatalogVersion is the snapshot this analysis holds for.
	CatalogVersion string
	// Stamps are what the execution compares with the database's own state.
	Stamps []Stamp
}

// Relation is one relation a statement refers to.
type Relation struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	// Kind is as Table.Kind, or "catalog" for a system catalog or view.
	Kind string `json:"kind"`
	// Write is true if the statement writes it.
	Write bool `json:"write"`
	// Protected is true if any of its columns has a class.
	Protected bool `json:"protected"`
	// Denied is set for a catalog that can hold data values, with the reason.
	Denied string `json:"denied,omitempty"`
}

// UseKind is where a protected column is used.
type UseKind string

// The uses of a protected column.
const (
	UseOutput     UseKind = "output"     // plain column of the top-level select list
	UseExpression UseKind = "expression" // inside an expression that is no comparison
	UsePredicate  UseKind = "predicate"  // WHERE, HAVING, FILTER, CASE WHEN
	UseJoin       UseKind = "join"
	UseGroup      UseKind = "group" // GROUP BY, DISTINCT, set operation, PARTITION BY
	UseOrder      UseKind = "order"
)

// Seen is what a use of a protected column sees.
type Seen string

// What a use sees.
const (
	SeenMasked      Seen = "masked"      // the mask, and nothing is wrong with that
	SeenGeneralised Seen = "generalised" // a coarser value; the answer carries a note
	SeenDestroyed   Seen = "destroyed"   // a constant: the answer would silently lie
	SeenLookup      Seen = "lookup"      // the raw column, in one comparison, within a budget
	SeenOpened      Seen = "opened"      // the raw column, in one comparison, by approval
	SeenGateway     Seen = "gateway"     // the raw column, masked by the gateway after execution
)

// Use is one use of a protected column.
type Use struct {
	// ID identifies the use within the statement, stable for the same text.
	ID     string            `json:"id"`
	Column masking.ColumnRef `json:"column"`
	Class  string            `json:"class"`
	Kind   UseKind           `json:"kind"`
	Seen   Seen              `json:"seen"`
	// Openable is true if an approval can open it: one comparison of the
	// column with literals and parameters.
	Openable bool `json:"openable,omitempty"`
	// Hint says what the agent can write instead.
	Hint string `json:"hint,omitempty"`
}

// Volatility is PostgreSQL's notion, used for both engines.
type Volatility string

// The volatilities.
const (
	Immutable Volatility = "immutable"
	Stable    Volatility = "stable"
	Volatile  Volatility = "volatile"
)

// FunctionClass says what a function can do besides computing.
type FunctionClass string

// The classes of functions. A function in none of them is refused by the engine.
const (
	FunctionHarmless FunctionClass = "harmless"
	FunctionCatalog  FunctionClass = "catalog" // reads the catalog, possibly values
	FunctionReads    FunctionClass = "reads"   // reads tables by name or query text
	FunctionDynamic  FunctionClass = "dynamic" // runs SQL given as text
	FunctionFile     FunctionClass = "file"
	FunctionNetwork  FunctionClass = "network"
	FunctionProgram  FunctionClass = "program"
	FunctionSleep    FunctionClass = "sleep"
	FunctionLock     FunctionClass = "lock"
	FunctionSetting  FunctionClass = "setting" // reads or writes server settings
	FunctionSession  FunctionClass = "session" // user, backend, connection control
	FunctionSequence FunctionClass = "sequence"
	// FunctionListed is one that users defined and the configuration lists.
	FunctionListed FunctionClass = "listed"
)

// Function is one function a statement calls.
type Function struct {
	Name       string        `json:"name"`
	Volatility Volatility    `json:"volatility"`
	Class      FunctionClass `json:"class"`
}

// Output is one column of the result.
type Output struct {
	Name string
	// Source is set if the output is a plain column of a table.
	Source *masking.ColumnRef
	// Class is the class of a plain protected column, "" otherwise.
	Class string
	// Mask is the mask that the values carry, "" for none.
	Mask masking.Kind
	// Gateway is true if the server returns the raw value and the gateway
	// must apply Mask before anything else sees it.
	Gateway bool
	// Type is the type of what the gateway makes of the raw value, if not text.
	Type string
	// Detect is true if the values must pass the detectors: everything that
	// is not itself a mask.
	Detect bool
	// Count is true if the output is a count over protected relations, for
	// small-cell suppression.
	Count bool
	// Counts are the outputs, by index, that say how many rows went into this
	// one: itself if it is a count, or hidden ones. Empty for what is no cell.
	Counts []int
	// Hidden is true for an output that the rewriting added for Counts. Hidden
	// outputs come last and never leave the gateway.
	Hidden bool
}

// ColumnWrite is one assignment to a protected column.
type ColumnWrite struct {
	Column masking.ColumnRef `json:"column"`
	Class  string            `json:"class"`
	// Param is the client parameter assigned, or -1 for a literal. A literal
	// that a mask could have produced was refused by the analysis; parameters
	// are checked by the gateway.
	Param int `json:"param"`
}

// Lookup is one comparison of a raw lookup column with a value.
type Lookup struct {
	Column masking.ColumnRef `json:"column"`
	Class  string            `json:"class"`
	// Param is the client parameter compared with, or -1 for a literal.
	Param int `json:"param"`
	// Literal is what is compared with if Param is -1. It never leaves the
	// gateway: recordings hold a token of it.
	Literal string `json:"-"`
}

// Shape is the statement's form, for rules. The JSON names are what CEL sees.
type Shape struct {
	// Filtered is true if every protected relation that rows come from is
	// under a WHERE or join condition that compares one of its columns with
	// something other than a constant truth.
	Filtered bool `json:"filtered"`
	// Limit is the top-level LIMIT, -1 for none, -2 if it is a parameter.
	Limit int64 `json:"limit"`
	// Aggregate is true if the top level returns aggregates without GROUP BY.
	Aggregate bool `json:"aggregate"`
	// Grouped is true if the top level groups.
	Grouped bool `json:"grouped"`
	// Joins counts joined relations; Cartesian is true if two relations are
	// joined without a condition between them.
	Joins     int  `json:"joins"`
	Cartesian bool `json:"cartesian"`
	// Recursive is true if a query reads itself, and is no mere series of numbers
	// or dates.
	Recursive bool `json:"recursive"`
	// Collects is true if rows of protected relations, not summaries of them, may
	// go into an aggregate that keeps them all, such as json_agg.
	Collects bool `json:"collects"`
	// Locking is FOR UPDATE and its kin.
	Locking bool `json:"locking"`
	// Where is true if a write (UPDATE, DELETE) has a WHERE.
	Where bool `json:"where"`
	Depth int  `json:"depth"`
}

// Stamp is the state of one thing the analysis relied on.
type Stamp struct {
	// Kind is relation, operator or function; Name its qualified name.
	Kind, Name string
	// Value is the engine's digest of its definition, as its own query in the
	// execution's transaction will compute it again.
	Value string
}

// FirstUse is one use of some, as a list, or none.
func FirstUse(lists ...[]Use) []Use {
	for _, list := range lists {
		if len(list) > 0 {
			return list[:1:1]
		}
	}
	return nil
}
