// Package postgres understands and runs statements on PostgreSQL.
//
// A statement is parsed by PostgreSQL's own grammar (libpg_query, in a
// WebAssembly sandbox), every name is resolved against the catalog, references
// to relations with protected columns are replaced in the tree by derived
// tables that mask them, and the text that is sent is written from the tree and
// parsed again. Whatever the walk does not know it refuses.
package postgres

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/connectors"
)

// Engine implements connectors.Engine. It is safe for concurrent use.
type Engine struct {
	seen *connectors.Analyses
	// beside is full while one analysis uses a second parser; see normalise.
	beside chan struct{}
}

const (
	maxStatement = 1 << 20 // bytes of text
	maxDepth     = 200     // of nesting
)

// panicked is all that is said about a statement whose analysis panicked: what
// a panic says may hold literals.
const panicked = "the statement could not be analysed"

// New returns an Engine with an empty cache.
func New() *Engine { return &Engine{connectors.NewAnalyses(), make(chan struct{}, 1)} }

// Warm starts the parser's sandboxes, two of them, since an analysis may use
// two: it takes a second that the first statement need not wait for.
func (*Engine) Warm() {
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { _, _ = parsed("SELECT 1") })
	}
	both.Wait()
}

// Name is "postgres".
func (e *Engine) Name() string { return "postgres" }

// Analyze understands a statement; see connectors.Engine.
func (e *Engine) Analyze(cat connectors.Catalog, in connectors.Input) (st *connectors.Statement, err error) {
	defer func() { // a hostile statement must not be able to end the process
		if r := recover(); r != nil {
			st, err = nil, unsupported(panicked, "Write it more simply.")
		}
	}()
	c, ok := cat.(*catalog)
	if !ok {
		return nil, unsupported("the catalog is of another engine", "")
	}
	if err := checkText(in.Text); err != nil {
		return nil, err
	}
	key := connectors.KeyOf(c.version, in)
	if st := e.seen.Get(key); st != nil {
		return st, nil
	}
	a := &analysis{cat: c, in: in, beside: e.beside, st: &connectors.Statement{Engine: "postgres", CatalogVersion: c.version}}
	if err := a.run(); err != nil {
		return nil, err
	}
	e.seen.Put(key, a.st)
	return a.st, nil
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
