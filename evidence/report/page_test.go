package report

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// plain is what a reader of a page sees.
func plain(t testing.TB, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func holds(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

func holdsNot(t *testing.T, text string, none ...string) {
	t.Helper()
	for _, bad := range none {
		if at := strings.Index(text, bad); at >= 0 {
			t.Errorf("the report says %q: …%s…", bad, text[max(0, at-80):min(len(text), at+80)])
		}
	}
}

var (
	inside  = regexp.MustCompile(`^(#[a-z0-9-]+|evidence/runs/[a-z0-9.-]+)$`)
	allowed = regexp.MustCompile(`^(html|head|meta|title|style|body|header|nav|main|footer|section|article|h[1-3]|p|ol|ul|li|a|dl|dt|dd|div|span|small|strong|em|bdi|code|pre|time|table|caption|thead|tbody|tr|th|td|details|summary|figure|figcaption|svg|desc|defs|pattern|rect|line|circle|text)$`)
)

// inert sees that a page holds nothing active, nothing from elsewhere, and that its
// parts are labelled.
func inert(t *testing.T, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	ids, targets := map[string]bool{}, []string{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !allowed.MatchString(n.Data) {
			t.Errorf("there is a <%s>", n.Data)
		}
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || strings.Contains(strings.ToLower(a.Val), "javascript:") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
			if a.Key == "href" {
				if !inside.MatchString(a.Val) {
					t.Errorf("a link leads to %q", a.Val)
				}
				if target, ok := strings.CutPrefix(a.Val, "#"); ok {
					targets = append(targets, target)
				}
			}
		}
		if id, ok := attributes["id"]; ok {
			if ids[id] {
				t.Errorf("two elements are called %q", id)
			}
			ids[id] = true
		}
		switch n.Data {
		case "th":
			if attributes["scope"] == "" {
				t.Error("a heading of a table has no scope")
			}
		case "table":
			if first := n.FirstChild.NextSibling; first == nil || first.Data != "caption" || first.FirstChild == nil {
				t.Error("a table has no caption")
			}
		case "svg":
			if attributes["aria-hidden"] == "" && (attributes["role"] != "img" || attributes["aria-labelledby"] == "") {
				t.Error("a chart has no text")
			}
		}
	}
	for _, target := range targets {
		if !ids[target] {
			t.Errorf("a link leads to #%s, which is not there", target)
		}
	}
	for _, r := range page {
		if r != '\n' && hidden(r) {
			t.Errorf("the page holds U+%04X", r)
			break
		}
	}
}

// hostile is a day in whose records every text is an attack.
func hostile(bad string) (*story, *bundle.Content) {
	s := aDay()
	for _, r := range s.records {
		r.ID, r.Writer, r.QueryID, r.SessionID, r.RequestID, r.Connection = r.ID+bad, bad, r.QueryID+bad, bad, bad, bad
		r.PurposeOfUse, r.Relations = bad, []string{bad, "b" + bad}
		if r.Actor != nil {
			r.Actor = &evidence.Actor{Subject: bad, Issuer: bad, Name: bad, OnBehalfOf: bad, ClientID: bad, RemoteAddr: bad}
		}
		if r.Decision != nil {
			r.Decision = &evidence.Decision{Effect: r.Decision.Effect, Rules: []string{bad, "b"}, Message: bad}
		}
		if r.Approval != nil {
			r.Approval = &evidence.Approval{Decision: r.Approval.Decision, Rule: bad, Approvers: []string{bad}, ExpiresAt: r.Approval.ExpiresAt}
		}
		r.Approvers = []string{bad}
		if r.Lease != nil {
			r.Lease = &evidence.Lease{ID: r.Lease.ID, Username: bad}
		}
		if res := r.Result; res != nil {
			res.Code, res.Truncated, res.Command = bad, bad, bad
			res.Masks, res.Detected = map[string]int64{bad: 1}, map[string]int64{bad: 1}
		}
		for key := range r.Data {
			r.Data[key] = bad
		}
		r.Data = maps.Clone(r.Data)
	}
	s.records[len(s.records)/2].Type = evidence.Type(bad)
	content := s.content(nil)
	content.Manifest.Maker, content.Manifest.Runs = bad, map[string]evidence.Run{bad: {To: 1 << 63}}
	content.Report.Findings = []evidence.Finding{{Object: bad, Record: bad, Kind: evidence.Kind(bad), Message: bad}}
	content.Report.Notes = content.Report.Findings
	return s, content
}

// TestInert: the ordinary page, and one of records in which every text is an attack.
func TestInert(t *testing.T) {
	for name, f := range map[string]*evidence.Filter{"day": nil, "person": {Patient: "mrn:tok_1"}} {
		t.Run(name, func(t *testing.T) { inert(t, rendered(t, aDay().content(f))) })
	}
	attacks := []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "</style><style>*{display:none}", "</title></bdi>",
		"a\u202etxt.exe", "zero\u200bwidth\u2066", "nul\x00bell\x07esc\x1b[31m\r\n", strings.Repeat("very long ", 5000), "../../etc/passwd", "{{.Style}}", "&lt;b&gt;", "Z" + strings.Repeat("\u0301", 50), "\u2800", "\xff\xfe"}
	for i, bad := range attacks {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s, content := hostile(bad)
			page := rendered(t, content)
			inert(t, page)
			if len(page) > 2<<20 {
				t.Errorf("the page has %d bytes", len(page))
			}
			filtered := s.content(nil)
			filtered.Manifest.Filter = &evidence.Filter{Principal: bad, Connection: bad, SessionID: bad, QueryID: bad, Relation: bad, Patient: bad, Effect: bad, Status: bad}
			inert(t, rendered(t, filtered))
		})
	}
	if got := legible("a\u202eb<i>\n"); got != "a[U+202E]b<i>[U+000A]" {
		t.Errorf("%q", got)
	}
	if got := legible("Z" + strings.Repeat("\u0301", 9)); strings.Count(got, "\u0301") != maxMarks {
		t.Errorf("accents stand on one another: %q", got)
	}
	if got := legible("Müller-Lüdenscheidt עברית 李"); got != "Müller-Lüdenscheidt עברית 李" {
		t.Errorf("names are not left alone: %q", got)
	}
}

// TestCanaries: nothing of rows, sealed parts, statements, problem documents,
// messages and notes is on the page.
func TestCanaries(t *testing.T) {
	s := aDay()
	for _, r := range s.records {
		r.Sealed, r.Note = []byte("canary_sealed"), either(r.Note, "canary_record_note")
		r.Secret = &evidence.Secret{Statement: "canary_secret", Reason: "canary_reason", Comment: "canary_comment"}
		if r.Result != nil {
			r.Result.Rows, r.Result.Columns = []byte(`[["canary_row"]]`), []byte(`[{"name":"canary_column"}]`)
			r.Result.Notes, r.Result.Problem = []string{"canary_note"}, []byte(`{"detail":"canary_problem"}`)
		}
		if r.Decision != nil {
			r.Decision.Message, r.Decision.Estimate = "canary_message", []byte(`"canary_estimate"`)
		}
		if r.Type == evidence.TypeRead {
			r.Data["asked_patient"] = "canary_asked"
		}
	}
	for _, f := range []*evidence.Filter{nil, {Patient: "mrn:tok_1"}, {Principal: "crew-7"}} {
		page := rendered(t, s.content(f))
		for _, canary := range []string{"canary", "Y2FuYXJ5"} { // also in base64
			holdsNot(t, page, canary)
		}
	}
}

// TestFiltered: what a filter leaves out is said, and never a zero.
func TestFiltered(t *testing.T) {
	s := aDay()
	s.ask(gw1, 5*time.Hour, crew, "TREAT", "public.patients").intent().ends(0, rows(500, 0)) // names nobody
	text := plain(t, rendered(t, s.content(&evidence.Filter{Patient: "mrn:tok_1"})))
	holds(t, text, "The bundle was made with a filter", "Of the records in this bundle", "mrn:tok_1", "does not hold queries that swept over tables",
		"Failed sign-ins are not in a bundle with this filter", "Requests beyond the caller's role are not in a bundle with this filter",
		"Starts of gateways: not in a bundle with this filter", "Looks of auditors at evidence: not in a bundle with this filter",
		"Not in a bundle with this filter.", "Queries that name the person of this bundle: 13", "Queries of the period that gave an answer from a table")
	holdsNot(t, text, "0 failed sign-ins", "Failed sign-ins recorded: 0", "Starts of gateways: 0", "0 requests were turned away", "all records of the period;")
	c, err := lookAround(s.content(&evidence.Filter{Patient: "mrn:tok_1"}))
	must(t, err)
	// Named nobody: the one above, five emergency and approved ones; others: as many look-ups as there are.
	if c.unnamed.counts["public.patients"] != 4 || c.others.counts["public.patients"] != 48-13 || c.unnamed.counts["public.claims"] != 1 {
		t.Errorf("candidates %v, others %v", c.unnamed.counts, c.others.counts)
	}
	content := s.content(&evidence.Filter{Status: "failed"})
	content.Entries = nil
	holds(t, plain(t, rendered(t, content)), "so that a zero for another decision or end says nothing", "is not known")

	whole := s.content(nil)
	whole.Report.Records = 9
	for _, r := range s.records {
		if r.Type == evidence.TypeOutcome {
			r.Withheld, r.Result, r.Decision = true, nil, nil
			break
		}
	}
	holds(t, plain(t, rendered(t, whole)), "the content is left out", "at least ")
}

// TestVerdict: the sentence about verification follows the verification.
func TestVerdict(t *testing.T) {
	clean := []string{"Verified when the bundle was made: no findings.", "found nothing altered"}
	for name, c := range map[string]struct {
		change func(*evidence.Report) *evidence.Report
		says   []string
	}{
		"clean": {func(r *evidence.Report) *evidence.Report { return r }, clean},
		"findings": {func(r *evidence.Report) *evidence.Report {
			r.Findings = []evidence.Finding{{Object: "evidence/runs/x", Record: "x.1", Kind: evidence.KindContent, Message: "Its body was changed."},
				{Object: "evidence/runs/y", Kind: evidence.KindMissing, Message: "It is not there."}}
			return r
		}, []string{"Something is wrong: 2 findings.", "Its body was changed.", "record x.1", "It is not what was signed", "it is not what was signed", "Mind the outcome of the verification above"}},
		"no key": {func(*evidence.Report) *evidence.Report {
			return &evidence.Report{Findings: []evidence.Finding{{Object: "evidence/writers/x", Kind: evidence.KindSignature, Message: "Unknown key."}}}
		}, []string{"Nothing could be verified: 1 finding.", "Unknown key."}},
		"no record":  {func(*evidence.Report) *evidence.Report { return &evidence.Report{} }, []string{"There was nothing to verify."}},
		"no outcome": {func(*evidence.Report) *evidence.Report { return nil }, []string{"Nothing was verified."}},
		"remarks": {func(r *evidence.Report) *evidence.Report {
			r.Notes = []evidence.Finding{{Object: "gw", Kind: evidence.KindCut, Message: "It still runs."}}
			return r
		}, append(clean, "It still runs.", "which are no findings (1)")},
	} {
		t.Run(name, func(t *testing.T) {
			content := aDay().content(nil)
			content.Report = c.change(content.Report)
			text := plain(t, rendered(t, content))
			always := []string{"This report proves nothing by itself.", "verify.py --keys", "chaperone evidence verify", "No claim of compliance is made."}
			for _, want := range always {
				holds(t, text, want)
			}
			for _, want := range c.says {
				if !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
					t.Errorf("it does not say %q", want)
				}
			}
			if !slices.Contains(c.says, clean[0]) {
				holdsNot(t, text, clean...)
			}
		})
	}
}

// TestDay: what a reader must find on the page of a day: names of approvers, denials
// of all kinds, sign-ins that were left out, and what is not known.
func TestDay(t *testing.T) {
	page := rendered(t, aDay().content(nil))
	text := plain(t, page)
	holds(t, text, "1 record of a type that this report does not know", "glass.reviewed other: this report does not know the type 1",
		"Approved by Nurse Joy (nurse)", "Denied by Priya Officer (priya)", "had signed in 2026-11-24 07:00:00",
		"1 denied by policy; 1 denied by an approver; 1 refused", "policy, rule no-ddl 1", "an approver 1", "the caller's role 1",
		"2 failed sign-ins are recorded, and 41 more were counted and not recorded one by one", "recorded at a bounded rate",
		"Reviews of such access are not recorded by Chaperone", "rule night-break-glass", "break the glass (BTG)", "2 break-glass queries to review",
		"1 has no record here of being revoked", "1 credential could not be revoked", "Keys changed: signing", "added night-shift; changed bulk-export",
		"Audrey the auditor auditor search 3", "redact: 22,841", "Cells masked 22,841", "Rows released 9,967",
		"These add up to the 262 records of this report", "treatment (TREAT)")
	if !strings.Contains(page, `<a href="evidence/runs/`+gw1+`">`+gw1+".") {
		t.Error("no line leads to its record")
	}
}

// TestEmpty: a bundle without records says so, and is a page.
func TestEmpty(t *testing.T) {
	for _, f := range []*evidence.Filter{nil, {Patient: "mrn:x"}} {
		content := (&story{}).content(f)
		content.Report = &evidence.Report{}
		content.Manifest.Since = time.Time{}
		page := rendered(t, content)
		inert(t, page)
		holds(t, plain(t, page), "There was nothing to verify.", "the first record")
	}
}
