package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/chaperone-sql/chaperone/evidence"
)

const (
	// batch is how many records are put into the file at once; it bounds memory
	// together with the size of a segment.
	batch = 4096
	// longestPause bounds how long a writer that has been silent is not looked at.
	longestPause = 10 * time.Minute
	// settled is how long after its last record a log's end is taken for one.
	settled = time.Minute
)

// cursor is how far a writer's log is indexed.
type cursor struct {
	Number  uint32 `json:"number"`
	Segment uint64 `json:"segment"` // the next one
	// Sequence is the next record's.
	Sequence uint64 `json:"sequence"`
	// Gap is true after a segment that was left out: the next record's sequence
	// is not known.
	Gap    bool      `json:"gap,omitempty"`
	Closed bool      `json:"closed,omitempty"`
	Last   time.Time `json:"last"`
}

// State tells how far the index is.
func (ix *Index) State() State {
	ix.state.Lock()
	defer ix.state.Unlock()
	s := ix.state.State
	s.Damaged = maps.Clone(s.Damaged)
	for _, g := range ix.state.gaps {
		s.Damaged[g.segment] = g.why
	}
	return s
}

// Run follows the logs until ctx ends.
func (ix *Index) Run(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		if err := ix.Refresh(ctx); err != nil && ctx.Err() == nil {
			ix.cfg.Logger.Warn("the search index could not be brought up to date; trying again", "error", err)
		}
		wait := time.NewTimer(every)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// Refresh follows all logs to their ends. What was indexed when ctx ends stays.
func (ix *Index) Refresh(ctx context.Context) error {
	select {
	case ix.refreshing <- struct{}{}:
		defer func() { <-ix.refreshing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := ix.refresh(ctx)
	if errors.Is(err, errDamaged) {
		if err = ix.rebuild(err); err == nil {
			err = ix.refresh(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("bringing the index up to date: %w", err)
	}
	return nil
}

func (ix *Index) refresh(ctx context.Context) error {
	began := ix.cfg.Clock()
	names, err := ix.cfg.Reader.Names(ctx)
	if err != nil {
		return err
	}
	if err := ix.checkKnown(names); err != nil {
		return err
	}
	// The newest first: what happened last is looked for most.
	slices.SortFunc(names, func(a, b string) int {
		s, _ := evidence.WriterStart(a)
		t, _ := evidence.WriterStart(b)
		return t.Compare(s)
	})
	for _, name := range names {
		if ix.resting(name, began) {
			continue
		}
		if err := ix.follow(ctx, name); err != nil {
			return err
		}
	}
	ix.state.Lock()
	ix.state.UpTo = began
	ix.state.Unlock()
	return nil
}

// checkKnown refuses a file that knows a writer that the store does not.
func (ix *Index) checkKnown(names []string) error {
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	return ix.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketWriters).ForEach(func(name, _ []byte) error {
			if !there[string(name)] {
				return fmt.Errorf("%w: it knows a writer that the store does not", errDamaged)
			}
			return nil
		})
	})
}

// resting reports whether a writer has been silent for so long that it can wait.
func (ix *Index) resting(name string, now time.Time) bool {
	ix.state.Lock()
	defer ix.state.Unlock()
	return now.Before(ix.state.due[name])
}

// follow indexes a writer's log from its cursor on.
func (ix *Index) follow(ctx context.Context, name string) error {
	c, err := ix.cursor(name)
	if err != nil || c.Closed {
		return err
	}
	f := &follower{ix: ix, name: name, c: c}
	for {
		err = ix.cfg.Reader.Entries(ctx, name, f.c.Segment, f.add)
		if err := f.flush(); err != nil {
			return err
		}
		if !errors.Is(err, evidence.ErrInvalid) {
			break
		}
		if err := f.skip(err); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := ix.look(ctx, name, f.c); err != nil {
		return err
	}
	if !f.c.Last.IsZero() {
		now := ix.cfg.Clock()
		ix.state.Lock()
		ix.state.due[name] = now.Add(min(now.Sub(f.c.Last)/20, longestPause))
		ix.state.Unlock()
	}
	return nil
}

// gap is a segment that is not there although its log goes on behind it.
type gap struct{ segment, why string }

// look finds out whether a silent log goes on behind its end. Segments that are on
// their way can overtake one another for a moment, so an end is looked at only
// once it has been one for a while. The index stays before the gap: a segment that
// was only late is indexed when it comes.
func (ix *Index) look(ctx context.Context, name string, c cursor) error {
	why := ""
	if !c.Closed && ix.cfg.Clock().Sub(c.Last) > settled {
		var err error
		if why, err = ix.cfg.Reader.Beyond(ctx, name, c.Segment); err != nil {
			return err
		}
	}
	ix.state.Lock()
	defer ix.state.Unlock()
	delete(ix.state.gaps, name)
	if why != "" && len(ix.state.gaps) < maxDamaged {
		ix.state.gaps[name] = gap{fmt.Sprintf("evidence/%s/segments/%016d", name, c.Segment), why}
	}
	return nil
}

// cursor reads a writer's cursor, or gives a new writer a number.
func (ix *Index) cursor(name string) (c cursor, err error) {
	known := false
	err = ix.view(func(tx *bolt.Tx) error {
		text := tx.Bucket(bucketWriters).Get([]byte(name))
		if text == nil {
			return nil
		}
		known = true
		if err := json.Unmarshal(text, &c); err != nil {
			return fmt.Errorf("%w: a cursor cannot be read", errDamaged)
		}
		return nil
	})
	if err != nil || known {
		return c, err
	}
	err = ix.update(func(tx *bolt.Tx) error {
		numbers := tx.Bucket(bucketNumbers)
		n, err := numbers.NextSequence()
		if err != nil {
			return err
		}
		c.Number = uint32(n) // #nosec G115 -- a store does not have four billion writers
		if err := numbers.Put(binary.BigEndian.AppendUint32(nil, c.Number), []byte(name)); err != nil {
			return err
		}
		return putCursor(tx, name, c)
	})
	return c, err
}

func putCursor(tx *bolt.Tx, name string, c cursor) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketWriters).Put([]byte(name), text)
}

// follower collects the postings of a writer's records.
type follower struct {
	ix      *Index
	name    string
	c       cursor
	records int
	pairs   []pair
}

type pair struct{ key, value []byte }

// add takes in a segment.
func (f *follower) add(segment uint64, records []evidence.Record) error {
	for i := range records {
		r := &records[i]
		if r.Sequence != f.c.Sequence && !f.c.Gap {
			return fmt.Errorf("%w: its place in the log of %s is not where it says", errDamaged, f.name)
		}
		at := position(r.Time, f.c.Number, r.Sequence)
		for n, t := range terms(r) {
			p := pair{key: append(t, at...)}
			if n == 0 {
				p.value = place{segment, r.QueryID}.encode()
			}
			f.pairs = append(f.pairs, p)
		}
		f.c.Sequence, f.c.Gap, f.c.Last = r.Sequence+1, false, r.Time
		f.c.Closed = r.Type == evidence.TypeWriterClosed
	}
	f.c.Segment = segment + 1
	if f.records += len(records); f.records >= batch {
		return f.flush()
	}
	return nil
}

// flush stores what was collected, and how far it reaches, in one transaction.
func (f *follower) flush() error {
	if f.records == 0 {
		return nil
	}
	slices.SortFunc(f.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	err := f.ix.update(func(tx *bolt.Tx) error {
		postings := tx.Bucket(bucketPostings)
		for _, p := range f.pairs {
			if err := postings.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return putCursor(tx, f.name, f.c)
	})
	if err != nil {
		return err
	}
	f.ix.state.Lock()
	f.ix.state.Records += int64(f.records)
	f.ix.state.Unlock()
	f.records, f.pairs = 0, f.pairs[:0]
	return nil
}

// skip goes on behind a segment that does not verify. The file remembers it, for
// as long as the segment is left out of it: what is stored does not change.
func (f *follower) skip(why error) error {
	segment := fmt.Sprintf("evidence/%s/segments/%016d", f.name, f.c.Segment)
	f.c.Segment++
	f.c.Gap = true
	return f.ix.update(func(tx *bolt.Tx) error {
		if f.ix.damaged(segment, why) {
			if err := tx.Bucket(bucketDamaged).Put([]byte(segment), []byte(why.Error())); err != nil {
				return err
			}
		}
		return putCursor(tx, f.name, f.c)
	})
}

// damaged notes a damaged segment, and reports whether there is room for it.
func (ix *Index) damaged(segment string, why error) bool {
	ix.state.Lock()
	defer ix.state.Unlock()
	if len(ix.state.Damaged) >= maxDamaged {
		return false
	}
	ix.state.Damaged[segment] = why.Error()
	return true
}
