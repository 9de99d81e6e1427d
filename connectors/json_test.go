package connectors

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAppendJSON(t *testing.T) {
	for _, c := range []struct {
		cell Cell
		want string
	}{
		{Cell{CellNull, nil}, `null`},
		{Cell{CellNumber, []byte("1.5e3")}, `1.5e3`},
		{Cell{CellNumber, []byte("NaN")}, `"NaN"`},
		{Cell{CellBool, []byte("true")}, `true`},
		{Cell{CellBool, []byte("t")}, `"t"`},
		{Cell{CellJSON, []byte(`{"a":[1]}`)}, `{"a":[1]}`},
		{Cell{CellJSON, []byte(`{"a":`)}, `"{\"a\":"`},
		{Cell{CellString, []byte("a\"\\\n\x00é\xff")}, `"a\"\\\n\u0000é` + "\uFFFD" + `"`},
	} {
		if got := string(AppendJSON(nil, c.cell)); got != c.want {
			t.Errorf("%v %q: %s, want %s", c.cell.Kind, c.cell.Text, got, c.want)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add(uint8(1), "a\"b")
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		out := AppendJSON(nil, Cell{Kind: CellKind(kind % 6), Text: []byte(text)})
		if !json.Valid(out) {
			t.Fatalf("%q", out)
		}
		var s string
		if json.Unmarshal(out, &s) == nil && CellKind(kind%6) == CellString && s != strings.ToValidUTF8(s, "\uFFFD") {
			t.Fatalf("%q", out)
		}
	})
}
