package mysql

import "testing"

// TestSameColumn: names that the server tells apart are not taken for one. To it
// s and ſ are two letters, to Unicode's folding one.
func TestSameColumn(t *testing.T) {
	for _, c := range []struct {
		x, y string
		want bool
	}{{"ssn", "SSN", true}, {"ssn", "ſsn", false}, {"mrn", "mrn ", false}, {"größe", "GRößE", true}, {"größe", "GRÖSSE", false}, {"kind", "\u212Aind", false}} {
		if sameColumn(c.x, c.y) != c.want {
			t.Errorf("%q, %q: not %v", c.x, c.y, c.want)
		}
	}
}
