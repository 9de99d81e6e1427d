package evidence

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/worm"
)

// Reader reads what any writer recorded. Every segment it uses is verified by
// itself: whole, and signed by the trusted key that its writer announced. That
// nothing is missing is for Verify. It is safe for concurrent use.
type Reader struct {
	store   worm.Store
	trusted note.Verifiers

	mu      sync.Mutex
	keys    map[string]note.Verifiers // by writer: the key that it announced
	names   []string                  // of writers, by name
	listed  time.Time
	indexes map[string]*index
}

const (
	// namesFresh is how long a listing of writers is used again.
	namesFresh = 2 * time.Second
	// maxIndexes bounds how many logs' indexes are kept.
	maxIndexes = 256
	// prefetch is how many segments are read ahead.
	prefetch = 8
)

// NewReader reads a store, trusting these keys.
func NewReader(store worm.Store, trusted note.Verifiers) *Reader {
	return &Reader{store: store, trusted: trusted, keys: make(map[string]note.Verifiers), indexes: make(map[string]*index)}
}

// Writers gives the announcements of all writers, by start.
func (r *Reader) Writers(ctx context.Context) ([]Announcement, error) {
	names, err := r.writerNames(ctx, 0)
	if err != nil {
		return nil, err
	}
	list := make([]Announcement, 0, len(names))
	for _, name := range names {
		object, err := r.store.Get(ctx, announcementKey(name), maxAnnouncement)
		if err != nil {
			return nil, fmt.Errorf("reading announcement of %s: %w", name, err)
		}
		a, _, err := openAnnouncement(object.Body, r.trusted)
		if err != nil {
			return nil, fmt.Errorf("reading announcement of %s: %w", name, err)
		}
		list = append(list, a)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Started.Before(list[j].Started) })
	return list, nil
}

// writerNames lists the writers, from memory if that is younger than fresh.
func (r *Reader) writerNames(ctx context.Context, fresh time.Duration) ([]string, error) {
	r.mu.Lock()
	names, age := r.names, time.Since(r.listed)
	r.mu.Unlock()
	if names != nil && age < fresh {
		return names, nil
	}
	names = []string{}
	asked := time.Now()
	err := r.store.List(ctx, writersDir, "", func(e worm.Entry) bool {
		name := strings.TrimPrefix(e.Key, writersDir)
		if _, _, err := parseWriter(name); err == nil {
			names = append(names, name)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("listing writers: %w", err)
	}
	r.mu.Lock()
	r.names, r.listed = names, asked
	r.mu.Unlock()
	return names, nil
}

// segment reads and verifies one segment. A segment that is not there is
// worm.ErrNotFound.
func (r *Reader) segment(ctx context.Context, writer string, number uint64) (*segment, error) {
	key := segmentKey(writer, number)
	object, err := r.store.Get(ctx, key, maxSegment)
	if err != nil {
		return nil, err
	}
	s, err := parseSegment(object.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if s.Writer != writer || s.Segment != number {
		return nil, fmt.Errorf("%s: %w: it is another segment", key, ErrInvalid)
	}
	announced, err := r.announced(ctx, writer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if _, _, err := s.verify(announced); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return s, nil
}

// announced is the key that a writer announced, which alone signs its log: not
// another gateway's, nor an auditor's, though they are trusted, too.
func (r *Reader) announced(ctx context.Context, writer string) (note.Verifiers, error) {
	r.mu.Lock()
	known := r.keys[writer]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	object, err := r.store.Get(ctx, announcementKey(writer), maxAnnouncement)
	if errors.Is(err, worm.ErrNotFound) || errors.Is(err, worm.ErrTooLarge) {
		return nil, fmt.Errorf("%w: its writer has no announcement that can be read", ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("reading announcement of %s: %w", writer, err)
	}
	a, key, err := openAnnouncement(object.Body, r.trusted)
	if err != nil {
		return nil, fmt.Errorf("announcement of %s: %w", writer, err)
	}
	if a.Writer != writer {
		return nil, fmt.Errorf("announcement of %s: %w: it is of another writer", writer, ErrInvalid)
	}
	known = note.VerifierList(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) >= maxIndexes {
		clear(r.keys) // rare, and only costs reads
	}
	r.keys[writer] = known
	return known, nil
}

// scan calls yield with a writer's segments from a number on, in order, until
// yield is false or the first one that is not there. It reads ahead, less at
// the start: most scans end soon.
func (r *Reader) scan(ctx context.Context, writer string, from uint64, yield func(*segment) (bool, error)) error {
	type result struct {
		s   *segment
		err error
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var ahead []chan result
	next := from
	for depth := 1; ; depth = min(depth+1, prefetch) {
		for len(ahead) < depth {
			c, number := make(chan result, 1), next
			go func() {
				s, err := r.segment(ctx, writer, number)
				c <- result{s, err}
			}()
			ahead = append(ahead, c)
			next++
		}
		got := <-ahead[0]
		ahead = ahead[1:]
		if errors.Is(got.err, worm.ErrNotFound) {
			return nil
		}
		if got.err != nil {
			return got.err
		}
		r.index(writer).note(got.s)
		more, err := yield(got.s)
		if err != nil || !more {
			return err
		}
	}
}

// index knows some segments' times, so that looking up a time again takes few
// reads. Segments never change, so neither does what it knows.
type index struct {
	mu    sync.Mutex
	known map[uint64]time.Time // last record's time by segment
}

// maxKnown bounds an index.
const maxKnown = 4096

func (r *Reader) index(writer string) *index {
	r.mu.Lock()
	defer r.mu.Unlock()
	ix := r.indexes[writer]
	if ix == nil {
		if len(r.indexes) >= maxIndexes {
			clear(r.indexes) // rare, and only costs reads
		}
		ix = &index{known: make(map[uint64]time.Time)}
		r.indexes[writer] = ix
	}
	return ix
}

func (ix *index) note(s *segment) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if len(ix.known) >= maxKnown {
		clear(ix.known)
	}
	ix.known[s.Segment] = s.Time
}

// bounds narrows where the first segment made at or after t can be: low is
// before it or 0, high at or after it if known.
func (ix *index) bounds(t time.Time) (low, high uint64, known bool) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for number, at := range ix.known {
		if at.Before(t) {
			low = max(low, number)
		} else if !known || number < high {
			high, known = number, true
		}
	}
	return low, high, known
}

// seek finds the first segment made at or after t: no earlier one holds a
// record of t or later. Beyond the end it gives the next number.
func (r *Reader) seek(ctx context.Context, writer string, t time.Time) (uint64, error) {
	ix := r.index(writer)
	// reaches tells whether a segment was made at or after t, or is not there.
	reaches := func(number uint64) (bool, error) {
		s, err := r.segment(ctx, writer, number)
		if errors.Is(err, worm.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		ix.note(s)
		return !s.Time.Before(t), nil
	}
	low, high, known := ix.bounds(t)
	for step := uint64(1); !known; step *= 2 {
		high = low + step - 1
		reached, err := reaches(high)
		if err != nil {
			return 0, err
		}
		if known = reached; !reached {
			low = high
		}
	}
	for low < high {
		middle := low + (high-low)/2
		reached, err := reaches(middle)
		if err != nil {
			return 0, err
		}
		if reached {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}
