package masking

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestLooksMasked(t *testing.T) {
	p := HIPAASafeHarbor()
	for _, c := range []struct {
		class, text string
		want        bool
	}{
		{"ssn", "[redacted]", true}, {"ssn", "[redac", true}, {"ssn", "219-09-9998", false}, {"ssn", "", false},
		{"zip", "902", true}, {"zip", "000", true}, {"zip", "90210", false},
		{"birth_date", "1950-01-01", true}, {"birth_date", "1950", true}, {"birth_date", "1950-03-04", false},
		{"date", "2020-01-01T00:00:00Z", true}, {"date", "2020-01-01 08:00:00", false},
		{"ssn", "[REDACTED]", true}, {"ssn", "[", true}, {"ssn", "was [redacted]", true}, {"zip", " 902 ", true},
		{"zip", "90210-1234", false}, {"birth_date", "1950-01-01 00:00:00.000000", true},
		{"birth_date", "1950-01-01T00:00:00+00:00", true}, {"birth_date", "1950-01-01 08:30:00", false},
		{"date", "2020-01-01 00:00:00+00", true}, {"pseudonym", "[redacted]", true},
		{"phone", "call tok_abcdefghijklmnopqrst", true}, {"pseudonym", "tok_short", false},
		{"name", "tok_abcdefghijklmnopqrst", true}, {"name", "x [redacted:ssn] y", true}, {"name", "Ann", false},
	} {
		if got := LooksMasked(p.Classes[c.class], c.text); got != c.want {
			t.Errorf("%s %q: %v", c.class, c.text, got)
		}
	}
}

func TestTokens(t *testing.T) {
	if _, err := NewTokenizer([]byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
	a, _ := NewTokenizer([]byte(strings.Repeat("a", 32)))
	b, _ := NewTokenizer([]byte(strings.Repeat("b", 32)))
	token := func(x *Tokenizer, class, value string) string {
		return string(x.AppendToken(nil, class, []byte(value)))
	}
	one := token(a, "mrn", "42")
	if !tokenShape.MatchString(one) || one != token(a, "mrn", "42") {
		t.Errorf("token %q is not stable", one)
	}
	for _, other := range []string{token(b, "mrn", "42"), token(a, "ssn", "42"), token(a, "mrn", "43")} {
		if other == one {
			t.Error("tokens do not depend on key, class and value")
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := Secret("hunter2")
	text := fmt.Sprintf("%v %s %q %+v %#v %x %d %v", s, s, s, s, s, s, s, struct{ P Secret }{s})
	j, _ := json.Marshal(map[string]any{"s": s})
	if text += string(j); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e") {
		t.Error(text)
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestClassificationVersion(t *testing.T) {
	ref := ColumnRef{"public", "patients", "ssn"}
	one, err := Classify(HIPAASafeHarbor(), map[ColumnRef]string{ref: "ssn"})
	if err != nil {
		t.Fatal(err)
	}
	two, _ := Classify(HIPAASafeHarbor(), map[ColumnRef]string{ref: "name"})
	if one.Version() == two.Version() {
		t.Error("another class is another version")
	}
	if _, err := Classify(HIPAASafeHarbor(), map[ColumnRef]string{ref: "nonsense"}); err == nil {
		t.Error("an unknown class was accepted")
	}
}
