package masking

import (
	"bytes"

	"github.com/nyaruka/phonenumbers"
)

// digits copies the digits of groups i to j-1 into a buffer.
func (n *number) digits(i, j int, into *[maxDigits]byte) []byte {
	out := into[:0]
	for ; i < j; i++ {
		out = append(out, n.text[n.from[i]:n.to[i]]...)
	}
	return out
}

// matchSSN finds 219-09-9998. Spaces or dots between the groups, a longer
// number around it and nine digits alone are ambiguous.
func (n *number) matchSSN() span {
	var buf [maxDigits]byte
	found := span{from: n.from[0], name: detectSSN, context: aboutSSN}
	switch {
	case n.lens(0, 3, 2, 4) && n.sep[0] != sepParen && n.sep[1] != sepParen:
		found.to = n.to[2]
		right := n.right(2)
		switch {
		case right == edgeCode || !issuedSSN(n.digits(0, 3, &buf)):
			return span{}
		case n.joined(2, sepDash) && n.left == edgeFree && right == edgeFree, n.whole(found.from, found.to):
			found.context = 0
		}
		return found
	case n.lens(0, 9) && n.left == edgeFree && n.right(0) == edgeFree && issuedSSN(n.digits(0, 1, &buf)):
		found.to = n.to[0]
		return found
	}
	return span{}
}

// issuedSSN rejects what the Social Security Administration never issued and
// the numbers it has published as examples. Areas from 900 are taken:
// synthetic records use them, and ITINs are identifiers too.
func issuedSSN(d []byte) bool {
	switch {
	case string(d[:3]) == "000", string(d[:3]) == "666", string(d[3:5]) == "00", string(d[5:]) == "0000":
		return false
	case string(d) == "078051120", string(d) == "219099999", string(d[:8]) == "98765432":
		return false
	}
	return true
}

// matchCard finds payment cards: digits alone, or in the groups that are
// printed on them. What follows (an expiry date) does not matter, since
// issuer, length and check digit confirm it.
func (n *number) matchCard() span {
	var buf [maxDigits]byte
	size := n.to[0] - n.from[0]
	if first := n.text[n.from[0]]; first < '2' || first > '6' || (size != 4 && size < 13) {
		return span{}
	}
	var groups int
	switch {
	case size >= 13:
		groups = 1
		if n.left != edgeFree || n.right(0) != edgeFree {
			return span{}
		}
	case n.lens(0, 4, 4, 4, 4, 3) && n.oneStyle(5):
		groups = 5
	case n.lens(0, 4, 4, 4, 4) && n.oneStyle(4):
		groups = 4
	case n.lens(0, 4, 6, 5) && n.oneStyle(3), n.lens(0, 4, 6, 4) && n.oneStyle(3):
		groups = 3
	default:
		return span{}
	}
	d := n.digits(0, groups, &buf)
	if (!issuedCard(d) || !luhn(d)) && groups == 5 {
		groups = 4
		d = d[:16]
	}
	if !issuedCard(d) || !luhn(d) {
		return span{}
	}
	found := span{from: n.from[0], to: n.to[groups-1], name: detectCard}
	if groups == 1 && (len(d) == 13 || len(d) == 19) {
		found.context = aboutCard // many other numbers are as long
	}
	return found
}

// oneStyle reports whether the first groups are all joined by spaces, or all
// by dashes.
func (n *number) oneStyle(groups int) bool {
	return n.joined(groups-1, sepSpace) || n.joined(groups-1, sepDash)
}

// issuedCard checks issuer and length.
func issuedCard(d []byte) bool { return cardLengths(d)&(1<<len(d)) != 0 }

// cardLengths are the lengths of an issuer's numbers, as bits (ISO/IEC 7812-1).
func cardLengths(d []byte) uint32 {
	four := int(d[0]-'0')*1000 + int(d[1]-'0')*100 + int(d[2]-'0')*10 + int(d[3]-'0')
	two, three := four/100, four/10
	switch {
	case d[0] == '4':
		return 1<<13 | 1<<16 | 1<<19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return 1 << 16
	case two == 34 || two == 37:
		return 1 << 15
	case two == 36 || two == 38 || two == 39 || (three >= 300 && three <= 305):
		return 1 << 14
	case four == 6011 || two == 65 || (four >= 3528 && four <= 3589) || (three >= 644 && three <= 649):
		return 1 << 16
	}
	return 0
}

// luhn checks the last digit (ISO/IEC 7812-1, annex B).
func luhn(d []byte) bool {
	sum := 0
	for i, b := range d {
		v := int(b - '0')
		if (len(d)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// matchPhone finds international numbers (+49 30 901820) and North American
// ones ((212) 555-0143, 212-555-0143, 1.212.555.0143). Numbers with spaces
// only, local ones (555-0143) and digits alone are ambiguous.
func (n *number) matchPhone(done int) span {
	at := n.from[0]
	if plus := n.plusBefore(done); plus >= 0 {
		return n.matchInternational(plus)
	}
	first := 0
	if n.lens(0, 1) && n.text[at] == '1' && n.n > 1 {
		first = 1
	}
	found := span{from: at, name: detectPhone, context: aboutPhone}
	if first == 0 && at > done && n.text[at-1] == '(' {
		found.from--
	}
	switch {
	case n.lens(first, 3, 3, 4):
		return n.matchNANP(found, first, first+2)
	case n.lens(first, 3, 7) && n.sep[first] == sepParen:
		return n.matchNANP(found, first, first+1)
	case n.lens(0, 10), n.lens(0, 11) && n.text[at] == '1':
		found.to = n.to[0]
		area := n.text[n.to[0]-10:]
		if n.left != edgeFree || n.right(0) != edgeFree || area[0] < '2' || area[3] < '2' {
			return span{}
		}
		return found
	case n.lens(0, 3, 4) && n.sep[0] == sepDash && n.left == edgeFree && n.right(1) == edgeFree && n.text[at] >= '2':
		found.to = n.to[1]
		return found
	}
	return span{}
}

// matchNANP confirms area code and exchange in the groups first to last.
func (n *number) matchNANP(found span, first, last int) span {
	var buf [maxDigits]byte
	found.to = n.to[last]
	d := n.digits(first, last+1, &buf)
	right := n.right(last)
	if right == edgeCode && n.text[found.to]|0x20 == 'x' { // an extension: 212-555-0143x12
		right = edgeFree
	}
	if d[0] < '2' || d[3] < '2' || right == edgeCode {
		return span{}
	}
	formatted := !n.joined(last, sepSpace) || n.whole(found.from, found.to)
	if formatted && n.left == edgeFree && right == edgeFree && dialable(d) {
		found.context = 0
	}
	return found
}

// dialable confirms an area code and an exchange by the numbering plan's rules:
// no N9X, 37X, 96X and N11 areas, no N11 exchanges. Which areas are in use
// changes too often, and synthetic records use others.
func dialable(d []byte) bool {
	area := d[1] != '9' && (d[1] != '1' || d[2] != '1') && string(d[:2]) != "37" && string(d[:2]) != "96"
	return area && (d[4] != '1' || d[5] != '1')
}

// matchNPI finds national provider identifiers, whose check digit is that of a
// card that begins with 80840. One in ten other numbers fits.
func (n *number) matchNPI() span {
	const prefix = "80840"
	var buf [maxDigits]byte
	if n.left != edgeFree || n.right(0) != edgeFree {
		return span{}
	}
	found := span{from: n.from[0], to: n.to[0], name: detectNPI}
	var d []byte
	switch digits := n.text[n.from[0]:n.to[0]]; {
	case n.lens(0, 15) && bytes.HasPrefix(digits, []byte(prefix)):
		d = digits
	case n.lens(0, 10) && digits[0] <= '2':
		d = append(append(buf[:0], prefix...), digits...)
		found.context = aboutNPI
	default:
		return span{}
	}
	if (d[5] != '1' && d[5] != '2') || !luhn(d) {
		return span{}
	}
	return found
}

// plusBefore returns where a plus sign before the first group is, or -1.
func (n *number) plusBefore(done int) int {
	i := n.from[0] - 1
	if i > done && n.text[i] == '(' {
		i--
	}
	if i < done || n.text[i] != '+' || (i > 0 && (isDigit(n.text[i-1]) || isLetter(n.text[i-1]))) {
		return -1
	}
	return i
}

// matchInternational takes as many groups as make a valid number.
func (n *number) matchInternational(plus int) span {
	for last := n.n - 1; last >= 0; last-- {
		digits := 0
		for i := range last + 1 {
			digits += n.to[i] - n.from[i]
		}
		if digits < 7 || digits > 15 || n.right(last) == edgeCode {
			continue
		}
		if n.scan.validPhone(n.text[plus:n.to[last]]) {
			return span{from: plus, to: n.to[last], name: detectPhone}
		}
	}
	return span{}
}

// maxValidated bounds how often the library is asked within a value. It takes
// microseconds, so in a text with more international numbers than that each one
// counts.
const maxValidated = 16

func (sc *scan) validPhone(text []byte) bool {
	if sc.validated++; sc.validated > maxValidated {
		return true
	}
	parsed, err := phonenumbers.Parse(string(text), "")
	return err == nil && phonenumbers.IsValidNumber(parsed)
}

// matchIPv4 finds dotted addresses. Those with four digits also look
// like the number of a section or version.
func (n *number) matchIPv4() span {
	if n.n < 4 || !n.joined(3, sepDot) || n.left != edgeFree || n.right(3) != edgeFree {
		return span{}
	}
	digits := 0
	for i := range 4 {
		group := n.text[n.from[i]:n.to[i]]
		value := 0
		for _, b := range group {
			value = value*10 + int(b-'0')
		}
		if len(group) > 3 || value > 255 || (len(group) > 1 && group[0] == '0') {
			return span{}
		}
		digits += len(group)
	}
	found := span{from: n.from[0], to: n.to[3], name: detectIP}
	if n.scan.rightBeforeInText(found.from)&aboutVersion != 0 {
		return span{}
	}
	if digits == 4 {
		found.context = aboutIP
	}
	return found
}
