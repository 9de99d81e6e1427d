package report

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

var day = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

const (
	gw1 = "gw-1-mi5a0b1c2-0123abcd"
	gw2 = "gw-2-mi5a0b1c3-4567efgh"
)

// story makes records of a day as gateways write them.
type story struct {
	records []*evidence.Record
	next    map[string]uint64
	queries int
}

func (s *story) add(writer string, at time.Duration, r *evidence.Record) *evidence.Record {
	if s.next == nil {
		s.next = make(map[string]uint64)
	}
	r.Writer, r.Sequence, r.Time = writer, s.next[writer], day.Add(at)
	r.ID = fmt.Sprintf("%s.%d", writer, r.Sequence)
	s.next[writer]++
	// What the log derives (evidence.Record).
	if r.Decision != nil {
		r.Effect = r.Decision.Effect
	}
	if r.Result != nil {
		r.Status = r.Result.Status
	}
	if r.Approval != nil && r.Effect == "" {
		r.Effect = r.Approval.Decision
	}
	s.records = append(s.records, r)
	return r
}

// asked is a query to be told; done tells it.
type asked struct {
	s       *story
	base    evidence.Record
	writer  string
	at      time.Duration
	leaseID string
}

var crew = &evidence.Actor{Issuer: "https://idp.example", Subject: "crew-7", Name: "Chart review crew", ClientID: "crew", OnBehalfOf: "dr-lee"}

func (s *story) ask(writer string, at time.Duration, who *evidence.Actor, purpose string, tables ...string) *asked {
	s.queries++
	id := fmt.Sprintf("q_%032d", s.queries)
	return &asked{s: s, writer: writer, at: at, leaseID: "lease-" + id, base: evidence.Record{QueryID: id, SessionID: "session-1", Connection: "clinic",
		Actor: who, PurposeOfUse: purpose, Relations: tables, Decision: &evidence.Decision{Effect: "allow", Rules: []string{"read"}},
		Statement: &evidence.Statement{SHA256: "00", Normalized: "SELECT canary_statement"}}}
}

func (q *asked) record(kind evidence.Type, after time.Duration) *evidence.Record {
	r := q.base
	r.Type = kind
	return q.s.add(q.writer, q.at+after, &r)
}

func (q *asked) intent() *asked { q.record(evidence.TypeIntent, 0); return q }

func (q *asked) lease() *asked {
	q.s.add(q.writer, q.at, &evidence.Record{Type: evidence.TypeLeaseIssued, QueryID: q.base.QueryID, Connection: q.base.Connection,
		Lease: &evidence.Lease{ID: q.leaseID, Username: "v-" + q.base.QueryID[30:]}})
	return q
}

func (q *asked) revoked(after time.Duration, note string) *asked {
	q.s.add(q.writer, q.at+after, &evidence.Record{Type: evidence.TypeLeaseRevoked, QueryID: q.base.QueryID, Connection: q.base.Connection,
		Lease: &evidence.Lease{ID: q.leaseID}, Note: note})
	return q
}

func (q *asked) ends(after time.Duration, result *evidence.Result) *asked {
	q.base.Result = result
	q.record(evidence.TypeOutcome, after)
	q.base.Result = nil
	return q
}

func (q *asked) denied(rule string) *asked {
	q.base.Decision = &evidence.Decision{Effect: "deny", Rules: []string{rule}, Message: "canary_message"}
	return q.ends(0, &evidence.Result{Status: "denied", Code: "denied", Affected: -1, Problem: []byte(`{"detail":"canary_problem"}`)})
}

func (q *asked) pends(rule string, expires time.Duration) *asked {
	until := day.Add(expires)
	q.base.Decision = &evidence.Decision{Effect: "approve", Rules: []string{rule}}
	r := q.base
	r.Type, r.Approval = evidence.TypeApprovalRequested, &evidence.Approval{Rule: rule, ExpiresAt: &until}
	r.Result = &evidence.Result{Status: "pending_approval", Affected: -1}
	q.s.add(q.writer, q.at, &r)
	return q
}

func (q *asked) step(kind evidence.Type, after time.Duration, who *evidence.Actor, a *evidence.Approval) *asked {
	q.s.add(q.writer, q.at+after, &evidence.Record{Type: kind, QueryID: q.base.QueryID, SessionID: q.base.SessionID, Connection: q.base.Connection,
		Actor: who, Relations: q.base.Relations, Approval: a})
	return q
}

func approver(name, subject string) *evidence.Actor {
	at := day.Add(7 * time.Hour)
	return &evidence.Actor{Issuer: "https://idp.example", Subject: subject, Name: name, AuthTime: &at}
}

func (q *asked) decides(after time.Duration, who *evidence.Actor, verdict string) *asked {
	return q.step(evidence.TypeApprovalDecided, after, who, &evidence.Approval{Decision: verdict})
}

func rows(n, masked int64) *evidence.Result {
	return &evidence.Result{Status: "succeeded", RowCount: n, Affected: -1, Masks: map[string]int64{"redact": masked},
		Rows: []byte(`[["canary_row"]]`), Columns: []byte(`[{"name":"canary_column"}]`), Notes: []string{"canary_note"}}
}

// aDay is a day with one of everything.
func aDay() *story {
	s := &story{}
	nurse := approver("Nurse Joy", "nurse")
	lee := &evidence.Actor{Issuer: "https://idp.example", Subject: "dr-lee", Name: "Dr Lee"}
	s.add(gw1, 0, &evidence.Record{Type: evidence.TypeWriterStarted, Data: map[string]string{"version": "1.4.0"}})
	s.add(gw1, time.Second, &evidence.Record{Type: evidence.TypeConfigLoaded, Data: map[string]string{"config": "abc"}})
	s.add(gw1, time.Second, &evidence.Record{Type: evidence.TypePolicyLoaded, Data: map[string]string{"policy": "v2", "added": "night-shift", "changed": "bulk-export"}})
	s.add(gw1, time.Second, &evidence.Record{Type: evidence.TypeConfigChanged, Data: map[string]string{"changed": "connection.clinic,limits"}, Note: "canary_note"})
	s.add(gw1, time.Second, &evidence.Record{Type: evidence.TypeKeysChanged, Data: map[string]string{"signing.from": "a", "signing.to": "b"}})
	s.add(gw2, time.Minute, &evidence.Record{Type: evidence.TypeWriterStarted, Data: map[string]string{"version": "1.4.0"}})
	for hour := 6; hour < 22; hour++ {
		for i := range 1 + (hour*7)%5 {
			q := s.ask(gw1, time.Duration(hour)*time.Hour+time.Duration(i)*time.Minute, crew, "TREAT", "public.patients", "public.encounters")
			q.base.Patients = []string{fmt.Sprintf("mrn:tok_%d", i)}
			q.intent().lease().ends(2*time.Second, rows(20, 80)).revoked(3*time.Second, "")
		}
	}
	s.ask(gw2, 8*time.Hour, lee, "HPAYMT", "public.claims").intent().lease().ends(time.Second, rows(3, 0)).revoked(2*time.Second, "")
	s.ask(gw2, 9*time.Hour, crew, "HOPERAT", "public.patients").denied("no-ddl")
	s.ask(gw2, 9*time.Hour+time.Minute, crew, "", "public.patients").ends(0, &evidence.Result{Status: "refused", Code: "syntax", Affected: -1})
	s.ask(gw2, 9*time.Hour+2*time.Minute, crew, "TREAT", "public.patients").intent().lease().ends(time.Second,
		&evidence.Result{Status: "failed", Code: "timeout", Affected: -1}).revoked(2*time.Second, "it could not be revoked")
	s.ask(gw2, 9*time.Hour+3*time.Minute, crew, "TREAT", "public.patients").intent().lease().ends(time.Second, &evidence.Result{Status: "dry_run", Affected: -1}).
		revoked(time.Second, "")
	found := rows(2, 1)
	found.Detected = map[string]int64{"ssn": 2, "email": 1}
	s.ask(gw2, 10*time.Hour, crew, "TREAT", "public.notes").intent().lease().ends(time.Second, found).revoked(2*time.Second, "")
	s.ask(gw2, 10*time.Hour+time.Minute, crew, "TREAT", "public.notes").intent().lease().ends(time.Second, rows(4000, 9000)).revoked(2*time.Second, "")
	// Approvals: ran, denied, waiting, expired, withdrawn, approved and not run.
	q := s.ask(gw1, 11*time.Hour, crew, "HOPERAT", "public.patients").pends("bulk-export", 12*time.Hour)
	q.step(evidence.TypeApprovalViewed, 4*time.Minute, nurse, nil).decides(5*time.Minute, nurse, "approve")
	q.at, q.writer = q.at+10*time.Minute, gw2
	q.intent().lease().step(evidence.TypeApprovalClaimed, time.Second, crew, &evidence.Approval{Approvers: []string{nurse.Key()}})
	q.base.Approvers = []string{nurse.Key()}
	q.ends(3*time.Second, rows(5000, 10000)).revoked(4*time.Second, "")
	s.ask(gw1, 12*time.Hour, crew, "HRESCH", "public.patients").pends("bulk-export", 13*time.Hour).decides(3*time.Minute, approver("Priya Officer", "priya"), "deny")
	s.ask(gw1, 23*time.Hour, crew, "HOPERAT", "public.claims").pends("write", 25*time.Hour)
	s.ask(gw1, 13*time.Hour, crew, "HOPERAT", "public.claims").pends("write", 14*time.Hour)
	s.ask(gw1, 14*time.Hour, crew, "HOPERAT", "public.claims").pends("write", 15*time.Hour).step(evidence.TypeApprovalCancelled, time.Minute, crew, nil)
	s.ask(gw1, 15*time.Hour, crew, "HOPERAT", "public.claims").pends("write", 25*time.Hour).decides(time.Minute, nurse, "approve")
	// Break the glass, by purpose and by rule.
	s.ask(gw1, 3*time.Hour, lee, "BTG", "public.patients").intent().lease().ends(time.Second, rows(1, 0)).revoked(2*time.Second, "")
	glass := s.ask(gw1, 4*time.Hour, lee, "TREAT", "public.patients")
	glass.base.Decision = &evidence.Decision{Effect: "allow", Rules: []string{"night-break-glass"}}
	glass.intent().lease().ends(time.Second, rows(1, 0)).revoked(2*time.Second, "")
	// Without an end, and interrupted.
	s.ask(gw1, 20*time.Hour, crew, "TREAT", "public.patients").intent().lease()
	left := s.ask(gw1, 20*time.Hour+time.Minute, crew, "TREAT", "public.patients").intent()
	s.add(gw2, 21*time.Hour, &evidence.Record{Type: evidence.TypeRecovered, QueryID: left.base.QueryID, Connection: "clinic", Note: "interrupted"})
	s.add(gw2, 21*time.Hour, &evidence.Record{Type: evidence.TypeRecovered, Note: "the predecessor left 1 lease"})
	// Refused at the door.
	s.add(gw2, 16*time.Hour, &evidence.Record{Type: evidence.TypeAuthFailed, Actor: &evidence.Actor{RemoteAddr: "203.0.113.9"},
		Data: map[string]string{"why": "The token has expired.", "transport": "rest"}, Result: &evidence.Result{Status: "refused", Code: "unauthenticated"}})
	s.add(gw2, 16*time.Hour+time.Minute, &evidence.Record{Type: evidence.TypeAuthFailed, Actor: &evidence.Actor{RemoteAddr: "203.0.113.9"},
		Data: map[string]string{"why": "The token has expired.", "left_out_before": "41"}, Result: &evidence.Result{Status: "refused", Code: "unauthenticated"}})
	s.add(gw2, 17*time.Hour, &evidence.Record{Type: evidence.TypeRejected, Actor: nurse, Result: &evidence.Result{Status: "refused", Code: "forbidden"}})
	s.add(gw2, 17*time.Hour, &evidence.Record{Type: evidence.TypeRejected, Actor: crew, Result: &evidence.Result{Status: "refused", Code: "malformed"}})
	audrey := approver("Audrey the auditor", "auditor")
	for i := range 3 {
		s.add(gw1, 18*time.Hour+time.Duration(i)*time.Minute, &evidence.Record{Type: evidence.TypeRead, Actor: audrey, Data: map[string]string{"what": "search", "asked": "sealed"}})
	}
	s.add(gw1, 19*time.Hour, &evidence.Record{Type: evidence.TypeExported, Actor: audrey, Data: map[string]string{"what": "new bundle"}})
	s.add(gw1, 19*time.Hour, &evidence.Record{Type: evidence.TypeBundled, Data: map[string]string{"object": "bundles/2026/11/23.zip"}})
	s.add(gw1, 19*time.Hour, &evidence.Record{Type: "glass.reviewed", Actor: audrey})
	s.add(gw1, 19*time.Hour, &evidence.Record{Type: evidence.TypeHeartbeat})
	s.add(gw1, 19*time.Hour, &evidence.Record{Type: evidence.TypeObserved})
	s.add(gw2, 23*time.Hour, &evidence.Record{Type: evidence.TypeWriterClosed})
	return s
}

// content is a bundle of the story's records.
func (s *story) content(f *evidence.Filter) *bundle.Content {
	m := &evidence.Manifest{Since: day, Until: day.Add(24 * time.Hour), Created: day.Add(24*time.Hour + 10*time.Minute),
		Maker: "gateway gw-1, version 1.4.0", Filter: f, Runs: map[string]evidence.Run{gw1: {To: 40, Size: 100}, gw2: {To: 30, Size: 60}}}
	all := func(yield func(*evidence.Record) bool) error {
		for _, r := range s.records {
			if !yield(r) {
				return nil
			}
		}
		return nil
	}
	slices.SortStableFunc(s.records, func(a, b *evidence.Record) int { return a.Time.Compare(b.Time) })
	n := int64(len(s.records))
	return &bundle.Content{Manifest: m, Report: &evidence.Report{Records: n, Segments: 70, Writers: 2}, Entries: all,
		Records: func(yield func(*evidence.Record) bool) error {
			matched := map[string]bool{}
			for _, r := range s.records {
				if f == nil || f.Matches(r) {
					matched[r.QueryID] = r.QueryID != ""
				}
			}
			return all(func(r *evidence.Record) bool { return f != nil && !f.Matches(r) && !matched[r.QueryID] || yield(r) })
		}}
}

func (s *story) collect(t testing.TB, f *evidence.Filter) *collector {
	t.Helper()
	c, err := collect(s.content(f))
	must(t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
