package evidence

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Leftovers is what earlier processes of a gateway instance left unfinished.
type Leftovers struct {
	// PredecessorWriter is the newest earlier writer, "" if there is none.
	PredecessorWriter string
	// LastSeen is the time of its last record. One that was seen within its
	// heartbeat may still be alive.
	LastSeen time.Time
	// UncleanEnd is true if its log does not end with writer.closed.
	UncleanEnd bool
	// Leases were issued and not recorded as revoked, newest writer first.
	Leases []LeaseLeft
	// Intents have no outcome.
	Intents []IntentLeft
}

// LeaseLeft is a lease that may still live.
type LeaseLeft struct {
	Writer, QueryID, Connection string
	Lease                       Lease
}

// IntentLeft is a query that was begun and not ended.
type IntentLeft struct {
	Writer, QueryID, RecordID, SessionID, Connection string
	Time                                             time.Time
	Actor                                            *Actor
}

// maxTailWriters bounds how many earlier writers Tail reads.
const maxTailWriters = 64

// Tail reads what the earlier writers of an instance left since a time: leases
// without lease.revoked, intents without outcome. self is the caller's own
// writer, which is left out; what it settled by now counts.
func (r *Reader) Tail(ctx context.Context, instance, self string, since time.Time) (*Leftovers, error) {
	names, err := writersOf(ctx, r.store, instance)
	if err != nil {
		return nil, fmt.Errorf("reading what was left: %w", err)
	}
	left := &Leftovers{}
	done := settled{leases: make(map[string]bool), queries: make(map[string]bool)}
	earlier := 0
	for i := len(names) - 1; i >= 0 && earlier < maxTailWriters; i-- {
		writer := names[i]
		open, err := r.tailOf(ctx, writer, since, &done)
		if err != nil {
			return nil, fmt.Errorf("reading what %s left: %w", writer, err)
		}
		if writer == self {
			continue
		}
		if earlier++; earlier == 1 {
			left.PredecessorWriter, left.LastSeen, left.UncleanEnd = writer, open.last, !open.closed
		}
		for _, lease := range open.leases {
			if !done.leases[lease.Lease.ID] {
				left.Leases = append(left.Leases, lease)
			}
		}
		for _, intent := range open.intents {
			if !done.queries[intent.QueryID] {
				left.Intents = append(left.Intents, intent)
			}
		}
	}
	sort.Slice(left.Intents, func(i, j int) bool { return left.Intents[i].Time.Before(left.Intents[j].Time) })
	return left, nil
}

// settled are the leases that some writer revoked, and the queries that some
// writer recovered.
type settled struct{ leases, queries map[string]bool }

// opened is what one writer began and did not end.
type opened struct {
	leases  []LeaseLeft
	intents map[string]IntentLeft // by query
	last    time.Time
	closed  bool
}

func (r *Reader) tailOf(ctx context.Context, writer string, since time.Time, done *settled) (*opened, error) {
	from, err := r.seek(ctx, writer, since)
	if err != nil {
		return nil, err
	}
	open := &opened{intents: make(map[string]IntentLeft)}
	if from > 0 {
		// Nothing newer than since: the end of the log still tells how it ended.
		if _, err := r.segment(ctx, writer, from); errors.Is(err, worm.ErrNotFound) {
			from--
		} else if err != nil {
			return nil, err
		}
	}
	err = r.scan(ctx, writer, from, func(s *segment) (bool, error) {
		for i := range s.records {
			record, err := s.record(i)
			if err != nil {
				return false, err
			}
			open.last, open.closed = record.Time, record.Type == TypeWriterClosed
			open.add(record, since, done)
		}
		return true, nil
	})
	return open, err
}

func (o *opened) add(r *Record, since time.Time, done *settled) {
	switch r.Type {
	case TypeLeaseIssued:
		if r.Lease != nil && !r.Time.Before(since) {
			o.leases = append(o.leases,
				LeaseLeft{Writer: r.Writer, QueryID: r.QueryID, Connection: r.Connection, Lease: *r.Lease})
		}
	case TypeLeaseRevoked:
		if r.Lease != nil {
			done.leases[r.Lease.ID] = true
		}
	case TypeIntent:
		if !r.Time.Before(since) {
			o.intents[r.QueryID] = IntentLeft{Writer: r.Writer, QueryID: r.QueryID, RecordID: r.ID,
				SessionID: r.SessionID, Connection: r.Connection, Time: r.Time, Actor: r.Actor}
		}
	case TypeOutcome, TypeApprovalRequested:
		// Only what comes after: an approved query has a second intent.
		delete(o.intents, r.QueryID)
	case TypeRecovered:
		if r.QueryID != "" {
			done.queries[r.QueryID] = true
		}
	default: // the others leave nothing behind
	}
}
