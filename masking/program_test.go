package masking

import (
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	for _, c := range []struct{ program, value, want string }{
		{"value.substring(0, 2) + '***'", "Johnson", "Jo***"},
		{"value.substring(0, 2) + '***'", "J", RedactText}, // beyond its end
		{"value.substring(0, 2) + '***'", "J\xff\xff", RedactText},
		{"value.startsWith('J') ? 'a J' : 'other'", "Johnson", "a J"},
		{"value.size() > 3 ? value.replace('-', '') : ''", "12-34", "1234"},
		{"value.matches('^[0-9]+$') ? 'number' : 'text'", "12a", "text"},
		{"string(int(value) / 10 * 10)", "47", "40"},
		{"string(int(value) / 10 * 10)", "forty-seven", RedactText},
		{"value.lowerAscii().split('@')[1]", "jane@example.org", "example.org"},
		{"value.lowerAscii().split('@')[1]", "jane", RedactText},
		{"value + value", strings.Repeat("x", 1<<20), RedactText}, // costs too much
	} {
		p, err := NewProgram(c.program)
		if err != nil {
			t.Errorf("%s: %v", c.program, err)
			continue
		}
		if got := string(p.Append([]byte("-"), []byte(c.value))); got != "-"+c.want {
			t.Errorf("%s of %.20q: %.40q, want %q", c.program, c.value, got, c.want)
		}
	}
	for program, want := range map[string]string{
		"value": "as it is", " value ": "as it is", "value.size()": "a mask is a string", "value +": "Syntax error", "row.ssn": "undeclared",
		"now": "undeclared", "[value].map(x, x)[0]": "undeclared", "dyn(value)": "a mask is a string", "null": "a mask is a string",
		strings.Repeat("value + ", 200) + "''": "at most",
	} {
		if _, err := NewProgram(program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", program, err, want)
		}
	}
}
