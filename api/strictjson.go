package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a request body. A JSON parameter is the only
// thing that nests at all.
const maxDepth = 32

// kind is the JSON kind of a node.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// names for problem details.
var kindNames = [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}

func (k kind) String() string { return kindNames[k] }

// node is one JSON value with nothing lost: numbers as their text, members in
// their order.
type node struct {
	kind    kind
	text    string // string, number, "true" or "false"
	items   []node
	members []member
}

type member struct {
	name  string
	value node
}

// member finds an object's member by name.
func (n *node) member(name string) (*node, bool) {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].value, true
		}
	}
	return nil, false
}

// parseJSON reads exactly one JSON value (RFC 8259) and refuses everything that
// two readers could understand differently: duplicate names, invalid UTF-8,
// lone surrogates, NUL, data after the value. Its errors never quote the body.
func parseJSON(body []byte) (node, error) {
	if !utf8.Valid(body) {
		return node{}, errors.New("the body is not valid UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return node{}, fmt.Errorf("the body is not valid JSON at byte %d", syntax.Offset)
		}
		return node{}, errors.New("the body is not valid JSON")
	}
	if err := checkEscapes(body); err != nil {
		return node{}, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return readNode(d, 0)
}

func readNode(d *json.Decoder, depth int) (node, error) {
	token, err := d.Token()
	if err != nil {
		return node{}, errors.New("the body is not valid JSON")
	}
	switch t := token.(type) {
	case nil:
		return node{kind: kindNull}, nil
	case bool:
		return node{kind: kindBool, text: strconv.FormatBool(t)}, nil
	case json.Number:
		return node{kind: kindNumber, text: t.String()}, nil
	case string:
		return node{kind: kindString, text: t}, nil
	case json.Delim:
		if depth == maxDepth {
			return node{}, fmt.Errorf("the body is nested more than %d deep", maxDepth)
		}
		if t == '[' {
			return readArray(d, depth+1)
		}
		return readObject(d, depth+1)
	}
	return node{}, errors.New("the body is not valid JSON")
}

func readArray(d *json.Decoder, depth int) (node, error) {
	n := node{kind: kindArray}
	for d.More() {
		item, err := readNode(d, depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := d.Token() // the closing bracket
	return n, err
}

func readObject(d *json.Decoder, depth int) (node, error) {
	n := node{kind: kindObject}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return node{}, errors.New("the body is not valid JSON")
		}
		name, ok := token.(string)
		if !ok {
			return node{}, errors.New("the body is not valid JSON")
		}
		if seen[name] {
			if depth > 1 { // within a parameter, where a name is data
				return node{}, errors.New("a parameter holds an object with the same name twice")
			}
			return node{}, fmt.Errorf("%s appears twice", fieldName(name))
		}
		seen[name] = true
		value, err := readNode(d, depth)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name, value})
	}
	_, err := d.Token() // the closing brace
	return n, err
}

// checkEscapes refuses \u0000 and surrogates without their pair, which
// encoding/json would quietly turn into U+FFFD. In valid JSON a backslash
// appears in strings only, so a plain scan is enough.
func checkEscapes(body []byte) error {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		i++ // the character after a backslash is never itself an escape
		if body[i] != 'u' {
			continue
		}
		r := hexRune(body[i+1:])
		i += 4
		switch {
		case r == 0:
			return errors.New("the body holds a NUL character")
		case !utf16.IsSurrogate(r):
			continue
		case len(body) < i+7 || body[i+1] != '\\' || body[i+2] != 'u',
			utf16.DecodeRune(r, hexRune(body[i+3:])) == utf8.RuneError:
			return errors.New("the body holds half of a surrogate pair")
		}
		i += 6
	}
	return nil
}

// hexRune reads the four hex digits at the start of b, or is -1.
func hexRune(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	v, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(v)
}

// appendNode writes a value as compact JSON.
func appendNode(b []byte, n *node) []byte {
	switch n.kind {
	case kindString:
		return appendString(b, n.text)
	case kindNumber, kindBool:
		return append(b, n.text...)
	case kindArray:
		b = append(b, '[')
		for i := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNode(b, &n.items[i])
		}
		return append(b, ']')
	case kindObject:
		b = append(b, '{')
		for i := range n.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, n.members[i].name), ':')
			b = appendNode(b, &n.members[i].value)
		}
		return append(b, '}')
	default:
		return append(b, "null"...)
	}
}

// appendString writes s as a JSON string. s is valid UTF-8 by construction.
func appendString(b []byte, s string) []byte {
	w := bytes.NewBuffer(b)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("api: " + err.Error()) // a string always encodes
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n"))
}
