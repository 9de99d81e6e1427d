package masking

// numberScanner finds the identifiers that begin with a digit, in one pass.
type numberScanner struct {
	ssn, phone, card, mbi, ip bool
}

// maxGroups bounds how many groups of digits one candidate is made of, and
// maxDigits how long each may be: together they make the scan linear.
const (
	maxGroups = 6
	maxDigits = 19
)

// separator is what stands between two groups of digits.
type separator uint8

const (
	sepNone separator = iota
	sepSpace
	sepDash
	sepDot
	sepParen
)

// number is the groups of digits from one position on.
type number struct {
	text []byte
	n    int
	from [maxGroups]int
	to   [maxGroups]int
	sep  [maxGroups]separator // sep[i] stands between groups i and i+1
	// left says what the first group is attached to.
	left edge
}

// edge is what one end of a number touches.
type edge uint8

const (
	edgeFree   edge = iota // nothing, or plain words
	edgeNumber             // more of the same number, by a dash or a dot
	edgeCode               // a letter or digit of a longer code
)

// next returns the first number that starts in text[at:limit] and has the
// context it needs. Signs before its first digit belong to it from text[done] on.
func (s *numberScanner) next(column string, text []byte, done, at, limit int) span {
	if !s.ssn && !s.phone && !s.card && !s.mbi && !s.ip {
		return span{}
	}
	for at < limit {
		if !isDigit(text[at]) {
			at++
			continue
		}
		if at == 0 || !isDigit(text[at-1]) {
			if found := s.match(column, text, done, at); found.to > 0 {
				return found
			}
		}
		for at < len(text) && isDigit(text[at]) {
			at++
		}
	}
	return span{}
}

// match tries every kind of number at text[at], the surest first.
func (s *numberScanner) match(column string, text []byte, done, at int) span {
	if s.mbi {
		if found := matchMBI(text, at); found.accepted(column, text) {
			return found
		}
	}
	var n number
	if !n.parse(text, at) {
		return span{}
	}
	if s.card {
		if found := n.matchCard(); found.accepted(column, text) {
			return found
		}
	}
	if s.ssn {
		if found := n.matchSSN(); found.accepted(column, text) {
			return found
		}
	}
	if s.ip {
		if found := n.matchIPv4(); found.accepted(column, text) {
			return found
		}
	}
	if s.phone {
		if found := n.matchPhone(done); found.accepted(column, text) {
			return found
		}
	}
	return span{}
}

// parse reads the groups from text[at] on. It is false for a run of digits
// that is too long to be any identifier.
func (n *number) parse(text []byte, at int) bool {
	n.text, n.left = text, leftEdge(text, at)
	for i := at; n.n < maxGroups; {
		end := i
		for end < len(text) && isDigit(text[end]) {
			end++
		}
		if end-i > maxDigits {
			break
		}
		n.from[n.n], n.to[n.n] = i, end
		n.n++
		kind, width := separatorAt(text, end)
		if kind == sepNone || end+width >= len(text) || !isDigit(text[end+width]) {
			return true
		}
		n.sep[n.n-1] = kind
		i = end + width
	}
	return n.n > 0
}

// lens reports whether the groups from i on have these lengths.
func (n *number) lens(i int, want ...int) bool {
	if i+len(want) > n.n {
		return false
	}
	for k, w := range want {
		if n.to[i+k]-n.from[i+k] != w {
			return false
		}
	}
	return true
}

// joined reports whether the separators before group last are all sep.
func (n *number) joined(last int, sep separator) bool {
	for i := range last {
		if n.sep[i] != sep {
			return false
		}
	}
	return true
}

// right says what the end of group i touches.
func (n *number) right(i int) edge {
	kind, width := separatorAt(n.text, n.to[i])
	if next := n.to[i] + width; (kind == sepDash || kind == sepDot) && next < len(n.text) && isDigit(n.text[next]) {
		return edgeNumber
	}
	return rightEdge(n.text, n.to[i])
}

// whole reports whether text[from:to] is everything that the text says.
func (n *number) whole(from, to int) bool {
	if len(n.text) > 2*contextBytes {
		return false
	}
	for i, b := range n.text {
		if (i < from || i >= to) && b != ' ' && b != '"' {
			return false
		}
	}
	return true
}

// separatorAt reads what stands at text[i]: a single dot or dash, spaces,
// parentheses, or a dash between spaces. Typographic dashes and spaces count.
func separatorAt(text []byte, i int) (kind separator, width int) {
	signs, from := 0, i
	for ; signs < 3 && i < len(text); signs++ {
		one, w := oneSeparator(text, i)
		if one == sepNone {
			break
		}
		switch {
		case kind == sepNone || kind == sepSpace || one == sepParen:
			kind = max(kind, one)
		case one == sepSpace && kind != sepDot, kind == sepParen:
		default: // "--", "..", ". "
			return sepNone, 0
		}
		i += w
	}
	if kind == sepDot && signs > 1 {
		return sepNone, 0
	}
	return kind, i - from
}

func oneSeparator(text []byte, i int) (separator, int) {
	switch text[i] {
	case ' ':
		return sepSpace, 1
	case '-':
		return sepDash, 1
	case '.':
		return sepDot, 1
	case '(', ')':
		return sepParen, 1
	case 0xC2: // U+00A0 no-break space
		if i+1 < len(text) && text[i+1] == 0xA0 {
			return sepSpace, 2
		}
	case 0xE2:
		if i+2 >= len(text) {
			return sepNone, 0
		}
		switch a, b := text[i+1], text[i+2]; {
		case a == 0x80 && b >= 0x90 && b <= 0x95, a == 0x88 && b == 0x92: // U+2010 to U+2015, U+2212
			return sepDash, 3
		case a == 0x80 && (b == 0xAF || (b >= 0x80 && b <= 0x8A)): // U+202F, U+2000 to U+200A
			return sepSpace, 3
		}
	}
	return sepNone, 0
}

// leftEdge says what the digits at text[at] are attached to. A plain word
// counts as free, also behind a dash or dot: "SSN-219…", "Tel.212…".
func leftEdge(text []byte, at int) edge {
	if at == 0 {
		return edgeFree
	}
	attached := edgeCode
	i := at - 1
	if text[i] == '-' || text[i] == '.' || (text[i] >= 0x90 && dashBefore(text, at)) {
		attached = edgeNumber
		if i--; text[i+1] >= 0x80 {
			i -= 2
		}
	}
	for stop := max(0, i-maxDigits); i >= stop; i-- {
		switch {
		case isDigit(text[i]):
			return attached
		case !isLetter(text[i]):
			return edgeFree
		}
	}
	return edgeFree
}

// dashBefore reports whether a typographic dash ends at text[at].
func dashBefore(text []byte, at int) bool {
	if at < 3 {
		return false
	}
	kind, width := oneSeparator(text, at-3)
	return kind == sepDash && width == 3
}

// rightEdge says what stands after digits that end at text[at]. A plain word
// counts as free: "219-09-9998A".
func rightEdge(text []byte, at int) edge {
	for i := at; i < min(len(text), at+maxDigits); i++ {
		switch {
		case isDigit(text[i]):
			return edgeCode
		case !isLetter(text[i]):
			return edgeFree
		}
	}
	return edgeFree
}

// splitsNumber reports whether digits stand on both sides of text[at].
func splitsNumber(text []byte, at int) bool {
	return at > 0 && at < len(text) && isDigit(text[at-1]) && isDigit(text[at])
}

func digitsOnly(text []byte) bool {
	for _, b := range text {
		if !isDigit(b) {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool  { return b >= '0' && b <= '9' }
func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
