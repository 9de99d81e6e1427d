package report

import (
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// open gives the query of a record, a new one if it is not known.
func (c *collector) open(r *evidence.Record) *query {
	id := r.QueryID
	if id == "" {
		id = r.ID // nothing of it is connected to anything
	}
	q := c.queries[id]
	if q == nil {
		q = &query{first: r.Time, at: referTo(r)}
		c.queries[id] = q
	}
	return q
}

// outcome ends a query.
func (c *collector) outcome(r *evidence.Record) {
	q := c.open(r)
	q.take(r, c.patient)
	delete(c.queries, r.QueryID)
	delete(c.queries, r.ID)
	if q.approval != nil || len(r.Approvers) > 0 {
		c.ran[r.QueryID] = q.approval
	}
	q.relied = r.Approvers
	status := r.Status
	if status == "" && r.Result != nil {
		status = r.Result.Status
	}
	e := endOf(status)
	result := r.Result
	if result == nil {
		c.n.unknownResults++
		result = &evidence.Result{}
	}
	rows := int64(0)
	if e == succeeded {
		rows = max(result.RowCount, 0)
		c.released(r, q, result)
	}
	switch e {
	case deniedByPolicy:
		c.denied(r, q)
	case refused:
		c.refusals.add(either(result.Code, "no code recorded"), 1)
	case failed:
		c.failures.add(either(result.Code, "no code recorded"), 1)
	case otherEnd:
		c.statuses.add(either(status, "no status"), 1)
	}
	c.conclude(q, e, rows, referTo(r))
}

// released counts what an answer held.
func (c *collector) released(r *evidence.Record, q *query, result *evidence.Result) {
	rows := max(result.RowCount, 0)
	c.n.rows = sum(c.n.rows, rows)
	c.n.written = sum(c.n.written, max(result.Affected, 0))
	for mask, n := range result.Masks {
		c.masks.add(mask, n)
	}
	if total := c.hits(result.Detected); total > 0 {
		c.detected.add(event{time: r.Time, who: q.who, connection: q.connection, relations: q.relations,
			text: strings.Join(q.rules, ", "), n: total, at: referTo(r)})
	}
	if result.Truncated != "" {
		c.cut.add(result.Truncated, 1)
	}
	if rows >= large {
		c.n.large++
		c.largest = largest(c.largest, event{time: r.Time, who: q.who, connection: q.connection, relations: q.relations,
			n: rows, at: referTo(r)})
	}
}

func (c *collector) hits(detected map[string]int64) (total int64) {
	for detector, n := range detected {
		c.detectors.add(detector, n)
		total = sum(total, n)
	}
	return total
}

// largest keeps the largest results, the largest first.
func largest(kept []event, e event) []event {
	at := len(kept)
	for at > 0 && kept[at-1].n < e.n {
		at--
	}
	kept = append(kept[:at:at], append([]event{e}, kept[at:]...)...)
	return kept[:min(len(kept), maxLargest)]
}

// step takes in a step of an approval.
func (c *collector) step(r *evidence.Record) {
	a, ran := c.ran[r.QueryID]
	q := &query{approval: a}
	if !ran { // else the clocks of two gateways differ: it is over already
		q = c.open(r)
	}
	a = q.approval
	if a == nil {
		a = &approval{who: q.who, connection: r.Connection, relations: r.Relations, at: referTo(r)}
		q.approval = a
		if ran {
			c.ran[r.QueryID], a.end = a, succeeded
		}
		c.approvals.add(a)
	}
	switch r.Type {
	case evidence.TypeApprovalRequested:
		q.take(r, c.patient)
		q.asked = true
		a.asked, a.who, a.at, a.relations = r.Time, q.who, referTo(r), r.Relations
		if r.Approval != nil {
			a.rule = r.Approval.Rule
			if r.Approval.ExpiresAt != nil {
				a.expires = *r.Approval.ExpiresAt
				q.expires = a.expires
			}
		}
		c.rulesAsked.add(either(a.rule, "no rule recorded"), 1)
	case evidence.TypeApprovalDecided:
		c.decided(r, q)
	case evidence.TypeApprovalClaimed:
		q.claimed, a.claimed = true, r.Time
		if q.who == (who{}) {
			q.who = whoOf(r.Actor) // only the requester may claim
		}
	case evidence.TypeApprovalCancelled:
		q.withdrawn, a.withdrawn, q.counts = true, true, true
		if q.who == (who{}) {
			q.who = whoOf(r.Actor) // only the requester may withdraw
		}
	}
	q.connection = either(q.connection, r.Connection)
	if len(q.relations) == 0 {
		q.relations = r.Relations
	}
}

// decided takes in what an approver said. A denial of an approver counts as a
// denial of policy does: nothing ran, and somebody wanted it.
func (c *collector) decided(r *evidence.Record, q *query) {
	verdict := r.Effect
	if r.Approval != nil {
		verdict = either(r.Approval.Decision, verdict)
	}
	d := decision{who: whoOf(r.Actor), denied: verdict != "approve", time: r.Time, at: referTo(r)}
	if r.Actor != nil && r.Actor.AuthTime != nil {
		d.signed = *r.Actor.AuthTime
	}
	if d.denied {
		q.denied, q.counts = true, true
		c.n.deniedByApprovers++
		c.denials.add(denial{event: event{time: r.Time, who: q.who, connection: r.Connection, relations: r.Relations, at: referTo(r)},
			by: d.who})
	} else {
		q.approved = true
		c.n.approvals++
	}
	if a := q.approval; a != nil {
		if len(a.decisions) < maxDecisions {
			a.decisions = append(a.decisions, d)
		} else {
			a.more++
		}
	}
}

// denied takes in a denial of policy.
func (c *collector) denied(r *evidence.Record, q *query) {
	c.denials.add(denial{event: event{time: r.Time, who: q.who, connection: q.connection, relations: q.relations, at: referTo(r)},
		rules: q.rules})
	if len(q.rules) == 0 {
		c.rulesDenied.add("no rule recorded", 1)
		return
	}
	c.rulesDenied.add(q.rules[0], 1)
}

// conclude counts a query with its end.
func (c *collector) conclude(q *query, e end, rows int64, at reference) {
	if a := q.approval; a != nil {
		a.end = e
	}
	c.ends[e]++
	c.hour(q.first, e)
	c.purposes.add(q.purpose, 1)
	if q.who != (who{}) {
		c.mark(c.askers, q.who.key)
	}
	c.accessed(q, e, rows, at)
	if emergency(q.purpose) || breaksGlass(q.rules) {
		c.glass.add(c.visit(q, e, rows, at))
	}
	if q.named {
		c.accounting.add(c.visit(q, e, rows, at))
	}
}

func (c *collector) visit(q *query, e end, rows int64, at reference) visit {
	v := visit{time: q.first, who: q.who, connection: q.connection, relations: q.relations, purpose: q.purpose, rules: q.rules,
		end: e, rows: rows, at: at}
	if q.approval != nil {
		for _, d := range q.approval.decisions {
			if !d.denied {
				v.approvers = append(v.approvers, d.who)
			}
		}
	}
	for _, key := range q.relied { // who decided before the period is known by the key only
		if !slices.ContainsFunc(v.approvers, func(w who) bool { return w.key == key }) && len(v.approvers) < maxDecisions {
			v.approvers = append(v.approvers, who{subject: key, key: key})
		}
	}
	return v
}

// emergency: the purposes that stand for access beyond the usual rights.
func emergency(code string) bool { return code == "BTG" }

// breaksGlass reports whether a rule is called after breaking the glass.
func breaksGlass(rules []string) bool {
	for _, rule := range rules {
		plain := strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(rule))
		if strings.Contains(plain, "breakglass") || strings.Contains(plain, "breaktheglass") || strings.Contains(plain, "btg") {
			return true
		}
	}
	return false
}

// accessed counts a query for each of its tables.
func (c *collector) accessed(q *query, e end, rows int64, at reference) {
	tables := q.relations
	if len(tables) == 0 {
		tables = []string{""}
	}
	for _, table := range tables {
		key := accessKey{q.who.key, q.connection, table}
		a := c.access[key]
		if a == nil {
			if len(c.access) >= maxAccess {
				a = &c.elsewhere
			} else {
				a = &access{who: q.who, connection: q.connection, table: table, first: q.first}
				c.access[key] = a
			}
		}
		a.total++
		if e == succeeded {
			a.answered++
		}
		a.rows = sum(a.rows, rows)
		if a.first.IsZero() || q.first.Before(a.first) {
			a.first = q.first
		}
		if !q.first.Before(a.last) {
			a.last, a.at = q.first, at
		}
		a.purposes.add(q.purpose)
		a.behalf.add(q.who.behalf)
	}
}

// hour counts a query for the chart.
func (c *collector) hour(t time.Time, e end) {
	c.hours.add(t.Unix()/int64(time.Hour/time.Second), e)
}
