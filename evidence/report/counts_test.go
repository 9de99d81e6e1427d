package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

func (c *collector) counter(t *testing.T, name string) int64 {
	t.Helper()
	for _, counter := range counters(c) {
		if counter.name == name {
			return counter.n
		}
	}
	t.Fatalf("there is no counter %q", name)
	return 0
}

// TestCounters: what each counter counts, and that it counts nothing else. A day
// with only that in it moves the counters that are named, and no other.
func TestCounters(t *testing.T) {
	read := func(s *story) *asked { return s.ask(gw1, time.Hour, crew, "TREAT", "public.patients") }
	data := func(kind evidence.Type, pairs ...string) func(*story) {
		return func(s *story) {
			r := &evidence.Record{Type: kind, Data: map[string]string{}}
			for i := 0; i < len(pairs); i += 2 {
				r.Data[pairs[i]] = pairs[i+1]
			}
			s.add(gw1, time.Hour, r)
		}
	}
	asks := map[string]int64{"queries": 1, "principals": 1}
	with := func(more map[string]int64) map[string]int64 {
		for name, n := range asks {
			if _, said := more[name]; !said {
				more[name] = n
			}
		}
		return more
	}
	nurse := approver("Nurse Joy", "nurse")
	moved := map[string]bool{"accounting": true} // see the end
	for name, c := range map[string]struct {
		tell func(*story)
		want map[string]int64
	}{
		"an answer": {func(s *story) { read(s).intent().ends(time.Second, rows(7, 21)) },
			with(map[string]int64{"succeeded": 1, "rows": 7, "masked_cells": 21})},
		"only succeeded ones release rows": {func(s *story) {
			r := rows(7, 21)
			r.Status = "failed"
			read(s).intent().ends(time.Second, r)
		}, with(map[string]int64{})},
		"masks of several kinds": {func(s *story) {
			r := rows(1, 2)
			r.Masks["token"], r.Masks["wrong"] = 3, -9
			read(s).intent().ends(time.Second, r)
		}, with(map[string]int64{"succeeded": 1, "rows": 1, "masked_cells": 5})},
		"a hit of a detector": {func(s *story) {
			r := rows(1, 0)
			r.Detected = map[string]int64{"ssn": 2, "email": 1}
			read(s).intent().ends(time.Second, r)
		}, with(map[string]int64{"succeeded": 1, "rows": 1, "detected": 1})},
		"denied by policy": {func(s *story) { read(s).denied("no-ddl") }, with(map[string]int64{"denied_by_policy": 1})},
		"refused":          {func(s *story) { read(s).ends(0, &evidence.Result{Status: "refused"}) }, with(map[string]int64{"refused": 1})},
		"denied by an approver": {func(s *story) { read(s).pends("bulk-export", 5*time.Hour).decides(time.Minute, nurse, "deny") },
			with(map[string]int64{"approvals_asked": 1, "denied_by_approvers": 1})},
		"denied by an approver, asked the day before": {func(s *story) { read(s).decides(time.Minute, nurse, "deny") },
			with(map[string]int64{"denied_by_approvers": 1, "principals": 0})},
		"approved": {func(s *story) { read(s).pends("bulk-export", 5*time.Hour).decides(time.Minute, nurse, "approve") },
			with(map[string]int64{"approvals_asked": 1, "approvals_given": 1})},
		"approved, asked the day before, and not run": {func(s *story) { read(s).decides(time.Minute, nurse, "approve") }, map[string]int64{"approvals_given": 1}},
		"asked by a clock that is ahead": {func(s *story) {
			q := read(s)
			q.base.Approvers = []string{nurse.Key()}
			q.intent().ends(time.Second, rows(1, 1)).pends("bulk-export", 5*time.Hour).decides(time.Minute, nurse, "approve")
			s.records[2].Time = s.records[2].Time.Add(2 * time.Second)
		}, with(map[string]int64{"succeeded": 1, "rows": 1, "masked_cells": 1, "approvals_asked": 1, "approvals_given": 1})},
		"looked at only": {func(s *story) { read(s).step(evidence.TypeApprovalViewed, 0, nurse, nil) }, map[string]int64{}},
		"one query of two intents": {func(s *story) {
			read(s).intent().pends("bulk-export", 5*time.Hour).decides(time.Minute, nurse, "approve").intent().
				step(evidence.TypeApprovalClaimed, time.Minute, crew, nil).ends(time.Hour, rows(1, 1))
		}, with(map[string]int64{"succeeded": 1, "rows": 1, "masked_cells": 1, "approvals_asked": 1, "approvals_given": 1})},
		"break the glass by purpose": {func(s *story) {
			q := read(s)
			q.base.PurposeOfUse = "BTG"
			q.denied("x")
		}, with(map[string]int64{"break_glass": 1, "denied_by_policy": 1})},
		"break the glass by rule": {func(s *story) { read(s).denied("Break-the-Glass") }, with(map[string]int64{"break_glass": 1, "denied_by_policy": 1})},
		"persons": {func(s *story) {
			q := read(s)
			q.base.Patients = []string{"mrn:a", "mrn:b"}
			q.intent().ends(0, rows(0, 0))
			q = read(s)
			q.base.Patients = []string{"mrn:b"}
			q.intent().ends(0, rows(0, 0))
		}, map[string]int64{"queries": 2, "principals": 1, "succeeded": 2, "persons": 2}},
		"no end":                      {func(s *story) { read(s).intent() }, with(map[string]int64{"without_end": 1})},
		"interrupted":                 {func(s *story) { read(s).step(evidence.TypeRecovered, 0, nil, nil) }, with(map[string]int64{"without_end": 1, "unclean": 1, "principals": 0})},
		"a credential that ended":     {func(s *story) { read(s).lease().revoked(time.Second, "") }, map[string]int64{"credentials": 1, "credentials_revoked": 1}},
		"a credential without an end": {func(s *story) { read(s).lease() }, map[string]int64{"credentials": 1, "credentials_open": 1}},
		"a failed sign-in":            {data(evidence.TypeAuthFailed, "left_out_before", "41"), map[string]int64{"failed_sign_ins": 1, "failed_sign_ins_left_out": 41}},
		"a sign-in":                   {data(evidence.TypeAuthSucceeded, "method", "oidc"), map[string]int64{"sign_ins": 1}},
		"a count that is none":        {data(evidence.TypeAuthFailed, "left_out_before", "-3"), map[string]int64{"failed_sign_ins": 1}},
		"no role": {func(s *story) {
			s.add(gw1, 0, &evidence.Record{Type: evidence.TypeRejected, Result: &evidence.Result{Code: "forbidden"}})
		}, map[string]int64{"rejected": 1, "forbidden": 1}},
		"malformed": {func(s *story) {
			s.add(gw1, 0, &evidence.Record{Type: evidence.TypeRejected, Result: &evidence.Result{Code: "malformed"}})
		}, map[string]int64{"rejected": 1}},
		"a start":                  {data(evidence.TypeWriterStarted), map[string]int64{"starts": 1}},
		"an end":                   {data(evidence.TypeWriterClosed), map[string]int64{}},
		"a crash":                  {data(evidence.TypeRecovered), map[string]int64{"unclean": 1}},
		"a changed configuration":  {data(evidence.TypeConfigChanged), map[string]int64{"config_changes": 1}},
		"changed keys":             {data(evidence.TypeKeysChanged), map[string]int64{"key_changes": 1}},
		"the same rules":           {data(evidence.TypePolicyLoaded, "policy", "v1"), map[string]int64{}},
		"changed rules":            {data(evidence.TypePolicyLoaded, "removed", "write"), map[string]int64{"policy_changes": 1}},
		"a look":                   {data(evidence.TypeRead), map[string]int64{"reads": 1}},
		"an export":                {data(evidence.TypeExported), map[string]int64{"exports": 1}},
		"a day's bundle":           {data(evidence.TypeBundled), map[string]int64{"bundles": 1}},
		"a type that nobody knows": {data("glass.reviewed"), map[string]int64{}},
		"an outcome of which nothing is left": {func(s *story) {
			r := read(s).record(evidence.TypeOutcome, 0)
			r.Withheld, r.Decision, r.Status = true, nil, "succeeded"
		},
			with(map[string]int64{"succeeded": 1})},
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{}
			c.tell(s)
			got := s.collect(t, nil)
			c.want["records"] = int64(len(s.records))
			for _, counter := range counters(got) {
				moved[counter.name] = moved[counter.name] || counter.n > 0
				if want := c.want[counter.name]; counter.n != want {
					t.Errorf("%s: %d, want %d", counter.words, counter.n, want)
				}
			}
		})
	}
	for _, counter := range counters(&collector{}) {
		if !moved[counter.name] {
			t.Errorf("nothing moves %s", counter.name)
		}
	}
	t.Run("the person of the bundle", func(t *testing.T) {
		if n := aDay().collect(t, &evidence.Filter{Patient: "mrn:tok_1"}).counter(t, "accounting"); n != 13 {
			t.Errorf("%d queries name the person", n)
		}
	})
}

// TestEnds: each way in which a query can stand.
func TestEnds(t *testing.T) {
	nurse, other := approver("Nurse Joy", "nurse"), approver("Priya", "priya")
	q := func(s *story) *asked { return s.ask(gw1, time.Hour, crew, "TREAT", "public.patients") }
	result := func(status string) func(*story) {
		return func(s *story) { q(s).ends(0, &evidence.Result{Status: status}) }
	}
	pends := func(s *story) *asked { return q(s).pends("write", 25*time.Hour) }
	for name, c := range map[string]struct {
		tell func(*story)
		want end
	}{
		"succeeded": {result("succeeded"), succeeded}, "failed": {result("failed"), failed}, "refused": {result("refused"), refused},
		"denied": {result("denied"), deniedByPolicy}, "withheld": {result("withheld"), notReleased}, "dry run": {result("dry_run"), dryRun},
		"a new way": {result("levitated"), otherEnd}, "no status": {result(""), otherEnd},
		"waits": {func(s *story) { pends(s) }, waiting}, "expired": {func(s *story) { q(s).pends("write", 2*time.Hour) }, expired},
		"approved":      {func(s *story) { pends(s).decides(time.Minute, nurse, "approve") }, approvedOnly},
		"denied by one": {func(s *story) { pends(s).decides(time.Minute, nurse, "approve").decides(time.Minute, other, "deny") }, deniedByApprover},
		"withdrawn":     {func(s *story) { pends(s).step(evidence.TypeApprovalCancelled, time.Minute, crew, nil) }, withdrawn},
		"claimed only": {func(s *story) {
			pends(s).decides(time.Minute, nurse, "approve").step(evidence.TypeApprovalClaimed, time.Hour, crew, nil)
		}, noEnd},
		"two votes at a time, and it ran": {func(s *story) {
			pends(s).decides(time.Minute, nurse, "approve").decides(time.Minute, other, "deny").ends(time.Hour, rows(1, 0))
		}, succeeded},
		"the later vote by a clock that is ahead": {func(s *story) {
			pends(s).decides(time.Minute, nurse, "approve").ends(time.Hour, rows(1, 0)).decides(2*time.Hour, other, "deny")
		}, succeeded},
		"intent": {func(s *story) { q(s).intent() }, noEnd}, "recovered": {func(s *story) { q(s).intent().step(evidence.TypeRecovered, time.Hour, nil, nil) }, interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{}
			c.tell(s)
			got := s.collect(t, nil)
			if got.total() != 1 || got.ends[c.want] != 1 {
				t.Errorf("%d queries, %v, want one %q", got.total(), got.ends, endWords[c.want])
			}
		})
	}
}

// TestAddsUp: whatever the records are, in whatever order: tiles, chart and types add
// up, and the page can be written.
func TestAddsUp(t *testing.T) {
	statuses := []string{"succeeded", "failed", "refused", "denied", "dry_run", "withheld", "", "new"}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 5))
		s := &story{}
		for range random.IntN(80) {
			r := &evidence.Record{Type: append(evidence.Types(), "new.type")[random.IntN(len(evidence.Types())+1)], Connection: "c",
				QueryID: []string{"", "q_1", "q_2", "q_3"}[random.IntN(4)], Withheld: random.IntN(9) == 0, PurposeOfUse: []string{"", "BTG", "x"}[random.IntN(3)],
				Effect: []string{"", "allow", "approve", "deny"}[random.IntN(4)], Relations: [][]string{nil, {"a.b"}}[random.IntN(2)]}
			if random.IntN(3) > 0 {
				r.Actor = []*evidence.Actor{crew, approver("N", "n")}[random.IntN(2)]
			}
			if random.IntN(3) > 0 {
				r.Result = &evidence.Result{Status: statuses[random.IntN(len(statuses))], RowCount: []int64{-1, 3, math.MaxInt64}[random.IntN(3)],
					Masks: map[string]int64{"m": math.MaxInt64}}
			}
			if random.IntN(2) == 0 {
				r.Approval = &evidence.Approval{Decision: []string{"", "approve", "deny"}[random.IntN(3)]}
			}
			if random.IntN(2) == 0 {
				r.Decision = &evidence.Decision{Effect: "deny", Rules: []string{"r"}}
			}
			s.add([]string{gw1, gw2}[random.IntN(2)], time.Duration(random.IntN(24*60))*time.Minute, r)
		}
		content := s.content(nil)
		c, err := collect(content)
		must(t, err)
		page, err := newPage(content, c, &around{}, nil)
		must(t, err)
		tiles, bars := int64(0), int64(0)
		for _, tile := range page.Tiles {
			n, err := strconv.ParseInt(strings.ReplaceAll(tile.Value, ",", ""), 10, 64)
			must(t, err)
			tiles += n
		}
		shown, _ := c.hours.bars(day, day.Add(24*time.Hour))
		for i := range shown {
			bars += shown[i].total()
		}
		accesses := c.elsewhere.total
		for _, a := range c.access {
			accesses += a.total
		}
		if want := fmt.Sprint(c.total()); fmt.Sprint(tiles) != want || fmt.Sprint(bars) != want || fmt.Sprint(accesses) != want || page.Total != want {
			t.Fatalf("seed %d: %s queries, tiles add up to %d, bars to %d, accesses to %d", seed, want, tiles, bars, accesses)
		}
		if c.types.total() != c.records || c.records != int64(len(s.records)) {
			t.Fatalf("seed %d: %d records, %d by type", seed, c.records, c.types.total())
		}
		rendered(t, content)
	}
}
