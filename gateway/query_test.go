package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// warm loads the catalog, so that the events that follow are the query's own.
func warm(t *testing.T, w *world, g *Gateway) {
	t.Helper()
	if _, err := g.Query(context.Background(), agent("a"), request("warm")); err != nil {
		t.Fatal(err)
	}
	w.events = nil
}

func TestOrderOfSteps(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	a, err := g.Query(context.Background(), agent("a"), request("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Replace(w.log(), "mint-ro query.intent", "query.intent mint-ro", 1) // side by side
	want := "analyse allow query.intent mint-ro connect prepare allow execute query.outcome:succeeded close release"
	if got != want {
		t.Errorf("steps\n%s\nwant\n%s", got, want)
	}
	if string(a.Result.Rows) != "[[1]]" || a.Result.RecordingID == "" {
		t.Errorf("%+v", a.Result)
	}
}

func TestDeniedNeverMints(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.effect = []policy.Effect{policy.Deny}
	_, err := g.Query(context.Background(), agent("a"), request("DROP"))
	if p := mustProblem(t, err, CodeDenied); p.RecordingID == "" || p.Rule != "r" {
		t.Errorf("%+v", p)
	}
	if got := w.log(); got != "analyse deny query.outcome:denied" {
		t.Errorf("steps %s", got)
	}
}

func TestWriteIsNotMintedBeforeApproval(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.effect, w.st.Write, w.st.Kind = []policy.Effect{policy.Approve}, true, connectors.KindUpdate
	a, err := g.Query(context.Background(), agent("a"), request("UPDATE"))
	if err != nil || a.Pending == nil {
		t.Fatal(a, err)
	}
	if got := w.log(); got != "analyse approve approval.requested:pending_approval file" {
		t.Errorf("steps %s", got)
	}
}

func TestEstimateCanOnlyMakeItStricter(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.effect = []policy.Effect{policy.Allow, policy.Approve}
	a, err := g.Query(context.Background(), agent("a"), request("SELECT"))
	if err != nil || a.Pending == nil || strings.Contains(w.log(), "execute") {
		t.Fatal(a, err, w.log())
	}
	if !strings.HasPrefix(a.Pending.ApprovalURL, "https://gw/approvals/q_") {
		t.Error(a.Pending.ApprovalURL)
	}
}

func TestNothingLeavesUnrecorded(t *testing.T) {
	for _, kind := range []evidence.Type{evidence.TypeIntent, evidence.TypeOutcome} {
		w := newWorld()
		g := w.gateway(t)
		warm(t, w, g)
		w.recordErr = func(r *evidence.Record) error {
			if r.Type == kind {
				return evidence.ErrUnavailable
			}
			return nil
		}
		a, err := g.Query(context.Background(), agent("a"), request("SELECT 1"))
		mustProblem(t, err, CodeEvidence)
		if a != nil {
			t.Errorf("%s: an answer without a record", kind)
		}
		if ran := strings.Contains(w.log(), "execute"); ran != (kind == evidence.TypeOutcome) {
			t.Errorf("%s: executed is %v: %s", kind, ran, w.log())
		}
		if !strings.HasSuffix(w.log(), "release") {
			t.Errorf("%s: the lease was not given back: %s", kind, w.log())
		}
	}
	// A refusal that cannot be recorded is not told either.
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.effect = []policy.Effect{policy.Deny}
	w.recordErr = func(*evidence.Record) error { return evidence.ErrUnavailable }
	_, err := g.Query(context.Background(), agent("a"), request("DROP"))
	mustProblem(t, err, CodeEvidence)
}

func TestChangedCatalogIsAnalysedAgainOnce(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.prepareErr = []error{connectors.ErrCatalogChanged, nil}
	if _, err := g.Query(context.Background(), agent("a"), request("SELECT 1")); err != nil {
		t.Fatal(err)
	}
	if strings.Count(w.log(), "analyse") != 2 || strings.Count(w.log(), "query.intent") != 1 {
		t.Error(w.log())
	}
	w.prepareErr = []error{connectors.ErrCatalogChanged}
	_, err := g.Query(context.Background(), agent("a"), request("SELECT 1"))
	mustProblem(t, err, CodeDatabaseConflict)
}

func TestClaimRunsOnce(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	ctx := context.Background()
	w.effect = []policy.Effect{policy.Approve}
	a, err := g.Query(ctx, agent("a"), request("SELECT bulk"))
	if err != nil {
		t.Fatal(err)
	}
	id := a.QueryID
	_, err = g.Result(ctx, agent("a"), id, "", Meta{})
	mustProblem(t, err, CodeNotApproved)
	_, err = g.Decide(ctx, agent("a"), id, true, "", Meta{})
	mustProblem(t, err, CodeOwnRequest)
	_, err = g.Decide(ctx, agent("b"), id, true, "", Meta{})
	mustProblem(t, err, CodeNotFound)
	if _, err = g.Decide(ctx, approver("p"), id, true, "", Meta{}); err != nil {
		t.Fatal(err)
	}
	_, err = g.Result(ctx, agent("b"), id, "", Meta{})
	mustProblem(t, err, CodeNotFound)

	w.events = nil
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 3 {
		all.Go(func() {
			a, err := g.Result(ctx, agent("a"), id, "key", Meta{})
			if err == nil && a.Result != nil && !a.Replayed {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if won != 1 || strings.Count(w.log(), "execute") != 1 {
		t.Fatalf("%d runs: %s", won, w.log())
	}
	again, err := g.Result(ctx, agent("a"), id, "key", Meta{})
	if err != nil || !again.Replayed || string(again.Result.Rows) != "[[1]]" {
		t.Fatal(again, err)
	}
	_, err = g.Result(ctx, agent("a"), id, "other", Meta{})
	mustProblem(t, err, CodeAlreadyClaimed)
}

// TestWriteComparesOnlyWhatIsOpened: also where an operator's rule allows the write.
func TestWriteComparesOnlyWhatIsOpened(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	w.st.Write, w.st.Kind = true, connectors.KindUpdate
	w.st.Uses = []connectors.Use{{ID: "u1", Kind: connectors.UsePredicate, Seen: connectors.SeenDestroyed, Openable: true}}
	_, err := g.Query(context.Background(), agent("a"), request("UPDATE"))
	mustProblem(t, err, CodeUnsupported)
	if strings.Contains(w.log(), "execute") || strings.Contains(w.log(), "prepare") {
		t.Error(w.log())
	}
}

func TestApprovalCoversExactlyWhatWasApproved(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	warm(t, w, g)
	ctx := context.Background()
	w.effect = []policy.Effect{policy.Approve}
	a, err := g.Query(ctx, agent("a"), request("SELECT bulk"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = g.Decide(ctx, approver("p"), a.QueryID, true, "", Meta{}); err != nil {
		t.Fatal(err)
	}
	w.st.Relations = []connectors.Relation{{Schema: "public", Name: "claims"}} // it would touch more now
	_, err = g.Result(ctx, agent("a"), a.QueryID, "", Meta{})
	mustProblem(t, err, CodeConflict)
	if strings.Contains(w.log(), "execute") || strings.Contains(w.log(), "claim") {
		t.Error(w.log())
	}
	// Another comparison would have the number of the one that was opened.
	w.st.Relations, w.st.Uses = nil, []connectors.Use{{ID: "u1", Kind: connectors.UsePredicate, Seen: connectors.SeenOpened, Openable: true}}
	_, err = g.Result(ctx, agent("a"), a.QueryID, "", Meta{})
	mustProblem(t, err, CodeConflict)
	w.st.Uses, w.effect = nil, []policy.Effect{policy.Deny}
	_, err = g.Result(ctx, agent("a"), a.QueryID, "", Meta{})
	mustProblem(t, err, CodeDenied)
}

// TestForgedApproval: votes in the store that no recording tells of count for nothing.
func TestForgedApproval(t *testing.T) {
	for name, forge := range map[string]func(w *world, s *approvals.Status){
		"vote of nobody": func(_ *world, s *approvals.Status) {
			s.Votes = []approvals.Vote{{ID: s.Request.ID, Approver: approver("p").Key(), Approve: true, Binding: s.Request.Binding}}
		},
		"verdict without votes": func(*world, *approvals.Status) {},
		"record of another statement": func(w *world, s *approvals.Status) {
			s.Votes = []approvals.Vote{{ID: s.Request.ID, Approver: approver("p").Key(), Approve: true, Binding: s.Request.Binding}}
			w.records = append(w.records, &evidence.Record{Type: evidence.TypeApprovalDecided, QueryID: s.Request.ID,
				Actor:     &evidence.Actor{Issuer: approver("p").Issuer, Subject: approver("p").Subject},
				Statement: &evidence.Statement{SHA256: "00"}, Approval: &evidence.Approval{Decision: "approve"}})
		},
		"the requester's own": func(w *world, s *approvals.Status) {
			s.Votes = []approvals.Vote{{ID: s.Request.ID, Approver: agent("a").Key(), Approve: true, Binding: s.Request.Binding}}
			w.records = append(w.records, &evidence.Record{Type: evidence.TypeApprovalDecided, QueryID: s.Request.ID,
				Actor:     &evidence.Actor{Issuer: agent("a").Issuer, Subject: agent("a").Subject},
				Statement: &evidence.Statement{SHA256: s.Request.Binding}, Approval: &evidence.Approval{Decision: "approve"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			g := w.gateway(t)
			warm(t, w, g)
			ctx := context.Background()
			w.effect = []policy.Effect{policy.Approve}
			w.st.Write, w.st.Kind = true, connectors.KindUpdate
			a, err := g.Query(ctx, agent("a"), request("UPDATE"))
			if err != nil {
				t.Fatal(err)
			}
			status := w.requests[a.QueryID]
			status.State = approvals.Approved
			forge(w, status)
			w.events = nil
			_, err = g.Result(ctx, agent("a"), a.QueryID, "", Meta{})
			mustProblem(t, err, CodeNotApproved)
			if log := w.log(); strings.Contains(log, "execute") || strings.Contains(log, "claim") || strings.Contains(log, "mint") {
				t.Error(log)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	ctx := context.Background()
	keyed := func(statement string) *Request {
		r := request(statement)
		r.IdempotencyKey = "k"
		return r
	}
	first, err := g.Query(ctx, agent("a"), keyed("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.Query(ctx, agent("a"), keyed("SELECT 1"))
	if err != nil || !second.Replayed || second.QueryID != first.QueryID {
		t.Fatal(second, err)
	}
	_, err = g.Query(ctx, agent("a"), keyed("SELECT 2"))
	mustProblem(t, err, CodeIdempotencyReuse)
	if other, err := g.Query(ctx, agent("b"), keyed("SELECT 2")); err != nil || other.Replayed {
		t.Fatal("another principal's key is another key", err)
	}
	if strings.Count(w.log(), "execute") != 2 {
		t.Error(w.log())
	}
}

func TestLookupBudget(t *testing.T) {
	w := newWorld()
	w.st.Lookups = []connectors.Lookup{{Class: "mrn", Param: -1}}
	g := w.gateway(t)
	ctx := context.Background()
	for i := range 3 {
		_, err := g.Query(ctx, agent("a"), request("SELECT"))
		if i < 2 && err != nil {
			t.Fatal(err)
		} else if i == 2 {
			mustProblem(t, err, CodeLookupBudget)
		}
	}
	if _, err := g.Query(ctx, agent("b"), request("SELECT")); err != nil {
		t.Error("one principal spent another's budget:", err)
	}
	dry := request("SELECT")
	dry.DryRun = true // planning reads the looked-up row, on MariaDB
	for i := range 3 {
		_, err := g.Query(ctx, agent("c"), dry)
		if i < 2 && err != nil {
			t.Fatal(err)
		} else if i == 2 {
			mustProblem(t, err, CodeLookupBudget)
		}
	}
}

func TestMasksAreNotWrittenBack(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	ref := masking.ColumnRef{Schema: "public", Relation: "patients", Column: "ssn"}
	classes, err := masking.Classify(masking.HIPAASafeHarbor(), map[masking.ColumnRef]string{ref: "ssn"})
	if err != nil {
		t.Fatal(err)
	}
	g.cfg.Databases["clinic"].Classes = classes
	w.st.Writes = []connectors.ColumnWrite{{Column: ref, Class: "ssn", Param: 0}}
	r := request("UPDATE")
	r.Positional = []connectors.Param{{Text: "[redacted]"}}
	_, err = g.Query(context.Background(), agent("a"), r)
	mustProblem(t, err, CodeParameter)
}

func TestRowAndByteLimitsAreExact(t *testing.T) {
	cell := []connectors.Cell{{Kind: connectors.CellString, Text: []byte("abcdefgh")}}
	w := newWorld()
	w.rows = [][]connectors.Cell{cell, cell, cell}
	g := w.gateway(t)
	for _, c := range []struct {
		rows, bytes int64
		count       int64
		reason      string
	}{{3, 1000, 3, ""}, {2, 1000, 2, "row_limit"}, {3, 40, 3, ""}, {3, 39, 2, "byte_limit"}, {3, 5, 0, "byte_limit"}} {
		r := request("SELECT")
		r.RowLimit, r.ByteLimit = c.rows, c.bytes
		a, err := g.Query(context.Background(), agent("a"), r)
		if err != nil {
			t.Fatal(err)
		}
		if a.Result.RowCount != c.count || a.Result.TruncationReason != c.reason || int64(len(a.Result.Rows)) > max(c.bytes, 2) {
			t.Errorf("%+v: %d rows, %q, %s", c, a.Result.RowCount, a.Result.TruncationReason, a.Result.Rows)
		}
	}
}

func TestUnknownConnectionsLookAlike(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	nobody := agent("a")
	nobody.Roles = nil
	_, hidden := g.Query(context.Background(), nobody, request("SELECT"))
	r := request("SELECT")
	r.Connection = "nowhere"
	_, missing := g.Query(context.Background(), agent("a"), r)
	if a, b := mustProblem(t, hidden, CodeUnknownConn), mustProblem(t, missing, CodeUnknownConn); a.Detail != b.Detail {
		t.Error(a.Detail, b.Detail)
	}
	_, err := g.Query(context.Background(), approver("p"), request("SELECT"))
	mustProblem(t, err, CodeForbidden)
}

func TestErrorsOfStepsBecomeProblems(t *testing.T) {
	for _, c := range []struct {
		change func(*world)
		code   Code
	}{
		{func(w *world) { w.issueErr = credentials.ErrUnavailable }, CodeCredentials},
		{func(w *world) { w.executeErr = &connectors.Error{Kind: connectors.KindTimeout} }, CodeTimeout},
		{func(w *world) { w.executeErr = &connectors.Error{Kind: connectors.KindUnavailable} }, CodeDatabase},
		{func(w *world) { w.executeErr = errors.New("SECRET 219-09-9998") }, CodeInternal},
		{func(w *world) { w.analyzeErr = &connectors.Error{Kind: connectors.KindSyntax, Message: "m"} }, CodeSyntax},
		{func(w *world) { w.executeErr = approvals.ErrUnavailable }, CodeApprovals},
	} {
		w := newWorld()
		g := w.gateway(t)
		warm(t, w, g)
		c.change(w)
		_, err := g.Query(context.Background(), agent("a"), request("SELECT"))
		if p := mustProblem(t, err, c.code); strings.Contains(p.Detail, "SECRET") || p.RecordingID == "" {
			t.Errorf("%+v", p)
		}
	}
}

// TestPanicIsRecorded: a panic on a request's way, in whatever part, is told as a
// problem without its value, is recorded, and leaves no lease or place behind.
func TestPanicIsRecorded(t *testing.T) {
	mask := func(w *world) { // of a class that the gateway has no tokenizer for
		w.st.Outputs = []connectors.Output{{Name: "ssn", Gateway: true, Class: "ssn", Mask: masking.Token}}
	}
	for name, c := range map[string]struct {
		change func(*world)
		broken func(*Gateway)
		leased bool
	}{
		"analysis": {change: func(w *world) { w.panicIn = "analyse" }},
		"connect":  {change: func(w *world) { w.panicIn = "connect" }, leased: true},
		"prepare":  {change: func(w *world) { w.panicIn = "prepare" }, leased: true},
		"execute":  {change: func(w *world) { w.panicIn = "execute" }, leased: true},
		"masker":   {change: mask, broken: func(g *Gateway) { g.cfg.Tokens = nil }, leased: true},
		"detector": {change: func(*world) {}, broken: func(g *Gateway) { g.cfg.Detectors = nil }, leased: true},
		"sink": {change: func(w *world) { // a row that is shorter than its header
			w.st.Outputs = []connectors.Output{{Name: "a"}, {Name: "b"}}
		}, leased: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.rows = [][]connectors.Cell{{{Kind: connectors.CellString, Text: []byte("SECRET 219-09-9998")}}}
			g := w.gateway(t)
			warm(t, w, g)
			c.change(w)
			if c.broken != nil {
				c.broken(g)
			}
			for range 5 { // more often than there are sessions
				w.events, w.records = nil, nil
				_, err := g.Query(context.Background(), agent("a"), request("SELECT"))
				p := mustProblem(t, err, CodeInternal)
				if p.RecordingID == "" || p.QueryID == "" || strings.Contains(string(mustJSON(p)), "SECRET") {
					t.Fatalf("%+v", p)
				}
				last := w.records[len(w.records)-1]
				if last.ID != p.RecordingID || last.Type != evidence.TypeOutcome || last.Result.Status != "failed" ||
					last.Result.Code != string(CodeInternal) || last.QueryID != p.QueryID || strings.Contains(string(mustJSON(last)), "SECRET") {
					t.Fatalf("recorded: %+v", last)
				}
				if released := strings.Count(w.log(), "release"); (released == 1) != c.leased {
					t.Fatalf("%d leases given back: %s", released, w.log())
				}
			}
			if len(g.running) > 0 {
				t.Error("the query is still in work")
			}
		})
	}
}

// A sign-in is recorded with who, how and how strongly, or refused.
func TestSignedIn(t *testing.T) {
	w := newWorld()
	g := w.gateway(t)
	p := approver("nurse")
	p.AuthTime, p.ACR = time.Unix(1795600000, 0), "urn:example:mfa"
	meta := Meta{RequestID: "r1", RemoteAddr: "192.0.2.7:4711", Transport: "page"}
	if err := g.SignedIn(t.Context(), p, meta); err != nil {
		t.Fatal(err)
	}
	p.ACR = strings.Repeat("x", 256) // what no provider means is left out, not cut
	if err := g.SignedIn(t.Context(), p, meta); err != nil {
		t.Fatal(err)
	}
	if len(w.records) != 2 {
		t.Fatalf("%d records", len(w.records))
	}
	r := w.records[0]
	if r.Type != evidence.TypeAuthSucceeded || r.RequestID != "r1" || r.Actor.Key() != "iss#nurse" || !r.Actor.AuthTime.Equal(p.AuthTime) ||
		r.Actor.RemoteAddr != meta.RemoteAddr || r.Data["method"] != "oidc" || r.Data["acr"] != "urn:example:mfa" || r.Data["transport"] != "page" {
		t.Errorf("%+v %+v", r, r.Actor)
	}
	if _, there := w.records[1].Data["acr"]; there {
		t.Error("a huge acr was kept")
	}
	w.recordErr = func(*evidence.Record) error { return evidence.ErrUnavailable }
	var problem *Problem
	if err := g.SignedIn(t.Context(), p, meta); !errors.As(err, &problem) || problem.Code != CodeEvidence || !strings.Contains(problem.Detail, "not signed in") {
		t.Errorf("%v", err)
	}
}
