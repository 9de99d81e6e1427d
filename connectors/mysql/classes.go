package mysql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// protection is what is known of a table or view under one classification:
// which of its columns are protected, and what that knowledge rests on.
type protection struct {
	classes map[string]columnClass // by the column's name as the catalog spells it
	// err says why the relation cannot be read at all.
	err *connectors.Error
	// ordered is true for a view that compares protected columns: the order in
	// which its rows come could tell what they hold.
	ordered bool
	// decides is one of those uses.
	decides []connectors.Use
	// exposures are the indexes in whose order a protected column shows, each as
	// the columns that it lacks: where one of them is read, the server does not
	// answer from the index alone. Of a view, those of the tables beneath, as the
	// view's own columns: no hint reaches there.
	exposures [][]string
	// relies are the relations, besides this one, whose definitions count.
	relies []*table
}

// columnClass is the class of a column, configured or derived.
type columnClass struct {
	masking.Class
	// computed is true for an expression over protected columns, in a view or a
	// generated column: it is never evaluated.
	computed bool
}

// maxViews bounds how deep views stand on views.
const maxViews = 32

type protectionKey struct {
	classes string
	table   *table
}

// protection derives what is known of a relation; it is kept with the catalog.
func (a *analysis) protection(t *table) *protection {
	key := protectionKey{a.in.Classes.Version(), t}
	if p, ok := a.cat.derived.Load(key); ok {
		return p.(*protection) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	p := &protection{classes: map[string]columnClass{}}
	if a.views > maxViews {
		p.err = unsupported("views stand on views too deeply", "Read the tables themselves.")
		return p
	}
	switch t.kind {
	case "table":
		a.protectTable(t, p)
	case "view":
		a.protectView(t, p)
	case "catalog":
	default:
		p.err = unsupported(fmt.Sprintf("%s is a %s, which is not understood", word(t.name), strings.ReplaceAll(t.kind, "_", " ")), "")
	}
	a.cat.derived.Store(key, p)
	return p
}

// configured is the class that the configuration gives a column.
func (a *analysis) configured(t *table, column string) (masking.Class, bool) {
	return a.in.Classes.Class(masking.ColumnRef{Schema: t.schema, Relation: t.name, Column: column})
}

// protectTable takes a table's own classes, and redacts generated columns that
// are made of protected ones.
func (a *analysis) protectTable(t *table, p *protection) {
	for _, c := range t.columns {
		if class, ok := a.configured(t, c.name); ok {
			p.classes[c.name] = columnClass{Class: class}
		}
	}
	defer func() { p.exposures = exposedBy(t, p) }()
	// A generated column may be made of another one.
	for again := len(p.classes) > 0; again; {
		again = false
		for _, c := range t.columns {
			if _, has := p.classes[c.name]; has || c.generated == "" {
				continue
			}
			if class, reads := generatedFrom(c.generated, p.classes); reads {
				p.classes[c.name] = columnClass{Class: class.Redacted(), computed: true}
				again = true
			}
		}
	}
}

// exposedBy are the exposures of a table. An index that begins with another
// column is read for that column's sake, whatever it lacks.
func exposedBy(t *table, p *protection) (out [][]string) {
	for _, index := range exposing(t, p, nil) {
		var lacks []string
		for _, c := range t.columns {
			if _, protected := p.classes[c.name]; protected && slices.Contains(c.leads, index) {
				lacks = t.lackedBy(index, p)
			}
		}
		out = append(out, lacks)
	}
	return out
}

// lackedBy are the unprotected columns, of types that every function takes, that
// are not in an index, nor in the primary key, which is part of each.
func (t *table) lackedBy(index string, p *protection) (out []string) {
	for _, c := range t.columns {
		simple := isText(c.dataType) || isNumber(c.dataType) || slices.Contains([]string{"date", "datetime", "timestamp"}, c.dataType)
		if _, protected := p.classes[c.name]; simple && !protected && c.key != "PRI" && !slices.Contains(c.leads, index) && !slices.Contains(c.within, index) {
			out = append(out, c.name)
		}
	}
	return out
}

// exposedThrough are the exposures of a view by one of its sources: what it shows
// of the columns that an index beneath lacks. One that the view's own conditions
// read is enough.
func (t *table) exposedThrough(src *source, columns []column, exposures [][]string) (out [][]string) {
	for _, lacks := range exposures {
		if slices.ContainsFunc(src.columns, func(c column) bool { return c.tested && slices.Contains(lacks, c.name) }) {
			continue
		}
		var shown []string
		for i, c := range columns {
			if c.base == src && c.ref != nil && slices.Contains(lacks, c.ref.Column) {
				shown = append(shown, t.columns[i].name)
			}
		}
		out = append(out, shown)
	}
	return out
}

// shields are columns of a view whose reading keeps a server off all of the
// exposing indexes beneath, and whether there are such.
func (p *protection) shields() (columns []string, ok bool) {
	for _, lacks := range p.exposures {
		if len(lacks) == 0 {
			return nil, false
		}
		if !slices.ContainsFunc(lacks, func(name string) bool { return slices.Contains(columns, name) }) {
			columns = append(columns, lacks[0])
		}
	}
	return columns, true
}

// shielding is a condition that always holds, but for which columns are read.
func shielding(columns []string) string {
	var list []string
	for _, name := range columns {
		list = append(list, "COALESCE(CHAR_LENGTH("+quote(name)+"), 0) >= 0")
	}
	if len(list) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(list, " AND ")
}

// generatedFrom reports whether an expression reads a protected column, and of
// what class. What does not parse reads all.
func generatedFrom(expression string, classes map[string]columnClass) (class masking.Class, reads bool) {
	node, err := parse("SELECT " + expression)
	if err != nil {
		return masking.Class{}, true
	}
	v := &references{}
	node.Accept(v)
	for _, ref := range v.found {
		for name, c := range classes {
			if strings.EqualFold(name, ref.Name.Name.O) {
				class, reads = c.Class, true
			}
		}
	}
	return class, reads
}

// protectView derives the classes of a view's columns from its definition: a
// plain column keeps its class, an expression over protected columns is
// redacted. Which rows a view shows is its owner's decision.
func (a *analysis) protectView(t *table, p *protection) {
	refused := func(why string) {
		p.err = unsupported("the view "+word(t.name)+" "+why, "Read the tables themselves.")
	}
	if t.definition == "" {
		p.err = unsupported("the definition of the view "+word(t.name)+" is hidden from the gateway",
			"Its administrator grants SHOW VIEW on it to the gateway's read role.")
		return
	}
	node, err := parse(t.definition)
	if err != nil {
		refused("has a definition that is not understood")
		return
	}
	inner := &analysis{cat: a.cat, st: &connectors.Statement{}, views: a.views + 1, strict: true,
		in:      connectors.Input{Classes: a.in.Classes, Today: a.in.Today},
		stamped: map[string]bool{}, notes: map[string]bool{}, understood: map[ast.Node]bool{}}
	columns, err := inner.query(node, nil, false)
	if err != nil || len(columns) != len(t.columns) {
		refused("is not understood, or reads what cannot be read through the gateway")
		return
	}
	for _, f := range inner.st.Functions {
		if !viewFunctions[f.Class] {
			refused("calls " + word(f.Name))
			return
		}
	}
	p.decides = connectors.FirstUse(inner.decides)
	p.ordered = inner.ranged || len(p.decides) > 0
	for name := range inner.stamped {
		one := a.cat.tables[a.cat.tableKey(name)]
		p.relies = append(p.relies, one)
		p.ordered = p.ordered || inner.protection(one).ordered
	}
	for _, src := range inner.rewrites {
		if !src.aside {
			p.exposures = append(p.exposures, t.exposedThrough(src, columns, inner.protection(src.table).exposures)...)
		}
	}
	for i, c := range columns {
		name := t.columns[i].name
		switch {
		case c.class == nil:
			if class, ok := a.configured(t, name); ok {
				p.classes[name] = columnClass{Class: class}
			}
		case c.plain:
			p.classes[name] = columnClass{Class: *c.class, computed: c.computed}
		default:
			p.classes[name] = columnClass{Class: c.class.Redacted(), computed: true}
		}
	}
}

// viewFunctions are what a view may call: its owner chose them. What runs SQL
// or leaves the database hides what the view reads.
var viewFunctions = map[connectors.FunctionClass]bool{
	connectors.FunctionHarmless: true, connectors.FunctionCatalog: true, connectors.FunctionSession: true, connectors.FunctionSetting: true,
}

// mark is how far the analysis has come.
type mark struct{ uses, decides int }

func (a *analysis) mark() mark { return mark{len(a.st.Uses), len(a.decides)} }

// since are the uses after a mark.
func (a *analysis) since(m mark) []connectors.Use {
	return connectors.FirstUse(a.st.Uses[m.uses:], a.decides[m.decides:])
}

// tainted marks what an expression gives if a protected column went into it
// anywhere: uses are those of the expression.
func (a *analysis) tainted(c column, uses []connectors.Use) column {
	c.plain, c.ref = false, nil
	if c.class == nil && len(uses) > 0 {
		class := masking.Class{Name: uses[0].Class}.Redacted()
		c.class, c.origin = &class, uses[0].Column
	}
	return c
}

// taintRows marks the columns of sources that an outer join gives NULL where it
// finds no row, which tells of what decides about the rows.
func (a *analysis) taintRows(sources []*source, decides []connectors.Use) {
	if !a.strict || len(decides) == 0 {
		return
	}
	for _, src := range sources {
		for i := range src.columns {
			src.columns[i] = a.tainted(src.columns[i], decides)
		}
	}
}

// expr analyses an expression. What it gives back tells whether protected
// columns went into it; kind is where it stands. In a definition, whatever a
// protected column is part of is protected.
func (a *analysis) expr(e ast.ExprNode, s *scope, kind connectors.UseKind, order lookupOrder) (column, error) {
	if _, bare := e.(*ast.ColumnNameExpr); !a.strict || bare {
		return a.expression(e, s, kind, order)
	}
	before := a.mark()
	c, err := a.expression(e, s, kind, order)
	return a.tainted(c, a.since(before)), err
}
