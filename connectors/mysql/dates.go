package mysql

import (
	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/chaperone-sql/chaperone/masking"
)

// A date that the gateway shifts comes with its person in one text, so that no
// output is added: masking.Tokenizer takes it apart again.

// personBeside is the one column of a date's table that names the person whom
// the row is about. Of two, none is.
func (a *analysis) personBeside(f found) (person tableColumn, ok bool) {
	if f.source == nil || f.source.table == nil {
		return person, false
	}
	t := f.source.table
	known := a.protection(t)
	persons, date := 0, false
	for _, c := range t.columns {
		if c.name == f.column.name {
			date = c.dataType == "date" || c.dataType == "datetime" || c.dataType == "timestamp"
		}
		_, protected := known.classes[c.name]
		if (isText(c.dataType) || isNumber(c.dataType)) && !protected &&
			a.in.Classes.Person(masking.ColumnRef{Schema: t.schema, Relation: t.name, Column: c.name}) {
			person = c
			persons++
		}
	}
	return person, persons == 1 && date
}

// carryDated makes a reference see the date with its person, under a hidden
// name, and returns the date's type.
func (a *analysis) carryDated(ref *ast.ColumnNameExpr, f found, person tableColumn) (typ string) {
	a.pointed = true
	src, name := f.source, f.column.name
	if src.dated == nil {
		src.dated = map[string]string{}
	}
	hidden, ok := src.dated[name]
	if !ok {
		hidden = a.hide()
		src.dated[name], src.movedBy = hidden, person
	}
	ref.Name.Table, ref.Name.Name = ast.NewCIStr(src.name), ast.NewCIStr(hidden)
	for _, c := range src.table.columns {
		if c.name == name {
			typ = c.dataType
		}
	}
	return typ
}

// dated is a date and its person; NULL if one of them is. A TIMESTAMP is UTC, as
// the session's time zone is.
func dated(c, person tableColumn) string {
	mark := "|"
	if c.dataType == "timestamp" {
		mark = "+00|"
	}
	return "CONCAT(" + quote(c.name) + ", " + literal(mark) + ", " + quote(person.name) + ")"
}
