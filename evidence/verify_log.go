package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/worm"
)

// logEndState is where the walk through a log is, and at last how it ended.
type logEndState struct {
	// tree is the log up to here; nil after a broken segment, whose leaves
	// are not known.
	tree *tree
	// next is the number of the segment after the last one of the log;
	// segments stranded behind a gap at the end do not count.
	next uint64
	// damaged is true once a segment was broken or gone: what was in it may
	// explain what comes later.
	damaged bool
	last    time.Time
	first   time.Time // of the newest segment
	// substance is the size after the last record that tells more than that the
	// writer lives.
	substance uint64
	note      string // newest checkpoint
	// previous is the digest of the newest checkpoint.
	previous string
	// cut is true if the end is reported as gone.
	cut bool
	// closed is true after writer.closed.
	closed bool
	open   map[string]bool // queries with an intent and no outcome
}

// fetched is one segment object, read ahead.
type fetched struct {
	number uint64
	object worm.Object
	err    error
}

// verifyLog walks through a writer's log once, in order, with memory bounded
// by the segments read ahead.
func (v *verifier) verifyLog(ctx context.Context, l *logState) error {
	l.end.tree, l.end.open = newTree(), make(map[string]bool)
	if err := v.verifyLinks(ctx, l); err != nil {
		return err
	}
	stranded := v.gaps(l)
	err := v.fetchAll(ctx, l, func(f fetched) error {
		behind := f.number >= stranded
		if !behind && f.number != l.end.next {
			l.end.tree, l.end.damaged = nil, true // gaps reported it
		}
		s, err := v.verifySegment(l, f)
		if s != nil && behind {
			v.strand(l, s, f.object.Body)
		} else if s != nil {
			v.continues(l, s)
		}
		if !behind {
			l.end.next = f.number + 1
		}
		return err
	})
	return err
}

// gaps reports missing segments. It returns the number of the first segment
// behind a gap at the end that a dying or running writer can have left; strand
// judges those.
func (v *verifier) gaps(l *logState) (stranded uint64) {
	stranded = math.MaxUint64
	if len(l.runs) == 0 {
		return stranded
	}
	next, total := uint64(0), l.runs[len(l.runs)-1][1]
	for _, run := range l.runs {
		if run[0] > next {
			// At most maxInFlight segments were on their way.
			if total-next <= maxInFlight && mayStrand(l, next) {
				return run[0]
			}
			v.missing(l, next, run[0])
		}
		next = run[1]
	}
	return stranded
}

// mayStrand reports whether a log may honestly lack a segment near its end:
// nobody saw it there.
func mayStrand(l *logState, gap uint64) bool {
	for _, p := range l.told {
		if p.Segments > gap {
			return false
		}
	}
	return true
}

// missing reports a range of missing segments, each if there are few.
func (v *verifier) missing(l *logState, from, to uint64) {
	const each = 16
	if to-from > each {
		v.finding(segmentKey(l.writer, from), KindMissing, "This segment and those up to %s are gone.", padded(to-1))
		return
	}
	for n := from; n < to; n++ {
		v.finding(segmentKey(l.writer, n), KindMissing, "This segment is gone: the log has segments after it.")
	}
}

// fetchAll reads the listed segments in order, some ahead.
func (v *verifier) fetchAll(ctx context.Context, l *logState, use func(fetched) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ahead := make(chan chan fetched, prefetch)
	go func() {
		defer close(ahead)
		for _, run := range l.runs {
			for n := run[0]; n < run[1]; n++ {
				c := make(chan fetched, 1)
				select {
				case ahead <- c:
				case <-ctx.Done():
					return
				}
				go func() {
					object, err := v.store.Get(ctx, segmentKey(l.writer, n), maxSegment)
					c <- fetched{n, object, err}
				}()
			}
		}
	}()
	for c := range ahead {
		if err := use(<-c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// verifySegment checks a segment by itself. It returns nil if it is broken.
func (v *verifier) verifySegment(l *logState, f fetched) (*segment, error) {
	key := segmentKey(l.writer, f.number)
	switch {
	case errors.Is(f.err, worm.ErrNotFound):
		v.broken(l, f.number, KindMissing, "This segment is listed but cannot be read.")
		return nil, nil
	case errors.Is(f.err, worm.ErrTooLarge):
		v.broken(l, f.number, KindMalformed, "This segment is larger than any that a gateway writes.")
		return nil, nil
	case f.err != nil:
		return nil, f.err
	}
	s, err := parseSegment(f.object.Body)
	if err != nil {
		v.broken(l, f.number, KindMalformed, "This segment was changed: %v.", err)
		return nil, nil
	}
	if !v.checkSegment(l, s, f.number) {
		return nil, nil
	}
	v.clock(key, s, f.object.Modified)
	return s, nil
}

// broken reports a segment whose leaves are not known.
func (v *verifier) broken(l *logState, number uint64, kind Kind, format string, args ...any) {
	v.finding(segmentKey(l.writer, number), kind, format, args...)
	l.end.tree, l.end.damaged = nil, true
	delete(l.links, number)
}

// checkSegment checks by itself a segment that stands in the place of a number,
// and reports whether it can be used.
func (v *verifier) checkSegment(l *logState, s *segment, number uint64) bool {
	if s.Writer != l.writer || s.Segment != number {
		v.broken(l, number, KindMisplaced, "In this place is %s: segments were swapped, renamed or copied.",
			segmentKey(s.Writer, s.Segment))
		return false
	}
	after, c, err := s.verify(v.keysOf(l))
	switch {
	case err != nil && c.Origin == "":
		v.broken(l, number, KindSignature, "The checkpoint of this segment was changed or forged: %v.", err)
		return false
	case err != nil:
		v.broken(l, number, KindContent, "This segment was changed after it was signed: %v.", err)
		return false
	}
	if l.end.tree == nil {
		// The one before is broken or not here; go on from what this one says,
		// which is signed.
		if l.end.tree, err = s.before(); err != nil {
			v.broken(l, number, KindContent, "This segment was changed: %v.", err)
			return false
		}
		l.end.previous = s.Previous
	}
	v.count(s)
	s.after = after
	return true
}

// keysOf are the keys that may sign a log: the announced one, or any trusted
// one if the announcement is gone.
func (v *verifier) keysOf(l *logState) note.Verifiers {
	if l.key == nil {
		return v.trusted
	}
	return note.VerifierList(l.key)
}

func (v *verifier) clock(key string, s *segment, modified time.Time) {
	if v.o.Copy {
		return
	}
	if late := modified.Sub(s.Time); late > v.o.ClockSkew+storageSlack {
		v.note(key, KindClock, "It was stored %s after it was made: the store was away, or a clock was wrong.",
			late.Round(time.Second))
	}
	if !s.Time.After(modified.Add(v.o.ClockSkew)) {
		return
	}
	v.finding(key, KindClock, "The writer's clock said %s when the store's said %s: one of them was wrong, or the "+
		"segment was made to look later.", s.Time.Format(time.RFC3339), modified.Format(time.RFC3339))
}

func (v *verifier) count(s *segment) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Segments++
	v.report.Records += int64(len(s.records))
}

// continues checks that a whole segment goes on where the log is.
func (v *verifier) continues(l *logState, s *segment) {
	key := segmentKey(l.writer, s.Segment)
	before, err := s.before()
	switch {
	case err != nil:
		v.finding(key, KindContent, "This segment was changed: %v.", err)
	case s.First != l.end.tree.size():
		v.finding(key, KindForked, "This segment begins at record %d but the log before it has %d: "+
			"it belongs to another history.", s.First, l.end.tree.size())
	case !sameRoot(before, l.end.tree) || s.Previous != l.end.previous:
		v.finding(key, KindForked, "This segment continues a log with other records before it: the log has two histories.")
	}
	away := v.records(l, s, key)
	if !l.partial { // bundles hold no links
		v.checkLinks(l, s.Segment, away)
	}
	l.end.tree, l.end.note, l.end.previous = s.after, string(s.note), lineDigest(s.note)
	l.mark(s.Segment)
}

func sameRoot(a, b *tree) bool {
	ra, errA := a.root()
	rb, errB := b.root()
	return errA == nil && errB == nil && bytes.Equal(ra, rb)
}

// verifyLinks reads each link: it must hold its own key.
func (v *verifier) verifyLinks(ctx context.Context, l *logState) error {
	for number, queries := range l.links {
		for _, query := range queries {
			key := linkKey(query, l.writer, number)
			want := linkBody(key)
			object, err := v.store.Get(ctx, key, int64(len(want)))
			switch {
			case errors.Is(err, worm.ErrNotFound), errors.Is(err, worm.ErrTooLarge),
				err == nil && !bytes.Equal(object.Body, want):
				v.finding(key, KindContent, "This link was changed: it does not hold its own key.")
			case err != nil:
				return err
			}
		}
	}
	return nil
}

// checkLinks compares the links to a segment with the queries of its records
// that need one.
func (v *verifier) checkLinks(l *logState, number uint64, want map[string]bool) {
	for query := range want {
		if !slices.Contains(l.links[number], query) {
			v.finding(linkKey(query, l.writer, number), KindMissing,
				"The link that lets this query's later records be found is gone.")
		}
	}
	for _, query := range l.links[number] {
		if !want[query] {
			v.finding(linkKey(query, l.writer, number), KindUnexplained,
				"This link points at a segment that has no such record.")
		}
	}
	delete(l.links, number)
}

// strand judges a segment behind a gap at the end of the log: nothing in it
// was acknowledged. It is honest if the successor signed that it was there, or
// if the writer is still running; and never if the segment itself says that
// what is missing was durable.
func (v *verifier) strand(l *logState, s *segment, body []byte) {
	key := segmentKey(l.writer, s.Segment)
	delete(l.links, s.Segment)
	for i, p := range l.told {
		for _, seen := range p.Stranded {
			if s.Durable <= l.end.next && seen.Segment == s.Segment && seen.SHA256 == digest(body) {
				v.note(key, KindCut, "It was on its way when the writer died, behind one that was not stored; "+
					"nothing in it was released. The announcement of %s says so.", l.by[i])
				return
			}
		}
	}
	if s.Durable <= l.end.next && v.fresh(l, s.Time) {
		v.note(key, KindCut, "It is behind a segment that is still on its way.")
		return
	}
	if !l.end.damaged {
		l.end.damaged = true
		v.missing(l, l.end.next, s.Segment)
	}
}

// fresh reports whether a writer that wrote last at a time may be running.
func (v *verifier) fresh(l *logState, last time.Time) bool {
	silence := v.o.MaxSilence
	if silence <= 0 && l.announcement != nil {
		silence = 2*time.Duration(l.announcement.HeartbeatMS)*time.Millisecond + storageSlack
	}
	return v.o.Now.Sub(last) <= silence
}

// verifyEnd judges how the log ends.
func (v *verifier) verifyEnd(l *logState) {
	next := segmentKey(l.writer, l.end.next)
	for number, queries := range l.links {
		if number >= l.end.next && !l.end.closed || l.end.damaged {
			continue // stored beside a segment that was not, by a writer that died
		}
		for _, query := range queries {
			v.finding(linkKey(query, l.writer, number), KindUnexplained, "This link points at a segment that does not exist.")
		}
	}
	v.mu.Lock()
	v.report.Interrupted += int64(len(l.end.open))
	if l.end.note != "" {
		v.report.Checkpoints[l.writer] = l.end.note
	}
	v.mu.Unlock()
	switch explained, by := v.explained(l); {
	case l.end.closed, l.partial && !l.end.last.Before(v.bundle.manifest.Until):
	case l.end.cut, l.end.damaged: // reported
	case explained:
		v.note(next, KindCut, "The writer died without closing its log. The announcement of %s says that it ended here.", by)
	case v.fresh(l, v.lastSeen(l)):
		v.note(next, KindCut, "The writer is still running; its log is whole up to here.")
	default:
		v.finding(next, KindCut, "The log ends without writer.closed at %s, and no later start of the instance says "+
			"that it ended here: its end was cut off, or the gateway died and was never started again.",
			v.lastSeen(l).Format(time.RFC3339))
	}
}

func (v *verifier) lastSeen(l *logState) time.Time {
	if l.end.last.IsZero() && l.announcement != nil {
		return l.announcement.Started
	}
	return l.end.last
}

// explained reports whether a successor saw the log end where it does.
func (v *verifier) explained(l *logState) (bool, string) {
	for i, p := range l.told {
		if p.Segments == l.end.next && p.Problem == "" {
			return true, l.by[i]
		}
	}
	return false, ""
}

// conclude checks what concerns several objects at once.
func (v *verifier) conclude(ctx context.Context) error {
	if len(v.logs) == 0 {
		v.finding(writersDir, KindMissing, "No gateway has announced itself here: there is nothing that could be verified.")
	}
	if err := v.observers(ctx); err != nil {
		return err
	}
	for _, l := range v.logs {
		if err := v.compareWitnesses(ctx, l); err != nil {
			return err
		}
		v.verifyEnd(l)
	}
	return v.approvals(ctx)
}

// recordFinding is a finding about one record.
func (v *verifier) recordFinding(object string, r *Record, kind Kind, format string, args ...any) {
	v.add(Finding{Object: object, Record: r.ID, Kind: kind, Message: fmt.Sprintf(format, args...)})
}
