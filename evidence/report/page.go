package report

import (
	"html/template"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// page is what the template writes.
type page struct {
	Style  template.CSS
	Policy string

	Title, Since, Until, Created, Maker string
	Filter                              []tile // name and value
	// Of says of what the numbers are, in words that follow "of".
	Of              string
	Filtered        bool
	Records         string
	Left            string // what a filter leaves out
	Withheld        string
	Verdict         verdict
	Tiles, Amounts  []tile
	Total           string
	Attention       []point
	Chart           *chart
	Purposes        table
	Access          table
	Patient         string
	Accounting      table
	Swept           table
	Persons         string
	Approvals       table
	ApprovalWords   string
	DenialRules     table
	Denials         table
	DenialWords     string
	Rejected        table
	Glass           table
	SignIns         signIns
	Anomalies       []anomaly
	Affairs         table
	Reads           table
	Types           table
	Controls        []controlView
	Logs            table
	FindingsPresent bool
}

// point is something to look at, and where.
type point struct{ Text, To string }

type signIns struct {
	Words string
	Table table
	Why   table
	From  table
}

type anomaly struct {
	ID, Title, Words string
	Table            *table
}

type controlView struct {
	ID, Citation, Name, Evidenced, Records, Other string
	Counts                                        []string
}

// newPage puts everything into words.
func newPage(content *bundle.Content, c *collector, a *around, regulation []control) (*page, error) {
	m := content.Manifest
	p := &page{Title: "Report of access", Until: clock(m.Until), Created: clock(m.Created), Maker: legible(m.Maker),
		Since: either(clock(m.Since), "the first record"), Filtered: m.Filter != nil, Records: number(c.records), Of: "the whole period"}
	p.Style, p.Policy = style()
	p.Verdict = judge(content.Report, c.records)
	p.FindingsPresent = p.Verdict.Tone != "good"
	if m.Filter != nil {
		p.Of = "the records in this bundle"
		p.Filter = filterWords(m.Filter)
		p.Left = leftOut(c, a, m.Filter)
		if m.Filter.Patient != "" {
			p.Title, p.Patient = "Report of queries that named one person", legible(m.Filter.Patient)
		}
	}
	if c.withheld > 0 {
		p.Withheld = "Of " + counted(c.withheld, "record", "records") + " of what this bundle is about the content is left out, so that rows, " +
			"masked cells and rules are not known of them and are missing in the numbers below. A bundle that is in order leaves out nothing that it is about."
	}
	since := m.Since
	if since.IsZero() {
		since = c.first
	}
	if !since.IsZero() {
		p.Chart = draw(c.hours.bars(since, m.Until))
	}
	p.numbers(c)
	p.access(c)
	p.person(c, a)
	p.approvals(c)
	p.denials(c)
	p.glass(c)
	p.signIns(c)
	p.anomalies(c, content.Report)
	p.affairs(c)
	p.types(c)
	p.controls(c, regulation)
	p.logs(m)
	p.attention(c)
	return p, nil
}

func filterWords(f *evidence.Filter) (all []tile) {
	for _, one := range []tile{
		{Name: "Person or agent (who asked, for whom, or who decided)", Value: f.Principal}, {Name: "Connection", Value: f.Connection},
		{Name: "Session", Value: f.SessionID}, {Name: "Query", Value: f.QueryID}, {Name: "Table", Value: f.Relation},
		{Name: "Person whose identifier was looked up (token)", Value: f.Patient},
		{Name: "Decision", Value: f.Effect}, {Name: "How it ended", Value: f.Status},
	} {
		if one.Value != "" {
			one.Value = legible(one.Value)
			all = append(all, one)
		}
	}
	return all
}

// leftOut says what a filter leaves out.
func leftOut(c *collector, a *around, f *evidence.Filter) (words string) {
	if f.Effect != "" || f.Status != "" {
		words = "It chooses by decision or by end, so that a zero for another decision or end says nothing. "
	}
	if !a.known {
		return words + "How many records of the period the filter leaves out is not known."
	}
	return words + "The period has " + counted(a.records, "record", "records") + " in all; this report is made from the " + number(c.records) +
		" that the filter chooses. Of the other " + number(max(a.records-c.records, 0)) +
		" the bundle holds who, when, where and which tables, so that a verifier can see that none is missing, and nothing of their content."
}

// numbers are the tiles. Those of queries add up to all of them.
func (p *page) numbers(c *collector) {
	p.Total = number(c.total())
	some := func(list ...end) string {
		var parts []string
		for _, e := range list {
			if c.ends[e] > 0 {
				parts = append(parts, number(c.ends[e])+" "+endWords[e])
			}
		}
		return strings.Join(parts, "; ")
	}
	add := func(name, tone string, list ...end) {
		t := tile{Name: name, Value: number(c.endsOf(list...)), Tone: tone}
		if len(list) > 1 {
			t.Small = some(list...)
		}
		p.Tiles = append(p.Tiles, t)
	}
	add("Succeeded", "good", succeeded)
	add("Denied or refused", "bad", deniedByPolicy, deniedByApprover, refused)
	add("Waiting, or not run", "wait", waiting, approvedOnly, expired, withdrawn)
	add("Failed", "broken", failed)
	add("Interrupted, or no end recorded", "broken", interrupted, noEnd)
	add("Dry runs: explained, not run", "over", dryRun)
	if n := c.endsOf(notReleased, otherEnd); n > 0 {
		add("Withheld, or ended otherwise", "broken", notReleased, otherEnd)
	}
	rows := tile{Name: "Rows released", Value: number(c.n.rows)}
	if c.n.written > 0 {
		rows.Small = counted(c.n.written, "row written", "rows written")
	}
	masked := tile{Name: "Cells masked", Value: number(c.masks.total()), Small: c.masks.words(legible)}
	people := tile{Name: "Persons named by look-ups", Value: number(int64(len(c.people))), Small: "different persons, by token"}
	if c.n.manyPeople {
		people.Value = "more than " + people.Value
	}
	if c.n.unknownResults > 0 {
		for _, t := range []*tile{&rows, &masked} {
			t.Value = "at least " + t.Value
		}
	}
	p.Amounts = []tile{rows, masked, people,
		{Name: "Persons and agents who asked", Value: number(c.principals())}}
	p.Purposes = table{ID: "purpose", Caption: "Purposes of use, as the requesters gave them (HL7 v3 PurposeOfUse)", Columns: columns("Purpose", "#Queries"),
		None: "No query, so no purpose."}
	for _, n := range c.purposes.sorted() {
		p.Purposes.add(text(purpose(n.name)), count(n.count))
	}
	if c.purposes.others > 0 {
		p.Purposes.add(text("other codes"), count(c.purposes.others))
	}
}

// access is who did what with which table.
func (p *page) access(c *collector) {
	p.Access = table{ID: "access", Caption: "Who accessed what: a line for each person or agent, connection and table",
		Columns: columns("Who", "Connection and table", "#Queries", "#Succeeded", "#Rows", "First and last", "Purposes of use, and for whom", "Last record"),
		None:    "No query in these records."}
	all := make([]*access, 0, len(c.access))
	for _, a := range c.access {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *access) int {
		for _, pair := range [][2]string{{a.who.words(), b.who.words()}, {a.who.key, b.who.key}, {a.connection, b.connection}, {a.table, b.table}} {
			if order := strings.Compare(pair[0], pair[1]); order != 0 {
				return order
			}
		}
		return 0
	})
	for _, a := range all {
		w := a.who
		w.behalf = ""
		span := moment(a.first)
		if !a.last.Equal(a.first) {
			span.Small = []string{"to " + clock(a.last)}
		}
		var forWhom []string
		if people := a.behalf.words(legible); people != "" {
			forWhom = []string{"for " + people}
		}
		asker := person(w)
		if w.issuer != "" {
			asker.Small = append(asker.Small, legible(w.issuer))
		}
		p.Access.add(asker, text(legible(a.connection), legible(either(a.table, "no table, or not understood"))), count(a.total),
			count(a.answered), count(a.rows), span, text(a.purposes.words(purpose), forWhom...), refer(a.at))
	}
	if e := c.elsewhere; e.total > 0 {
		p.Access.More = "Beyond the first " + number(maxAccess) + " combinations of person, connection and table there are more, with " +
			counted(e.total, "access", "accesses") + " and " + counted(e.rows, "row", "rows") + " in all, from " + clock(e.first) + " to " + clock(e.last) +
			". They are in evidence/runs and, one a line for a spreadsheet, in exports/records.csv where the bundle has that file."
	}
}
