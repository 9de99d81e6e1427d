package masking

import "bytes"

// maxCode is the longest word of letters and digits that is looked at: an IBAN
// has 34.
const maxCode = 34

// code is a word of letters and digits, text[start:stop], whose first digits are
// text[at:end].
type code struct{ start, at, end, stop int }

// codeAt reads the word around the digits text[at:end]; false if they are not
// its first digits, or it is too long.
func codeAt(text []byte, at, end int) (code, bool) {
	c := code{at, at, end, end}
	for c.start > 0 && isLetter(text[c.start-1]) {
		if c.start--; at-c.start > maxCode {
			return c, false
		}
	}
	if c.start > 0 && isDigit(text[c.start-1]) {
		return c, false
	}
	for c.stop < len(text) && isWord[text[c.stop]] {
		if c.stop++; c.stop-c.start > maxCode {
			return c, false
		}
	}
	return c, true
}

// matchCode finds the identifiers that letters may be part of. Each word is
// looked at once, at its first digit.
func (s *numberScanner) matchCode(sc *scan, at, end int) span {
	letters := (at > 0 && isLetter(sc.text[at-1])) || (end < len(sc.text) && isLetter(sc.text[end]))
	if !letters && (!s.member || (end-at < 6 && (end == len(sc.text) || sc.text[end] != '-'))) {
		return span{}
	}
	c, ok := codeAt(sc.text, at, end)
	if !ok {
		return span{}
	}
	if letters {
		var found span
		switch {
		case s.mbi && c.start == at && end-at == 1:
			found = matchMBI(sc.text, at)
		case s.iban && at-c.start == 2 && end-at >= 2:
			found = matchIBAN(sc.text, c)
		}
		if found.to == 0 && s.vin {
			found = matchVIN(sc.text, c)
		}
		if found.to == 0 && s.dea {
			found = matchDEA(sc.text, c)
		}
		if sc.accepts(found) {
			return found
		}
	}
	if s.member {
		if found := matchMember(sc.text, c); found.to > 0 && sc.rightBefore(found.from)&aboutMember != 0 {
			return found
		}
	}
	return span{}
}

// mbiLetters are the letters of an MBI: all but B, I, L, O, S and Z.
const mbiLetters = "ACDEFGHJKMNPQRTUVWXY"

// mbiForm is the kind of each of the eleven signs: digit from 1, letter, letter
// or digit, digit (CMS, "Understanding the Medicare Beneficiary Identifier
// Format").
const mbiForm = "1axnaxnaann"

// matchMBI finds Medicare beneficiary identifiers, with or without the dashes
// of the card. Small letters are ambiguous.
func matchMBI(text []byte, at int) span {
	if leftEdge(text, at) != edgeFree {
		return span{}
	}
	found := span{from: at, name: detectMBI}
	for i, kind := range []byte(mbiForm) {
		if (i == 4 || i == 7) && at < len(text) && (text[at] == '-' || text[at] == ' ') {
			at++
		}
		if at >= len(text) {
			return span{}
		}
		b := text[at]
		if b >= 'a' && b <= 'z' {
			b -= 'a' - 'A'
			found.context = aboutMBI
		}
		letter := bytes.IndexByte([]byte(mbiLetters), b) >= 0
		switch {
		case kind == '1' && (b < '1' || b > '9'), kind == 'n' && !isDigit(b), kind == 'a' && !letter,
			kind == 'x' && !letter && !isDigit(b):
			return span{}
		}
		at++
	}
	if at < len(text) && (isWord[text[at]] || (text[at] == '-' && at+1 < len(text) && isDigit(text[at+1]))) {
		return span{}
	}
	found.to = at
	return found
}

// matchDEA finds the numbers of the Drug Enforcement Administration: two
// letters, or one and a 9, and seven digits. Order numbers look the same.
func matchDEA(text []byte, c code) span {
	if c.stop-c.start != 9 || c.stop != c.end || (c.at-c.start != 2 && (c.at-c.start != 1 || text[c.at] != '9')) {
		return span{}
	}
	var d [7]int
	for i := range d {
		d[i] = int(text[c.stop-7+i] - '0')
	}
	if (d[0]+d[2]+d[4]+2*(d[1]+d[3]+d[5]))%10 != d[6] {
		return span{}
	}
	return span{from: c.start, to: c.stop, name: detectDEA, context: aboutDEA}
}

// vinWeights are those of 49 CFR 565.15; the ninth sign is the check digit.
var vinWeights = [17]int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}

// matchVIN finds vehicle identification numbers. Without a check digit, which
// Europe does not ask for, or in small letters they are ambiguous.
func matchVIN(text []byte, c code) span {
	if c.stop-c.start != len(vinWeights) || !isDigit(text[c.stop-1]) || !isDigit(text[c.stop-2]) {
		return span{}
	}
	found := span{from: c.start, to: c.stop, name: detectVIN}
	sum := 0
	for i, b := range text[c.start:c.stop] {
		if b >= 'a' && b <= 'z' {
			b -= 'a' - 'A'
			found.context = aboutVIN
		}
		value := vinValue(b)
		if value < 0 {
			return span{}
		}
		sum += value * vinWeights[i]
	}
	if check := text[c.start+8]; check != "0123456789X"[sum%11] {
		found.context = aboutVIN
	}
	return found
}

// vinValue is -1 for I, O and Q, which no VIN has.
func vinValue(b byte) int {
	switch {
	case isDigit(b):
		return int(b - '0')
	case b >= 'A' && b <= 'H':
		return int(b-'A') + 1
	case b >= 'J' && b <= 'N':
		return int(b-'J') + 1
	case b == 'P', b == 'R':
		return int(b-'P') + 7
	case b >= 'S' && b <= 'Z':
		return int(b-'S') + 2
	}
	return -1
}

// ibanLengths are those of the SWIFT registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
	"IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
	"LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
	"NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
	"SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// matchIBAN finds international bank account numbers, together or in printed
// groups: country, length and the remainder by 97 (ISO 13616) confirm them.
func matchIBAN(text []byte, c code) span {
	country := [2]byte{text[c.start] &^ 0x20, text[c.start+1] &^ 0x20}
	length := ibanLengths[string(country[:])]
	// The country and the check digits count last.
	signs, rest, at := 0, 0, c.start
	var head [4]byte
	for ; at < len(text) && signs < length; at++ {
		b := text[at]
		switch {
		case isWord[b] && signs < len(head):
			head[signs] = b
			signs++
		case isWord[b]:
			rest = mod97(rest, b)
			signs++
		case (b == ' ' || b == '-') && signs >= len(head) && isWord[text[at-1]]:
		default:
			return span{}
		}
	}
	for _, b := range head {
		rest = mod97(rest, b)
	}
	if length == 0 || signs < length || rest != 1 || (at < len(text) && isWord[text[at]]) {
		return span{}
	}
	return span{from: c.start, to: at, name: detectIBAN}
}

// mod97 goes on with one more sign; letters have two digits, A is 10.
func mod97(rest int, b byte) int {
	if isDigit(b) {
		return (rest*10 + int(b-'0')) % 97
	}
	return (rest*100 + int(b&^0x20-'A') + 10) % 97
}

// matchMember finds what may be the number of a member of a health plan, or of an
// account: six signs or more, five of them digits, perhaps in groups with
// dashes. Only the words around tell it from other numbers.
func matchMember(text []byte, c code) span {
	if c.stop-c.start < 6 && (c.stop == len(text) || text[c.stop] != '-') {
		return span{}
	}
	if leftEdge(text, c.start) != edgeFree || (c.start > 0 && bytes.IndexByte([]byte("./_+"), text[c.start-1]) >= 0) {
		return span{}
	}
	stop := c.stop
	for stop+1 < len(text) && text[stop] == '-' && isWord[text[stop+1]] {
		for stop++; stop < len(text) && isWord[text[stop]]; stop++ {
			if stop-c.start > maxMember {
				return span{}
			}
		}
	}
	size, digits := stop-c.start, 0
	for _, b := range text[c.start:stop] {
		if isDigit(b) {
			digits++
		}
	}
	fraction := stop+1 < len(text) && bytes.IndexByte([]byte(".:/,"), text[stop]) >= 0 && isDigit(text[stop+1])
	if size < 6 || size > maxMember || digits < 5 || fraction || looksLikeDate(text[c.start:stop]) {
		return span{}
	}
	return span{from: c.start, to: stop, name: detectMember}
}

// maxMember is how long the number of a member may be, dashes included; UUIDs
// are longer.
const maxMember = 24

// looksLikeDate is for 2026-11-24, 2026-11-24T10, 20261124 and 24-11-2026.
func looksLikeDate(b []byte) bool {
	year := func(b []byte) bool { return b[0] == '1' && b[1] == '9' || b[0] == '2' && b[1] == '0' }
	switch {
	case len(b) == 8 && digitsOnly(b):
		return year(b) && b[4] <= '1' && b[6] <= '3'
	case len(b) >= 10 && b[4] == '-' && b[7] == '-':
		return year(b)
	}
	return len(b) == 10 && b[2] == '-' && b[5] == '-' && year(b[6:])
}

// isWord are the ASCII letters and digits.
var isWord = signs("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

func signs(list string) (set [256]bool) {
	for i := range len(list) {
		set[list[i]] = true
	}
	return set
}
