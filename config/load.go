package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds the file in bytes, maxNesting the sections and lists in it.
const (
	maxFile    = 1 << 20
	maxNesting = 10_000
)

// Problems is everything wrong with a file, a line each:
// "file:line:column: key: what to write instead".
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

// Load reads and validates a file. Its error is Problems unless the file cannot
// be read.
func Load(path string) (*Config, error) { return load(path, false) }

func load(path string, offline bool) (*Config, error) {
	return loadFor(path, offline, validator.config)
}

// loadFor is load with another idea of what a file must say.
func loadFor(path string, offline bool, check func(validator, *Config)) (*Config, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return parseFor(path, text, offline, check)
}

// Parse is Load of a text; name is used in messages.
func Parse(name string, text []byte) (*Config, error) { return parse(name, text, false) }

func parse(name string, text []byte, offline bool) (*Config, error) {
	return parseFor(name, text, offline, validator.config)
}

func parseFor(name string, text []byte, offline bool, check func(validator, *Config)) (cfg *Config, err error) {
	defer func() { // a defect of the YAML library must not look like a crash of ours
		if r := recover(); r != nil {
			cfg, err = nil, Problems{name + ":1:1: not understood as YAML"}
		}
	}()
	if len(text) > maxFile {
		return nil, Problems{name + ":1:1: larger than 1 MiB"}
	}
	if nesting(text) > maxNesting {
		return nil, Problems{name + ":1:1: nested too deeply"}
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{located(name, err)}
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, Problems{name + ":1:1: write exactly one YAML document"}
	}
	found := &problems{file: name, root: file.Docs[0].Body, offline: offline}
	cfg = &Config{}
	decoder{found}.value(nil, found.root, reflect.ValueOf(cfg).Elem())
	if found.unread = len(found.all); cfg.Connections == nil && found.unread > 0 && found.all[0].path == "" {
		return nil, found.sorted() // not even a section; the rest would be noise
	}
	check(validator{found}, cfg)
	if len(found.all) > 0 {
		return nil, found.sorted()
	}
	return cfg, nil
}

// nesting counts what can open a section or list within a line.
func nesting(text []byte) int {
	n := 0
	for _, b := range text {
		if b == '[' || b == '{' {
			n++
		}
	}
	return n
}

// sorted is the problems in the order of the file.
func (p *problems) sorted() Problems {
	slices.SortStableFunc(p.all, func(a, b problem) int {
		return cmp.Or(a.line-b.line, a.column-b.column, strings.Compare(a.path, b.path))
	})
	out := make(Problems, 0, len(p.all))
	for _, one := range p.all {
		key := one.path
		if key != "" {
			key += ": "
		}
		out = append(out, fmt.Sprintf("%s:%d:%d: %s%s", p.file, one.line, one.column, key, one.text))
	}
	return out
}

// located puts file:line:column before a YAML error's own words.
func located(name string, err error) string {
	var y yaml.Error
	if errors.As(err, &y) {
		if token := y.GetToken(); token != nil && token.Position != nil {
			return fmt.Sprintf("%s:%d:%d: %s", name, token.Position.Line, token.Position.Column, y.GetMessage())
		}
	}
	return name + ":1:1: not understood as YAML"
}
