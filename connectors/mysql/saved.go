package mysql

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chaperone-sql/chaperone/connectors"
)

// The saved form of a catalog: what `chaperone catalog save` writes, so that
// statements can be analysed without the database.
//
// Every field of catalog, table and tableColumn that is read from the database
// has its twin here, in both directions; TestSavedCatalogIsComplete fails for
// one that was forgotten. What is derived (version, caches) is not saved but
// made again; the test lists it.
type (
	savedCatalog struct {
		Database string       `json:"database"`
		Fold     bool         `json:"fold,omitempty"`
		Tables   []savedTable `json:"tables"`
		Info     []savedTable `json:"information_schema"`
		Routines []string     `json:"routines,omitempty"`
	}
	savedTable struct {
		Schema     string        `json:"schema"`
		Name       string        `json:"name"`
		Kind       string        `json:"kind"`
		Comment    string        `json:"comment,omitempty"`
		Columns    []savedColumn `json:"columns,omitempty"`
		Definition string        `json:"definition,omitempty"`
		Stamp      string        `json:"stamp,omitempty"`
	}
	savedColumn struct {
		Name       string   `json:"name"`
		DataType   string   `json:"data_type"`
		ColumnType string   `json:"column_type"`
		Key        string   `json:"key,omitempty"`
		Comment    string   `json:"comment,omitempty"`
		Nullable   bool     `json:"nullable,omitempty"`
		Length     int64    `json:"length,omitempty"`
		Generated  string   `json:"generated,omitempty"`
		Leads      []string `json:"leads,omitempty"`
		Within     []string `json:"within,omitempty"`
	}
)

// MarshalJSON is the saved form: names, types, comments and the text of views,
// no data.
func (c *catalog) MarshalJSON() ([]byte, error) {
	return json.Marshal(savedCatalog{Database: c.database, Fold: c.fold, Tables: saveTables(c.tables), Info: saveTables(c.info),
		Routines: slices.Sorted(maps.Keys(c.routines))})
}

func saveTables(tables map[string]*table) []savedTable {
	var out []savedTable
	for _, key := range slices.Sorted(maps.Keys(tables)) {
		t := tables[key]
		one := savedTable{Schema: t.schema, Name: t.name, Kind: t.kind, Comment: t.comment, Definition: t.definition, Stamp: t.stamp}
		for _, col := range t.columns {
			one.Columns = append(one.Columns, savedColumn{Name: col.name, DataType: col.dataType, ColumnType: col.columnType,
				Key: col.key, Comment: col.comment, Nullable: col.nullable, Length: col.length,
				Generated: col.generated, Leads: col.leads, Within: col.within})
		}
		out = append(out, one)
	}
	return out
}

// ParseCatalog reads a saved catalog.
func ParseCatalog(text []byte) (connectors.Catalog, error) {
	var in savedCatalog
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("reading a saved catalog: %w", err)
	}
	if in.Database == "" || len(in.Info) == 0 {
		return nil, errors.New("reading a saved catalog: it is not one of MySQL or MariaDB")
	}
	c := &catalog{database: in.Database, fold: in.Fold, routines: make(map[string]bool, len(in.Routines)), derived: &sync.Map{}}
	c.tables = parseTables(in.Tables, c.tableKey)
	c.info = parseTables(in.Info, strings.ToLower)
	for _, name := range in.Routines {
		c.routines[name] = true
	}
	c.seal()
	return c, nil
}

func parseTables(tables []savedTable, key func(string) string) map[string]*table {
	out := make(map[string]*table, len(tables))
	for _, t := range tables {
		one := &table{schema: t.Schema, name: t.Name, kind: t.Kind, comment: t.Comment, definition: t.Definition, stamp: t.Stamp}
		for _, col := range t.Columns {
			one.columns = append(one.columns, tableColumn{name: col.Name, dataType: col.DataType, columnType: col.ColumnType,
				key: col.Key, comment: col.Comment, nullable: col.Nullable, length: col.Length,
				generated: col.Generated, leads: col.Leads, within: col.Within})
		}
		out[key(t.Name)] = one
	}
	return out
}
