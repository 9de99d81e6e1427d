package gateway

import (
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// BenchmarkRow is one row of twelve columns on its way to JSON: as it is, past
// the detectors, and with two tokens made besides.
func BenchmarkRow(b *testing.B) {
	text := []string{"4711", "MRN-0004711", "[redacted]", "[redacted]", "2024-03-01T10:00:00Z", "active", "Ward 17", "metformin 500 mg",
		"E11.9", "120.50", "north wing, second floor", "true"}
	kinds := map[int]connectors.CellKind{0: connectors.CellNumber, 9: connectors.CellNumber, 11: connectors.CellBool}
	detectors, err := masking.NewDetectors(masking.DetectorConfig{})
	if err != nil {
		b.Fatal(err)
	}
	tokens, err := masking.NewTokenizer(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name            string
		detect, gateway bool
	}{{"plain", false, false}, {"detectors", true, false}, {"detectors and tokens", true, true}} {
		b.Run(way.name, func(b *testing.B) {
			row := make([]connectors.Cell, len(text))
			outputs := make([]connectors.Output, len(text))
			cols := make([]connectors.ResultColumn, len(text))
			size := 0
			for i, t := range text {
				row[i] = connectors.Cell{Kind: kinds[i], Text: []byte(t)}
				if _, ok := kinds[i]; !ok {
					row[i].Kind = connectors.CellString
				}
				outputs[i] = connectors.Output{Name: "column_of_its_own", Detect: way.detect,
					Source: &masking.ColumnRef{Schema: "public", Relation: "patients", Column: "another_name"}}
				if way.gateway && i < 4 && i > 1 {
					outputs[i].Class, outputs[i].Mask, outputs[i].Gateway, outputs[i].Detect = "mrn", masking.Token, true, false
				}
				size += len(t)
			}
			s := &sink{outputs: outputs, detectors: detectors, tokens: tokens, rowLimit: 1 << 62, byteLimit: 1 << 62,
				masks: map[string]int64{}, detected: map[string]int64{}}
			if err := s.Columns(cols); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s.rows = s.rows[:0]
				if _, err := s.Row(row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
