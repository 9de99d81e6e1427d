package evidence

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"
)

// Filter chooses records. Zero fields choose all.
type Filter struct {
	// Since and Until bound Record.Time: at or after Since, before Until.
	Since, Until time.Time
	QueryID      string
	SessionID    string
	// Principal is the subject, or "<issuer>#<subject>".
	Principal  string
	Connection string
}

func (f Filter) matches(r *Record) bool {
	switch {
	case !f.Since.IsZero() && r.Time.Before(f.Since), !f.Until.IsZero() && !r.Time.Before(f.Until):
		return false
	case f.QueryID != "" && r.QueryID != f.QueryID, f.SessionID != "" && r.SessionID != f.SessionID,
		f.Connection != "" && r.Connection != f.Connection:
		return false
	case f.Principal != "":
		return r.Actor != nil && (r.Actor.Subject == f.Principal || r.Actor.Issuer+"#"+r.Actor.Subject == f.Principal)
	}
	return true
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
	defer func() {
		for _, s := range streams {
			s.close()
		}
	}()
	for _, name := range names {
		_, started, err := parseWriter(name)
		if err != nil || !f.Until.IsZero() && !started.Before(f.Until) {
			continue
		}
		streams = append(streams, &stream{writer: name, next: started})
	}
	sort.Sort(streams)
	for len(streams) > 0 {
		s := streams[0]
		record := s.record
		more, err := s.advance(ctx, r, f)
		if err != nil {
			return fmt.Errorf("reading records of %s: %w", s.writer, err)
		}
		if more {
			heap.Fix(&streams, 0)
		} else {
			heap.Pop(&streams)
			s.close()
		}
		if record != nil && f.matches(record) && !yield(record) {
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
	pull   func() (*Record, error, bool)
	end    func()
}

func (s *stream) close() {
	if s.end != nil {
		s.end()
	}
}

// advance takes the next record, and reports whether there is one.
func (s *stream) advance(ctx context.Context, r *Reader, f Filter) (bool, error) {
	if s.pull == nil {
		from := uint64(0)
		if !f.Since.IsZero() {
			var err error
			if from, err = r.seek(ctx, s.writer, f.Since); err != nil {
				return false, err
			}
		}
		s.pull, s.end = iter.Pull2(r.sequence(ctx, s.writer, from))
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
