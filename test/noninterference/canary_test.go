package noninterference

import (
	"bytes"
	"crypto/md5" //nolint:gosec // to recognise hashes, not to make them
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/internal/clinicdata"
)

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// canaries recognise protected values in what statements answer: raw, in other
// case, reversed, in slices, encoded and hashed.
type canaries struct {
	words map[string]string // what must not occur, to what it is of
	sizes []int
}

// public are texts that occur in answers anyway.
var public = []string{"[redacted]", "patients", "encounters", "medications", "claims", "insurance", "Outpatient clinic", "Emergency department",
	"Ward A", "Ward B", "Acme Health", "Umbrella Care", "Initech Mutual", "Globex Insurance", "secret", "about ", "example.org", "Nowhere", "MRN-0000",
	"was seen; call ", "; SSN ", " on file (ref ", "lisinopril", "metformin", "atorvastatin", "amlodipine", "sertraline", "omeprazole", "insulin glargine"}

func newCanaries() *canaries {
	c := &canaries{words: map[string]string{}}
	known := strings.ToLower(strings.Join(public, " "))
	add := func(word, of string, size int) {
		if len(word) < size || strings.Contains(known, word) || (size == 9 && strings.Trim(word, "0123456789-") == "") {
			return // numbers and dashes may be part of a date: digits are looked for by themselves
		}
		c.words[word] = of
		if !slices.Contains(c.sizes, len(word)) {
			c.sizes = append(c.sizes, len(word))
		}
	}
	windows := func(text, of string, size int) {
		for i := 0; i+size <= len(text); i++ {
			add(text[i:i+size], of, size)
		}
	}
	for variant := range 2 {
		for _, value := range protectedValues(variant) {
			low := strings.ToLower(value)
			windows(low, value, 9)
			windows(reversed(low), value+" reversed", 9)
			windows(digits(low), value+" digits", 9)
			sum := sha256.Sum256([]byte(value))
			windows(hex.EncodeToString(sum[:])[:16], value+" sha256", 16)
			m := md5.Sum([]byte(value)) //nolint:gosec // as above
			windows(hex.EncodeToString(m[:])[:16], value+" md5", 16)
			windows(hex.EncodeToString([]byte(value)), value+" hex", 20)
			for offset := range 3 { // base64 at each alignment
				if len(value) > offset+9 {
					text := base64.StdEncoding.EncodeToString([]byte(value[offset:]))
					windows(strings.ToLower(text[:len(text)/4*4-4]), value+" base64", 12)
				}
			}
		}
	}
	return c
}

// protectedValues are the cells that must not leave.
func protectedValues(variant int) []string {
	var out []string
	add := func(v any) {
		switch v := v.(type) {
		case string:
			if len(v) > 4 {
				out = append(out, v)
			}
		case time.Time:
			if v.YearDay() != 1 {
				out = append(out, v.Format("2006-01-02"))
			}
		}
	}
	protected := clinicdata.Protected()
	for _, t := range clinicdata.Tables(patients, variant) {
		for i, column := range t.Columns {
			if class, ok := protected[t.Name+"."+column]; ok && class != "zip" && class != "date" && class != "birth_date" {
				for _, row := range t.Rows {
					add(row[i])
				}
			}
		}
	}
	for _, l := range labs(variant) {
		add(l.tags)
		add(l.comment)
	}
	return out
}

func reversed(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
}

// find looks for canaries in answers that the statement did not say itself.
func (c *canaries) find(statement string, answers ...*answer) string {
	said := strings.ToLower(statement)
	for _, a := range answers {
		text := bytes.ToLower(bytes.Join(a.rows, []byte("\n")))
		if a.failed != nil {
			text = append(text, strings.ToLower(fmt.Sprint(a.failed.Message, a.failed.Hint))...)
		}
		for _, size := range c.sizes {
			for i := 0; i+size <= len(text); i++ {
				if of, ok := c.words[string(text[i:i+size])]; ok && !strings.Contains(said, string(text[i:i+size])) {
					return fmt.Sprintf("%q of %s", text[i:i+size], of)
				}
			}
		}
	}
	return ""
}
