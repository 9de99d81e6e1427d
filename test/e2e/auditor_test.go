package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// person is somebody with a browser.
type person struct {
	t         *testing.T
	g         *gatewayProcess
	ctx       context.Context
	downloads string
	// pages is every page that was shown.
	pages bytes.Buffer
}

// browse starts a Chromium of its own for somebody.
func (g *gatewayProcess) browse(t *testing.T) *person {
	t.Helper()
	p := &person{t: t, g: g, downloads: t.TempDir()}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, end := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(end)
	p.ctx = ctx
	chromedp.ListenTarget(ctx, func(event any) {
		if dialog, ok := event.(*page.EventJavascriptDialogOpening); ok {
			t.Errorf("a page ran a script: %q", dialog.Message)
		}
	})
	p.do(network.Enable(), browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(p.downloads))
	return p
}

func (p *person) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// look keeps and returns the page that is shown, and sees that it is inert.
func (p *person) look() string {
	p.t.Helper()
	var html, address string
	var scripts int
	p.do(chromedp.WaitReady("body"), chromedp.OuterHTML("html", &html), chromedp.Location(&address),
		chromedp.Evaluate(`document.scripts.length + document.querySelectorAll("[onerror],[onload],iframe,object").length`, &scripts))
	if scripts != 0 && strings.HasPrefix(address, p.g.url) {
		p.t.Errorf("%s holds something active", address)
	}
	p.pages.WriteString(html)
	if found := p.g.env.canary([]byte(html)); found != "" {
		at := strings.Index(html, found)
		p.t.Errorf("%s holds %q: …%s…", address, found, html[max(0, at-80):min(len(html), at+80)])
	}
	return html
}

// open goes to a page of the gateway.
func (p *person) open(path string) string {
	p.t.Helper()
	p.do(chromedp.Navigate(p.g.url + path))
	return p.look()
}

// signIn opens a page and signs in at the provider on the way.
func (p *person) signIn(path, name string) string {
	p.t.Helper()
	p.do(chromedp.Navigate(p.g.url+path), chromedp.WaitVisible(`input[name=username]`), chromedp.SendKeys(`input[name=username]`, name),
		chromedp.SendKeys(`input[name=password]`, name), chromedp.Click("button"), chromedp.WaitReady(".brand"))
	return p.look()
}

// shoot keeps a picture of the page, on a desk or on a telephone.
func (p *person) shoot(name string) {
	p.t.Helper()
	to := os.Getenv("CHAPERONE_SCREENSHOTS")
	if to == "" {
		return
	}
	for width, suffix := range map[int64]string{1100: "", 400: "-400"} {
		var picture []byte
		var overflow bool
		p.do(emulation.SetDeviceMetricsOverride(width, 900, 1, false), chromedp.FullScreenshot(&picture, 100),
			chromedp.Evaluate(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &overflow))
		if overflow {
			p.t.Errorf("%s is wider than %d pixels", name, width)
		}
		if err := os.WriteFile(filepath.Join(to, name+suffix+".png"), picture, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	p.do(emulation.ClearDeviceMetricsOverride())
}

// download does something that downloads a file, and gives it.
func (p *person) download(action chromedp.Action) (file string) {
	p.t.Helper()
	before, _ := filepath.Glob(filepath.Join(p.downloads, "*.zip"))
	// Chromium calls a navigation that became a download aborted.
	if err := chromedp.Run(p.ctx, action); err != nil && !strings.Contains(err.Error(), "ERR_ABORTED") {
		p.t.Fatal(err)
	}
	eventually(p.t, 40*time.Second, "the file is downloaded", func() bool {
		now, _ := filepath.Glob(filepath.Join(p.downloads, "*.zip"))
		for _, name := range now {
			if !slices.Contains(before, name) {
				file = name
				return true
			}
		}
		return false
	})
	return file
}

// withIndex gives the gateway an index that outlives it.
func (g *gatewayProcess) withIndex(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(g.env.dir, g.name, "index.db")
	change(t, g.config, func(b []byte) []byte {
		return bytes.Replace(b, []byte("  heartbeat: 10s\n"), []byte("  heartbeat: 10s\n  index: "+path+"\n"), 1)
	})
	g.stop()
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	return path
}

// story runs a session of all sorts of statements and gives its queries.
func (g *gatewayProcess) story(t *testing.T, session string) (ids map[string]string) {
	t.Helper()
	with := func(q query) query {
		q["session_id"], q["purpose_of_use"], q["reason"] = session, "TREAT", "Chart review before discharge"
		return q
	}
	ids = make(map[string]string)
	ids["rows"] = must(t, g.query(t, with(ask("clinic", "SELECT id, first_name, last_name, dob, zip, mrn FROM patients WHERE id BETWEEN 1 AND 6 ORDER BY id"))), 200).str("query_id")
	ids["hostile"] = must(t, g.query(t, with(ask("clinic",
		"SELECT id AS \"<script>alert(1)</script>\", zip AS \"\u202etxt<img src=x onerror=alert(2)>\" FROM patients WHERE id = 7"))), 200).str("query_id")
	ids["refused"] = g.query(t, with(ask("clinic", "SELECT pg_sleep(1) FROM patients"))).str("query_id")
	ids["billing"] = must(t, g.query(t, with(ask("billing", "SELECT count(*) AS n FROM claims"))), 200).str("query_id")
	ids["approved"] = g.pending(t, with(bulk("clinic")))
	time.Sleep(2500 * time.Millisecond) // a pause worth telling
	must(t, g.decide(t, g.env.approver, ids["approved"], "approve"), 200)
	must(t, g.claim(t, ids["approved"]), 200)
	return ids
}

// reads are the looks that are recorded, by what was looked at.
func (g *gatewayProcess) reads(t *testing.T) map[string][]evidence.Record {
	t.Helper()
	found := make(map[string][]evidence.Record)
	g.each(t, func(r *evidence.Record) {
		if r.Type == evidence.TypeRead || r.Type == evidence.TypeExported {
			found[r.Data["what"]] = append(found[r.Data["what"]], *r)
		}
	})
	return found
}

func (g *gatewayProcess) each(t *testing.T, yield func(*evidence.Record)) {
	t.Helper()
	if err := g.reader(t).Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		yield(r)
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// plantDay stores what a gateway would have stored at the end of yesterday.
func (g *gatewayProcess) plantDay(t *testing.T, body []byte) (day time.Time) {
	t.Helper()
	cfg, err := config.Load(g.config)
	if err != nil {
		t.Fatal(err)
	}
	store, err := server.OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	day = time.Now().UTC().AddDate(0, 0, -1)
	if err := store.Create(t.Context(), bundle.Key(day), body); err != nil {
		t.Fatal(err)
	}
	return day
}

func contains(t *testing.T, where, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not hold %q", where, want)
		}
	}
}

// An auditor signs in with a real browser, searches, reads a query's chain and a
// session as it happened, downloads bundles; each look is found in evidence, and
// nothing protected is on any page or in the index.
func TestAuditor(t *testing.T) {
	g := freshGateway(t, false, false)
	indexFile := g.withIndex(t)
	session := "crew-run/2026:7"
	ids := g.story(t, session)
	p := g.browse(t)

	contains(t, "the first page", p.signIn("/audit", "auditor"), "Search the recordings", "Audrey the auditor", ids["rows"])
	p.shoot("audit-search")

	html := p.open("/audit?" + url.Values{"session": {session}, "relation": {"public.patients"}, "status": {"succeeded"}}.Encode())
	contains(t, "the search", html, ids["rows"], ids["approved"])
	if strings.Contains(html, ids["billing"]) {
		t.Error("the search gives another table's query")
	}
	p.do(chromedp.Click(`a[href="/audit/queries/`+ids["approved"]+`"]`), chromedp.WaitVisible(".chain"))
	html = p.look()
	contains(t, "the chain", html, "Released: ", "Nurse Joy, privacy officer", "segment verified", "query.intent", "approval.requested",
		"approval.decided", "query.outcome", "lease.", "Database user", "Masked cells", "Chart review crew", "evidence/"+g.writer(t)+"/segments/")
	p.shoot("audit-chain")
	// Before it leads to a record: its whole JSON.
	record := regexp.MustCompile(`/audit/records/([^"]+)"`).FindStringSubmatch(html)[1]
	text := p.open("/audit/records/" + record)
	contains(t, "the record", text, record, "segment_verified")

	html = p.open("/audit/sessions/" + url.PathEscape(session))
	contains(t, "the session", html, "5 statements", "s later", "&lt;script&gt;alert(1)", "[U+202E]txt", "Denied by policy: nothing was released", "masked")
	order := []string{ids["rows"], ids["hostile"], ids["refused"], ids["billing"], ids["approved"]}
	if !slices.IsSortedFunc(order, func(a, b string) int { return strings.Index(html, a) - strings.Index(html, b) }) {
		t.Error("the statements are not in the order in which they came")
	}
	p.shoot("audit-session")
	p.do(chromedp.Click(`a[href="/audit/queries/`+ids["hostile"]+`"]`), chromedp.WaitVisible(".chain"))
	contains(t, "the hostile query", p.look(), "&lt;script&gt;alert(1)")

	// What nobody has in a record may be a patient's name: it is sealed.
	contains(t, "a search for nothing", p.open("/audit?principal=Mrs+Quagmire+of+Springfield"), "Nothing is recorded")
	contains(t, "an unknown query", p.open("/audit/queries/q_00000000000000000000000000000000"), "No record of this is found")

	day := g.plantDay(t, []byte("yesterday's bundle"))
	contains(t, "the bundles", p.open("/audit/bundles"), day.Format(time.DateOnly)+".zip", "18 bytes")
	p.shoot("audit-bundles")
	if got := read(t, p.download(chromedp.Click(`a[href="/audit/bundles/`+day.Format(time.DateOnly)+`.zip"]`))); string(got) != "yesterday's bundle" {
		t.Errorf("the day's bundle has %d other bytes", len(got))
	}
	until := time.Now().UTC().Add(-time.Second).Format("2006-01-02T15:04:05")
	p.open("/audit/bundles")
	file := p.download(chromedp.Tasks{chromedp.SendKeys("#since", time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04")), chromedp.SendKeys("#until", until),
		chromedp.SendKeys("#connection", "billing"), chromedp.Click("form.search button")})
	if _, err := zip.OpenReader(file); err != nil {
		t.Fatal(err)
	}
	g.cli(t, 0, "evidence", "verify", "--bundle", file, "--keys", g.keys)

	t.Run("every look is recorded", func(t *testing.T) {
		reads := g.reads(t)
		for what, atLeast := range map[string]int{"search": 3, "query": 3, "session": 1, "record": 1, "bundles": 2, "bundle": 1, "new bundle": 1} {
			if len(reads[what]) < atLeast {
				t.Errorf("%d looks at %q are recorded, there were %d", len(reads[what]), what, atLeast)
			}
			for _, r := range reads[what] {
				if taken := what == "bundle" || what == "new bundle"; taken != (r.Type == evidence.TypeExported) {
					t.Errorf("a look at %q is recorded as %s", what, r.Type)
				}
				if r.Actor == nil || r.Actor.Subject != "auditor" || r.Actor.AuthTime == nil || r.Data["transport"] != "page" {
					t.Errorf("a look at %q does not tell who: %+v", what, r.Actor)
				}
			}
		}
		if r := reads["query"][0]; r.QueryID != ids["approved"] || r.Connection != "clinic" {
			t.Errorf("the look at a query is not in its chain: %+v", r)
		}
		if r := reads["session"][0]; r.SessionID != session {
			t.Errorf("the look at a session does not name it: %+v", r)
		}
		sealed := 0
		for _, r := range reads["search"] {
			text, err := json.Marshal(r)
			if err != nil || bytes.Contains(text, []byte("Quagmire")) {
				t.Errorf("what was typed is in clear: %s", text)
			}
			if len(r.Sealed) > 0 {
				sealed++
				contains(t, "the sealed part", g.cli(t, 0, "evidence", "open", "--config", g.config, "--identity", g.auditor, r.ID), "Mrs Quagmire of Springfield")
			}
		}
		if sealed != 1 {
			t.Errorf("%d searches are sealed, want 1", sealed)
		}
		g.cli(t, 0, "evidence", "verify", "--config", g.config)
	})
	t.Run("who looked is told to the next", func(t *testing.T) {
		contains(t, "the chain", p.open("/audit/queries/"+ids["approved"]), "Who looked at it before", "Looked at by Audrey the auditor")
	})
	t.Run("no role, nothing to see", func(t *testing.T) {
		nurse := g.browse(t)
		nurse.signIn("/approvals", "nurse")
		for _, path := range []string{"/audit", "/audit?since=x", "/audit/queries/" + ids["rows"], "/audit/sessions/" + url.PathEscape(session), "/audit/records/" + record,
			"/audit/bundles", "/audit/bundles/" + day.Format(time.DateOnly) + ".zip"} {
			html := nurse.open(path)
			contains(t, path, html, "The role for this is missing", "Recorded as")
			for _, secret := range []string{"crew", "patients", ids["approved"]} {
				if strings.Contains(html, secret) {
					t.Errorf("%s tells %q to somebody without the role", path, secret)
				}
			}
		}
		refused := 0
		g.each(t, func(r *evidence.Record) {
			if r.Type == evidence.TypeRejected && r.Actor.Subject == "nurse" && r.Result.Code == "forbidden" {
				refused++
			}
		})
		if refused != 7 {
			t.Errorf("%d refusals are recorded, want 7", refused)
		}
	})
	t.Run("the index outlives the gateway and holds nothing protected", func(t *testing.T) {
		g.stop()
		text := read(t, indexFile)
		if found := g.env.canary(text); found != "" || bytes.Contains(text, []byte("patients")) {
			t.Errorf("the index holds %q, or a table's name", found)
		}
		if err := g.start(); err != nil {
			t.Fatal(err)
		}
		contains(t, "the search", p.open("/audit?session="+url.QueryEscape(session)), ids["rows"])
		if err := os.WriteFile(filepath.Join(g.env.logs, "audit-pages.html"), p.pages.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("replay", func(t *testing.T) {
		contains(t, "the replay", g.cli(t, 0, "evidence", "replay", "--config", g.config, session), "5 queries", "s later", "approved by Nurse Joy")
		contains(t, "the opened replay", g.cli(t, 0, "evidence", "replay", "--config", g.config, "--identity", g.auditor, ids["rows"]),
			"exactly", "BETWEEN 1 AND 6", "Chart review before discharge")
		var stories []evidence.Story
		if err := json.Unmarshal([]byte(g.cli(t, 0, "evidence", "replay", "--config", g.config, "--json", session)), &stories); err != nil || len(stories) != 5 {
			t.Errorf("%d stories: %v", len(stories), err)
		}
	})
}

// When looks cannot be recorded nothing is shown.
func TestAuditor_NothingUnrecorded(t *testing.T) {
	g := faultGateway(t)
	ids := g.story(t, "crew-run-8")
	p := g.browse(t)
	p.signIn("/audit", "auditor")
	contains(t, "the chain", p.open("/audit/queries/"+ids["rows"]), "segment verified")
	g.wires.s3.set(t, refuse)
	defer g.wires.s3.set(t, pass)
	for _, path := range []string{"/audit", "/audit/queries/" + ids["rows"]} {
		html := p.open(path)
		if strings.Contains(html, ids["rows"]) || strings.Contains(html, "Chart review crew") {
			t.Errorf("%s shows recordings although the look cannot be recorded", path)
		}
		contains(t, path, html, "cannot be made durable")
	}
}

// The API for auditors gives what the pages give, to programs with a bearer token;
// what is sealed opens at home, a bundle verifies at home, and each look is in
// evidence before its answer.
func TestAuditor_API(t *testing.T) {
	g := freshGateway(t, false, false)
	session := "crew-run/2026:9"
	ids := g.story(t, session)
	get := func(t *testing.T, token, path string) answer {
		t.Helper()
		return call(t, g.url, "GET", "/v1/evidence/"+path, token, nil)
	}
	var found struct {
		Records []struct {
			ID, Connection, Status string
			QueryID                string `json:"query_id"`
		}
		Next string
	}
	var got []string
	q := url.Values{"session": {session}, "relation": {"public.patients"}, "status": {"succeeded"}, "limit": {"1"}}
	for range 10 {
		found.Records, found.Next = nil, ""
		decode(t, must(t, get(t, g.env.auditor, "queries?"+q.Encode()), 200), &found)
		for _, r := range found.Records {
			got = append(got, r.QueryID)
		}
		if found.Next == "" {
			break
		}
		q.Set("after", found.Next)
	}
	if want := []string{ids["approved"], ids["hostile"], ids["rows"]}; !slices.Equal(got, want) {
		t.Errorf("the search gives %q, want %q", got, want)
	}

	var chain struct {
		Records []struct {
			evidence.Record
			Object string
		}
		Recorded string `json:"recording_id"`
	}
	decode(t, must(t, get(t, g.env.auditor, "queries/"+ids["rows"]), 200), &chain)
	types := make(map[evidence.Type]int)
	for i := range chain.Records {
		r := &chain.Records[i]
		types[r.Type]++
		if r.Type == evidence.TypeOutcome && (r.Result == nil || r.Result.RowCount != 6 || len(r.Result.Rows) == 0) {
			t.Errorf("the outcome has not the rows: %+v", r.Result)
		}
		if r.Type != evidence.TypeIntent {
			continue
		}
		identity, err := age.ParseX25519Identity(strings.TrimSpace(string(read(t, g.auditor))))
		if err != nil {
			t.Fatal(err)
		}
		secret, err := evidence.OpenSealed(&r.Record, []age.Identity{identity})
		if err != nil || !strings.Contains(secret.Statement, "BETWEEN 1 AND 6") {
			t.Errorf("the sealed part opens as %+v: %v", secret, err)
		}
	}
	if types[evidence.TypeIntent] != 1 || types[evidence.TypeOutcome] != 1 || types[evidence.TypeLeaseIssued] != 1 {
		t.Errorf("the chain has %v", types)
	}
	var looked *evidence.Record
	g.each(t, func(r *evidence.Record) {
		if r.ID == chain.Recorded {
			looked = r
		}
	})
	if looked == nil || looked.QueryID != ids["rows"] || looked.Actor.Subject != "auditor" || looked.Data["transport"] != "rest" {
		t.Errorf("the look is recorded as %+v", looked)
	}

	var story struct {
		Queries int
		Chains  []struct {
			QueryID string `json:"query_id"`
		}
	}
	decode(t, must(t, get(t, g.env.auditor, "sessions/"+url.PathEscape(session)), 200), &story)
	if story.Queries != 5 || len(story.Chains) != 5 || story.Chains[0].QueryID != ids["rows"] || story.Chains[4].QueryID != ids["approved"] {
		t.Errorf("the session is told as %+v", story)
	}
	must(t, get(t, g.env.auditor, "records/"+chain.Records[0].ID), 200)

	// A day's bundle as a gateway stores it, by way of the command that makes one.
	made := filepath.Join(t.TempDir(), "made.zip")
	g.cli(t, 0, "evidence", "bundle", "--config", g.config, "--since", time.Now().UTC().Add(-time.Hour).Format(time.RFC3339),
		"--until", time.Now().UTC().Add(-time.Second).Format(time.RFC3339), "--out", made)
	day := g.plantDay(t, read(t, made)).Format(time.DateOnly)
	contains(t, "the bundles", string(must(t, get(t, g.env.auditor, "bundles"), 200).raw), day)
	file := filepath.Join(t.TempDir(), "day.zip")
	if err := os.WriteFile(file, must(t, get(t, g.env.auditor, "bundles/"+day), 200).raw, 0o600); err != nil {
		t.Fatal(err)
	}
	g.cli(t, 0, "evidence", "verify", "--bundle", file, "--keys", g.keys)
	exported := g.ofType(t, evidence.TypeExported)
	if len(exported) != 1 || exported[0].Data["day"] != day || exported[0].Data["what"] != "bundle" {
		t.Errorf("the bundle taken is recorded as %+v", exported)
	}

	for who, token := range map[string]string{"an agent": g.env.agent, "an approver": g.env.approver} {
		for _, path := range []string{"queries", "queries/" + ids["rows"], "sessions/x", "records/x", "bundles", "bundles/" + day} {
			t.Run(who+" "+path, func(t *testing.T) { problem(t, get(t, token, path), 403, "forbidden") })
		}
	}
	problem(t, get(t, g.env.auditor, "queries?sesion=x"), 400, "malformed_request")
	problem(t, get(t, "", "queries"), 401, "unauthenticated")
	g.cli(t, 0, "evidence", "verify", "--config", g.config)
}

func decode(t *testing.T, a answer, to any) {
	t.Helper()
	if err := json.Unmarshal(a.raw, to); err != nil {
		t.Fatalf("%v: %s", err, a.raw)
	}
}

// A person who signs in is recorded before the browser has a session; when that
// cannot be, there is none.
func TestSignInIsRecorded(t *testing.T) {
	g := faultGateway(t)
	before := time.Now().Add(-time.Minute)
	p := g.browse(t)
	p.signIn("/audit", "auditor")
	signedIn := g.ofType(t, evidence.TypeAuthSucceeded)
	if len(signedIn) != 1 {
		t.Fatalf("%d sign-ins are recorded", len(signedIn))
	}
	r := signedIn[0]
	if r.Actor == nil || r.Actor.Subject != "auditor" || r.Actor.Issuer != g.env.provider.Issuer() || r.Actor.Name != "Audrey the auditor" ||
		r.Actor.AuthTime == nil || r.Actor.AuthTime.Before(before) || r.Actor.RemoteAddr == "" || r.Data["method"] != "oidc" || r.Data["transport"] != "page" {
		t.Errorf("the sign-in is recorded as %+v %+v", r, r.Actor)
	}
	must(t, g.query(t, ask("clinic", "SELECT id FROM patients WHERE id = 1")), 200)
	must(t, call(t, g.url, "GET", "/v1/evidence/queries", g.env.auditor, nil), 200)
	if n := len(g.ofType(t, evidence.TypeAuthSucceeded)); n != 1 {
		t.Errorf("%d sign-ins are recorded: bearer tokens are none", n)
	}
	contains(t, "the search", p.open("/audit?type=auth"), "signed in", "Audrey the auditor")

	other := g.browse(t)
	other.do(chromedp.Navigate(g.url+"/approvals"), chromedp.WaitVisible(`input[name=username]`))
	g.wires.s3.set(t, refuse)
	other.do(chromedp.SendKeys(`input[name=username]`, "nurse"), chromedp.SendKeys(`input[name=password]`, "nurse"), chromedp.Click("button"), chromedp.WaitReady(".brand"))
	contains(t, "the refused sign-in", other.look(), "you are not signed in")
	g.wires.s3.set(t, pass)
	if cookies := other.cookies(); slices.Contains(cookies, "chaperone") {
		t.Errorf("a sign-in that was not recorded left a session: %q", cookies)
	}
	g.cli(t, 0, "evidence", "verify", "--config", g.config)
}

// cookies are the names of the gateway's cookies that the browser has.
func (p *person) cookies() (names []string) {
	p.t.Helper()
	p.do(chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().WithURLs([]string{p.g.url}).Do(ctx)
		for _, c := range all {
			names = append(names, c.Name)
		}
		return err
	}))
	return names
}
