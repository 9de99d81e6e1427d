package postgres

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"

	"github.com/chaperone-sql/chaperone/connectors"
)

// positional replaces :name markers by $n, by PostgreSQL's own scanner, so that
// literals, comments and casts are told apart as the server does.
func positional(text string, names []string) (string, error) {
	scan, err := pgquery.Scan(text)
	if err != nil {
		return "", &connectors.Error{Kind: connectors.KindSyntax, SQLState: "42601", Message: "syntax error"}
	}
	var b strings.Builder
	done := 0
	used := make([]bool, len(names))
	for i := 0; i+1 < len(scan.Tokens); i++ {
		colon, name := scan.Tokens[i], scan.Tokens[i+1]
		if colon.Token == pg.Token_PARAM {
			return "", &connectors.Error{Kind: connectors.KindParameter, Message: "$n markers and named parameters cannot be mixed"}
		}
		if colon.Token != pg.Token_ASCII_58 || colon.End != name.Start {
			continue
		}
		index := slices.Index(names, text[name.Start:name.End])
		if index < 0 {
			if i > 0 && slices.Contains(names, strings.ToLower(text[name.Start:name.End])) {
				index = slices.Index(names, strings.ToLower(text[name.Start:name.End]))
			} else {
				continue // a slice, perhaps; else the parser refuses it
			}
		}
		used[index] = true
		b.WriteString(text[done:colon.Start])
		b.WriteString("$" + strconv.Itoa(index+1))
		done = int(name.End)
	}
	b.WriteString(text[done:])
	if slices.Contains(used, false) {
		return "", &connectors.Error{Kind: connectors.KindParameter, Message: "a parameter has no marker in the statement"}
	}
	return b.String(), nil
}

// cursor is where a parse error is, as a 1-based character, or 0.
func (a *analysis) cursor(err error) int {
	var e *parser.Error
	if errors.As(err, &e) && a.in.Names == nil && e.Cursorpos > 0 {
		return min(e.Cursorpos, len([]rune(a.in.Text)))
	}
	return 0
}
