package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/chaperone-sql/chaperone/connectors"
)

// querier is a session, or a pool of an administrator in tests.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// catalog is a snapshot of one database and of the information_schema tables
// that agents may read.
type catalog struct {
	version  string
	database string
	masked   string // the database of the masking views that are read instead, or ""
	// fold is true if table names do not depend on case.
	fold     bool
	tables   map[string]*table // by tableKey
	info     map[string]*table // information_schema, by lower-case name
	routines map[string]bool   // stored functions, by lower-case name
	// derived keeps what was worked out of relations, by protectionKey.
	derived *sync.Map
}

// table is a table or view.
type table struct {
	schema, name, kind, comment string
	columns                     []tableColumn
	definition                  string // of a view
	stamp                       string
}

// column is one of the table's columns by the name that the catalog spells.
func (t *table) column(name string) tableColumn {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return tableColumn{}
}

// tableColumn is a column as information_schema describes it.
type tableColumn struct {
	name, dataType, columnType, key, comment string
	nullable                                 bool
	length                                   int64 // characters; 0 for types without
	// generated is the expression of a generated column.
	generated string
	// leads are the indexes that begin with it, but for the primary key.
	leads []string
	// within are the indexes that have it at a later place.
	within []string
}

const infoSchema = "information_schema"

// informationTables may be read: they hold names and types, no values.
var informationTables = map[string]bool{
	"tables": true, "columns": true, "schemata": true, "key_column_usage": true, "table_constraints": true,
	"referential_constraints": true, "statistics": true, "collations": true, "character_sets": true,
}

// dataStatistics are columns of those that tell of the data itself: how many
// distinct values an index has, how many bytes a table takes, its checksum.
var dataStatistics = map[string]bool{
	"cardinality": true, "table_rows": true, "avg_row_length": true, "data_length": true, "index_length": true, "data_free": true,
	"auto_increment": true, "checksum": true,
}

// Version digests everything that an analysis can depend on.
func (c *catalog) Version() string { return c.version }

// Tables lists the database's own tables and views.
func (c *catalog) Tables() []connectors.Table {
	out := make([]connectors.Table, 0, len(c.tables))
	for _, t := range c.tables {
		o := connectors.Table{Schema: t.schema, Name: t.name, Kind: t.kind, Comment: t.comment}
		for _, col := range t.columns {
			o.Columns = append(o.Columns, connectors.TableColumn{Name: col.name, Type: col.columnType, Nullable: col.nullable,
				PrimaryKey: col.key == "PRI", Comment: col.comment})
		}
		out = append(out, o)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func (c *catalog) tableKey(name string) string {
	if c.fold {
		return strings.ToLower(name)
	}
	return name
}

// loadCatalog reads a snapshot. It uses only what MariaDB, MySQL and the
// embedded server have in common.
func loadCatalog(ctx context.Context, q querier, database string) (*catalog, error) {
	c := &catalog{database: database, tables: map[string]*table{}, info: map[string]*table{}, routines: map[string]bool{}, derived: &sync.Map{}}
	var folding int
	if err := scan(ctx, q, []any{&folding}, func() {}, "SELECT @@lower_case_table_names"); err != nil {
		return nil, err
	}
	c.fold = folding != 0
	var schema, name, kind string
	var comment sql.NullString
	err := scan(ctx, q, []any{&schema, &name, &kind, &comment}, func() {
		t := &table{schema: schema, name: name, kind: tableKind(kind), comment: comment.String}
		if t.kind == "view" {
			t.comment = "" // MySQL writes VIEW there
		}
		if strings.EqualFold(schema, infoSchema) {
			t.schema, t.kind = infoSchema, "catalog"
			if informationTables[strings.ToLower(name)] {
				c.info[strings.ToLower(name)] = t
			}
			return
		}
		c.tables[c.tableKey(name)] = t
	}, `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_COMMENT FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = ? OR TABLE_SCHEMA = 'information_schema'`, database)
	if err != nil {
		return nil, err
	}
	if err := c.loadColumns(ctx, q); err != nil {
		return nil, err
	}
	if err := c.loadIndexes(ctx, q); err != nil {
		return nil, err
	}
	var definition sql.NullString
	err = scan(ctx, q, []any{&name, &definition}, func() {
		if t := c.tables[c.tableKey(name)]; t != nil {
			t.definition = definition.String
		}
	}, "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ?", database)
	if err != nil {
		return nil, err
	}
	err = scan(ctx, q, []any{&name}, func() { c.routines[strings.ToLower(name)] = true },
		"SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?", database)
	if err != nil {
		return nil, err
	}
	c.seal()
	return c, nil
}

func (c *catalog) loadColumns(ctx context.Context, q querier) error {
	var schema, name, column, dataType, columnType, nullable, key string
	var comment, generated sql.NullString
	var length sql.NullInt64
	return scan(ctx, q, []any{&schema, &name, &column, &dataType, &columnType, &nullable, &key, &comment, &length, &generated}, func() {
		t := c.tables[c.tableKey(name)]
		if strings.EqualFold(schema, infoSchema) {
			t = c.info[strings.ToLower(name)]
			if dataStatistics[strings.ToLower(column)] {
				return
			}
		}
		if t != nil {
			t.columns = append(t.columns, tableColumn{name: column, dataType: strings.ToLower(dataType), columnType: columnType,
				nullable: nullable == "YES", key: key, comment: comment.String, length: length.Int64,
				generated: generated.String})
		}
	}, `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY, COLUMN_COMMENT,
		CHARACTER_MAXIMUM_LENGTH, GENERATION_EXPRESSION FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA = ? OR TABLE_SCHEMA = 'information_schema' ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION`, c.database)
}

// loadIndexes notes which indexes begin with which column, and have which later.
func (c *catalog) loadIndexes(ctx context.Context, q querier) error {
	var table, index, column string
	var place int
	return scan(ctx, q, []any{&table, &index, &column, &place}, func() {
		t := c.tables[c.tableKey(table)]
		if t == nil {
			return
		}
		for i := range t.columns {
			switch {
			case t.columns[i].name != column:
			case place == 1:
				t.columns[i].leads = append(t.columns[i].leads, index)
			default:
				t.columns[i].within = append(t.columns[i].within, index)
			}
		}
	}, `SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = ? AND INDEX_NAME <> 'PRIMARY' ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`, c.database)
}

func tableKind(kind string) string {
	switch strings.ToUpper(kind) {
	case "BASE TABLE", "SYSTEM VERSIONED":
		return "table"
	case "VIEW":
		return "view"
	}
	return strings.ToLower(strings.ReplaceAll(kind, " ", "_"))
}

// seal computes the stamps and the version.
func (c *catalog) seal() {
	var all []string
	for _, t := range c.tables {
		t.stamp = t.digest()
		all = append(all, t.name+"="+t.stamp)
	}
	for name := range c.routines {
		all = append(all, "routine "+name)
	}
	sort.Strings(all)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v %v %d", c.database, c.fold, all, len(c.info)))
	c.version = hex.EncodeToString(sum[:])
}

// digest is the stamp of a table: its kind, its columns in order, its
// definition.
func (t *table) digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s|%s|%s", t.kind, t.name, t.definition)
	for _, c := range t.columns {
		fmt.Fprintf(h, "|%q %q %v %q", c.name, c.columnType, c.nullable, c.generated)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// currentStamps computes the stamps again from the database's own state.
func currentStamps(ctx context.Context, q querier, stamps []connectors.Stamp) ([]connectors.Stamp, error) {
	now := make([]connectors.Stamp, len(stamps))
	for i, s := range stamps {
		schema, name, _ := strings.Cut(s.Name, ".")
		t := &table{schema: schema}
		var kind string
		err := scan(ctx, q, []any{&t.name, &kind}, func() { t.kind = tableKind(kind) },
			"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", schema, name)
		if err != nil {
			return nil, err
		}
		var col tableColumn
		var nullable string
		var generated sql.NullString
		err = scan(ctx, q, []any{&col.name, &col.columnType, &nullable, &generated}, func() {
			col.nullable, col.generated = nullable == "YES", generated.String
			t.columns = append(t.columns, col)
		}, `SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, GENERATION_EXPRESSION FROM information_schema.COLUMNS
			WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, schema, name)
		if err != nil {
			return nil, err
		}
		if t.kind == "view" {
			var definition sql.NullString
			err = scan(ctx, q, []any{&definition}, func() { t.definition = definition.String },
				"SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", schema, name)
			if err != nil {
				return nil, err
			}
		}
		now[i] = connectors.Stamp{Kind: s.Kind, Name: s.Name, Value: t.digest()}
	}
	return now, nil
}

// scan runs a query and calls each after every row was read into dest.
func scan(ctx context.Context, q querier, dest []any, each func(), query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		each()
	}
	return rows.Err()
}
