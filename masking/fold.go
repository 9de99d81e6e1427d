package masking

import (
	"unicode"
	"unicode/utf8"
)

// folded is a text in which digits, dashes, spaces and signs of other scripts
// and widths are the ASCII ones, and signs without a width are left out, so that
// one scan knows them all.
type folded struct {
	text []byte
	at   []int32 // where text[i] stands in the original; one more for the end
}

// maxFolded is the longest text that is folded whole; cells are far shorter.
const maxFolded = 1<<31 - 1

// fold reports whether the text has anything to fold.
func (f *folded) fold(text []byte) bool {
	f.text, f.at = f.text[:0], f.at[:0]
	changed := false
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			if changed {
				f.add(text[i], i)
			}
			i++
			continue
		}
		r, width := utf8.DecodeRune(text[i:])
		b, other := foldRune(r)
		if other && !changed {
			changed = true
			for k := range i {
				f.add(text[k], k)
			}
		}
		switch {
		case other && b != 0:
			f.add(b, i)
		case changed && !other:
			for k := i; k < i+width; k++ {
				f.add(text[k], k)
			}
		}
		i += width
	}
	f.at = append(f.at, int32(min(len(text), maxFolded))) //nolint:gosec // bounded
	return changed
}

func (f *folded) add(b byte, at int) {
	f.text, f.at = append(f.text, b), append(f.at, int32(min(at, maxFolded))) //nolint:gosec // bounded
}

// foldRune is the ASCII sign that a rune stands for, 0 for one to leave out;
// false if it stands for itself. Quotes and the backslash are left alone, since
// they mean something in JSON.
func foldRune(r rune) (byte, bool) {
	switch {
	case r == 0xA0 || r == 0x1680 || (r >= 0x2000 && r <= 0x200A) || r == 0x202F || r == 0x205F || r == 0x3000:
		return ' ', true
	case (r >= 0x2010 && r <= 0x2015) || r == 0x2043 || r == 0x2212 || r == 0xFE58 || r == 0xFE63:
		return '-', true
	case r == 0xB7 || r == 0x2024:
		return '.', true
	case r == 0xAD, r == 0x34F, r == 0x61C, r == 0x180E, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E,
		r >= 0x2060 && r <= 0x206F, r >= 0xFE00 && r <= 0xFE0F, r == 0xFEFF:
		return 0, true
	case r >= 0xFF01 && r <= 0xFF5E && r != 0xFF02 && r != 0xFF07 && r != 0xFF3C: // full width
		return byte(r - 0xFEE0), true //nolint:gosec // ASCII by now
	case r < 0x660: // the first digits beyond ASCII
		return 0, false
	}
	return foldDigit(r)
}

// foldDigit is the value of a decimal digit of any script: they come in rows of
// ten (Unicode, section 4.6).
func foldDigit(r rune) (byte, bool) {
	if !unicode.IsDigit(r) {
		return 0, false
	}
	for _, row := range unicode.Nd.R16 {
		if lo := rune(row.Lo); r >= lo && r <= rune(row.Hi) {
			return byte('0' + (r-lo)%10), true
		}
	}
	for _, row := range unicode.Nd.R32 {
		if lo := rune(row.Lo); r >= lo && r <= rune(row.Hi) { //nolint:gosec // a code point
			return byte('0' + (r-lo)%10), true
		}
	}
	return 0, false
}
