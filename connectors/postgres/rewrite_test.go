package postgres

import (
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestVerified: a relation that the analysis did not see where it stands, as in
// a copy of a part of the tree, is never sent.
func TestVerified(t *testing.T) {
	tree, err := pgquery.Parse("SELECT max((SELECT count(*) FROM visits)) FROM wards")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		placed string
		want   bool
	}{{"wards visits", true}, {"wards", false}, {"", false}} {
		names := set(c.placed)
		text, err := verified(tree, nil, func(m protoreflect.ProtoMessage) bool {
			rv, ok := m.(*pg.RangeVar)
			return !ok || names[rv.Relname]
		})
		if (err == nil) != c.want {
			t.Errorf("with %q: %q, %v", c.placed, text, err)
		}
	}
}

// TestUnderstood: a call that the analysis did not go through is never sent.
func TestUnderstood(t *testing.T) {
	a := &analysis{suffixed: map[string]bool{"city": true}}
	for text, want := range map[string]bool{
		"SELECT pg_catalog.max(1), (addr).city, (a[1]).city": true, "SELECT max(1)": false, "SELECT (addr).ts_stat": false, "SELECT (a[1]).city.ts_stat": false,
	} {
		tree, err := pgquery.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := verified(tree, nil, a.understood); (err == nil) != want {
			t.Errorf("%s: %q, %v", text, said, err)
		}
	}
}
