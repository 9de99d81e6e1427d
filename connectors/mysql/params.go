package mysql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
)

// positional replaces :name markers by ? and returns the index into names of
// each, in order, with the byte offset of each marker in the new text. It reads
// quotes and comments as MySQL does in the pinned sql_mode; should it misread
// one, the parser's own markers do not agree and the statement is refused.
func positional(text string, names []string) (out string, order, offsets []int, err error) {
	var b strings.Builder
	for i := 0; i < len(text); {
		if end := skip(text, i); end > i {
			b.WriteString(text[i:end])
			i = end
			continue
		}
		if text[i] != ':' || i+1 >= len(text) || !wordStart(text[i+1]) || (i > 0 && (text[i-1] == ':' || wordByte(text[i-1]))) {
			b.WriteByte(text[i])
			i++
			continue
		}
		end := i + 1
		for end < len(text) && wordByte(text[end]) {
			end++
		}
		name := text[i+1 : end]
		index := slices.Index(names, name)
		if index < 0 {
			return "", nil, nil, &connectors.Error{Kind: connectors.KindParameter,
				Message: "a marker of the statement has no parameter of its name", Position: i + 1}
		}
		order, offsets = append(order, index), append(offsets, b.Len())
		b.WriteByte('?')
		i = end
	}
	return b.String(), order, offsets, nil
}

// skip returns the end of the literal, quoted name or comment at i, or i.
func skip(text string, i int) int {
	rest := text[i:]
	switch {
	case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
		quote := rest[0]
		for j := 1; j < len(rest); j++ {
			switch {
			case rest[j] == '\\' && quote != '`':
				j++
			case rest[j] == quote:
				return i + j + 1 // a doubled quote begins the next literal at once
			}
		}
		return len(text)
	case rest[0] == '#', strings.HasPrefix(rest, "-- "), strings.HasPrefix(rest, "--\n"), strings.HasPrefix(rest, "--\t"):
		if end := strings.IndexByte(rest, '\n'); end >= 0 {
			return i + end + 1
		}
		return len(text)
	case strings.HasPrefix(rest, "/*"):
		if end := strings.Index(rest[2:], "*/"); end >= 0 {
			return i + end + 4
		}
		return len(text)
	}
	return i
}

func wordStart(b byte) bool {
	return b == '_' || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z')
}

func wordByte(b byte) bool { return wordStart(b) || (b >= '0' && b <= '9') }

// countError says how many parameters were expected.
func countError(want, got int) error {
	return &connectors.Error{Kind: connectors.KindParameter,
		Message: fmt.Sprintf("the statement has %d markers, %d parameters were given", want, got)}
}
