package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/api/openapitest"
	"github.com/chaperone-sql/chaperone/audit/audittest"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// people are who the tests know, by token and by cookie.
func people() map[string]*identity.Principal {
	nurse := testPrincipal()
	return map[string]*identity.Principal{"all": audittest.Auditor("*"), "clinic": audittest.Auditor("clinic"), "billing": audittest.Auditor("billing"),
		"approver": nurse, "agent": {Subject: "crew-7", Issuer: "i", Roles: map[string][]identity.Role{"*": {identity.Agent}}}}
}

type peopleAuth map[string]*identity.Principal

func (a peopleAuth) Verify(_ context.Context, raw string) (*identity.Principal, error) {
	return a.Open(strings.TrimPrefix(raw, "token-"))
}

func (peopleAuth) Seal(p *identity.Principal) (string, error) { return p.Subject, nil }

func (a peopleAuth) Open(cookie string) (*identity.Principal, error) {
	if p := a[cookie]; p != nil {
		return p, nil
	}
	return nil, identity.ErrInvalidToken
}

// auditServer is a server with real evidence behind it.
func auditServer(t *testing.T) (*fixture, *audittest.World) {
	t.Helper()
	w := audittest.New(t, 2)
	return start(t, func(c *Config) {
		c.Auditing, c.Auth, c.Sessions = w.Service, peopleAuth(people()), peopleAuth(people())
	}), w
}

// ask sends a GET of the API with somebody's token and holds the answer to openapi.yaml.
func (f *fixture) ask(who, path string) answer {
	f.t.Helper()
	a := f.raw("GET", path, "", "Authorization", "Bearer token-"+who)
	openapitest.ValidateResponse(f.t, "GET", path, a.StatusCode, a.Header, a.body)
	if a.Header.Get("Cache-Control") != "no-store" {
		f.t.Errorf("%s may be stored: %q", path, a.Header.Get("Cache-Control"))
	}
	return a
}

// read decodes an answer.
func (f *fixture) read(a answer, to any) {
	f.t.Helper()
	if a.StatusCode != http.StatusOK {
		f.t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		f.t.Fatal(err)
	}
}

func TestEvidenceAPI(t *testing.T) {
	f, w := auditServer(t)
	q := w.Ask(0, "clinic", "crew/1")
	other := w.Ask(1, "billing", "crew/1")
	day := w.Now().AddDate(0, 0, -1)
	if err := w.Store.Create(t.Context(), bundle.Key(day), []byte("the zip of a day")); err != nil {
		t.Fatal(err)
	}
	var found struct {
		Records []struct{ ID, QueryID, Object, Connection, Type string }
		Next    string
		Index   struct{ UpTo *time.Time }
	}
	f.read(f.ask("all", "/v1/evidence/queries?session=crew%2F1&limit=1"), &found)
	if len(found.Records) != 1 || found.Records[0].ID != other.Outcome || found.Next == "" {
		t.Fatalf("%+v", found)
	}
	first := found.Next
	found.Next, found.Records = "", nil
	f.read(f.ask("all", "/v1/evidence/queries?session=crew%2F1&limit=1&after="+first), &found)
	if len(found.Records) != 1 || found.Records[0].ID != q.Outcome || found.Records[0].Object != q.OutcomeIn || found.Next != "" {
		t.Errorf("%+v", found)
	}
	if a := f.ask("all", "/v1/evidence/queries"); strings.Contains(string(a.body), "023**") || strings.Contains(string(a.body), `"sealed"`) {
		t.Errorf("a search gives bodies: %s", a.body)
	}
	f.read(f.ask("clinic", "/v1/evidence/queries?type=all"), &found)
	for _, r := range found.Records {
		if r.Connection != "clinic" {
			t.Errorf("an auditor of clinic finds %+v", r)
		}
	}

	var chain struct {
		Records []struct {
			ID, Object string
			Sealed     []byte
			Result     *struct{ Rows [][]string }
		}
		Recorded string `json:"recording_id"`
	}
	f.read(f.ask("all", "/v1/evidence/queries/"+q.ID), &chain)
	if len(chain.Records) != 2 || chain.Records[0].ID != q.Intent || len(chain.Records[0].Sealed) == 0 || chain.Records[1].Result.Rows[0][0] != "023**" {
		t.Errorf("%+v", chain)
	}
	if looks := w.Looks(); looks[len(looks)-1].ID != chain.Recorded || looks[len(looks)-1].Data["transport"] != "rest" {
		t.Errorf("the look is not recorded as %s", chain.Recorded)
	}

	var session struct {
		Queries, Page, Pages int
		Chains               []struct {
			Records []struct {
				ID          string
				Result      *struct{ Rows [][]string }
				RowsLeftOut bool `json:"rows_left_out"`
			}
		}
	}
	f.read(f.ask("all", "/v1/evidence/sessions/crew%2F1"), &session)
	if session.Queries != 2 || session.Pages != 1 || len(session.Chains) != 2 {
		t.Fatalf("%+v", session)
	}
	if last := session.Chains[1].Records[1]; last.ID != other.Outcome || last.Result.Rows != nil || !last.RowsLeftOut {
		t.Errorf("the session: %+v", last)
	}
	if d := f.ask("all", "/v1/evidence/sessions/crew%2F1?page=2").problem(t); d.Code != gateway.CodeNotFound || d.RecordingID == "" {
		t.Errorf("%+v", d)
	}
	if a := f.ask("all", "/v1/evidence/records/"+q.Outcome); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"rows":[["023**"]]`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}

	var days struct {
		Bundles []struct {
			Day  string
			Size int
		}
	}
	f.read(f.ask("all", "/v1/evidence/bundles"), &days)
	if len(days.Bundles) != 1 || days.Bundles[0].Size != 16 {
		t.Fatalf("%+v", days)
	}
	zip := f.ask("all", "/v1/evidence/bundles/"+days.Bundles[0].Day)
	if string(zip.body) != "the zip of a day" || zip.Header.Get("Content-Disposition") != `attachment; filename="chaperone-`+days.Bundles[0].Day+`.zip"` {
		t.Errorf("%v %s", zip.Header, zip.body)
	}
	if looks := w.Looks(); looks[len(looks)-1].Type != evidence.TypeExported {
		t.Errorf("the bundle is recorded as %s", looks[len(looks)-1].Type)
	}
	// The openapi document does not let a query string slip in unseen.
	if a := f.ask("all", "/v1/evidence/bundles/2020-01-01"); a.StatusCode != http.StatusNotFound {
		t.Errorf("%d", a.StatusCode)
	}
}

// Who may not, gets nothing, by any address, and the refusal is recorded.
func TestEvidenceAPI_Authorisation(t *testing.T) {
	f, w := auditServer(t)
	w.Ask(0, "clinic", "crew-1")
	b := w.Ask(1, "billing", "crew-2")
	unknown := evidence.NewQueryID(w.Logs[1].Writer(), w.Now())
	if err := w.Store.Create(t.Context(), bundle.Key(w.Now().AddDate(0, 0, -1)), []byte("the zip of a day")); err != nil {
		t.Fatal(err)
	}
	day := w.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	paths := []string{"/v1/evidence/queries", "/v1/evidence/queries?nonsense=1", "/v1/evidence/queries?since=x", "/v1/evidence/queries/" + b.ID, "/v1/evidence/sessions/crew-2",
		"/v1/evidence/records/" + b.Outcome, "/v1/evidence/bundles", "/v1/evidence/bundles/" + day, "/v1/evidence/bundles/x"}
	for _, who := range []string{"approver", "agent"} {
		for _, path := range paths {
			if d := f.ask(who, path).problem(t); d.Code != gateway.CodeForbidden {
				t.Errorf("%s, %s: %+v", who, path, d)
			}
		}
	}
	for _, path := range paths {
		if a := f.ask("nobody", path); a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("without a token, %s: %d", path, a.StatusCode)
		}
		if a := f.raw("GET", path, "", "Cookie", "chaperone=all"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("with a cookie, %s: %d", path, a.StatusCode)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if a := f.raw(method, path, "{}", "Authorization", "Bearer token-all"); a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
		}
	}
	// By id, of another connection: the same answer as for what is not there.
	for there, not := range map[string]string{"queries/" + b.ID: "queries/" + unknown, "sessions/crew-2": "sessions/crew-9",
		"records/" + b.Outcome: "records/" + w.Logs[1].Writer() + ".999"} {
		x, y := f.ask("clinic", "/v1/evidence/"+there).problem(t), f.ask("clinic", "/v1/evidence/"+not).problem(t)
		x.RecordingID, y.RecordingID = "", ""
		if x != y || x.Code != gateway.CodeNotFound {
			t.Errorf("%s is told apart: %+v, %+v", there, x, y)
		}
		if a := f.ask("billing", "/v1/evidence/"+there); a.StatusCode != http.StatusOK {
			t.Errorf("its own auditor, %s: %d", there, a.StatusCode)
		}
	}
	for _, path := range []string{"/v1/evidence/bundles", "/v1/evidence/bundles/" + day} {
		if d := f.ask("billing", path).problem(t); d.Code != gateway.CodeForbidden {
			t.Errorf("%s: %+v", path, d)
		}
	}
	// HEAD tells no more than GET, and is a look as well.
	before := len(w.Looks())
	if a := f.raw("HEAD", "/v1/evidence/queries/"+b.ID, "", "Authorization", "Bearer token-clinic"); a.StatusCode != http.StatusNotFound || len(w.Looks()) != before+1 {
		t.Errorf("HEAD: %d, %d looks", a.StatusCode, len(w.Looks())-before)
	}
	if a := f.raw("HEAD", "/v1/evidence/bundles/"+day, "", "Authorization", "Bearer token-all"); a.StatusCode != http.StatusOK || len(a.body) != 0 {
		t.Errorf("HEAD of a bundle: %d", a.StatusCode)
	}
}

// Bad input is refused in words, and recorded.
func TestEvidenceAPI_BadInput(t *testing.T) {
	f, w := auditServer(t)
	q := w.Ask(0, "clinic", "crew-1")
	long := strings.Repeat("x", 513)
	for path, want := range map[string]string{
		"queries?sesion=crew-1": "unknown", "queries?session=": "empty", "queries?session=%20": "empty", "queries?status=a&status=b": "twice",
		"queries?since=yesterday": "times", "queries?since=2026-11-25&until=2026-11-24": "ends before", "queries?limit=0": "from 1 to 100",
		"queries?limit=101": "from 1 to 100", "queries?limit=1e2": "from 1 to 100", "queries?limit=99999999999999999999": "from 1 to 100", "queries?limit=-1": "from 1 to 100",
		"queries?after=x": "further page", "queries?after=AAAAAAAAAAAAAAAAAAAAAAAAAAB": "further page", "queries?principal=%ff": "valid text",
		"queries?principal=%00": "valid text", "queries?principal=" + long: "longer than", "queries?%zz": "malformed", "queries?a;b": "malformed",
		"queries/" + q.ID + "?x=1": "unknown", "queries/" + long: "malformed", "queries/%ff": "malformed",
		"sessions/crew-1?page=0": "from 1", "sessions/crew-1?page=-1": "from 1", "sessions/crew-1?page=999999999999": "from 1", "sessions/crew-1?part=1": "unknown",
		"records/x?y=z": "unknown", "bundles?before=x": "unknown", "bundles/2026-13-01": "2026-11-23", "bundles/today": "2026-11-23", "bundles/2026-11-23.zip": "2026-11-23",
		"bundles/..%2f..%2fevidence": "2026-11-23", "queries?since=2026-11-24T08:00:00%2B99:00": "times", "queries?since=0001-01-01": "times",
	} {
		f.gw.rejected = nil
		before := len(w.Looks())
		a := f.raw("GET", "/v1/evidence/"+path, "", "Authorization", "Bearer token-all")
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(string(a.body), want) || strings.Contains(string(a.body), long) {
			t.Errorf("%.80s: %d %s", path, a.StatusCode, a.body)
			continue
		}
		if len(f.gw.rejected)+len(w.Looks())-before != 1 {
			t.Errorf("%.80s: the refusal is recorded %d times", path, len(f.gw.rejected)+len(w.Looks())-before)
		}
	}
	// What a look-up names and nobody has is no error but not there.
	for _, path := range []string{"queries/" + strings.Repeat("q", 100), "sessions/%3Cscript%3E", "records/..", "records/%2e%2e%2fx.1", "bundles/2020-02-29"} {
		if a := f.raw("GET", "/v1/evidence/"+path, "", "Authorization", "Bearer token-all"); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
}

// Rows are left out of an answer that they would make too large, and said to be.
func TestEvidenceAPI_Bounded(t *testing.T) {
	f, w := auditServer(t)
	row := `["` + strings.Repeat("x", 1<<20) + `"]`
	q := w.Ask(0, "clinic", "crew-1", func(_, outcome *evidence.Record) {
		outcome.Result.Rows = json.RawMessage("[" + strings.Repeat(row+",", 39) + row + "]")
	})
	a := f.ask("all", "/v1/evidence/queries/"+q.ID)
	if a.StatusCode != http.StatusOK || len(a.body) > rowsBudget || !strings.Contains(string(a.body), `"rows_left_out":true`) {
		t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
	}
	if a := f.raw("GET", "/v1/evidence/records/"+q.Outcome, "", "Authorization", "Bearer token-all"); len(a.body) < 40<<20 {
		t.Errorf("the record itself has %d bytes", len(a.body))
	}
	if a := f.ask("all", "/v1/evidence/queries?"+url.Values{"query": {q.ID}, "type": {"all"}}.Encode()); len(a.body) > 64<<10 {
		t.Errorf("a search answers with %d bytes", len(a.body))
	}
}

// A session of many queries comes in pages that together are all of it.
func TestEvidenceAPI_Pages(t *testing.T) {
	f, w := auditServer(t)
	var want []string
	for i := range 45 {
		want = append(want, w.Ask(i%2, []string{"clinic", "billing"}[i%2], "crew-1").ID)
	}
	var got, clinic []string
	for who, to := range map[string]*[]string{"all": &got, "clinic": &clinic} {
		for page, pages := 1, 1; page <= pages; page++ {
			var session struct {
				Pages  int
				Chains []struct {
					QueryID string `json:"query_id"`
				}
			}
			f.read(f.ask(who, fmt.Sprintf("/v1/evidence/sessions/crew-1?page=%d", page)), &session)
			pages = session.Pages
			for _, c := range session.Chains {
				*to = append(*to, c.QueryID)
			}
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%d queries, want %d in the order of their starts", len(got), len(want))
	}
	if len(clinic) != 23 {
		t.Errorf("an auditor of clinic sees %d queries of the session, want 23", len(clinic))
	}
	for i, id := range clinic {
		if id != want[2*i] {
			t.Errorf("an auditor of clinic sees %s at %d", id, i)
		}
	}
}
