package api

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/runenames"

	"github.com/chaperone-sql/chaperone/internal/glyph"
)

// spaceRun is how many blanks in a row are still shown as blanks. More could
// push a part of a statement out of sight.
const spaceRun = 32

// lineRun is how many line ends in a row are still shown.
const lineRun = 3

// span is a piece of text as a page shows it.
type span struct {
	Text string
	// Mark is what is peculiar about it, "" for plain text.
	Mark string
	// Replaced is true if Text stands for characters that cannot be seen.
	Replaced bool
}

// marked splits text so that what could deceive the eye of an approver is
// visible: characters that are invisible or change the reading direction are
// replaced by their code point, characters that can be taken for ASCII ones are
// marked, and long runs of blanks are counted. Everything else stays as it is.
func marked(text string) []span {
	var (
		spans []span
		plain strings.Builder
	)
	flush := func() {
		if plain.Len() > 0 {
			spans = append(spans, span{Text: plain.String()})
			plain.Reset()
		}
	}
	runes := []rune(text)
	for i := 0; i < len(runes); {
		r := runes[i]
		if n, lines := blanks(runes[i:]); n > 0 {
			flush()
			spans = append(spans, span{fmt.Sprintf("%d blank characters", n), "blanks", true})
			if lines > 0 {
				plain.WriteByte('\n') // a line end can end a comment, so one is kept
			}
			i += n
			continue
		}
		i++
		switch {
		case hidden(r):
			flush()
			spans = append(spans, span{fmt.Sprintf("U+%04X", r), strings.ToLower(runenames.Name(r)), true})
			if r == '\r' && (i == len(runes) || runes[i] != '\n') {
				plain.WriteByte('\n') // it ends a comment in PostgreSQL
			}
		case deceptive(r):
			flush()
			spans = append(spans, span{string(r), fmt.Sprintf("U+%04X %s", r, strings.ToLower(runenames.Name(r))), false})
		default:
			plain.WriteRune(r)
		}
	}
	flush()
	return spans
}

// blanks returns the length of the run of blanks that begins here and the line
// ends in it, if it is too long to be shown as it is.
func blanks(runes []rune) (n, lines int) {
	for n < len(runes) && (runes[n] == ' ' || runes[n] == '\t' || runes[n] == '\n' || runes[n] == '\r') {
		if runes[n] != ' ' && runes[n] != '\t' {
			lines++
		}
		n++
	}
	if n > spaceRun || lines > lineRun {
		return n, lines
	}
	return 0, 0
}

// hidden is glyph.Hidden of a text that may have lines.
func hidden(r rune) bool { return r != '\n' && r != '\t' && glyph.Hidden(r) }

// deceptive reports whether a visible character can be taken for an ASCII one:
// every non-ASCII character but ideographs, syllables, and Latin letters with
// plain accents.
func deceptive(r rune) bool {
	if r <= 0x7f || unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) && unicode.Is(unicode.Lo, r) {
		return false
	}
	canonical := []rune(norm.NFD.String(string(r)))
	if len(canonical) > 1 && canonical[0] <= 0x7f && unicode.IsLetter(canonical[0]) {
		return false // a letter and its accents
	}
	return !strings.ContainsRune("ßæœøÆŒØ", r)
}

// legible is marked for names and sentences: what cannot be seen is replaced by
// its code point, in brackets.
func legible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if hidden(r) || r == '\n' || r == '\t' {
			fmt.Fprintf(&b, "[U+%04X]", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// marks counts the peculiar pieces.
func marks(spans []span) int {
	n := 0
	for _, s := range spans {
		if s.Mark != "" {
			n++
		}
	}
	return n
}
