package evidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Names lists the writers that announced themselves, by name.
func (r *Reader) Names(ctx context.Context) ([]string, error) { return r.writerNames(ctx, 0) }

// Entries calls yield with each segment of a writer's log from a number on, in
// order, up to the first that is not there: its number and its records, without
// their bodies. A segment that does not verify ends it with ErrInvalid; it is
// the one after the last that was given to yield.
func (r *Reader) Entries(ctx context.Context, writer string, from uint64, yield func(segment uint64, records []Record) error) error {
	entry := func(s *segment, i int) (*Record, error) {
		record, _, err := s.entry(i)
		return record, err
	}
	return r.follow(ctx, writer, from, entry, yield)
}

// Follow is Entries with the records' bodies.
func (r *Reader) Follow(ctx context.Context, writer string, from uint64, yield func(segment uint64, records []Record) error) error {
	return r.follow(ctx, writer, from, (*segment).record, yield)
}

func (r *Reader) follow(ctx context.Context, writer string, from uint64, read func(*segment, int) (*Record, error),
	yield func(segment uint64, records []Record) error,
) error {
	err := r.scan(ctx, writer, from, func(s *segment) (bool, error) {
		records := make([]Record, len(s.records))
		for i := range s.records {
			record, err := read(s, i)
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

// From gives the number of a writer's first segment that was made at or after a
// time, or that after its last: no earlier one holds a record of then or later.
func (r *Reader) From(ctx context.Context, writer string, since time.Time) (uint64, error) {
	number, err := r.seek(ctx, writer, since)
	if err != nil {
		return 0, fmt.Errorf("reading the log of %s: %w", writer, err)
	}
	return number, nil
}

// Size tells how many segments and records a writer's log has up to its end or
// first gap, by its newest checkpoint. known segments are there for certain.
func (r *Reader) Size(ctx context.Context, writer string, known uint64) (segments, records uint64, err error) {
	end, err := logEnd(ctx, r.store, writer, known)
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the log of %s: %w", writer, err)
	}
	if end.Segments == 0 {
		return 0, 0, nil
	}
	c, err := OpenCheckpoint([]byte(end.Checkpoint), r.trusted)
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the log of %s: %w", writer, err)
	}
	return end.Segments, c.Size, nil
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
