package postgres

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

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
	// it; plain tells which. origin is that column.
	class   *masking.Class
	plain   bool
	origin  masking.ColumnRef
	gateway bool   // the gateway masks it
	typ     string // of what it then is, if not text
	// computed is true for a column that is itself an expression over protected
	// columns, of a view or generated.
	computed bool
	count    bool // a count over protected relations
	used     bool // the statement names it, so its derived table must have it
	// base is the reference to the relation that it is a column of, and via the
	// source of the level at hand through which it came.
	base, via *source
	counts    []int
	cell      bool // a count that the rewriting added
}

// hides reports whether comparing the column would compare a mask that hides
// the value.
func (c *column) hides() bool { return c.class != nil && !c.class.Mask.Generalises() }

// plainOf reports whether it is a column of one relation, and nothing else.
func (c *column) plainOf() bool { return c.base != nil && c.plain }

// source is one item of a FROM clause.
type source struct {
	name     string
	schema   string // of a base relation that has no alias
	columns  []column
	relation *relation
	node     *pg.Node // the RangeVar to be replaced
	only     bool
	wrapped  bool
	view     bool              // it is read through its masked view
	raw      map[string]string // hidden names by column
	dated    map[string]string // of dates with their person
	movedBy  relationColumn    // the person of dated
	filtered bool
	rows     bool
	outlet   *outlet   // of what it stands for
	within   []*outlet // it is read inside of these
	person   bool      // its rows are one person's, by a lookup
	// covered is true once a join's alias hides the name.
	covered bool
	// target is true for the relation that a write writes.
	target bool
	// excluded is true for the row that ON CONFLICT is about.
	excluded bool
	// aside is true for the alias of USING, whose columns are seen under it only.
	aside bool
	// whole counts how often the statement uses it as one value, or by position.
	whole int
	// beneath are the sources of a join that this one is the alias of.
	beneath []*source
}

// asValue counts uses as one value, which shows every column beneath too.
func (src *source) asValue(n int) {
	src.whole += n
	for _, inner := range src.beneath {
		inner.asValue(n)
	}
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

// useAll notes that every column is named, if only by position or by chance.
func (src *source) useAll() {
	for i := range src.columns {
		src.columns[i].used = true
	}
}

// shown is one column that * stands for.
type shown struct {
	name   string
	source *source // nil for a column that USING merged
}

// scope is what names mean at one level of a query.
type scope struct {
	parent  *scope
	sources []*source
	merged  map[string]*column // by USING or NATURAL
	stars   []shown
	fields  []column // the select list, for ORDER BY and GROUP BY
	ctes    map[string]cte
	windows map[string]*pg.WindowDef // that WINDOW names
	rowsOut bool
	// united is true around the parts of a set operation that keeps no duplicates.
	united bool
	links  [][2]*source
	equal  [][2]found // by USING or NATURAL
}

// cte is a common table expression.
type cte struct {
	columns []column
	outlet  *outlet
	decides []connectors.Use // see analysis
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

func (s *scope) cte(name string) (cte, bool) {
	for ; s != nil; s = s.parent {
		if one, ok := s.ctes[name]; ok {
			return one, true
		}
	}
	return cte{}, false
}

func (s *scope) field(name string) *column {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

// found is a resolved reference.
type found struct {
	column *column
	source *source // nil for a merged column or a select-list alias
	level  *scope
	own    bool // of the level that was asked, not of an outer one
	whole  bool // the source itself, as one value
}

// names takes a column reference apart; star is true for t.*.
func names(ref *pg.ColumnRef) (parts []string, star bool) {
	for _, f := range ref.GetFields() {
		switch n := f.Node.(type) {
		case *pg.Node_String_:
			parts = append(parts, n.String_.Sval)
		case *pg.Node_AStar:
			star = true
		}
	}
	return parts, star
}

// resolve finds what a column name means, from the inside out. As on the server,
// a column of any level comes before a source of that name as one value, and of a
// qualified name only the nearest source is asked.
func (a *analysis) resolve(s *scope, ref *pg.ColumnRef) (found, error) {
	f, err := a.lookUp(s, ref)
	if err == nil {
		f.own = f.level == s
		a.levels = append(a.levels, f.level)
	}
	return f, err
}

func (a *analysis) lookUp(s *scope, ref *pg.ColumnRef) (found, error) {
	parts, _ := names(ref)
	if len(parts) == 0 || len(parts) > 3 {
		return found{}, unsupported("a column reference is not understood", "Write column, or table.column.")
	}
	name := parts[len(parts)-1]
	if strings.HasPrefix(name, hiddenPrefix) {
		return found{}, unsupported("names that begin with "+hiddenPrefix+" are reserved", "")
	}
	for level := s; level != nil; level = level.parent {
		if len(parts) == 1 {
			if c := level.merged[name]; c != nil {
				return found{column: c, level: level}, nil
			}
		}
		var hits []found
		for _, src := range level.sources {
			if src.covered || src.aside && len(parts) == 1 || len(parts) > 1 && !src.is(parts) {
				continue
			}
			for i := range src.columns {
				if src.columns[i].name == name {
					hits = append(hits, found{column: &src.columns[i], source: src, level: level})
				}
			}
		}
		switch {
		case len(hits) > 1:
			return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42702",
				Message: "the column name is ambiguous: " + word(name), Hint: "Qualify it with the table's alias.",
				Position: a.position(int(ref.Location))}
		case len(hits) == 1:
			hits[0].column.used = true
			return hits[0], nil
		}
		if systemColumns[name] {
			if f, err := systemColumn(level, parts); err != nil || f.column != nil {
				return f, err
			}
		}
		if len(parts) > 1 && slices.ContainsFunc(level.sources, func(src *source) bool { return src.is(parts) }) {
			break
		}
	}
	for level := s; level != nil && len(parts) == 1; level = level.parent {
		for _, src := range level.sources {
			if src.name == name && !src.covered {
				return a.wholeRow(src, level)
			}
		}
	}
	return found{}, a.noColumn(s, parts, int(ref.Location))
}

// is reports whether a qualified column name is about the source.
func (src *source) is(parts []string) bool {
	return !src.covered && src.name == parts[len(parts)-2] && (len(parts) == 2 || src.schema == parts[0])
}

// systemColumns are those that the server keeps of each row of a table.
var systemColumns = set("tableoid ctid xmin xmax cmin cmax")

// systemColumn finds a system column at one level. Of a protected table there is
// none: where a row lies depends on how long its values are.
func systemColumn(level *scope, parts []string) (f found, err error) {
	name := parts[len(parts)-1]
	for _, src := range level.sources {
		if src.covered || src.relation == nil || src.relation.kind == "view" || src.relation.kind == "catalog" ||
			len(parts) > 1 && !src.is(parts) {
			continue
		}
		switch {
		case src.wrapped || slices.ContainsFunc(src.columns, func(c column) bool { return c.class != nil }):
			return found{}, unsupported("the system column "+name+" of a table with protected columns tells of their values",
				"Use the primary key; for the partition that a row is in, read the partition itself.")
		case f.column != nil:
			return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42702",
				Message: "the column name is ambiguous: " + name, Hint: "Qualify it with the table's alias."}
		}
		f = found{column: &column{name: name}, source: src, level: level}
	}
	return f, nil
}

// row finds the source that p.* names inside an expression.
func (a *analysis) row(s *scope, name string) (found, error) {
	for level := s; level != nil; level = level.parent {
		for _, src := range level.sources {
			if src.name == name && !src.covered {
				return a.wholeRow(src, level)
			}
		}
	}
	return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42P01", Message: "no such table: " + word(name)}
}

// wholeRow is a source used as one value, as in row_to_json(p).
func (a *analysis) wholeRow(src *source, level *scope) (found, error) {
	if src.target {
		return found{}, unsupported("the table that is written cannot be used as one value", "Name its columns.")
	}
	src.asValue(1)
	src.useAll()
	c := column{name: src.name}
	for _, part := range src.columns {
		if part.class != nil && (c.class == nil || part.hides()) {
			c.class, c.origin = part.class, part.origin
		}
	}
	return found{column: &c, source: src, level: level, whole: true}, nil
}

func (a *analysis) noColumn(s *scope, parts []string, at int) error {
	name, table := parts[len(parts)-1], ""
	if len(parts) > 1 {
		table = parts[len(parts)-2]
	}
	var columns, tables []string
	for level := s; level != nil; level = level.parent {
		for _, src := range level.sources {
			tables = append(tables, src.name)
			for _, c := range src.columns {
				if table == "" || src.name == table {
					columns = append(columns, c.name)
				}
			}
		}
	}
	if table != "" && !slices.Contains(tables, table) {
		return &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42P01", Message: "no such table in FROM: " + word(table),
			Hint: connectors.Suggest(table, tables), Position: a.position(at)}
	}
	return &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42703", Message: "no such column: " + word(name),
		Hint: connectors.ColumnHint(name, columns, a.cat.Tables()), Position: a.position(at)}
}

// position is the 1-based character of a byte offset in the client's text; with
// named parameters the parser saw another text, and nothing is said.
func (a *analysis) position(offset int) int {
	if a.in.Names != nil || offset < 0 || offset > len(a.in.Text) {
		return 0
	}
	return len([]rune(a.in.Text[:offset])) + 1
}

// relationNamed finds a relation by name as the server would.
func (a *analysis) relationNamed(rv *pg.RangeVar) (*relation, error) {
	if rv.Catalogname != "" {
		return nil, unsupported("names across databases are not understood", "")
	}
	if rv.Relpersistence == "t" {
		return nil, unsupported("temporary tables are not possible through the gateway", "")
	}
	schemas := append([]string{"pg_catalog"}, a.in.SearchPath...)
	if rv.Schemaname != "" {
		schemas = []string{rv.Schemaname}
	}
	for _, schema := range schemas {
		if r := a.cat.relations[schema+"."+rv.Relname]; r != nil {
			return r, nil
		}
	}
	var all []string
	for _, r := range a.cat.relations {
		if a.cat.inPath(r.schema) {
			all = append(all, r.name)
		}
	}
	return nil, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42P01", Message: "no such table: " + word(rv.Relname),
		Hint: connectors.Suggest(rv.Relname, all), Position: a.position(int(rv.Location))}
}

// protected reports whether a relation has protected columns.
func (a *analysis) protected(r *relation) bool { return len(a.protection(r).classes) > 0 }

// word shows a name in a message only if it is a plain identifier.
func word(name string) string {
	if name == "" || len(name) > 63 {
		return "(not a plain name)"
	}
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return "(not a plain name)"
		}
	}
	return name
}
