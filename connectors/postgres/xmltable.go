package postgres

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/connectors"
)

// xmlTable is XMLTABLE in FROM. Its columns are made of one document.
func (a *analysis) xmlTable(t *pg.RangeTableFunc, s *scope) (*source, error) {
	document, err := a.each(append([]*pg.Node{t.Docexpr, t.Rowexpr}, t.Namespaces...), s, connectors.UseExpression)
	if err != nil {
		return nil, err
	}
	src := &source{name: "xmltable"}
	if t.Alias != nil {
		src.name = t.Alias.Aliasname
	}
	for _, n := range t.Columns {
		def := n.GetRangeTableFuncCol()
		if def == nil {
			return nil, unsupported("this form of XMLTABLE is not understood", "Give each column a type and a PATH.")
		}
		if !def.ForOrdinality {
			if err := a.typeName(def.TypeName); err != nil {
				return nil, err
			}
		}
		c, err := a.each([]*pg.Node{def.Colexpr, def.Coldefexpr}, s, connectors.UseExpression)
		if err != nil {
			return nil, err
		}
		if c.class == nil {
			c.class, c.origin = document.class, document.origin
		}
		src.columns = append(src.columns, column{name: def.Colname, class: c.class, origin: c.origin})
	}
	src.columns, err = renamed(src.columns, t.Alias.GetColnames())
	return src, err
}
