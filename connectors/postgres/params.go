package postgres

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/wasilibs/go-pgquery/parser"

	"github.com/chaperone-sql/chaperone/connectors"
)

// positional replaces :name markers by $n, by PostgreSQL's own scanner, so that
// literals, comments and casts are told apart as the server does.
func positional(text string, names []string) (string, error) {
	scan, err := scanned(text)
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

// syntax is the refusal of a text that does not parse. The parser's message may
// quote a literal, so only a word or a sign of it is said.
func (a *analysis) syntax(err error) *connectors.Error {
	out := &connectors.Error{Kind: connectors.KindSyntax, SQLState: "42601", Message: "syntax error", Hint: "The statement is not PostgreSQL."}
	var e *parser.Error
	if !errors.As(err, &e) || a.in.Names != nil || e.Cursorpos <= 0 {
		return out
	}
	text := []rune(a.in.Text)
	out.Position = min(e.Cursorpos, len(text)+1)
	switch {
	case strings.HasPrefix(e.Message, "unterminated"):
		out.Message, out.Hint = "a literal, quoted name or comment is not closed", "Close it, or double the quotes inside."
	case strings.HasPrefix(e.Message, "syntax error at end of input"):
		out.Message, out.Hint, out.Position = "the statement ends too early", "", len(text)+1
	default:
		out.Message += signAt(a.in.Text, len(string(text[:out.Position-1])))
	}
	return out
}

// signAt says where a syntax error is, if that is a keyword or a sign.
func signAt(text string, at int) string {
	scan, err := scanned(text)
	if err != nil {
		return ""
	}
	for _, t := range scan.Tokens {
		said := text[t.Start:t.End]
		if int(t.Start) == at && (t.KeywordKind != pg.KeywordKind_NO_KEYWORD || strings.Trim(said, "=<>+-*/%(),;.:[]") == "") {
			return " at " + said
		}
	}
	return ""
}

// find is where the client's text first names parts; with named parameters, too.
func (a *analysis) find(parts ...string) int {
	return connectors.FindName(a.in.Text, tokensOf(a.in.Text), parts...)
}

// maxTokens is how many tokens of a text are looked at for a position.
const maxTokens = 5000

// tokensOf are the tokens of a text, comments left out, nil if it has too many.
func tokensOf(text string) []connectors.Token {
	scan, err := scanned(text)
	if err != nil || len(scan.Tokens) > maxTokens {
		return nil
	}
	out := make([]connectors.Token, 0, len(scan.Tokens))
	for _, t := range scan.Tokens {
		if t.Token != pg.Token_SQL_COMMENT && t.Token != pg.Token_C_COMMENT {
			out = append(out, connectors.Token{Text: text[t.Start:t.End], At: int(t.Start)})
		}
	}
	return out
}
