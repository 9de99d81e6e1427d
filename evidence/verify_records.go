package evidence

// records checks what a log tells: who it says it is, order of time, order of
// cause. A gateway's key can sign nonsense; this finds some of it. It returns
// the queries whose records need a link to be found.
func (v *verifier) records(l *logState, s *segment, key string) map[string]bool {
	tag := writerTag(l.writer)
	away := make(map[string]bool)
	for i := range s.records {
		r, err := s.record(i)
		if err != nil {
			v.finding(key, KindMalformed, "Record %d of the log: %v.", s.First+uint64(i), err) // #nosec G115 -- an index
			continue
		}
		v.times(l, r, key)
		v.cause(l, r, key)
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
	switch r.Type {
	case TypeWriterClosed:
		l.end.closed = true
	case TypeIntent:
		l.end.open[r.QueryID] = true
		v.countQuery()
	case TypeOutcome:
		if r.Result == nil {
			v.recordFinding(key, r, KindMalformed, "An outcome without a result.")
			return
		}
		if r.Result.Status == "succeeded" && !l.end.open[r.QueryID] && !l.end.damaged {
			v.recordFinding(key, r, KindOrder, "A statement succeeded without an intent recorded before: it ran unannounced, "+
				"or its intent is gone.")
		}
		delete(l.end.open, r.QueryID)
	case TypeApprovalRequested:
		delete(l.end.open, r.QueryID)
	case TypeWriterStarted, TypeHeartbeat, TypeLeaseIssued, TypeLeaseRevoked, TypeApprovalViewed, TypeApprovalDecided,
		TypeApprovalClaimed, TypeApprovalCancelled, TypeRejected, TypeAuthFailed, TypeRecovered, TypeRead:
	default:
		v.recordFinding(key, r, KindUnexplained, "No gateway of this version writes records of type %q.", string(r.Type))
	}
}

func (v *verifier) countQuery() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Queries++
}
