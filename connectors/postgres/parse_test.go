package postgres

import (
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FuzzParse: the parser's JSON gives the tree that its protobuf gives, and says
// that it is this tree.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Add(" ", uint8(0))
	New().Warm()
	f.Fuzz(func(t *testing.T, text string, _ uint8) {
		if checkText(text) != nil {
			t.Skip()
		}
		want, wantErr := pgquery.Parse(text)
		said, err := parsed(text)
		var tree *pg.ParseResult
		if err == nil {
			tree, err = said.statements()
		}
		switch {
		case (err == nil) != (wantErr == nil):
			t.Fatalf("%q: %v by protobuf, %v by JSON", text, wantErr, err)
		case err != nil:
		case !proto.Equal(want, tree):
			t.Fatalf("%q: %v by protobuf, %v by JSON", text, want, tree)
		case !said.says(want, func(protoreflect.ProtoMessage, int) {}):
			t.Fatalf("%q: the tree is not what its JSON says", text)
		}
	})
}

// TestSays changes one thing of a tree after another: each is seen.
func TestSays(t *testing.T) {
	text := `WITH RECURSIVE w(a) AS MATERIALIZED (SELECT DISTINCT ON (1) 'x'::varchar(10), '', b'1', 1.5, TRUE, NULL, $1 FROM ONLY a.b c, LATERAL f(d => 2) WITH ORDINALITY)
		SELECT w.*, count(*) FILTER (WHERE NOT a = 1 AND b IS NOT NULL) OVER (PARTITION BY c ROWS UNBOUNDED PRECEDING), ARRAY[1], (r).x[1:2], CASE a WHEN 1 THEN 2 END
		FROM w LEFT JOIN s USING (id) WHERE EXISTS (SELECT FROM t) AND x COLLATE "C" LIKE ALL ('{a}') GROUP BY ROLLUP (1), 2
		ORDER BY 1 DESC NULLS LAST LIMIT 2 OFFSET 1 FOR UPDATE OF w SKIP LOCKED`
	tree, err := pgquery.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	said, err := parsed(text)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if !said.says(tree, func(ours protoreflect.ProtoMessage, at int) {
		rv, ok := ours.(*pg.RangeVar)
		if !ok {
			return
		}
		names = append(names, rv.Relname)
		if int(rv.Location) != at {
			t.Errorf("%s stands at %d, told %d", rv.Relname, rv.Location, at)
		}
	}) {
		t.Fatal("the tree is not what its JSON says")
	}
	if len(names) != 5 {
		t.Errorf("the relations are %v", names)
	}
	changes := 0
	differs := func(m protoreflect.Message, f protoreflect.FieldDescriptor) {
		changes++
		if said.says(tree, func(protoreflect.ProtoMessage, int) {}) {
			t.Errorf("%s of %v was changed unseen", f.Name(), m.Interface())
		}
	}
	eachMessage(tree.ProtoReflect(), func(m protoreflect.Message) {
		for i := range m.Descriptor().Fields().Len() {
			f := m.Descriptor().Fields().Get(i)
			was, had := m.Get(f), m.Has(f)
			other, ok := another(f, was)
			if !ok || f.ContainingOneof() != nil && !had || locates(f) {
				continue
			}
			m.Set(f, other)
			differs(m, f)
			if had {
				m.Clear(f)
				differs(m, f)
				m.Set(f, was)
			} else {
				m.Clear(f)
			}
		}
	})
	if changes < 200 || !said.says(tree, func(protoreflect.ProtoMessage, int) {}) {
		t.Errorf("%d changes, and the tree is not as it was", changes)
	}
}

// TestVisit: what it calls for are the nodes that protoreflect knows.
func TestVisit(t *testing.T) {
	for _, e := range statements(t) {
		tree, err := pgquery.Parse(e.Statement)
		if err != nil {
			continue
		}
		for _, stmt := range tree.Stmts {
			got, calls := map[*pg.Node]bool{}, 0
			visit(stmt.Stmt, func(n *pg.Node) bool {
				got[n] = true
				calls++
				return true
			})
			eachMessage(stmt.Stmt.ProtoReflect(), func(m protoreflect.Message) {
				if n, ok := m.Interface().(*pg.Node); ok {
					calls--
					if !got[n] {
						t.Errorf("%q: %v is left out", e.Statement, n)
					}
				}
			})
			if calls != 0 {
				t.Errorf("%q: %d calls too many", e.Statement, calls)
			}
		}
	}
}

func eachMessage(m protoreflect.Message, f func(protoreflect.Message)) {
	f(m)
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.Kind() != protoreflect.MessageKind:
		case d.IsList():
			for i := range v.List().Len() {
				eachMessage(v.List().Get(i).Message(), f)
			}
		default:
			eachMessage(v.Message(), f)
		}
		return true
	})
}

// another is a value of a field that differs from this one.
func another(f protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
	switch {
	case f.IsList():
		return v, false
	case f.Kind() == protoreflect.StringKind:
		return protoreflect.ValueOfString(v.String() + "x"), true
	case f.Kind() == protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!v.Bool()), true
	case f.Kind() == protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(v.Int()) + 1), true //nolint:gosec // small
	case f.Kind() == protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(v.Uint()) + 1), true //nolint:gosec // small
	case f.Kind() == protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(v.Enum() + 1), true
	}
	return v, false
}
