package masking

import "testing"

func TestUnclassified(t *testing.T) {
	ref := func(relation, column string) ColumnRef { return ColumnRef{"public", relation, column} }
	columns := map[ColumnRef]string{
		ref("patients", "ssn"): "ssn", ref("patients", "id"): None, ref("wards", "id"): None,
	}
	shown, err := Classify(HIPAASafeHarbor(), columns)
	if err != nil {
		t.Fatal(err)
	}
	redacted, err := Classify(HIPAASafeHarbor(), columns, RedactUnclassified())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref         ColumnRef
		show, close string
	}{
		{ref("patients", "ssn"), "ssn", "ssn"},
		{ref("patients", "id"), "", ""},
		{ref("patients", "added"), "", Unclassified},
		{ref("wards", "name"), "", ""}, // no column of it is protected
		{ref("drugs", "name"), "", ""},
		{ColumnRef{"other", "patients", "added"}, "", ""},
	} {
		if class, ok := shown.Class(c.ref); class.Name != c.show || ok != (c.show != "") {
			t.Errorf("shown: %s has class %q", c.ref, class.Name)
		}
		class, ok := redacted.Class(c.ref)
		if class.Name != c.close || ok != (c.close != "") {
			t.Errorf("redacted: %s has class %q", c.ref, class.Name)
		}
		if ok && (class.Mask.Kind != Redact || class.Lookup) {
			t.Errorf("%s is masked by %v", c.ref, class.Mask)
		}
	}
	columns[ref("patients", "added")] = None
	decided, _ := Classify(HIPAASafeHarbor(), columns, RedactUnclassified())
	if _, ok := decided.Class(ref("patients", "added")); ok {
		t.Error("none does not count")
	}
	if shown.Version() == redacted.Version() || redacted.Version() == decided.Version() {
		t.Error("the version does not tell them apart")
	}
}
