package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
)

// Bounds of what a page shows of an answer; the record's own page has all of it.
const (
	shownRows    = 10
	shownColumns = 8
	shownRunes   = 160
	// shownText bounds a fact, shownStatement a statement, in characters: hostile
	// ones must not make a page that no browser shows.
	shownText      = 2000
	shownStatement = 20000
	// shownDamaged is how many damaged segments a page names.
	shownDamaged = 20
	// bundlesPage is how many days the page of bundles lists.
	bundlesPage = 62
)

// searchForm is what was typed into a search, as it was typed.
type searchForm struct {
	Since, Until, Principal, Connection, Relation, Patient, Effect, Status, Type, Session, Query string
}

func formOf(v url.Values) searchForm {
	get := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	return searchForm{get("since"), get("until"), get("principal"), get("connection"), get("relation"), get("patient"),
		get("effect"), get("status"), get("type"), get("session"), get("query")}
}

// query reads the form.
func (f searchForm) query() (q index.Query, err error) {
	for _, text := range []string{f.Principal, f.Connection, f.Relation, f.Patient, f.Effect, f.Status, f.Type, f.Session, f.Query} {
		if utf8.RuneCountInString(text) > maxFilter || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return q, fmt.Errorf("a field is not valid text or is longer than %d characters", maxFilter)
		}
	}
	q.Filter = evidence.Filter{Principal: f.Principal, Connection: f.Connection, Relation: f.Relation, Patient: f.Patient,
		Effect: f.Effect, Status: f.Status, SessionID: f.Session, QueryID: f.Query}
	q.Type = f.Type
	if q.Since, err = formTime(f.Since); err != nil {
		return q, err
	}
	if q.Until, err = formTime(f.Until); err != nil {
		return q, err
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return q, errors.New("the period ends before it begins")
	}
	return q, nil
}

// formTime reads a time of a form as UTC; "" is no time.
func formTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("write times as 2026-11-24 or 2026-11-24T08:00 (UTC)")
}

// address is the form as a query string, with some fields replaced.
func (f searchForm) address(replace ...string) string {
	v := url.Values{}
	for name, text := range map[string]string{"since": f.Since, "until": f.Until, "principal": f.Principal, "connection": f.Connection,
		"relation": f.Relation, "patient": f.Patient, "effect": f.Effect, "status": f.Status, "type": f.Type, "session": f.Session, "query": f.Query} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for i := 0; i+1 < len(replace); i += 2 {
		v.Set(replace[i], replace[i+1])
	}
	return "/audit?" + v.Encode()
}

// choice is an option of a form.
type choice struct {
	Value, Text string
	Chosen      bool
}

func choices(chosen string, pairs ...string) (list []choice) {
	known := false
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, choice{pairs[i], pairs[i+1], pairs[i] == chosen})
		known = known || pairs[i] == chosen
	}
	if !known {
		list = append(list, choice{strings.ToValidUTF8(chosen, "\ufffd"), shortened(chosen), true})
	}
	return list
}

// Types, Effects and Statuses are the choices of the search.
func (f searchForm) Types() []choice {
	return choices(f.Type, "", "everything", "query.outcome", "how queries ended", "query.intent", "queries as they came in",
		"approval", "steps of approvals", "lease", "database credentials", "request.rejected", "refused requests",
		"auth", "sign-ins", "auth.failed", "failed sign-ins", "evidence.read", "looks of auditors",
		"evidence.exported", "bundles taken by auditors", "evidence", "evidence looked at, taken and bundled",
		"writer", "the gateways themselves")
}

// Effects are what policy or an approver said.
func (f searchForm) Effects() []choice {
	return choices(f.Effect, "", "any", "allow", "allowed", "approve", "approval needed, or approved", "deny", "denied")
}

// Statuses are how requests end.
func (f searchForm) Statuses() []choice {
	return choices(f.Status, "", "any", "succeeded", "succeeded", "failed", "failed", "refused", "refused", "denied", "denied",
		"pending_approval", "waits for approval", "dry_run", "dry run", "withheld", "withheld")
}

// searchPage is what audit.html shows.
type searchPage struct {
	frame
	Form      searchForm
	Complaint string
	Searched  bool
	Found     []foundView
	Next      string
	// Behind says that the index does not know everything yet.
	Behind   string
	Damaged  []pair
	Recorded string
}

type foundView struct {
	At                      moment
	Who, Where, What, Query string
	Tables, Effect, Status  string
	Record                  string
	Problem                 string
}

// typeWords says what a record tells of.
func typeWords(t evidence.Type) string {
	words := map[evidence.Type]string{
		evidence.TypeIntent: "query received", evidence.TypeOutcome: "query ended", evidence.TypeLeaseIssued: "credential issued",
		evidence.TypeLeaseRevoked: "credential revoked", evidence.TypeApprovalRequested: "approval asked for",
		evidence.TypeApprovalViewed: "approval looked at", evidence.TypeApprovalDecided: "approval decided",
		evidence.TypeApprovalClaimed: "approved query claimed", evidence.TypeApprovalCancelled: "request withdrawn",
		evidence.TypeRejected: "request refused", evidence.TypeAuthFailed: "sign-in failed", evidence.TypeAuthSucceeded: "signed in",
		evidence.TypeRead: "auditor looked", evidence.TypeExported: "auditor took a bundle",
		evidence.TypeBundled: "day bundled", evidence.TypeWriterStarted: "gateway started", evidence.TypeWriterClosed: "gateway ended",
		evidence.TypeHeartbeat: "heartbeat", evidence.TypeObserved: "other gateways seen", evidence.TypeWitnessed: "cosigned by witnesses",
		evidence.TypeRecovered: "left by a crash",
	}[t]
	if words == "" {
		words = legible(string(t))
	}
	return words
}

// More reports whether one of the fields that are folded away is filled in.
func (f searchForm) More() bool {
	return f.Effect != "" || f.Status != "" || f.Session != "" || f.Query != "" || f.Connection != ""
}

// pair is a name and a value.
type pair struct{ Name, Value string }

func (page *searchPage) fill(r *audit.Results, now time.Time) {
	page.Searched, page.Recorded = true, r.Recorded
	for _, f := range r.Found {
		v := foundView{At: momentOf(f.Hit.Time, now), Record: f.Hit.RecordID, Query: f.Hit.QueryID}
		v.At.Text = f.Hit.Time.UTC().Format("2 Jan 2006, 15:04:05.000")
		if f.Record == nil {
			v.Problem = clipped(f.Problem)
		} else {
			rec := f.Record
			v.Who, v.Where, v.What = actorName(rec.Actor), shortened(rec.Connection), typeWords(rec.Type)
			v.Tables, v.Effect, v.Status = shortened(strings.Join(rec.Relations, ", ")), shortened(rec.Effect), shortened(rec.Status)
		}
		page.Found = append(page.Found, v)
	}
	if r.Next != "" {
		page.Next = page.Form.address("after", r.Next)
	}
	page.Behind, page.Damaged = indexState(r.State, now)
}

// indexState says what the index does not know.
func indexState(s index.State, now time.Time) (behind string, damaged []pair) {
	switch {
	case s.UpTo.IsZero():
		behind = "The index is still being made, so records may be missing from this list. Look again in a while."
	case now.Sub(s.UpTo) > time.Minute:
		behind = "The index is behind: it knows all records up to " + s.UpTo.UTC().Format("2 Jan 2006, 15:04:05 UTC") + "."
	}
	for _, object := range slices.Sorted(maps.Keys(s.Damaged)) {
		if len(damaged) == shownDamaged {
			rest := "Each of " + count(int64(len(s.Damaged)-shownDamaged), "more segment")
			return behind, append(damaged, pair{rest, "too many to be named here"})
		}
		damaged = append(damaged, pair{object, clipped(s.Damaged[object])})
	}
	return behind, damaged
}

func actorName(a *evidence.Actor) string {
	switch {
	case a == nil:
		return ""
	case a.Name != "":
		return shortened(a.Name)
	}
	return shortened(a.Subject)
}

// storyView is one query as the pages show it.
type storyView struct {
	ID, Session, SessionPath string
	Start                    string
	Who, Where, Purpose      string
	Facts                    []pair
	Statement                []span
	State, Tone              string
	Steps                    []stepView
	// Looks are records of auditors who looked.
	Looks    []stepView
	Broken   []pair
	Problem  string
	Pause    string // since the query before
	Recorded string
}

// stepView is one record of a query.
type stepView struct {
	Time, Machine, Pause string
	Text                 string
	Record, Object, Type string
	Facts                []pair
	Rows                 *rowsView
	Sealed               bool
}

// rowsView is an answer as the requester saw it.
type rowsView struct {
	Columns []columnHead
	Rows    [][]cellView
	More    string
}

type columnHead struct {
	Name   string
	Masked bool
}

type cellView struct{ Name, Text string }

func storyOf(c *audit.Chain) storyView {
	v := storyView{ID: c.QueryID, Problem: clipped(c.Problem), Recorded: c.Recorded}
	for _, f := range c.Broken {
		v.Broken = append(v.Broken, pair{f.Hit.RecordID, clipped(f.Problem)})
	}
	if len(c.Records) == 0 {
		return v
	}
	story := evidence.StoryOf(c.Records)
	v.Start = story.Start.UTC().Format("2 Jan 2006, 15:04:05 UTC")
	v.Session, v.SessionPath = clipped(story.SessionID), sessionPath(story.SessionID)
	v.Who, v.Where = actorName(story.Who), shortened(story.Connection)
	v.Facts = storyFacts(&story)
	if story.Statement != nil {
		v.Statement = marked(shortenedTo(story.Statement.Normalized, shownStatement))
	}
	v.State, v.Tone = endOf(c.Records)
	if len(c.Broken) > 0 || c.Problem != "" {
		// What is missing may have been the outcome, or another one after it.
		v.State, v.Tone = "How it ended cannot be told: not all of its records verify", "bad"
	}
	for i := range story.Steps {
		step := stepOf(&story.Steps[i])
		if story.Steps[i].Record.Type == evidence.TypeRead {
			v.Looks = append(v.Looks, step)
			continue
		}
		v.Steps = append(v.Steps, step)
	}
	return v
}

// sessionPath leads to a session; a session id may hold slashes.
func sessionPath(id string) string {
	if id == "" {
		return ""
	}
	return "/audit/sessions/" + url.PathEscape(id)
}

func storyFacts(s *evidence.Story) (facts []pair) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, pair{clipped(name), clipped(value)})
		}
	}
	if a := s.Who; a != nil {
		add("Identity", a.Key())
		add("On behalf of", a.OnBehalfOf)
		add("Client", a.ClientID)
	}
	add("Purpose of use", purposeWords(s.PurposeOfUse))
	var tables, persons []string
	for i := range s.Steps {
		tables, persons = union(tables, s.Steps[i].Record.Relations), union(persons, s.Steps[i].Record.Patients)
	}
	add("Tables", strings.Join(tables, ", "))
	add("Persons looked up", strings.Join(persons, ", "))
	return facts
}

func purposeWords(code string) string {
	if words := evidence.PurposeName(code); words != "" {
		return words + " (" + code + ")"
	}
	return code
}

func union(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// endOf says how a query stands, and its tone.
func endOf(records []evidence.Record) (words, tone string) {
	words, tone = "No outcome is recorded: it still runs, or its gateway died", "waiting"
	for i := range records {
		switch r := &records[i]; {
		case r.Type == evidence.TypeOutcome && r.Result != nil:
			words, tone = released(r.Result)
		case r.Type == evidence.TypeApprovalRequested:
			words, tone = "It waits for approval", "waiting"
		case r.Type == evidence.TypeApprovalDecided && r.Effect == "deny":
			words, tone = "Denied by an approver: nothing ran", "bad"
		case r.Type == evidence.TypeApprovalDecided:
			words, tone = "Approved; no run is recorded yet", "waiting"
		case r.Type == evidence.TypeApprovalCancelled:
			words, tone = "Withdrawn by the requester: nothing ran", "over"
		}
	}
	return words, tone
}

// released says whether anything left the gateway.
func released(r *evidence.Result) (words, tone string) {
	switch r.Status {
	case "succeeded":
		return "Released: " + count(r.RowCount, "row"), "good"
	case "dry_run":
		return "A dry run: nothing ran, no row was released", "over"
	case "denied":
		return "Denied by policy: nothing was released", "bad"
	case "refused":
		return "Refused: nothing was released", "bad"
	case "pending_approval":
		return "It waits for approval", "waiting"
	}
	return shortened("Ended as "+r.Status) + ": nothing was released", "bad"
}

func stepOf(s *evidence.Step) stepView {
	r := s.Record
	v := stepView{Time: r.Time.UTC().Format("15:04:05.000"), Machine: r.Time.UTC().Format(time.RFC3339Nano), Text: capital(clipped(s.Text)),
		Record: r.ID, Object: r.Object, Type: string(r.Type), Facts: recordFacts(r), Sealed: len(r.Sealed) > 0}
	if s.Pause >= 2*time.Second {
		v.Pause = evidence.Pause(s.Pause)
	}
	if r.Result != nil {
		v.Rows = rowsOf(r.Result)
	}
	return v
}

func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return text
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

// recordFacts are a record's clear fields for people.
func recordFacts(r *evidence.Record) (facts []pair) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, pair{clipped(name), clipped(value)})
		}
	}
	if a := r.Actor; a != nil {
		who := strings.TrimPrefix(a.Key(), "#")
		if a.Name != "" {
			who = a.Name + " (" + who + ")"
		}
		add("Who", who)
		add("From", a.RemoteAddr)
		if a.AuthTime != nil {
			add("Signed in", timeWords(*a.AuthTime))
		}
	}
	if d := r.Decision; d != nil {
		add("Decision", strings.Join(append([]string{d.Effect}, prefixed("by ", d.Rules)...), " "))
		add("Because", d.Message)
		add("Policy", d.PolicyVersion)
		add("Estimate", estimateOf(d.Estimate))
	}
	if a := r.Approval; a != nil {
		add("Approval", a.Decision)
		add("Asked for by rule", a.Rule)
		add("Approved by", strings.Join(a.Approvers, ", "))
		if a.ExpiresAt != nil {
			add("Expires", timeWords(*a.ExpiresAt))
		}
	}
	if l := r.Lease; l != nil {
		add("Database user", l.Username+" ("+l.Access+")")
		add("Lease", l.ID)
		add("Issued", timeWords(l.IssuedAt))
		add("Ends at the latest", timeWords(l.ExpiresAt))
	}
	if r.Result != nil {
		resultFacts(r.Result, add)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Data)) {
		add(name, r.Data[name])
	}
	return facts
}

// estimateOf says what the planner expected.
func estimateOf(raw json.RawMessage) string {
	var e connectors.Estimate
	if len(raw) == 0 || json.Unmarshal(raw, &e) != nil || !e.Known {
		return ""
	}
	return "about " + count(int64(min(max(e.Rows, 0), 1e15)), "row")
}

func prefixed(word string, list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return []string{word + strings.Join(list, ", ")}
}

func timeWords(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

func resultFacts(r *evidence.Result, add func(name, value string)) {
	words, _ := released(r)
	add("Released or withheld", words)
	add("Code", r.Code)
	add("SQLSTATE", r.SQLState)
	add("Database session", r.SessionDB)
	if r.Started != nil {
		add("Started", timeWords(*r.Started))
	}
	if r.Ended != nil {
		add("Ended", timeWords(*r.Ended))
	}
	add("Command", r.Command)
	if r.Affected >= 0 && r.Status == "succeeded" {
		add("Rows written", strconv.FormatInt(r.Affected, 10))
	}
	add("Cut at", r.Truncated)
	add("Masked cells", countsOf(r.Masks))
	add("Found by detectors", countsOf(r.Detected))
	add("Transaction", r.TransactionID)
	add("Notes", strings.Join(r.Notes, " "))
}

func countsOf(m map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, name+" "+thousands(m[name]))
	}
	return strings.Join(parts, ", ")
}

func rowsOf(r *evidence.Result) *rowsView {
	t := r.Table(shownRows, shownColumns)
	if len(t.Columns) == 0 {
		return nil
	}
	v := &rowsView{}
	for i, name := range t.Columns {
		v.Columns = append(v.Columns, columnHead{shortened(name), t.Masked[i]})
	}
	for _, row := range t.Rows {
		cells := make([]cellView, len(row))
		for i, text := range row {
			cells[i] = cellView{v.Columns[i].Name, shortened(text)}
		}
		v.Rows = append(v.Rows, cells)
	}
	var more []string
	if t.MoreRows > 0 {
		more = append(more, count(int64(t.MoreRows), "row"))
	}
	if t.MoreColumns > 0 {
		more = append(more, count(int64(t.MoreColumns), "column"))
	}
	v.More = strings.Join(more, " and ")
	return v
}

func shortened(text string) string { return legible(shortenedTo(text, shownRunes)) }

// clipped is a text of a recording as pages show it.
func clipped(text string) string { return legible(shortenedTo(text, shownText)) }

func shortenedTo(text string, most int) string {
	n := 0
	for at := range text { // of a text of many MiB only the start is looked at
		if n++; n == most {
			if _, size := utf8.DecodeRuneInString(text[at:]); at+size < len(text) {
				return text[:at] + "…"
			}
		}
	}
	return text
}

// chainPage is what audit_chain.html shows.
type chainPage struct {
	frame
	storyView
}

func chainView(f frame, c *audit.Chain) chainPage { return chainPage{f, storyOf(c)} }

// sessionPage is what audit_session.html shows.
type sessionPage struct {
	frame
	ID, Summary    string
	Stories        []storyView
	Earlier, Later string
	Behind         string
	Recorded       string
}

func sessionView(f frame, s *audit.Session) sessionPage {
	page := sessionPage{frame: f, ID: legible(s.ID), Recorded: s.Recorded, Summary: count(int64(s.Queries), "statement")}
	if s.Queries == 1 {
		page.Summary = "1 statement"
	}
	if s.Pages > 1 {
		page.Summary += fmt.Sprintf(", part %d of %d", s.Page, s.Pages)
	}
	if s.Page > 1 {
		page.Earlier = sessionPath(s.ID) + "?part=" + strconv.Itoa(s.Page-1)
	}
	if s.Page < s.Pages {
		page.Later = sessionPath(s.ID) + "?part=" + strconv.Itoa(s.Page+1)
	}
	if s.State.UpTo.IsZero() {
		page.Behind = "The index is still being made, so statements may be missing. Look again in a while."
	}
	before := s.Before
	for i := range s.Chains {
		c := &s.Chains[i]
		v := storyOf(c)
		if len(c.Records) > 0 {
			if pause := c.Records[0].Time.Sub(before); !before.IsZero() && pause > 0 {
				v.Pause = evidence.Pause(pause)
			}
			before = evidence.EndOf(c.Records)
		}
		page.Stories = append(page.Stories, v)
	}
	return page
}

// bundlesPageView is what audit_bundles.html shows.
type bundlesPageView struct {
	frame
	Days  []dayView
	Older string
	Form  searchForm
}

type dayView struct{ Name, Size, Stored string }

func bundlesView(f frame, days []audit.Day, before string) bundlesPageView {
	page := bundlesPageView{frame: f}
	for _, d := range days {
		name := d.Day.UTC().Format(time.DateOnly)
		if before != "" && name >= before {
			continue
		}
		if len(page.Days) == bundlesPage {
			page.Older = "/audit/bundles?before=" + page.Days[bundlesPage-1].Name
			break
		}
		page.Days = append(page.Days, dayView{name, bytesWords(d.Size), d.Stored.UTC().Format("2 Jan 2006, 15:04 UTC")})
	}
	return page
}

func bytesWords(n int64) string {
	switch {
	case n < 10<<10:
		return count(n, "byte")
	case n < 10<<20:
		return thousands(n>>10) + " KiB"
	}
	return thousands(n>>20) + " MiB"
}
