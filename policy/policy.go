// Package policy decides whether a statement may run: CEL rules over the
// statement, the principal, the connection, the request and the planner's
// estimate. The strictest matching rule wins; nothing matched is deny.
//
// It executes nothing and knows no engine.
package policy

import (
	"time"

	"github.com/chaperone-sql/chaperone/connectors"
)

// Effect is what a rule asks for, in order of strictness.
type Effect string

// The effects. Deny is stricter than approve, approve than allow.
const (
	Allow   Effect = "allow"
	Approve Effect = "approve"
	Deny    Effect = "deny"
)

// Rule is one CEL rule. When is an expression of type bool; Message is the
// sentence an agent reads, Hint what it can do instead.
type Rule struct {
	Name    string
	Effect  Effect
	When    string
	Message string
	Hint    string
	// Expires bounds how long an approval request under this rule stays open.
	Expires time.Duration
	// Approvals is how many approvers must agree; 0 means 1.
	Approvals int
	// Outgrown is the number of rows beyond which this rule would match whatever
	// the planner estimated, 0 for none: a statement that was allowed since few
	// rows were expected is stopped there.
	Outgrown int64 `json:",omitempty"`
}

// Input is what rules see.
type Input struct {
	Statement *connectors.Statement
	Principal Principal
	// Connection is the connection's name; Engine its engine.
	Connection string
	Engine     string
	Request    Request
	// Estimate is nil before the database was asked.
	Estimate *connectors.Estimate
	Now      time.Time
}

// Principal is the part of a caller that rules may see.
type Principal struct {
	Subject    string
	ClientID   string
	OnBehalfOf string
	Groups     []string
	Roles      []string
}

// Request is the part of a request that rules may see.
type Request struct {
	RowLimit     int64
	ByteLimit    int64
	TimeoutMS    int64
	MaxAffected  int64 // -1 for none
	PurposeOfUse string
	HasReason    bool
	SessionID    string
	DryRun       bool
	Parameters   int64
}

// Decision is the outcome.
type Decision struct {
	Effect Effect
	// Matched are the rules of that effect that matched, in the order they are
	// written. It is never empty: a deny that no rule asked for is by
	// DefaultDenyRule or ErrorRule.
	Matched []Matched
	// Version is a digest of the rules and their figures.
	Version string
	// MaxRows is how many rows may be returned under this decision, 0 for as
	// many as were asked for. OutgrownRule is the rule that would match beyond.
	MaxRows      int64
	OutgrownRule string
}

// Matched is one rule that matched.
type Matched struct {
	Rule      string        `json:"rule"`
	Message   string        `json:"message"`
	Hint      string        `json:"-"`
	Approvals int           `json:"-"`
	Expires   time.Duration `json:"-"`
}
