package connectors

import "errors"

// ErrCatalogChanged says that what the analysis relied on is no longer what
// the database has. The gateway reloads the catalog and analyses again, once.
var ErrCatalogChanged = errors.New("the catalog changed since the statement was analysed")

// ErrorKind groups errors by what the caller can do about them.
type ErrorKind string

// The kinds of error.
const (
	// KindMalformed: not UTF-8, NUL, empty, two statements.
	KindMalformed ErrorKind = "malformed"
	// KindSyntax: the engine's grammar refuses it.
	KindSyntax ErrorKind = "syntax"
	// KindUnresolved: a name is not in the catalog (or not visible).
	KindUnresolved ErrorKind = "unresolved"
	// KindUnsupported: parsed, but the gateway does not understand it well
	// enough to let it run (promise 6).
	KindUnsupported ErrorKind = "unsupported"
	// KindParameter: wrong count, name, or a value that is not of its type.
	KindParameter ErrorKind = "parameter"
	// KindStatement: the database refused the statement at run time
	// (division by zero, type mismatch): the SQL or its data is at fault.
	KindStatement ErrorKind = "statement"
	// KindPermission: the minted user lacks the right.
	KindPermission ErrorKind = "permission"
	// KindConflict: serialization failure, deadlock, lock timeout; retryable.
	KindConflict ErrorKind = "conflict"
	// KindTimeout: the statement's time was up.
	KindTimeout ErrorKind = "timeout"
	// KindCancelled: ctx was cancelled by the caller.
	KindCancelled ErrorKind = "cancelled"
	// KindTooMany: an approved write touched more rows than max_affected.
	KindTooMany ErrorKind = "too_many_affected"
	// KindUnavailable: the database cannot be reached, or broke off.
	KindUnavailable ErrorKind = "unavailable"
)

// Error is everything that can be told about a statement that did not run.
// Message and Hint never carry a value of a statement or of the database:
// they are rebuilt from templates with identifiers only.
type Error struct {
	Kind     ErrorKind
	SQLState string
	// Message is one sentence without a final full stop.
	Message string
	// Hint says what to write instead, or "".
	Hint string
	// Position is the 1-based character offset in the client's text, 0 unknown.
	Position int
	// Retryable is true if the same request may succeed later.
	Retryable bool
}

func (e *Error) Error() string { return string(e.Kind) + ": " + e.Message }
