package evidence

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"
)

// Filter chooses records. Zero fields choose all. As JSON it is the filter of a
// bundle's manifest.
type Filter struct {
	// Since and Until bound Record.Time: at or after Since, before Until.
	Since time.Time `json:"-"`
	Until time.Time `json:"-"`
	// Principal is the subject who asked or for whom, or "<issuer>#<subject>".
	Principal  string `json:"principal,omitempty"`
	Connection string `json:"connection,omitempty"`
	SessionID  string `json:"session_id,omitempty"`
	QueryID    string `json:"query_id,omitempty"`
	// Relation is "<schema>.<name>", Patient a token "<class>:<token>".
	Relation string `json:"relation,omitempty"`
	Patient  string `json:"patient,omitempty"`
	Effect   string `json:"effect,omitempty"`
	Status   string `json:"status,omitempty"`
}

// ChoosesAll reports whether it chooses every record of the period.
func (f Filter) ChoosesAll() bool { return f == Filter{Since: f.Since, Until: f.Until} }

// within reports whether a time is in the period.
func (f Filter) within(t time.Time) bool {
	return (f.Since.IsZero() || !t.Before(f.Since)) && (f.Until.IsZero() || t.Before(f.Until))
}

// Matches reports whether it chooses a record by itself. In a bundle a record is
// also chosen if its query has one that is.
func (f Filter) Matches(r *Record) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return f.within(r.Time) && is(f.Connection, r.Connection) && is(f.SessionID, r.SessionID) && is(f.QueryID, r.QueryID) &&
		is(f.Effect, r.Effect) && is(f.Status, r.Status) && (f.Principal == "" || r.Actor != nil && slices.Contains(r.Actor.Names(), f.Principal)) &&
		(f.Relation == "" || slices.Contains(r.Relations, f.Relation)) &&
		(f.Patient == "" || slices.Contains(r.Patients, f.Patient))
}

// Records calls yield with the records of all writers that the filter chooses,
// merged by time, until yield is false. Memory is bounded by the writers that
// were alive at the same time.
func (r *Reader) Records(ctx context.Context, f Filter, yield func(*Record) bool) error {
	names, err := r.writerNames(ctx, 0)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	streams := make(merge, 0, len(names))
	for _, name := range names {
		_, started, err := parseWriter(name)
		if err != nil || !f.Until.IsZero() && !started.Before(f.Until) {
			continue
		}
		streams = append(streams, &stream{writer: name, next: started, open: func() (iter.Seq2[*Record, error], error) {
			from := uint64(0)
			if !f.Since.IsZero() {
				var err error
				if from, err = r.seek(ctx, name, f.Since); err != nil {
					return nil, err
				}
			}
			return r.sequence(ctx, name, from), nil
		}})
	}
	return streams.merge(f, yield)
}

// merge calls yield with the records that the filter chooses, by time.
func (streams merge) merge(f Filter, yield func(*Record) bool) error {
	defer func() {
		for _, s := range streams {
			s.close()
		}
	}()
	sort.Sort(streams)
	for len(streams) > 0 {
		s := streams[0]
		record := s.record
		more, err := s.advance(f)
		if err != nil {
			return fmt.Errorf("reading records of %s: %w", s.writer, err)
		}
		if more {
			heap.Fix(&streams, 0)
		} else {
			heap.Pop(&streams)
			s.close()
		}
		if record != nil && f.Matches(record) && !yield(record) {
			return nil
		}
	}
	return nil
}

// stream is one writer's records in a merge. It is opened when the merge gets
// to its writer's start, so that dead writers cost nothing.
type stream struct {
	writer string
	next   time.Time // of record, or the writer's start before it is opened
	record *Record
	open   func() (iter.Seq2[*Record, error], error)
	pull   func() (*Record, error, bool)
	end    func()
}

func (s *stream) close() {
	if s.end != nil {
		s.end()
	}
}

// advance takes the next record, and reports whether there is one.
func (s *stream) advance(f Filter) (bool, error) {
	if s.pull == nil {
		records, err := s.open()
		if err != nil {
			return false, err
		}
		s.pull, s.end = iter.Pull2(records)
	}
	record, err, ok := s.pull()
	if !ok || err != nil {
		s.record = nil
		return false, err
	}
	if !f.Until.IsZero() && !record.Time.Before(f.Until) {
		s.record = nil
		return false, nil
	}
	s.record, s.next = record, record.Time
	return true, nil
}

var errStopped = errors.New("the consumer has enough")

// sequence gives a writer's records from a segment on.
func (r *Reader) sequence(ctx context.Context, writer string, from uint64) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		err := r.scan(ctx, writer, from, func(s *segment) (bool, error) {
			for i := range s.records {
				record, err := s.record(i)
				if err != nil {
					return false, err
				}
				if !yield(record, nil) {
					return false, errStopped
				}
			}
			return true, nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// merge orders streams by their next record.
type merge []*stream

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	if !m[i].next.Equal(m[j].next) {
		return m[i].next.Before(m[j].next)
	}
	return m[i].writer < m[j].writer
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push implements heap.Interface; streams are only ever removed.
func (m *merge) Push(x any) {
	if s, ok := x.(*stream); ok {
		*m = append(*m, s)
	}
}

// Pop implements heap.Interface.
func (m *merge) Pop() any {
	old := *m
	last := old[len(old)-1]
	*m = old[:len(old)-1]
	return last
}
