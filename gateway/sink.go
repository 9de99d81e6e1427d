package gateway

import (
	"cmp"
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
	programs  map[string]*masking.Program // by class
	classes   map[string]masking.Class
	rowLimit  int64
	byteLimit int64

	columns   []Column
	contexts  []string // what the detectors are told of each column
	rows      []byte
	scratch   []byte
	count     int64
	truncated string
	masks     map[string]int64
	detected  map[string]int64
	took      time.Duration
	cells     *cells

	// maxRows is what the decision allowed, 0 for no bound of its own.
	maxRows int64
	rule    string
}

func newSink(c *call) *sink {
	s := &sink{
		outputs: c.st.Outputs, tokens: c.g.cfg.Tokens, detectors: c.g.cfg.Detectors, programs: c.g.programs[c.db.Name],
		rowLimit: c.r.RowLimit, byteLimit: c.r.ByteLimit,
		rows: []byte{'['}, masks: map[string]int64{}, detected: map[string]int64{},
		cells: newCells(c.st.Outputs, c.smallCell()),
	}
	if c.db.Classes != nil {
		s.classes = c.db.Classes.Profile().Classes
	}
	if c.approved == nil { // a person who approves bounds nothing by an estimate
		s.maxRows, s.rule = c.decision.MaxRows, c.decision.OutgrownRule
	}
	return s
}

// Columns checks that the server describes what the analysis expects.
func (s *sink) Columns(cols []connectors.ResultColumn) error {
	if len(cols) != len(s.outputs) {
		return fmt.Errorf("the server returns %d columns, the analysis found %d", len(cols), len(s.outputs))
	}
	s.columns = describe(s.outputs)
	s.contexts = make([]string, len(s.outputs))
	for i, out := range s.outputs {
		s.contexts[i] = out.Name
		if out.Source != nil && out.Source.Column != out.Name {
			s.contexts[i] += " " + out.Source.Column // an alias must not hide what a column is called
		}
	}
	for i, col := range cols[:len(s.columns)] {
		s.columns[i].Type = col.Type
		if out := &s.outputs[i]; out.Gateway && out.Mask != masking.FreeTextScan {
			s.columns[i].Type = cmp.Or(out.Type, "text")
		}
	}
	return nil
}

// describe names the columns of a result as the analysis knows them.
func describe(outputs []connectors.Output) []Column {
	columns := make([]Column, len(outputs))
	for i, out := range outputs {
		if out.Hidden {
			return columns[:i] // they come last
		}
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
	if s.maxRows > 0 && s.count == s.maxRows {
		return false, outgrown(s.maxRows, s.rule)
	}
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
	s.cells.begin(cells)
	for i, cell := range cells[:len(s.columns)] {
		if i > 0 {
			s.rows = append(s.rows, ',')
		}
		if s.cells.small(i) {
			s.rows = append(s.rows, "null"...)
			continue
		}
		at := len(s.rows)
		s.rows = connectors.AppendJSON(s.rows, s.mask(i, cell))
		s.cells.key(i, s.rows[at:])
	}
	s.rows = append(s.rows, ']')
	if int64(len(s.rows))+1 > s.byteLimit {
		s.rows = s.rows[:mark]
		s.truncated = truncatedBytes
		return false, nil
	}
	s.count++
	s.cells.keep()
	return true, nil
}

// mask applies what the gateway itself must do to a cell: its own masks, and the
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
		return s.own(i, cell)
	}
	if !out.Detect || cell.Kind == connectors.CellBool {
		return cell
	}
	return s.detect(s.contexts[i], cell)
}

// own makes the masks that are the gateway's. What it does not know it hides.
func (s *sink) own(i int, cell connectors.Cell) connectors.Cell {
	out := &s.outputs[i]
	switch out.Mask {
	case masking.Token:
		s.scratch = s.tokens.AppendToken(s.scratch[:0], out.Class, cell.Text)
		return connectors.Cell{Kind: connectors.CellString, Text: s.scratch}
	case masking.DateShift:
		shifted, ok := s.tokens.AppendShifted(s.scratch[:0], cell.Text, s.classes[out.Class].Mask.Days)
		if s.scratch = shifted; !ok {
			return connectors.Cell{}
		}
		return connectors.Cell{Kind: connectors.CellString, Text: shifted}
	case masking.CEL:
		program, ok := s.programs[out.Class]
		if !ok {
			return connectors.Cell{}
		}
		s.scratch = program.Append(s.scratch[:0], cell.Text)
		return connectors.Cell{Kind: connectors.CellString, Text: s.scratch}
	case masking.FreeTextScan:
		return s.detect(s.contexts[i], cell)
	}
	return connectors.Cell{}
}

// result is the answer of a finished execution, not yet released.
func (s *sink) result(o connectors.Outcome, notes []string) *Result {
	s.rows = append(s.rows, ']')
	s.rows, notes = s.cells.finish(s.rows, s.columns, notes)
	r := &Result{
		Command: o.Command, Columns: s.columns, Rows: s.rows, RowCount: s.count,
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
