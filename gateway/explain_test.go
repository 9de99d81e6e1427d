package gateway

import (
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
)

// TestEstimateTellsLittle: what the planner knows of protected values is seen by
// the requester as an order of magnitude, and of a value that is looked up not at all.
func TestEstimateTellsLittle(t *testing.T) {
	one := &connectors.Estimate{Known: true, Rows: 46, Cost: 5.94, Scanned: 4200, Grouped: 11}
	two := &connectors.Estimate{Known: true, Rows: 47, Cost: 5.96, Scanned: 4300, Grouped: 12}
	open := &connectors.Statement{Relations: []connectors.Relation{{Name: "wards"}}}
	if got := coarse(open, one); got != one {
		t.Errorf("of open tables: %+v", got)
	}
	protected := &connectors.Statement{Relations: []connectors.Relation{{Name: "wards"}, {Name: "patients", Protected: true}}}
	want := connectors.Estimate{Known: true, Rows: 100, Cost: 10, Scanned: 10000, Grouped: 100}
	if a, b := coarse(protected, one), coarse(protected, two); *a != want || *b != want {
		t.Errorf("of protected tables: %+v, %+v", a, b)
	}
	view := &connectors.Statement{Relations: []connectors.Relation{{Name: "stays", Kind: "view"}}}
	if a, b := coarse(view, one), coarse(view, two); *a != want || *b != want {
		t.Errorf("of views that show no protected column: %+v, %+v", a, b)
	}
	protected.Lookups = []connectors.Lookup{{Class: "mrn", Param: -1}}
	if got := coarse(protected, one); got != nil {
		t.Errorf("of a look-up: %+v", got)
	}
	if got := coarse(protected, nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}
