package postgres

import (
	"encoding/json"
	"strings"
	"sync"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chaperone-sql/chaperone/connectors"
)

// syntaxTree is what the parser says of a text, as JSON. It says the same as its
// protobuf (FuzzParse) in a fifth of the time: that writer looks at each of the
// 268 kinds of node for every node.
type syntaxTree string

// firstParse ends before any other begins: several that compile the parser's
// WebAssembly at once, as the first ones, race in the compiler.
var firstParse = sync.OnceFunc(func() { _, _ = parser.ParseToJSON("SELECT 1") })

func parsed(text string) (syntaxTree, error) {
	firstParse()
	said, err := parser.ParseToJSON(text)
	return syntaxTree(said), err
}

// scanned are the tokens of a text.
func scanned(text string) (*pg.ScanResult, error) {
	firstParse()
	return pgquery.Scan(text)
}

// statements are the tree's, made anew each time.
func (t syntaxTree) statements() (*pg.ParseResult, error) {
	tree := &pg.ParseResult{}
	if err := protojson.Unmarshal([]byte(t), tree); err != nil {
		return nil, err
	}
	return tree, nil
}

// says reports whether the parser's tree is this one, in everything but where in
// the text a node was. It calls see for each of its messages, with its place.
func (t syntaxTree) says(tree *pg.ParseResult, see func(ours protoreflect.ProtoMessage, at int)) bool {
	var said map[string]any
	return json.Unmarshal([]byte(t), &said) == nil && same(tree.ProtoReflect(), said, see)
}

// same compares a message with its JSON. What has its zero value is not in the
// message; the JSON may say that a string or a list is empty.
func same(m protoreflect.Message, said map[string]any, see func(protoreflect.ProtoMessage, int)) bool {
	at, _ := said["location"].(float64)
	see(m.Interface(), int(at))
	equal, fields := true, 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !locates(f) {
			fields++
			equal = sameValue(f, v, said[f.JSONName()], see)
		}
		return equal
	})
	for name, value := range said {
		if f := m.Descriptor().Fields().ByJSONName(name); f == nil || !locates(f) && !empty(value) {
			fields--
		}
	}
	return equal && fields == 0
}

func empty(said any) bool {
	list, ok := said.([]any)
	return said == "" || ok && len(list) == 0
}

func sameValue(f protoreflect.FieldDescriptor, v protoreflect.Value, said any, see func(protoreflect.ProtoMessage, int)) bool {
	if !f.IsList() {
		return sameSingle(f, v, said, see)
	}
	list, ok := said.([]any)
	ours := v.List()
	if !ok || ours.Len() != len(list) {
		return false
	}
	for i := range list {
		if !sameSingle(f, ours.Get(i), list[i], see) {
			return false
		}
	}
	return true
}

// sameSingle knows the kinds that a parser's tree is made of; of another, nothing is the same.
func sameSingle(f protoreflect.FieldDescriptor, v protoreflect.Value, said any, see func(protoreflect.ProtoMessage, int)) bool {
	switch is := said.(type) {
	case map[string]any:
		return f.Kind() == protoreflect.MessageKind && same(v.Message(), is, see)
	case bool:
		return f.Kind() == protoreflect.BoolKind && v.Bool() == is
	case float64:
		return f.Kind() == protoreflect.Int32Kind && float64(v.Int()) == is ||
			f.Kind() == protoreflect.Uint32Kind && float64(v.Uint()) == is
	case string:
		if f.Kind() != protoreflect.EnumKind {
			return f.Kind() == protoreflect.StringKind && v.String() == is
		}
		value := f.Enum().Values().ByNumber(v.Enum())
		return value != nil && string(value.Name()) == is
	default:
		return false
	}
}

// locates reports whether a field tells only where in the text a node was.
func locates(f protoreflect.FieldDescriptor) bool {
	if f.Kind() != protoreflect.Int32Kind {
		return false
	}
	switch name := string(f.Name()); name {
	case "stmt_len", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end":
		return true
	default:
		return strings.HasSuffix(name, "location")
	}
}

// parse reads exactly one statement; said is its tree as the parser said it.
func (a *analysis) parse(text string) (tree *pg.ParseResult, said syntaxTree, err error) {
	if said, err = parsed(text); err != nil {
		return nil, "", a.syntax(err)
	}
	if tree, err = said.statements(); err != nil {
		return nil, "", a.syntax(err)
	}
	switch len(tree.Stmts) {
	case 0:
		return nil, "", &connectors.Error{Kind: connectors.KindMalformed, Message: "the statement is empty"}
	case 1:
		return tree, said, nil
	}
	return nil, "", &connectors.Error{Kind: connectors.KindMalformed, Message: "one statement a request, please",
		Hint: "Send each statement by itself."}
}

// one is the only statement of a text of our own.
func one(text string) (*pg.ParseResult, bool) {
	said, err := parsed(text)
	if err != nil {
		return nil, false
	}
	tree, err := said.statements()
	return tree, err == nil && len(tree.Stmts) == 1
}
