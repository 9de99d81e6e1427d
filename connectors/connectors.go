// Package connectors holds the neutral types that every database engine
// speaks: what a statement means (Statement), what a database returns (Cell,
// Sink), and the three interfaces an engine implements (Engine, Catalog,
// Session). Each engine lives in its own folder below and alone knows its
// parser's nodes.
//
// It decides nothing: whether a statement may run is for policy, what a
// protected column becomes is for masking.
package connectors

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// Engine understands one SQL dialect and connects to its servers.
// Implementations are safe for concurrent use.
type Engine interface {
	// Name is the engine's name in configuration: "postgres" or "mysql".
	Name() string

	// Analyze parses, resolves and rewrites a statement. It touches no
	// database and is a pure function of its arguments, so that engines may
	// cache. What cannot be parsed, resolved or classified is an *Error.
	Analyze(cat Catalog, in Input) (*Statement, error)

	// Connect opens one session with one credential. Every setting that
	// changes what a statement means is pinned before it returns. An
	// unreachable database is an *Error of KindUnavailable.
	Connect(ctx context.Context, t Target, c Credential) (Session, error)
}

// Target is where a connection's database is.
type Target struct {
	Host     string
	Port     int
	Database string
	// SearchPath is pinned for PostgreSQL; MySQL has none.
	SearchPath []string
	// MaskedSchema holds the masking views to be read instead of the relations
	// (see Masks); "" reads the relations.
	MaskedSchema string
	// TLS is nil only for a database on the loopback interface.
	TLS *tls.Config
	// ConnectTimeout bounds dial and authentication.
	ConnectTimeout time.Duration
}

// Credential is what one session logs in with.
type Credential struct {
	Username string
	Password masking.Secret
}

// Catalog is an immutable snapshot of the names a connection can see.
type Catalog interface {
	// Version is a digest of the snapshot; equal versions analyse alike.
	Version() string
	// Tables lists the relations an agent may be told about, system catalogs
	// left out, sorted by schema and name.
	Tables() []Table
}

// Table describes one relation for GET /v1/connections/{name}/schema.
type Table struct {
	Schema  string        `json:"schema"`
	Name    string        `json:"name"`
	Kind    string        `json:"kind"` // table, view, materialized_view, foreign_table, partitioned_table
	Comment string        `json:"comment,omitempty"`
	Columns []TableColumn `json:"columns"`
}

// TableColumn describes one column for agents.
type TableColumn struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Nullable   bool   `json:"nullable"`
	PrimaryKey bool   `json:"primary_key,omitempty"`
	Comment    string `json:"comment,omitempty"`
}

// Session is one database session under one credential, for one execution.
// It is used by one goroutine.
type Session interface {
	// ID is the server's own identifier of the session.
	ID() string

	// Catalog reads a fresh snapshot of the catalog.
	Catalog(ctx context.Context) (Catalog, error)

	// Prepare opens a bounded transaction (READ ONLY unless lim.Write), has
	// the server resolve the statement, checks that every name still means
	// what the analysis found, and asks the planner for its estimate. Nothing
	// is executed. A changed catalog is ErrCatalogChanged.
	Prepare(ctx context.Context, st *Statement, args []Param, lim Limits) (Estimate, error)

	// Execute runs the prepared statement and feeds sink. It compares the
	// catalog again before returning, ends the transaction (COMMIT only for a
	// write that stayed within its limits, else ROLLBACK), and kills the
	// query on the server when ctx ends. On any error nothing that sink
	// received may be released.
	Execute(ctx context.Context, sink Sink) (Outcome, error)

	// Close ends the session. It is safe to call twice.
	Close(ctx context.Context) error
}

// Limits bound one execution.
type Limits struct {
	Write bool
	// Timeout becomes the server's statement timeout; ctx has it too.
	Timeout time.Duration
	// LockTimeout bounds the wait for locks.
	LockTimeout time.Duration
	// MaxAffected rolls a write back that touches more rows; negative is no bound.
	MaxAffected int64
	// Classes let an engine whose server says where an output comes from check
	// that no protected column is about to leave unmasked.
	Classes *masking.Classification
}

// Estimate is the planner's advice. It is never what enforces.
type Estimate struct {
	Known bool    `json:"known"`
	Rows  float64 `json:"rows"`
	Cost  float64 `json:"cost"`
	// Scanned is the largest number of rows any node of the plan expects to read.
	Scanned float64 `json:"scanned"`
	// Grouped is the largest number of rows that go into one grouping or aggregate,
	// which may keep them all.
	Grouped float64 `json:"grouped"`
	// Guess is true if the planner has nothing to estimate a condition by, as for
	// one on groups: Rows may be far too many then.
	Guess bool `json:"guess,omitempty"`
}

// Outcome is what an execution did.
type Outcome struct {
	// Command is the server's command tag without counts, such as "SELECT".
	Command string
	// Affected counts rows written; it is -1 for a read.
	Affected int64
	// TransactionID is the server's identifier of a write's transaction, if it has one.
	TransactionID string
}

// Sink receives a result as it arrives. The engine calls Columns once, then
// Row for each row; cells are valid during the call only.
type Sink interface {
	Columns(cols []ResultColumn) error
	// Row reports whether it wants more rows. After false the engine stops
	// the server's query of a read, and drains (without calling Row) a write.
	Row(cells []Cell) (more bool, err error)
}

// ResultColumn is one column as the server described it.
type ResultColumn struct {
	Name string
	// Type is the engine's canonical type name, such as "numeric" or "bigint unsigned".
	Type string
}

// CellKind says how a cell is written as JSON.
type CellKind uint8

// The kinds of cell; see DESIGN "HTTP" for which type becomes which.
const (
	CellNull   CellKind = iota
	CellString          // Text is the raw text; the writer escapes it
	CellNumber          // Text is a valid JSON number
	CellBool            // Text is true or false
	CellJSON            // Text is a valid JSON value (json columns, arrays)
)

// Cell is one value on its way to JSON.
type Cell struct {
	Kind CellKind
	Text []byte
}

// Param is one bound parameter. It is always bound by the server.
type Param struct {
	Null bool
	// Text is the value's text form; for a JSON array or object, its JSON.
	Text string
	// Kind is the JSON kind it came as.
	Kind ParamKind
	// Type is the SQL type the caller declared, or "".
	Type string
}

// ParamKind is the JSON kind of a parameter.
type ParamKind uint8

// The JSON kinds of parameters.
const (
	ParamString ParamKind = iota
	ParamNumber
	ParamBool
	ParamJSON
)
