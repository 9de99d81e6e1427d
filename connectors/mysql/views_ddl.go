package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// MaskedViews are the views that stand for the tables of the database: the masks
// of this package over the classified columns, the others as they are. A table
// that the gateway would not read has none.
func MaskedViews(cat connectors.Catalog, classes *masking.Classification, schema string) ([]connectors.MaskedView, error) {
	c, ok := cat.(*catalog)
	if !ok {
		return nil, fmt.Errorf("the catalog is of another engine")
	}
	if strings.EqualFold(c.database, schema) {
		return nil, fmt.Errorf("the masked schema %s is the connection's own database", schema)
	}
	a := &analysis{cat: c, in: connectors.Input{Classes: classes}, st: &connectors.Statement{}, stamped: map[string]bool{}, notes: map[string]bool{}}
	var views []connectors.MaskedView
	for _, t := range c.tables {
		known := a.protection(t)
		v := connectors.MaskedView{BaseSchema: t.schema, Name: t.name, Protected: len(known.classes) > 0}
		switch {
		case known.err != nil:
			v.Skipped = known.err.Error()
		case known.ordered:
			v.Skipped = "its definition compares protected columns, so the order of its rows could tell them"
		}
		if v.Skipped == "" {
			v.Select = a.viewText(t)
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(x, y connectors.MaskedView) int { return strings.Compare(x.Name, y.Name) })
	return views, nil
}

// viewText is the SELECT of a table's masked view.
func (a *analysis) viewText(t *table) string {
	var list []string
	known := a.protection(t)
	for _, c := range t.columns {
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
	text := "SELECT " + strings.Join(list, ", ") + " FROM " + quote(t.schema) + "." + quote(t.name)
	shields, ok := known.shields()
	switch {
	case t.kind == "table":
		return text + ignoring(exposing(t, known, nil))
	case ok:
		return text + shielding(shields)
	}
	var places []string
	for i := range list {
		places = append(places, strconv.Itoa(i+1))
	}
	return text + " ORDER BY " + strings.Join(places, ", ") + lastRow
}

// birthYear is the mask with the server's own date: a view lives longer than a
// day. SYSDATE() is the one clock that a session cannot set (SET timestamp).
func (a *analysis) birthYear(class masking.Class, c tableColumn) string {
	typ := map[string]string{"date": "DATE", "datetime": "DATETIME", "timestamp": "DATETIME"}[c.dataType]
	class.Mask.Kind = masking.Year
	first := a.masks().year(class, c, quote(c.name))
	if typ == "" {
		return first // a NULL
	}
	const turned = "SYSDATE() - INTERVAL 90 YEAR"
	return "CASE WHEN CAST(" + quote(c.name) + " AS DATE) <= CAST(" + turned + " AS DATE) THEN CAST(CONCAT(LPAD(YEAR(" + turned +
		"), 4, '0'), '-01-01') AS " + typ + ") ELSE " + first + " END"
}
