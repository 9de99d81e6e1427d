package masking

import "strings"

// contextBytes is how far before a candidate its context words may stand.
const contextBytes = 40

// contextWords are words that make an ambiguous number an identifier, as
// Presidio's context enhancement does.
type contextWords struct {
	// words are whole words in lower case; two words in a row are one, so
	// "social security" and "SocialSecurity" are "socialsecurity".
	words map[string]bool
	// stems also count at either end of a word, as in "homephone".
	stems []string
}

func newContext(stems, words string) *contextWords {
	c := &contextWords{words: map[string]bool{}, stems: strings.Fields(stems)}
	for _, w := range strings.Fields(words) {
		c.words[w] = true
	}
	return c
}

var (
	ssnWords = newContext("ssn", "ssns socsec socialsecurity socialsec socialinsurance itin tin taxid taxpayer")
	// "cell" and "call" are words of their own: "cellular", "recall" are not.
	phoneWords = newContext("phone mobile fax", "phones tel cell call calls called contact dial reach sms whatsapp ph pager")
	mrnWords   = newContext("mrn", "medicalrecord recordnumber recordno chart chartno mr")
	mbiWords   = newContext("mbi", "medicare hic hicn beneficiary")
	cardWords  = newContext("", "card cards creditcard cardnumber cc visa mastercard amex pan")
	ipWords    = newContext("", "ip ips ipaddr ipaddress addr host client remote server login")
	// versionWords say that four dotted numbers are no address.
	versionWords = newContext("", "version ver v release build firmware section oid")
)

// around reports whether the column's name or the words before text[at] mention
// the context.
func (c *contextWords) around(column string, text []byte, at int) bool {
	return mentions(c, column) || mentions(c, text[max(0, at-contextBytes):at])
}

// rightBefore is for words that let a value pass: they must stand close, and
// the column's name, which the agent may choose, does not count.
func (c *contextWords) rightBefore(text []byte, at int) bool {
	return mentions(c, text[max(0, at-contextBytes/4):at])
}

// mentions splits text into words at everything that is no ASCII letter and
// where camel case begins a new one. It does not allocate.
func mentions[T string | []byte](c *contextWords, text T) bool {
	var pair [2 * contextBytes]byte // the previous word and the current one
	previous, n := 0, 0
	flush := func() bool {
		if n == previous {
			return false
		}
		word := pair[previous:n]
		if c.words[string(word)] || (previous > 0 && c.words[string(pair[:n])]) {
			return true
		}
		for _, stem := range c.stems {
			if strings.HasPrefix(string(word), stem) || strings.HasSuffix(string(word), stem) {
				return true
			}
		}
		copy(pair[:], word)
		previous = len(word)
		n = previous
		return false
	}
	lower := false
	for i := range len(text) {
		b := text[i]
		upper := b >= 'A' && b <= 'Z'
		if upper {
			b += 'a' - 'A'
		}
		if b < 'a' || b > 'z' || (upper && lower) || n == len(pair) {
			if flush() {
				return true
			}
		}
		if lower = b >= 'a' && b <= 'z' && !upper; lower || upper {
			if n == len(pair) { // a word longer than any of ours
				previous, n = 0, 0
			}
			pair[n] = b
			n++
		}
	}
	return flush()
}
