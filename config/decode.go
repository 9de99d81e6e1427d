package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// defaulter is a section whose keys have defaults; they are set before its
// keys are read, so that an explicit zero is not taken for a missing key.
type defaulter interface{ defaults() }

// decoder fills a Config from a YAML tree and notes everything that does not
// fit, instead of stopping at the first.
type decoder struct{ *problems }

// value reads node into out. Every kind of node that it does not know is
// refused: anchors, aliases, merge keys and tags too, which could make a value
// come from where a reader does not look.
func (d decoder) value(path []string, node ast.Node, out reflect.Value) {
	switch n := node.(type) {
	case *ast.NullNode:
		d.note(path, node, "is empty; give it a value or leave the key out")
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.note(path, node, "write the value itself; anchors, aliases and tags are not read")
		return
	case *ast.CommentGroupNode:
		d.note(path, n, "is empty; give it a value or leave the key out")
		return
	}
	if out.Kind() == reflect.Pointer {
		out.Set(reflect.New(out.Type().Elem()))
		out = out.Elem()
	}
	if _, ok := out.Addr().Interface().(*SecretRef); ok {
		d.secretRef(path, node, out)
		return
	}
	if u, ok := out.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, ok := scalar(node)
		if !ok {
			d.note(path, node, "must be a single value")
		} else if err := u.UnmarshalText([]byte(text)); err != nil {
			d.note(path, node, "%v", err)
		}
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.section(path, node, out)
	case reflect.Map:
		d.mapping(path, node, out)
	case reflect.Slice:
		d.list(path, node, out)
	default:
		d.plain(path, node, out)
	}
}

// plain reads a string, bool or number.
func (d decoder) plain(path []string, node ast.Node, out reflect.Value) {
	text, ok := scalar(node)
	if !ok {
		d.note(path, node, "must be a single value, not a list or section")
		return
	}
	switch out.Kind() {
	case reflect.String:
		if strings.ContainsRune(text, 0) {
			d.note(path, node, "holds a NUL")
			return
		}
		out.SetString(text)
	case reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			d.note(path, node, "must be true or false")
			return
		}
		out.SetBool(b.Value)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if _, isInt := node.(*ast.IntegerNode); !isInt || err != nil || out.OverflowInt(n) {
			d.note(path, node, "must be a whole number")
			return
		}
		out.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		_, isInt := node.(*ast.IntegerNode)
		if _, isFloat := node.(*ast.FloatNode); (!isInt && !isFloat) || err != nil {
			d.note(path, node, "must be a number")
			return
		}
		out.SetFloat(f)
	default:
		d.note(path, node, "cannot be configured")
	}
}

// section reads a struct by its yaml tags.
func (d decoder) section(path []string, node ast.Node, out reflect.Value) {
	if s, ok := out.Addr().Interface().(defaulter); ok {
		s.defaults()
	}
	fields := map[string]int{}
	names := make([]string, 0, out.NumField())
	for i := range out.NumField() {
		name := out.Type().Field(i).Tag.Get("yaml")
		fields[name] = i
		names = append(names, name)
	}
	d.pairs(path, node, func(key string, keyNode, value ast.Node) {
		i, ok := fields[key]
		if !ok {
			d.note(append(path[:len(path):len(path)], key), keyNode, "there is no such key here; there are %s",
				strings.Join(names, ", "))
			return
		}
		d.value(append(path[:len(path):len(path)], key), value, out.Field(i))
	})
}

// mapping reads a map with names of the operator's own.
func (d decoder) mapping(path []string, node ast.Node, out reflect.Value) {
	out.Set(reflect.MakeMap(out.Type()))
	d.pairs(path, node, func(key string, _, value ast.Node) {
		element := reflect.New(out.Type().Elem()).Elem()
		d.value(append(path[:len(path):len(path)], key), value, element)
		out.SetMapIndex(reflect.ValueOf(key), element)
	})
}

func (d decoder) list(path []string, node ast.Node, out reflect.Value) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.note(path, node, "must be a list: [a, b], or a line with - for each")
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(sequence.Values), len(sequence.Values)))
	for i, value := range sequence.Values {
		d.value(append(path[:len(path):len(path)], strconv.Itoa(i)), value, out.Index(i))
	}
}

// tokenKey is the one secret that may be in Vault: the others are needed to get
// there, or before.
var tokenKey = []string{"masking", "token_key"}

// secretRef never repeats what stands where a reference should: it may be the
// secret.
func (d decoder) secretRef(path []string, node ast.Node, out reflect.Value) {
	fix := "write {file: PATH} or {env: NAME}, never the secret itself"
	mayBeInVault := slices.Equal(path, tokenKey)
	if mayBeInVault {
		fix = "write {file: PATH}, {env: NAME} or {vault: PATH#FIELD}, never the secret itself"
	}
	if _, ok := node.(*ast.MappingNode); !ok {
		d.note(path, node, "%s", fix)
		return
	}
	d.pairs(path, node, func(key string, keyNode, value ast.Node) {
		text, ok := scalar(value)
		switch {
		case key == "file" && ok && text != "":
			out.FieldByName("File").SetString(text)
		case key == "env" && ok && envName.MatchString(text):
			out.FieldByName("Env").SetString(text)
		case key == "vault" && ok && mayBeInVault && vaultField.MatchString(text):
			out.FieldByName("Vault").SetString(text)
		default:
			d.note(path, keyNode, "%s", fix)
		}
	})
}

// pairs calls each for the keys of a section. (The parser refuses a key that is
// there twice, however it is quoted.)
func (d decoder) pairs(path []string, node ast.Node, each func(key string, keyNode, value ast.Node)) {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		d.note(path, node, "must be a section with keys of its own")
		return
	}
	for _, pair := range mapping.Values {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			d.note(path, pair.Key, "keys must be plain text, and sections are not merged")
			continue
		}
		each(key.Value, pair.Key, pair.Value)
	}
}

// scalar is the text of a single value, as written but without quotes.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

// problems collects what is wrong, with its place.
type problems struct {
	file string
	root ast.Node
	all  []problem
	// unread is how many of them are values that could not be read.
	unread int
	// offline is true if files that the configuration refers to are not looked at.
	offline bool
}

type problem struct {
	line, column int
	path         string
	text         string
}

// note is a problem of the node at path.
func (p *problems) note(path []string, node ast.Node, format string, args ...any) {
	line, column := place(node)
	p.add(line, column, path, fmt.Sprintf(format, args...))
}

// place is where a node begins: a section at its first key.
func place(node ast.Node) (line, column int) {
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		node = mapping.Values[0].Key
	}
	if token := node.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line, token.Position.Column
	}
	return 1, 1
}

// wrong is a problem of the key at path; a missing key is reported at the
// deepest one that is there. A value that could not be read is not judged again.
func (p *problems) wrong(path []string, format string, args ...any) {
	name := strings.Join(path, ".")
	for _, known := range p.all[:p.unread] {
		if known.path == name || strings.HasPrefix(known.path, name+".") || strings.HasPrefix(name, known.path+".") {
			return
		}
	}
	line, column := 1, 1
	node := p.root
	for _, key := range path {
		value, keyNode := lookup(node, key)
		if value == nil {
			break
		}
		node = value
		line, column = place(keyNode)
	}
	p.add(line, column, path, fmt.Sprintf(format, args...))
}

func (p *problems) add(line, column int, path []string, text string) {
	p.all = append(p.all, problem{line, column, strings.Join(path, "."), text})
}

// lookup finds a key of a mapping, or an index ("0") of a sequence.
func lookup(node ast.Node, key string) (value, keyNode ast.Node) {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			if k, ok := pair.Key.(*ast.StringNode); ok && k.Value == key {
				return pair.Value, k
			}
		}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Values) {
			return n.Values[i], n.Values[i]
		}
	}
	return nil, nil
}
