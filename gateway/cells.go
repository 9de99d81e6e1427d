package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"github.com/chaperone-sql/chaperone/connectors"
)

// cells suppresses small cells: an aggregate over 1 to limit-1 rows of
// protected tables becomes null, and so does the cell that it could be computed
// from where just one of a grouping is small. A count of 0 tells of nobody and
// stays. Nil suppresses nothing.
type cells struct {
	limit   float64
	outputs []connectors.Output
	cols    []int // the columns that are cells
	keys    []int // the other columns, which name the groups
	seed    maphash.Seed

	// The row in work: for each cell its count, or suppressed or noCount.
	row    []float64
	hashes []uint64
	// The same of all rows, one after the other.
	counts []float64
	groups []uint64
}

// What stands in place of a count that a cell has not.
const (
	suppressed = -1.0
	noCount    = -2.0 // NULL, or nothing to hide behind
)

// maxPasses bounds how often the secondary suppression looks again at what it
// did itself.
const maxPasses = 8

// smallCell is the smallest group of this connection that may be shown.
func (c *call) smallCell() int {
	if c.db.Classes == nil {
		return 0
	}
	return c.db.Classes.Profile().SmallCell
}

// newCells is nil if there is nothing to suppress.
func newCells(outputs []connectors.Output, limit int) *cells {
	c := &cells{limit: float64(limit), outputs: outputs, seed: maphash.MakeSeed()}
	for i, out := range outputs {
		switch {
		case out.Hidden:
		case len(out.Counts) > 0:
			c.cols = append(c.cols, i)
		default:
			c.keys = append(c.keys, i)
		}
	}
	if limit <= 0 || len(c.cols) == 0 {
		return nil
	}
	c.row, c.hashes = make([]float64, len(c.cols)), make([]uint64, len(c.keys))
	return c
}

// begin looks at a row's counts, hidden ones too.
func (c *cells) begin(row []connectors.Cell) {
	if c == nil {
		return
	}
	for j, col := range c.cols {
		c.row[j] = noCount
		for _, at := range c.outputs[col].Counts {
			n, ok := number(row[at])
			switch {
			case !ok || c.row[j] == suppressed:
			case n > 0 && n < c.limit:
				c.row[j] = suppressed
			case c.row[j] == noCount:
				c.row[j] = n
			}
		}
		if row[col].Kind == connectors.CellNull {
			c.row[j] = noCount // says nothing by itself, and nothing is hidden there
		}
	}
}

// number reads a count; of a negative one, its size tells.
func number(cell connectors.Cell) (float64, bool) {
	if cell.Kind != connectors.CellNumber && cell.Kind != connectors.CellString {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(bytes.TrimSpace(cell.Text)), 64)
	return math.Abs(n), err == nil && !math.IsNaN(n)
}

// small reports whether column i of the row in work is suppressed.
func (c *cells) small(i int) bool {
	if c == nil {
		return false
	}
	j := slices.Index(c.cols, i)
	return j >= 0 && c.row[j] == suppressed
}

// key notes what column i of the row in work shows, if it names groups.
func (c *cells) key(i int, shown []byte) {
	if c == nil {
		return
	}
	if k := slices.Index(c.keys, i); k >= 0 {
		c.hashes[k] = maphash.Bytes(c.seed, shown)
	}
}

// keep adds the row in work to the rows that are released.
func (c *cells) keep() {
	if c == nil {
		return
	}
	c.counts = append(c.counts, c.row...)
	c.groups = append(c.groups, c.hashes...)
}

// finish suppresses the secondary cells in the rows, counts what is suppressed
// in each column and says so.
func (c *cells) finish(rows []byte, columns []Column, notes []string) (out []byte, said []string) {
	if c == nil || columns == nil {
		return rows, notes
	}
	primary := c.total(nil)
	if primary == 0 {
		return rows, notes
	}
	if c.complement() {
		rows = c.blank(rows)
	}
	all := c.total(columns)
	note := fmt.Sprintf("%d cells are null because they tell of fewer than %.0f rows of protected tables.", primary, c.limit)
	if all > primary {
		note += fmt.Sprintf(" %d more are null because the others and a total would give those away.", all-primary)
	}
	return rows, append(slices.Clone(notes), note)
}

// total counts suppressed cells, in each column too if columns are given.
func (c *cells) total(columns []Column) (n int64) {
	for at, count := range c.counts {
		if count == suppressed {
			n++
			if columns != nil {
				columns[c.cols[at%len(c.cols)]].Suppressed++
			}
		}
	}
	return n
}

// complement suppresses, wherever exactly one cell of a grouping is suppressed,
// the smallest other one, and reports whether it did. A grouping is all rows,
// and the rows that differ in one key only: those add up to the subtotals of
// ROLLUP and CUBE, or of another statement.
func (c *cells) complement() (changed bool) {
	n := len(c.counts) / len(c.cols)
	for range maxPasses {
		again := false
		for free := -1; free < len(c.keys); free++ {
			if free >= 0 && len(c.keys) == 1 {
				break // the same as all rows
			}
			groups := map[uint64][]int{}
			for row := range n {
				id := c.slice(row, free)
				groups[id] = append(groups[id], row)
			}
			for _, members := range groups {
				for j := range c.cols {
					again = c.second(members, j) || again
				}
			}
		}
		if !again {
			return changed
		}
		changed = true
	}
	return changed
}

// slice identifies the rows that agree with row in every key but one; -1 is all.
func (c *cells) slice(row, free int) uint64 {
	if free < 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	for k := range c.keys {
		if k != free {
			maphash.WriteComparable(&h, c.groups[row*len(c.keys)+k])
		}
	}
	return h.Sum64()
}

// second suppresses the smallest other cell of a column if one alone is suppressed.
func (c *cells) second(members []int, j int) bool {
	hidden, best := 0, -1
	for _, row := range members {
		at := row*len(c.cols) + j
		switch n := c.counts[at]; {
		case n == suppressed:
			hidden++
		case n > 0 && (best < 0 || n < c.counts[best]):
			best = at
		}
	}
	if hidden != 1 || best < 0 {
		return false
	}
	c.counts[best] = suppressed
	return true
}

// blank writes the rows again with every suppressed cell null. Rows are this
// package's own JSON.
func (c *cells) blank(rows []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(rows))
	if _, err := dec.Token(); err != nil {
		return []byte("[]")
	}
	out := append(make([]byte, 0, len(rows)), '[')
	for row := 0; dec.More(); row++ {
		var values []json.RawMessage
		if err := dec.Decode(&values); err != nil {
			return []byte("[]") // never: nothing is better than a cell too much
		}
		if row > 0 {
			out = append(out, ',')
		}
		out = append(out, '[')
		for i, value := range values {
			if i > 0 {
				out = append(out, ',')
			}
			if j := slices.Index(c.cols, i); j >= 0 && c.counts[row*len(c.cols)+j] == suppressed {
				value = json.RawMessage("null")
			}
			out = append(out, value...)
		}
		out = append(out, ']')
	}
	return append(out, ']')
}

// tellsOfGroups reports whether a statement shows aggregates over protected
// relations, for the report on differencing.
func tellsOfGroups(st *connectors.Statement) bool {
	protected := slices.ContainsFunc(st.Relations, func(r connectors.Relation) bool { return r.Protected })
	counts := slices.ContainsFunc(st.Outputs, func(o connectors.Output) bool { return o.Count || len(o.Counts) > 0 })
	return protected && (st.Shape.Aggregate || st.Shape.Grouped || counts)
}
