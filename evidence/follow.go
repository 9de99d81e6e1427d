package evidence

import (
	"context"
	"errors"
	"fmt"

	"github.com/chaperone-sql/chaperone/worm"
)

// Names lists the writers that announced themselves, by name.
func (r *Reader) Names(ctx context.Context) ([]string, error) { return r.writerNames(ctx, 0) }

// Entries calls yield with each segment of a writer's log from a number on, in
// order, up to the first that is not there: its number and its records, without
// their bodies. A segment that does not verify ends it with ErrInvalid; it is
// the one after the last that was given to yield.
func (r *Reader) Entries(ctx context.Context, writer string, from uint64, yield func(segment uint64, records []Record) error) error {
	err := r.scan(ctx, writer, from, func(s *segment) (bool, error) {
		records := make([]Record, len(s.records))
		for i := range s.records {
			record, _, err := s.entry(i)
			if err != nil {
				return false, fmt.Errorf("%s: %w", segmentKey(writer, s.Segment), err)
			}
			records[i] = *record
		}
		return true, yield(s.Segment, records)
	})
	if err != nil {
		return fmt.Errorf("reading the log of %s: %w", writer, err)
	}
	return nil
}

// Beyond says why a writer's log has segments behind one that is not there, or ""
// if it has none, or if a later start of its instance told of them: then the
// writer died while they were on their way, and nothing in them was acknowledged.
func (r *Reader) Beyond(ctx context.Context, writer string, missing uint64) (string, error) {
	var next uint64 // 0 is none: it is behind another one
	err := listSegments(ctx, r.store, writer, missing+1, func(n uint64) bool {
		next = n
		return false
	})
	if err != nil || next == 0 {
		return "", err
	}
	known, err := r.Writers(ctx)
	if err != nil && !errors.Is(err, ErrInvalid) {
		return "", err
	}
	for i := range known {
		for _, p := range known[i].Predecessors {
			if p.Writer == writer && p.Segments == missing {
				return "", nil
			}
		}
	}
	return fmt.Sprintf("it is not there, and the log goes on at segment %d", next), nil
}

// RecordIn gives a record, looking into the segment with this number first: that
// is one read if the hint is right, and as FindRecord otherwise.
func (r *Reader) RecordIn(ctx context.Context, recordID string, number uint64) (*Record, error) {
	writer, sequence, ok := parseRecordID(recordID)
	if !ok {
		return nil, fmt.Errorf("finding record: %w: not a record id", worm.ErrNotFound)
	}
	s, err := r.segment(ctx, writer, number)
	switch {
	case err == nil && s.First <= sequence && sequence < s.First+s.Count:
		return s.record(int(sequence - s.First)) // #nosec G115 -- below Count
	case err != nil && !errors.Is(err, worm.ErrNotFound):
		return nil, fmt.Errorf("finding record %s: %w", recordID, err)
	}
	return r.FindRecord(ctx, recordID)
}
