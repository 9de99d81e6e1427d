// Package mysql understands and runs statements on MySQL and MariaDB.
//
// A statement is parsed by TiDB's complete MySQL grammar, every name is
// resolved against the catalog, references to tables with protected columns are
// replaced in the tree by derived tables that mask them, and the text that is
// sent is restored from the tree: the client's own text, with its comments,
// never reaches the server. Whatever the walk does not know it refuses.
package mysql

import (
	"strings"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/connectors"
)

// Engine implements connectors.Engine. It is safe for concurrent use.
type Engine struct{ seen *connectors.Analyses }

const (
	maxStatement = 1 << 20 // bytes of text
	maxDepth     = 200     // of nesting
)

// panicked is all that is said about a statement whose analysis panicked: what
// a panic says may hold literals.
const panicked = "the statement could not be analysed"

// New returns an Engine with an empty cache.
func New() *Engine { return &Engine{connectors.NewAnalyses()} }

// Name is "mysql".
func (e *Engine) Name() string { return "mysql" }

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
	if reserved(in.Text) {
		return nil, unsupported("names that begin with "+hiddenPrefix+" are reserved",
			"Choose another name. If it is inside a literal, send the literal as a parameter.")
	}
	key := connectors.KeyOf(c.version, in)
	if st := e.seen.Get(key); st != nil {
		return st, nil
	}
	a := &analysis{cat: c, in: in, st: &connectors.Statement{Engine: "mysql", CatalogVersion: c.version}}
	if err := a.run(); err != nil {
		return nil, err
	}
	e.seen.Put(key, a.st)
	return a.st, nil
}

// checkText refuses what no parser should see. Comments that a server executes
// and optimizer hints mean different things to parser and server.
func checkText(text string) error {
	bad := func(message, hint string) error {
		return &connectors.Error{Kind: connectors.KindMalformed, Message: message, Hint: hint}
	}
	switch {
	case len(text) > maxStatement:
		return bad("the statement is longer than 1 MiB", "")
	case !utf8.ValidString(text):
		return bad("the statement is not valid UTF-8", "")
	case strings.ContainsRune(text, 0):
		return bad("the statement holds a NUL character", "")
	}
	for _, mark := range []string{"/*!", "/*M!", "/*m!", "/*T!", "/*t!", "/*+", "/*%"} {
		if strings.Contains(text, mark) {
			return unsupported("executable comments and optimizer hints are not possible through the gateway",
				"Leave the comment out. If it is inside a literal, send the literal as a parameter.")
		}
	}
	return nil
}

func unsupported(message, hint string) *connectors.Error {
	return &connectors.Error{Kind: connectors.KindUnsupported, Message: message, Hint: hint}
}

func unresolved(message, hint string) *connectors.Error {
	return &connectors.Error{Kind: connectors.KindUnresolved, Message: message, Hint: hint}
}
