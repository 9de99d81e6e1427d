package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chaperone-sql/chaperone/masking"
)

// hiddenPrefix begins the names under which a derived table carries a raw
// column for the one comparison or output that may see it. No client may use
// such a name.
const hiddenPrefix = "chaperone_raw_"

// point makes a reference see the raw column, under a hidden name. In a write
// the target itself is not wrapped, so its own name already is the raw one.
func (a *analysis) point(ref *pg.ColumnRef, f found) {
	a.pin(ref, f)
	if !f.source.wrapped {
		return
	}
	a.pointed = true
	name := f.column.origin.Column
	hidden, ok := f.source.raw[name]
	if !ok {
		hidden = fmt.Sprintf("%s%d", hiddenPrefix, a.hidden) // unique: no NATURAL JOIN may meet two
		a.hidden++
		f.source.raw[name] = hidden
	}
	ref.Fields = columnRef(f.source.name, hidden).Fields
}

// pin makes a reference say which source it was resolved to: a relation that
// becomes a derived table has no schema, and in a write, whose target is raw, no
// other name may be left for the server to find there after all.
func (a *analysis) pin(ref *pg.ColumnRef, f found) {
	switch {
	case f.source == nil || f.whole:
	case f.source.wrapped && len(ref.Fields) == 3:
		ref.Fields = ref.Fields[1:]
	case a.st.Write && !f.source.target && len(ref.Fields) == 1:
		ref.Fields = append(columnRef(f.source.name).Fields, ref.Fields...)
	}
}

// rewrite replaces every reference to a relation with protected columns by a
// derived table of the same name, whose protected columns are masked.
func (a *analysis) rewrite() error {
	if err := a.maskedOnly(); err != nil {
		return err
	}
	a.st.Shape.Filtered = true
	for _, src := range a.rewrites {
		if src.rows && a.protected(src.relation) {
			a.st.ProtectedRowsOut = a.st.ProtectedRowsOut || src.reaches()
			a.st.Shape.Filtered = a.st.Shape.Filtered && !src.loose()
		}
		if src.node == nil {
			continue // the target of a write
		}
		if src.whole > 0 && len(src.raw)+len(src.dated) > 0 {
			return unsupported("a table cannot be used as one value where one of its raw columns is compared or shown",
				"Use a derived table: … FROM (SELECT * FROM "+word(src.relation.name)+" WHERE …) AS "+word(src.name)+".")
		}
		text, err := a.derivedText(src)
		if err != nil {
			return err
		}
		item := standIn(len(a.pieces))
		a.pieces = append(a.pieces, text)
		item.Alias = &pg.Alias{Aliasname: src.name}
		if rv := src.node.GetRangeVar(); rv != nil && rv.Alias != nil {
			item.Alias = rv.Alias
		}
		src.node.Node = &pg.Node_RangeSubselect{RangeSubselect: item}
	}
	return nil
}

// derivedText is the derived table of a source, verified. Those that were made
// before for this catalog are kept.
func (a *analysis) derivedText(src *source) (string, error) {
	said := a.derived(src)
	if text, ok := a.cat.written.get(said); ok {
		return text, nil
	}
	tree, ok := one(said)
	if !ok || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		return "", errors.New("a mask does not parse")
	}
	text, err := verified(tree, nil, func(protoreflect.ProtoMessage) bool { return true })
	if err != nil {
		return "", err
	}
	a.cat.written.put(said, text)
	return text, nil
}

// writtenTables keeps verified derived tables. It is emptied when it is full,
// which is rare: there are as many as combinations of columns in use.
type writtenTables struct {
	mu    sync.Mutex
	texts map[string]string
}

const maxWritten = 2000

func (w *writtenTables) get(said string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, ok := w.texts[said]
	return text, ok
}

func (w *writtenTables) put(said, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.texts == nil || len(w.texts) >= maxWritten {
		w.texts = map[string]string{}
	}
	w.texts[said] = text
}

// derived writes the SELECT that stands for a relation. Hidden columns come
// last, so that an alias list names the visible ones.
func (a *analysis) derived(src *source) string {
	var list []string
	known := a.protection(src.relation)
	for i, c := range src.relation.columns {
		if !src.columns[i].used {
			continue
		}
		standing, stands := src.relation.telling()[c.name]
		switch class, ok := known.classes[c.name]; {
		case stands:
			list = append(list, standing+" AS "+quote(c.name))
		case !ok:
			list = append(list, quote(c.name))
		case class.computed:
			list = append(list, a.computed(c)+" AS "+quote(c.name))
		case src.view:
			list = append(list, a.again(class.Class, c)+" AS "+quote(c.name))
		default:
			list = append(list, a.mask(class.Class, c)+" AS "+quote(c.name))
		}
	}
	for _, c := range src.relation.columns {
		if hidden, ok := src.raw[c.name]; ok {
			list = append(list, quote(c.name)+" AS "+quote(hidden))
		}
		if hidden, ok := src.dated[c.name]; ok {
			list = append(list, dated(c, src.movedBy)+" AS "+quote(hidden))
		}
	}
	if src.view {
		return "SELECT " + strings.Join(list, ", ") + " FROM " + quote(a.cat.masked) + "." + quote(src.relation.name)
	}
	from := " FROM "
	if src.only {
		from += "ONLY "
	}
	from += quote(src.relation.schema) + "." + quote(src.relation.name)
	if len(known.decides) > 0 {
		from += a.order(src.relation, known)
	}
	return "SELECT " + strings.Join(list, ", ") + from
}

// order sorts by every column, as masked, so that the order in which the rows
// were made is lost.
func (a *analysis) order(r *relation, known *protection) string {
	var list []string
	for _, c := range r.columns {
		class, ok := known.classes[c.name]
		switch {
		case !sortable[c.base] || class.computed:
		case ok:
			list = append(list, a.mask(class.Class, c))
		default:
			list = append(list, quote(c.name))
		}
	}
	if len(list) == 0 {
		return " OFFSET 0"
	}
	return " ORDER BY " + strings.Join(list, ", ")
}

// sortable are types with an order whose comparison cannot fail.
var sortable = set(`text varchar bpchar name bool int2 int4 int8 oid float4 float8 numeric date time timetz timestamp timestamptz interval
uuid bytea inet cidr jsonb`)

// computed stands for an expression over protected columns: it is not
// evaluated, since whether it fails would tell.
func (a *analysis) computed(c relationColumn) string {
	c.notNull = true
	return a.mask(masking.Class{Mask: masking.Mask{Kind: masking.Redact}}, c)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func (a *analysis) mask(class masking.Class, c relationColumn) string {
	return a.masks().mask(class, c)
}

func (a *analysis) masks() maskWriter {
	return maskWriter{profile: a.in.Classes.Profile(), today: a.in.Today, expressions: &a.cat.expressions}
}

// standIn stands for the nth derived table while a statement is written and
// read back. Most of a rewritten text is masks, which are verified once.
func standIn(n int) *pg.RangeSubselect {
	from := &pg.Node{Node: &pg.Node_RangeVar{RangeVar: &pg.RangeVar{Relname: standInName(n), Inh: true, Relpersistence: "p"}}}
	return &pg.RangeSubselect{Subquery: &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{
		FromClause: []*pg.Node{from}, LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE,
	}}}}
}

func standInName(n int) string { return fmt.Sprintf("%st%d", hiddenPrefix, n) }

// verified is the text of a tree, parsed again and found equal, with the
// verified pieces in place of the tables that stand for them. A stand-in is
// found by where the parser saw it, and both it and its piece are whole
// statements between the same parentheses: what the text parses to is the tree
// with the pieces' trees in it. A piece may stand in several places, as where
// what goes into an aggregate is counted too. Every other node must be understood.
func verified(tree *pg.ParseResult, pieces []string, understood func(protoreflect.ProtoMessage) bool) (string, error) {
	refuse := func() (string, error) {
		return "", unsupported("the statement does not read back as it was understood", "Write it more simply.")
	}
	text, err := pgquery.Deparse(tree)
	if err != nil {
		return refuse()
	}
	again, err := parsed(text)
	if err != nil {
		return refuse()
	}
	standIns := map[string][]int{} // where the parser saw them
	known := true
	if !again.says(tree, func(ours protoreflect.ProtoMessage, at int) {
		if rv, ok := ours.(*pg.RangeVar); ok && strings.HasPrefix(rv.Relname, hiddenPrefix) {
			standIns[rv.Relname] = append(standIns[rv.Relname], at)
		} else {
			known = known && understood(ours)
		}
	}) || !known {
		return refuse()
	}
	text, ok := splice(text, standIns, pieces)
	if !ok {
		return refuse()
	}
	return text, nil
}

// splice writes the pieces in place of their stand-ins. Each must be there, and
// nothing else may have such a name.
func splice(text string, standIns map[string][]int, pieces []string) (spliced string, ok bool) {
	if len(standIns) != len(pieces) {
		return "", false
	}
	type place struct{ from, to, piece int } // within the parentheses
	var places []place
	for i := range pieces {
		whole := "SELECT FROM " + standInName(i)
		for _, at := range standIns[standInName(i)] {
			to := at + len(standInName(i))
			from := to - len(whole)
			if from < 1 || to >= len(text) || text[from-1:to+1] != "("+whole+")" {
				return "", false
			}
			places = append(places, place{from, to, i})
		}
	}
	slices.SortFunc(places, func(p, q place) int { return p.from - q.from })
	var b strings.Builder
	last := 0
	for _, p := range places {
		b.WriteString(text[last:p.from])
		b.WriteString(pieces[p.piece])
		last = p.to
	}
	b.WriteString(text[last:])
	return b.String(), true
}

// normalise makes the text without literals and comments, and its fingerprint;
// they are there when wait returns. It is a fifth of the whole work, so it is
// done beside the rest if nobody else's is: one more parser, at most, is kept.
func (a *analysis) normalise(said syntaxTree) (wait func()) {
	text := unwritable
	select {
	case a.beside <- struct{}{}:
	default:
		text = withoutConstants(said)
		return func() { a.normalised(text) }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-a.beside }()
		defer func() { _ = recover() }() // a panic must not end the process; what it says may hold literals
		text = withoutConstants(said)
	}()
	return func() {
		<-done
		a.normalised(text)
	}
}

// withoutConstants writes a tree with a marker for every constant.
func withoutConstants(said syntaxTree) string {
	tree, err := said.statements()
	if err != nil {
		return unwritable
	}
	type constant struct {
		node  *pg.Node
		value *pg.Node_AConst
	}
	var constants []constant
	visit(tree.Stmts[0].Stmt, func(n *pg.Node) bool {
		if n.GetTypeName() != nil {
			return false // varchar(10): the number is no literal of the data
		}
		if value, ok := n.Node.(*pg.Node_AConst); ok {
			constants = append(constants, constant{n, value})
			n.Node = &pg.Node_ParamRef{ParamRef: &pg.ParamRef{}}
		}
		return true
	})
	text, err := pgquery.Deparse(tree)
	if err == nil {
		return text
	}
	// Some constants must stay for the text to be written.
	for _, c := range constants {
		c.node.Node = c.value
	}
	if text, err = pgquery.Deparse(tree); err != nil {
		return unwritable
	}
	return constantFree(text)
}

// unwritable stands for a normalised text that cannot be had.
const unwritable = "(not to be written down)"

func (a *analysis) normalised(text string) {
	sum := sha256.Sum256([]byte(text))
	a.st.Normalized, a.st.Fingerprint = text, hex.EncodeToString(sum[:16])
}

// constantFree is a text with ? for every constant, and without comments. It
// knows no grammar, so it also finds the constants that the tree keeps as plain
// strings: the body of DO, the payload of NOTIFY, the password of a role.
func constantFree(text string) string {
	tokens, err := scanned(text)
	if err != nil || text == "" {
		return unwritable
	}
	var (
		b    strings.Builder
		last int32
	)
	for _, token := range tokens.Tokens {
		if token.Token == pg.Token_SQL_COMMENT || token.Token == pg.Token_C_COMMENT {
			continue
		}
		if b.Len() > 0 && token.Start > last {
			b.WriteByte(' ')
		}
		last = token.End
		switch token.Token {
		case pg.Token_SCONST, pg.Token_USCONST, pg.Token_BCONST, pg.Token_XCONST, pg.Token_ICONST, pg.Token_FCONST:
			b.WriteByte('?')
		default:
			b.WriteString(text[token.Start:token.End])
		}
	}
	return b.String()
}
