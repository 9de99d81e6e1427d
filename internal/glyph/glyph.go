// Package glyph tells characters that people see from those that deceive them.
package glyph

import "unicode"

// Hidden reports whether a character cannot be seen, or moves others: controls, line
// ends, bidirectional marks, zero-width characters, blanks other than the space,
// variation selectors, private and unassigned code points.
func Hidden(r rune) bool {
	switch r {
	case ' ':
		return false
	case 0x2800: // the blank braille pattern
		return true
	}
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
