package masking

import (
	"bytes"
	"encoding/binary"
	"time"
)

// DefaultDays is how far DateShift moves a date at most, if Mask.Days is 0.
const DefaultDays = 365

// shiftDomain keeps shifts apart from tokens: no class is called so.
const shiftDomain = "date shift"

// Shift is by how many days all dates of a person move: from -days to days and
// never 0, drawn by HMAC-SHA-256, so that only the key tells it. It does not
// depend on the class, so that intervals between dates of different classes of
// one person stay, as long as they have the same days.
func (t *Tokenizer) Shift(person []byte, days int) int {
	if days < 1 {
		days = DefaultDays
	}
	s := t.sum(shiftDomain, person)
	n := binary.BigEndian.Uint64(s.sum)
	t.states.Put(s)
	shift := int(n%uint64(2*days)) - days //nolint:gosec // at most 2*days
	if shift >= 0 {
		shift++
	}
	return shift
}

// AppendShifted appends a date, moved by its person's days, to dst. The value is
// what an engine gives for such a column: a date or "date time" in ISO 8601, with
// +00 if it has a zone, then | and the person. The time of day stays. False
// stands for NULL: what is no such value, or would leave the years 1 to 9999.
func (t *Tokenizer) AppendShifted(dst, value []byte, days int) ([]byte, bool) {
	moment, person, ok := bytes.Cut(value, []byte{'|'})
	if !ok || len(person) == 0 || len(moment) < len(time.DateOnly) {
		return dst, false
	}
	date, clock := moment[:len(time.DateOnly)], moment[len(time.DateOnly):]
	day, ok := parseDay(date)
	if !ok || !isClock(clock) {
		return dst, false
	}
	day = day.AddDate(0, 0, t.Shift(person, days))
	if day.Year() < 1 || day.Year() > 9999 {
		return dst, false
	}
	dst = day.AppendFormat(dst, time.DateOnly)
	if len(clock) == 0 {
		return dst, true
	}
	clock, zoned := bytes.CutSuffix(clock[1:], []byte("+00"))
	dst = append(append(dst, 'T'), clock...)
	if zoned {
		dst = append(dst, 'Z')
	}
	return dst, true
}

// parseDay reads YYYY-MM-DD. A day that no calendar has is none.
func parseDay(text []byte) (time.Time, bool) {
	number := func(from, to int) int {
		n := 0
		for _, b := range text[from:to] {
			if !isDigit(b) {
				return -1
			}
			n = n*10 + int(b-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	if year < 1 || month < 1 || day < 1 || text[4] != '-' || text[7] != '-' {
		return time.Time{}, false
	}
	out := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return out, out.Month() == time.Month(month) && out.Day() == day
}

// isClock reports whether text is nothing, or a space and a time of day.
func isClock(text []byte) bool {
	text = bytes.TrimSuffix(text, []byte("+00"))
	if len(text) == 0 {
		return true
	}
	if len(text) < len(" 15:04:05") || text[0] != ' ' {
		return false
	}
	for i, b := range text[1:] {
		separator := i == 2 || i == 5 || i == 8
		if separator && b != ':' && b != '.' || !separator && !isDigit(b) {
			return false
		}
	}
	return true
}
