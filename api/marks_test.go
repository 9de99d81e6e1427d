package api

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
)

func TestMarked(t *testing.T) {
	for text, want := range map[string]string{
		"select 1\n\tfrom t":           "select 1\n\tfrom t",
		"a\u200bb":                     "a[U+200B]b",
		"a\u202eb":                     "a[U+202E]b",
		"\x00\x1b\r":                   "[U+0000][U+001B][U+000D]\n",
		"\u00a0\u3000\u2028\ufeff":     "[U+00A0][U+3000][U+2028][U+FEFF]",
		"\u3164\u115f\U000e0041\ufe0f": "[U+3164][U+115F][U+E0041][U+FE0F]",
		"\ue000\u2800":                 "[U+E000][U+2800]",
		"p\u0430tients":                "p{\u0430}tients",
		"ｓelect；":                      "{ｓ}elect{；}",
		"‘x’ – ∕ ⁎":                    "{‘}x{’} {–} {∕} {⁎}",
		"Zürich Ærø ñ ß":               "Zürich Ærø ñ ß",
		"東京 서울 ひらがな":                   "東京 서울 ひらがな",
		"e\u0301":                      "e{\u0301}",
		strings.Repeat(" ", 33) + "x":  "[33 blank characters]x",
		"a\n\n\n\nb":                   "a[4 blank characters]\nb",
		"-- a\rdrop":                   "-- a[U+000D]\ndrop",
		"-- a\r\ndrop":                 "-- a[U+000D]\ndrop",
		"a\n\n\nb":                     "a\n\n\nb",
	} {
		var got strings.Builder
		for _, s := range marked(text) {
			switch {
			case s.Replaced:
				got.WriteString("[" + s.Text + "]")
			case s.Mark != "":
				got.WriteString("{" + s.Text + "}")
			default:
				got.WriteString(s.Text)
			}
		}
		if got.String() != want {
			t.Errorf("%q is shown as %q, want %q", text, got.String(), want)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "moments ago", time.Second: "in moments", -time.Minute: "1 minute ago", 89 * time.Minute: "in 89 minutes",
		-2 * time.Hour: "2 hours ago", 72 * time.Hour: "in 3 days",
	} {
		if got := relative(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 100000: "100,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
	for _, use := range []connectors.UseKind{connectors.UseOutput, connectors.UseExpression, connectors.UsePredicate,
		connectors.UseJoin, connectors.UseGroup, connectors.UseOrder} {
		if useWords[use] == "" {
			t.Errorf("no words for %s", use)
		}
	}
	for _, state := range []approvals.State{approvals.Pending, approvals.Approved, approvals.Denied, approvals.Expired,
		approvals.Cancelled, approvals.Running, approvals.Succeeded, approvals.Failed, approvals.Interrupted} {
		if words, tone := stateWords(state); words == string(state) || tone == "" {
			t.Errorf("no words for %s", state)
		}
	}
}
