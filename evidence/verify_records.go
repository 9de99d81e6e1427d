package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// records checks what a log tells: who it says it is, order of time, order of
// cause. A gateway's key can sign nonsense; this finds some of it. It returns
// the queries whose records need a link to be found.
func (v *verifier) records(l *logState, s *segment, key string) map[string]bool {
	tag := writerTag(l.writer)
	away := make(map[string]bool)
	for i := range s.records {
		r, digest, err := s.entry(i)
		if err != nil {
			v.finding(key, KindMalformed, "Record %d of the log: %v.", s.First+uint64(i), err) // #nosec G115 -- an index
			continue
		}
		switch err := s.fill(r, i, digest); {
		case errors.Is(err, errBody):
			v.recordFinding(key, r, KindContent, "Its body was changed or left out: it is not the one that was signed.")
		case err != nil:
			v.recordFinding(key, r, KindMalformed, "Its body cannot be read: %v.", err)
		}
		v.times(l, r, key)
		if i == 0 {
			l.end.first = r.Time
		}
		v.cause(l, r, key)
		v.approval(r, key)
		v.observations(r, key)
		v.witnessed(l, r, key)
		if v.bundle != nil {
			v.bundle.entry(r, key)
		}
		if q, err := parseQueryID(r.QueryID); err == nil && !q.atHome(tag, r.Time) {
			away[r.QueryID] = true
		}
	}
	return away
}

func (v *verifier) times(l *logState, r *Record, key string) {
	if r.Time.Before(l.end.last) {
		v.recordFinding(key, r, KindOrder, "It is older than the record before it: the writer never writes such a thing.")
	}
	l.end.last = r.Time
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.report.First.IsZero() || r.Time.Before(v.report.First) {
		v.report.First = r.Time
	}
	if r.Time.After(v.report.Last) {
		v.report.Last = r.Time
	}
}

func (v *verifier) cause(l *logState, r *Record, key string) {
	if l.end.closed {
		v.recordFinding(key, r, KindOrder, "It comes after writer.closed: nothing may.")
	}
	if started := r.Type == TypeWriterStarted; started != (r.Sequence == 0) {
		v.recordFinding(key, r, KindOrder, "writer.started must be the first record and no other.")
	}
	if r.Type != TypeWriterClosed && r.Type != TypeHeartbeat && r.Type != TypeWitnessed {
		l.end.substance = r.Sequence + 1
	}
	switch r.Type {
	case TypeWriterClosed:
		l.end.closed = true
	case TypeIntent:
		l.end.open[r.QueryID] = true
		v.countQuery()
	case TypeOutcome:
		if r.Status == "" {
			v.recordFinding(key, r, KindMalformed, "An outcome that does not say how it ended.")
			return
		}
		if r.Status == "succeeded" && !l.end.open[r.QueryID] && !l.end.damaged && !v.bundle.mayBeEarlier(r.QueryID) {
			v.recordFinding(key, r, KindOrder, "A statement succeeded without an intent recorded before: it ran unannounced, "+
				"or its intent is gone.")
		}
		delete(l.end.open, r.QueryID)
	case TypeApprovalRequested:
		delete(l.end.open, r.QueryID)
	default:
		if !r.Type.Known() {
			v.recordFinding(key, r, KindUnexplained, "No gateway of this version writes records of type %q.", string(r.Type))
		}
	}
}

func (v *verifier) countQuery() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Queries++
}

// approved are the approvals that all logs tell of, and who relied on them.
// There are as many as people decided.
type approved struct {
	// by are the principals who approved, by query.
	by map[string]map[string]bool
	// relied are the runs that needed an approval.
	relied []reliance
}

// reliance is a record of a statement that ran, or was to run, on approval.
type reliance struct {
	object, record, query string
	approvers             []string
	// asked are the principals who may not have approved.
	asked []string
}

// approval takes in what a record says of approvals; approvals judges it, when
// all logs are read.
func (v *verifier) approval(r *Record, key string) {
	switch {
	case r.Type == TypeApprovalDecided && r.Effect == "approve" && r.Actor != nil:
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.approved.by[r.QueryID] == nil {
			v.approved.by[r.QueryID] = make(map[string]bool)
		}
		v.approved.by[r.QueryID][r.Actor.Key()] = true
	case r.Type == TypeIntent && len(r.Approvers) > 0,
		r.Type == TypeOutcome && r.Status == "succeeded" && r.Effect == "approve":
		relied := reliance{object: key, record: r.ID, query: r.QueryID, approvers: r.Approvers}
		if r.Actor != nil {
			relied.asked = r.Actor.Keys()
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.approved.relied = append(v.approved.relied, relied)
	}
}

// approvals checks that whatever ran on approval was approved, by somebody else.
func (v *verifier) approvals(ctx context.Context) error {
	for _, r := range v.approved.relied {
		finding := func(format string, args ...any) {
			v.add(Finding{Object: r.object, Record: r.record, Kind: KindOrder, Message: fmt.Sprintf(format, args...)})
		}
		if err := v.approvedSince(ctx, r); err != nil {
			return err
		}
		if len(r.approvers) == 0 {
			finding("The statement needed an approval and ran, and nobody is named who approved it.")
		}
		for _, approver := range r.approvers {
			switch {
			case slices.Contains(r.asked, approver):
				finding("It ran on the approval of %s, who had asked for it.", approver)
			case v.approved.by[r.query][approver]:
			case v.bundle.mayBeEarlier(r.query):
				v.note(r.object, KindOrder, "The approval by %s may have been given before the period of this bundle.", approver)
			default:
				finding("It ran on an approval by %s that no log tells of: the approval was forged, or its record is gone.",
					approver)
			}
		}
	}
	return nil
}

// approvedSince takes in approvals of a store in use that were stored after the
// approver's log was listed.
func (v *verifier) approvedSince(ctx context.Context, r reliance) error {
	missing := func(approver string) bool { return !v.approved.by[r.query][approver] }
	if v.o.Copy || !slices.ContainsFunc(r.approvers, missing) {
		return nil
	}
	records, err := NewReader(v.store, v.trusted).Find(ctx, r.query)
	if err != nil && !errors.Is(err, ErrInvalid) { // what is invalid is reported
		return err
	}
	for i := range records {
		if records[i].Type == TypeApprovalDecided {
			v.approval(&records[i], "")
		}
	}
	return nil
}

// observations takes in what a writer saw of others.
func (v *verifier) observations(r *Record, key string) {
	for _, o := range r.Observed {
		v.mu.Lock()
		v.observed = append(v.observed, observation{o, key, r.ID, r.Writer})
		v.mu.Unlock()
	}
}
