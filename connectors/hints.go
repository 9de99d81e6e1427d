package connectors

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/masking"
)

// Suggest proposes the nearest of some names, or says which there are if they
// are few; "" if it knows nothing better. It is the same for the same names, in
// whatever order they come.
func Suggest(name string, among []string) string {
	among = slices.Compact(slices.Sorted(slices.Values(among)))
	best, distance := "", 4
	for _, candidate := range among {
		d := editDistance(strings.ToLower(name), strings.ToLower(candidate))
		if d <= len(candidate)/2 && (d < distance || (d == distance && len(candidate) > len(best) && best != "")) {
			best, distance = candidate, d
		}
	}
	if best == "" || best == name {
		return ""
	}
	return "Did you mean " + best + "?"
}

// editDistance counts insertions, deletions, replacements, and swaps of
// neighbours (optimal string alignment).
func editDistance(a, b string) int {
	if len(a) > maxName || len(b) > maxName {
		return maxName
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// maxName is the longest name that is compared.
const maxName = 64

// ColumnHint says where a column that was not found may be: under a near name in
// the relations that were searched, under its own in another table, or which
// columns there are.
func ColumnHint(name string, searched []string, tables []Table) string {
	if hint := Suggest(name, searched); hint != "" {
		return hint
	}
	var have []string
	for _, t := range tables {
		if slices.ContainsFunc(t.Columns, func(c TableColumn) bool { return strings.EqualFold(c.Name, name) }) {
			have = append(have, t.Name)
		}
	}
	const few = 20
	switch {
	case len(have) > 0 && len(have) <= 3 && !slices.Contains(searched, name):
		return strings.Join(have, ", ") + " has a column of this name: join it."
	case len(searched) > 0 && len(searched) <= few:
		return "There are " + strings.Join(searched, ", ") + "."
	}
	return ""
}

// DestroyedHint says why a column whose mask hides its value is of no use there,
// and what to write instead.
func DestroyedHint(column string, class masking.Class, kind UseKind) string {
	hint := fmt.Sprintf("%s is masked (%s), so it cannot be compared, joined, grouped or ordered by.", column, class.Mask.Kind)
	switch kind {
	case UseOrder:
		return hint + " Order by a column that is not masked, such as the table's key."
	case UseGroup:
		return hint + " Make groups or distinct rows of columns that are not masked, such as the person's key."
	case UseJoin:
		return hint + " Join by a key that is not masked."
	case UsePredicate, UseExpression, UseOutput:
	}
	return hint
}

// Token is a word or a sign of a statement, and the byte where it stands.
type Token struct {
	Text string
	At   int
}

// FindName is the position (see Error) where a text first names parts, such as
// p.ssnn; 0 if it does not.
func FindName(text string, tokens []Token, parts ...string) int {
	for i := range tokens {
		if named(tokens[i:], parts) && (i == 0 || tokens[i-1].Text != "." || len(parts) > 1) {
			return position(text, tokens[i].At)
		}
	}
	return 0
}

func named(tokens []Token, parts []string) bool {
	for i, part := range parts {
		if 2*i >= len(tokens) || !strings.EqualFold(strings.Trim(tokens[2*i].Text, "`\""), part) || (i > 0 && tokens[2*i-1].Text != ".") {
			return false
		}
	}
	return len(parts) > 0
}

// Locate is the position in the client's text of what stands at a byte of the
// text that was sent. The rewriting moves, adds and drops tokens, so that it is
// the place whose neighbours agree best; 0 if two do, or none.
func Locate(text string, client, sent []Token, at int) int {
	target := slices.IndexFunc(sent, func(t Token) bool { return t.At == at })
	if target < 0 {
		return 0
	}
	best, agreed, tied := -1, 0, false
	for i := range client {
		if !strings.EqualFold(client[i].Text, sent[target].Text) {
			continue
		}
		n := agreement(client, sent, i, target, 1) + agreement(client, sent, i, target, -1)
		switch {
		case n > agreed || best < 0:
			best, agreed, tied = i, n, false
		case n == agreed:
			tied = true
		}
	}
	if best < 0 || tied {
		return 0
	}
	return position(text, client[best].At)
}

// agreement counts the equal neighbours in one direction. The end of the text is
// one too.
func agreement(client, sent []Token, i, j, step int) int {
	const enough = 12
	for n := 1; ; n++ {
		i, j = i+step, j+step
		over, overSent := i < 0 || i >= len(client), j < 0 || j >= len(sent)
		switch {
		case over && overSent, n == enough:
			return n
		case over || overSent || !strings.EqualFold(client[i].Text, sent[j].Text):
			return n - 1
		}
	}
}

// position is the 1-based character of a byte offset.
func position(text string, at int) int {
	if at < 0 || at > len(text) {
		return 0
	}
	return utf8.RuneCountInString(text[:at]) + 1
}
