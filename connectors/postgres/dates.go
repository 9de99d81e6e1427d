package postgres

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/masking"
)

// A date that the gateway shifts comes with its person in one text, so that no
// output is added: masking.Tokenizer takes it apart again.

// personBeside is the one column of a date's relation that names the person whom
// the row is about. Of two, none is.
func (a *analysis) personBeside(f found) (person relationColumn, ok bool) {
	if f.source == nil || f.source.relation == nil {
		return person, false
	}
	r := f.source.relation
	known := a.protection(r)
	persons, date := 0, false
	for _, c := range r.columns {
		if c.name == f.column.origin.Column {
			date = c.base == "date" || c.base == "timestamp" || c.base == "timestamptz"
		}
		_, protected := known.classes[c.name]
		if types[c.base] && !protected && a.in.Classes.Person(masking.ColumnRef{Schema: r.schema, Relation: r.name, Column: c.name}) {
			person = c
			persons++
		}
	}
	return person, persons == 1 && date
}

// pointDated makes a reference see the date with its person, under a hidden
// name, and returns the date's type.
func (a *analysis) pointDated(ref *pg.ColumnRef, f found, person relationColumn) (typ string) {
	a.pointed = true
	name := f.column.origin.Column
	if f.source.dated == nil {
		f.source.dated = map[string]string{}
	}
	hidden, ok := f.source.dated[name]
	if !ok {
		hidden = fmt.Sprintf("%s%d", hiddenPrefix, a.hidden)
		a.hidden++
		f.source.dated[name], f.source.movedBy = hidden, person
	}
	ref.Fields = columnRef(f.source.name, hidden).Fields
	for _, c := range f.source.relation.columns {
		if c.name == name {
			typ = canonical(c.base)
		}
	}
	return typ
}

// dated is a date and its person; NULL if one of them is.
func dated(c, person relationColumn) string {
	return quote(c.name) + "::pg_catalog.text || '|'::pg_catalog.text || " + quote(person.name) + "::pg_catalog.text"
}
