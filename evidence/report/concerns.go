package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
)

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func sortedReads(m map[readKey]*read) []*read {
	return slices.SortedFunc(maps.Values(m), func(a, b *read) int {
		return cmp.Or(strings.Compare(a.who.key, b.who.key), strings.Compare(a.what, b.what))
	})
}

// anomalies are what may deserve a look. None of them is a judgement.
func (p *page) anomalies(c *collector, r *evidence.Report) {
	add := func(id, title, words string, t *table) {
		p.Anomalies = append(p.Anomalies, anomaly{id, title, words, t})
	}
	add("anomaly-end", "Queries without an end", counted(c.endsOf(interrupted), "query was", "queries were")+" interrupted because a gateway stopped; of "+
		counted(c.endsOf(noEnd), "query", "queries")+" these records tell no end. Such a query may still have run when the period ended, or its end may "+
		"be recorded later. Its answer was not released before its end was recorded.",
		events("unended", "Queries that were interrupted or have no recorded end (UTC)", "What", &c.unended, ""))
	add("anomaly-lease", "Database credentials without a recorded end", "Of "+counted(c.n.leasesIssued, "credential", "credentials")+
		" issued in these records, "+counted(c.n.unrevoked, "has", "have")+" no record here of being revoked. One of the last minutes may be "+
		"revoked after the period; any other ends by its time limit. "+counted(c.n.leftToTTL, "credential", "credentials")+
		" could not be revoked: left to the time limit.", credentials(&c.unrevoked))
	detectors := ""
	if c.detectors.total() > 0 {
		detectors = " By detector: " + c.detectors.words(legible) + "."
	}
	add("anomaly-detected", "Identifiers that detectors found in answers", "Where detectors are on, columns that nobody classified are searched for what looks like identifiers; "+
		"what is found is masked. It was found in "+counted(c.detected.total(), "answer", "answers")+", so a column there may need a class."+detectors,
		events("detected", "Answers in which a detector found something (UTC)", "", &c.detected, "Found"))
	biggest := lines[event]{kept: c.largest}
	t := events("large", "The largest answers, at most "+number(maxLargest), "", &biggest, "Rows")
	if hiddenLarge := c.n.large - int64(len(c.largest)); hiddenLarge > 0 {
		t.rest(hiddenLarge)
	}
	add("anomaly-large", "Unusually large answers", counted(c.n.large, "answer", "answers")+" had "+number(large)+
		" rows or more, the figure from which the built-in rules ask for a person's approval.", t)
	add("anomaly-clock", "Clocks", counted(clocks(r), "finding", "findings")+" about clocks. A bundle alone cannot tell whether a gateway's clock was right: "+
		"the store's own times are not in it. the command chaperone evidence verify --config, on the store itself, compares them.", nil)
	var others []string
	if n := c.ends[notReleased]; n > 0 {
		others = append(others, counted(n, "answer was", "answers were")+" withheld after the query had run.")
	}
	if c.cut.total() > 0 {
		others = append(others, "Answers cut short at a limit: "+c.cut.words(legible)+".")
	}
	if c.failures.total() > 0 {
		others = append(others, "Queries that failed, by code: "+c.failures.words(legible)+".")
	}
	if c.statuses.total() > 0 {
		others = append(others, "Queries that ended in a way this report does not know: "+c.statuses.words(legible)+".")
	}
	if c.roles.total() > 0 {
		others = append(others, "Requests of known callers that were no query, by code: "+c.roles.words(legible)+".")
	}
	if c.n.recovered > 0 {
		others = append(others, counted(c.n.recovered, "record tells", "records tell")+" what a gateway that stopped had left undone.")
	}
	if len(others) > 0 {
		add("anomaly-other", "Other ends", strings.Join(others, " "), nil)
	}
}

// credentials are those without a recorded end.
func credentials(l *lines[event]) *table {
	t := &table{ID: "lease", Caption: "Credentials without a record of their end (UTC)", Columns: columns("Issued", "Connection", "Database user", "Record")}
	for i := range l.kept {
		e := &l.kept[i]
		t.add(moment(e.time), text(legible(e.connection)), text(legible(e.text)), refer(e.at))
	}
	t.rest(l.more)
	return t
}

// types are all records by their type, known or not: they add up to all records.
func (p *page) types(c *collector) {
	p.Types = table{ID: "type", Caption: "All records of this report by type", Columns: columns("Type", "What it tells", "#Records"), None: "No record."}
	for _, n := range c.types.sorted() {
		words := typeWords[evidence.Type(n.name)]
		if words == "" {
			words = "other: this report does not know the type"
		}
		p.Types.add(text(legible(n.name)), text(words), count(n.count))
	}
	if c.types.others > 0 {
		p.Types.add(text("further types"), text("other: this report does not know the types"), count(c.types.others))
	}
}

// typeWords say what each type of record tells.
var typeWords = map[evidence.Type]string{
	evidence.TypeWriterStarted: "a gateway started", evidence.TypeWriterClosed: "a gateway ended in order",
	evidence.TypeHeartbeat: "a gateway lives, and had nothing to record", evidence.TypeObserved: "what a gateway saw of the others' logs",
	evidence.TypeWitnessed: "a witness cosigned a gateway's log",
	evidence.TypeIntent:    "a query was received and decided by its shape", evidence.TypeLeaseIssued: "a database credential was issued",
	evidence.TypeLeaseRevoked: "a database credential ended", evidence.TypeOutcome: "how a query ended",
	evidence.TypeApprovalRequested: "a query waits for approval", evidence.TypeApprovalViewed: "an approver looked at a request",
	evidence.TypeApprovalDecided: "an approver decided", evidence.TypeApprovalClaimed: "an approved query was started",
	evidence.TypeApprovalCancelled: "the requester withdrew a request", evidence.TypeRejected: "a known caller's request that was no query",
	evidence.TypeAuthFailed: "somebody could not be recognised", evidence.TypeAuthSucceeded: "a person signed in to the pages",
	evidence.TypeRecovered: "what a gateway that stopped had left undone",
	evidence.TypeBundled:   "a day's bundle was stored", evidence.TypeRead: "an auditor looked at evidence",
	evidence.TypeConfigLoaded: "the configuration a gateway runs with", evidence.TypeConfigChanged: "the configuration changed",
	evidence.TypeKeysChanged: "keys changed", evidence.TypePolicyLoaded: "the rules a gateway decides by",
	evidence.TypeExported: "an auditor took evidence out",
}

// controls are the paragraphs with their counts.
func (p *page) controls(c *collector, regulation []control) {
	numbers := make(map[string]counter)
	for _, counter := range counters(c) {
		numbers[counter.name] = counter
	}
	for i := range regulation {
		r := &regulation[i]
		v := controlView{Citation: "45 CFR " + r.Citation, Name: r.Name, Evidenced: r.Evidenced, Other: r.Other}
		v.ID = "control-" + strings.Trim(strings.NewReplacer("(", "-", ")", "", ".", "-").Replace(r.Citation), "-")
		types := make([]string, len(r.Records))
		for i, t := range r.Records {
			types[i] = string(t)
		}
		v.Records = strings.Join(types, ", ")
		for _, name := range r.Counts {
			v.Counts = append(v.Counts, numbers[name].text(c.filtered))
		}
		p.Controls = append(p.Controls, v)
	}
}

// attention is what a reader should look at first.
func (p *page) attention(c *collector) {
	add := func(n int64, one, many, to string) {
		if n > 0 {
			p.Attention = append(p.Attention, point{capital(counted(n, one, many)), to})
		}
	}
	if p.Verdict.Tone != "good" {
		p.Attention = append(p.Attention, point{p.Verdict.Head, "verification"})
	}
	add(c.glass.total(), "break-glass query to review", "break-glass queries to review", "glass")
	add(c.ends[deniedByPolicy]+c.n.deniedByApprovers, "denial by policy or an approver", "denials by policy or an approver", "denials")
	add(c.n.forbidden, "request beyond the caller's role", "requests beyond the caller's role", "denials")
	add(sum(c.n.failed, c.n.leftOut), "failed sign-in", "failed sign-ins", "failures")
	add(c.endsOf(interrupted, noEnd), "query interrupted or without a recorded end", "queries interrupted or without a recorded end", "anomaly-end")
	add(c.n.unrevoked, "database credential without a recorded end", "database credentials without a recorded end", "anomaly-lease")
	add(c.detected.total(), "answer in which a detector found an identifier", "answers in which a detector found an identifier", "anomaly-detected")
	add(c.n.large, "unusually large answer", "unusually large answers", "anomaly-large")
	add(c.ends[notReleased], "answer withheld", "answers withheld", "anomaly-other")
	add(c.n.configChanged+c.n.policyChanged+c.n.keysChanged, "change of configuration, rules or keys", "changes of configuration, rules or keys", "changes")
	add(c.unknown.total(), "record of a type that this report does not know", "records of types that this report does not know", "types")
}
