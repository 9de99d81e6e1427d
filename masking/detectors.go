package masking

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// The detectors by name; the name is what hits and replacements say.
const (
	detectSSN    = "ssn"
	detectEmail  = "email"
	detectPhone  = "phone"
	detectMRN    = "mrn"
	detectCard   = "card"
	detectMBI    = "mbi"
	detectMember = "member"
	detectNPI    = "npi"
	detectDEA    = "dea"
	detectIBAN   = "iban"
	detectVIN    = "vin"
	detectIP     = "ip"
	detectURL    = "url"
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
	return []string{detectSSN, detectEmail, detectPhone, detectMRN, detectCard, detectMBI, detectMember, detectNPI, detectDEA,
		detectIBAN, detectVIN, detectIP, detectURL}
}

// Detectors find identifiers in values that leave unclassified. They are a net
// under the classification, no substitute: a value that is sliced, reversed,
// encoded (base64, hex, \u escapes) or hashed matches no pattern, nor does one
// that is spread over several cells. They are safe for concurrent use.
type Detectors struct {
	numbers numberScanner
	finders []finder
	folds   sync.Pool // of *folded
}

// finder finds candidates that do not begin with a digit of their own.
type finder struct {
	// next is the next one that starts at or after from, or the zero span.
	next func(text []byte, from int) span
	// needs are signs of which a text must have one for next to find anything.
	needs traits
}

// traits are the signs that a text has without which nothing is found in it. One
// look for all of them spares most texts the detectors.
type traits uint8

const (
	hasDigit traits = 1 << iota
	hasAt
	hasColon
	hasOther // beyond ASCII
	hasAny   = ^traits(0)
)

var traitsOfSign = func() (table [256]traits) {
	for i := range table {
		switch b := byte(i); {
		case isDigit(b):
			table[i] = hasDigit
		case b == '@':
			table[i] = hasAt
		case b == ':':
			table[i] = hasColon
		case b >= utf8.RuneSelf:
			table[i] = hasOther
		}
	}
	return table
}()

func traitsOf(text []byte) (has traits) {
	for _, b := range text {
		has |= traitsOfSign[b]
	}
	return has
}

// span is one candidate: text[from:to] is a <name>. The zero span is none.
type span struct {
	from, to int
	name     string
	// context, if set, must be mentioned in the column's name or shortly
	// before: the candidate is ambiguous by itself.
	context contexts
}

// scan is what is known about a value while it is looked through.
type scan struct {
	column string
	text   []byte // folded
	// said is what the column's name speaks of, once it was asked.
	said      contexts
	asked     bool
	validated int
	// sure are ambiguous values that had their context elsewhere in the text.
	sure map[string]bool
}

// accepts reports whether a candidate was found and has the context it needs:
// in the column's name, or shortly before.
func (sc *scan) accepts(s span) bool {
	return s.to > 0 && (s.context == 0 || sc.hasContext(s))
}

// hasContext is accepts for a candidate that needs a context.
func (sc *scan) hasContext(s span) bool {
	value := sc.text[s.from:s.to]
	if sc.sure[string(value)] {
		return true
	}
	if sc.ofColumn()&s.context == 0 && contextsOf(sc.text[max(0, s.from-contextBytes):s.from])&s.context == 0 {
		return false
	}
	if sc.sure == nil {
		sc.sure = map[string]bool{}
	}
	sc.sure[string(value)] = true
	return true
}

func (sc *scan) ofColumn() contexts {
	if !sc.asked {
		sc.said, sc.asked = contextsOf(sc.column), true
	}
	return sc.said
}

// rightBefore is what the column's name and the words close before text[at]
// speak of.
func (sc *scan) rightBefore(at int) contexts {
	return sc.ofColumn() | contextsOf(sc.text[max(0, at-contextBytes/2):at])
}

// rightBeforeInText is for words that let a value pass: they must stand close, and
// the column's name, which the agent may choose, does not count.
func (sc *scan) rightBeforeInText(at int) contexts {
	return contextsOf(sc.text[max(0, at-contextBytes/4):at])
}

// NewDetectors builds the chosen detectors.
func NewDetectors(cfg DetectorConfig) (*Detectors, error) {
	names := cfg.Names
	if len(names) == 0 {
		names = slices.DeleteFunc(DetectorNames(), func(name string) bool { return name == detectURL })
	}
	ds := &Detectors{folds: sync.Pool{New: func() any { return new(folded) }}}
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
		case detectMember:
			ds.numbers.member = true
		case detectNPI:
			ds.numbers.npi = true
		case detectDEA:
			ds.numbers.dea = true
		case detectIBAN:
			ds.numbers.iban = true
		case detectVIN:
			ds.numbers.vin = true
		case detectIP:
			ds.numbers.ip = true
			ds.finders = append(ds.finders, finder{findIPv6, hasColon})
		case detectEmail:
			ds.finders = append(ds.finders, finder{findEmail, hasAt})
		case detectURL:
			ds.finders = append(ds.finders, finder{findURL, hasColon})
		case detectMRN:
			if cfg.MRNPattern == "" {
				continue
			}
			find, err := mrnFinder(cfg.MRNPattern)
			if err != nil {
				return nil, err
			}
			ds.finders = append(ds.finders, finder{find, hasAny})
		default:
			return nil, fmt.Errorf("no detector %q; there are %s", name, strings.Join(DetectorNames(), ", "))
		}
	}
	if len(ds.finders) > maxFinders {
		return nil, errors.New("a detector is named twice")
	}
	return ds, nil
}

// maxFinders is how many finders there can be: email, url, mrn and IPv6.
const maxFinders = 4

// mrnFinder finds the site's medical record numbers.
func mrnFinder(expression string) (func([]byte, int) span, error) {
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
	literal, _ := pattern.LiteralPrefix()
	prefix := []byte(literal)
	return func(text []byte, from int) span {
		if !bytes.Contains(text[from:], prefix) {
			return span{} // much faster than the pattern
		}
		for from < len(text) {
			loc := pattern.FindIndex(text[from:])
			if loc == nil {
				return span{}
			}
			s := span{from: from + loc[0], to: from + loc[1], name: detectMRN}
			if !splitsNumber(text, s.from) && !splitsNumber(text, s.to) {
				if digitsOnly(text[s.from:s.to]) {
					s.context = aboutMRN
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
	sc := scan{column: column}
	for range maxPasses {
		out := ds.pass(&sc, text, hits, inJSON)
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
func (ds *Detectors) pass(sc *scan, text []byte, hits map[string]int64, inJSON bool) []byte {
	r := replacing{text: text, inJSON: inJSON}
	sc.text = text
	has := traitsOf(text)
	if has&hasOther != 0 {
		f := ds.folds.Get().(*folded)
		defer ds.folds.Put(f)
		if f.fold(text) {
			sc.text, r.at, has = f.text, f.at, traitsOf(f.text)
		}
	}
	var ahead [maxFinders]span // each finder's next candidate
	for i := range ds.finders {
		if find := &ds.finders[i]; find.needs == hasAny || has&find.needs != 0 {
			ahead[i] = find.next(sc.text, 0)
		}
	}
	for at := 0; at < len(sc.text); {
		first := earliest(ahead[:len(ds.finders)])
		limit := len(sc.text)
		if first >= 0 {
			limit = ahead[first].from
		}
		var found span
		if has&hasDigit != 0 {
			found = ds.numbers.next(sc, r.done, at, limit)
		}
		if found.to == 0 {
			if first < 0 {
				break
			}
			found = ahead[first]
			if !sc.accepts(found) {
				// It may still be another kind of number.
				at = found.from
				ahead[first] = ds.finders[first].next(sc.text, found.to)
				continue
			}
		}
		at = found.to
		for i := range ds.finders {
			if ahead[i].to > 0 && ahead[i].from < at {
				ahead[i] = ds.finders[i].next(sc.text, at)
			}
		}
		r.replace(sc.text, found)
		hits[found.name]++
	}
	if r.out == nil {
		return nil
	}
	return append(r.out, text[r.origin(r.done):]...)
}

// replacing writes a text with its finds replaced.
type replacing struct {
	text   []byte
	at     []int32 // where the signs of the folded text stand in it, nil if it needed no folding
	inJSON bool
	quotes quoteState
	out    []byte
	done   int // what of the folded text is in out
}

// origin is where a sign of the folded text stands in the text.
func (r *replacing) origin(i int) int {
	if r.at == nil {
		return i
	}
	return int(r.at[i])
}

func (r *replacing) replace(scanned []byte, found span) {
	quote := ""
	if r.inJSON && !r.quotes.inString(r.text, r.origin(found.from)) {
		quote = `"`
		if found.from > r.done && scanned[found.from-1] == '-' {
			found.from--
		}
	}
	if r.out == nil { // most often of one size: a replacement is little longer than what it replaces
		r.out = make([]byte, 0, len(r.text)+roomToGrow)
	}
	r.out = append(r.out, r.text[r.origin(r.done):r.origin(found.from)]...)
	r.out = append(r.out, quote...)
	r.out = append(append(append(r.out, replacedBefore...), found.name...), replacedAfter...)
	r.out = append(r.out, quote...)
	r.done = found.to
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

// What a name stands between in the text that replaces a find.
const replacedBefore, replacedAfter = "[redacted:", "]"

func replacement(name string) string { return replacedBefore + name + replacedAfter }

// roomToGrow is by how many bytes a text may grow by its replacements without
// another allocation.
const roomToGrow = 32

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
