package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/chaperone-sql/chaperone/connectors"
)

// The saved form of a catalog: what `chaperone catalog save` writes, so that
// statements can be analysed without the database.
//
// Every field of catalog, relation and relationColumn that is read from the
// database has its twin here, in both directions; TestSavedCatalogIsComplete
// fails for one that was forgotten. What is derived (version, byOID,
// caches) is not saved but made again; the test lists it.
type (
	savedCatalog struct {
		SearchPath []string        `json:"search_path"`
		Relations  []savedRelation `json:"relations"`
		// Defined are the functions of users, by schema and name.
		Defined   map[string]savedFunction `json:"defined,omitempty"`
		Operators []string                 `json:"operators,omitempty"`
		Suffixes  []string                 `json:"suffixes,omitempty"`
	}
	savedFunction struct {
		Digest     string                `json:"digest"`
		Plain      bool                  `json:"plain,omitempty"`
		Volatility connectors.Volatility `json:"volatility"`
	}
	savedRelation struct {
		OID     int64         `json:"oid"`
		Schema  string        `json:"schema"`
		Name    string        `json:"name"`
		Kind    string        `json:"kind"`
		Comment string        `json:"comment,omitempty"`
		Columns []savedColumn `json:"columns,omitempty"`
		Reads   []int64       `json:"reads,omitempty"`
		Opaque  bool          `json:"opaque,omitempty"`
		Ruled   bool          `json:"ruled,omitempty"`
		Kin     []int64       `json:"kin,omitempty"`
		// Definition is of a view.
		Definition string `json:"definition,omitempty"`
		Stamp      string `json:"stamp"`
	}
	savedColumn struct {
		Name       string  `json:"name"`
		Type       string  `json:"type"`
		Base       string  `json:"base"`
		Comment    string  `json:"comment,omitempty"`
		NotNull    bool    `json:"not_null,omitempty"`
		PrimaryKey bool    `json:"primary_key,omitempty"`
		Length     int     `json:"length,omitempty"`
		Generated  string  `json:"generated,omitempty"`
		RowsOf     []int64 `json:"rows_of,omitempty"`
		Leads      bool    `json:"leads,omitempty"`
	}
)

// MarshalJSON is the saved form: names, types and comments, no data.
func (c *catalog) MarshalJSON() ([]byte, error) {
	out := savedCatalog{SearchPath: c.searchPath,
		Operators: slices.Sorted(maps.Keys(c.operators)), Suffixes: slices.Sorted(maps.Keys(c.suffixes)), Defined: map[string]savedFunction{}}
	for name, f := range c.defined {
		out.Defined[name] = savedFunction{Digest: f.digest, Plain: f.plain, Volatility: f.volatility}
	}
	for _, name := range slices.Sorted(maps.Keys(c.relations)) {
		r := c.relations[name]
		one := savedRelation{OID: r.oid, Schema: r.schema, Name: r.name, Kind: r.kind, Comment: r.comment, Reads: r.reads,
			Opaque: r.opaque, Ruled: r.ruled, Kin: r.kin, Definition: r.definition, Stamp: r.stamp}
		for _, col := range r.columns {
			one.Columns = append(one.Columns, savedColumn{Name: col.name, Type: col.typ, Base: col.base, Comment: col.comment,
				NotNull: col.notNull, PrimaryKey: col.primaryKey, Length: col.length, Generated: col.generated, RowsOf: col.rowsOf, Leads: col.leads})
		}
		out.Relations = append(out.Relations, one)
	}
	return json.Marshal(out)
}

// ParseCatalog reads a saved catalog.
func ParseCatalog(text []byte) (connectors.Catalog, error) {
	var in savedCatalog
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("reading a saved catalog: %w", err)
	}
	if len(in.Relations) == 0 {
		return nil, errors.New("reading a saved catalog: it has no relation")
	}
	c := &catalog{searchPath: in.SearchPath, relations: map[string]*relation{}, byOID: map[int64]*relation{},
		operators: nameSet(in.Operators), suffixes: nameSet(in.Suffixes), defined: map[string]defined{}, derived: &sync.Map{}}
	for name, f := range in.Defined {
		c.defined[name] = defined{digest: f.Digest, plain: f.Plain, volatility: f.Volatility}
	}
	for _, r := range in.Relations {
		one := &relation{oid: r.OID, schema: r.Schema, name: r.Name, kind: r.Kind, comment: r.Comment, reads: r.Reads,
			opaque: r.Opaque, ruled: r.Ruled, kin: r.Kin, definition: r.Definition, stamp: r.Stamp}
		for _, col := range r.Columns {
			one.columns = append(one.columns, relationColumn{name: col.Name, typ: col.Type, base: col.Base, comment: col.Comment,
				notNull: col.NotNull, primaryKey: col.PrimaryKey, length: col.Length, generated: col.Generated, rowsOf: col.RowsOf, leads: col.Leads})
		}
		c.relations[r.Schema+"."+r.Name], c.byOID[r.OID] = one, one
	}
	c.seal()
	return c, nil
}

func nameSet(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[name] = true
	}
	return out
}
