package gateway

import (
	"encoding/json"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
)

// Request is a statement as a client posted it, already strictly decoded: no
// unknown fields, valid UTF-8, no NUL. Strings do not alias request buffers.
type Request struct {
	Connection string
	Statement  string
	// Positional or Named hold the parameters; at most one is non-nil.
	Positional []connectors.Param
	Named      map[string]connectors.Param
	// RowLimit, ByteLimit and Timeout are 0 for the connection's default.
	RowLimit  int64
	ByteLimit int64
	Timeout   time.Duration
	// MaxAffected is negative for none.
	MaxAffected  int64
	PurposeOfUse string
	Reason       string
	SessionID    string
	DryRun       bool

	// Body is the canonical JSON of the request (api makes it), which an
	// approval seals and a claim decodes again.
	Body []byte
	// IdempotencyKey is the header's value, or "".
	IdempotencyKey string
	// Wait is how long to wait for a decision (Prefer: wait=N), at most 25 s.
	Wait time.Duration
	Meta Meta
}

// Meta is what the transport knows of a call.
type Meta struct {
	RequestID  string
	RemoteAddr string
	// Transport is "rest", "mcp" or "page".
	Transport string
	// Origin is where a page's request came from, as the browser says
	// (Sec-Fetch-Site), unless it was from this site or typed by the person.
	Origin string
	// AuthTook is how long authentication took, for Server-Timing.
	AuthTook time.Duration
}

// Answer is what a query, a claim or a state look-up gives back. Exactly one
// of Result, Pending and DryRun is set, except for a bare state.
type Answer struct {
	QueryID string
	// State is one of the states of DESIGN "HTTP".
	State   approvals.State
	Result  *Result
	Pending *Pending
	DryRun  *Explanation
	// Problem is set in a state look-up of a query that failed.
	Problem *Problem
	Timing  []Timing
	// Replayed is true for an answer read back for an Idempotency-Key.
	Replayed bool
}

// Result is rows on their way out. Rows is a JSON array of arrays, as recorded.
type Result struct {
	Command          string
	Columns          []Column
	Rows             json.RawMessage
	RowCount         int64
	AffectedRows     *int64
	Truncated        bool
	TruncationReason string // row_limit, byte_limit or ""
	Notes            []string
	RecordingID      string
}

// Column is one column of a result.
type Column struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Table  string `json:"table,omitempty"` // schema.relation of a plain column
	Masked bool   `json:"masked"`
	Mask   string `json:"mask,omitempty"`
	// Suppressed counts the cells that are null because they tell of a group
	// smaller than the profile allows, or would give such a cell away.
	Suppressed int64 `json:"suppressed,omitempty"`
}

// Pending is a statement that waits for approval.
type Pending struct {
	ApprovalURL     string
	ExpiresAt       time.Time
	StatementSHA256 string
	Reasons         []approvals.Reason
	RetryAfter      time.Duration
}

// Explanation answers a dry run.
type Explanation struct {
	Decision   string             `json:"decision"`
	Rules      []approvals.Reason `json:"rules"`
	Normalized string             `json:"normalized"`
	// Rewritten is what the database would be sent, with the caller's own
	// literals; "" for what cannot run.
	Rewritten   string                `json:"rewritten"`
	Relations   []connectors.Relation `json:"relations"`
	Uses        []connectors.Use      `json:"uses"`
	Functions   []connectors.Function `json:"functions"`
	Columns     []Column              `json:"columns"`
	Estimate    *connectors.Estimate  `json:"estimate"`
	Notes       []string              `json:"notes"`
	RecordingID string                `json:"recording_id"`
}

// Timing is one step's duration, for Server-Timing.
type Timing struct {
	Step string
	Took time.Duration
}

// Code names a problem; api maps each to an HTTP status in one place.
type Code string

// The codes, with the status api gives them.
const (
	CodeMalformed        Code = "malformed_request"       // 400
	CodeUnauthenticated  Code = "unauthenticated"         // 401
	CodeDenied           Code = "denied_by_policy"        // 403
	CodeForbidden        Code = "forbidden"               // 403: the role is missing
	CodeOwnRequest       Code = "own_request"             // 403: four eyes
	CodeNotFound         Code = "not_found"               // 404
	CodeUnknownConn      Code = "unknown_connection"      // 404: also for one the caller may not see
	CodeConflict         Code = "conflict"                // 409
	CodeStillRunning     Code = "still_running"           // 409
	CodeAlreadyClaimed   Code = "already_claimed"         // 409
	CodeNotApproved      Code = "not_approved"            // 409
	CodeAlreadyDecided   Code = "already_decided"         // 409
	CodeExpired          Code = "approval_expired"        // 409
	CodeCancelled        Code = "cancelled"               // 409
	CodeInterrupted      Code = "interrupted"             // 409
	CodeTooLarge         Code = "too_large"               // 413
	CodeSyntax           Code = "sql_syntax"              // 422
	CodeUnresolved       Code = "sql_unresolved"          // 422
	CodeUnsupported      Code = "sql_not_understood"      // 422
	CodeParameter        Code = "sql_parameter"           // 422
	CodeStatement        Code = "sql_failed"              // 422
	CodePermission       Code = "sql_permission"          // 422
	CodeTooManyAffected  Code = "too_many_affected"       // 422
	CodeIdempotencyReuse Code = "idempotency_key_reused"  // 422
	CodeLookupBudget     Code = "lookup_budget"           // 429
	CodeTooMany          Code = "too_many_requests"       // 429
	CodeDatabase         Code = "database_unavailable"    // 502
	CodeDatabaseConflict Code = "database_conflict"       // 409
	CodeCredentials      Code = "credentials_unavailable" // 503
	CodeEvidence         Code = "evidence_unavailable"    // 503
	CodeApprovals        Code = "approvals_unavailable"   // 503
	CodeIdentity         Code = "identity_unavailable"    // 503
	CodeStopping         Code = "shutting_down"           // 503
	CodeTimeout          Code = "timeout"                 // 504
	CodeInternal         Code = "internal"                // 500
)

// Problem is everything that may be told about a request that got no rows. It
// carries no value of a statement or of a database.
type Problem struct {
	Code     Code
	Detail   string
	Hint     string
	QueryID  string
	SQLState string
	// Position is a 1-based character offset in the client's text, 0 unknown.
	Position  int
	Rule      string
	Retryable bool
	// RetryAfter is 0 for unknown.
	RetryAfter  time.Duration
	RecordingID string
	Timing      []Timing
}

func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// Connection is one entry of GET /v1/connections.
type Connection struct {
	Name        string   `json:"name"`
	Engine      string   `json:"engine"`
	Description string   `json:"description,omitempty"`
	Roles       []string `json:"roles"`
}

// Schema answers GET /v1/connections/{name}/schema.
type Schema struct {
	Connection string        `json:"connection"`
	Engine     string        `json:"engine"`
	Version    string        `json:"version"`
	Tables     []SchemaTable `json:"tables"`
}

// SchemaTable is a table with what an agent needs to write correct SQL.
type SchemaTable struct {
	Schema  string         `json:"schema"`
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`
	Comment string         `json:"comment,omitempty"`
	Columns []SchemaColumn `json:"columns"`
}

// SchemaColumn is a column, and how it is masked.
type SchemaColumn struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Nullable   bool   `json:"nullable"`
	PrimaryKey bool   `json:"primary_key,omitempty"`
	Comment    string `json:"comment,omitempty"`
	Masked     bool   `json:"masked"`
	Mask       string `json:"mask,omitempty"`
	Class      string `json:"class,omitempty"`
	// Lookup is true if `column = value` is allowed on the raw column.
	Lookup bool `json:"lookup,omitempty"`
}

// ApprovalView is what a signed-in approver of the connection sees.
type ApprovalView struct {
	Status     approvals.Status
	Statement  string
	Parameters json.RawMessage
	Reason     string
	// MayDecide is false for the requester and for those who decided already.
	MayDecide bool
	// WhyNot says why MayDecide is false.
	WhyNot string
}
