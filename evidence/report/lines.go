package report

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Bounds of the lists, in lines. What is beyond is counted, and the report says
// how many and where they are.
const (
	maxAccess     = 2000
	maxAccounting = 5000
	maxList       = 1000
	maxNames      = 100
	maxSet        = 8
	maxLargest    = 20
)

// lines is a list that stays bounded.
type lines[T any] struct {
	most int
	kept []T
	more int64
}

func (l *lines[T]) add(item T) {
	if len(l.kept) >= l.most {
		l.more++
		return
	}
	l.kept = append(l.kept, item)
}

// total is how many were added.
func (l *lines[T]) total() int64 { return int64(len(l.kept)) + l.more }

// tally counts by name. Names beyond a bound are counted together.
type tally struct {
	counts map[string]int64
	others int64
}

func (t *tally) add(name string, n int64) {
	if n <= 0 {
		return
	}
	if t.counts == nil {
		t.counts = make(map[string]int64)
	}
	if _, known := t.counts[name]; !known && len(t.counts) >= maxNames {
		t.others = sum(t.others, n)
		return
	}
	t.counts[name] = sum(t.counts[name], n)
}

func (t *tally) total() (n int64) {
	for _, count := range t.counts {
		n = sum(n, count)
	}
	return sum(n, t.others)
}

// named is a count of a tally.
type named struct {
	name  string
	count int64
}

// sorted gives the counts, the largest first.
func (t *tally) sorted() []named {
	all := make([]named, 0, len(t.counts)+1)
	for name, count := range t.counts {
		all = append(all, named{name, count})
	}
	slices.SortFunc(all, func(a, b named) int {
		switch {
		case a.count > b.count:
			return -1
		case a.count < b.count:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

// words are the counts in a sentence.
func (t *tally) words(name func(string) string) string {
	var parts []string
	for _, n := range t.sorted() {
		parts = append(parts, name(n.name)+": "+number(n.count))
	}
	if t.others > 0 {
		parts = append(parts, "others: "+number(t.others))
	}
	return strings.Join(parts, ", ")
}

// sum does not overflow, whatever a record says.
func sum(a, b int64) int64 {
	if b <= 0 {
		return a
	}
	if c := a + b; c > a {
		return c
	}
	return 1<<63 - 1
}

// set is some different texts, in the order in which they came.
type set struct {
	names []string
	more  bool
}

func (s *set) add(name string) {
	switch {
	case name == "", slices.Contains(s.names, name):
	case len(s.names) >= maxSet:
		s.more = true
	default:
		s.names = append(s.names, name)
	}
}

func (s *set) words(name func(string) string) string {
	shown := make([]string, len(s.names))
	for i, text := range s.names {
		shown[i] = name(text)
	}
	if s.more {
		shown = append(shown, "and others")
	}
	return strings.Join(shown, ", ")
}

// reference is where a line comes from.
type reference struct{ record, writer, query string }

func referTo(r *evidence.Record) reference { return reference{r.ID, r.Writer, r.QueryID} }

// who is a person or an agent.
type who struct{ name, subject, issuer, key, behalf string }

func whoOf(a *evidence.Actor) who {
	if a == nil {
		return who{}
	}
	return who{a.Name, a.Subject, a.Issuer, a.Key(), a.OnBehalfOf}
}

// words are a person's name and subject.
func (w who) words() string {
	switch {
	case w.name == "" && w.subject == "":
		return "not recorded"
	case w.name == "" || w.name == w.subject:
		return legible(w.subject)
	}
	return legible(w.name) + " (" + legible(w.subject) + ")"
}

// access is what one principal did with one table of a connection.
type access struct {
	who               who
	connection, table string
	total, answered   int64
	rows              int64
	first, last       time.Time
	purposes, behalf  set
	at                reference // of the last
}

// numberOf reads a count that is text; what is none is 0.
func numberOf(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
