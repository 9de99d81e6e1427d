package glyph

import "testing"

func TestHidden(t *testing.T) {
	for r, want := range map[rune]bool{
		'a': false, ' ': false, 'é': false, '漢': false, '\u0301': false, '\ufffd': false, '€': false,
		'\n': true, '\t': true, 0: true, 0x7f: true, 0xa0: true, 0x200b: true, 0x202e: true, 0x2800: true, 0xfe0f: true,
		0x3164: true, 0xe000: true, 0xe0041: true, 0xffff: true, 0x2028: true, -1: true,
	} {
		if Hidden(r) != want {
			t.Errorf("%U: want %v", r, want)
		}
	}
}
