package masking

import (
	"bytes"
	"strings"
)

// contextBytes is how far before a candidate its context words may stand.
const contextBytes = 40

// contexts are what words speak of, as Presidio's context enhancement has it:
// they make an ambiguous number an identifier.
type contexts uint16

const (
	aboutSSN contexts = 1 << iota
	aboutPhone
	aboutMRN
	aboutMBI
	aboutCard
	aboutIP
	aboutNPI
	aboutDEA
	aboutVIN
	aboutMember
	aboutVersion // four dotted numbers are no address then
)

// contextWords are whole words in lower case; two words in a row are one, so
// "social security" and "SocialSecurity" are "socialsecurity". "cell" and "call"
// are words of their own: "cellular", "recall" are not.
var contextWords = wordTable(map[contexts]string{
	aboutSSN:   "ssn ssns socsec socialsecurity socialsec socialinsurance itin tin taxid taxpayer",
	aboutPhone: "phones tel cell call calls called contact dial reach sms whatsapp ph pager",
	aboutMRN:   "medicalrecord recordnumber recordno chart chartno mr",
	aboutMBI:   "mbi medicare hic hicn beneficiary",
	aboutCard:  "card cards creditcard cardnumber cc visa mastercard amex pan",
	aboutIP:    "ip ips ipaddr ipaddress addr host client remote server login",
	aboutNPI:   "npi npis nationalprovider",
	aboutDEA:   "dea prescriber registrant",
	aboutVIN:   "vin vins vehicle chassis",
	aboutMember: "memberid memberno membernumber subscriber subscriberid subscriberno subscribernumber policyid policyno policynumber " +
		"insuranceid insuranceno insurancenumber medicaid medicaidid planid healthplan enrolleeid beneficiaryid certificateno " +
		"acct acctno accountno accountnumber bankaccount",
	aboutVersion: "version ver v release build firmware section oid",
})

// contextStems also count at either end of a word, as in "homephone".
var contextStems = []struct {
	stem  []byte
	about contexts
}{{[]byte("phone"), aboutPhone}, {[]byte("mobile"), aboutPhone}, {[]byte("fax"), aboutPhone}, {[]byte("mrn"), aboutMRN}}

// contextWord is a context word and what it speaks of.
type contextWord struct {
	word  string
	about contexts
}

// wordTable sorts the words by their first letter: few are then compared.
func wordTable(lists map[contexts]string) (table [256][]contextWord) {
	for about, list := range lists {
		for _, word := range strings.Fields(list) {
			table[word[0]] = append(table[word[0]], contextWord{word, about})
		}
	}
	return table
}

// contextOfWord is what a word in lower case speaks of, stems apart.
func contextOfWord(word []byte) (about contexts) {
	for _, w := range contextWords[word[0]] {
		if w.word == string(word) {
			about |= w.about
		}
	}
	return about
}

// stemStarts and stemEnds are the first and last letters of the stems.
var stemStarts, stemEnds = func() (starts, ends [256]bool) {
	for _, s := range contextStems {
		starts[s.stem[0]], ends[s.stem[len(s.stem)-1]] = true, true
	}
	return starts, ends
}()

// contextOfStem is what the stems at either end of a word speak of.
func contextOfStem(word []byte) (about contexts) {
	if !stemStarts[word[0]] && !stemEnds[word[len(word)-1]] {
		return 0
	}
	for _, s := range contextStems {
		if bytes.HasPrefix(word, s.stem) || bytes.HasSuffix(word, s.stem) {
			about |= s.about
		}
	}
	return about
}

// contextsOf splits text into words at everything that is no ASCII letter and
// where camel case begins a new one. It does not allocate.
func contextsOf[T string | []byte](text T) (about contexts) {
	var pair [2 * contextBytes]byte // the previous word and the current one
	previous, n := 0, 0
	lower := false
	for i := range len(text) {
		b := smallLetter[text[i]]
		upper := b != text[i]
		if (b == 0 || (upper && lower) || n == len(pair)) && n > previous {
			about |= contextOfPair(pair[:n], previous)
			previous = copy(pair[:], pair[previous:n])
			n = previous
		}
		if lower = b != 0 && !upper; b != 0 {
			if n == len(pair) { // a word longer than any of ours
				previous, n = 0, 0
			}
			pair[n] = b
			n++
		}
	}
	if n > previous {
		about |= contextOfPair(pair[:n], previous)
	}
	return about
}

// smallLetter is an ASCII letter in lower case, 0 for every other sign.
var smallLetter = func() (table [256]byte) {
	for b := byte('a'); b <= 'z'; b++ {
		table[b], table[b-'a'+'A'] = b, b
	}
	return table
}()

// contextOfPair is what the word pair[previous:] speaks of, and the two words
// together.
func contextOfPair(pair []byte, previous int) contexts {
	word := pair[previous:]
	about := contextOfWord(word) | contextOfStem(word)
	if previous > 0 {
		about |= contextOfWord(pair)
	}
	return about
}
