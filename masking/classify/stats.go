package classify

import (
	"bytes"
	"hash/maphash"
	"regexp"

	"github.com/chaperone-sql/chaperone/masking"
)

// maxLooked bounds how much of one value is looked at, in bytes.
const maxLooked = 64 << 10

// Stats is what a sample of a column's values says. It holds counts only: no
// value, and nothing a value could be made of.
type Stats struct {
	// Rows were sampled; Values of them were not NULL and not empty.
	Rows, Values int
	// Distinct counts different values among them.
	Distinct int
	// Whole counts values that are one identifier, Part those that hold one
	// among other text, by the detector's name.
	Whole, Part map[string]int
	// Long counts values of several words and more than 40 characters.
	Long int
	// ZIPs, Dates, Codes and Names count values of such a form.
	ZIPs, Dates, Codes, Names int

	seed maphash.Seed
	seen map[uint64]bool
}

var (
	zipForm  = regexp.MustCompile(`^\d{5}(-\d{4})?$`)
	dateForm = regexp.MustCompile(`^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4}))([T ].*)?$`)
	nameForm = regexp.MustCompile(`^\p{Lu}[\p{L}'’-]+([, ]+\p{Lu}[\p{L}'’.-]*){0,3}$`)
	codeForm = regexp.MustCompile(`^[A-Za-z0-9._/-]{6,36}$`)
	digits   = regexp.MustCompile(`\d`)
)

// NewStats begins a sample.
func NewStats() *Stats {
	return &Stats{Whole: map[string]int{}, Part: map[string]int{}, seed: maphash.MakeSeed(), seen: map[uint64]bool{}}
}

// Add looks at one value. It keeps nothing of it.
func (s *Stats) Add(detectors *masking.Detectors, column string, value []byte, null bool) {
	s.Rows++
	if value = bytes.TrimSpace(value); null || len(value) == 0 {
		return
	}
	s.Values++
	if sum := maphash.Bytes(s.seed, value); !s.seen[sum] {
		s.seen[sum] = true
		s.Distinct++
	}
	if len(value) > maxLooked {
		value = value[:maxLooked]
	}
	hits := map[string]int64{}
	clean := detectors.Redact(column, value, hits)
	for name := range hits {
		if string(clean) == "[redacted:"+name+"]" {
			s.Whole[name]++
		} else {
			s.Part[name]++
		}
	}
	spaces := bytes.Count(value, []byte(" "))
	switch {
	case len(value) > 40 && spaces >= 4:
		s.Long++
	case zipForm.Match(value):
		s.ZIPs++
	case dateForm.Match(value):
		s.Dates++
	case nameForm.Match(value):
		s.Names++
	case codeForm.Match(value) && digits.Match(value):
		s.Codes++
	}
}

// share of the values, 0 without values.
func (s *Stats) share(n int) float64 {
	if s == nil || s.Values == 0 {
		return 0
	}
	return float64(n) / float64(s.Values)
}
