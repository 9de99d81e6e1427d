package evidence

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes the report for people. It holds only what a terminal prints:
// names of objects are whatever somebody with access to the store called them.
func (r *Report) WriteText(out io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintln(out, clean(fmt.Sprintf(format, args...))) }
	for _, f := range r.Findings {
		line("FINDING  %s %s %s: %s", f.Kind, f.Object, f.Record, f.Message)
	}
	for _, f := range r.Notes {
		line("note     %s %s: %s", f.Object, f.Record, f.Message)
	}
	clear := "clean: every record is there, in order, signed and unchanged"
	if b := r.Bundle; b != nil {
		line("bundle from %s until %s (UTC), made at %s by %q", moment(b.Since), moment(b.Until), moment(b.Created), b.Maker)
		if b.Filter != nil && !b.Filter.ChoosesAll() {
			line("with the content of the queries and records with %s, and of nothing else", b.Filter)
			clear += "; compare the period and the choice with what you asked for"
		} else {
			clear += "; compare the period with what you asked for"
		}
	}
	line("%d objects, %d writers, %d segments, %d records, %d queries (%d interrupted), from %s to %s", r.Objects,
		r.Writers, r.Segments, r.Records, r.Queries, r.Interrupted, moment(r.First), moment(r.Last))
	if len(r.Findings) == 0 {
		line("%s", clear)
	}
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// String says in words what the filter chooses beside its period.
func (f Filter) String() string {
	var parts []string
	for _, part := range []struct{ name, value string }{{"principal", f.Principal}, {"connection", f.Connection},
		{"session", f.SessionID}, {"query", f.QueryID}, {"relation", f.Relation}, {"patient", f.Patient},
		{"effect", f.Effect}, {"status", f.Status}} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	return strings.Join(parts, ", ")
}
