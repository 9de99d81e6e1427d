package masking

import (
	"bytes"
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

// FuzzPrograms: the meter changes no mask of a value that is short, down to one
// that is as long as it may be.
func FuzzPrograms(f *testing.F) {
	for _, program := range []string{
		"value.size() < 2 ? '**' : value.substring(0, 2) + '***'", "value.lowerAscii().split('@')[1]", "value + value", "value.reverse()",
		"value.replace('', value).replace('', value)", "value.split('').join(value)", "[value, value].join(value)", "value.trim().charAt(3)",
		"value.matches(value) ? 'a' : value.upperAscii()", "string(bytes(value))", "'%s %s'.format([value, value])", "strings.quote(value)",
		"value in ['a', value] ? 'x' : string(int(value) / 10)", "value.contains(value + 'a') ? 'a' : string(value.indexOf('b'))",
		"[value, value + value][1].replace('a', value, 3)", "{'a': value + value}['a']", "string(timestamp(value).getFullYear())",
		"value.lastIndexOf(value) == 0 && value.endsWith(value) ? value.replace(value, value) : ''", "string(double(value) * 2.0)",
	} {
		for _, value := range []string{"Johnson", "J", "", "\xff", "jane@example.org", "é\U0001F600", "12", "aaaa", "2024-02-29T10:20:30Z"} {
			f.Add(program, []byte(value))
		}
	}
	f.Fuzz(func(t *testing.T, program string, value []byte) {
		p, err := NewProgram(program)
		if err != nil || p.short < 0 {
			return
		}
		values := [][]byte{value[:min(len(value), p.short)]}
		if len(value) > 0 {
			values = append(values, bytes.Repeat(value, p.short/len(value)))
		}
		metered := Program{metered: p.metered, short: -1}
		for _, value := range values {
			if got, want := p.Append(nil, value), metered.Append(nil, value); !bytes.Equal(got, want) {
				t.Fatalf("%s of %d bytes (%.40q): %.40q, metered %.40q", program, len(value), value, got, want)
			}
		}
	})
}
