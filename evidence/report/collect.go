package report

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// large is from how many rows on a result is called unusually large: the bound
// from which the built-in rules ask a person (policy.DefaultFigures).
const large = 1000

// maxPeople bounds how many different persons are counted.
const maxPeople = 1 << 20

// collector reads the records once and keeps counts and bounded lists. Its memory
// is bounded by those, by the queries that have no end yet, by the credentials that
// are not revoked yet, and by the approved queries.
type collector struct {
	patient  string
	filtered bool
	until    time.Time

	records  int64
	first    time.Time
	types    tally
	withheld int64 // records without their content

	queries map[string]*query
	ran     map[string]*approval // of queries that ended after they had been asked for
	ends    [ends]int64
	hours   bins
	n       numbers

	masks, detectors, purposes, refusals, failures, statuses, cut tally
	rulesDenied, rulesAsked, roles                                tally
	whyFailed, fromFailed, unknown                                tally

	access    map[accessKey]*access
	elsewhere access

	accounting, glass lines[visit]
	approvals         lines[*approval]
	denials           lines[denial]
	detected          lines[event]
	largest           []event
	failedSignIns     lines[event]
	rejected          lines[event]
	affairs           lines[event]
	unrevoked         lines[event]
	unended           lines[event]
	reads             map[readKey]*read
	readsElsewhere    int64
	people, askers    map[uint64]struct{} // by hash
	seed              maphash.Seed
	leases            map[string]event
}

// numbers are plain counts.
type numbers struct {
	rows, written, large                              int64
	unknownResults                                    int64
	approvals, deniedByApprovers                      int64
	viewed                                            int64
	failed, leftOut, signedIn                         int64
	leasesIssued, leasesRevoked, leftToTTL, unrevoked int64
	started, recovered                                int64
	configChanged, keysChanged, policyChanged         int64
	reads, exported, bundled                          int64
	rejected, forbidden                               int64
	intents                                           int64
	manyPeople                                        bool
}

type accessKey struct{ principal, connection, table string }

// readKey is one auditor's way of looking.
type readKey struct{ who, what string }

type read struct {
	who         who
	what        string
	count       int64
	first, last time.Time
	at          reference
}

// event is a line of a list.
type event struct {
	time       time.Time
	who        who
	connection string
	relations  []string
	text       string
	n          int64
	at         reference
}

// denial is what policy, or an approver, said no to.
type denial struct {
	event
	rules []string
	by    who
}

// visit is one query as the accounting of a person, and the list of emergency
// access, tell it.
type visit struct {
	time       time.Time
	who        who
	connection string
	relations  []string
	purpose    string
	rules      []string
	approvers  []who
	end        end
	rows       int64
	at         reference
}

func newCollector(m *evidence.Manifest) *collector {
	c := &collector{until: m.Until, filtered: m.Filter != nil, queries: make(map[string]*query), ran: make(map[string]*approval),
		access: make(map[accessKey]*access), reads: make(map[readKey]*read), people: make(map[uint64]struct{}), askers: make(map[uint64]struct{}),
		seed: maphash.MakeSeed(), leases: make(map[string]event)}
	if m.Filter != nil {
		c.patient = m.Filter.Patient
	}
	c.accounting.most = maxAccounting
	c.approvals.most, c.denials.most, c.glass.most = maxList, maxList, maxList
	for _, l := range []*lines[event]{&c.detected, &c.failedSignIns, &c.rejected, &c.affairs, &c.unrevoked, &c.unended} {
		l.most = maxList
	}
	return c
}

// collect reads everything.
func collect(content *bundle.Content) (*collector, error) {
	c := newCollector(content.Manifest)
	err := content.Records(func(r *evidence.Record) bool {
		c.add(r)
		return true
	})
	if err != nil {
		return nil, err
	}
	c.finish()
	return c, nil
}

func (c *collector) add(r *evidence.Record) {
	c.records++
	if c.first.IsZero() || r.Time.Before(c.first) {
		c.first = r.Time
	}
	c.types.add(string(r.Type), 1)
	if r.Withheld {
		c.withheld++
	}
	for _, patient := range r.Patients {
		c.n.manyPeople = !c.mark(c.people, patient)
	}
	switch r.Type {
	case evidence.TypeIntent:
		c.n.intents++
		c.open(r).take(r, c.patient)
	case evidence.TypeOutcome:
		c.outcome(r)
	case evidence.TypeApprovalRequested, evidence.TypeApprovalDecided, evidence.TypeApprovalClaimed, evidence.TypeApprovalCancelled:
		c.step(r)
	case evidence.TypeApprovalViewed:
		c.n.viewed++
	case evidence.TypeLeaseIssued, evidence.TypeLeaseRevoked:
		c.lease(r)
	default:
		c.affair(r)
	}
}

// lease follows a credential from its issue to its end.
func (c *collector) lease(r *evidence.Record) {
	id := r.ID
	if r.Lease != nil {
		id = r.Lease.ID
	}
	if r.Type == evidence.TypeLeaseIssued {
		c.n.leasesIssued++
		e := event{time: r.Time, connection: r.Connection, at: referTo(r)}
		if r.Lease != nil {
			e.text = r.Lease.Username
		}
		c.leases[id] = e
		return
	}
	c.n.leasesRevoked++
	if r.Note != "" {
		c.n.leftToTTL++ // only such a record has one
	}
	delete(c.leases, id)
}

// finish judges what has no end in the records.
func (c *collector) finish() {
	open := make([]*query, 0, len(c.queries))
	for _, q := range c.queries {
		if q.counts {
			open = append(open, q)
		} else if q.approval != nil {
			q.approval.end = q.stands(c.until)
		}
	}
	slices.SortFunc(open, func(a, b *query) int {
		return cmp.Or(a.first.Compare(b.first), strings.Compare(a.at.record, b.at.record))
	})
	for _, q := range open {
		e := q.stands(c.until)
		c.conclude(q, e, 0, q.at)
		if e == interrupted || e == noEnd {
			c.unended.add(event{time: q.first, who: q.who, connection: q.connection, relations: q.relations, text: endWords[e], at: q.at})
		}
	}
	left := make([]event, 0, len(c.leases))
	for _, e := range c.leases {
		left = append(left, e)
	}
	slices.SortFunc(left, func(a, b event) int {
		return cmp.Or(a.time.Compare(b.time), strings.Compare(a.at.record, b.at.record))
	})
	for _, e := range left {
		c.unrevoked.add(e)
	}
	c.n.unrevoked = int64(len(left))
	byTime := func(a, b visit) int { return cmp.Or(a.time.Compare(b.time), strings.Compare(a.at.record, b.at.record)) }
	slices.SortFunc(c.accounting.kept, byTime)
	slices.SortFunc(c.glass.kept, byTime)
}

// total is how many queries there are: the sum of all ends.
func (c *collector) total() (n int64) {
	for _, count := range c.ends {
		n += count
	}
	return n
}

func (c *collector) endsOf(some ...end) (n int64) {
	for _, e := range some {
		n += c.ends[e]
	}
	return n
}

// principals is how many different persons and agents asked.
func (c *collector) principals() int64 { return int64(len(c.askers)) }

// mark counts something different once. It reports false if there are too many.
func (c *collector) mark(seen map[uint64]struct{}, name string) bool {
	if len(seen) >= maxPeople {
		return false
	}
	seen[maphash.String(c.seed, name)] = struct{}{}
	return true
}
