package masking

// numberScanner finds the identifiers that have digits, in one pass.
type numberScanner struct {
	ssn, phone, card, npi, ip, mbi, iban, vin, dea, member bool
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
	scan *scan
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
func (s *numberScanner) next(sc *scan, done, at, limit int) span {
	if *s == (numberScanner{}) {
		return span{}
	}
	text := sc.text
	for at < limit {
		if !isDigit(text[at]) {
			at++
			continue
		}
		end := at + 1
		for end < len(text) && isDigit(text[end]) {
			end++
		}
		if at == 0 || !isDigit(text[at-1]) {
			if found := s.match(sc, done, at, end); found.to > 0 {
				return found
			}
		}
		at = end
	}
	return span{}
}

// match tries every kind of number that begins with text[at:end], the surest
// first.
func (s *numberScanner) match(sc *scan, done, at, end int) span {
	if found := s.matchCode(sc, at, end); found.to > 0 {
		if found.from >= done {
			return found
		}
	}
	groups := groupsFrom(sc.text, at, end)
	if groups == 0 {
		return span{}
	}
	n := number{scan: sc, text: sc.text, left: leftEdge(sc.text, at)}
	if n.left == edgeCode || (n.left == edgeNumber && end-at <= 2) {
		return span{}
	}
	n.read(at, groups)
	if s.card {
		if found := n.matchCard(); sc.accepts(found) {
			return found
		}
	}
	if s.ssn {
		if found := n.matchSSN(); sc.accepts(found) {
			return found
		}
	}
	if s.npi {
		if found := n.matchNPI(); sc.accepts(found) {
			return found
		}
	}
	if s.ip {
		if found := n.matchIPv4(); sc.accepts(found) {
			return found
		}
	}
	if s.phone {
		if found := n.matchPhone(done); sc.accepts(found) {
			return found
		}
	}
	return span{}
}

// groupsFrom is a quick look that spares most numbers of ordinary texts: how
// many groups a number that begins with text[at:end] may have, 0 if no kind
// begins like that.
func groupsFrom(text []byte, at, end int) int {
	if end-at > maxDigits {
		return 0
	}
	if at > 0 && (text[at-1] == '+' || text[at-1] == '(') {
		return maxGroups
	}
	kind, second, stop := groupAfter(text, end)
	address := kind == sepDot && second > 0 && second <= 3
	switch end - at {
	case 1:
		if address || (text[at] == '1' && second == 3) {
			return 4
		}
	case 2:
		if address {
			return 4
		}
	case 3:
		switch {
		case address:
			return 4
		case second == 2 || second == 3:
			if _, third, _ := groupAfter(text, stop); third == 4 {
				return 3
			}
		case second == 4 || second == 7:
			return 2
		}
	case 4:
		if (second == 4 || second == 6) && cardLengths(text[at:end]) != 0 {
			return 5
		}
	case 9, 10, 11, 13, 14, 15, 16, 17, 18, 19:
		return 1
	}
	return 0
}

// groupAfter is the separator at text[end] and how many digits follow it, up to
// eight.
func groupAfter(text []byte, end int) (kind separator, digits, stop int) {
	kind, width := separatorAt(text, end)
	stop = end + width
	if kind != sepNone {
		for ; stop < len(text) && digits < 8 && isDigit(text[stop]); stop++ {
			digits++
		}
	}
	return kind, digits, stop
}

// read reads up to so many groups from text[at] on.
func (n *number) read(at, groups int) {
	for i := at; n.n < groups; {
		end := i
		for end < len(n.text) && isDigit(n.text[end]) {
			if end++; end-i > maxDigits {
				return
			}
		}
		n.from[n.n], n.to[n.n] = i, end
		n.n++
		kind, width := separatorAt(n.text, end)
		if kind == sepNone || end+width >= len(n.text) || !isDigit(n.text[end+width]) {
			return
		}
		n.sep[n.n-1] = kind
		i = end + width
	}
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
// parentheses, or a dash between spaces.
func separatorAt(text []byte, i int) (kind separator, width int) {
	from := i
	for ; i < len(text) && i-from < 3; i++ {
		one := separators[text[i]]
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
	}
	if kind == sepDot && i-from > 1 {
		return sepNone, 0
	}
	return kind, i - from
}

var separators = [256]separator{' ': sepSpace, '-': sepDash, '.': sepDot, '(': sepParen, ')': sepParen}

// leftEdge says what the digits at text[at] are attached to. A plain word
// counts as free, also behind a dash or dot: "SSN-219…", "Tel.212…".
func leftEdge(text []byte, at int) edge {
	if at == 0 {
		return edgeFree
	}
	attached := edgeCode
	i := at - 1
	if text[i] == '-' || text[i] == '.' {
		attached = edgeNumber
		i--
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
