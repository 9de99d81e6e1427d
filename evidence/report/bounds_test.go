package report

import (
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// TestCaps: each list is bounded, what is beyond is counted exactly, and the report
// says where it is.
func TestCaps(t *testing.T) {
	const many = maxAccounting + 7
	s := &story{}
	nurse := approver("Nurse Joy", "nurse")
	for i := range many {
		at := time.Duration(i) * time.Second
		q := s.ask(gw1, at, &evidence.Actor{Issuer: "i", Subject: fmt.Sprintf("agent-%d", i)}, "BTG", "public.patients")
		q.base.Patients = []string{"mrn:tok_1"}
		q.intent().ends(0, rows(1, 2))
		s.ask(gw1, at, crew, "TREAT", "t").denied(fmt.Sprintf("rule-%d", i%300))
		s.ask(gw1, at, crew, "TREAT", "t").pends("write", 25*time.Hour).decides(time.Second, nurse, "deny")
		s.add(gw1, at, &evidence.Record{Type: evidence.TypeAuthFailed, Actor: &evidence.Actor{RemoteAddr: fmt.Sprint(i)}, Data: map[string]string{"why": fmt.Sprint(i)}})
		s.add(gw1, at, &evidence.Record{Type: evidence.Type(fmt.Sprintf("new.type-%d", i))})
		s.add(gw1, at, &evidence.Record{Type: evidence.TypeRead, Actor: &evidence.Actor{Subject: fmt.Sprint(i)}})
		s.ask(gw1, at, crew, "TREAT", "t").lease().intent()
		big := rows(large+int64(i), 0)
		big.Detected = map[string]int64{"ssn": 1}
		s.ask(gw1, at, crew, "TREAT", "t").intent().ends(0, big)
	}
	c := s.collect(t, nil)
	for name, want := range map[string]int64{"break_glass": many, "denied_by_policy": many, "denied_by_approvers": many, "approvals_asked": many,
		"failed_sign_ins": many, "without_end": many, "credentials_open": many, "detected": many, "reads": many, "masked_cells": 2 * many, "principals": many + 1} {
		if got := c.counter(t, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if got := c.rulesDenied.total(); got != many {
		t.Errorf("%d denials by rule", got)
	}
	if c.largest[0].n != large+many-1 || len(c.largest) != maxLargest || c.largest[maxLargest-1].n != large+many-maxLargest {
		t.Errorf("the largest answers are %d to %d", c.largest[0].n, c.largest[len(c.largest)-1].n)
	}
	page := rendered(t, s.content(nil))
	text := plain(t, page)
	holds(t, text, "4,007 more lines are not shown here. Every record is in evidence/runs and", // lists of 1,000: break-glass, approvals, sign-ins …
		"9,014 more lines are not shown here", // denials of both kinds
		"4,987 more lines are not shown here", // the largest
		"exports/records.csv", "Beyond the first 2,000 combinations", "further types")
	if n := strings.Count(text, "4,007 more lines"); n < 7 {
		t.Errorf("%d lists of a thousand say how much is missing, want 7", n)
	}
	f := &evidence.Filter{Patient: "mrn:tok_1"}
	page = rendered(t, s.content(f))
	holds(t, plain(t, page), "7 more lines are not shown here. Every record is in evidence/runs", "Queries that name the person of this bundle: 5,007")
	if n := strings.Count(page, `<tr id="accounting-`); n != maxAccounting {
		t.Errorf("%d lines of the accounting", n)
	}
	if len(page) > 8<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

// generated gives a day of queries without holding them: four records each, by many
// agents of many tables, with rows.
func generated(queries int) *bundle.Content {
	s := (&story{}).content(nil)
	rowsOut := []byte("[" + strings.Repeat(`[4711,"[redacted]","021"],`, 20) + "[]]")
	s.Report = &evidence.Report{Records: int64(4 * queries), Segments: 9, Writers: 1}
	s.Records = func(yield func(*evidence.Record) bool) error {
		for i := range queries {
			at := day.Add(time.Duration(i) * 23 * time.Hour / time.Duration(queries))
			base := evidence.Record{Writer: gw1, Time: at, QueryID: fmt.Sprintf("q_%032d", i), Connection: "clinic", PurposeOfUse: "TREAT",
				Actor:     &evidence.Actor{Issuer: "https://idp.example", Subject: fmt.Sprintf("agent-%d", i%5000), Name: "An agent"},
				Relations: []string{fmt.Sprintf("public.table_%d", i%7), "public.patients"}, Patients: []string{fmt.Sprintf("mrn:tok_%d", i)},
				Decision: &evidence.Decision{Effect: "allow", Rules: []string{"read"}}, Effect: "allow"}
			for k, kind := range []evidence.Type{evidence.TypeIntent, evidence.TypeLeaseIssued, evidence.TypeOutcome, evidence.TypeLeaseRevoked} {
				r := base
				r.ID, r.Type = fmt.Sprintf("%s.%d", gw1, 4*i+k), kind
				switch {
				case kind == evidence.TypeOutcome && i%100 == 0:
					r.Result, r.PurposeOfUse = &evidence.Result{Status: "denied"}, "BTG"
				case kind == evidence.TypeOutcome && i%50 == 1:
					continue // no end is recorded
				case kind == evidence.TypeOutcome:
					r.Result = &evidence.Result{Status: "succeeded", RowCount: 20, Masks: map[string]int64{"redact": 20}, Rows: append([]byte(nil), rowsOut...)}
				case kind != evidence.TypeIntent:
					r.Lease = &evidence.Lease{ID: "lease-" + base.QueryID, Username: "v-1"}
				}
				if !yield(&r) {
					return nil
				}
			}
		}
		return nil
	}
	return s
}

var reportQueries = flag.Int("queries", 100_000, "queries of BenchmarkReport")

// peak watches the memory that is in use after collections.
func peak(content *bundle.Content) (most func() uint64) {
	var highest uint64
	records, n := content.Records, 0
	look := func() {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		highest = max(highest, m.HeapAlloc)
	}
	look()
	before := highest
	content.Records = func(yield func(*evidence.Record) bool) error {
		err := records(func(r *evidence.Record) bool {
			if n++; n%20_000 == 0 {
				look()
			}
			return yield(r)
		})
		look()
		return err
	}
	return func() uint64 { return highest - before }
}

// TestMemory: what is kept of a day of 100,000 queries.
func TestMemory(t *testing.T) {
	content := generated(100_000)
	most := peak(content)
	must(t, Part().Write(io.Discard, content))
	if got := most() >> 20; got > 48 {
		t.Errorf("%d MiB are in use", got)
	}
}

// BenchmarkReport is the whole part, without reading records from a file.
//
//	go test -run xxx -bench Report -benchtime 1x ./evidence/report -queries 100000
func BenchmarkReport(b *testing.B) {
	for range b.N {
		content := generated(*reportQueries)
		most := peak(content)
		size := &written{}
		must(b, Part().Write(size, content))
		b.ReportMetric(float64(most())/(1<<20), "kept-MiB")
		b.ReportMetric(float64(size.n)/(1<<20), "page-MiB")
	}
}

type written struct{ n int64 }

func (c *written) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
