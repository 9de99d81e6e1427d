package api

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// visit fetches a page with a session.
func (f *fixture) visit(path string) answer {
	return f.raw("GET", path, "", "Cookie", "chaperone=sealed-ada")
}

func (f *fixture) submit(path string, form url.Values, headers ...string) answer {
	headers = append([]string{"Cookie", "chaperone=sealed-ada", "Content-Type", "application/x-www-form-urlencoded",
		"Origin", "http://" + f.addr, "Sec-Fetch-Site", "same-origin"}, headers...)
	return f.raw("POST", path, form.Encode(), headers...)
}

// pageViews are the states of a request that a page must show well.
func pageViews() map[string]*gateway.ApprovalView {
	views := map[string]*gateway.ApprovalView{"waiting": testView()}

	hostile := testView()
	hostile.Statement = "select id\u200b, n\u0430me from p\u0430tients -- \u202e1 = di erehw\u202c\n" + strings.Repeat(" ", 400) +
		"\n\n\n\n\n\n\nwhere true or ssn = \u2018x\u2019 and city = 'Zürich' and name = '東京' \x1b[2J <script>alert(1)</script>"
	hostile.Reason = "</span><img src=x onerror=alert(1)> \u2066trust me\u2069"
	hostile.Parameters = []byte(`{"name":"\u200f","note":"<b>bold</b>"}`)
	hostile.Status.Request.RequesterName = "Ada\u202e <Admin>"
	views["hostile"] = hostile

	own := testView()
	own.MayDecide, own.WhyNot = false, "You asked for this statement, so somebody else must decide."
	views["own"] = own

	done := testView()
	done.MayDecide, done.WhyNot = false, "This request is no longer open."
	done.Status.State = approvals.Succeeded
	done.Status.Request.Approvals = 2
	done.Status.Votes = []approvals.Vote{
		{Approver: "https://id.example.org#ada", Name: "Ada Moss", Approve: true, At: testNow.Add(-8 * time.Minute)},
		{Approver: "https://id.example.org#lin", Name: "Lin Okoro", Approve: true, Comment: "Agreed with the board.", At: testNow.Add(-5 * time.Minute)},
	}
	done.Status.Claim = &approvals.Claim{At: testNow.Add(-4 * time.Minute)}
	done.Status.Outcome = &approvals.Outcome{State: approvals.Succeeded, RecordID: "gw-1.4711", At: testNow.Add(-4 * time.Minute)}
	views["done"] = done

	denied := testView()
	denied.MayDecide, denied.WhyNot = false, "This request is no longer open."
	denied.Status.State = approvals.Denied
	denied.Status.Votes = []approvals.Vote{{Approver: "x", Name: "Ada Moss", Comment: "Ask for the months you need,\nnot the year.", At: testNow.Add(-time.Minute)}}
	views["denied"] = denied

	bare := testView()
	bare.Reason, bare.Parameters = "", nil
	r := &bare.Status.Request
	r.RequesterName, r.ClientID, r.OnBehalfOf, r.SessionID, r.PurposeOfUse, r.EstimateRows, r.Columns, r.Open = "", "", "", "", "", nil, nil, nil
	views["bare"] = bare
	return views
}

func TestPagesGolden(t *testing.T) {
	f := start(t)
	for name, view := range pageViews() {
		f.gw.view = view
		golden(t, f, name, f.visit("/approvals/q_2"), 200)
	}
	f.gw.open = []approvals.Status{testView().Status, pageViews()["bare"].Status}
	golden(t, f, "list", f.visit("/approvals"), 200)
	f.gw.open = nil
	golden(t, f, "list_empty", f.visit("/approvals"), 200)
	f.gw.err = &gateway.Problem{Code: gateway.CodeNotFound}
	golden(t, f, "not_found", f.visit("/approvals/q_2"), 404)
	f.gw.err = nil
	f.gw.view = testView()
	form := url.Values{"token": {formToken("sealed-ada")}, "decision": {"deny"}, "comment": {""}}
	golden(t, f, "complaint", f.submit("/approvals/q_2/decision", form), 422)
}

func golden(t *testing.T, f *fixture, name string, a answer, status int) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("Content-Type") != "text/html; charset=utf-8" ||
		a.Header.Get("Content-Security-Policy") != pagePolicy || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
	}
	got := bytes.ReplaceAll(a.body, []byte(f.server.pages.stylePath), []byte("../../web/assets/chaperone.css"))
	path := filepath.Join("testdata", "pages", name+".html")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from %s; run with -update and look at the difference:\n%s", name, path, got)
	}
}

// No page may run a script, load from elsewhere, or show what deceives.
func TestPagesAreInert(t *testing.T) {
	f := start(t)
	active := regexp.MustCompile(`(?i)<script|<img|<[^>]*\son[a-z]+=|javascript:|<iframe|<[^>]*\s(style|src)=`)
	for name, view := range pageViews() {
		f.gw.view = view
		page := string(f.visit("/approvals/q_2").body)
		if found := active.FindString(page); found != "" {
			t.Errorf("%s holds %q", name, found)
		}
		for _, r := range page {
			if r > 0x7f && hidden(r) || r < ' ' && r != '\n' && r != '\t' {
				t.Errorf("%s holds U+%04X as it is", name, r)
			}
		}
		if strings.Contains(page, "sealed secret") {
			t.Errorf("%s holds the sealed part", name)
		}
	}
	style := f.raw("GET", f.server.pages.stylePath, "")
	if style.StatusCode != http.StatusOK || !strings.HasPrefix(style.Header.Get("Content-Type"), "text/css") || strings.Contains(string(style.body), "url(") {
		t.Errorf("style sheet: %d", style.StatusCode)
	}
	if a := f.raw("GET", "/assets/chaperone-000000000000.css", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("another style sheet: %d", a.StatusCode)
	}
}

func TestDecisionForm(t *testing.T) {
	f := start(t)
	f.gw.view = testView()
	page := f.visit("/approvals/q_2")
	token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindSubmatch(page.body)
	if token == nil {
		t.Fatal("the page has no form")
	}
	if len(f.gw.decided) != 0 {
		t.Fatal("looking decided")
	}
	good := url.Values{"token": {string(token[1])}, "decision": {"approve"}, "comment": {"fine\r\nby me"}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for k, v := range good {
			form[k] = v
		}
		form.Set(name, value)
		return form
	}
	for name, a := range map[string]answer{
		"no token":      f.submit("/approvals/q_2/decision", with("token", "")),
		"other token":   f.submit("/approvals/q_2/decision", with("token", formToken("sealed-eve"))),
		"other origin":  f.submit("/approvals/q_2/decision", good, "Origin", "https://evil.example"),
		"null origin":   f.submit("/approvals/q_2/decision", good, "Origin", "null"),
		"other site":    f.submit("/approvals/q_2/decision", good, "Sec-Fetch-Site", "cross-site"),
		"same site":     f.submit("/approvals/q_2/decision", good, "Sec-Fetch-Site", "same-site"),
		"json":          f.submit("/approvals/q_2/decision", good, "Content-Type", "text/plain"),
		"no session":    f.submit("/approvals/q_2/decision", good, "Cookie", ""),
		"other session": f.submit("/approvals/q_2/decision", good, "Cookie", "chaperone=sealed-eve"),
		"no decision":   f.submit("/approvals/q_2/decision", with("decision", "")),
		"deny, silent":  f.submit("/approvals/q_2/decision", url.Values{"token": good["token"], "decision": {"deny"}, "comment": {" "}}),
		"long comment":  f.submit("/approvals/q_2/decision", with("comment", strings.Repeat("é", 1001))),
		"bad utf-8":     f.submit("/approvals/q_2/decision", with("comment", "\xff")),
		"get":           f.visit("/approvals/q_2/decision?decision=approve&token=" + string(token[1])),
	} {
		if a.StatusCode < 400 || len(f.gw.decided) != 0 {
			t.Errorf("%s: status %d, decided %v", name, a.StatusCode, f.gw.decided)
		}
	}
	a := f.submit("/approvals/q_2/decision", good)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/approvals/q_2" {
		t.Errorf("status %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if d := f.gw.decided[0]; !d.approve || d.comment != "fine\nby me" || d.meta.Transport != "page" {
		t.Errorf("decided %+v", d)
	}
	// What the gateway refuses is a page in words, not JSON.
	f.gw.err = &gateway.Problem{Code: gateway.CodeOwnRequest, Detail: "You asked for this statement, so somebody else must decide."}
	if a := f.submit("/approvals/q_2/decision", good); a.StatusCode != http.StatusForbidden || !strings.Contains(string(a.body), "somebody else must decide") {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
}

// signIn walks through the provider and returns its answers.
func (f *fixture) signIn(path string) (toLogin, toProvider, back answer) {
	toLogin = f.raw("GET", path, "")
	toProvider = f.raw("GET", toLogin.Header.Get("Location"), "")
	state := mustParse(f.t, toProvider.Header.Get("Location")).Query().Get("state")
	cookie, _, _ := strings.Cut(toProvider.Header.Get("Set-Cookie"), ";")
	return toLogin, toProvider, f.raw("GET", "/login/callback?code=code&state="+state, "", "Cookie", cookie)
}

func mustParse(t *testing.T, address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLogin(t *testing.T) {
	f := start(t)
	toLogin, toProvider, back := f.signIn("/approvals/q_2")
	if toLogin.Header.Get("Location") != "/login?return=%2Fapprovals%2Fq_2" {
		t.Errorf("to login: %q", toLogin.Header.Get("Location"))
	}
	cookie := toProvider.Header.Get("Set-Cookie")
	state := mustParse(t, toProvider.Header.Get("Location")).Query().Get("state")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "path=/", "max-age=600"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	if strings.Contains(cookie, state) || len(state) < 40 {
		t.Error("the login cookie shows its state, or the state is short")
	}
	if back.StatusCode != http.StatusSeeOther || back.Header.Get("Location") != "/approvals/q_2" ||
		!strings.Contains(strings.Join(back.Header.Values("Set-Cookie"), "\n"), "chaperone=sealed-ada; path=/; HttpOnly; SameSite=Lax") {
		t.Errorf("callback: %d %v", back.StatusCode, back.Header)
	}

	if got := f.gw.signedIn; len(got) != 1 || got[0] != "ada page" {
		t.Errorf("recorded sign-ins: %q", got)
	}

	value, _, _ := strings.Cut(cookie, ";")
	for name, a := range map[string]answer{
		"no cookie":       f.raw("GET", "/login/callback?code=code&state="+state, ""),
		"other state":     f.raw("GET", "/login/callback?code=code&state="+state+"x", "", "Cookie", value),
		"no state":        f.raw("GET", "/login/callback?code=code", "", "Cookie", value),
		"no code":         f.raw("GET", "/login/callback?error=access_denied&error_description=<b>&state="+state, "", "Cookie", value),
		"wrong code":      f.raw("GET", "/login/callback?code=other&state="+state, "", "Cookie", value),
		"tampered cookie": f.raw("GET", "/login/callback?code=code&state="+state, "", "Cookie", value+"x"),
		"session cookie":  f.raw("GET", "/login/callback?code=code&state="+state, "", "Cookie", "chaperone-login=sealed-ada"),
	} {
		if a.StatusCode != http.StatusUnauthorized || strings.Contains(strings.Join(a.Header.Values("Set-Cookie"), ""), "sealed-") {
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		}
	}
	if n, m := len(f.gw.rejected), len(f.gw.signedIn); n != 7 || m != 1 {
		t.Errorf("%d failed sign-ins were recorded, and %d others", n, m)
	}
}

// A sign-in that cannot be recorded is none.
func TestLogin_Unrecorded(t *testing.T) {
	f := start(t)
	f.gw.err = &gateway.Problem{Code: gateway.CodeEvidence, Retryable: true, RetryAfter: 2 * time.Second,
		Detail: "That you signed in could not be recorded, so you are not signed in."}
	_, _, back := f.signIn("/approvals")
	if back.StatusCode != http.StatusServiceUnavailable || strings.Contains(strings.Join(back.Header.Values("Set-Cookie"), ""), "sealed-") ||
		!strings.Contains(string(back.body), "you are not signed in") || back.Header.Get("Retry-After") != "2" {
		t.Errorf("%d %v %s", back.StatusCode, back.Header, back.body)
	}
}

func TestReturnPath(t *testing.T) {
	for asked, want := range map[string]string{
		"/approvals/q_1": "/approvals/q_1", "/approvals": "/approvals", "": "/approvals", "https://evil.example": "/approvals",
		"//evil.example/approvals/q": "/approvals", "/approvals/..": "/approvals/..", "/approvals/q/decision": "/approvals",
		"/approvals/q_1?x=1": "/approvals", "/approvals/q_1\r\nSet-Cookie: x": "/approvals", `/approvals\q`: "/approvals", "/approvals/": "/approvals",
	} {
		if got := returnPath(asked); got != want {
			t.Errorf("%q leads to %q, want %q", asked, got, want)
		}
	}
}

func TestLoginExpires(t *testing.T) {
	sealed, err := sealLogin(testConfig(nil, "", nil).LoginKey, loginState{State: "s", Expires: testNow})
	if err != nil {
		t.Fatal(err)
	}
	key := testConfig(nil, "", nil).LoginKey
	if st, err := openLogin(key, sealed, testNow); err != nil || st.State != "s" {
		t.Errorf("%+v %v", st, err)
	}
	if _, err := openLogin(key, sealed, testNow.Add(time.Second)); err == nil {
		t.Error("an old login was accepted")
	}
	if _, err := openLogin(key[1:]+"x", sealed, testNow); err == nil {
		t.Error("another key opened it")
	}
}

func TestProviderDown(t *testing.T) {
	f := start(t, func(c *Config) { c.Login = fakeLogin{identity.ErrProviderUnavailable} })
	_, _, back := f.signIn("/approvals")
	if back.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(back.body), "cannot sign in now") {
		t.Errorf("%d %s", back.StatusCode, back.body)
	}
}

func TestLogout(t *testing.T) {
	f := start(t)
	if a := f.submit("/logout", url.Values{"token": {"x"}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("forged: %d", a.StatusCode)
	}
	a := f.submit("/logout", url.Values{"token": {formToken("sealed-ada")}})
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Set-Cookie"), "chaperone=; expires=Thu, 01 Jan 1970") {
		t.Errorf("%d %q", a.StatusCode, a.Header.Get("Set-Cookie"))
	}
	if a := f.raw("GET", "/logout", ""); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("get: %d", a.StatusCode)
	}
}

// Behind https the cookies carry the prefix that ties them to this host.
func TestSecureCookies(t *testing.T) {
	f := start(t, func(c *Config) { c.PublicURL = "https://chaperone.example.org" })
	a := f.raw("GET", "/login", "")
	if got := a.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-chaperone-login=") || !strings.Contains(got, "; secure") {
		t.Errorf("cookie %q", got)
	}
	if a.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS")
	}
	if a := f.visit("/approvals"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("a cookie without the prefix was accepted: %d", a.StatusCode)
	}
}

func TestNoPagesWithoutLogin(t *testing.T) {
	f := start(t, func(c *Config) { c.Login, c.Sessions, c.LoginKey = nil, nil, "" })
	if d := f.raw("GET", "/approvals", "").problem(t); d.Code != gateway.CodeNotFound {
		t.Errorf("%+v", d)
	}
}

func TestNew(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no gateway": func(c *Config) { c.Gateway = nil }, "no clock": func(c *Config) { c.Clock = nil },
		"login alone": func(c *Config) { c.Sessions = nil }, "short key": func(c *Config) { c.LoginKey = "short" },
		"no limit": func(c *Config) { c.BodyLimit = 0 }, "plain http": func(c *Config) { c.PublicURL = "http://chaperone.example.org" },
		"slash": func(c *Config) { c.PublicURL = "https://chaperone.example.org/" }, "no host": func(c *Config) { c.PublicURL = "https:" },
		"user": func(c *Config) { c.PublicURL = "https://a:b@chaperone.example.org" },
	} {
		cfg := testConfig(&fakeGateway{}, "https://chaperone.example.org", bytes.NewBuffer(nil))
		change(&cfg)
		if s, err := New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
			_ = s.Shutdown(context.Background())
		}
	}
	cfg := testConfig(&fakeGateway{}, "http://[::1]:8080", bytes.NewBuffer(nil))
	if _, err := New(cfg); err != nil {
		t.Error(err)
	}
}
