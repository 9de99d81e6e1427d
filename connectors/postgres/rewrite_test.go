package postgres

import (
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
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
		text, err := verified(tree, nil, func(rv *pg.RangeVar) bool { return names[rv.Relname] })
		if (err == nil) != c.want {
			t.Errorf("with %q: %q, %v", c.placed, text, err)
		}
	}
}
