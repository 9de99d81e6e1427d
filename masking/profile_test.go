package masking

import "testing"

func TestLooksMaskedByKind(t *testing.T) {
	for _, test := range []struct {
		mask Mask
		text string
		want bool
	}{
		{Mask{Kind: Partial, Last: 4}, "********0143", true},
		{Mask{Kind: Partial, Last: 4}, "**", true},
		{Mask{Kind: Partial, Last: 4}, "212-555-0143", false},
		{Mask{Kind: Age}, "90", true},
		{Mask{Kind: Age}, "89", false},
		{Mask{Kind: AgeBand}, "1980-01-01", true},
		{Mask{Kind: AgeBand}, "1980-07-01", false},
		{Mask{Kind: Constant, Text: "hidden"}, "hidden", true},
		{Mask{Kind: Constant, Text: "hidden"}, "Ann", false},
		{Mask{Kind: Constant, Text: "0"}, "0", true},
		{Mask{Kind: Constant, Text: "0"}, "10", false},
		{Mask{Kind: Null}, "Ann", false},
	} {
		if got := LooksMasked(Class{Name: "x", Mask: test.mask}, test.text); got != test.want {
			t.Errorf("%s: %q: %v", test.mask.Kind, test.text, got)
		}
	}
}

func TestLimitedDataSetLeavesDates(t *testing.T) {
	date, ssn := ColumnRef{"s", "t", "date"}, ColumnRef{"s", "t", "ssn"}
	c, err := Classify(HIPAALimitedDataSet(), map[ColumnRef]string{date: "birth_date", ssn: "ssn"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Class(date); ok {
		t.Error("a date of birth is protected")
	}
	if _, ok := c.Class(ssn); !ok {
		t.Error("an SSN is not protected")
	}
}
