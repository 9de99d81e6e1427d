package classify

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-sql/chaperone/masking"
)

// Known is what an earlier file says of a column.
type Known struct {
	// Class is what a person kept, "" for a line that stayed a comment.
	Class string
	// Type is the column's type then, "" if the line does not say.
	Type string
}

// line is a column in a file that Write made, perhaps edited since.
var line = regexp.MustCompile(`^\s*(# ?)?("(?:[^"\\]|\\.)+"|[^\s#":]+): *"?([a-z_]+)"?(?: +# (?:high|medium|low|decided); (.*?); .*)?\s*$`)

// ReadPrevious reads an earlier file of Write, by the names that it has there.
func ReadPrevious(in io.Reader) (map[string]Known, error) {
	out := map[string]Known{}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		m := line.FindStringSubmatch(scanner.Text())
		if m == nil {
			continue
		}
		name := m[2]
		if strings.HasPrefix(name, `"`) {
			var err error
			if name, err = strconv.Unquote(name); err != nil {
				continue
			}
		}
		if !strings.Contains(name, ".") || (m[1] != "" && m[4] == "") {
			continue // another key, or ordinary words in a comment
		}
		known := Known{Class: m[3], Type: m[4]}
		if m[1] != "" {
			known.Class = ""
		}
		out[name] = known
	}
	return out, scanner.Err()
}

// File is what Write writes.
type File struct {
	Connection, Engine string
	// Rows were sampled at most of each table; 0 is none.
	Rows      int
	Proposals []Proposal
	// Previous is an earlier file, nil for none: what a person decided there
	// stands.
	Previous map[string]Known
	// Remarks are lines for the head, such as tables that could not be read.
	Remarks []string
}

// name is the column's name in the configuration.
func (f *File) name(c masking.ColumnRef) string {
	if f.Engine == "mysql" {
		return c.Relation + "." + c.Column
	}
	return c.String()
}

// Write writes YAML for a person to edit: `columns:` of the connection. What is
// held for not protected is a comment, which the person makes a decision.
func (f *File) Write(out io.Writer) error {
	w := bufio.NewWriter(out)
	sampled := fmt.Sprintf("At most %d rows of each table were looked at; only counts of them are used.", f.Rows)
	if f.Rows == 0 {
		sampled = "No values were looked at."
	}
	fmt.Fprintf(w, `# Proposed by "chaperone classify" for the connection %s: for a person to read, line by line, correct, and
# put into the configuration as connections.%s.columns. %s
#
# A line says: column, class, and behind it how sure, the type, and why. Columns held for not protected are
# comments: take the "# " away to decide so. Until then they are redacted, if their table has a protected column.
`, f.Connection, f.Connection, sampled)
	for _, r := range f.Remarks {
		fmt.Fprintf(w, "# %s\n", clean(r))
	}
	f.writeChanges(w)
	if f.nothing() {
		fmt.Fprintln(w, "columns: {} # nothing is proposed; replace {} by what you decide")
	} else {
		fmt.Fprintln(w, "columns:")
	}
	table := ""
	for _, p := range f.Proposals {
		if t := p.Column.Schema + "." + p.Column.Relation; t != table {
			fmt.Fprintf(w, "\n  # %s\n", clean(t))
			table = t
		}
		f.writeColumn(w, p)
	}
	return w.Flush()
}

// nothing reports whether every line is a comment.
func (f *File) nothing() bool {
	return !slices.ContainsFunc(f.Proposals, func(p Proposal) bool {
		return !unwritable(p.Column) && (p.protected() || f.Previous[f.name(p.Column)].Class != "")
	})
}

func (f *File) writeColumn(w io.Writer, p Proposal) {
	name := f.name(p.Column)
	why := fmt.Sprintf("%s; %s; %s", p.Confidence, clean(p.Type), clean(p.Reason))
	class, mark := p.Class, ""
	if !p.protected() {
		mark = "# "
	}
	if old, ok := f.Previous[name]; ok && old.Class != "" {
		mark, class = "", old.Class
		why = fmt.Sprintf("decided; %s; as in the previous file", clean(p.Type))
		if old.Class != p.Class {
			why += fmt.Sprintf(" (proposed: %s, %s)", p.Class, clean(p.Reason))
		}
	}
	if unwritable(p.Column) {
		fmt.Fprintf(w, "  # cannot be named in a configuration: %s # %s\n", clean(name), why)
		return
	}
	fmt.Fprintf(w, "  %s%s # %s\n", mark, pad(quoted(name)+": "+class, 48-len(mark)), why)
}

// writeChanges lists what is not as in the previous file.
func (f *File) writeChanges(w io.Writer) {
	if f.Previous == nil {
		return
	}
	var added, changed, gone []string
	here := map[string]bool{}
	for _, p := range f.Proposals {
		name := f.name(p.Column)
		here[name] = true
		old, ok := f.Previous[name]
		switch {
		case !ok:
			added = append(added, fmt.Sprintf("new      %s %s: %s", clean(name), clean(p.Type), p.Class))
		case old.Type != "" && old.Type != clean(p.Type):
			changed = append(changed, fmt.Sprintf("changed  %s was %s, is %s", clean(name), old.Type, clean(p.Type)))
		}
	}
	for name := range f.Previous {
		if !here[name] {
			gone = append(gone, "gone     "+clean(name))
		}
	}
	slices.Sort(gone)
	all := slices.Concat(added, changed, gone)
	if len(all) == 0 {
		all = []string{"nothing"}
	}
	fmt.Fprint(w, "#\n# Since the previous file:\n")
	for _, one := range all {
		fmt.Fprintf(w, "#   %s\n", one)
	}
}

// unwritable is a name that the configuration cannot say.
func unwritable(c masking.ColumnRef) bool {
	all := c.Schema + c.Relation + c.Column
	return strings.ContainsRune(all, '.') || strings.ContainsFunc(all, func(r rune) bool { return r < ' ' || r == 0x7f })
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

func quoted(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

// clean keeps a database's words within one comment line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			return ' '
		}
		return r
	}, text)
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-len(text)))
}
