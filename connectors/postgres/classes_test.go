package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/internal/clinicdata"
	"github.com/chaperone-sql/chaperone/masking"
)

// TestFamilies: relations that share rows share their columns' classes; what
// only a child has is redacted until somebody decides.
func TestFamilies(t *testing.T) {
	c := openClinic(t, 0)
	for _, s := range []string{"CREATE TABLE kid (extra text, known text) INHERITS (patients)",
		"CREATE TABLE grandkid (more text) INHERITS (kid)"} {
		if _, err := c.db.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	columns := map[masking.ColumnRef]string{{Schema: "public", Relation: "kid", Column: "known"}: masking.None,
		{Schema: "public", Relation: "grandkid", Column: "email"}: "url"}
	for name, class := range clinicdata.Decided() {
		table, column, _ := strings.Cut(name, ".")
		columns[masking.ColumnRef{Schema: "public", Relation: table, Column: column}] = class
	}
	closed, err := masking.Classify(masking.HIPAASafeHarbor(), columns, masking.RedactUnclassified())
	if err != nil {
		t.Fatal(err)
	}
	open, err := masking.Classify(masking.HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := loadCatalog(t.Context(), c.db, []string{"public"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		classes *masking.Classification
		column  string
		want    string
	}{
		{closed, "kid.extra", "unclassified"}, {closed, "grandkid.extra", "unclassified"}, {closed, "grandkid.more", "unclassified"},
		{closed, "kid.known", ""}, {closed, "grandkid.known", ""}, {closed, "kid.zip", "zip"}, {closed, "grandkid.zip", "zip"},
		{closed, "kid.id", ""}, {closed, "grandkid.created_at", ""}, {closed, "patients.zip", "zip"}, {closed, "kid.ssn", "ssn"},
		{closed, "kid.email", "email computed"}, // email and url: neither mask suits both
		{open, "kid.extra", ""}, {open, "kid.ssn", "ssn"}, {open, "grandkid.zip", "zip"},
	} {
		table, column, _ := strings.Cut(test.column, ".")
		a := &analysis{cat: cat}
		a.in.Classes = test.classes
		known := a.protection(cat.relations["public."+table])
		class, got := known.classes[column], ""
		if class.Name != "" {
			got = class.Name
		}
		if class.computed {
			got += " computed"
		}
		if got != test.want || known.err != nil {
			t.Errorf("%s is %q, want %q: %v", test.column, got, test.want, fmt.Sprint(known.err))
		}
	}
}
