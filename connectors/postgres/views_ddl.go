package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// MaskedViews are the views that stand for the relations of the search path: the
// masks of this package over the classified columns, the others as they are. A
// relation that the gateway would not read has none.
func MaskedViews(cat connectors.Catalog, classes *masking.Classification, schema string) ([]connectors.MaskedView, error) {
	c, ok := cat.(*catalog)
	if !ok {
		return nil, fmt.Errorf("the catalog is of another engine")
	}
	if slices.Contains(c.searchPath, schema) {
		return nil, fmt.Errorf("the masked schema %s is in the search path; masks go over the base relations", schema)
	}
	a := &analysis{cat: c, in: connectors.Input{Classes: classes}, st: &connectors.Statement{}, stamped: map[string]string{}, notes: map[string]bool{}}
	var views []connectors.MaskedView
	for _, r := range c.relations {
		if r.kind == "catalog" || !c.inPath(r.schema) {
			continue
		}
		known := a.protection(r)
		v := connectors.MaskedView{BaseSchema: r.schema, Name: r.name, Protected: len(known.classes) > 0}
		switch {
		case known.err != nil:
			v.Skipped = known.err.Error()
		case known.denied != "":
			v.Skipped = known.denied
		case len(known.decides) > 0:
			v.Skipped = "its definition compares protected columns, so the order of its rows could tell them"
		case c.shadowed(r):
			v.Skipped = "an earlier schema of the search path has a relation of this name"
		default:
			v.Select = a.viewText(r)
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(x, y connectors.MaskedView) int {
		return strings.Compare(x.BaseSchema+"."+x.Name, y.BaseSchema+"."+y.Name)
	})
	return views, nil
}

// viewText is the SELECT of a relation's masked view.
func (a *analysis) viewText(r *relation) string {
	var list []string
	known := a.protection(r)
	for _, c := range r.columns {
		class, ok := known.classes[c.name]
		switch {
		case !ok:
			list = append(list, quote(c.name))
		case class.computed:
			list = append(list, a.computed(c)+" AS "+quote(c.name))
		case class.Mask.Kind == masking.BirthYear:
			list = append(list, a.birthYear(class.Class, c)+" AS "+quote(c.name))
		default:
			list = append(list, a.mask(class.Class, c)+" AS "+quote(c.name))
		}
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + quote(r.schema) + "." + quote(r.name)
}

// birthYear is the mask with the server's own date: a view lives longer than a
// day. The client's time zone has no part in it.
func (a *analysis) birthYear(class masking.Class, c relationColumn) string {
	class.Mask.Kind = masking.Year
	first := a.masks().year(class, c, quote(c.name))
	turned := "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::pg_catalog.date - '90 years'::pg_catalog.interval" // a timestamp
	born, oldest := turned+" + '1 day'::pg_catalog.interval", "pg_catalog.date_trunc('year', "+turned+")"
	switch c.base {
	case "date":
		born, oldest = "("+born+")::pg_catalog.date", oldest+"::pg_catalog.date"
	case "timestamptz":
		born, oldest = "pg_catalog.timezone('UTC', "+born+")", "pg_catalog.timezone('UTC', "+oldest+")"
	case "timestamp":
	default:
		return null(c)
	}
	return "CASE WHEN " + quote(c.name) + " < " + born + " THEN " + oldest + " ELSE " + first + " END"
}

const commentPrefix = "chaperone masks "

// viewComment is the comment of an installed view; it tells what it was made of.
func viewComment(v connectors.MaskedView) string { return commentPrefix + v.Digest() }
