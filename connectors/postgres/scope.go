package postgres

import (
	"fmt"
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
	gateway bool // the gateway masks it
	count   bool // a count over protected relations
}

// hides reports whether comparing the column would compare a mask that hides
// the value.
func (c *column) hides() bool { return c.class != nil && !c.class.Mask.Generalises() }

// source is one item of a FROM clause.
type source struct {
	name     string
	schema   string // of a base relation that has no alias
	columns  []column
	relation *relation
	node     *pg.Node // the RangeVar to be replaced
	only     bool
	wrapped  bool
	raw      map[string]string // hidden names by column
	filtered bool
	rows     bool
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
	ctes    map[string][]column
	rowsOut bool
	links   [][2]*source
}

func (s *scope) cte(name string) ([]column, bool) {
	for ; s != nil; s = s.parent {
		if cols, ok := s.ctes[name]; ok {
			return cols, true
		}
	}
	return nil, false
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
	own    bool    // of the level that was asked, not of an outer one
}

// names takes a column reference apart; star is true for t.*.
func names(ref *pg.ColumnRef) (parts []string, star bool) {
	for _, f := range ref.Fields {
		switch n := f.Node.(type) {
		case *pg.Node_String_:
			parts = append(parts, n.String_.Sval)
		case *pg.Node_AStar:
			star = true
		}
	}
	return parts, star
}

// resolve finds what a column name means, from the inside out.
func (a *analysis) resolve(s *scope, ref *pg.ColumnRef) (found, error) {
	parts, _ := names(ref)
	if len(parts) == 0 || len(parts) > 3 {
		return found{}, unsupported("a column reference is not understood", "Write column, or table.column.")
	}
	name := parts[len(parts)-1]
	if strings.HasPrefix(name, hiddenPrefix) {
		return found{}, unsupported("names that begin with "+hiddenPrefix+" are reserved", "")
	}
	for level := s; level != nil; level = level.parent {
		own := level == s
		if len(parts) == 1 {
			if c := level.merged[name]; c != nil {
				return found{c, nil, own}, nil
			}
		}
		var hits []found
		for _, src := range level.sources {
			if len(parts) > 1 && (src.name != parts[len(parts)-2] || (len(parts) == 3 && src.schema != parts[0])) {
				continue
			}
			for i := range src.columns {
				if src.columns[i].name == name {
					hits = append(hits, found{&src.columns[i], src, own})
				}
			}
		}
		switch {
		case len(hits) > 1:
			return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42702",
				Message: "the column name is ambiguous: " + word(name), Hint: "Qualify it with the table's alias."}
		case len(hits) == 1:
			return hits[0], nil
		}
		for _, src := range level.sources {
			if len(parts) == 1 && src.name == name {
				return found{}, unsupported("whole-row references are not understood: "+word(name), "Name the columns.")
			}
		}
	}
	return found{}, a.noColumn(s, name, int(ref.Location))
}

func (a *analysis) noColumn(s *scope, name string, at int) error {
	var all []string
	for level := s; level != nil; level = level.parent {
		for _, src := range level.sources {
			for _, c := range src.columns {
				all = append(all, c.name)
			}
		}
	}
	return &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42703", Message: "no such column: " + word(name),
		Hint: suggest(name, all), Position: a.position(at)}
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
		Hint: suggest(rv.Relname, all), Position: a.position(int(rv.Location))}
}

// readable refuses relations whose rows this package does not understand, and
// marks catalogs that can hold values for policy to deny.
func (a *analysis) readable(r *relation) (denied string, err error) {
	if r.kind == "catalog" {
		if systemRelations[r.schema+"."+r.name] {
			return "", nil
		}
		return "this system relation can hold data values or secrets", nil
	}
	hint := "Read the tables themselves."
	switch r.kind {
	case "table", "partitioned_table":
		for _, oid := range r.kin {
			if k := a.cat.byOID[oid]; k == nil || (a.protected(k) && !a.protected(r)) {
				return "", unsupported(word(r.name)+" shares rows with a relation that has protected columns", "Read that one.")
			}
		}
		return "", nil
	case "view":
		if a.reaches(r, map[int64]bool{}) {
			return "", unsupported("the view "+word(r.name)+" reaches a table with protected columns, or is not understood", hint)
		}
		return "", nil
	}
	return "", unsupported(fmt.Sprintf("%s is a %s, which is not understood", word(r.name), strings.ReplaceAll(r.kind, "_", " ")), hint)
}

// reaches reports whether a view's rules lead to a protected relation, or to
// something that is not understood.
func (a *analysis) reaches(r *relation, seen map[int64]bool) bool {
	if seen[r.oid] || r.opaque || len(seen) > 50 {
		return true
	}
	seen[r.oid] = true
	for _, oid := range r.reads {
		inner := a.cat.byOID[oid]
		if inner == nil || a.protected(inner) {
			return true
		}
		a.stamped[inner.schema+"\x00"+inner.name] = inner.stamp
		if inner.kind == "view" {
			if a.reaches(inner, seen) {
				return true
			}
			continue
		}
		if denied, err := a.readable(inner); denied != "" || err != nil {
			return true
		}
	}
	return false
}

// protected reports whether a relation has classified columns.
func (a *analysis) protected(r *relation) bool {
	for _, c := range r.columns {
		if _, ok := a.in.Classes.Class(masking.ColumnRef{Schema: r.schema, Relation: r.name, Column: c.name}); ok {
			return true
		}
	}
	return false
}

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

// suggest proposes the nearest of some names.
func suggest(name string, among []string) string {
	best, distance := "", 4
	for _, candidate := range among {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance && d <= len(candidate)/2 {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "Did you mean " + best + "?"
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		last := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			last, row[j] = row[j], min(row[j]+1, row[j-1]+1, last+cost)
		}
	}
	return row[len(b)]
}
