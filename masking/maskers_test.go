package masking

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// gatewayMask is one mask that is made in the gateway, under one key.
type gatewayMask struct {
	name string
	// apply is false where nothing of the value leaves.
	apply func(dst, value []byte) ([]byte, bool)
	// destroys is true if nothing of a value may be in its mask.
	destroys bool
	// samples are what it is meant for.
	samples []string
}

// gatewayMasks are those masks under a key of 32 equal bytes.
func gatewayMasks(t testing.TB, key byte) []gatewayMask {
	t.Helper()
	tokens, err := NewTokenizer(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	detectors, err := NewDetectors(DetectorConfig{MRNPattern: `MRN-\d{7}`})
	if err != nil {
		t.Fatal(err)
	}
	program, err := NewProgram("value.size() < 2 ? '**' : value.substring(0, 2) + '***'")
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int64{}
	return []gatewayMask{
		{"token", func(dst, value []byte) ([]byte, bool) { return tokens.AppendToken(dst, "pseudonym", value), true }, true,
			[]string{"123-45-6789", "MRN-0001234", "Jane Q. Public", "", "\x00\xff", strings.Repeat("long ", 300)}},
		{"cel", func(dst, value []byte) ([]byte, bool) { return program.Append(dst, value), true }, false, []string{"Johnson", "J", "\xff"}},
		{"date_shift", func(dst, value []byte) ([]byte, bool) { return tokens.AppendShifted(dst, value, 0) }, false,
			[]string{"1985-07-01|17", "2024-02-29 10:20:30.5+00|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "2026-11-26 10:20:30|123456", "infinity|1", "2024-00-00|1"}},
		{"free_text_scan", func(dst, value []byte) ([]byte, bool) {
			return append(dst, detectors.Redact("notes", value, hits)...), true
		}, false, []string{"Seen for a cough; will call again on Monday.", "Pt. 123-45-6789, MRN-0001234, called from 212-555-0143", "no fever"}},
	}
}

// BenchmarkMaskers reports how many cells one core masks in a second by the clock,
// and in one of its own time, which other processes do not take from it.
func BenchmarkMaskers(b *testing.B) {
	for _, m := range gatewayMasks(b, 'k') {
		b.Run(m.name, func(b *testing.B) {
			values := make([][]byte, 1024)
			for i := range values {
				values[i] = fmt.Appendf(nil, "%.60s", m.samples[i%3])
			}
			var dst []byte
			b.ReportAllocs()
			b.ResetTimer()
			start := processorTime(b)
			for i := range b.N {
				dst, _ = m.apply(dst[:0], values[i%len(values)])
			}
			b.ReportMetric(float64(b.N)/(processorTime(b)-start).Seconds(), "cells/s/core")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cells/s")
		})
	}
}

// FuzzMaskers: no panic, the same mask for the same value, appended to what is
// there, and the value itself is in no mask. That one of four characters is in a
// token by chance is not excluded; that it is there under three keys is.
func FuzzMaskers(f *testing.F) {
	masks := [][]gatewayMask{gatewayMasks(f, 'a'), gatewayMasks(f, 'b'), gatewayMasks(f, 'c')}
	for i, m := range masks[0] {
		for _, sample := range m.samples {
			f.Add(uint8(i), []byte(sample))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		at := int(which) % len(masks[0])
		shown := 0
		for _, underKey := range masks {
			m := underKey[at]
			given := bytes.Clone(value)
			out, ok := m.apply([]byte("before"), given)
			again, okAgain := m.apply(nil, given)
			if !bytes.Equal(given, value) {
				t.Fatalf("%s changes what it is given", m.name)
			}
			if rest, kept := bytes.CutPrefix(out, []byte("before")); !kept || ok != okAgain || (ok && !bytes.Equal(rest, again)) {
				t.Fatalf("%s: %q, then %q", m.name, out, again)
			}
			if ok && m.destroys && len(value) >= 4 && bytes.Contains(bytes.TrimPrefix(again, []byte(tokenPrefix)), value) {
				shown++
			}
		}
		if shown == len(masks) {
			t.Fatalf("%s shows %q", masks[0][at].name, value)
		}
	})
}
