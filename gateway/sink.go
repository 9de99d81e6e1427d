package gateway

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

const (
	succeeded = approvals.Succeeded

	truncatedRows  = "row_limit"
	truncatedBytes = "byte_limit"
)

// sink turns arriving rows into the JSON that is recorded and released, masked
// on the way: nothing after it ever sees a raw value.
type sink struct {
	outputs   []connectors.Output
	tokens    *masking.Tokenizer
	detectors *masking.Detectors
	rowLimit  int64
	byteLimit int64

	columns   []Column
	rows      []byte
	scratch   []byte
	count     int64
	truncated string
	masks     map[string]int64
	detected  map[string]int64
	took      time.Duration
}

func newSink(c *call) *sink {
	return &sink{
		outputs: c.st.Outputs, tokens: c.g.cfg.Tokens, detectors: c.g.cfg.Detectors,
		rowLimit: c.r.RowLimit, byteLimit: c.r.ByteLimit,
		rows: []byte{'['}, masks: map[string]int64{}, detected: map[string]int64{},
	}
}

// Columns checks that the server describes what the analysis expects.
func (s *sink) Columns(cols []connectors.ResultColumn) error {
	if len(cols) != len(s.outputs) {
		return fmt.Errorf("the server returns %d columns, the analysis found %d", len(cols), len(s.outputs))
	}
	s.columns = describe(s.outputs)
	for i, col := range cols {
		s.columns[i].Type = col.Type
		if s.outputs[i].Gateway {
			s.columns[i].Type = "text"
		}
	}
	return nil
}

// describe names the columns of a result as the analysis knows them.
func describe(outputs []connectors.Output) []Column {
	columns := make([]Column, len(outputs))
	for i, out := range outputs {
		columns[i] = Column{Name: out.Name, Masked: out.Mask != "", Mask: string(out.Mask)}
		if out.Source != nil {
			columns[i].Table = out.Source.Schema + "." + out.Source.Relation
		}
	}
	return columns
}

// Row masks and appends one row. It wants no more after the row limit (which it
// learns from one row too many) or once the next row does not fit.
func (s *sink) Row(cells []connectors.Cell) (more bool, err error) {
	if s.count == s.rowLimit {
		s.truncated = truncatedRows
		return false, nil
	}
	start := time.Now()
	defer func() { s.took += time.Since(start) }()
	mark := len(s.rows)
	if s.count > 0 {
		s.rows = append(s.rows, ',')
	}
	s.rows = append(s.rows, '[')
	for i, cell := range cells {
		if i > 0 {
			s.rows = append(s.rows, ',')
		}
		s.rows = connectors.AppendJSON(s.rows, s.mask(i, cell))
	}
	s.rows = append(s.rows, ']')
	if int64(len(s.rows))+1 > s.byteLimit {
		s.rows = s.rows[:mark]
		s.truncated = truncatedBytes
		return false, nil
	}
	s.count++
	return true, nil
}

// mask applies what the gateway itself must do to a cell: keyed tokens, and the
// detectors on whatever is not a mask already.
func (s *sink) mask(i int, cell connectors.Cell) connectors.Cell {
	out := &s.outputs[i]
	if cell.Kind == connectors.CellNull {
		return cell
	}
	if out.Mask != "" {
		s.masks[string(out.Mask)]++
	}
	if out.Gateway {
		s.scratch = s.tokens.AppendToken(s.scratch[:0], out.Class, cell.Text)
		return connectors.Cell{Kind: connectors.CellString, Text: s.scratch}
	}
	if !out.Detect || cell.Kind == connectors.CellBool {
		return cell
	}
	context := out.Name
	if out.Source != nil && out.Source.Column != out.Name {
		context += " " + out.Source.Column // an alias must not hide what a column is called
	}
	return s.detect(context, cell)
}

// result is the answer of a finished execution, not yet released.
func (s *sink) result(o connectors.Outcome, notes []string) *Result {
	r := &Result{
		Command: o.Command, Columns: s.columns, Rows: append(s.rows, ']'), RowCount: s.count,
		Truncated: s.truncated != "", TruncationReason: s.truncated, Notes: notes,
	}
	if r.Columns == nil {
		r.Columns = []Column{}
	}
	if o.Affected >= 0 {
		r.AffectedRows = &o.Affected
	}
	return r
}

// detect replaces what the detectors find. Inside a JSON value the replacement
// must leave valid JSON; where it cannot, the whole value is replaced.
func (s *sink) detect(context string, cell connectors.Cell) connectors.Cell {
	if cell.Kind == connectors.CellJSON {
		clean := s.detectors.RedactJSON(context, cell.Text, s.detected)
		if !json.Valid(clean) {
			return connectors.Cell{Kind: connectors.CellString, Text: []byte(masking.RedactText)}
		}
		return connectors.Cell{Kind: connectors.CellJSON, Text: clean}
	}
	clean := s.detectors.Redact(context, cell.Text, s.detected)
	if len(clean) == len(cell.Text) && (len(clean) == 0 || &clean[0] == &cell.Text[0]) {
		return cell
	}
	return connectors.Cell{Kind: connectors.CellString, Text: clean}
}
