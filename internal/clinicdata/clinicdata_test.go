package clinicdata

import (
	"testing"
	"time"
)

// TestVariants: two variants differ in protected columns only, and agree there
// in what the masks keep.
func TestVariants(t *testing.T) {
	one, two := Tables(500, 0), Tables(500, 1)
	protected := Protected()
	differ := map[string]bool{}
	for i, table := range one {
		for r, row := range table.Rows {
			for c, v := range row {
				w, name := two[i].Rows[r][c], table.Name+"."+table.Columns[c]
				class, hidden := protected[name]
				if (v == nil) != (w == nil) {
					t.Fatalf("%s row %d: nullness differs", name, r)
				}
				if v == w {
					continue
				}
				if !hidden {
					t.Fatalf("%s row %d: %v and %v, but the column is not protected", name, r, v, w)
				}
				differ[name] = true
				switch class {
				case "zip":
					if v.(string)[:3] != w.(string)[:3] {
						t.Fatalf("%s row %d: %v and %v", name, r, v, w)
					}
				case "date", "birth_date":
					if v.(time.Time).Year() != w.(time.Time).Year() {
						t.Fatalf("%s row %d: %v and %v", name, r, v, w)
					}
				}
			}
		}
	}
	for name := range protected {
		if !differ[name] {
			t.Errorf("%s is the same in both variants", name)
		}
	}
	if again := Tables(500, 0); again[0].Rows[77][3] != one[0].Rows[77][3] {
		t.Error("not the same every time")
	}
	if n := len(Canaries(one, 60)); n < 500 {
		t.Errorf("%d canaries", n)
	}
}
