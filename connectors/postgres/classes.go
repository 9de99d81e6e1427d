package postgres

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// protection is what is known of a relation under one classification: which of
// its columns are protected, and what that knowledge rests on.
type protection struct {
	classes map[string]columnClass
	// denied is set for a catalog that can hold values, for policy to deny.
	denied string
	// err says why the relation cannot be read at all.
	err *connectors.Error
	// decides is, of a view that compares protected columns, one of those: the order
	// in which its rows come, and which there are, could tell what they hold.
	decides []connectors.Use
	// relies are the relations, besides this one, whose definitions count.
	relies []*relation
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

// protection derives what is known of a relation; it is kept with the catalog.
func (a *analysis) protection(r *relation) *protection {
	key := protectionKey{a.in.Classes.Version(), r.oid}
	if p, ok := a.cat.derived.Load(key); ok {
		return p.(*protection) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	p := &protection{classes: map[string]columnClass{}}
	if a.views > maxViews {
		p.err = unsupported("views stand on views too deeply", "Read the tables themselves.")
		return p
	}
	switch r.kind {
	case "catalog":
		if !systemRelations[r.schema+"."+r.name] {
			p.denied = "this system relation can hold data values or secrets"
		}
	case "table", "partitioned_table":
		a.protectTable(r, p)
	case "view", "materialized_view":
		a.protectView(r, p)
	default:
		p.err = unsupported(fmt.Sprintf("%s is a %s, which is not understood", word(r.name), strings.ReplaceAll(r.kind, "_", " ")),
			"Read the tables themselves.")
	}
	a.cat.derived.Store(key, p)
	return p
}

type protectionKey struct {
	classes string
	oid     int64
}

// configured is the class that the configuration gives a column.
func (a *analysis) configured(r *relation, column string) (masking.Class, bool) {
	return a.in.Classes.Class(masking.ColumnRef{Schema: r.schema, Relation: r.name, Column: column})
}

// protectTable takes a table's own classes and those of its parents, children
// and partitions, with which it shares rows; and of what its generated columns
// are made.
func (a *analysis) protectTable(r *relation, p *protection) {
	family, ok := a.family(r)
	if !ok {
		p.err = unsupported(word(r.name)+" shares rows with a relation that is not known", "Read that one.")
		return
	}
	for _, c := range r.columns {
		if class, ok := a.shared(family, c.name); ok {
			p.classes[c.name] = class
		}
	}
	if len(p.classes) > 0 && a.in.Classes.Closed() {
		for _, c := range r.columns { // one that only a child has, say
			if _, has := p.classes[c.name]; !has && c.generated == "" && !a.decided(family, c.name) {
				p.classes[c.name] = columnClass{Class: masking.Class{Name: masking.Unclassified, Mask: masking.Mask{Kind: masking.Redact}}}
			}
		}
	}
	a.protectRows(r, family, p)
	for _, member := range family {
		if member != r {
			p.relies = append(p.relies, member)
		}
		for _, c := range member.columns {
			if _, has := p.classes[c.name]; has || c.generated == "" {
				continue
			}
			if class, reads := generatedFrom(c.generated, p.classes); reads {
				p.classes[c.name] = columnClass{Class: class.Redacted(), computed: true}
			}
		}
	}
}

// protectRows protects the columns that hold whole rows of protected relations.
func (a *analysis) protectRows(r *relation, family []*relation, p *protection) {
	for _, c := range r.columns {
		if a.decided(family, c.name) {
			continue
		}
		for _, oid := range c.rowsOf {
			of := a.cat.byOID[oid]
			if _, has := p.classes[c.name]; has || of == nil {
				continue
			}
			a.views++ // a saved catalog may go in circles
			known := a.protection(of).classes
			a.views--
			for _, part := range of.columns {
				if class, protected := known[part.name]; protected {
					p.classes[c.name] = columnClass{Class: class.Redacted()}
					p.relies = append(p.relies, of)
					break
				}
			}
		}
	}
}

// shared is the class of a column that a family's relations have in common. That
// nobody decided about it in one of them counts only where nobody did in any.
func (a *analysis) shared(family []*relation, column string) (out columnClass, ok bool) {
	for _, member := range family {
		class, has := a.configured(member, column)
		switch {
		case !has || class.Name == masking.Unclassified && (ok || a.decided(family, column)):
		case !ok || out.Name == masking.Unclassified:
			out, ok = columnClass{Class: class}, true
		case out.Class != class:
			out.Class, out.computed = out.Redacted(), true
		}
	}
	return out, ok
}

// decided reports whether somebody said for one of a family's relations that a
// column is not protected.
func (a *analysis) decided(family []*relation, column string) bool {
	for _, member := range family {
		if a.in.Classes.Decided(masking.ColumnRef{Schema: member.schema, Relation: member.name, Column: column}) {
			return true
		}
	}
	return false
}

// family are the relations that share rows with r by inheritance or
// partitioning, r among them; ok is false if one of them is not known.
func (a *analysis) family(r *relation) (family []*relation, ok bool) {
	family = []*relation{r}
	seen := map[int64]bool{r.oid: true}
	for i := 0; i < len(family); i++ {
		for _, oid := range family[i].kin {
			member := a.cat.byOID[oid]
			if member == nil {
				return nil, false
			}
			if !seen[oid] {
				seen[oid] = true
				family = append(family, member)
			}
		}
	}
	return family, true
}

// generatedFrom reports whether an expression reads a protected column, and of
// what class. What does not parse reads all.
func generatedFrom(expression string, classes map[string]columnClass) (class masking.Class, reads bool) {
	tree, ok := one("SELECT " + expression)
	if !ok {
		return masking.Class{}, len(classes) > 0
	}
	visit(tree.Stmts[0].Stmt, func(n *pg.Node) bool {
		if ref := n.GetColumnRef(); ref != nil {
			parts, _ := names(ref)
			for _, part := range parts {
				if c, ok := classes[part]; ok {
					class, reads = c.Class, true
				}
			}
		}
		return true
	})
	return class, reads
}

// protectView derives the classes of a view's columns from its definition: a
// plain column keeps its class, an expression over protected columns is
// redacted. Which rows a view shows is its owner's decision.
func (a *analysis) protectView(r *relation, p *protection) {
	refused := func(why string) {
		p.err = unsupported("the view "+word(r.name)+" "+why, "Read the tables themselves.")
	}
	if r.opaque {
		refused("calls functions or operators that users defined")
		return
	}
	protected := false
	for _, oid := range r.reads {
		inner := a.cat.byOID[oid]
		if inner == nil {
			refused("reads something that is not known")
			return
		}
		a.views++
		ip := a.protection(inner)
		a.views--
		if ip.err != nil || ip.denied != "" {
			refused("reads " + word(inner.name) + ", which cannot be read through the gateway")
			return
		}
		p.relies = append(append(p.relies, inner), ip.relies...)
		p.decides = connectors.FirstUse(p.decides, ip.decides)
		protected = protected || len(ip.classes) > 0 || len(ip.decides) > 0
	}
	if protected {
		columns, decides, err := a.definition(r)
		p.decides = connectors.FirstUse(p.decides, decides)
		if err != nil || len(columns) != len(r.columns) {
			refused("reads protected columns in a way that is not understood")
			return
		}
		for i, c := range columns {
			switch {
			case c.class == nil:
			case c.plain:
				p.classes[r.columns[i].name] = columnClass{Class: *c.class, computed: c.computed}
			default:
				p.classes[r.columns[i].name] = columnClass{Class: c.class.Redacted(), computed: true}
			}
		}
	}
	for _, c := range r.columns { // what is configured for the view itself
		if class, ok := a.configured(r, c.name); ok {
			if _, derived := p.classes[c.name]; !derived {
				p.classes[c.name] = columnClass{Class: class}
			}
		}
	}
}

// viewFunctions are what a view may call: its owner chose them. What runs SQL
// or leaves the database hides what the view reads.
var viewFunctions = map[connectors.FunctionClass]bool{
	connectors.FunctionHarmless: true, connectors.FunctionCatalog: true, connectors.FunctionSession: true, connectors.FunctionSetting: true,
}

// definition analyses what a view selects, following every protected column
// into whatever it is part of. decides is as in protection.
func (a *analysis) definition(r *relation) (columns []column, decides []connectors.Use, err error) {
	inner := &analysis{cat: a.cat, st: &connectors.Statement{}, views: a.views + 1, strict: true,
		in:      connectors.Input{Classes: a.in.Classes, SearchPath: a.cat.searchPath, Today: a.in.Today},
		stamped: map[string]string{}, notes: map[string]bool{}, params: map[int32]bool{}, operated: map[string]bool{},
		counted: map[*pg.ColumnRef]bool{}, placed: map[*pg.RangeVar]bool{}}
	tree, _, err := inner.parse(r.definition)
	if err != nil {
		return nil, nil, err
	}
	columns, err = inner.query(tree.Stmts[0].Stmt.GetSelectStmt(), nil, false)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range inner.st.Functions {
		if !viewFunctions[f.Class] {
			return nil, nil, unsupported("the view calls "+f.Name, "")
		}
	}
	return columns, connectors.FirstUse(inner.decides), nil
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
