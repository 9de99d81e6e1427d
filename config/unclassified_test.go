package config

import (
	"testing"

	"github.com/chaperone-sql/chaperone/masking"
)

func TestUnclassified(t *testing.T) {
	for _, c := range []struct{ unclassified, want string }{
		{"", masking.Unclassified}, {"redact", masking.Unclassified}, {"show", ""},
	} {
		conn := Connection{Engine: "mysql", Database: "clinic", Unclassified: c.unclassified,
			Columns: map[string]string{"patients.ssn": "ssn", "patients.id": "none"}}
		classes, err := conn.Classification(&Masking{Profile: "hipaa-safe-harbor"})
		if err != nil {
			t.Fatal(err)
		}
		for column, want := range map[string]string{"ssn": "ssn", "id": "", "added": c.want} {
			if class, _ := classes.Class(masking.ColumnRef{Schema: "clinic", Relation: "patients", Column: column}); class.Name != want {
				t.Errorf("unclassified %q: %s has class %q, not %q", c.unclassified, column, class.Name, want)
			}
		}
	}
}
