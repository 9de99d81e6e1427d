package audit_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/audit/audittest"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// calls are all ways to look at what a query of the connection billing left.
func calls(t testing.TB, w *audittest.World, q audittest.Query, session string, day time.Time) map[string]func(p *identity.Principal) (any, error) {
	s, ctx := w.Service, t.Context()
	read := func(body io.ReadCloser, err error) (any, error) {
		if body == nil {
			return nil, err
		}
		text, failed := io.ReadAll(body)
		return text, errors.Join(err, failed, body.Close())
	}
	return map[string]func(p *identity.Principal) (any, error){
		"search": func(p *identity.Principal) (any, error) {
			return got(s.Search(ctx, p, index.Query{Filter: evidence.Filter{Connection: "billing"}}, audittest.Meta))
		},
		"query":   func(p *identity.Principal) (any, error) { return got(s.Query(ctx, p, q.ID, audittest.Meta)) },
		"session": func(p *identity.Principal) (any, error) { return got(s.Session(ctx, p, session, 1, audittest.Meta)) },
		"record":  func(p *identity.Principal) (any, error) { return got(s.Record(ctx, p, q.Outcome, audittest.Meta)) },
		"bundles": func(p *identity.Principal) (any, error) {
			days, err := s.Bundles(ctx, p, audittest.Meta)
			if days == nil {
				return nil, err
			}
			return days, err
		},
		"bundle": func(p *identity.Principal) (any, error) {
			body, _, err := s.Bundle(ctx, p, day, audittest.Meta)
			return read(body, err)
		},
		"new bundle": func(p *identity.Principal) (any, error) {
			body, _, err := s.NewBundle(ctx, p, evidence.Filter{Since: w.Now().Add(-24 * time.Hour), Until: w.Now()}, audittest.Meta)
			return read(body, err)
		},
	}
}

// got makes a nil pointer a nil.
func got[T any](v *T, err error) (any, error) {
	if v == nil {
		return nil, err
	}
	return v, err
}

func codeOf(err error) gateway.Code {
	var problem *gateway.Problem
	if errors.As(err, &problem) {
		return problem.Code
	}
	return ""
}

// planted is a world with queries of two connections and a stored day.
func planted(t testing.TB) (w *audittest.World, clinic, billing audittest.Query, day time.Time) {
	w = audittest.New(t, 2)
	clinic, billing = w.Ask(0, "clinic", "crew-1"), w.Ask(1, "billing", "crew-2")
	w.Ask(1, "clinic", "crew-1")
	day = w.Now().AddDate(0, 0, -1)
	must(t, w.Store.Create(t.Context(), bundle.Key(day), []byte("a day")))
	return w, clinic, billing, day
}

// Who sees what: by role, by connection; every look has a record of the right
// sort, made before anything is given.
func TestWhoSeesWhat(t *testing.T) {
	w, _, billing, day := planted(t)
	approver := &identity.Principal{Subject: "nurse", Issuer: "i", Roles: map[string][]identity.Role{"*": {identity.Approver}}}
	agent := &identity.Principal{Subject: "crew-7", Issuer: "i", Roles: map[string][]identity.Role{"billing": {identity.Agent}}}
	const ok = gateway.Code("")
	for _, who := range []struct {
		name string
		p    *identity.Principal
		want map[string]gateway.Code
	}{
		{"auditor of everything", audittest.Auditor("*"), nil},
		{"auditor of billing", audittest.Auditor("billing"), map[string]gateway.Code{"bundles": gateway.CodeForbidden, "bundle": gateway.CodeForbidden, "new bundle": gateway.CodeForbidden}},
		{"auditor of clinic", audittest.Auditor("clinic"), map[string]gateway.Code{"query": gateway.CodeNotFound, "session": gateway.CodeNotFound, "record": gateway.CodeNotFound,
			"bundles": gateway.CodeForbidden, "bundle": gateway.CodeForbidden, "new bundle": gateway.CodeForbidden}},
		{"approver", approver, map[string]gateway.Code{"*": gateway.CodeForbidden}},
		{"agent", agent, map[string]gateway.Code{"*": gateway.CodeForbidden}},
		{"nobody", &identity.Principal{Subject: "x"}, map[string]gateway.Code{"*": gateway.CodeForbidden}},
	} {
		for what, call := range calls(t, w, billing, "crew-2", day) {
			want, all := who.want[what], who.want["*"]
			if all != "" {
				want = all
			}
			before := len(w.Looks())
			v, err := call(who.p)
			if code := codeOf(err); code != want || err != nil && code == "" || want != ok && v != nil {
				t.Errorf("%s, %s: %v, want %q; got %v", who.name, what, err, want, v)
			}
			looks := w.Looks()[before:]
			if len(looks) != 1 {
				t.Fatalf("%s, %s: %d records", who.name, what, len(looks))
			}
			kind := evidence.TypeRead
			switch {
			case want == gateway.CodeForbidden:
				kind = evidence.TypeRejected
			case strings.HasSuffix(what, "bundle"):
				kind = evidence.TypeExported
			}
			if r := looks[0]; r.Type != kind || r.Actor.Subject != who.p.Subject || kind != evidence.TypeRejected && r.Data["what"] != what {
				t.Errorf("%s, %s is recorded as %s: %+v", who.name, what, r.Type, r.Data)
			}
			// An auditor of the connection finds who looked; of another one, nothing.
			if r := looks[0]; r.Connection != "" && (r.Connection != "billing" || want != ok) {
				t.Errorf("%s, %s: the look is in the records of %q", who.name, what, r.Connection)
			}
		}
	}
	// What was searched for and found by nobody within his connections.
	r, err := w.Service.Search(t.Context(), audittest.Auditor("clinic"), index.Query{Filter: evidence.Filter{Connection: "billing"}}, audittest.Meta)
	must(t, err)
	if len(r.Found) != 0 {
		t.Errorf("an auditor of clinic finds %d records of billing", len(r.Found))
	}
	r, err = w.Service.Search(t.Context(), audittest.Auditor("clinic"), index.Query{}, audittest.Meta)
	must(t, err)
	for _, f := range r.Found {
		if f.Record == nil || f.Record.Connection != "clinic" {
			t.Errorf("an auditor of clinic finds %+v", f)
		}
	}
	if len(r.Found) != 4 {
		t.Errorf("an auditor of clinic finds %d of 4 records", len(r.Found))
	}
}

// While looks cannot be recorded, nothing is given to anybody.
func TestNothingUnrecorded(t *testing.T) {
	w, _, billing, day := planted(t)
	must(t, w.Index.Refresh(t.Context()))
	until := w.Now()
	w.Pass(time.Minute)
	all := calls(t, w, billing, "crew-2", day)
	all["new bundle"] = func(p *identity.Principal) (any, error) {
		body, size, err := w.Service.NewBundle(t.Context(), p, evidence.Filter{Since: until.Add(-time.Hour), Until: until}, audittest.Meta)
		if body != nil || size != 0 {
			return size, err
		}
		return nil, err
	}
	w.Store.NoWrites.Store(true)
	for what, call := range all {
		v, err := call(audittest.Auditor("*"))
		if codeOf(err) != gateway.CodeEvidence || v != nil {
			t.Errorf("%s: %v and %v, although the look is not durable", what, v, err)
		}
	}
	w.Store.NoWrites.Store(false)
}

// While the store cannot be read it is said so, and nothing is guessed.
func TestStoreCannotBeRead(t *testing.T) {
	w, _, billing, day := planted(t)
	must(t, w.Index.Refresh(t.Context()))
	w.Store.NoReads.Store(true)
	for what, call := range calls(t, w, billing, "crew-2", day) {
		if what == "bundles" || what == "bundle" {
			continue // they need no Get
		}
		if v, err := call(audittest.Auditor("*")); codeOf(err) != gateway.CodeEvidence || v != nil {
			t.Errorf("%s: %v, %v", what, v, err)
		}
	}
	w.Store.NoReads.Store(false)
}

func open(t testing.TB, w *audittest.World, r *evidence.Record) *evidence.Secret {
	t.Helper()
	identity, err := age.ParseX25519Identity(strings.TrimSpace(w.Identity))
	must(t, err)
	secret, err := evidence.OpenSealed(r, []age.Identity{identity})
	must(t, err)
	return secret
}

// What is not there and what is not the auditor's get the same answer, and leave
// the same record: with what was asked for sealed.
func TestNotFoundIsOneAnswer(t *testing.T) {
	w, clinic, billing, _ := planted(t)
	s, ctx, p := w.Service, t.Context(), audittest.Auditor("clinic")
	unknown := evidence.NewQueryID(w.Logs[1].Writer(), w.Now())
	look := map[string]func(id string) error{
		"query":   func(id string) error { _, err := s.Query(ctx, p, id, audittest.Meta); return err },
		"session": func(id string) error { _, err := s.Session(ctx, p, id, 1, audittest.Meta); return err },
		"record":  func(id string) error { _, err := s.Record(ctx, p, id, audittest.Meta); return err },
	}
	for what, ids := range map[string][]string{
		"query":   {unknown, billing.ID, "", "q_", "q_zzzz", "Mrs Quagmire", strings.Repeat("q", 1<<20), "q_\x00", clinic.Intent},
		"session": {"crew-9", "crew-2", "", "\x00", "../crew-1", strings.Repeat("s", 1<<20)},
		"record": {w.Logs[1].Writer() + ".99999", billing.Outcome, billing.Intent, w.Logs[1].Writer() + ".0", "", "gw-0", "gw-0.1", ".",
			"x.-1", w.Logs[1].Writer() + ".18446744073709551615", w.Logs[1].Writer() + ".1844674407370955161600", "../../x.1", clinic.ID},
	} {
		var first string
		for _, id := range ids {
			before := len(w.Looks())
			err := look[what](id)
			var problem *gateway.Problem
			if !errors.As(err, &problem) || problem.Code != gateway.CodeNotFound || problem.RecordingID == "" {
				t.Fatalf("%s %.40q: %v", what, id, err)
			}
			said := *problem
			said.RecordingID = ""
			text, _ := json.Marshal(said)
			if first == "" {
				first = string(text)
			}
			if string(text) != first {
				t.Errorf("%s %.40q is told apart: %s", what, id, text)
			}
			r := w.Looks()[before]
			if r.QueryID+r.SessionID+r.Connection != "" || r.Data["asked"] == "" || r.Data["asked_"+what] != "" || len(r.Sealed) == 0 {
				t.Errorf("%s %.40q is recorded in clear: %+v", what, id, r)
			}
			if secret := open(t, w, &r); !strings.Contains(secret.Comment, what) {
				t.Errorf("%s %.40q: sealed is %.80q", what, id, secret.Comment)
			}
		}
	}
}

// A look at what some record has in clear is recorded in clear; any other sealed.
func TestWhatWasAskedFor(t *testing.T) {
	w, clinic, _, _ := planted(t)
	s, ctx := w.Service, t.Context()
	last := func() evidence.Record {
		looks := w.Looks()
		return looks[len(looks)-1]
	}
	meta := audittest.Meta
	meta.Origin = "cross-site"
	for _, c := range []struct {
		f     evidence.Filter
		found int
	}{
		{evidence.Filter{Principal: "crew-7"}, 6},
		{evidence.Filter{Patient: "mrn:tok_1", Status: "succeeded"}, 3},
		{evidence.Filter{Principal: "Mrs Quagmire"}, 0},
		{evidence.Filter{Principal: "crew-7", Patient: "Mrs Quagmire"}, 0}, // one of the two is nobody's
	} {
		r, err := s.Search(ctx, audittest.Auditor("*"), index.Query{Filter: c.f}, meta)
		must(t, err)
		look := last()
		text, err := json.Marshal(look)
		must(t, err)
		if len(r.Found) != c.found || look.ID != r.Recorded || look.Data["found"] != strconv.Itoa(c.found) || look.Data["followed_from"] != "cross-site" {
			t.Errorf("%+v: %d found, recorded as %+v", c.f, len(r.Found), look)
		}
		if sealed := len(look.Sealed) > 0; sealed != (c.found == 0) || strings.Contains(string(text), "Quagmire") || !sealed && look.Data["asked_principal"] != c.f.Principal {
			t.Errorf("%+v is recorded as %s", c.f, text)
		}
	}
	c, err := s.Query(ctx, audittest.Auditor("*"), clinic.ID, meta)
	must(t, err)
	if look := last(); look.ID != c.Recorded || look.QueryID != clinic.ID || look.Connection != "clinic" || look.Data["asked_query"] != clinic.ID {
		t.Errorf("recorded as %+v", look)
	}
	w.Pass(time.Second)
	// The next look shows this one; so it does to the connection's own auditor.
	c, err = s.Query(ctx, audittest.Auditor("clinic"), clinic.ID, meta)
	must(t, err)
	if len(c.Records) != 3 || c.Records[2].Type != evidence.TypeRead {
		t.Errorf("the chain has %d records", len(c.Records))
	}
}

// Of a session on several connections each auditor sees his own queries, counted
// and paged as if there were no others.
func TestMixedSession(t *testing.T) {
	w := audittest.New(t, 2)
	var clinic, both []string
	for i := range 2*audit.SessionPage + 5 {
		q := w.Ask(i%2, []string{"clinic", "billing", "lab"}[i%3], "crew-1").ID
		if i%3 == 0 {
			clinic = append(clinic, q)
		}
		if i%3 != 2 {
			both = append(both, q)
		}
	}
	for name, c := range map[string]struct {
		p    *identity.Principal
		want []string
	}{"one": {audittest.Auditor("clinic"), clinic}, "two": {audittest.Auditor("billing", "clinic"), both}} {
		var got []string
		for part, parts := 1, 1; part <= parts; part++ {
			s, err := w.Service.Session(t.Context(), c.p, "crew-1", part, audittest.Meta)
			must(t, err)
			if s.Queries != len(c.want) || s.Page != part || (part == 1) != s.Before.IsZero() {
				t.Errorf("%s: part %d is %d of %d with %d queries, after %v", name, part, s.Page, s.Pages, s.Queries, s.Before)
			}
			parts = s.Pages
			for _, chain := range s.Chains {
				got = append(got, chain.QueryID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %d queries, want %d", name, len(got), len(c.want))
		}
	}
	// Parts that there are not are the nearest ones that there are.
	for part, want := range map[int]int{-1 << 62: 1, 0: 1, 1 << 62: 1} {
		if s, err := w.Service.Session(t.Context(), audittest.Auditor("clinic"), "crew-1", part, audittest.Meta); err != nil || s.Page != want {
			t.Errorf("part %d: %+v %v", part, s, err)
		}
	}
	// A look at a session of several connections is in none's records.
	if _, err := w.Service.Session(t.Context(), audittest.Auditor("billing", "clinic"), "crew-1", 1, audittest.Meta); err != nil {
		t.Fatal(err)
	}
	looks := w.Looks()
	if look := looks[len(looks)-1]; look.Connection != "" || look.SessionID != "crew-1" {
		t.Errorf("recorded in %q: %+v", look.Connection, look)
	}
}

// A query whose records name two connections is shown to auditors of both only.
func TestQueryOfTwoConnections(t *testing.T) {
	w := audittest.New(t, 1)
	q := w.Ask(0, "clinic", "crew-1", func(_, outcome *evidence.Record) { outcome.Connection = "billing" })
	for _, name := range []string{"clinic", "billing"} {
		if _, err := w.Service.Query(t.Context(), audittest.Auditor(name), q.ID, audittest.Meta); codeOf(err) != gateway.CodeNotFound {
			t.Errorf("to the auditor of %s: %v", name, err)
		}
	}
	if c, err := w.Service.Query(t.Context(), audittest.Auditor("billing", "clinic"), q.ID, audittest.Meta); err != nil || len(c.Records) < 2 {
		t.Errorf("%+v %v", c, err)
	}
}

// The bundle that is given is one that verifies, and one is made at a time.
func TestNewBundle(t *testing.T) {
	w, _, _, _ := planted(t)
	until := w.Now()
	w.Pass(time.Second)
	f := evidence.Filter{Since: until.Add(-time.Hour), Until: until, Connection: "billing"}
	body, size, err := w.Service.NewBundle(t.Context(), audittest.Auditor("*"), f, audittest.Meta)
	must(t, err)
	text, err := io.ReadAll(body)
	must(t, errors.Join(err, body.Close()))
	archive, err := zip.NewReader(bytes.NewReader(text), size)
	must(t, err)
	if len(archive.File) < 4 || int64(len(text)) != size {
		t.Errorf("%d files, %d of %d bytes", len(archive.File), len(text), size)
	}
	looks := w.Looks()
	if look := looks[len(looks)-1]; look.Type != evidence.TypeExported || look.Data["asked_connection"] != "billing" || look.Data["since"] == "" || look.Data["bytes"] != strconv.FormatInt(size, 10) {
		t.Errorf("recorded as %+v", look)
	}
	for name, f := range map[string]evidence.Filter{
		"no period": {}, "no end": {Since: until.Add(-time.Hour)}, "no begin": {Until: until}, "backwards": {Since: until, Until: until.Add(-time.Hour)},
		"empty": {Since: until, Until: until}, "not over": {Since: until, Until: w.Now().Add(time.Hour)},
	} {
		if body, _, err := w.Service.NewBundle(t.Context(), audittest.Auditor("*"), f, audittest.Meta); body != nil || codeOf(err) != gateway.CodeMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := os.ReadDir(w.Temp)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left on disk: %v", left)
	}
	// A filter that nobody's record has is sealed.
	f.Connection = "Mrs Quagmire"
	body, _, err = w.Service.NewBundle(t.Context(), audittest.Auditor("*"), f, audittest.Meta)
	must(t, err)
	must(t, body.Close())
	looks = w.Looks()
	if text, _ := json.Marshal(looks[len(looks)-1]); strings.Contains(string(text), "Quagmire") || len(looks[len(looks)-1].Sealed) == 0 {
		t.Errorf("recorded as %s", text)
	}
}
