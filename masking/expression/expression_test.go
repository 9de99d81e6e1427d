package expression

import (
	"strings"
	"testing"
)

func must(n Node, err error) Node {
	if err != nil {
		panic(err)
	}
	return n
}

func TestApply(t *testing.T) {
	value, null := NewValue(), NewNull()
	number := func(n int64) Node { return must(NewNumber(n)) }
	text := func(s string) Node { return must(NewText(s)) }
	long := must(Apply("char_length", value))
	long3 := must(Apply("-", long, number(3)))
	equal := must(Apply("=", value, text("x")))
	for _, c := range []struct {
		name string
		args []Node
		want Type // "" is refused
	}{
		{"left", []Node{value, number(2)}, Text},
		{"left", []Node{value, long}, ""},
		{"left", []Node{value, number(1001)}, ""},
		{"left", []Node{long, number(1)}, ""},
		{"left", []Node{value}, ""},
		{"substring", []Node{value, number(2)}, Text},
		{"substring", []Node{value, number(2), number(3)}, Text},
		{"substring", []Node{value, number(0), number(3)}, ""},
		{"substring", []Node{value, text("x.*")}, ""},
		{"substring", []Node{value, number(2), number(3), number(4)}, ""},
		{"replace", []Node{value, text("-"), text("")}, Text},
		{"replace", []Node{value, text(""), text("")}, ""},
		{"replace", []Node{value, text("-"), text("--")}, ""},
		{"replace", []Node{value, value, text("")}, ""},
		{"repeat", []Node{text("*"), long}, Text},
		{"repeat", []Node{text("*"), long3}, Text},
		{"repeat", []Node{text("**"), long}, ""},
		{"repeat", []Node{value, number(3)}, ""},
		{"concat", []Node{value, text("x"), value}, Text},
		{"concat", []Node{value, long}, ""},
		{"coalesce", []Node{null, text("x")}, Text},
		{"coalesce", []Node{long, text("x")}, ""},
		{"nullif", []Node{value, text("x")}, Text},
		{"in", []Node{value, text("x"), text("y")}, Truth},
		{"in", []Node{value, number(1)}, ""},
		{"like", []Node{value, text("9%")}, Truth},
		{"like", []Node{value, text(`9\`)}, ""},
		{"like", []Node{value, value}, ""},
		{"and", []Node{equal, equal}, Truth},
		{"and", []Node{equal, value}, ""},
		{"not", []Node{null}, ""},
		{"+", []Node{long, number(3)}, Number},
		{"+", []Node{long, long}, ""},
		{"*", []Node{long, number(3)}, ""},
		{"md5", []Node{value}, ""},
		{"=", []Node{equal, equal}, ""},
	} {
		n, err := Apply(c.name, c.args...)
		if (err == nil) != (c.want != "") || n.Type != c.want {
			t.Errorf("%s%v: %v, %v; want %q", c.name, c.args, n.Type, err, c.want)
		}
	}
	for _, c := range []struct {
		args []Node
		want bool
	}{
		{[]Node{equal, text("a"), text("b")}, true}, {[]Node{equal, text("a")}, true}, {[]Node{equal, text("a"), equal, null, value}, true},
		{[]Node{equal, text("a"), number(1)}, false}, {[]Node{value, text("a"), value}, false}, {[]Node{equal}, false}, {nil, false},
		{[]Node{equal, equal}, false},
	} {
		if _, err := NewCase(c.args...); (err == nil) != c.want {
			t.Errorf("case %v: %v", c.args, err)
		}
	}
	if _, err := NewText(strings.Repeat("x", 201)); err == nil {
		t.Error("a long constant is taken")
	}
	for _, n := range []int64{-1, maxNumber + 1} {
		if _, err := NewNumber(n); err == nil {
			t.Errorf("the number %d is taken", n)
		}
	}
	for _, n := range []Node{value, long, equal} {
		if Check(n) == nil {
			t.Errorf("%v is a mask", n)
		}
	}
	for _, n := range []Node{must(Apply("lower", value)), text("x"), null} {
		if err := Check(n); err != nil {
			t.Error(err)
		}
	}
}
