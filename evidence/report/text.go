package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/glyph"
)

// longest is how many characters of a text that came from outside are shown.
const longest = 160

// maxMarks is how many accents may stand on one another.
const maxMarks = 3

// legible is a text of a record for a person to read: what cannot be seen, or moves
// what stands beside it, is replaced by its code point, and what is long is cut.
// html/template does the rest.
func legible(text string) string {
	var b strings.Builder
	n, marks := 0, 0
	for i, r := range text {
		if n == longest {
			fmt.Fprintf(&b, "… (%d more characters)", utf8.RuneCountInString(text[i:]))
			break
		}
		n++
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		if hidden(r) || marks > maxMarks {
			fmt.Fprintf(&b, "[U+%04X]", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hidden also takes for hidden what stands for a broken character, and what
// encloses others.
func hidden(r rune) bool { return r == utf8.RuneError || unicode.Is(unicode.Me, r) || glyph.Hidden(r) }

// list is legible of several, at most some.
func list(texts []string, most int) string {
	shown := make([]string, 0, min(len(texts), most))
	for _, text := range texts[:min(len(texts), most)] {
		shown = append(shown, legible(text))
	}
	if more := len(texts) - len(shown); more > 0 {
		shown = append(shown, "and "+number(int64(more))+" more")
	}
	return strings.Join(shown, ", ")
}

func number(n int64) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// clock is a moment of the report, UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func purpose(code string) string {
	if code == "" {
		return "none given"
	}
	if name := evidence.PurposeName(code); name != "" {
		return name + " (" + code + ")"
	}
	return legible(code)
}

// capital begins a sentence.
func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
