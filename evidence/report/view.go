package report

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// table is a table as the template writes it.
type table struct {
	ID, Caption string
	Columns     []column
	Rows        []row
	// More says what is not shown, and where it is.
	More string
	// None is written in place of a table without lines.
	None string
}

type column struct {
	Name    string
	Numeric bool
}

type row struct {
	ID    string
	Cells []cell
}

// cell is some text, with smaller lines below it, or a reference.
type cell struct {
	Text  string
	Small []string
	Tone  string
	Ref   *link
	Time  string // machine-readable, if Text is a moment
}

// link leads to a record.
type link struct{ Record, File, Query string }

// columns are headings; one that begins with # is of numbers.
func columns(names ...string) []column {
	all := make([]column, len(names))
	for i, name := range names {
		if name[0] == '#' {
			all[i] = column{name[1:], true}
			continue
		}
		all[i] = column{name, false}
	}
	return all
}

func (t *table) add(cells ...cell) {
	t.Rows = append(t.Rows, row{fmt.Sprintf("%s-%d", t.ID, len(t.Rows)+1), cells})
}

// rest says how many lines of a list are not shown.
func (t *table) rest(n int64) {
	if n > 0 {
		t.More = notShown(n)
	}
}

func notShown(n int64) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return counted(n, "more line", "more lines") + " " + verb + " not shown here. Every record is in evidence/runs and, " +
		"one a line for a spreadsheet, in exports/records.csv where the bundle has that file."
}

func text(s string, small ...string) cell { return cell{Text: s, Small: small} }

func count(n int64) cell { return cell{Text: number(n)} }

func moment(t time.Time) cell {
	if t.IsZero() {
		return cell{Text: "not in this bundle"}
	}
	return cell{Text: clock(t), Time: t.UTC().Format(time.RFC3339)}
}

// writerName is what a writer may be called (docs/evidence-format.md), so that a
// link leads to a file of the bundle and nowhere else.
var writerName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}-[0-9a-z]{9}-[0-9a-v]{8}$`)

func refer(r reference) cell {
	l := &link{Record: legible(r.record), Query: legible(r.query)}
	if writerName.MatchString(r.writer) {
		l.File = evidence.RunFile(r.writer)
	}
	return cell{Ref: l}
}

// person is a cell that says who, and for whom.
func person(w who) cell {
	switch {
	case w.name == "" && w.subject == "":
		return text("not recorded")
	case w.name == "" || w.name == w.subject:
		return text(legible(w.subject), behalf(w)...)
	}
	return text(legible(w.name), append([]string{legible(w.subject)}, behalf(w)...)...)
}

func behalf(w who) []string {
	if w.behalf == "" {
		return nil
	}
	return []string{"for " + legible(w.behalf)}
}

func tables(relations []string) string {
	if len(relations) == 0 {
		return "no table recorded"
	}
	return list(relations, maxSet)
}

func endCell(e end, rows int64) cell {
	c := cell{Text: endWords[e], Tone: []string{"good", "bad", "wait", "bad", "over"}[kindOf(e)]}
	if e == succeeded {
		c.Small = []string{counted(rows, "row", "rows")}
	}
	return c
}

// tile is a number with what it means.
type tile struct {
	Name, Value, Small, Tone string
}

// chart is the timeline.
type chart struct {
	Title, Text string
	Bars        []bar
	Lines       []gridline
	Labels      []label
	Legend      []legend
	Table       table
	Width       int
}

type bar struct{ Rects []rect }

type rect struct {
	Kind       int
	X, Y, W, H string
}

type gridline struct {
	Y    string
	Text string
}

type label struct{ X, Text string }

type legend struct {
	Kind  int
	Words string
}

// The chart's size in its own units.
const (
	chartWidth  = 960.0
	chartHeight = 240.0
	chartLeft   = 64.0
	chartTop    = 20.0
	chartBottom = 208.0
)

func units(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// draw makes the chart of queries over time.
func draw(bars []bin, width time.Duration) *chart {
	if len(bars) == 0 {
		return nil
	}
	span, layout := "hour", "2006-01-02 15:04"
	if days := int64(width / (24 * time.Hour)); days == 1 {
		span, layout = "day", time.DateOnly
	} else if days > 1 {
		span, layout = number(days)+" days", time.DateOnly
	}
	most, peak, total := int64(0), 0, int64(0)
	for i := range bars {
		n := bars[i].total()
		total += n
		if n > most {
			most, peak = n, i
		}
	}
	c := &chart{Title: "Queries by " + span + " and how they ended", Text: "No query is in these records.",
		Table: table{ID: "timeline", Caption: "The chart in numbers: queries by the " + span + " in which they were asked (UTC); without the empty ones",
			Columns: columns("From", "#All", "#Succeeded", "#Denied or refused", "#Waiting or not run", "#Failed or no end", "#Dry runs")}}
	if total > 0 {
		c.Text = counted(total, "query", "queries") + " in all. The " + span + " with the most, " + number(most) + ", began " + bars[peak].from.Format(layout) + " UTC."
	}
	top := nice(most)
	for _, part := range []float64{0, 0.5, 1} {
		value := int64(part * float64(top))
		if part == 0.5 && top < 2 {
			continue
		}
		c.Lines = append(c.Lines, gridline{units(chartBottom - part*(chartBottom-chartTop)), number(value)})
	}
	step := (chartWidth - chartLeft) / float64(len(bars))
	every := max(1, (len(bars)+3)/4)
	for i := range bars {
		c.Bars = append(c.Bars, stack(&bars[i], chartLeft+float64(i)*step, step, top))
		if i%every == 0 {
			text := bars[i].from.Format("15:04")
			if width >= 24*time.Hour || len(bars) > 24 {
				text = bars[i].from.Format("2 Jan")
			}
			c.Labels = append(c.Labels, label{units(chartLeft + float64(i)*step), text})
		}
		if n := bars[i].total(); n > 0 {
			k := bars[i].counts
			c.Table.add(moment(bars[i].from), count(n), count(k[answered]), count(k[said]), count(k[undecided]), count(k[broken]), count(k[tried]))
		}
	}
	for k := range kinds {
		c.Legend = append(c.Legend, legend{int(k), kindWords[k]})
	}
	return c
}

// stack stacks the kinds of a bin on each other.
func stack(b *bin, x, step float64, top int64) (out bar) {
	y := chartBottom
	for k, n := range b.counts {
		if n == 0 {
			continue
		}
		h := max(1, float64(n)/float64(top)*(chartBottom-chartTop))
		y -= h
		gap := min(2, step*0.15)
		out.Rects = append(out.Rects, rect{k, units(x + gap/2), units(max(y, 0)), units(step - gap), units(h)})
	}
	return out
}

// nice is a round number that is not smaller.
func nice(n int64) int64 {
	for scale := int64(1); scale < 1<<60/10; scale *= 10 {
		for _, k := range []int64{1, 2, 5} {
			if k*scale >= n {
				return k * scale
			}
		}
	}
	return max(n, 1)
}
