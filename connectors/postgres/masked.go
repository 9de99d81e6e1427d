package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// A connection with a masked schema reads through the views that `chaperone
// masks apply` made there. Names are resolved on the base relations, so classes
// and policy are the same; what the derived tables read is the views. The
// gateway's own masks stay on top, written so that a mask of a mask is the mask:
// a view that somebody changed still shows nothing.

// readMasked makes a snapshot read through the views of a schema.
func (c *catalog) readMasked(schema string) {
	if schema == "" {
		return
	}
	c.masked = schema
	sum := sha256.Sum256([]byte(c.version + "\x00masked\x00" + schema))
	c.version = hex.EncodeToString(sum[:])
}

// shadowed reports whether an earlier schema of the path has the name; the
// masked schema holds the first only.
func (c *catalog) shadowed(r *relation) bool {
	for _, schema := range c.searchPath {
		if schema == r.schema {
			return false
		}
		if c.relations[schema+"."+r.name] != nil {
			return true
		}
	}
	return true // not in the path at all
}

// throughView reports whether a relation is read through its masked view, and
// stamps the view. A view that is not what the classification asks for now is
// refused: it may lack a mask.
func (a *analysis) throughView(r *relation, only bool) (bool, error) {
	if a.cat.masked == "" || r.kind == "catalog" {
		return false, nil
	}
	const hint = "The operator compares with `chaperone masks diff` and mends with `chaperone masks apply`."
	if only {
		return false, unsupported("ONLY is not possible on a connection that reads through masked views", "Leave ONLY out.")
	}
	view := a.cat.relations[a.cat.masked+"."+r.name]
	if r.schema == a.cat.masked || view == nil || view.kind != "view" || a.cat.shadowed(r) {
		return false, unsupported(word(r.name)+" has no masked view on this connection", hint)
	}
	want := connectors.MaskedView{Select: a.viewText(r)}
	same := slices.EqualFunc(view.columns, r.columns, func(v, b relationColumn) bool { return v.name == b.name })
	if !same || view.comment != viewComment(want) {
		return false, unsupported("the masked view of "+word(r.name)+" is not what the configuration asks for", hint)
	}
	a.stamped[view.schema+"\x00"+view.name] = view.stamp
	return true, nil
}

// maskedOnly refuses what a connection that reads through masked views cannot do.
func (a *analysis) maskedOnly() error {
	switch {
	case a.cat.masked == "":
	case a.st.Write:
		return unsupported("this connection reads through masked views and cannot write", "Use a connection without masked_schema.")
	case a.pointed:
		return unsupported("this connection reads through masked views, where the raw column does not exist: "+
			"it can be neither looked up nor opened by an approval", "Use a connection without masked_schema, or ask without this column.")
	}
	return nil
}

// again writes a mask over a column that a view masked already.
func (a *analysis) again(class masking.Class, c relationColumn) string {
	switch class.Mask.Kind {
	case masking.Redact, masking.Token, masking.FreeTextScan, masking.CEL, masking.Year, masking.BirthYear,
		masking.Null, masking.Constant, masking.DateShift, masking.Age:
		return a.mask(class, c)
	case masking.ZIP3:
		if c.base != "text" && c.base != "varchar" && c.base != "bpchar" {
			return a.mask(class, c)
		}
		name := quote(c.name)
		return "(CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + "::text ~ '^[0-9]{3} *$' THEN " + name + "::text ELSE '000' END)::" + c.typ
	}
	return quote(c.name) // a kind that need not be its own fixed point
}
