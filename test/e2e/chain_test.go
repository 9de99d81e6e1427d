package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// story are the records of one query, in order.
type story []evidence.Record

// chain gives a query's records once every lease of it is recorded as revoked.
func (g *gatewayProcess) chain(t *testing.T, id string) story {
	t.Helper()
	var all story
	eventually(t, 20*time.Second, "every lease is recorded as revoked", func() bool {
		all = g.records(t, id)
		issued, revoked := all.of(evidence.TypeLeaseIssued), all.of(evidence.TypeLeaseRevoked)
		return len(issued) > 0 && len(revoked) == len(issued)
	})
	return all
}

func (s story) of(kind evidence.Type) (list story) {
	for _, r := range s {
		if r.Type == kind {
			list = append(list, r)
		}
	}
	return list
}

// types are the kinds of records in order, without those that are written off the
// response path and may come anywhere after their cause.
func (s story) types() string {
	var words []string
	for _, r := range s {
		if r.Type != evidence.TypeLeaseIssued && r.Type != evidence.TypeLeaseRevoked {
			words = append(words, string(r.Type))
		}
	}
	return strings.Join(words, " ")
}

// fields checks named facts of one record.
func fields(t *testing.T, what string, facts map[string]bool) {
	t.Helper()
	for name, ok := range facts {
		if !ok {
			t.Errorf("%s: %s", what, name)
		}
	}
}

// wantActor checks who did something: the token's own words.
func wantActor(t *testing.T, r *evidence.Record, subject, issuer string) {
	t.Helper()
	a := r.Actor
	if a == nil {
		t.Errorf("%s: nobody did it", r.Type)
		return
	}
	fields(t, string(r.Type), map[string]bool{
		"actor " + a.Subject: a.Subject == subject, "issuer " + a.Issuer: a.Issuer == issuer, "name": a.Name != "",
		"auth_time": a.AuthTime != nil && time.Since(*a.AuthTime) < time.Hour, "address": strings.HasPrefix(a.RemoteAddr, "127.0.0.1:"),
	})
}

// wantRun checks an execution: its lease from issue to end, and the outcome.
func (g *gatewayProcess) wantRun(t *testing.T, all story, issued, outcome *evidence.Record, status string) {
	t.Helper()
	l, res := issued.Lease, outcome.Result
	if l == nil || res == nil || outcome.Lease == nil {
		t.Fatalf("a record without its part: %+v %+v", issued, outcome)
	}
	connection := outcome.Connection
	fields(t, "lease", map[string]bool{
		"id " + l.ID: strings.HasPrefix(l.ID, "database/creds/"+connection+"-ro/"), "user " + l.Username: l.Username != "",
		"access " + l.Access: l.Access == "ro", "issued": !l.IssuedAt.IsZero() && !l.IssuedAt.After(time.Now()),
		"expires": l.ExpiresAt.After(l.IssuedAt), "connection": issued.Connection == connection,
		"the outcome's": outcome.Lease.ID == l.ID && outcome.Lease.Username == l.Username,
		"query":         issued.QueryID == outcome.QueryID, "session": issued.SessionID == outcome.SessionID,
	})
	if !g.env.databaseLog(t, connection).names(l.Username) {
		t.Errorf("the database never saw the user %s", l.Username)
	}
	ended := false
	for _, r := range all.of(evidence.TypeLeaseRevoked) {
		if r.Lease != nil && r.Lease.ID == l.ID {
			ended = true
			fields(t, "revoked", map[string]bool{"user": r.Lease.Username == l.Username, "access": r.Lease.Access == "ro",
				"after issue": r.Time.After(l.IssuedAt), "without a note": r.Note == "", "connection": r.Connection == connection})
		}
	}
	fields(t, "outcome", map[string]bool{
		"lease revoked": ended, "status " + res.Status: res.Status == status && outcome.Status == status,
		"database session": res.SessionDB != "",
	})
}

// wantAnswer checks what was released of the two patients.
func wantAnswer(t *testing.T, outcome *evidence.Record, released answer) {
	t.Helper()
	res := outcome.Result
	if res.Started == nil || res.Ended == nil {
		t.Fatalf("no times: %+v", res)
	}
	fields(t, "outcome", map[string]bool{
		"start": !res.Started.IsZero(), "end": !res.Ended.Before(*res.Started) && !res.Ended.After(outcome.Time.Add(time.Second)),
		"command " + res.Command: res.Command == "SELECT", "sqlstate " + res.SQLState: res.SQLState == "",
		"problem": len(res.Problem) == 0, "affected": res.Affected == -1,
		"rows are those released":           sameJSON(t, res.Rows, released.body["rows"]),
		"columns are those released":        sameJSON(t, res.Columns, released.body["columns"]),
		"count":                             float64(res.RowCount) == released.body["row_count"],
		"recording":                         released.str("recording_id") == outcome.ID,
		"relations":                         slices.ContainsFunc(outcome.Relations, func(s string) bool { return strings.HasSuffix(s, ".patients") }),
		"a masked column says by what mask": strings.Contains(string(res.Columns), `"masked":true,"mask":"`),
		"uses name the column and its class": strings.Contains(string(outcome.Statement.Uses), `last_name`) &&
			strings.Contains(string(outcome.Statement.Uses), `"class"`),
	})
	var masked int64
	for _, n := range res.Masks {
		masked += n
	}
	if masked < res.RowCount {
		t.Errorf("%d masked cells in %d rows", masked, res.RowCount)
	}
}

func sameJSON(t *testing.T, raw json.RawMessage, want any) bool {
	t.Helper()
	var got any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Errorf("%s: %v", raw, err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	return string(a) == string(b)
}

// wantDecision checks what was decided and by what.
func (g *gatewayProcess) wantDecision(t *testing.T, r *evidence.Record, effect string, estimated bool) {
	t.Helper()
	d := r.Decision
	if d == nil {
		t.Fatalf("%s: no decision", r.Type)
	}
	fields(t, string(r.Type), map[string]bool{
		"effect " + d.Effect: d.Effect == effect && r.Effect == effect, "rules": len(d.Rules) > 0, "catalog": d.Catalog != "",
		"policy version": d.PolicyVersion != "" && d.PolicyVersion == g.policyOf(t, r.Writer),
		"estimate":       (len(d.Estimate) > 0) == estimated, "message": effect == "allow" || d.Message != "",
		"normalized":  r.Statement.Normalized != "" && !strings.Contains(r.Statement.Normalized, "4711"),
		"fingerprint": r.Statement.Fingerprint != "", "binding": len(r.Statement.SHA256) == 64, "kind": r.Statement.Kind == "select",
	})
}

// policyOf is the version that a writer said it decides by, before it served.
func (g *gatewayProcess) policyOf(t *testing.T, writer string) string {
	t.Helper()
	for _, r := range g.ofType(t, evidence.TypePolicyLoaded) {
		if r.Writer == writer {
			return r.Data["policy"]
		}
	}
	t.Errorf("%s did not say by which rules it decides", writer)
	return ""
}

// ofType gives every record of a kind.
func (g *gatewayProcess) ofType(t *testing.T, kind evidence.Type) (list story) {
	t.Helper()
	err := g.reader(t).Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		if r.Type == kind {
			list = append(list, *r)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantSecret opens the sealed part as the auditor does.
func (g *gatewayProcess) wantSecret(t *testing.T, r *evidence.Record, statement, parameter string) {
	t.Helper()
	out := g.cli(t, 0, "evidence", "open", "--config", g.config, "--identity", g.auditor, r.ID)
	var s evidence.Secret
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fields(t, "sealed part", map[string]bool{"statement": s.Statement == statement, "rewritten": s.Rewritten != "" && s.Rewritten != statement,
		"parameters": strings.Contains(string(s.Parameters), parameter), "reason": s.Reason == "chain test 4711", "salt": len(s.Salt) == 32})
}

// lookUp is a statement that runs without anybody's approval.
func lookUp(connection string) query {
	marker := map[string]string{"clinic": "$1", "billing": "?"}[connection]
	q := ask(connection, "SELECT id, last_name, zip FROM patients WHERE id < "+marker+" ORDER BY id", 3)
	q["session_id"], q["purpose_of_use"], q["reason"] = "chain-"+connection, "TREAT", "chain test 4711"
	return q
}

// TestPromise5_ChainOfAQuery: the records of one query, read by its identifier
// alone, tell all of it, for a query that runs at once and for one that waits for
// a person, on both engines.
func TestPromise5_ChainOfAQuery(t *testing.T) {
	g := mainGateway(t)
	issuer := g.env.provider.Issuer()
	for _, connection := range []string{"clinic", "billing"} {
		t.Run(connection+" direct", func(t *testing.T) {
			q := lookUp(connection)
			a := must(t, g.query(t, q), 200)
			all := g.chain(t, a.str("query_id"))
			if all.types() != "query.intent query.outcome" {
				t.Fatalf("records: %s", all.types())
			}
			intent, outcome := &all.of(evidence.TypeIntent)[0], &all.of(evidence.TypeOutcome)[0]
			for _, r := range []*evidence.Record{intent, outcome} {
				wantActor(t, r, "crew", issuer)
				fields(t, string(r.Type), map[string]bool{"session": r.SessionID == "chain-"+connection, "purpose": r.PurposeOfUse == "TREAT",
					"request": r.RequestID != "", "connection": r.Connection == connection, "transport": r.Data["transport"] == "rest",
					"no approver": len(r.Approvers) == 0})
			}
			g.wantDecision(t, intent, "allow", false)
			g.wantDecision(t, outcome, "allow", true)
			g.wantRun(t, all, &all.of(evidence.TypeLeaseIssued)[0], outcome, "succeeded")
			wantAnswer(t, outcome, a)
			g.wantSecret(t, intent, q["statement"].(string), "3")
		})
		t.Run(connection+" approved", func(t *testing.T) {
			q := bulk(connection)
			q["session_id"], q["purpose_of_use"], q["reason"], q["row_limit"] = "chain-"+connection, "TREAT", "chain test 4711", 7
			id := g.pending(t, q)
			must(t, call(t, g.url, "GET", "/v1/approvals/"+id, g.env.approver, nil), 200)
			must(t, g.decide(t, g.env.approver, id, "approve"), 200)
			a := must(t, g.claim(t, id), 200)
			all := g.chain(t, id)
			const want = "query.intent approval.requested approval.viewed approval.decided query.intent approval.claimed query.outcome"
			if all.types() != want {
				t.Fatalf("records: %s\n   want: %s", all.types(), want)
			}
			requested, viewed, decided := &all.of(evidence.TypeApprovalRequested)[0], &all.of(evidence.TypeApprovalViewed)[0], &all.of(evidence.TypeApprovalDecided)[0]
			claimed, outcome := &all.of(evidence.TypeApprovalClaimed)[0], &all.of(evidence.TypeOutcome)[0]
			binding := requested.Statement.SHA256
			nurse := issuer + "#nurse"
			for _, r := range []*evidence.Record{requested, claimed, outcome} {
				wantActor(t, r, "crew", issuer)
			}
			wantActor(t, viewed, "nurse", issuer)
			wantActor(t, decided, "nurse", issuer)
			for _, r := range all {
				if r.Statement != nil && r.Type != evidence.TypeIntent && r.Statement.SHA256 != binding {
					t.Errorf("%s is bound to another statement", r.Type)
				}
			}
			fields(t, "approval", map[string]bool{
				"rule": requested.Approval.Rule == requested.Decision.Rules[0], "expires": requested.Approval.ExpiresAt != nil,
				"status":                    requested.Status == "pending_approval",
				"decided":                   decided.Effect == "approve" && decided.Approval.Decision == "approve",
				"claimed on whose approval": slices.Equal(claimed.Approval.Approvers, []string{nurse}),
				"ran on whose approval":     slices.Equal(outcome.Approvers, []string{nurse}),
				"the binding is the 202's":  binding != "",
			})
			g.wantDecision(t, requested, "approve", true)
			g.wantDecision(t, outcome, "approve", true)
			second := all.of(evidence.TypeIntent)[1]
			if !slices.Equal(second.Approvers, []string{nurse}) {
				t.Errorf("the second intent relies on %v", second.Approvers)
			}
			leases := all.of(evidence.TypeLeaseIssued)
			if len(leases) != 2 || leases[0].Lease.ID == leases[1].Lease.ID {
				t.Fatalf("%d leases", len(leases))
			}
			g.wantRun(t, all, &leases[1], outcome, "succeeded")
			wantAnswer(t, outcome, a)
			g.wantSecret(t, &second, q["statement"].(string), "")
		})
		t.Run(connection+" failed", func(t *testing.T) {
			q := ask(connection, "SELECT (SELECT id FROM medications) AS one")
			a := problem(t, g.query(t, q), 422, "")
			all := g.chain(t, a.str("query_id"))
			if all.types() != "query.intent query.outcome" {
				t.Fatalf("records: %s", all.types())
			}
			outcome := &all.of(evidence.TypeOutcome)[0]
			g.wantRun(t, all, &all.of(evidence.TypeLeaseIssued)[0], outcome, "failed")
			res := outcome.Result
			fields(t, "failure", map[string]bool{"sqlstate " + res.SQLState: res.SQLState == "21000" && a.str("sqlstate") == "21000",
				"code": res.Code == a.str("code"), "no rows": len(res.Rows) == 0, "what was told": strings.Contains(string(res.Problem), res.Code),
				"started and ended": res.Started != nil && res.Ended != nil && !res.Ended.Before(*res.Started)})
		})
		t.Run(connection+" denied", func(t *testing.T) {
			a := problem(t, g.query(t, ask(connection, "DROP TABLE patients")), 403, "denied_by_policy")
			all := story(g.records(t, a.str("query_id")))
			if all.types() != "query.outcome" || all[0].Lease != nil || len(all.of(evidence.TypeLeaseIssued)) > 0 || all[0].Status == "succeeded" {
				t.Errorf("records: %s", all.types())
			}
		})
	}
}

// TestPromise5_FailedSignIns: who could not be recognised is recorded, with why.
func TestPromise5_FailedSignIns(t *testing.T) {
	g := freshGateway(t, false, false)
	bad := 0
	for _, token := range g.env.badTokens(t) {
		if bad++; bad > 5 {
			break // they are recorded at a bounded rate
		}
		if a := g.queryAs(t, token, lookUp("clinic")); a.status != 401 {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	page, err := http.Get(g.url + "/login/callback?code=x&state=y")
	if err != nil {
		t.Fatal(err)
	}
	if page.Body.Close(); page.StatusCode != http.StatusUnauthorized {
		t.Fatalf("signed in out of nothing: %d", page.StatusCode)
	}
	seen := map[string]int{}
	eventually(t, 10*time.Second, "failed sign-ins are recorded", func() bool {
		clear(seen)
		for _, r := range g.ofType(t, evidence.TypeAuthFailed) {
			if r.Data["why"] == "" || r.Actor == nil || r.Actor.RemoteAddr == "" || r.Result.Code != "unauthenticated" {
				t.Errorf("%+v", r)
			}
			seen[r.Data["transport"]]++
		}
		return seen["rest"] > 1 && seen["page"] == 1
	})
}

// TestPromise5_ConfigurationChanges: what a writer runs with is recorded before it
// serves, and what differs from the writer before, by name.
func TestPromise5_ConfigurationChanges(t *testing.T) {
	g := freshGateway(t, false, false)
	g.stop()
	text := string(read(t, g.config))
	text = strings.Replace(text, "limits: {max_timeout: 60s}", `limits: {max_timeout: 61s}
policy:
  rules:
    - {name: no-tuesdays, effect: deny, when: 'connection.name == "none"', message: "Not today, 4711."}`, 1)
	text = strings.Replace(text, "description: The synthetic clinic, on MariaDB", "description: The clinic", 1)
	token := g.config[:len(g.config)-len("chaperone.yaml")] + "token.key"
	change(t, token, func([]byte) []byte { return []byte(strings.Repeat("ab", 32)) })
	change(t, g.config, func([]byte) []byte { return []byte(text) })
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	loaded := g.ofType(t, evidence.TypeConfigLoaded)
	rules := g.ofType(t, evidence.TypePolicyLoaded)
	changed := g.ofType(t, evidence.TypeConfigChanged)
	keys := g.ofType(t, evidence.TypeKeysChanged)
	if len(loaded) != 2 || len(rules) != 2 || len(changed) != 1 || len(keys) != 1 {
		t.Fatalf("%d loaded, %d rules, %d changed, %d keys", len(loaded), len(rules), len(changed), len(keys))
	}
	fields(t, "changes", map[string]bool{
		"config digest":  loaded[0].Data["config"] != loaded[1].Data["config"] && loaded[0].Data["config"] != "",
		"parts":          changed[0].Data["changed"] == "connection.billing,limits" && changed[0].Data["added"] == "",
		"predecessor":    changed[0].Data["predecessor"] == loaded[0].Writer && keys[0].Data["predecessor"] == loaded[0].Writer,
		"policy version": rules[0].Data["policy"] != rules[1].Data["policy"],
		"rule":           rules[1].Data["added"] == "no-tuesdays" && rules[1].Data["removed"] == "" && rules[1].Data["changed"] == "",
		"token key": keys[0].Data["tokens.from"] == loaded[0].Data["key.tokens"] && keys[0].Data["tokens.to"] == loaded[1].Data["key.tokens"] &&
			keys[0].Data["signing.from"] == "" && len(keys[0].Data) == 3,
	})
	t.Logf("%v %v %v", changed[0].Data, rules[1].Data["added"], keys[0].Data)
	for _, r := range append(append(append(loaded, rules...), changed...), keys...) {
		clear, err := json.Marshal(r.Data)
		if err != nil || strings.Contains(string(clear), "4711") || strings.Contains(string(clear), "abab") || strings.Contains(string(clear), "file") {
			t.Errorf("the clear part tells too much: %s", clear)
		}
	}
	for _, r := range []evidence.Record{loaded[1], rules[1]} {
		out := g.cli(t, 0, "evidence", "open", "--config", g.config, "--identity", g.auditor, r.ID)
		if !strings.Contains(out, "4711") || strings.Contains(out, "abababab") {
			t.Errorf("%s: the sealed text is not the configuration, or holds a key: %.300s", r.Type, out)
		}
	}
	g.cli(t, 0, "evidence", "verify", "--config", g.config)
}
