package mysql

import (
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
	// gateway is true if the gateway masks it.
	gateway bool
	// count is true for a count over protected relations.
	count bool
}

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
	// raw maps columns to the hidden name under which a raw one is added.
	raw map[string]string
	// filtered, and joined to which others, for the statement's shape.
	filtered bool
	rows     bool // its rows can reach the result
}

// scope is what names mean at one level of a query.
type scope struct {
	parent  *scope
	sources []*source
	// merged are columns that USING or NATURAL made one, by lower-case name.
	merged map[string]bool
	// fields are the select list's columns, for ORDER BY, GROUP BY and HAVING.
	fields []column
	ctes   map[string][]column
	// rowsOut is true if rows of this level can reach the result.
	rowsOut bool
	links   [][2]*source
}

// cte finds a common table expression by name.
func (s *scope) cte(name string) ([]column, bool) {
	for ; s != nil; s = s.parent {
		if cols, ok := s.ctes[strings.ToLower(name)]; ok {
			return cols, true
		}
	}
	return nil, false
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
				return found{c, nil, true}, nil
			}
		}
		var hits []found
		for _, src := range level.sources {
			if n.Table.L != "" && !a.sameName(src.name, n.Table.O) {
				continue
			}
			for i := range src.columns {
				if strings.EqualFold(src.columns[i].name, n.Name.O) {
					hits = append(hits, found{&src.columns[i], src, own})
				}
			}
		}
		if len(hits) > 1 && (n.Table.L != "" || !level.merged[n.Name.L]) {
			return found{}, &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "23000",
				Message: "the column name is ambiguous: " + word(n.Name.O), Hint: "Qualify it with the table's alias."}
		}
		if len(hits) > 0 {
			return hits[0], nil
		}
		if own && n.Table.L == "" && order == fromFirst {
			if c := level.field(n.Name.O); c != nil {
				return found{c, nil, true}, nil
			}
		}
	}
	return found{}, a.noColumn(s, n)
}

func (s *scope) field(name string) *column {
	for i := range s.fields {
		if strings.EqualFold(s.fields[i].name, name) {
			return &s.fields[i]
		}
	}
	return nil
}

func (a *analysis) sameName(x, y string) bool {
	if a.cat.fold {
		return strings.EqualFold(x, y)
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
	return &connectors.Error{Kind: connectors.KindUnresolved, SQLState: "42S22", Message: "no such column: " + word(n.Name.O),
		Hint: suggest(n.Name.O, names)}
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
