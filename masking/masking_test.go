package masking

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func testDetectors(tb testing.TB) *Detectors {
	tb.Helper()
	d, err := NewDetectors(DetectorConfig{MRNPattern: `MRN-\d{7}`})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestDetectorsFind(t *testing.T) {
	d := testDetectors(t)
	for _, c := range []struct{ column, text, want string }{
		{"note", "SSN 219-09-9998.", "SSN [redacted:ssn]."},
		{"note", "ssn219 09 9998", "ssn[redacted:ssn]"},
		{"ssn", "219099998", "[redacted:ssn]"},
		{"x", "social security 219099998", "social security [redacted:ssn]"},
		{"note", `{"s":"219-09-9998"}`, `{"s":"[redacted:ssn]"}`},
		{"note", "write to ann.lee+x@mail.example.org now", "write to [redacted:email] now"},
		{"note", "call (212) 555-0143 or 212-555-0144", "call [redacted:phone] or [redacted:phone]"},
		{"note", "+1 212 555 0143", "[redacted:phone]"},
		{"mobile", "2125550143", "[redacted:phone]"},
		{"note", "see MRN-0012345 please", "see [redacted:mrn] please"},
		{"note", "card 4111 1111 1111 1111", "card [redacted:card]"},
		{"note", "4111111111111111", "[redacted:card]"},
		{"note", "1EG4-TE5-MK73", "[redacted:mbi]"},
		{"note", "1EG4TE5MK73 ok", "[redacted:mbi] ok"},
		{"note", "from 10.1.2.3", "from [redacted:ip]"},
	} {
		hits := map[string]int64{}
		if got := string(d.Redact(c.column, []byte(c.text), hits)); got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.column, c.text, got, c.want)
		}
		if len(hits) == 0 {
			t.Errorf("%q: no hit counted", c.text)
		}
	}
}

func TestDetectorsLeaveOrdinaryValues(t *testing.T) {
	d := testDetectors(t)
	for _, text := range []string{
		"1", "219099998", "2125550143", "1764000000000", "12345678901234567890", "2026-11-24", "2026-11-24T10:00:00Z",
		"2026-11-24 10:00:00.123456+00", "123e4567-e89b-12d3-a456-426614174000", "E11.9", "I10", "00093-7146-56",
		"0093-7146-56", "90210", "90210-1234", "1234.50", "-12345678.90", "lisinopril 10 mg", "[redacted]", "tok_abc",
		"000-12-3456", "666-12-3456", "123-00-4567", "4111111111111112", "1.2.3", "300.400.500.600", "a@b",
		"Room 219-09", "12-34-567890", "3.14159265358979", "version 10.11.19", "[1, 2, 3]", "1000000000",
	} {
		hits := map[string]int64{}
		if got := string(d.Redact("value", []byte(text), hits)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

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

func FuzzRedact(f *testing.F) {
	for _, s := range []string{"219-09-9998", "a@b.cc", "4111 1111 1111 1111", "(212) 555-0143", "MRN-0012345"} {
		f.Add("note", s)
	}
	d := testDetectors(f)
	f.Fuzz(func(t *testing.T, column, text string) {
		hits := map[string]int64{}
		out := d.Redact(column, []byte(text), hits)
		if (len(hits) == 0) != (string(out) == text) {
			t.Fatalf("hits %v, but %q became %q", hits, text, out)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	d := testDetectors(b)
	text := []byte(strings.Repeat("Patient seen for follow-up, BP 120/80, taking lisinopril 10 mg daily. ", 8))
	hits := map[string]int64{}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		d.Redact("notes", text, hits)
	}
}
