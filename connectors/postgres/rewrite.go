package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
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
	a.unqualify(ref, f)
	if !f.source.wrapped {
		return
	}
	name := f.column.origin.Column
	hidden, ok := f.source.raw[name]
	if !ok {
		hidden = fmt.Sprintf("%s%d", hiddenPrefix, a.hidden) // unique: no NATURAL JOIN may meet two
		a.hidden++
		f.source.raw[name] = hidden
	}
	ref.Fields = columnRef(f.source.name, hidden).Fields
}

// unqualify drops the schema from a reference to a relation that becomes a
// derived table.
func (*analysis) unqualify(ref *pg.ColumnRef, f found) {
	if f.source != nil && f.source.wrapped && len(ref.Fields) == 3 {
		ref.Fields = ref.Fields[1:]
	}
}

// rewrite replaces every reference to a relation with protected columns by a
// derived table of the same name, whose protected columns are masked.
func (a *analysis) rewrite() error {
	a.st.Shape.Filtered = true
	for _, src := range a.rewrites {
		if src.rows && !src.filtered {
			a.st.Shape.Filtered = false
		}
		if src.node == nil {
			continue // the target of a write
		}
		tree, err := pgquery.Parse("SELECT FROM (" + a.derived(src) + ") AS " + quote(src.name))
		if err != nil {
			return fmt.Errorf("a mask does not parse: %w", err)
		}
		item := tree.Stmts[0].Stmt.GetSelectStmt().FromClause[0].GetRangeSubselect()
		if rv := src.node.GetRangeVar(); rv != nil && rv.Alias != nil {
			item.Alias = rv.Alias
		}
		src.node.Node = &pg.Node_RangeSubselect{RangeSubselect: item}
	}
	return nil
}

// derived writes the SELECT that stands for a relation. Hidden columns come
// last, so that an alias list names the visible ones.
func (a *analysis) derived(src *source) string {
	var list []string
	for _, c := range src.relation.columns {
		base := masking.ColumnRef{Schema: src.relation.schema, Relation: src.relation.name, Column: c.name}
		if class, ok := a.in.Classes.Class(base); ok {
			list = append(list, a.mask(class, c)+" AS "+quote(c.name))
		} else {
			list = append(list, quote(c.name))
		}
	}
	for _, c := range src.relation.columns {
		if hidden, ok := src.raw[c.name]; ok {
			list = append(list, quote(c.name)+" AS "+quote(hidden))
		}
	}
	from := " FROM "
	if src.only {
		from += "ONLY "
	}
	return "SELECT " + strings.Join(list, ", ") + from + quote(src.relation.schema) + "." + quote(src.relation.name)
}

// mask writes a class's mask over a column, of the column's own type. A kind or
// type that is not known is a NULL.
func (a *analysis) mask(class masking.Class, c relationColumn) string {
	name := quote(c.name)
	text := c.base == "text" || c.base == "varchar" || c.base == "bpchar"
	switch class.Mask.Kind {
	case masking.Redact, masking.Token:
		if !text {
			return null(c)
		}
		shown := class.Mask.Text
		if shown == "" {
			shown = masking.RedactText
		}
		if c.length > 0 && len(shown) > c.length {
			shown = shown[:c.length]
		}
		value := literal(shown) + "::" + c.typ
		if c.notNull {
			return value
		}
		return "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + value + " END"
	case masking.ZIP3:
		if !text {
			return null(c)
		}
		zip := "pg_catalog.left(pg_catalog.lpad(" + name + "::text, 5, '0'), 3)"
		return "(CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + "::text !~ '^[0-9]{3,5}(-?[0-9]{4})?$' OR " + zip + " IN (" +
			literals(a.in.Classes.Profile().LowPopulationZIP3) + ") THEN '000' ELSE " + zip + " END)::" + c.typ
	case masking.Year, masking.BirthYear:
		return a.year(class, c, name)
	}
	return null(c)
}

// year is the first instant of the year, and for a date of birth at most that
// of 90 years ago.
func (a *analysis) year(class masking.Class, c relationColumn, name string) string {
	var first string
	switch c.base {
	case "date":
		first = "pg_catalog.date_trunc('year', " + name + "::timestamp)::date"
	case "timestamp":
		first = "pg_catalog.date_trunc('year', " + name + ")"
	case "timestamptz":
		first = "pg_catalog.date_trunc('year', " + name + ", 'UTC')"
	default:
		return null(c)
	}
	if class.Mask.Kind == masking.Year {
		return first
	}
	bound := a.in.Today.AddDate(-90, 0, 1) // born before is 90 or older
	return fmt.Sprintf("CASE WHEN %s < '%s'::%s THEN '%04d-01-01'::%s ELSE %s END", name, bound.Format("2006-01-02"), c.base,
		a.in.Today.Year()-90, c.base, first)
}

// null is a NULL of the column's type; of a user's type it is text, since its
// input function is not known.
func null(c relationColumn) string {
	if types[c.base] {
		return "NULL::pg_catalog." + quote(c.base)
	}
	return "NULL::text"
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func literals(list []string) string {
	out := []string{}
	for _, text := range list {
		out = append(out, literal(text))
	}
	if len(out) == 0 {
		return "'000'"
	}
	return strings.Join(out, ", ")
}

// verified is the text of a tree, parsed again and found equal.
func verified(tree *pg.ParseResult) (string, error) {
	refuse := func() (string, error) {
		return "", unsupported("the statement does not read back as it was understood", "Write it more simply.")
	}
	text, err := pgquery.Deparse(tree)
	if err != nil {
		return refuse()
	}
	again, err := pgquery.Parse(text)
	if err != nil || len(again.Stmts) != 1 {
		return refuse()
	}
	want, _ := proto.Clone(tree).(*pg.ParseResult)
	unlocate(want.ProtoReflect())
	unlocate(again.ProtoReflect())
	if !proto.Equal(want, again) {
		return refuse()
	}
	return text, nil
}

// unlocate clears everything that tells only where in the text a node was.
func unlocate(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		switch {
		case strings.HasSuffix(name, "location"), name == "stmt_len", name == "list_start", name == "list_end",
			name == "rexpr_list_start", name == "rexpr_list_end":
			m.Clear(f)
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				unlocate(v.List().Get(i).Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			unlocate(v.Message())
		}
		return true
	})
}

// visit calls f for every node below n until it says not to go deeper.
func visit(n *pg.Node, f func(*pg.Node) bool) {
	if n != nil {
		visitMessage(n.ProtoReflect(), f)
	}
}

func visitMessage(m protoreflect.Message, f func(*pg.Node) bool) {
	if n, ok := m.Interface().(*pg.Node); ok && !f(n) {
		return
	}
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.IsList() && d.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				visitMessage(v.List().Get(i).Message(), f)
			}
		case d.Kind() == protoreflect.MessageKind:
			visitMessage(v.Message(), f)
		}
		return true
	})
}

// normalise makes the text without literals and comments, and its fingerprint.
func (a *analysis) normalise(tree *pg.ParseResult, text string) error {
	fingerprint, err := pgquery.Fingerprint(text)
	if err != nil {
		return unsupported("the statement has no fingerprint", "")
	}
	a.st.Fingerprint = fingerprint
	clone, _ := proto.Clone(tree).(*pg.ParseResult)
	visitMessage(clone.ProtoReflect(), func(n *pg.Node) bool {
		if n.GetTypeName() != nil {
			return false // varchar(10): the number is no literal of the data
		}
		if n.GetAConst() != nil {
			n.Node = &pg.Node_ParamRef{ParamRef: &pg.ParamRef{}}
		}
		return true
	})
	if a.st.Normalized, err = pgquery.Deparse(clone); err != nil {
		// Some constants must stay for the text to be written; the library's own
		// normaliser works on the text of the tree, which has no comments.
		plain, err := pgquery.Deparse(tree)
		if err == nil {
			a.st.Normalized, err = pgquery.Normalize(plain)
		}
		if err != nil {
			a.st.Normalized = "(" + fingerprint + ")"
		}
	}
	return nil
}
