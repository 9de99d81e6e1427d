package report

import (
	"slices"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// end is how a query stands when the bundle's period is over. Each query has
// exactly one, so that the counts add up.
type end int

const (
	succeeded end = iota
	deniedByPolicy
	deniedByApprover
	refused
	failed
	notReleased
	dryRun
	waiting
	approvedOnly
	expired
	withdrawn
	interrupted
	noEnd
	otherEnd
	ends
)

// endWords say it in tables.
var endWords = [ends]string{
	succeeded:        "succeeded",
	deniedByPolicy:   "denied by policy",
	deniedByApprover: "denied by an approver",
	refused:          "refused: not understood or not valid",
	failed:           "failed",
	notReleased:      "ran, answer withheld",
	dryRun:           "dry run: nothing ran",
	waiting:          "waits for approval",
	approvedOnly:     "approved, not run",
	expired:          "nobody decided in time",
	withdrawn:        "withdrawn by the requester",
	interrupted:      "interrupted: its gateway stopped",
	noEnd:            "no end recorded",
	otherEnd:         "other",
}

// endOf is the end that an outcome tells.
func endOf(status string) end {
	switch status {
	case "succeeded":
		return succeeded
	case "denied":
		return deniedByPolicy
	case "refused":
		return refused
	case "failed":
		return failed
	case "withheld":
		return notReleased
	case "dry_run":
		return dryRun
	}
	return otherEnd
}

// query is one that is not over yet in the records so far.
type query struct {
	first      time.Time
	who        who
	connection string
	purpose    string
	session    string
	relations  []string
	rules      []string
	named      bool // it names the person of the filter
	at         reference

	asked, approved, denied, withdrawn, claimed, interrupted bool
	// counts is false while only others' steps of it are known: it was asked before
	// the period and has not ended in it.
	counts   bool
	expires  time.Time
	approval *approval
	// relied are the keys of the principals on whose approval it ran.
	relied []string
}

// take learns from a record of the requester.
func (q *query) take(r *evidence.Record, patient string) {
	if q.first.IsZero() || !q.counts {
		q.first, q.at = r.Time, referTo(r)
	}
	q.counts = true
	if r.Actor != nil && q.who == (who{}) {
		q.who = whoOf(r.Actor)
	}
	q.connection, q.session = either(q.connection, r.Connection), either(q.session, r.SessionID)
	q.purpose = either(q.purpose, r.PurposeOfUse)
	if len(r.Relations) > 0 {
		q.relations = r.Relations
	}
	if r.Decision != nil && len(r.Decision.Rules) > 0 {
		q.rules = r.Decision.Rules
	}
	q.named = q.named || patient != "" && slices.Contains(r.Patients, patient)
}

func either(have, other string) string {
	if have != "" {
		return have
	}
	return other
}

// stands is how it stands without an outcome, at the end of the period.
func (q *query) stands(until time.Time) end {
	switch {
	case q.interrupted:
		return interrupted
	case q.denied:
		return deniedByApprover
	case q.withdrawn:
		return withdrawn
	case q.claimed:
		return noEnd
	case q.approved:
		return approvedOnly
	case q.asked && !q.expires.IsZero() && !until.IsZero() && !q.expires.After(until):
		return expired
	case q.asked:
		return waiting
	}
	return noEnd
}

// approval is one request for approval with everything that was decided on it.
type approval struct {
	asked      time.Time // zero if before the period
	who        who
	connection string
	relations  []string
	rule       string
	expires    time.Time
	decisions  []decision
	more       int64 // decisions that are not kept
	withdrawn  bool
	claimed    time.Time
	end        end
	at         reference
}

// decision is what one approver said.
type decision struct {
	who    who
	denied bool
	time   time.Time
	signed time.Time // when the approver had signed in
	at     reference
}

// maxDecisions bounds the approvers who are named for one request.
const maxDecisions = 16
