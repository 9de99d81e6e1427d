package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/chaperone-sql/chaperone/audit/audittest"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// mostPage is the largest page that any recording may lead to.
const mostPage = 2 << 20

// hostile breaks out of attributes and elements, moves and hides characters.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)></dd></td></main>` + "\u202e\u2066\u200b\ufeff\u0085\x1b\x00" +
	` x" onmouseover="alert(3) javascript:alert(4) {{.}} <!-- <![CDATA[ &lt;script&gt; &#x3c;`

var (
	allowedTags = strings.Fields("html head meta title link body header a nav form input span button main h1 h2 p strong em code pre ol li dl div dt dd " +
		"table thead tbody tr th td time details summary label select option section")
	allowedAttributes = strings.Fields("lang charset name content rel href class method action type value aria-label for id inputmode placeholder " +
		"selected maxlength role datetime title dir scope data-label colspan open required")
	emptyTags = strings.Fields("meta link input")
)

// inert fails the test unless a page is well-formed, holds only elements and
// attributes of our templates, leads nowhere else, and shows nothing that deceives.
func inert(t *testing.T, name string, a answer) {
	t.Helper()
	if a.Header.Get("Content-Security-Policy") != pagePolicy || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
		a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s: headers %v", name, a.Header)
	}
	if len(a.body) > mostPage {
		t.Errorf("%s has %d bytes", name, len(a.body))
	}
	if !utf8.Valid(a.body) {
		t.Errorf("%s is not UTF-8", name)
	}
	var open []string
	count := map[string]int{}
	for z := html.NewTokenizer(bytes.NewReader(a.body)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 || count["html"] != 1 || count["body"] != 1 || count["main"] != 1 || count["title"] != 1 {
				t.Errorf("%s: left open %q, %v", name, open, count)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			count[tag.Data]++
			if !slices.Contains(allowedTags, tag.Data) {
				t.Fatalf("%s holds <%s>", name, tag.Data)
			}
			for _, at := range tag.Attr {
				if !slices.Contains(allowedAttributes, at.Key) || (at.Key == "href" || at.Key == "action") && (!strings.HasPrefix(at.Val, "/") || strings.HasPrefix(at.Val, "//")) {
					t.Fatalf("%s holds <%s %s=%q>", name, tag.Data, at.Key, at.Val)
				}
				if at.Key != "value" {
					seen(t, name, at.Val)
				}
			}
			if !slices.Contains(emptyTags, tag.Data) {
				open = append(open, tag.Data)
			}
		case html.EndTagToken:
			tag := z.Token()
			if len(open) == 0 || open[len(open)-1] != tag.Data {
				t.Fatalf("%s closes <%s> in %q", name, tag.Data, open)
			}
			open = open[:len(open)-1]
		case html.TextToken:
			seen(t, name, string(z.Text()))
		case html.CommentToken:
			t.Fatalf("%s holds a comment", name)
		}
	}
}

func seen(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if hidden(r) {
			t.Fatalf("%s holds U+%04X as it is, in %.300q", name, r, text)
		}
	}
}

// hostileQuery records a query all of whose texts are made by one function.
func hostileQuery(w *audittest.World, session string, text func() string, many int) audittest.Query {
	list := func() (l []string) {
		for range many {
			l = append(l, text())
		}
		return l
	}
	columns, cells := make([]map[string]any, many), make([]string, many)
	for i := range columns {
		columns[i], cells[i] = map[string]any{"name": text(), "type": text(), "masked": true, "mask": text()}, text()
	}
	named := func() map[string]int64 {
		m := map[string]int64{}
		for i := range many {
			m[fmt.Sprint(i, text())] = int64(i)
		}
		return m
	}
	return w.Ask(0, text(), session, func(intent, outcome *evidence.Record) {
		for _, r := range []*evidence.Record{intent, outcome} {
			r.RequestID, r.PurposeOfUse, r.Relations, r.Patients, r.Note = text(), text(), list(), list(), text()
			r.Actor = &evidence.Actor{Subject: text(), Issuer: text(), ClientID: text(), OnBehalfOf: text(), Name: text(), RemoteAddr: text(), AuthTime: &testNow}
			r.Statement = &evidence.Statement{SHA256: text(), Kind: text(), Normalized: strings.Join(list(), "\n"), Fingerprint: text()}
			r.Decision = &evidence.Decision{Effect: text(), Rules: list(), Message: text(), PolicyVersion: text(), Catalog: text(), Estimate: []byte(`"` + "x" + `"`)}
			r.Lease = &evidence.Lease{ID: text(), Username: text(), Access: text()}
			r.Approval = &evidence.Approval{Decision: text(), Rule: text(), Approvers: list()}
			r.Data = map[string]string{}
			for i := range many {
				r.Data[fmt.Sprint(i, text())] = text()
			}
		}
		names, _ := json.Marshal(columns)
		row, _ := json.Marshal(cells)
		outcome.Result = &evidence.Result{Status: text(), Code: text(), SQLState: text(), SessionDB: text(), Command: text(), Truncated: text(), Masks: named(),
			Detected: named(), Columns: names, Rows: bytes.Join([][]byte{[]byte("["), row, []byte(","), row, []byte("]")}, nil), Notes: list(), TransactionID: text()}
	})
}

func (f *fixture) page(who, path string) answer {
	f.t.Helper()
	return f.raw("GET", path, "", "Cookie", "chaperone="+who)
}

// Whatever is recorded, pages show it as text, within bounds.
func TestAuditPages_Hostile(t *testing.T) {
	for name, c := range map[string]struct {
		text func() string
		many int
	}{
		"markup":              {func() string { return hostile }, 3},
		"50 KiB each":         {func() string { return strings.Repeat("<x\u202e", 10<<10) }, 1},
		"thousands":           {func() string { return `<b>"` }, 5000},
		"nothing":             {func() string { return "" }, 1},
		"invalid UTF-8":       {func() string { return "\xff<\xc0\x80\xed\xa0\x80" }, 2},
		"a letter of 4 bytes": {func() string { return "\U0001d54f" }, 2},
		"line ends":           {func() string { return "\r\n\r\n\n\n\n\u2028\u2029" }, 40},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := auditServer(t)
			session := "crew-1"
			if name == "markup" {
				session = hostile
			}
			q := hostileQuery(w, session, c.text, c.many)
			for path, status := range map[string]int{"/audit": 200, "/audit?type=": 200, "/audit/queries/" + q.ID: 200, "/audit/sessions/" + url.PathEscape(session): 200,
				"/audit/bundles": 200, "/audit/queries/x": 404, "/audit/sessions/" + url.PathEscape(c.text()[:min(800, len(c.text()))]+"x"): 0} {
				a := f.page("all", path)
				if status != 0 && a.StatusCode != status {
					t.Errorf("%.60s: %d", path, a.StatusCode)
				}
				inert(t, path[:min(len(path), 60)], a)
			}
			a := f.page("all", "/audit/records/"+q.Outcome)
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || !json.Valid(a.body) || !utf8.Valid(a.body) {
				t.Errorf("the record: %d %v", a.StatusCode, a.Header)
			}
			seen(t, "the record", string(a.body))
			// What the API gives is JSON whatever it holds.
			for _, path := range []string{"queries?type=all", "queries/" + q.ID, "records/" + q.Outcome, "records/" + q.Intent, "sessions/" + url.PathEscape(session)} {
				if a := f.ask("all", "/v1/evidence/"+path); a.StatusCode != http.StatusOK || bytes.ContainsAny(a.body, "<>") {
					t.Errorf("%s: %d", path, a.StatusCode)
				}
			}
		})
	}
}

// Query strings and paths are as hostile as recordings.
func TestAuditPages_HostileAddresses(t *testing.T) {
	f, w := auditServer(t)
	q := w.Ask(0, "clinic", "crew-1")
	e := url.QueryEscape
	for _, path := range []string{
		"/audit?since=" + e(hostile), "/audit?until=" + e(hostile), "/audit?since=9999999-01-01", "/audit?since=0000-01-01", "/audit?since=2026-11-25&until=2026-11-24",
		"/audit?since=" + strings.Repeat("9", 9000), "/audit?until=2261-12-31T23:59:59.999999999Z", "/audit?principal=%ff%fe", "/audit?principal=%00", "/audit?principal=" + e("\u202e\u200b"),
		"/audit?type=" + e(hostile), "/audit?effect=" + e(hostile), "/audit?status=" + e(hostile), "/audit?after=" + e(hostile), "/audit?after=" + strings.Repeat("A", 9000),
		"/audit?after=AAAAAAAAAAAAAAAAAAAAAAAAAAA", "/audit?after=__________________________8", "/audit?a;b", "/audit?%zz=1", "/audit?type=%ff", "/audit?session=" + strings.Repeat("x", 9000),
		"/audit?patient=" + strings.Repeat("%f0%9f%98%80", 512), "/audit/sessions/crew-1?part=-1", "/audit/sessions/crew-1?part=0", "/audit/sessions/crew-1?part=999999999999999999999",
		"/audit/sessions/crew-1?part=2147483648", "/audit/sessions/crew-1?part=%ff", "/audit/sessions/" + url.PathEscape(hostile), "/audit/sessions/%ff", "/audit/sessions/",
		"/audit/queries/%00", "/audit/queries/" + url.PathEscape(hostile), "/audit/records/" + url.PathEscape(hostile), "/audit/records/" + w.Logs[0].Writer() + ".-1",
		"/audit/records/" + w.Logs[0].Writer() + ".18446744073709551615", "/audit/bundles?before=" + e(hostile), "/audit/bundles/" + url.PathEscape(hostile), "/audit/bundles/9999-99-99.zip",
		"/audit/bundles/2020-01-01.zip", "/audit/bundles/../../etc/passwd", "/audit/nothing", "/audit/queries/" + q.ID + "/x",
	} {
		a := f.page("all", path)
		if a.StatusCode >= 500 || a.StatusCode == 0 {
			t.Errorf("%.80s: %d %s", path, a.StatusCode, a.body)
		}
		inert(t, path[:min(len(path), 80)], a)
	}
}

// What does not verify is named on each page, as an alert, and nothing of it is
// shown as if it had happened.
func TestAuditPages_Damage(t *testing.T) {
	for _, removed := range []bool{false, true} {
		f, w := auditServer(t)
		q := w.Ask(0, "clinic", "crew-1")
		w.Ask(0, "clinic", "crew-1")
		if a := f.page("all", "/audit/queries/"+q.ID); strings.Contains(string(a.body), `role="alert"`) || !strings.Contains(string(a.body), "Released: 1 row") {
			t.Fatalf("before the damage: %s", a.body)
		}
		if removed {
			w.Remove(q.OutcomeIn)
		} else {
			w.Alter(q.OutcomeIn, func(b []byte) []byte { return bytes.Replace(b, []byte("023**"), []byte("99999"), 1) })
		}
		for _, path := range []string{"/audit/queries/" + q.ID, "/audit/sessions/crew-1"} {
			a := f.page("all", path)
			inert(t, path, a)
			page, _, _ := strings.Cut(string(a.body), "still runs")
			if !strings.Contains(string(a.body), `role="alert"`) || strings.Contains(string(a.body), "99999") || len(page) != len(a.body) {
				t.Errorf("removed %v: %s hides the damage: %s", removed, path, a.body)
			}
			if !strings.Contains(string(a.body), "cannot be told") {
				t.Errorf("removed %v: %s says how the query ended, which nobody can tell: %s", removed, path, a.body)
			}
		}
		a := f.page("all", "/audit?type=")
		inert(t, "the search", a)
		if !strings.Contains(string(a.body), "cannot be shown") {
			t.Errorf("removed %v: the search hides the damage", removed)
		}
		a = f.page("all", "/audit/records/"+q.Outcome)
		inert(t, "the record", a)
		if a.StatusCode != http.StatusInternalServerError && a.StatusCode != http.StatusNotFound || strings.Contains(string(a.body), "99999") {
			t.Errorf("removed %v: the record: %d %s", removed, a.StatusCode, a.body)
		}
	}
}

// A forged log of any number of segments does not make a page of as many lines.
func TestAuditPages_ManyDamaged(t *testing.T) {
	f, w := auditServer(t)
	own, _ := w.Signer("forger")
	q := w.Forge(own, own, "clinic", "crew-1")
	o, err := w.Store.Get(t.Context(), q.OutcomeIn, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4; i < 60; i++ {
		if err := w.Store.Create(t.Context(), fmt.Sprintf("%s%016d", q.OutcomeIn[:len(q.OutcomeIn)-16], i), o.Body); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Index.Refresh(t.Context()))
	a := f.page("all", "/audit?type=")
	inert(t, "the search", a)
	if n := strings.Count(string(a.body), "does not verify</strong>"); n != 21 || !strings.Contains(string(a.body), "Each of 40 more segments") {
		t.Errorf("%d damaged segments are named", n)
	}
}

// The pages are for those with a session and the role, by GET; the form needs its token.
func TestAuditPages_Authorisation(t *testing.T) {
	f, w := auditServer(t)
	w.Ask(0, "clinic", "crew-1")
	b := w.Ask(1, "billing", "crew-2")
	day := w.Now().AddDate(0, 0, -1)
	if err := w.Store.Create(t.Context(), bundle.Key(day), []byte("the zip of a day")); err != nil {
		t.Fatal(err)
	}
	zip := "/audit/bundles/" + day.Format(time.DateOnly) + ".zip"
	paths := []string{"/audit", "/audit?since=x", "/audit?after=x", "/audit/queries/" + b.ID, "/audit/sessions/crew-2", "/audit/records/" + b.Outcome, "/audit/bundles", zip}
	for _, path := range paths {
		for _, who := range []string{"approver", "agent"} {
			if a := f.page(who, path); a.StatusCode != http.StatusForbidden || strings.Contains(string(a.body), "crew-7") {
				t.Errorf("%s, %s: %d", who, path, a.StatusCode)
			}
		}
		for _, header := range [][]string{{"Authorization", "Bearer token-all"}, {"Cookie", "chaperone=x"}, {"Cookie", "other=all"}} {
			if a := f.raw("GET", path, "", header...); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/login?return=") {
				t.Errorf("%v, %s: %d", header, path, a.StatusCode)
			}
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			if a := f.raw(method, path, "", "Cookie", "chaperone=all"); a.StatusCode != http.StatusMethodNotAllowed || len(w.Looks()) > 0 && strings.Contains(string(a.body), b.ID) {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
		}
	}
	for _, path := range []string{"/audit/bundles", zip} {
		if a := f.page("billing", path); a.StatusCode != http.StatusForbidden {
			t.Errorf("an auditor of billing, %s: %d", path, a.StatusCode)
		}
	}
	for there, not := range map[string]string{"/audit/queries/" + b.ID: "/audit/queries/" + evidence.NewQueryID(w.Logs[1].Writer(), w.Now()),
		"/audit/sessions/crew-2": "/audit/sessions/crew-3", "/audit/records/" + b.Outcome: "/audit/records/" + w.Logs[1].Writer() + ".999"} {
		x, y := f.page("clinic", there), f.page("clinic", not)
		cut := func(a answer) string {
			text, _, _ := strings.Cut(string(a.body), "Recorded as")
			return text
		}
		if x.StatusCode != http.StatusNotFound || y.StatusCode != http.StatusNotFound || cut(x) != cut(y) {
			t.Errorf("%s is told apart from what is not there: %d, %d", there, x.StatusCode, y.StatusCode)
		}
	}
	// HEAD is a look.
	before := len(w.Looks())
	if a := f.raw("HEAD", "/audit/queries/"+b.ID, "", "Cookie", "chaperone=all"); a.StatusCode != http.StatusOK || len(a.body) != 0 || len(w.Looks()) != before+1 {
		t.Errorf("HEAD: %d, %d looks", a.StatusCode, len(w.Looks())-before)
	}
	// The form that makes a bundle.
	form := func(token string) url.Values {
		return url.Values{"since": {"2026-11-24T08:00"}, "until": {w.Now().Format("2006-01-02T15:04:05")}, "token": {token}}
	}
	send := func(who string, v url.Values, headers ...string) answer {
		return f.submit("/audit/bundles", v, append([]string{"Cookie", "chaperone=" + who}, headers...)...)
	}
	before = len(w.Looks())
	for name, a := range map[string]answer{
		"no token": send("all", form("")), "another's token": send("all", form(formToken("billing"))), "another site": send("all", form(formToken("all")), "Sec-Fetch-Site", "cross-site"),
		"another origin": send("all", form(formToken("all")), "Origin", "https://evil.example"), "not a form": send("all", form(formToken("all")), "Content-Type", "application/json"),
		"scoped": send("billing", form(formToken("billing"))), "approver": send("approver", form(formToken("approver"))), "signed out": send("x", form(formToken("x"))),
		"no period": send("all", url.Values{"token": {formToken("all")}}), "the future": send("all", url.Values{"token": {formToken("all")}, "since": {"2026-11-24"}, "until": {"2030-01-01"}}),
	} {
		if a.StatusCode < 400 || a.StatusCode >= 500 || bytes.HasPrefix(a.body, []byte("PK")) {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	for _, r := range w.Looks()[before:] {
		if r.Type == evidence.TypeExported {
			t.Errorf("a bundle was made: %+v", r)
		}
	}
	if a := send("all", form(formToken("all"))); a.StatusCode != http.StatusOK || !bytes.HasPrefix(a.body, []byte("PK")) || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the right form: %d %.80s", a.StatusCode, a.body)
	}
}
