// Package expression says which expressions may be a mask that a user writes: an
// engine parses one with its own grammar, builds it here node by node, and
// writes it in its own dialect again. Only what is built here runs.
//
// What may be built is a text made of the value alone, by operations that can
// neither fail nor read anything nor grow a value much: whether a statement
// fails must not depend on a protected value.
package expression

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Type of a node.
type Type string

// The types of nodes. Null is that of NULL, which goes with every other.
const (
	Text   Type = "text"
	Number Type = "number"
	Truth  Type = "condition"
	Null   Type = "NULL"
)

// MaxLength bounds an expression in bytes, maxText and maxNumber its constants.
const (
	MaxLength = 1000
	maxText   = 200
	maxNumber = 1_000_000
)

// Node is an expression. Op is one of Value, Constant, Case and the names of
// operations; it is never a client's text.
type Node struct {
	Op   string
	Type Type
	Args []Node
	// Text or Number of a Constant; NULL has neither.
	Text   string
	Number int64
}

// What is no operation. The arguments of Case are condition and result in turn,
// and then the result of ELSE if there is one.
const (
	Value    = "value"
	Constant = "constant"
	Case     = "case"
)

// NewValue is the protected value, as a text that is not NULL.
func NewValue() Node { return Node{Op: Value, Type: Text} }

// NewNull is NULL.
func NewNull() Node { return Node{Op: Constant, Type: Null} }

// NewText is a constant text.
func NewText(text string) (Node, error) {
	if utf8.RuneCountInString(text) > maxText || !utf8.ValidString(text) {
		return Node{}, fmt.Errorf("a constant text has at most %d characters", maxText)
	}
	return Node{Op: Constant, Type: Text, Text: text}, nil
}

// NewNumber is a constant number.
func NewNumber(n int64) (Node, error) {
	if n < 0 || n > maxNumber {
		return Node{}, fmt.Errorf("a constant number is from 0 to %d", maxNumber)
	}
	return Node{Op: Constant, Type: Number, Number: n}, nil
}

// operations by name: the types of their arguments, then that of the result. A
// word with * may come again, one with ? may be missing; any is one type for
// all; count, position, one and less are constants (see fits).
var operations = map[string]string{
	"left": "text count -> text", "right": "text count -> text", "substring": "text position count? -> text",
	"lower": "text -> text", "upper": "text -> text", "reverse": "text -> text",
	"trim": "text -> text", "ltrim": "text -> text", "rtrim": "text -> text",
	"replace": "text constant less -> text", "lpad": "text count constant -> text", "rpad": "text count constant -> text",
	"repeat": "one number -> text", "char_length": "text -> number", "concat": "text text* -> text",
	"coalesce": "any any* -> any", "nullif": "any any -> any",
	"=": "any any -> condition", "<>": "any any -> condition", "<": "any any -> condition", "<=": "any any -> condition",
	">": "any any -> condition", ">=": "any any -> condition", "in": "any any any* -> condition",
	"between": "any any any -> condition", "like": "text pattern -> condition", "is null": "any -> condition",
	"and": "condition condition* -> condition", "or": "condition condition* -> condition", "not": "condition -> condition",
	"+": "number small -> number", "-": "number small -> number",
}

// Operations are the names of what Apply takes.
func Operations() []string {
	var names []string
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Apply is an operation on arguments, if it may be part of a mask.
func Apply(name string, args ...Node) (Node, error) {
	signature, ok := operations[name]
	if !ok {
		return Node{}, fmt.Errorf("%s is not possible in a mask; there are %s and case", name, strings.Join(Operations(), ", "))
	}
	params, result, _ := strings.Cut(signature, " -> ")
	wrong := fmt.Errorf("%s takes %s", name, params)
	common, words, at := Null, strings.Fields(params), 0
	for _, word := range words {
		kind := strings.TrimRight(word, "?*")
		switch {
		case at >= len(args) && kind == word:
			return Node{}, wrong
		case at >= len(args):
			continue
		}
		for {
			if !fits(kind, args, at) || (kind == "any" && !unify(&common, args[at].Type)) {
				return Node{}, wrong
			}
			if at++; at >= len(args) || !strings.HasSuffix(word, "*") {
				break
			}
		}
	}
	if at < len(args) {
		return Node{}, wrong
	}
	out := Node{Op: name, Type: Type(result), Args: args}
	if result == "any" {
		out.Type = common
	}
	return out, nil
}

// unify makes common the type of both, if they have one.
func unify(common *Type, t Type) bool {
	if *common == Null {
		*common = t
	}
	return t == Null || t == *common
}

// maxCount is how much a mask may pad or cut by a constant.
const maxCount = 1000

// fits reports whether an argument is of a kind.
func fits(kind string, args []Node, at int) bool {
	a := args[at]
	constant := a.Op == Constant
	switch kind {
	case "any":
		return a.Type != Truth
	case "count":
		return constant && a.Type == Number && a.Number <= maxCount
	case "position":
		return constant && a.Type == Number && a.Number >= 1
	case "small":
		return constant && a.Type == Number
	case "constant":
		return constant && a.Type == Text && a.Text != ""
	case "one": // repeated as long as a value is
		return constant && a.Type == Text && utf8.RuneCountInString(a.Text) == 1
	case "less": // nothing grows by being replaced
		return constant && a.Type == Text && len(a.Text) <= len(args[at-1].Text)
	case "pattern": // one that ends with an escape fails on some values
		return constant && a.Type == Text && !strings.Contains(a.Text, `\`)
	}
	return string(a.Type) == kind || (a.Type == Null && kind != string(Truth))
}

// Negated wraps a condition in NOT, or leaves it and its error as they are.
func Negated(not bool) func(Node, error) (Node, error) {
	return func(n Node, err error) (Node, error) {
		if err != nil || !not {
			return n, err
		}
		return Apply("not", n)
	}
}

// NewCase is CASE WHEN … THEN … ELSE … END.
func NewCase(args ...Node) (Node, error) {
	result := Null
	for i, a := range args {
		isCondition := i%2 == 0 && i < len(args)-1
		if isCondition && a.Type != Truth {
			return Node{}, errors.New("WHEN takes a condition")
		}
		if !isCondition && (a.Type == Truth || !unify(&result, a.Type)) {
			return Node{}, errors.New("the results of CASE must be of one type")
		}
	}
	if len(args) < 2 {
		return Node{}, errors.New("CASE takes a condition and a result")
	}
	return Node{Op: Case, Type: result, Args: args}, nil
}

// Check reports whether an expression is a mask by itself.
func Check(n Node) error {
	switch {
	case n.Type != Text && n.Type != Null:
		return fmt.Errorf("the expression is a %s; a mask is a text", n.Type)
	case n.Op == Value:
		return errors.New("this is the value as it is; give the column the class none if it is not protected")
	}
	return nil
}
