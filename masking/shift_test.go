package masking

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestShift(t *testing.T) {
	one, err := NewTokenizer(bytes.Repeat([]byte{'a'}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewTokenizer(bytes.Repeat([]byte{'b'}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 1, 30} {
		limit := days
		if days == 0 {
			limit = DefaultDays
		}
		seen, differ := map[int]int{}, 0
		for person := range 5000 {
			id := fmt.Append(nil, person)
			n := one.Shift(id, days)
			if n == 0 || n < -limit || n > limit || n != one.Shift(id, days) {
				t.Fatalf("person %d moves by %d of at most %d", person, n, limit)
			}
			if n != other.Shift(id, days) {
				differ++
			}
			seen[n]++
		}
		if days != 1 && differ < 4500 || differ < 2000 {
			t.Errorf("%d days: only %d of 5000 depend on the key", days, differ)
		}
		if days > 0 && len(seen) != 2*days {
			t.Errorf("%d days: %d shifts", days, len(seen))
		}
	}
}

func TestAppendShifted(t *testing.T) {
	tokens, err := NewTokenizer(bytes.Repeat([]byte{'a'}, 32))
	if err != nil {
		t.Fatal(err)
	}
	shift := tokens.Shift([]byte("17"), 0)
	moved := func(date string) string {
		d, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		return d.AddDate(0, 0, shift).Format(time.DateOnly)
	}
	for _, c := range []struct{ value, want string }{
		{"1985-07-01|17", moved("1985-07-01")},
		{"2024-02-29|17", moved("2024-02-29")},
		{"1985-07-01 10:20:30|17", moved("1985-07-01") + "T10:20:30"},
		{"1985-07-01 10:20:30.123456+00|17", moved("1985-07-01") + "T10:20:30.123456Z"},
		{"1985-07-01 10:20:30+02|17", "NULL"}, {"1985-07-01 later|17", "NULL"}, {"infinity|17", "NULL"}, {"-infinity|17", "NULL"},
		{"0044-03-15 BC|17", "NULL"}, {"5874897-12-31|17", "NULL"}, {"0000-00-00|17", "NULL"}, {"2024-00-10|17", "NULL"},
		{"2023-02-29|17", "NULL"}, {"1985-07-01|", "NULL"}, {"1985-07-01", "NULL"}, {"", "NULL"}, {"|17", "NULL"}, {"1985/07/01|17", "NULL"},
	} {
		out, ok := tokens.AppendShifted([]byte("-"), []byte(c.value), 0)
		got := string(out[1:])
		if !ok {
			got = "NULL"
		}
		if got != c.want || (!ok && len(out) != 1) {
			t.Errorf("%q becomes %q, want %q", c.value, got, c.want)
		}
	}
	// Whoever moves to the past leaves the years at one end, to the future at the other.
	ends := 0
	for _, date := range []string{"0001-01-01", "9999-12-31"} {
		if _, ok := tokens.AppendShifted(nil, []byte(date+"|17"), 0); !ok {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("%d ends of the calendar are left", ends)
	}
}
