package rehearsal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
)

// Print shows people what would become of a statement.
func Print(out io.Writer, answer *gateway.Rehearsed) {
	e, p := answer.Explanation, answer.Problem
	if e == nil {
		fmt.Fprintf(out, "refused: %s (%s)\n", p.Detail, p.Code)
		if p.Hint != "" {
			fmt.Fprintln(out, p.Hint)
		}
		if p.Position > 0 {
			fmt.Fprintf(out, "at character %d of the statement\n", p.Position)
		}
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(head string, cells ...string) { fmt.Fprintf(w, "%s\t%s\n", head, strings.Join(cells, "\t")) }
	if p != nil && p.Code != gateway.CodeDenied {
		row("refused", fmt.Sprintf("%s (%s)", p.Detail, p.Code))
	}
	row("decision", e.Decision)
	for _, m := range answer.Decision.Matched {
		row("rule", strings.TrimSpace(m.Rule+": "+m.Message))
		if m.Hint != "" {
			row("", m.Hint)
		}
	}
	for _, r := range e.Relations {
		row(verb(r), r.Schema+"."+r.Name+" ("+relationWords(r)+")")
	}
	for _, c := range e.Columns {
		mask := "in clear"
		if c.Masked {
			mask = "masked: " + c.Mask
		}
		row("column", c.Name+" "+mask)
	}
	for _, u := range e.Uses {
		text := fmt.Sprintf("%s (%s) in %s: %s", u.Column, u.Class, u.Kind, u.Seen)
		if u.Openable {
			text += ", an approval can open it"
		}
		row("use", text)
		if u.Hint != "" {
			row("", u.Hint)
		}
	}
	for _, f := range e.Functions {
		row("function", fmt.Sprintf("%s (%s, %s)", f.Name, f.Class, f.Volatility))
	}
	row("estimate", estimateWords(e.Estimate))
	for _, n := range e.Notes {
		row("note", n)
	}
	row("normalized", e.Normalized)
	row("rewritten", orNothing(e.Rewritten))
	_ = w.Flush() // what can be written, was
}

func verb(r connectors.Relation) string {
	if r.Write {
		return "writes"
	}
	return "reads"
}

func relationWords(r connectors.Relation) string {
	text := r.Kind
	if r.Protected {
		text += ", protected"
	}
	if r.Denied != "" {
		text += ", denied: " + r.Denied
	}
	return text
}

func estimateWords(e *connectors.Estimate) string {
	if e == nil {
		return "the database was not asked"
	}
	if !e.Known {
		return "the planner gives none"
	}
	return fmt.Sprintf("%.0f rows, cost %.1f, at most %.0f rows scanned at once", e.Rows, e.Cost, e.Scanned)
}

// PrintFailure shows a statement that is not as expected.
func PrintFailure(out io.Writer, file string, r *Result) {
	name := r.Name
	if name != "" {
		name = " " + name
	}
	fmt.Fprintf(out, "%s:%d:%s\n    %s\n", file, r.Line, name, spaced(r.Statement))
	for _, wrong := range r.Wrong {
		fmt.Fprintf(out, "  - %s\n", wrong)
	}
	fmt.Fprintln(out)
}
