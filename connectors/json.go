package connectors

import (
	"encoding/json"
	"unicode/utf8"
)

// AppendJSON appends a cell to dst as JSON. Text that is not UTF-8 has its
// wrong bytes replaced (U+FFFD); a number that is no JSON number, or JSON that
// is not valid, becomes a string, so that one value can never break an answer.
func AppendJSON(dst []byte, c Cell) []byte {
	switch c.Kind {
	case CellNull:
		return append(dst, "null"...)
	case CellNumber, CellJSON:
		if json.Valid(c.Text) {
			return append(dst, c.Text...)
		}
	case CellBool:
		if s := string(c.Text); s == "true" || s == "false" {
			return append(dst, c.Text...)
		}
	case CellString:
	}
	return AppendString(dst, c.Text)
}

const hex = "0123456789abcdef"

// AppendString appends text to dst as a JSON string.
func AppendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		b := text[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, text[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if b >= ' ' && b != '"' && b != '\\' && b != 0x7f {
			i++
			continue
		}
		dst = append(dst, text[start:i]...)
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		i++
		start = i
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}
