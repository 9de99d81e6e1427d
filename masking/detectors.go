package masking

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// contextBytes is how far before a match its context words may stand.
const contextBytes = 40

// DetectorConfig chooses detectors.
type DetectorConfig struct {
	// Names lists the detectors to run; empty means all. See DetectorNames.
	Names []string
	// MRNPattern is the site's medical record number as an RE2 expression;
	// empty leaves the mrn detector out.
	MRNPattern string
}

// DetectorNames are the names DetectorConfig.Names may hold.
func DetectorNames() []string { return []string{"ssn", "email", "phone", "mrn", "card", "mbi", "ip"} }

// Detectors find identifiers in values that leave unclassified. They are a net
// under the classification: a value that is sliced, encoded or hashed matches
// no pattern. They are safe for concurrent use.
type Detectors struct {
	detectors []detector
}

// detector finds one kind of identifier. Patterns are RE2: linear time.
type detector struct {
	name string
	// pattern finds candidates; confirm says whether a candidate is one.
	pattern *regexp.Regexp
	confirm func(match []byte) bool
	// context, if set, must stand in the column's name or shortly before a
	// candidate that is ambiguous by itself.
	context   *regexp.Regexp
	ambiguous func(match []byte) bool
	// digits and at are what a text must hold for the detector to be tried.
	digits int
	at     bool
}

// NewDetectors builds the chosen detectors.
func NewDetectors(cfg DetectorConfig) (*Detectors, error) {
	names := cfg.Names
	if len(names) == 0 {
		names = DetectorNames()
	}
	var ds Detectors
	for _, name := range names {
		if !slices.Contains(DetectorNames(), name) {
			return nil, fmt.Errorf("no detector %q; there are %s", name, strings.Join(DetectorNames(), ", "))
		}
		d := builtin(name)
		if name == "mrn" {
			if cfg.MRNPattern == "" {
				continue
			}
			pattern, err := regexp.Compile(cfg.MRNPattern)
			if err != nil {
				return nil, fmt.Errorf("MRN pattern: %w", err)
			}
			if pattern.MatchString("") {
				return nil, fmt.Errorf("MRN pattern matches the empty string")
			}
			d.pattern = pattern
		}
		ds.detectors = append(ds.detectors, d)
	}
	return &ds, nil
}

func builtin(name string) detector {
	switch name {
	case "ssn":
		return detector{name: name, digits: 9, confirm: ssn,
			pattern:   regexp.MustCompile(`\d{3}[- ]\d{2}[- ]\d{4}|\d{9}`),
			ambiguous: allDigits, context: words(`ssn|soc(ial)?[ _.-]*sec(urity)?|tax[ _-]*id|tin`)}
	case "email":
		return detector{name: name, at: true,
			pattern: regexp.MustCompile(`[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}`)}
	case "phone":
		return detector{name: name, digits: 7, confirm: phone,
			pattern: regexp.MustCompile(`\+\d[\d\-. ()]{5,20}\d|(?:1[\-. ])?\(\d{3}\)[\-. ]?\d{3}[\-. ]?\d{4}|` +
				`(?:1[\-. ])?\d{3}[\-. ]\d{3}[\-. ]\d{4}|\d{10}`),
			ambiguous: allDigits, context: words(`phone|tel|mobile|cell|fax|call|contact`)}
	case "card":
		return detector{name: name, digits: 13, confirm: card, pattern: regexp.MustCompile(`\d(?:[ \-]?\d){12,18}`)}
	case "mbi":
		// CMS, "Understanding the Medicare Beneficiary Identifier format".
		const a, an = `[AC-HJKMNP-RT-Y]`, `[0-9AC-HJKMNP-RT-Y]`
		return detector{name: name, digits: 4,
			pattern: regexp.MustCompile(`[1-9]` + a + an + `\d-?` + a + an + `\d-?` + a + a + `\d\d`)}
	case "ip":
		return detector{name: name, digits: 4, confirm: ipv4, pattern: regexp.MustCompile(`\d{1,3}(?:\.\d{1,3}){3}`)}
	}
	return detector{name: name}
}

// Redact returns text with what was found replaced by [redacted:<name>], and
// counts each find in hits. It returns text itself, unchanged, if nothing was
// found. Column is the result column's name, which counts as context.
func (ds *Detectors) Redact(column string, text []byte, hits map[string]int64) []byte {
	digits, at := 0, false
	for _, b := range text {
		if b >= '0' && b <= '9' {
			digits++
		} else if b == '@' {
			at = true
		}
	}
	for i := range ds.detectors {
		d := &ds.detectors[i]
		if digits < d.digits || (d.at && !at) {
			continue
		}
		text = d.redact(column, text, hits)
	}
	return text
}

func (d *detector) redact(column string, text []byte, hits map[string]int64) []byte {
	var out []byte
	done := 0 // what of text is in out
	for at := 0; at < len(text); {
		loc := d.pattern.FindIndex(text[at:])
		if loc == nil {
			break
		}
		from, to := at+loc[0], at+loc[1]
		if !d.accepts(column, text, from, to) {
			at = from + 1
			if isDigit(text[from]) { // look again behind this run of digits, in linear time
				for at < to && isDigit(text[at]) {
					at++
				}
			}
			continue
		}
		out = append(out, text[done:from]...)
		out = append(out, "[redacted:"+d.name+"]"...)
		hits[d.name]++
		done, at = to, to
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

func (d *detector) accepts(column string, text []byte, from, to int) bool {
	// A longer number, or a longer dotted or dashed one, is something else.
	if d.digits > 0 && (partOfNumber(text, from, -1) || partOfNumber(text, to-1, +1)) {
		return false
	}
	match := text[from:to]
	if d.confirm != nil && !d.confirm(match) {
		return false
	}
	if d.ambiguous == nil || !d.ambiguous(match) {
		return true
	}
	return d.context.MatchString(column) || d.context.Match(text[max(0, from-contextBytes):from])
}

// partOfNumber reports whether the number goes on past the edge at i.
func partOfNumber(text []byte, i, step int) bool {
	next := i + step
	if next < 0 || next >= len(text) || !isDigit(text[i]) {
		return false
	}
	if isDigit(text[next]) {
		return true
	}
	after := next + step
	return (text[next] == '-' || text[next] == '.') && after >= 0 && after < len(text) && isDigit(text[after])
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func allDigits(match []byte) bool {
	return !slices.ContainsFunc(match, func(b byte) bool { return !isDigit(b) })
}

func words(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:` + alternatives + `)`)
}

// onlyDigits copies the digits of match into a fixed buffer.
func onlyDigits(match []byte, into *[32]byte) []byte {
	n := 0
	for _, b := range match {
		if isDigit(b) && n < len(into) {
			into[n] = b
			n++
		}
	}
	return into[:n]
}

// ssn rejects what the Social Security Administration never issued. Areas from
// 900 are taken too: synthetic records use them, and ITINs are identifiers.
func ssn(match []byte) bool {
	var buf [32]byte
	d := onlyDigits(match, &buf)
	return len(d) == 9 && !bytes.HasPrefix(d, []byte("000")) && !bytes.HasPrefix(d, []byte("666")) &&
		!bytes.Equal(d[3:5], []byte("00")) && !bytes.Equal(d[5:], []byte("0000"))
}

func phone(match []byte) bool {
	number, err := phonenumbers.Parse(string(match), "US")
	return err == nil && phonenumbers.IsPossibleNumber(number)
}

// card checks issuer prefix, length and the Luhn digit (ISO/IEC 7812-1).
func card(match []byte) bool {
	var buf [32]byte
	d := onlyDigits(match, &buf)
	return issued(string(d)) && luhn(d)
}

func issued(d string) bool {
	two, four := d[:2], d[:4]
	switch {
	case d[0] == '4':
		return len(d) == 13 || len(d) == 16 || len(d) == 19
	case two >= "51" && two <= "55", four >= "2221" && four <= "2720":
		return len(d) == 16
	case two == "34" || two == "37":
		return len(d) == 15
	case two == "36" || two == "38" || two == "30":
		return len(d) == 14
	case four == "6011" || two == "65" || two == "35" || (d[:3] >= "644" && d[:3] <= "649"):
		return len(d) == 16
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i, b := range d {
		n := int(b - '0')
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

func ipv4(match []byte) bool {
	for part := range bytes.SplitSeq(match, []byte{'.'}) {
		if len(part) > 1 && part[0] == '0' {
			return false
		}
		n := 0
		for _, b := range part {
			n = n*10 + int(b-'0')
		}
		if n > 255 {
			return false
		}
	}
	return true
}
