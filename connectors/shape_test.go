package connectors

import "testing"

func TestConnected(t *testing.T) {
	for _, c := range []struct {
		nodes string
		links []string
		want  bool
	}{
		{"", nil, true}, {"a", nil, true}, {"ab", nil, false}, {"ab", []string{"ba"}, true},
		{"abc", []string{"bc"}, false}, {"abc", []string{"cb", "bd", "da"}, true}, {"ab", []string{"ax", "yb"}, false},
	} {
		var links [][2]byte
		for _, l := range c.links {
			links = append(links, [2]byte{l[0], l[1]})
		}
		if got := Connected([]byte(c.nodes), links); got != c.want {
			t.Errorf("%q by %q: %v", c.nodes, c.links, got)
		}
	}
}
