package masking

import (
	"bytes"
	"net/netip"
)

// findEmail finds addresses around an @ (RFC 5321 without quoted local parts).
// Letters beyond ASCII count, for internationalised addresses (RFC 6531).
func findEmail(text []byte, from int) span {
	for at := from; at < len(text); {
		i := bytes.IndexByte(text[at:], '@')
		if i < 0 {
			return span{}
		}
		sign := at + i
		start := sign
		for start > from && isLocalPart(text[start-1]) {
			start--
		}
		if end := domainEnd(text, sign+1); start < sign && end > 0 {
			return span{from: start, to: end, name: detectEmail}
		}
		from = sign + 1 // what is before it belongs to no later address
		at = from
	}
	return span{}
}

func isLocalPart(b byte) bool { return b >= 0x80 || isWord[b] || localSigns[b] }

var localSigns = signs("._%+-'&~!#$*^")

// domainEnd is where the domain that begins at text[at] ends, 0 if there is none.
// It has a dot, and letters after its last one.
func domainEnd(text []byte, at int) int {
	end, label, dots := 0, at, 0
	for i := at; i <= len(text); i++ {
		if i < len(text) && (isDigit(text[i]) || isLetter(text[i]) || text[i] >= 0x80 || text[i] == '-') {
			continue
		}
		if i == label {
			break
		}
		if dots > 0 {
			if letters := lettersOf(text[label:i]); letters >= 2 {
				end = label + letters
			}
		}
		if i == len(text) || text[i] != '.' {
			break
		}
		label = i + 1
		dots++
	}
	return end
}

// lettersOf counts the letters that a label begins with; all of it if it is an
// internationalised one (xn--).
func lettersOf(label []byte) int {
	if bytes.HasPrefix(label, []byte("xn--")) {
		return len(label)
	}
	n := 0
	for n < len(label) && (isLetter(label[n]) || label[n] >= 0x80) {
		n++
	}
	return n
}

// findURL finds web and file addresses by their scheme.
func findURL(text []byte, from int) span {
	for at := from; at < len(text); {
		i := bytes.Index(text[at:], []byte("://"))
		if i < 0 {
			return span{}
		}
		mark := at + i
		start, end := mark, mark+3
		for start > from && isLetter(text[start-1]) {
			start--
		}
		if from = mark + 3; mark-start < 2 {
			at = from
			continue
		}
		for end < len(text) && text[end] > ' ' && bytes.IndexByte([]byte("\"'<>`\\|[]{}"), text[end]) < 0 {
			end++
		}
		if end > mark+3 {
			return span{from: start, to: end, name: detectURL}
		}
		at = from
	}
	return span{}
}

// findIPv6 finds the text forms of RFC 4291, section 2.2. Times, MAC addresses
// and casts (a::text) are none: they do not parse as an address, or go on with a
// letter.
func findIPv6(text []byte, from int) span {
	for at := from; at < len(text); {
		i := bytes.IndexByte(text[at:], ':')
		if i < 0 {
			return span{}
		}
		if next := at + i + 1; next == len(text) || (text[next] != ':' && !isHex(text[next])) { // as in "BP: 120"
			from = next
			at = from
			continue
		}
		start, colons, digits, gap := at+i, 0, 0, false
		for start > from && isHex(text[start-1]) {
			start--
		}
		end := start
		for ; end < len(text) && (isHex(text[end]) || text[end] == ':' || (text[end] == '.' && colons > 1)); end++ {
			if text[end] != ':' {
				digits++
				continue
			}
			colons++
			gap = gap || (end > start && text[end-1] == ':')
		}
		stop := end
		for stop > start && text[stop-1] == '.' { // the end of a sentence
			stop--
		}
		free := (start == 0 || (!isLetter(text[start-1]) && !isDigit(text[start-1]))) &&
			(end == len(text) || (!isLetter(text[end]) && !isDigit(text[end])))
		if (gap || colons >= 6) && digits >= 4 && stop-start <= 45 && free {
			if a, err := netip.ParseAddr(string(text[start:stop])); err == nil && a.Is6() {
				return span{from: start, to: stop, name: detectIP}
			}
		}
		from = max(end, start+1)
		at = from
	}
	return span{}
}

func isHex(b byte) bool { return isDigit(b) || (b|0x20 >= 'a' && b|0x20 <= 'f') }
