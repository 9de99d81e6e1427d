package connectors

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Analyses keeps what statements were understood as, for the very same question:
// an analysis is a pure function of what Key digests. It is bounded by entries,
// by bytes and by idleness, since a statement's text holds its literals; large
// statements are not kept. It is safe for concurrent use, and what it gives is
// shared: a Statement is immutable.
type Analyses struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[Key, *analysed]
	bytes int
	now   func() time.Time
}

// Key digests everything that an analysis depends on.
type Key [sha256.Size]byte

type analysed struct {
	st   *Statement
	size int
	used time.Time
}

const (
	maxAnalyses      = 4096
	maxAnalysesBytes = 16 << 20
	maxAnalysisBytes = 64 << 10
	maxAnalysisIdle  = 15 * time.Minute // it goes with the next look-up after that
)

// NewAnalyses returns an empty cache.
func NewAnalyses() *Analyses {
	a := &Analyses{now: time.Now}
	// The only error is of a size that is not positive.
	a.lru, _ = simplelru.NewLRU(maxAnalyses, func(_ Key, old *analysed) { a.bytes -= old.size })
	return a
}

// KeyOf is the key of an input's analysis with a version of the catalog.
func KeyOf(catalog string, in Input) Key {
	h := sha256.New()
	number := func(n int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // a digest's input
		h.Write(b[:])
	}
	list := func(parts ...string) {
		number(len(parts))
		for _, part := range parts { // each with its length, so that none can pass for two
			number(len(part))
			h.Write([]byte(part))
		}
	}
	list(in.Text, catalog, in.Classes.Version(), in.Today.Format(time.DateOnly))
	list(in.Names...)
	list(in.Open...)
	list(in.SearchPath...)
	for _, name := range slices.Sorted(maps.Keys(in.Functions)) {
		list(name, in.Functions[name])
	}
	number(len(in.Functions))
	number(in.Count)
	flags := 0
	if in.Names == nil {
		flags |= 1
	}
	if in.Cells {
		flags |= 2
	}
	number(flags)
	return Key(h.Sum(nil))
}

// Get returns the statement of a key, or nil.
func (a *Analyses) Get(key Key) *Statement {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	found, ok := a.lru.Get(key)
	if !ok {
		return nil
	}
	found.used = a.now()
	return found.st
}

// Put keeps a statement, which must not change any more.
func (a *Analyses) Put(key Key, st *Statement) {
	size := sizeOf(st)
	if size > maxAnalysisBytes {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	a.lru.Remove(key)
	a.bytes += size
	a.lru.Add(key, &analysed{st, size, a.now()})
	for a.bytes > maxAnalysesBytes {
		a.lru.RemoveOldest()
	}
}

// forget drops what nobody asked for in a while.
func (a *Analyses) forget() {
	for {
		_, oldest, ok := a.lru.GetOldest()
		if !ok || a.now().Sub(oldest.used) < maxAnalysisIdle {
			return
		}
		a.lru.RemoveOldest()
	}
}

// sizeOf is about how many bytes a statement takes. Names come from the
// catalog, which has them anyway.
func sizeOf(st *Statement) int {
	n := int(unsafe.Sizeof(*st)) + len(st.Text) + len(st.Source) + len(st.Normalized) + len(st.Fingerprint)
	n += cap(st.Relations)*int(unsafe.Sizeof(Relation{})) + cap(st.Functions)*int(unsafe.Sizeof(Function{})) +
		cap(st.Writes)*int(unsafe.Sizeof(ColumnWrite{})) + cap(st.Lookups)*int(unsafe.Sizeof(Lookup{})) + 8*cap(st.Order) +
		cap(st.Columns)*int(unsafe.Sizeof(""))
	for _, u := range st.Uses {
		n += int(unsafe.Sizeof(u)) + len(u.ID) + len(u.Hint)
	}
	for _, out := range st.Outputs {
		n += int(unsafe.Sizeof(out)) + len(out.Name) + 8*cap(out.Counts)
		if out.Source != nil {
			n += int(unsafe.Sizeof(*out.Source))
		}
	}
	for _, note := range st.Notes {
		n += int(unsafe.Sizeof(note)) + len(note)
	}
	for _, s := range st.Stamps {
		n += int(unsafe.Sizeof(s)) + len(s.Name) + len(s.Value)
	}
	return n
}
