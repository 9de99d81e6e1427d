package connectors

import (
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/masking"
)

func TestSuggest(t *testing.T) {
	among := []string{"height", "length", "cot", "count", "ssn", "patients", "id"}
	for name, want := range map[string]string{"lengthh": "Did you mean length?", "cout": "Did you mean count?", "SSNN": "Did you mean ssn?",
		"patient": "Did you mean patients?", "wards": "", "count": "", "x": "", strings.Repeat("x", 5000): ""} {
		if got := Suggest(name, among); got != want {
			t.Errorf("%.20s: %q, want %q", name, got, want)
		}
	}
}

func TestColumnHint(t *testing.T) {
	tables := []Table{{Name: "medications", Columns: []TableColumn{{Name: "drug"}}}, {Name: "wards", Columns: []TableColumn{{Name: "name"}}}}
	for name, want := range map[string]string{"namee": "Did you mean name?", "drug": "medications has a column of this name: join it.",
		"xyzzy": "There are id, name."} {
		if got := ColumnHint(name, []string{"id", "name"}, tables); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func fields(text string) (out []Token) {
	at := 0
	for word := range strings.FieldsSeq(text) {
		at += strings.Index(text[at:], word)
		out = append(out, Token{word, at})
		at += len(word)
	}
	return out
}

func TestFindName(t *testing.T) {
	text := `SÉLECT name , p . "name" FROM q`
	for parts, want := range map[string]int{"name": 8, "p.name": 15, "q": 31, "r": 0, "p.q": 0} {
		if got := FindName(text, fields(text), strings.Split(parts, ".")...); got != want {
			t.Errorf("%s: %d, want %d", parts, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	client := "SELECT é , a = 1 FROM t WHERE a = 2"
	sent := "SELECT t.é AS é , t.a = 1 FROM ( SELECT a = 3 FROM t ) t WHERE a = 2"
	for _, c := range []struct {
		at   string // of the text sent
		want int
	}{{"= 1", 14}, {"= 2", 33}, {"a = 2", 31}, {"AS", 0}, {"= 3", 0}, {"( ", 0}} {
		got := Locate(client, fields(client), fields(sent), strings.Index(sent, c.at))
		if c.want == 0 && got != 0 || c.want > 0 && got != c.want {
			t.Errorf("%s: %d, want %d", c.at, got, c.want)
		}
	}
	if Locate(client, fields(client), fields(sent), -1) != 0 {
		t.Error("nowhere is somewhere")
	}
}

// TestDestroyedHint: each use is told what to write instead.
func TestDestroyedHint(t *testing.T) {
	class := masking.Class{Name: "name", Mask: masking.Mask{Kind: masking.Redact}}
	for kind, want := range map[UseKind]string{UseOrder: "Order by", UseGroup: "distinct rows of", UseJoin: "Join by"} {
		if hint := DestroyedHint("last_name", class, kind); !strings.HasPrefix(hint, "last_name is masked (redact)") || !strings.Contains(hint, want) {
			t.Errorf("%s: %q does not say %q", kind, hint, want)
		}
	}
}
