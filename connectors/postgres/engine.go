// Package postgres understands and runs statements on PostgreSQL.
//
// A statement is parsed by PostgreSQL's own grammar (libpg_query, in a
// WebAssembly sandbox), every name is resolved against the catalog, references
// to relations with protected columns are replaced in the tree by derived
// tables that mask them, and the text that is sent is written from the tree and
// parsed again. Whatever the walk does not know it refuses.
package postgres

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/chaperone-sql/chaperone/connectors"
)

// Engine implements connectors.Engine. It is safe for concurrent use.
type Engine struct {
	mu    sync.Mutex
	cache map[[32]byte]*list.Element
	order *list.List // front is newest
	bytes int
}

// cached is an analysis that succeeded.
type cached struct {
	key  [32]byte
	st   *connectors.Statement
	size int
}

const (
	maxStatement = 1 << 20 // bytes of text
	maxDepth     = 200     // of nesting
	cacheBytes   = 16 << 20
)

// New returns an Engine with an empty cache.
func New() *Engine { return &Engine{cache: map[[32]byte]*list.Element{}, order: list.New()} }

// Warm starts the parser's sandbox, which takes a second that the first
// statement need not wait for.
func (*Engine) Warm() { _, _ = pgquery.Parse("SELECT 1") }

// Name is "postgres".
func (e *Engine) Name() string { return "postgres" }

// Analyze understands a statement; see connectors.Engine.
func (e *Engine) Analyze(cat connectors.Catalog, in connectors.Input) (st *connectors.Statement, err error) {
	c, ok := cat.(*catalog)
	if !ok {
		return nil, unsupported("the catalog is of another engine", "")
	}
	if err := checkText(in.Text); err != nil {
		return nil, err
	}
	key := cacheKey(c, in)
	if st := e.lookup(key); st != nil {
		return st, nil
	}
	defer func() { // a hostile statement must not be able to end the process
		if r := recover(); r != nil {
			st, err = nil, unsupported("the statement could not be analysed", "Write it more simply.")
		}
	}()
	a := &analysis{cat: c, in: in, st: &connectors.Statement{Engine: "postgres", CatalogVersion: c.version}}
	if err := a.run(); err != nil {
		return nil, err
	}
	e.store(key, a.st)
	return a.st, nil
}

func cacheKey(c *catalog, in connectors.Input) [32]byte {
	h := sha256.New()
	for _, part := range []string{in.Text, c.version, in.Classes.Version(), in.Today.Format("2006-01-02"),
		strings.Join(in.Open, "\x00"), strings.Join(in.Names, "\x00"), strings.Join(in.SearchPath, "\x00"),
		fmt.Sprint(in.Count, in.Names == nil)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return [32]byte(h.Sum(nil))
}

func (e *Engine) lookup(key [32]byte) *connectors.Statement {
	e.mu.Lock()
	defer e.mu.Unlock()
	if el, ok := e.cache[key]; ok {
		e.order.MoveToFront(el)
		return el.Value.(*cached).st
	}
	return nil
}

func (e *Engine) store(key [32]byte, st *connectors.Statement) {
	size := 2*len(st.Text) + len(st.Normalized) + 1024
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.cache[key]; ok || size > cacheBytes/8 {
		return
	}
	e.cache[key] = e.order.PushFront(&cached{key, st, size})
	for e.bytes += size; e.bytes > cacheBytes; {
		oldest := e.order.Remove(e.order.Back()).(*cached)
		delete(e.cache, oldest.key)
		e.bytes -= oldest.size
	}
}

// checkText refuses what no parser should see.
func checkText(text string) error {
	bad := func(message string) error { return &connectors.Error{Kind: connectors.KindMalformed, Message: message} }
	switch {
	case len(text) > maxStatement:
		return bad("the statement is longer than 1 MiB")
	case !utf8.ValidString(text):
		return bad("the statement is not valid UTF-8")
	case strings.ContainsRune(text, 0):
		return bad("the statement holds a NUL character")
	}
	return nil
}

func unsupported(message, hint string) *connectors.Error {
	return &connectors.Error{Kind: connectors.KindUnsupported, Message: message, Hint: hint}
}
