// Package evidence writes what happened where nobody can change it, and lets
// an auditor who holds only public keys find out whether somebody did.
//
// Each gateway process is one writer with its own signing key and its own
// append-only Merkle log (RFC 6962) of records, stored as create-once
// segments. A record is durable before Append returns; nothing here is best
// effort. The package never reads back what it sealed: only the auditors'
// private keys open it.
package evidence

import (
	"encoding/json"
	"time"
)

// Type is the kind of event a record tells.
type Type string

// The events. A query's records form one causal chain under its QueryID.
const (
	TypeWriterStarted Type = "writer.started"
	TypeWriterClosed  Type = "writer.closed"
	TypeHeartbeat     Type = "writer.heartbeat"
	// TypeObserved: what the writer saw of the others, so that each log is a
	// witness of the others.
	TypeObserved Type = "writer.observed"
	// TypeWitnessed: a checkpoint of this log that witnesses cosigned.
	TypeWitnessed Type = "writer.witnessed"

	// TypeIntent: received, analysed and decided by shape. Durable before the
	// statement runs.
	TypeIntent Type = "query.intent"
	// TypeLeaseIssued and TypeLeaseRevoked are written off the response path.
	TypeLeaseIssued  Type = "lease.issued"
	TypeLeaseRevoked Type = "lease.revoked"
	// TypeOutcome: executed and released, withheld, refused or pending.
	// Durable before the answer leaves.
	TypeOutcome Type = "query.outcome"

	TypeApprovalRequested Type = "approval.requested"
	TypeApprovalViewed    Type = "approval.viewed"
	TypeApprovalDecided   Type = "approval.decided"
	TypeApprovalClaimed   Type = "approval.claimed"
	TypeApprovalCancelled Type = "approval.cancelled"

	// TypeRejected: a known caller's request that was no valid query.
	TypeRejected Type = "request.rejected"
	// TypeAuthFailed: a request whose caller could not be authenticated.
	TypeAuthFailed Type = "auth.failed"
	// TypeAuthSucceeded: a person signed in to the pages. Durable before the
	// browser gets its session.
	TypeAuthSucceeded Type = "auth.succeeded"
	// TypeRecovered: what a restarted gateway found of its predecessor.
	TypeRecovered Type = "writer.recovered"
	// TypeBundled: the bundle of a day was stored.
	TypeBundled Type = "evidence.bundled"
	// TypeRead: an auditor read evidence through the gateway.
	TypeRead Type = "evidence.read"
	// TypeExported: an auditor took a bundle out through the gateway. Durable
	// before a byte of it leaves.
	TypeExported Type = "evidence.exported"
)

// The events of a gateway's own affairs. Their Data holds names and digests; the
// texts are in Secret.Document.
const (
	// TypeConfigLoaded: the configuration and the keys that a writer runs with.
	// Durable before it serves.
	TypeConfigLoaded Type = "config.loaded"
	// TypeConfigChanged: what differs from the instance's writer before.
	TypeConfigChanged Type = "config.changed"
	// TypeKeysChanged: which keys differ from the instance's writer before.
	TypeKeysChanged Type = "keys.changed"
	// TypePolicyLoaded: the rules that a writer decides by, and how they differ
	// from those of the instance's writer before. Durable before it serves.
	TypePolicyLoaded Type = "policy.loaded"
)

// Types are all of them, those that gateways of this version write.
func Types() []Type {
	return []Type{TypeWriterStarted, TypeWriterClosed, TypeHeartbeat, TypeObserved, TypeWitnessed, TypeRecovered,
		TypeIntent, TypeOutcome, TypeLeaseIssued, TypeLeaseRevoked,
		TypeApprovalRequested, TypeApprovalViewed, TypeApprovalDecided, TypeApprovalClaimed, TypeApprovalCancelled,
		TypeRejected, TypeAuthFailed, TypeAuthSucceeded, TypeRead, TypeExported, TypeBundled,
		TypeConfigLoaded, TypeConfigChanged, TypeKeysChanged, TypePolicyLoaded}
}

// Known reports whether gateways of this version write such records.
func (t Type) Known() bool { return knownTypes[t] }

var knownTypes = func() map[Type]bool {
	known := make(map[Type]bool)
	for _, t := range Types() {
		known[t] = true
	}
	return known
}()

// Record is one event. Its clear part never holds a literal of a statement or
// a protected value; those are in Sealed. Field names follow OCSF 1.8 where it
// has one. It is stored as two lines, see lines.go: the fields up to Witnessed
// are the entry, which the Merkle leaf hashes, the others the body.
type Record struct {
	// ID is set by the log: "<writer>.<sequence>".
	ID string `json:"id"`
	// Writer, Sequence and Time are set by the log. Sequence counts the
	// writer's records from 0; it is the leaf index.
	Writer   string    `json:"writer"`
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Type     Type      `json:"type"`

	QueryID    string `json:"query_id,omitempty"`
	SessionID  string `json:"session_id,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Connection string `json:"connection,omitempty"`

	Actor *Actor `json:"actor,omitempty"`
	// PurposeOfUse is an HL7 v3 PurposeOfUse code.
	PurposeOfUse string `json:"purpose_of_use,omitempty"`

	// Relations are the tables and views that the statement reads or writes,
	// "<schema>.<name>".
	Relations []string `json:"relations,omitempty"`
	// Patients are tokens of the persons whom the statement's look-ups name.
	Patients []string `json:"patients,omitempty"`
	// Effect, Approvers and Status are set by the log from the body: what
	// policy said, or an approver; on whose approval the query relies; how it
	// ended.
	Effect    string   `json:"effect,omitempty"`
	Approvers []string `json:"approvers,omitempty"`
	Status    string   `json:"status,omitempty"`
	// Observed is what this writer saw of others, in writer.observed, and its own
	// announcement, in writer.started.
	Observed []Observation `json:"observed,omitempty"`
	// Witnessed is a checkpoint of this log with cosignatures, in
	// writer.witnessed (c2sp.org/tlog-cosignature).
	Witnessed string `json:"witnessed,omitempty"`

	Statement *Statement `json:"statement,omitempty"`
	Decision  *Decision  `json:"decision,omitempty"`
	Lease     *Lease     `json:"lease,omitempty"`
	Result    *Result    `json:"result,omitempty"`
	Approval  *Approval  `json:"approval,omitempty"`

	// Note is a sentence of the gateway's own words, for the writer.* events.
	Note string `json:"note,omitempty"`
	// Data holds further fields of an event, of the gateway's own making.
	Data map[string]string `json:"data,omitempty"`

	// Sealed is Secret encrypted with age to the auditors' recipients (age
	// v1 binary format, base64 in JSON).
	Sealed []byte `json:"sealed,omitempty"`
	// Secret is sealed by the log when the record is appended, and never
	// written in clear.
	Secret *Secret `json:"-"`
	// Withheld is true in a bundle that leaves the body out.
	Withheld bool `json:"withheld,omitempty"`
	// Object is the key of the segment that a reader found the record in. It is
	// not stored.
	Object string `json:"-"`
}

// Entry is the record without its body: what a bundle that withholds the body
// still tells.
func (r *Record) Entry() *Record {
	e := *r
	e.Statement, e.Decision, e.Lease, e.Result, e.Approval = nil, nil, nil, nil, nil
	e.Note, e.Data, e.Sealed, e.Secret = "", nil, nil, nil
	return &e
}

// Observation is what one writer saw of another: that it had announced itself,
// and the newest checkpoint of its log.
type Observation struct {
	Writer string `json:"writer"`
	// Announcement is the base64 SHA-256 of the announcement object.
	Announcement string `json:"announcement"`
	// Checkpoint is a signed note, "" if there was no segment yet.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// Actor is who asked.
type Actor struct {
	Subject  string `json:"subject"`
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id,omitempty"`
	// OnBehalfOf is the person an agent acts for, where its token says so.
	OnBehalfOf string     `json:"on_behalf_of,omitempty"`
	Name       string     `json:"name,omitempty"`
	AuthTime   *time.Time `json:"auth_time,omitempty"`
	RemoteAddr string     `json:"remote_addr,omitempty"`
}

// Key names who asked as identity.Principal.Key does.
func (a *Actor) Key() string { return principalKey(a.Issuer, a.Subject) }

// Keys name who asked and, if it says so, for whom.
func (a *Actor) Keys() []string {
	if a.OnBehalfOf == "" {
		return []string{a.Key()}
	}
	return []string{a.Key(), principalKey(a.Issuer, a.OnBehalfOf)}
}

// Names are all that a filter may call who asked and for whom: subjects and keys.
func (a *Actor) Names() []string {
	var names []string
	for _, subject := range []string{a.Subject, a.OnBehalfOf} {
		if subject != "" {
			names = append(names, subject, principalKey(a.Issuer, subject))
		}
	}
	return names
}

func principalKey(issuer, subject string) string { return issuer + "#" + subject }

// Statement is the clear part of what was asked.
type Statement struct {
	// SHA256 is hex over the exact statement, parameters, connection and
	// requester: what an approval is bound to. It is an HMAC-free digest of
	// a value space too large to guess only together with Salt, which is
	// sealed.
	SHA256      string          `json:"sha256"`
	Kind        string          `json:"kind,omitempty"`
	Normalized  string          `json:"normalized,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Parameters  int             `json:"parameters"`
	Relations   json.RawMessage `json:"relations,omitempty"`
	Uses        json.RawMessage `json:"uses,omitempty"`
	Functions   json.RawMessage `json:"functions,omitempty"`
	Writes      json.RawMessage `json:"writes,omitempty"`
	DryRun      bool            `json:"dry_run,omitempty"`
	// Aggregate is true for a query of groups or aggregates over protected
	// relations.
	Aggregate bool `json:"aggregate,omitempty"`
}

// Decision is what policy said.
type Decision struct {
	Effect        string          `json:"effect"` // allow, approve, deny
	Rules         []string        `json:"rules,omitempty"`
	Message       string          `json:"message,omitempty"`
	PolicyVersion string          `json:"policy_version"`
	Catalog       string          `json:"catalog,omitempty"`
	Estimate      json.RawMessage `json:"estimate,omitempty"`
}

// Lease is the credential an execution had; never its password.
type Lease struct {
	ID        string    `json:"id"`
	Username  string    `json:"username"`
	Access    string    `json:"access"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Result is how a request ended.
type Result struct {
	// Status: succeeded, failed, refused, denied, pending_approval, dry_run, withheld.
	Status    string     `json:"status"`
	Code      string     `json:"code,omitempty"` // problem code
	SQLState  string     `json:"sqlstate,omitempty"`
	SessionDB string     `json:"db_session,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	Command   string     `json:"command,omitempty"`
	RowCount  int64      `json:"row_count"`
	Affected  int64      `json:"affected_rows"`
	Truncated string     `json:"truncated,omitempty"`
	// Masks counts masked cells by mask, Detected by detector.
	Masks    map[string]int64 `json:"masks,omitempty"`
	Detected map[string]int64 `json:"detected,omitempty"`
	// Columns and Rows are the answer exactly as released (masked).
	Columns json.RawMessage `json:"columns,omitempty"`
	Rows    json.RawMessage `json:"rows,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
	// Problem is the problem document as released, for an error.
	Problem       json.RawMessage `json:"problem,omitempty"`
	TransactionID string          `json:"transaction_id,omitempty"`
}

// Approval is a step of an approval.
type Approval struct {
	Decision  string     `json:"decision,omitempty"` // approve, deny
	Rule      string     `json:"rule,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Approvers are the subjects whose approvals a claim relied on.
	Approvers []string `json:"approvers,omitempty"`
}

// Secret is what only auditors may read.
type Secret struct {
	Statement  string          `json:"statement,omitempty"`
	Rewritten  string          `json:"rewritten,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Comment    string          `json:"comment,omitempty"`
	// Salt went into Statement.SHA256.
	Salt string `json:"salt,omitempty"`
	// Document is the configuration or the rules, in config.loaded and
	// policy.loaded. It names secrets and holds none.
	Document json.RawMessage `json:"document,omitempty"`
}

// Receipt says where a durable record is.
type Receipt struct {
	RecordID string
	Segment  string
}
