package mysql

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// column is what is known of one column of a source or result. Where its values
// come from is followed for honesty only: safety is in the rewriting, which
// masks at the source whatever follows.
type column struct {
	name string
	// ref is the base column if this is a plain one.
	ref *masking.ColumnRef
	// class is the class of the protected column that it is, or that went into
	// it; plain tells which.
	class *masking.Class
	plain bool
	// origin is the protected column that class is of.
	origin masking.ColumnRef
	// computed is true for a column that is itself an expression over protected
	// columns, of a view or generated.
	computed bool
	// gateway is true if the gateway masks it.
	gateway bool
	// typ is the type of what it then is, if not text.
	typ string
	// count is true for a count over protected relations.
	count  bool
	counts []int
	cell   bool // a count that the rewriting added
	// used is true once the statement names it, so that its derived table must
	// have it.
	used bool
	// tested is true once a condition names it.
	tested bool
	// base is the reference to the table that it is a column of, and via the
	// source of the level at hand through which it came.
	base, via *source
}

// rowOf is a reference to a table as seen through a source.
type rowOf struct{ base, via *source }

// hides reports whether comparing the column would compare a mask that hides
// the value.
func (c *column) hides() bool { return c.class != nil && !c.class.Mask.Generalises() }

// source is one item of a FROM clause.
type source struct {
	name    string // alias, or the table's own name
	columns []column
	table   *table // of a base table
	ref     *ast.TableSource
	wrapped bool
	// target is true for the table that a write writes.
	target bool
	// raw maps columns to the hidden name under which a raw one is added.
	raw map[string]string
	// dated are those of dates with their person, which is movedBy.
	dated   map[string]string
	movedBy tableColumn
	// sought are the columns whose raw value is compared.
	sought map[string]bool
	// filtered, and joined to which others, for the statement's shape.
	filtered bool
	rows     bool      // its rows can reach the result
	outlet   *outlet   // of what it stands for
	within   []*outlet // it is read inside of these
	person   bool      // its rows are one person's, by a lookup
	aside    bool      // of a subquery that stands for a value: no rows come in its order
}

// reaches reports whether rows of a source can reach the result, also through
// the common table expressions that it is in.
func (src *source) reaches() bool {
	return src.rows && !slices.ContainsFunc(src.within, func(r *outlet) bool { return !r.out })
}

// loose reports whether its rows can reach the result without a condition that
// chooses among them, its own or one on what they are read through.
func (src *source) loose() bool {
	return src.rows && !src.filtered && !slices.ContainsFunc(src.within, func(o *outlet) bool { return !o.loose() })
}

// useAll notes that every column is named, if only by chance.
func (src *source) useAll() {
	for i := range src.columns {
		src.columns[i].used = true
	}
}

// shown is one column that * stands for.
type shown struct {
	name   string
	source *source // nil for a column that USING merged
	column *column
}

// scope is what names mean at one level of a query.
type scope struct {
	parent  *scope
	sources []*source
	// merged are columns that USING or NATURAL made one, by lower-case name.
	merged map[string]bool
	stars  []shown
	// fields are the select list's columns, for ORDER BY, GROUP BY and HAVING.
	fields []column
	ctes   map[string]cte
	// nested is the scope around a subquery or derived table, body that around
	// the query of a common table expression.
	nested, body bool
	windows      map[string]*ast.WindowSpec // that WINDOW names
	// rowsOut is true if rows of this level can reach the result.
	rowsOut bool
	// united is true around the parts of a set operation that keeps no duplicates.
	united bool
	links  [][2]*source
	equal  [][2]found // by USING or NATURAL
}

// cte is a common table expression: what it has, and the name under which it is
// sent.
type cte struct {
	columns []column
	hidden  string
	outlet  *outlet
	decides []connectors.Use // see analysis
	// far is true if MariaDB does not find it from here: a WITH of a derived
	// table or subquery does not see those outside.
	far bool
}

// outlet is where rows of a common table expression or a derived table go.
type outlet struct {
	// out is true if they are read where rows can reach the result.
	out bool
	// open is true of what reads itself: nothing is known to filter it.
	open    bool
	readers []*source
	// single is true if there is one row at most; summed if rows are summaries.
	single, summed bool
	// people is true if rows of protected relations are read for it.
	people bool
}

// loose reports whether rows reach the result that no condition chose.
func (o *outlet) loose() bool { return o.open || slices.ContainsFunc(o.readers, (*source).loose) }

// reading notes a reference to what has an outlet.
func (a *analysis) reading(src *source, o *outlet) *source {
	src.outlet, o.readers, a.reads = o, append(o.readers, src), append(a.reads, src)
	return src
}

// enclose notes that what was read since is read through an outlet.
func (a *analysis) enclose(o *outlet, rewrites, reads int) {
	for _, src := range slices.Concat(a.rewrites[rewrites:], a.reads[reads:]) {
		src.within = append(src.within, o)
		o.people = o.people || src.wrapped || src.outlet != nil && src.outlet.people
	}
}

// multiplies reports whether two sources of more than one row each are joined by
// no condition, also not through others.
func (s *scope) multiplies() bool {
	var many []*source
	for _, src := range s.sources {
		if src.outlet == nil || !src.outlet.single {
			many = append(many, src)
		}
	}
	return !connectors.Connected(many, s.links)
}

// visibleCTEs are the common table expressions in sight, inner ones first.
func (s *scope) visibleCTEs() map[string]cte {
	out := map[string]cte{}
	body, far := false, false
	for ; s != nil; s = s.parent {
		far = far || body && s.nested
		for name, one := range s.ctes {
			if _, ok := out[name]; !ok {
				one.far = one.far || far
				out[name] = one
			}
		}
		body = body || s.body
	}
	return out
}

// where in a select list's order of names a reference stands.
type lookupOrder int

const (
	fromOnly lookupOrder = iota
	fromFirst
	fieldsFirst
)

// found is a resolved reference.
type found struct {
	column *column
	source *source // nil for a select-list alias
	own    bool    // of the level that was asked, not of an outer one
	merged bool    // it stands for several, by USING or NATURAL
}

// resolve finds what a column name means, from the inside out.
func (a *analysis) resolve(s *scope, n *ast.ColumnName, order lookupOrder) (found, error) {
	if strings.HasPrefix(strings.ToLower(n.Name.O), hiddenPrefix) {
		return found{}, unsupported("names that begin with "+hiddenPrefix+" are reserved", "")
	}
	if n.Schema.L != "" && !strings.EqualFold(n.Schema.O, a.cat.database) {
		return found{}, unresolved("no such database for a column", "")
	}
	for level := s; level != nil; level = level.parent {
		own := level == s
		if own && n.Table.L == "" && order == fieldsFirst {
			if c := level.field(n.Name.O); c != nil {
				return found{column: c, own: true}, nil
			}
		}
		var hits []found
		for _, src := range level.sources {
			if n.Table.L != "" && !a.sameName(src.name, n.Table.O) {
				continue
			}
			for i := range src.columns {
				if sameColumn(src.columns[i].name, n.Name.O) {
					hits = append(hits, found{column: &src.columns[i], source: src, own: own})
				}
			}
		}
		if len(hits) > 1 && (n.Table.L != "" || !level.merged[n.Name.L]) {
			return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "23000",
				Message: "the column name is ambiguous: " + word(n.Name.O), Hint: "Qualify it with the table's alias."}
		}
		for _, hit := range hits { // several are merged
			hit.column.used = true
		}
		if len(hits) > 0 {
			hits[0].merged = len(hits) > 1
			return hits[0], nil
		}
		if own && n.Table.L == "" && order == fromFirst {
			if c := level.field(n.Name.O); c != nil {
				return found{column: c, own: true}, nil
			}
		}
	}
	return found{}, a.noColumn(s, n)
}

func (s *scope) field(name string) *column {
	for i := range s.fields {
		if sameColumn(s.fields[i].name, name) {
			return &s.fields[i]
		}
	}
	return nil
}

// sameColumn compares names that ignore case. Beyond ASCII the server's folding is not
// Unicode's, to which s and ſ are alike: there names must be spelled alike.
func sameColumn(x, y string) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range len(x) {
		if lower(x[i]) != lower(y[i]) {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func (a *analysis) sameName(x, y string) bool {
	if a.cat.fold {
		return sameColumn(x, y)
	}
	return x == y
}

func (a *analysis) noColumn(s *scope, n *ast.ColumnName) error {
	var names []string
	for level := s; level != nil; level = level.parent {
		for _, src := range level.sources {
			for _, c := range src.columns {
				names = append(names, c.name)
			}
		}
	}
	hint := suggest(n.Name.O, names)
	if dataStatistics[n.Name.L] {
		hint = "The server's statistics of data are not shown. Use COUNT(*) on the table."
	}
	return &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42S22", Message: "no such column: " + word(n.Name.O), Hint: hint}
}

// tableNamed finds a table or view of the database, or an information_schema
// table; what holds values or belongs to others is marked denied.
func (a *analysis) tableNamed(n *ast.TableName) (*table, error) {
	schema, name := n.Schema.O, n.Name.O
	switch {
	case schema == "" || strings.EqualFold(schema, a.cat.database):
		t, ok := a.cat.tables[a.cat.tableKey(name)]
		if !ok {
			var names []string
			for _, t := range a.cat.tables {
				names = append(names, t.name)
			}
			return nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42S02", Message: "no such table: " + word(name),
				Hint: suggest(name, names)}
		}
		return t, nil
	case strings.EqualFold(schema, infoSchema):
		if t, ok := a.cat.info[strings.ToLower(name)]; ok {
			return t, nil
		}
		return &table{schema: infoSchema, name: strings.ToLower(name), kind: "catalog"}, errDenied
	case strings.EqualFold(schema, "mysql"), strings.EqualFold(schema, "performance_schema"), strings.EqualFold(schema, "sys"):
		return &table{schema: strings.ToLower(schema), name: strings.ToLower(name), kind: "catalog"}, errDenied
	}
	return nil, unresolved("no such database", "Only the connection's own database can be read.")
}

// errDenied marks a catalog table that policy denies: it can hold values.
var errDenied = unsupported("this system table can hold data values or secrets",
	"Use information_schema.tables and information_schema.columns, or the schema endpoint.")
