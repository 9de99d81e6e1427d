package gateway

import (
	"bytes"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

func testSink(t testing.TB, outputs []connectors.Output) *sink {
	t.Helper()
	tokens, err := masking.NewTokenizer(bytes.Repeat([]byte{'k'}, 32))
	if err != nil {
		t.Fatal(err)
	}
	detectors, err := masking.NewDetectors(masking.DetectorConfig{})
	if err != nil {
		t.Fatal(err)
	}
	program, err := masking.NewProgram("value.substring(0, 2) + '***'")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{outputs: outputs, tokens: tokens, detectors: detectors, programs: map[string]*masking.Program{"c": program}, rowLimit: 1 << 30, byteLimit: 1 << 40, rows: []byte{'['},
		masks: map[string]int64{}, detected: map[string]int64{}}
	columns := make([]connectors.ResultColumn, len(outputs))
	for i := range columns {
		columns[i].Type = "varchar"
	}
	if err := s.Columns(columns); err != nil {
		t.Fatal(err)
	}
	return s
}

func text(s string) connectors.Cell {
	return connectors.Cell{Kind: connectors.CellString, Text: []byte(s)}
}

func TestMasksOfTheGateway(t *testing.T) {
	for _, c := range []struct {
		mask masking.Kind
		cell connectors.Cell
		want string
	}{
		{masking.Token, text("123-45-6789"), `["tok_sz7lh2shslr7rlloftgf"]`},
		{masking.Token, connectors.Cell{}, `[null]`},
		{masking.FreeTextScan, text("Jane, 123-45-6789, called"), `["Jane, [redacted:ssn], called"]`},
		{masking.FreeTextScan, text("no fever"), `["no fever"]`},
		{masking.FreeTextScan, connectors.Cell{}, `[null]`},
		{masking.FreeTextScan, connectors.Cell{Kind: connectors.CellJSON, Text: []byte(`{"n":"ssn 123-45-6789"}`)}, `[{"n":"ssn [redacted:ssn]"}]`},
		{masking.CEL, text("Johnson"), `["Jo***"]`},
		{masking.CEL, text("J"), `["[redacted]"]`},
		{masking.CEL, connectors.Cell{Kind: connectors.CellNumber, Text: []byte("12345")}, `["12***"]`},
		{masking.CEL, connectors.Cell{}, `[null]`},
		{masking.DateShift, text("1985-07-01 10:20:30+00|17"), `["1984-09-03T10:20:30Z"]`},
		{masking.DateShift, text("infinity|17"), `[null]`},
		{masking.DateShift, text("1985-07-01"), `[null]`},
		{masking.DateShift, connectors.Cell{}, `[null]`},
		{"one of tomorrow", text("123-45-6789"), `[null]`},
	} {
		s := testSink(t, []connectors.Output{{Name: "x", Class: "c", Mask: c.mask, Gateway: true}})
		if _, err := s.Row([]connectors.Cell{c.cell}); err != nil {
			t.Fatal(err)
		}
		if got := string(s.rows[1:]); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.mask, c.cell.Text, got, c.want)
		}
	}
}

// BenchmarkMaskedRow is a row of an id, a name in clear, one that SQL masked and one
// that the gateway masks.
func BenchmarkMaskedRow(b *testing.B) {
	for _, mask := range []masking.Kind{masking.Token, masking.FreeTextScan, masking.CEL, masking.DateShift} {
		b.Run(string(mask), func(b *testing.B) {
			s := testSink(b, []connectors.Output{{Name: "id", Detect: true}, {Name: "drug", Detect: true}, {Name: "ssn", Class: "ssn", Mask: masking.Redact},
				{Name: "x", Class: "c", Mask: mask, Gateway: true}})
			row := []connectors.Cell{{Kind: connectors.CellNumber, Text: []byte("1234")}, text("metformin"), text("[redacted]"), text("1985-07-01|17")}
			b.ReportAllocs()
			for b.Loop() {
				if len(s.rows) > 1<<16 {
					s.rows = s.rows[:1]
				}
				if more, err := s.Row(row); !more || err != nil {
					b.Fatal(more, err)
				}
			}
		})
	}
}
