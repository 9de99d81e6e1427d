package report

import (
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
)

// person is the accounting for the person of the filter.
func (p *page) person(c *collector, a *around) {
	p.Persons = counted(int64(len(c.people)), "different person is", "different persons are") + " named by look-ups in these records."
	if p.Patient == "" {
		return
	}
	p.Accounting = table{ID: "accounting", Caption: "Queries that named this person by an identifier, in the order in which they were asked (UTC)",
		Columns: columns("Date and time", "Who", "Purpose of use", "Connection and tables", "Outcome", "Approved by", "Record"),
		None:    "No query of the period named this person by an identifier."}
	for _, v := range c.accounting.kept {
		p.Accounting.add(moment(v.time), person(v.who), text(purpose(v.purpose)), text(legible(v.connection), tables(v.relations)),
			endCell(v.end, v.rows), text(names(v.approvers)), refer(v.at))
	}
	p.Accounting.rest(c.accounting.more)
	p.Swept = table{ID: "swept", Caption: "Queries of the period that gave an answer from a table and did not name this person",
		Columns: columns("Table", "#Named nobody", "#Named somebody else only"), None: "No other query of the period gave an answer from a table."}
	if !a.known {
		p.Swept.None = "How many other queries read which tables is not known."
		return
	}
	both := tally{}
	for _, t := range []*tally{&a.unnamed, &a.others} {
		for name, n := range t.counts {
			both.add(name, n)
		}
	}
	for _, n := range both.sorted() {
		p.Swept.add(text(legible(n.name)), count(a.unnamed.counts[n.name]), count(a.others.counts[n.name]))
	}
	if more := sum(a.unnamed.others, a.others.others); more > 0 || both.others > 0 {
		p.Swept.More = "There are more tables; their queries are in evidence/runs."
	}
}

func names(people []who) string {
	if len(people) == 0 {
		return "no approval recorded"
	}
	all := make([]string, len(people))
	for i, w := range people {
		all[i] = w.words()
	}
	return strings.Join(all, ", ")
}

// approvals are what was asked of people, and what they said.
func (p *page) approvals(c *collector) {
	p.Approvals = table{ID: "approval", Caption: "Requests for approval, by when they were asked (UTC)",
		Columns: columns("Asked", "Who", "Connection and tables", "Rule", "Decisions", "What became of it", "Record"),
		None:    "No request for approval in these records."}
	for _, a := range c.approvals.kept {
		decisions := cell{Text: "no decision recorded"}
		for i, d := range a.decisions {
			words, when := "Approved by "+d.who.words(), clock(d.time)
			if d.denied {
				words = "Denied by " + d.who.words()
			}
			if !d.signed.IsZero() {
				when += ", had signed in " + clock(d.signed)
			}
			if i == 0 {
				decisions.Text = words
			} else {
				decisions.Small = append(decisions.Small, words)
			}
			decisions.Small = append(decisions.Small, when, "record "+legible(d.at.record))
		}
		if a.more > 0 {
			decisions.Small = append(decisions.Small, "and "+counted(a.more, "more decision", "more decisions"))
		}
		asked := moment(a.asked)
		if a.asked.IsZero() {
			asked = text("before the period, or not in these records")
		}
		ended := text(became(a))
		if !a.expires.IsZero() {
			ended.Small = []string{"could be approved until " + clock(a.expires)}
		}
		p.Approvals.add(asked, person(a.who), text(legible(a.connection), tables(a.relations)), text(either(legible(a.rule), "not recorded")),
			decisions, ended, refer(a.at))
	}
	p.Approvals.rest(c.approvals.more)
	p.ApprovalWords = counted(c.rulesAsked.total(), "request", "requests") + " for approval. Approvers approved " +
		counted(c.n.approvals, "time", "times") + ", denied " + counted(c.n.deniedByApprovers, "time", "times") + ", and looked at a request " +
		counted(c.n.viewed, "time", "times") + "."
	if c.rulesAsked.total() > 0 {
		p.ApprovalWords += " By the rule that asked: " + c.rulesAsked.words(legible) + "."
	}
}

func became(a *approval) string {
	if a.end == succeeded {
		return "it ran and succeeded"
	}
	if !a.claimed.IsZero() {
		return "it was started " + clock(a.claimed) + "; " + endWords[a.end]
	}
	return endWords[a.end]
}

// denials are all of them: by policy, by approvers, and beyond a role.
func (p *page) denials(c *collector) {
	p.DenialWords = counted(c.ends[deniedByPolicy], "query was", "queries were") + " denied by policy. Approvers denied " +
		counted(c.n.deniedByApprovers, "time", "times") + ". " + beyondRole(c) + " " + counted(c.ends[refused], "query was", "queries were") +
		" refused because the gateway did not understand it or it was not valid"
	if c.refusals.total() > 0 {
		p.DenialWords += " (" + c.refusals.words(legible) + ")"
	}
	p.DenialWords += "."
	if n := c.ends[deniedByApprover]; n != c.n.deniedByApprovers {
		p.DenialWords += " Of the requests that an approver denied, " + number(n) + " ended with that in this period."
	}
	p.DenialRules = table{ID: "rule", Caption: "Denials by who or what denied", Columns: columns("Denied by", "#Denials"), None: "No denial in these records."}
	for _, n := range c.rulesDenied.sorted() {
		p.DenialRules.add(text("policy, rule "+legible(n.name)), count(n.count))
	}
	if c.rulesDenied.others > 0 {
		p.DenialRules.add(text("policy, other rules"), count(c.rulesDenied.others))
	}
	if c.n.deniedByApprovers > 0 {
		p.DenialRules.add(text("an approver"), count(c.n.deniedByApprovers))
	}
	if c.n.forbidden > 0 {
		p.DenialRules.add(text("the caller's role"), count(c.n.forbidden))
	}
	p.Denials = table{ID: "denial", Caption: "Queries denied by policy or by an approver (UTC)",
		Columns: columns("When", "Who", "Connection and tables", "Denied by", "Record"), None: "No query was denied in these records."}
	for i := range c.denials.kept {
		d := &c.denials.kept[i]
		by := text("policy", "rule "+list(d.rules, maxSet))
		if len(d.rules) == 0 {
			by.Small = []string{"rule not recorded"}
		}
		if d.by != (who{}) {
			by = text("an approver", d.by.words())
		}
		asker := person(d.who)
		if d.who == (who{}) {
			asker = text("asked before the period")
		}
		p.Denials.add(moment(d.time), asker, text(legible(d.connection), tables(d.relations)), by, refer(d.at))
	}
	p.Denials.rest(c.denials.more)
	p.Rejected = table{ID: "role", Caption: "Requests beyond the caller's role (UTC)", Columns: columns("When", "Who", "Connection", "Why", "Record"),
		None: "None in these records."}
	if c.filtered {
		p.Rejected.None = notHere
	}
	for i := range c.rejected.kept {
		e := &c.rejected.kept[i]
		why := "the caller does not hold the role"
		if e.text == "own_request" {
			why = "the caller wanted to decide on an own request"
		}
		p.Rejected.add(moment(e.time), person(e.who), text(either(legible(e.connection), "none")), text(why), refer(e.at))
	}
	p.Rejected.rest(c.rejected.more)
}

// notHere is written where a filter leaves out a whole sort of records.
const notHere = "Not in a bundle with this filter."

func beyondRole(c *collector) string {
	if c.filtered && c.n.forbidden == 0 {
		return "Requests beyond the caller's role are not in a bundle with this filter."
	}
	return counted(c.n.forbidden, "request was", "requests were") + " turned away because the caller's role did not cover it."
}

// glass is access in an emergency.
func (p *page) glass(c *collector) {
	p.Glass = table{ID: "glass", Caption: "Break-glass access (UTC)",
		Columns: columns("When", "Who", "Purpose and rules", "Connection and tables", "Outcome", "Approved by", "Record"),
		None:    "No break-glass access in these records."}
	for _, v := range c.glass.kept {
		rules := "no rule recorded"
		if len(v.rules) > 0 {
			rules = "rule " + list(v.rules, maxSet)
		}
		p.Glass.add(moment(v.time), person(v.who), text(purpose(v.purpose), rules), text(legible(v.connection), tables(v.relations)),
			endCell(v.end, v.rows), text(names(v.approvers)), refer(v.at))
	}
	p.Glass.rest(c.glass.more)
}

// signIns are failed ones.
func (p *page) signIns(c *collector) {
	s := &p.SignIns
	s.Words = counted(c.n.failed, "failed sign-in is", "failed sign-ins are") + " recorded, and " + number(c.n.leftOut) +
		" more were counted and not recorded one by one."
	if c.filtered && c.n.failed == 0 {
		s.Words = "Failed sign-ins are not in a bundle with this filter, so nothing can be said of them here."
	}
	s.Table = table{ID: "signin", Caption: "Failed sign-ins that are recorded (UTC)",
		Columns: columns("When", "From address", "Why, in the gateway's words", "#Not recorded before it", "Record"), None: "None in these records."}
	for i := range c.failedSignIns.kept {
		e := &c.failedSignIns.kept[i]
		s.Table.add(moment(e.time), text(legible(e.who.subject)), text(legible(e.text)), count(e.n), refer(e.at))
	}
	s.Table.rest(c.failedSignIns.more)
	s.From = summary("from", "By address", "From address", &c.fromFailed)
	s.Why = summary("why", "By reason", "Reason", &c.whyFailed)
}

// summary is a tally as a table.
func summary(id, caption, name string, t *tally) table {
	out := table{ID: id, Caption: caption, Columns: columns(name, "#Times"), None: "None in these records."}
	for _, n := range t.sorted() {
		out.add(text(legible(n.name)), count(n.count))
	}
	if t.others > 0 {
		out.add(text("others"), count(t.others))
	}
	return out
}

// events is a list of events as a table.
func events(id, caption, what string, l *lines[event], numeric string) *table {
	names := []string{"When", "Who", "Connection and tables"}
	if what != "" {
		names = append(names, what)
	}
	if numeric != "" {
		names = append(names, "#"+numeric)
	}
	t := &table{ID: id, Caption: caption, Columns: columns(append(names, "Record")...), None: "None in these records."}
	for i := range l.kept {
		e := &l.kept[i]
		cells := []cell{moment(e.time), person(e.who), text(legible(e.connection), tables(e.relations))}
		if what != "" {
			cells = append(cells, text(legible(e.text)))
		}
		if numeric != "" {
			cells = append(cells, count(e.n))
		}
		t.add(append(cells, refer(e.at))...)
	}
	t.rest(l.more)
	return t
}

// affairs are changes and starts.
func (p *page) affairs(c *collector) {
	p.Affairs = table{ID: "change", Caption: "Starts and ends of gateways, changes of configuration, rules and keys (UTC)",
		Columns: columns("When", "What", "Record"), None: "None in these records."}
	if c.filtered {
		p.Affairs.None = notHere
	}
	for i := range c.affairs.kept {
		e := &c.affairs.kept[i]
		p.Affairs.add(moment(e.time), text(e.text), refer(e.at)) // the text is legible already
	}
	p.Affairs.rest(c.affairs.more)
	p.Reads = table{ID: "look", Caption: "What auditors looked at through the gateway: a line for each auditor and way of looking (UTC)",
		Columns: columns("Who", "What", "#Times", "First", "Last", "Last record"), None: "No look of an auditor in these records."}
	if c.filtered {
		p.Reads.None = "No look of an auditor is among the records that this filter chooses."
	}
	for _, r := range sortedReads(c.reads) {
		p.Reads.add(person(r.who), text(legible(r.what)), count(r.count), moment(r.first), moment(r.last), refer(r.at))
	}
	p.Reads.rest(c.readsElsewhere)
}

// logs are the gateways whose records are here.
func (p *page) logs(m *evidence.Manifest) {
	p.Logs = table{ID: "log", Caption: "The gateway logs in this bundle", Columns: columns("Log (one for each process of a gateway)", "#Segments", "#Records"),
		None: "No log has records of this period."}
	for i, writer := range sortedKeys(m.Runs) {
		if i == maxList {
			p.Logs.More = counted(int64(len(m.Runs)-i), "more log", "more logs") + " in evidence/runs."
			break
		}
		run := m.Runs[writer]
		p.Logs.add(text(legible(writer)), cell{Text: number(span(run.From, run.To))}, cell{Text: number(span(run.First, run.Size))})
	}
}

// span is how many there are from one up to another.
func span(from, to uint64) int64 {
	if to < from || to-from > 1<<62 {
		return 0
	}
	return int64(to - from) // #nosec G115 -- below 1<<62
}
