package evidence

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Find gives all records of a query, in order of time. An identifier that no
// query has gives none. It reads the query's own log around the time in the
// identifier, and what links point at: a few objects, however long the logs.
func (r *Reader) Find(ctx context.Context, id string) ([]Record, error) {
	q, err := parseQueryID(id)
	if err != nil {
		return nil, nil //nolint:nilerr // what is no identifier has no records
	}
	found := make(map[string]Record)
	homes, err := r.homes(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("finding records of %s: %w", id, err)
	}
	for _, writer := range homes {
		if err := r.findAtHome(ctx, writer, id, q, found, func(*segment) {}); err != nil {
			return nil, fmt.Errorf("finding records of %s: %w", id, err)
		}
	}
	if err := r.followLinks(ctx, id, found); err != nil {
		return nil, fmt.Errorf("finding records of %s: %w", id, err)
	}
	list := make([]Record, 0, len(found))
	for _, record := range found {
		list = append(list, record)
	}
	sort.Slice(list, func(i, j int) bool { return before(&list[i], &list[j]) })
	return list, nil
}

// before orders records of many writers by time, and of one by sequence.
func before(a, b *Record) bool {
	if a.Writer == b.Writer {
		return a.Sequence < b.Sequence
	}
	if !a.Time.Equal(b.Time) {
		return a.Time.Before(b.Time)
	}
	return a.Writer < b.Writer
}

// homes are the writers that may have received the query: nearly always one.
func (r *Reader) homes(ctx context.Context, q queryID) ([]string, error) {
	for _, fresh := range []time.Duration{namesFresh, 0} {
		names, err := r.writerNames(ctx, fresh)
		if err != nil {
			return nil, err
		}
		var homes []string
		for _, name := range names {
			if writerTag(name) == q.tag {
				homes = append(homes, name)
			}
		}
		if len(homes) > 0 {
			return homes, nil
		}
	}
	return nil, nil
}

// findAtHome looks into the log that received a query, and calls holds for each
// segment with a record.
func (r *Reader) findAtHome(ctx context.Context, writer, id string, q queryID, found map[string]Record, holds func(*segment)) error {
	from, err := r.seek(ctx, writer, q.at.Add(-homeSlack))
	if err != nil {
		return err
	}
	until := q.at.Add(homeWindow)
	story := chain{}
	return r.scan(ctx, writer, from, func(s *segment) (bool, error) {
		before := len(found)
		if err := s.collect(id, found, &story); err != nil {
			return false, err
		}
		if len(found) > before {
			holds(s)
		}
		first, err := s.record(0)
		if err != nil {
			return false, err
		}
		return !story.ended() && first.Time.Before(until), nil
	})
}

// chain notices when a query's records are complete: it has an outcome, and every
// lease that it had was revoked. A query that waited for approval had two.
type chain struct {
	outcome bool
	open    map[string]bool // leases, false once they are revoked
}

func (c *chain) add(r *Record) {
	if r.Type == TypeOutcome {
		c.outcome = true
	}
	if r.Lease == nil {
		return
	}
	if c.open == nil {
		c.open = make(map[string]bool)
	}
	if r.Type == TypeLeaseRevoked {
		c.open[r.Lease.ID] = false
	} else if _, seen := c.open[r.Lease.ID]; !seen {
		c.open[r.Lease.ID] = true
	}
}

func (c *chain) ended() bool {
	if !c.outcome {
		return false
	}
	for _, open := range c.open {
		if open {
			return false
		}
	}
	return true
}

// collect takes a query's records out of a segment. Lines that do not hold the
// identifier at all are not decoded.
func (s *segment) collect(id string, found map[string]Record, story *chain) error {
	for i, r := range s.records {
		if !strings.Contains(string(r.entry), id) {
			continue
		}
		record, err := s.record(i)
		if err != nil {
			return err
		}
		if record.QueryID == id {
			found[record.ID] = *record
			story.add(record)
		}
	}
	return nil
}

func (r *Reader) followLinks(ctx context.Context, id string, found map[string]Record) error {
	type place struct {
		writer string
		number uint64
	}
	var places []place
	err := r.store.List(ctx, linkPrefix(id), "", func(e worm.Entry) bool {
		if _, writer, number, ok := parseLinkKey(e.Key); ok {
			places = append(places, place{writer, number})
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, p := range places {
		s, err := r.segment(ctx, p.writer, p.number)
		if errors.Is(err, worm.ErrNotFound) {
			continue // its writer died before the segment was stored
		}
		if err != nil {
			return err
		}
		if err := s.collect(id, found, &chain{}); err != nil {
			return err
		}
	}
	return nil
}

// FindRecord gives the record with an identifier, or worm.ErrNotFound.
func (r *Reader) FindRecord(ctx context.Context, recordID string) (*Record, error) {
	writer, sequence, ok := parseRecordID(recordID)
	if !ok {
		return nil, fmt.Errorf("finding record: %w: not a record id", worm.ErrNotFound)
	}
	// A segment holds at least one record, so its number is at most the
	// sequence: halve between 0 and there.
	low, high := uint64(0), sequence
	for low <= high {
		middle := low + (high-low)/2
		s, err := r.segment(ctx, writer, middle)
		switch {
		case errors.Is(err, worm.ErrNotFound), err == nil && s.First > sequence:
			if middle == 0 {
				return nil, fmt.Errorf("finding record %s: %w", recordID, worm.ErrNotFound)
			}
			high = middle - 1
		case err != nil:
			return nil, fmt.Errorf("finding record %s: %w", recordID, err)
		case s.First+s.Count <= sequence:
			low = middle + 1
		default:
			return s.record(int(sequence - s.First)) // #nosec G115 -- below Count
		}
	}
	return nil, fmt.Errorf("finding record %s: %w", recordID, worm.ErrNotFound)
}
