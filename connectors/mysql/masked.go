package mysql

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// A connection with a masked schema reads through the views that `chaperone
// masks apply` made in that database. The minted user sees nothing of the base
// database, not even its names, so the snapshot is of the views, and each stands
// for the table of its name. The gateway's own masks stay on top, written so
// that a mask of a mask is the mask: a view that somebody changed, or that lacks
// a mask that is configured by now, still shows nothing.

// readMasked makes a snapshot of the views stand for the base database.
func (c *catalog) readMasked(masked, base string) {
	if masked == "" {
		return
	}
	c.masked, c.database = masked, base
	for name, t := range c.tables {
		if t.kind != "view" {
			delete(c.tables, name) // nothing but views belongs there
			continue
		}
		// The stamp stays that of the view.
		t.schema, t.kind, t.definition = base, "table", ""
	}
	sum := sha256.Sum256([]byte(c.version + "\x00masked\x00" + masked + "\x00" + base))
	c.version = hex.EncodeToString(sum[:])
}

// place is the database where the tables of the snapshot are.
func (c *catalog) place() string {
	if c.masked != "" {
		return c.masked
	}
	return c.database
}

// throughView reports whether a table is read through its masked view.
func (a *analysis) throughView(t *table) bool { return a.cat.masked != "" && t.kind != "catalog" }

// stored is the database from which a table is read.
func (a *analysis) stored(t *table) string {
	if a.throughView(t) {
		return a.cat.masked
	}
	return t.schema
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

// again writes a mask over a column, which on such a connection a view masked
// already.
func (a *analysis) again(class masking.Class, c tableColumn) string {
	if a.cat.masked == "" || class.Mask.Kind != masking.ZIP3 || !isText(c.dataType) {
		return a.mask(class, c)
	}
	name := quote(c.name)
	return "CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + " REGEXP '^[0-9]{3}$' THEN " + name + " ELSE '000' END"
}

var _ connectors.MaskEngine = (*Engine)(nil)
