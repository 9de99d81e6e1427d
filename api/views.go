package api

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/gateway"
)

// listPage is what list.html shows.
type listPage struct {
	frame
	Items []listItem
}

type listItem struct {
	ID, Who, Connection, Summary string
	Reasons                      []approvals.Reason
	Asked, Expires               moment
}

// requestPage is what request.html shows, in its order.
type requestPage struct {
	frame
	ID         string
	State      string // a sentence
	Open       bool   // it waits for a decision
	Tone       string // waiting, good, bad, over
	Connection string

	Who                             string
	Key, Client, OnBehalfOf, Crew   string
	Purpose                         string
	Reason                          []span
	Summary                         string
	Reasons                         []approvals.Reason
	Estimate                        string
	Statement                       []span
	Marks                           int
	Parameters                      []parameterView
	Columns                         []columnView
	Relations                       string
	Asked, Expires                  moment
	Needed, Given                   int
	History                         []event
	Binding                         string
	MayDecide                       bool
	WhyNot                          string
	Comment, Complaint, QuorumWords string
}

type parameterView struct {
	Name  string
	Value []span
	Null  bool
}

type columnView struct {
	Name, Class, Use, Seen string
	// Raw is true if the statement sees the real value.
	Raw bool
}

// event is something that happened to a request.
type event struct {
	At      moment
	Text    string
	Comment []span
}

// moment is a time for people and for machines.
type moment struct {
	Machine, Text, Relative string
}

func momentOf(t, now time.Time) moment {
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04 UTC"), relative(t.Sub(now))}
}

// relative says how far away a time is, roughly.
func relative(d time.Duration) string {
	far, words := d.Abs(), "moments"
	switch {
	case far >= 48*time.Hour:
		words = count(int64(far.Round(24*time.Hour)/(24*time.Hour)), "day")
	case far >= 90*time.Minute:
		words = count(int64(far.Round(time.Hour)/time.Hour), "hour")
	case far >= 50*time.Second:
		words = count(int64(far.Round(time.Minute)/time.Minute), "minute")
	}
	if d > 0 {
		return "in " + words
	}
	return words + " ago"
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands writes a number with its digits in groups of three.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func listView(f frame, open []approvals.Status, now time.Time) listPage {
	page := listPage{frame: f}
	for i := range open {
		r := &open[i].Request
		page.Items = append(page.Items, listItem{
			ID: r.ID, Who: who(r), Connection: r.Connection, Summary: legible(r.Summary), Reasons: r.Reasons,
			Asked: momentOf(r.Created, now), Expires: momentOf(r.Expires, now),
		})
	}
	return page
}

func who(r *approvals.Request) string {
	switch {
	case r.RequesterName != "":
		return legible(r.RequesterName)
	case r.ClientID != "":
		return legible(r.ClientID)
	}
	return legible(r.Requester)
}

func requestView(f frame, v *gateway.ApprovalView, now time.Time) requestPage {
	r := &v.Status.Request
	page := requestPage{
		frame: f, ID: r.ID, Connection: r.Connection,
		Who: who(r), Key: legible(r.Requester), Client: legible(r.ClientID),
		OnBehalfOf: legible(r.OnBehalfOf), Crew: r.SessionID,
		Reason: marked(v.Reason), Summary: legible(r.Summary), Reasons: r.Reasons, Estimate: estimateWords(r.EstimateRows),
		Statement: marked(v.Statement), Parameters: parameterViews(v.Parameters), Columns: columnViews(r),
		Relations: legible(strings.Join(r.Relations, ", ")), Asked: momentOf(r.Created, now), Expires: momentOf(r.Expires, now),
		Needed: max(r.Approvals, 1), Binding: r.Binding, MayDecide: v.MayDecide, WhyNot: v.WhyNot,
	}
	page.Marks = marks(page.Statement)
	for _, p := range page.Parameters {
		page.Marks += marks(p.Value)
	}
	if r.PurposeOfUse != "" {
		page.Purpose = evidence.PurposeName(r.PurposeOfUse) + " (" + r.PurposeOfUse + ")"
	}
	for _, vote := range v.Status.Votes {
		if vote.Approve {
			page.Given++
		}
	}
	page.State, page.Tone = stateWords(v.Status.State)
	page.Open = v.Status.State == approvals.Pending
	if page.Needed > 1 {
		page.QuorumWords = fmt.Sprintf("%d of %d approvals given", page.Given, page.Needed)
	}
	page.History = history(&v.Status, now)
	return page
}

func estimateWords(rows *float64) string {
	if rows == nil {
		return "The database was not asked for an estimate."
	}
	return "About " + count(int64(math.Min(*rows, 1e15)), "row") + ". This is the database planner's guess, not a promise."
}

// parameterViews lists the bound values. What cannot be read is shown as it is.
func parameterViews(raw []byte) []parameterView {
	doc, err := parseJSON(raw)
	if err != nil || doc.kind != kindArray && doc.kind != kindObject {
		if len(raw) == 0 {
			return nil
		}
		return []parameterView{{Name: "all", Value: marked(string(raw))}}
	}
	var views []parameterView
	add := func(name string, v *node) {
		shown := v.text
		if v.kind == kindArray || v.kind == kindObject {
			shown = string(appendNode(nil, v))
		}
		views = append(views, parameterView{name, marked(shown), v.kind == kindNull})
	}
	for i := range doc.items {
		add("$"+strconv.Itoa(i+1), &doc.items[i])
	}
	for i := range doc.members {
		add(legible(":"+doc.members[i].name), &doc.members[i].value)
	}
	return views
}

// useWords and seenWords tell a person what connectors' terms mean.
var useWords = map[connectors.UseKind]string{
	connectors.UseOutput: "shown in the result", connectors.UseExpression: "used in an expression",
	connectors.UsePredicate: "filtered by", connectors.UseJoin: "joined by", connectors.UseGroup: "grouped by",
	connectors.UseOrder: "sorted by",
}

func columnViews(r *approvals.Request) []columnView {
	var views []columnView
	seen := make(map[columnView]bool)
	for _, c := range r.Columns {
		v := columnView{Name: legible(c.Name), Class: c.Class, Use: useWords[connectors.UseKind(c.Use)]}
		if v.Use == "" {
			v.Use = c.Use
		}
		switch connectors.Seen(c.Seen) {
		case connectors.SeenMasked:
			v.Seen = "the mask"
		case connectors.SeenGeneralised:
			v.Seen = "a coarser value"
		case connectors.SeenGateway:
			v.Seen = "masked before it leaves"
		case connectors.SeenLookup:
			v.Seen, v.Raw = "the real value, only compared", true
		case connectors.SeenOpened:
			v.Seen, v.Raw = "the real value, only compared: approval opens it", true
		case connectors.SeenDestroyed:
			v.Seen = "the mask, so the answer may mislead"
			if len(r.Open) > 0 { // the gateway opens these uses with the approval
				v.Seen, v.Raw = "the real value, only compared: approval opens it", true
			}
		default:
			v.Seen, v.Raw = c.Seen, true // unknown: treat it as the worst
		}
		if !seen[v] {
			seen[v] = true
			views = append(views, v)
		}
	}
	return views
}

// stateWords says a state as a sentence, and its tone.
func stateWords(state approvals.State) (words, tone string) {
	switch state {
	case approvals.Pending:
		return "Waiting for a decision", "waiting"
	case approvals.Approved:
		return "Approved; the requester has not run it yet", "good"
	case approvals.Denied:
		return "Denied", "bad"
	case approvals.Expired:
		return "Expired without a decision", "over"
	case approvals.Cancelled:
		return "Withdrawn by the requester", "over"
	case approvals.Running:
		return "Approved and running now", "good"
	case approvals.Succeeded:
		return "Approved; it ran once and succeeded", "good"
	case approvals.Failed:
		return "Approved; it ran once and failed", "bad"
	case approvals.Interrupted:
		return "Approved; its run was interrupted and will not be repeated", "bad"
	}
	return string(state), "over"
}

// history is what happened to a request since it was made.
func history(st *approvals.Status, now time.Time) []event {
	events := []event{{At: momentOf(st.Request.Created, now), Text: who(&st.Request) + " asked"}}
	for _, v := range st.Votes {
		name, did := v.Name, "denied"
		if name == "" {
			name = v.Approver
		}
		if v.Approve {
			did = "approved"
		}
		events = append(events, event{momentOf(v.At, now), legible(name) + " " + did, marked(v.Comment)})
	}
	if st.Claim != nil {
		events = append(events, event{At: momentOf(st.Claim.At, now), Text: "The requester claimed it, and it started"})
	}
	if o := st.Outcome; o != nil {
		did := "It succeeded"
		if o.State == approvals.Failed {
			did = "It failed"
			if o.Code != "" {
				did += " (" + o.Code + ")"
			}
		}
		events = append(events, event{At: momentOf(o.At, now), Text: did + ". Recording " + o.RecordID})
	}
	if st.State == approvals.Expired {
		events = append(events, event{At: momentOf(st.Request.Expires, now), Text: "It expired"})
	}
	return events
}
