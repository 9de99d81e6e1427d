package evidence

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// A run is consecutive segments of one writer, one after the other, as a bundle
// holds them.

// Run says which segments a run is of.
type Run struct {
	// From is the number of the first segment, To that after the last.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// First is the size of the tree before the run, Size after it, in records.
	First uint64 `json:"first"`
	Size  uint64 `json:"size"`
}

// CopyRun writes the writer's run of a period: from the last segment that was
// made before since, to the first that was made at or after until, or to the
// end of the log. A log that ended before since gives its last segment. ok is
// false for a writer without segments.
func (r *Reader) CopyRun(ctx context.Context, writer string, since, until time.Time, w io.Writer) (run Run, ok bool, err error) {
	from, err := r.seek(ctx, writer, since)
	if err != nil {
		return run, false, fmt.Errorf("copying the run of %s: %w", writer, err)
	}
	// The one before shows that nothing of the period is left out.
	from -= min(from, 1)
	err = r.scan(ctx, writer, from, func(s *segment) (bool, error) {
		if !ok {
			run.From, run.First, ok = s.Segment, s.First, true
		}
		run.To, run.Size = s.Segment+1, s.First+s.Count
		if _, err := w.Write(joinSegment(s.headerLine, s.records, s.note)); err != nil {
			return false, err
		}
		last, _, err := s.entry(len(s.records) - 1)
		return err == nil && last.Time.Before(until), err
	})
	if err != nil {
		return run, false, fmt.Errorf("copying the run of %s: %w", writer, err)
	}
	return run, ok, nil
}

// WithholdRun copies a run and leaves out the bodies of the records that keep
// does not want.
func WithholdRun(w io.Writer, run io.Reader, keep func(*Record) bool) error {
	for s, err := range segmentsOf(run) {
		if err != nil {
			return err
		}
		for i := range s.records {
			r, digest, err := s.entry(i)
			if err != nil {
				return err
			}
			if digest != "" && !keep(r) {
				s.records[i].body = []byte(withheld)
			}
		}
		if _, err := w.Write(joinSegment(s.headerLine, s.records, s.note)); err != nil {
			return err
		}
	}
	return nil
}

// RunRecords gives the records of a run in order. Signatures are verification's.
func RunRecords(run io.Reader) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for s, err := range segmentsOf(run) {
			if err != nil {
				yield(nil, err)
				return
			}
			s.partial = true
			for i := range s.records {
				if r, err := s.record(i); !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// MergeRuns calls yield with the records of runs, by writer, that the filter
// chooses, merged by time, until yield is false. A run is opened when the merge
// gets to its writer's start.
func MergeRuns(runs map[string]func() (io.ReadCloser, error), f Filter, yield func(*Record) bool) error {
	streams := make(merge, 0, len(runs))
	for writer, open := range runs {
		_, started, err := parseWriter(writer)
		if err != nil {
			return err
		}
		streams = append(streams, &stream{writer: writer, next: started, open: func() (iter.Seq2[*Record, error], error) {
			file, err := open()
			if err != nil {
				return nil, err
			}
			return func(yield func(*Record, error) bool) {
				defer func() { _ = file.Close() }() // it was only read
				RunRecords(file)(yield)
			}, nil
		}})
	}
	return streams.merge(f, yield)
}

// errRun: what follows in a run is no segment, so that it cannot be read on.
var errRun = fmt.Errorf("%w: not a run of segments", ErrInvalid)

// segmentsOf takes a run apart. A segment that cannot be read ends it.
func segmentsOf(run io.Reader) iter.Seq2[*segment, error] {
	in := bufio.NewReaderSize(run, 1<<16)
	return func(yield func(*segment, error) bool) {
		for {
			object, err := nextSegment(in)
			if errors.Is(err, io.EOF) {
				return
			}
			var s *segment
			if err == nil {
				s, err = parseSegment(object)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// nextSegment reads the bytes of one segment; io.EOF at the end of the run.
func nextSegment(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	var object []byte
	line := func() ([]byte, error) {
		at := len(object)
		for {
			part, err := in.ReadSlice('\n')
			object = append(object, part...)
			switch {
			case len(object) > maxSegment:
				return nil, fmt.Errorf("%w: a segment is larger than any that a gateway writes", errRun)
			case errors.Is(err, bufio.ErrBufferFull):
			case err != nil:
				return nil, fmt.Errorf("%w: it ends within a segment", errRun)
			default:
				return object[at:], nil
			}
		}
	}
	if magic, err := line(); err != nil || string(magic) != segmentMagic {
		return nil, fmt.Errorf("%w: no segment begins here", errRun)
	}
	header, err := line()
	if err != nil {
		return nil, err
	}
	s, err := parseHeader(bytes.TrimSuffix(header, []byte{'\n'}))
	if err != nil {
		return nil, err
	}
	for range s.Count {
		for range 2 {
			if _, err := line(); err != nil {
				return nil, err
			}
		}
	}
	// The note: its text, an empty line, and lines of signatures.
	for {
		text, err := line()
		if err != nil {
			return nil, err
		}
		if len(text) == 1 {
			break
		}
	}
	for {
		next, err := in.Peek(len(segmentMagic))
		if len(next) == 0 && errors.Is(err, io.EOF) || bytes.HasPrefix(next, []byte(segmentMagic)) {
			return object, nil
		}
		if _, err := line(); err != nil {
			return nil, err
		}
	}
}
