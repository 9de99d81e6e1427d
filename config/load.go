package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds the file.
const maxFile = 1 << 20

// Problems is everything wrong with a file, a line each: file:line:column and
// what to write instead.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

// Load reads and validates a file. Its error is Problems unless the file cannot
// be read.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if len(text) > maxFile {
		return nil, Problems{path + ": larger than 1 MiB"}
	}
	return Parse(path, text)
}

// Parse is Load of a text; name is used in messages.
func Parse(name string, text []byte) (cfg *Config, err error) {
	defer func() { // the YAML library must not be able to crash a start
		if r := recover(); r != nil {
			cfg, err = nil, Problems{name + ": not understood as YAML"}
		}
	}()
	cfg = &Config{}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{located(name, err)}
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, Problems{name + ": write exactly one YAML document"}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(cfg); err != nil {
		return nil, Problems{located(name, err)}
	}
	cfg.defaults()
	v := &validator{name: name, root: file.Docs[0].Body}
	v.config(cfg)
	if len(v.problems) > 0 {
		slices.SortStableFunc(v.problems, func(a, b at) int { return a.line - b.line })
		var all Problems
		for _, p := range v.problems {
			all = append(all, p.text)
		}
		return nil, all
	}
	return cfg, nil
}

// located puts file:line:column before a YAML error's own words.
func located(name string, err error) string {
	var y yaml.Error
	if errors.As(err, &y) {
		if token := y.GetToken(); token != nil && token.Position != nil {
			return fmt.Sprintf("%s:%d:%d: %s", name, token.Position.Line, token.Position.Column, y.GetMessage())
		}
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return name + ": " + first
}

// validator collects problems with their positions.
type validator struct {
	name     string
	root     ast.Node
	problems []at
}

type at struct {
	line int
	text string
}

// wrong notes a problem at a path of keys; a missing key is reported at the
// deepest one that is there.
func (v *validator) wrong(path []string, format string, args ...any) {
	line, column := 1, 1
	node := v.root
	for _, key := range path {
		value, keyNode := lookup(node, key)
		if value == nil {
			break
		}
		node = value
		if p := keyNode.GetToken().Position; p != nil {
			line, column = p.Line, p.Column
		}
	}
	v.problems = append(v.problems, at{line, fmt.Sprintf("%s:%d:%d: %s: %s", v.name, line, column,
		strings.Join(path, "."), fmt.Sprintf(format, args...))})
}

// lookup finds a key of a mapping, or an index ("0") of a sequence.
func lookup(node ast.Node, key string) (value, keyNode ast.Node) {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			if strings.Trim(pair.Key.String(), `"'`) == key {
				return pair.Value, pair.Key
			}
		}
	case *ast.MappingValueNode:
		if strings.Trim(n.Key.String(), `"'`) == key {
			return n.Value, n.Key
		}
	case *ast.SequenceNode:
		for i, value := range n.Values {
			if fmt.Sprint(i) == key {
				return value, value
			}
		}
	}
	return nil, nil
}
