// Package approvals keeps who asked for a risky statement, who allowed it, and
// who ran it, as create-once objects: request, decisions, cancel, claim,
// outcome. First writer wins, so any number of gateways agree without a
// database. It runs nothing itself.
package approvals

import (
	"errors"
	"time"
)

// Errors that callers act on.
var (
	ErrNotFound       = errors.New("no such approval request")
	ErrOwnRequest     = errors.New("the requester cannot decide")
	ErrAlreadyDecided = errors.New("already decided")
	ErrExpired        = errors.New("the approval request expired")
	ErrNotApproved    = errors.New("not approved")
	ErrAlreadyClaimed = errors.New("already claimed")
	ErrCancelled      = errors.New("cancelled by the requester")
	// ErrUnavailable: the store could not be reached; nothing is known.
	ErrUnavailable = errors.New("approval store unavailable")
)

// State is where a request stands.
type State string

// The states; see DESIGN "HTTP".
const (
	Pending     State = "pending_approval"
	Approved    State = "approved"
	Denied      State = "denied"
	Expired     State = "expired"
	Cancelled   State = "cancelled"
	Running     State = "running"
	Succeeded   State = "succeeded"
	Failed      State = "failed"
	Interrupted State = "interrupted"
)

// Request is what waits for a decision. The clear part holds no literal;
// Sealed holds the exact statement, parameters and reason.
type Request struct {
	Version    int       `json:"version"`
	ID         string    `json:"id"` // the query id
	Connection string    `json:"connection"`
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	// Requester and OnBehalfOf are Principal.Key values; neither may decide.
	Requester     string `json:"requester"`
	RequesterName string `json:"requester_name,omitempty"`
	ClientID      string `json:"client_id,omitempty"`
	OnBehalfOf    string `json:"on_behalf_of,omitempty"`
	SessionID     string `json:"session_id,omitempty"`
	PurposeOfUse  string `json:"purpose_of_use,omitempty"`

	// Binding is the hex SHA-256 over statement, parameters, connection,
	// requester, limits and policy version that a claim must match.
	Binding       string `json:"statement_sha256"`
	PolicyVersion string `json:"policy_version"`
	// Classification and Catalog are the versions the analysis was made with.
	Classification string `json:"classification"`
	Catalog        string `json:"catalog"`

	Normalized string   `json:"normalized"`
	Kind       string   `json:"kind"`
	Summary    string   `json:"summary"` // one plain sentence
	Relations  []string `json:"relations"`
	// Columns are the protected columns and how each is used and seen.
	Columns []Column `json:"columns"`
	// Open are the uses an approval opens to the raw column.
	Open          []string `json:"open,omitempty"`
	EstimateRows  *float64 `json:"estimate_rows,omitempty"`
	Reasons       []Reason `json:"reasons"`
	Approvals     int      `json:"approvals"` // how many approvers must agree
	TransportNote string   `json:"transport,omitempty"`

	// Sealed is a Secret encrypted with age to the gateway's approval key and
	// to the auditors.
	Sealed []byte `json:"sealed"`
}

// Column is a protected column in a request.
type Column struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	Use   string `json:"use"`
	Seen  string `json:"seen"`
}

// Reason is a rule that asked for approval.
type Reason struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// Secret is the sealed part: the client's request exactly as it came.
type Secret struct {
	Statement string `json:"statement"`
	// Body is the whole request as JSON, to be run again exactly.
	Body   []byte `json:"body"`
	Reason string `json:"reason,omitempty"`
	// Salt went into Request.Binding.
	Salt string `json:"salt"`
}

// Vote is an approver's decision.
type Vote struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	Approver string    `json:"approver"` // Principal.Key
	Name     string    `json:"name,omitempty"`
	Approve  bool      `json:"approve"`
	Comment  string    `json:"comment,omitempty"`
	At       time.Time `json:"at"`
	AuthTime time.Time `json:"auth_time"`
	Binding  string    `json:"statement_sha256"`
	Nonce    string    `json:"nonce"` // makes the bytes unique, so the store can tell who was first
}

// Claim says that one gateway runs the statement, once, ever.
type Claim struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Gateway string    `json:"gateway"` // the writer's name in evidence
	At      time.Time `json:"at"`
	// Deadline is when, without an outcome, the run counts as interrupted.
	Deadline       time.Time `json:"deadline"`
	IdempotencyKey string    `json:"idempotency_key_sha256,omitempty"`
	Nonce          string    `json:"nonce"`
}

// Outcome says how the run ended and where its recording is.
type Outcome struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	State    State     `json:"state"` // succeeded or failed
	RecordID string    `json:"record_id"`
	Code     string    `json:"code,omitempty"`
	At       time.Time `json:"at"`
}

// Status is everything known about a request.
type Status struct {
	Request Request
	State   State
	Votes   []Vote
	Claim   *Claim
	Outcome *Outcome
}
