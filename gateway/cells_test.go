package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/policy"
)

func numbers(values ...string) []connectors.Cell {
	var row []connectors.Cell
	for _, v := range values {
		cell := connectors.Cell{Kind: connectors.CellNumber, Text: []byte(v)}
		if v == "" {
			cell = connectors.Cell{}
		} else if strings.Trim(v, "0123456789.-") != "" {
			cell.Kind = connectors.CellString
		}
		row = append(row, cell)
	}
	return row
}

// TestSmallCells gives the outcome for rows of a key, a count, an average and
// the hidden size of the group.
func TestSmallCells(t *testing.T) {
	outputs := []connectors.Output{{Name: "ward"}, {Name: "n", Counts: []int{1, 3}}, {Name: "avg", Counts: []int{3}},
		{Name: "chaperone_raw_n", Hidden: true}}
	two := []connectors.Output{{Name: "ward"}, {Name: "sex"}, {Name: "n", Counts: []int{2}}}
	for name, test := range map[string]struct {
		outputs []connectors.Output
		rows    [][]connectors.Cell
		want    string
		cells   int64
	}{
		"none": {outputs, [][]connectors.Cell{numbers("a", "11", "5", "11"), numbers("b", "12", "6", "12")}, `[["a",11,5],["b",12,6]]`, 0},
		"zero": {outputs, [][]connectors.Cell{numbers("a", "0", "", "0"), numbers("b", "12", "6", "12")}, `[["a",0,null],["b",12,6]]`, 0},
		"two":  {outputs, [][]connectors.Cell{numbers("a", "3", "5", "3"), numbers("b", "10", "6", "10"), numbers("c", "11", "7", "11")}, `[["a",null,null],["b",null,null],["c",11,7]]`, 2},
		"one alone takes the next": {outputs, [][]connectors.Cell{numbers("a", "3", "5", "3"), numbers("b", "40", "6", "40"), numbers("c", "20", "7", "20"), numbers("d", "0", "", "0")},
			`[["a",null,null],["b",40,6],["c",null,null],["d",0,null]]`, 2},
		"a filter in a large group": {outputs, [][]connectors.Cell{numbers("a", "3", "5", "100")}, `[["a",null,5]]`, 1},
		"numeric text":              {outputs, [][]connectors.Cell{numbers("a", "3.0", "5", "100")}, `[["a",null,5]]`, 1},
		"negative":                  {outputs, [][]connectors.Cell{numbers("a", "-3", "5", "100")}, `[["a",null,5]]`, 1},
		"rollup": {two, [][]connectors.Cell{numbers("a", "f", "3"), numbers("a", "m", "40"), numbers("a", "", "43"),
			numbers("b", "f", "30"), numbers("b", "m", "50"), numbers("b", "", "80"), numbers("", "", "123")},
			`[["a","f",null],["a","m",null],["a",null,43],["b","f",null],["b","m",null],["b",null,80],[null,null,123]]`, 4},
	} {
		s := &sink{outputs: test.outputs, rowLimit: 100, byteLimit: 1 << 20, rows: []byte{'['}, masks: map[string]int64{},
			detected: map[string]int64{}, cells: newCells(test.outputs, 11)}
		if err := s.Columns(make([]connectors.ResultColumn, len(test.outputs))); err != nil {
			t.Fatal(err)
		}
		for _, row := range test.rows {
			if more, err := s.Row(row); !more || err != nil {
				t.Fatal(more, err)
			}
		}
		r := s.result(connectors.Outcome{Affected: -1}, []string{"first"})
		var n int64
		for _, c := range r.Columns {
			if c.Name == "n" {
				n = c.Suppressed
			}
		}
		if string(r.Rows) != test.want || n != test.cells || (len(r.Notes) == 2) != (test.cells > 0) {
			t.Errorf("%s:\n got %s %d %q\nwant %s %d", name, r.Rows, n, r.Notes, test.want, test.cells)
		}
	}
}

func TestSmallCellsOff(t *testing.T) {
	if newCells([]connectors.Output{{Counts: []int{0}}}, 0) != nil {
		t.Error("0 suppresses")
	}
}

// TestOutgrown lets a statement pass on an estimate of one row that then
// returns fifty thousand.
func TestOutgrown(t *testing.T) {
	for _, test := range []struct {
		effect policy.Effect
		rows   int
		max    int64
		code   Code
	}{
		{policy.Allow, 50, 5, CodeDenied}, {policy.Allow, 6, 5, CodeDenied}, {policy.Allow, 5, 5, ""}, {policy.Allow, 9, 0, ""},
	} {
		w := newWorld()
		g := w.gateway(t)
		g.cfg.Policy = capped{decider{w}, test.max}
		w.rows = nil
		for i := range test.rows {
			w.rows = append(w.rows, numbers(fmt.Sprint(i)))
		}
		a, err := g.Query(context.Background(), agent("a"), request("SELECT 1"))
		if test.code == "" {
			if err != nil || a.Result.RowCount != int64(min(test.rows, 10)) {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		p := mustProblem(t, err, test.code)
		if a != nil || p.Rule != "bulk-export" || p.RecordingID == "" || !strings.Contains(p.Detail, "outgrew") {
			t.Errorf("%+v: %+v", test, p)
		}
	}
}

type capped struct {
	decider
	rows int64
}

func (d capped) Decide(in policy.Input) (policy.Decision, error) {
	decision, err := d.decider.Decide(in)
	decision.MaxRows, decision.OutgrownRule = d.rows, "bulk-export"
	return decision, err
}
