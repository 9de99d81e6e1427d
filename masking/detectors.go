package masking

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The detectors by name; the name is what hits and replacements say.
const (
	detectSSN   = "ssn"
	detectEmail = "email"
	detectPhone = "phone"
	detectMRN   = "mrn"
	detectCard  = "card"
	detectMBI   = "mbi"
	detectIP    = "ip"
	detectURL   = "url"
)

// maxPasses bounds how often a text is scanned again after something was
// replaced; ordinary texts take two passes, the second finding nothing.
const maxPasses = 4

// DetectorConfig chooses detectors.
type DetectorConfig struct {
	// Names lists the detectors to run; empty means all but url, since
	// addresses of guidelines and images are ordinary in clinical text. See
	// DetectorNames.
	Names []string
	// MRNPattern is the site's medical record number as an RE2 expression;
	// empty leaves the mrn detector out. A match of digits alone counts only
	// where the column's name or the words before speak of a record number. A
	// pattern that begins with fixed text ("MRN-") is looked for much faster.
	MRNPattern string
}

// DetectorNames are the names DetectorConfig.Names may hold.
func DetectorNames() []string {
	return []string{detectSSN, detectEmail, detectPhone, detectMRN, detectCard, detectMBI, detectIP, detectURL}
}

// Detectors find identifiers in values that leave unclassified. They are a net
// under the classification, no substitute: a value that is sliced, reversed,
// encoded (base64, hex, \u escapes) or hashed matches no pattern, nor does one
// that is spread over several cells. They are safe for concurrent use.
type Detectors struct {
	numbers numberScanner
	finders []finder
}

// finder finds candidates that do not begin with a digit of their own: the next
// one that starts at or after from, or the zero span.
type finder func(text []byte, from int) span

// span is one candidate: text[from:to] is a <name>. The zero span is none.
type span struct {
	from, to int
	name     string
	// context, if set, must be mentioned in the column's name or shortly
	// before: the candidate is ambiguous by itself.
	context *contextWords
}

// accepted reports whether a candidate was found and has the context it needs.
func (s span) accepted(column string, text []byte) bool {
	return s.to > 0 && (s.context == nil || s.context.around(column, text, s.from))
}

// NewDetectors builds the chosen detectors.
func NewDetectors(cfg DetectorConfig) (*Detectors, error) {
	names := cfg.Names
	if len(names) == 0 {
		names = slices.DeleteFunc(DetectorNames(), func(name string) bool { return name == detectURL })
	}
	var ds Detectors
	for _, name := range names {
		switch name {
		case detectSSN:
			ds.numbers.ssn = true
		case detectPhone:
			ds.numbers.phone = true
		case detectCard:
			ds.numbers.card = true
		case detectMBI:
			ds.numbers.mbi = true
		case detectIP:
			ds.numbers.ip = true
			ds.finders = append(ds.finders, findIPv6)
		case detectEmail:
			ds.finders = append(ds.finders, findEmail)
		case detectURL:
			ds.finders = append(ds.finders, findURL)
		case detectMRN:
			if cfg.MRNPattern == "" {
				continue
			}
			find, err := mrnFinder(cfg.MRNPattern)
			if err != nil {
				return nil, err
			}
			ds.finders = append(ds.finders, find)
		default:
			return nil, fmt.Errorf("no detector %q; there are %s", name, strings.Join(DetectorNames(), ", "))
		}
	}
	if len(ds.finders) > maxFinders {
		return nil, errors.New("a detector is named twice")
	}
	return &ds, nil
}

// maxFinders is how many finders there can be: email, url, mrn and IPv6.
const maxFinders = 4

// mrnFinder finds the site's medical record numbers.
func mrnFinder(expression string) (finder, error) {
	pattern, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("MRN pattern: %w", err)
	}
	if pattern.MatchString("") {
		return nil, errors.New("MRN pattern matches the empty string")
	}
	if pattern.MatchString(replacement(detectMRN)) || pattern.MatchString(RedactText) {
		return nil, errors.New("MRN pattern matches the text that replaces a record number, " + replacement(detectMRN))
	}
	return func(text []byte, from int) span {
		for from < len(text) {
			loc := pattern.FindIndex(text[from:])
			if loc == nil {
				return span{}
			}
			s := span{from: from + loc[0], to: from + loc[1], name: detectMRN}
			if !splitsNumber(text, s.from) && !splitsNumber(text, s.to) {
				if digitsOnly(text[s.from:s.to]) {
					s.context = mrnWords
				}
				return s
			}
			// Look on behind this run of digits, which keeps the time linear.
			from = s.from + 1
			for from < len(text) && isDigit(text[from-1]) && isDigit(text[from]) {
				from++
			}
		}
		return span{}
	}, nil
}

// Redact returns text with what was found replaced by [redacted:<name>], and
// counts each find in hits. It returns text itself, unchanged and without
// allocating, if nothing was found. Column is the result column's name, which
// counts as context. Nothing is found in what Redact returned.
func (ds *Detectors) Redact(column string, text []byte, hits map[string]int64) []byte {
	return ds.redact(column, text, hits, false)
}

// RedactJSON is Redact for a valid JSON text: a number that is found outside
// a string becomes a string, so that the text stays valid JSON. (Only a site's
// MRN pattern that matches quotes or braces can break it.)
func (ds *Detectors) RedactJSON(column string, text []byte, hits map[string]int64) []byte {
	return ds.redact(column, text, hits, true)
}

func (ds *Detectors) redact(column string, text []byte, hits map[string]int64, inJSON bool) []byte {
	for range maxPasses {
		out := ds.pass(column, text, hits, inJSON)
		if out == nil {
			return text
		}
		// What was replaced may have hidden the edge of something else.
		text = out
	}
	// Texts that still change after so many passes are made to; nothing of
	// them is worth releasing.
	if inJSON {
		return []byte(`"` + RedactText + `"`)
	}
	return []byte(RedactText)
}

// pass replaces from left to right; it returns nil if nothing was found.
func (ds *Detectors) pass(column string, text []byte, hits map[string]int64, inJSON bool) []byte {
	var (
		out    []byte
		done   int // what of text is in out
		quotes quoteState
		ahead  [maxFinders]span // each finder's next candidate
	)
	for i, find := range ds.finders {
		ahead[i] = find(text, 0)
	}
	for at := 0; at < len(text); {
		first := earliest(ahead[:len(ds.finders)])
		limit := len(text)
		if first >= 0 {
			limit = ahead[first].from
		}
		found := ds.numbers.next(column, text, done, at, limit)
		if found.to == 0 {
			if first < 0 {
				break
			}
			found = ahead[first]
			if !found.accepted(column, text) {
				// It may still be another kind of number.
				at = found.from
				ahead[first] = ds.finders[first](text, found.to)
				continue
			}
		}
		at = found.to
		for i, find := range ds.finders {
			if ahead[i].to > 0 && ahead[i].from < at {
				ahead[i] = find(text, at)
			}
		}
		bare := false
		if inJSON {
			if bare = !quotes.inString(text, found.from); bare && found.from > done && text[found.from-1] == '-' {
				found.from--
			}
		}
		out = append(out, text[done:found.from]...)
		if bare {
			out = append(out, '"')
		}
		out = append(out, replacement(found.name)...)
		if bare {
			out = append(out, '"')
		}
		hits[found.name]++
		done = found.to
	}
	if out == nil {
		return nil
	}
	return append(out, text[done:]...)
}

// earliest is the index of the leftmost candidate, -1 if there is none.
func earliest(spans []span) int {
	first, from := -1, 0
	for i, s := range spans {
		if s.to > 0 && (first < 0 || s.from < from) {
			first, from = i, s.from
		}
	}
	return first
}

func replacement(name string) string { return "[redacted:" + name + "]" }

// quoteState follows JSON strings from left to right.
type quoteState struct {
	at int
	in bool
}

// inString reports whether position i is inside a string; i never goes back.
func (q *quoteState) inString(text []byte, i int) bool {
	for ; q.at < i; q.at++ {
		switch text[q.at] {
		case '"':
			q.in = !q.in
		case '\\':
			if q.in {
				q.at++
			}
		}
	}
	return q.in
}
