package export

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// sample is a record and what it shows.
type sample struct {
	name   string
	record *evidence.Record
}

const (
	canary = "CANARY-4711-Mustermann"
	writer = "gw-1-0mk3x2a1b-0123abcd"
)

var at = time.Date(2026, 11, 24, 8, 30, 0, 123456789, time.UTC)

// full is a record of a type with every field set. What must not leave holds the
// canary.
func full(kind evidence.Type) *evidence.Record {
	began, ended, auth, expires := at, at.Add(40*time.Millisecond), at.Add(-time.Hour), at.Add(time.Minute)
	hidden := json.RawMessage(`["` + canary + `"]`)
	return &evidence.Record{
		ID: writer + ".42", Writer: writer, Sequence: 42, Time: at, Type: kind,
		QueryID: "q_0mk3x2a1b0123abcdefghijklmnopqrs", SessionID: "crew-run-77", RequestID: "req-9", Connection: "clinic",
		Actor: &evidence.Actor{Subject: "agent-7", Issuer: "https://idp.example", ClientID: "crew", OnBehalfOf: "dr-adams",
			Name: "Triage agent", AuthTime: &auth, RemoteAddr: "10.0.0.7:50412"},
		PurposeOfUse: "TREAT", Relations: []string{"public.patients", "public.encounters"}, Patients: []string{"mrn:tok_5f2c"},
		Effect: "approve", Approvers: []string{"https://idp.example#dr-baker"}, Status: "succeeded",
		Observed: []evidence.Observation{{Writer: "gw-2-0mk3x2a1b-0123abcd", Announcement: canary, Checkpoint: canary}},
		Statement: &evidence.Statement{SHA256: strings.Repeat("ab", 32), Kind: "select", Fingerprint: "0123456789abcdef",
			Normalized: "SELECT last_name FROM patients WHERE mrn = $1", Parameters: 1, Relations: hidden, Uses: hidden,
			Functions: hidden, Writes: hidden},
		Decision: &evidence.Decision{Effect: "approve", Rules: []string{"bulk-export", "night"}, Message: canary, PolicyVersion: "v7",
			Catalog: canary, Estimate: hidden},
		Lease: &evidence.Lease{ID: "database/creds/clinic_ro/abc", Username: "v-clinic-ro-abc", Access: "read_only",
			IssuedAt: at, ExpiresAt: expires},
		Result: &evidence.Result{Status: "succeeded", Code: "denied_by_policy", SQLState: "42501", SessionDB: "811", Started: &began,
			Ended: &ended, Command: "SELECT", RowCount: 20, Affected: -1, Truncated: "rows", Masks: map[string]int64{"redact": 40, "year": 2},
			Detected: map[string]int64{"ssn": 1}, Columns: hidden, Rows: hidden, Notes: []string{canary}, Problem: hidden, TransactionID: "77"},
		Approval: &evidence.Approval{Decision: "approve", Rule: "bulk-export", ExpiresAt: &expires, Approvers: []string{"https://idp.example#dr-baker"}},
		Note:     canary, Sealed: []byte(canary), Object: canary,
		Data: map[string]string{"transport": "http", "what": "search", "asked_patient": "mrn:tok_5f2c", "object": "bundles/2026/11/23.zip",
			"signing.from": "gw+01", "followed_from": canary, "surprise": canary, "why": "The token is invalid: it expired.",
			"asked": "sealed: no record has it"},
		Secret: &evidence.Secret{Statement: canary, Rewritten: canary, Parameters: hidden, Reason: canary, Comment: canary, Salt: canary,
			Document: hidden},
	}
}

// withheld is what a bundle leaves of a record.
func withheld(kind evidence.Type) *evidence.Record {
	r := full(kind)
	r.Statement, r.Decision, r.Lease, r.Result, r.Approval, r.Note, r.Data, r.Sealed, r.Secret = nil, nil, nil, nil, nil, "", nil, nil, nil
	r.Withheld = true
	return r
}

// futureType is of a gateway that is newer than this program.
const futureType evidence.Type = "quantum.entangled"

// types are all types and one that is not known, in order.
func types() []evidence.Type {
	list := append(evidence.Types(), futureType)
	slices.Sort(list)
	return list
}

// hostile are texts that somebody may put into any field.
var hostile = []string{
	"", " ", "\x00\x01\t\r\n\x1f\x7f\u0085", "\xff\xfe\xc3(", "\xed\xa0\x80\xed\xbf\xbf", "=cmd|' /C calc'!A0", "\t=1+1", "\r@SUM(A1)",
	" \u00a0\"'=1+1", "\ufeff\u200b\u202e+1", "＝1+1", "a;=1+1;\t-2", "-2+3\n=4", "\u2028\u2029\ufffe\U0010ffff", `{"a":"b"}</script>\u0000\`,
	"two  spaces", strings.Repeat("ü", 1<<20), strings.Repeat("=", 40000),
}

// filled is a record in which every text, in whatever depth, is s, every number n
// and every time t.
func filled(kind evidence.Type, s string, n int64, t time.Time) *evidence.Record {
	r := full(kind)
	fill(reflect.ValueOf(r).Elem(), s, n, t)
	r.Type = kind
	return r
}

func fill(v reflect.Value, s string, n int64, t time.Time) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(t))
		return
	case json.RawMessage:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Int, reflect.Int64:
		v.SetInt(n)
	case reflect.Uint64:
		v.SetUint(uint64(n)) // #nosec G115 -- any number will do
	case reflect.Pointer:
		fill(v.Elem(), s, n, t)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), s, n, t)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Index(i).Kind() != reflect.Uint8 {
				fill(v.Index(i), s, n, t)
			}
		}
	case reflect.Map:
		for _, key := range append(v.MapKeys(), reflect.ValueOf(s)) {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, s, n, t)
			v.SetMapIndex(key, value)
		}
	}
}

// samples are records of every type: full, withheld, bare, and hostile.
func samples(t *testing.T) (list []sample) {
	t.Helper()
	for _, kind := range types() {
		list = append(list, sample{string(kind), full(kind)}, sample{string(kind) + " withheld", withheld(kind)},
			sample{string(kind) + " bare", &evidence.Record{Type: kind, ID: writer + ".1", Writer: writer, Time: at}},
			sample{string(kind) + " empty", &evidence.Record{Type: kind}},
			sample{string(kind) + " numbers", filled(kind, "x", math.MinInt64, time.Time{})},
			sample{string(kind) + " years", filled(kind, "x", math.MaxInt64, time.Date(292277, 1, 1, 0, 0, 0, 0, time.UTC))})
	}
	for _, kind := range []string{"select", "insert", "update", "delete", "merge", "ddl", "explain", "show", "copy", "call", "session", "grant", "utility", "new"} {
		for _, status := range []string{"succeeded", "failed", "refused", "denied", "pending_approval", "dry_run", "withheld", "new"} {
			if kind != "select" && status != "succeeded" {
				continue
			}
			r := full(evidence.TypeOutcome)
			r.Statement.Kind, r.Status, r.Result.Status = kind, status, status
			list = append(list, sample{kind + " " + status, r})
		}
	}
	for _, relations := range [][]string{nil, {"public.patients"}} {
		for _, patients := range [][]string{nil, {"mrn:a"}, {"mrn:a", "mrn:b"}} {
			for _, remote := range []string{"", "10.0.0.7:80", "fe80::1%eth0", "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff%eth0]:65535", "::ffff:10.0.0.1", "@"} {
				r := full(evidence.TypeOutcome)
				r.Relations, r.Patients, r.Actor.RemoteAddr = relations, patients, remote
				list = append(list, sample{remote + " " + strconv.Itoa(len(relations)*10+len(patients)), r})
			}
		}
	}
	for _, issuer := range []string{"urn:oid:x", "urn:uuid:x", "https://", "http://a b", "https://idp.example/ü", "https://idp.example/%", "https:x",
		"HTTPS://IDP", "https://idp.example/?a={b}", "https://user:pw@idp.example:1/#x", "javascript:alert(1)"} {
		r := full(evidence.TypeOutcome)
		r.Actor.Issuer = issuer
		list = append(list, sample{"issuer " + issuer, r})
	}
	for _, s := range hostile {
		kinds := []evidence.Type{evidence.TypeOutcome, evidence.TypeAuthFailed, evidence.TypeApprovalDecided, evidence.TypeRead,
			evidence.TypeIntent, futureType, evidence.Type(s)}
		if len(s) > 1<<20 {
			kinds = kinds[:1]
		}
		for _, kind := range kinds {
			r := filled(kind, s, 7, at)
			r.Withheld = false
			list = append(list, sample{string(kind[:min(len(kind), 30)]) + " " + strconv.Quote(s[:min(len(s), 30)]), r})
		}
		selected := filled(evidence.TypeOutcome, s, 7, at)
		selected.Statement.Kind, selected.Status, selected.Withheld = "select", "succeeded", false
		list = append(list, sample{"selected " + strconv.Quote(s[:min(len(s), 30)]), selected})
	}
	return list
}
