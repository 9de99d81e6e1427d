package export

import (
	"io"
	"testing"

	"github.com/chaperone-sql/chaperone/evidence"
)

// BenchmarkWriters writes an outcome in each form.
func BenchmarkWriters(b *testing.B) {
	r := full(evidence.TypeOutcome)
	for _, format := range []string{FormatCSV, FormatOCSF, FormatFHIR} {
		b.Run(format, func(b *testing.B) {
			w, err := NewWriter(format, io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
