package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/chaperone-sql/chaperone/connectors"
)

// querier is a session, or an administrator's connection in tests.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// catalog is a snapshot of the names of a database.
type catalog struct {
	version    string
	searchPath []string
	masked     string               // the schema of the masking views that are read instead, or ""
	relations  map[string]*relation // by "schema.name"
	byOID      map[int64]*relation
	// operators that users defined in the search path.
	operators map[string]bool
	// suffixes are names that (value).name could call, see suffix.
	suffixes map[string]bool
	// defined are the functions of users in the search path, by schema and name.
	defined map[string]defined
	// derived keeps what was worked out of relations, by protectionKey.
	derived *sync.Map
	written writtenTables
	// expressions keeps masks that users wrote, parsed.
	expressions sync.Map
}

// relation is a table, a view or another thing with columns.
type relation struct {
	oid                         int64
	schema, name, kind, comment string
	columns                     []relationColumn
	// reads are what a view's rules refer to; opaque is true if they call
	// functions that users defined.
	reads  []int64
	opaque bool
	// ruled is true if rules of users say what a write does.
	ruled bool
	// definition is what a view selects, with the search path's names bare.
	definition string
	// kin are parents and children by inheritance or partitioning.
	kin   []int64
	stamp string
}

// relationColumn is a column as pg_attribute describes it.
type relationColumn struct {
	name, typ, base, comment string
	notNull, primaryKey      bool
	// length is the limit in characters, 0 for none.
	length int
	// generated is the expression of a generated column.
	generated string
	// rowsOf are the relations whose rows the column's type can hold, however deep
	// in arrays, domains, ranges and composite types.
	rowsOf []int64
	// leads is true if an index has it before another column, see leadsSQL.
	leads bool
}

// systemRelations may be read: they hold names and types, no values.
var systemRelations = map[string]bool{
	"information_schema.tables": true, "information_schema.columns": true, "information_schema.schemata": true,
	"information_schema.table_constraints": true, "information_schema.key_column_usage": true,
	"information_schema.constraint_column_usage": true, "information_schema.referential_constraints": true,
	"pg_catalog.pg_class": true, "pg_catalog.pg_namespace": true, "pg_catalog.pg_attribute": true, "pg_catalog.pg_type": true,
	"pg_catalog.pg_tables": true, "pg_catalog.pg_indexes": true, "pg_catalog.pg_index": true, "pg_catalog.pg_constraint": true,
	"pg_catalog.pg_description": true, "pg_catalog.pg_enum": true, "pg_catalog.pg_inherits": true,
}

// telling are the columns of those that tell of values all the same: how
// many pages rows fill, how many of them a partial index holds, how many pieces
// a TOAST table keeps long values in, the bounds of
// partitions, values of columns that were added. This is what stands for them.
var telling = map[string]map[string]string{
	"pg_catalog.pg_class": {"relpages": "0", "relallvisible": "0", "relpartbound": "NULL::pg_catalog.pg_node_tree",
		"reltuples": "CASE WHEN relkind IN ('i', 'I', 't') OR reltuples < 0 THEN -1::float4 WHEN reltuples < 1 THEN 0::float4 " +
			"ELSE pg_catalog.power(10::float8, pg_catalog.floor(pg_catalog.log(reltuples::float8)))::float4 END"},
	"pg_catalog.pg_attribute": {"attmissingval": "NULL::text[]"},
}

func (r *relation) telling() map[string]string { return telling[r.schema+"."+r.name] }

// Version digests everything that an analysis can depend on.
func (c *catalog) Version() string { return c.version }

// Tables lists the relations of the search path.
func (c *catalog) Tables() []connectors.Table {
	var out []connectors.Table
	for _, r := range c.relations {
		if r.kind == "catalog" || !c.inPath(r.schema) {
			continue
		}
		t := connectors.Table{Schema: r.schema, Name: r.name, Kind: r.kind, Comment: r.comment}
		for _, col := range r.columns {
			t.Columns = append(t.Columns, connectors.TableColumn{Name: col.name, Type: col.typ, Nullable: !col.notNull,
				PrimaryKey: col.primaryKey, Comment: col.comment})
		}
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Schema+"."+out[i].Name < out[j].Schema+"."+out[j].Name })
	return out
}

func (c *catalog) inPath(schema string) bool {
	for _, s := range c.searchPath {
		if s == schema {
			return true
		}
	}
	return false
}

// leadsSQL is true of a column that an index has before another one, or computes
// with: read in place of the table, such an index gives rows in that order.
const leadsSQL = `EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indnatts > 1 AND (
		a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnatts - 2]) OR i.indexprs IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
		AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)))`

// stampSQL is the digest of a relation's definition, over everything that an
// analysis relies on: identity, kind, columns, rules, row security, kin.
const stampSQL = `pg_catalog.md5(pg_catalog.concat_ws('|', c.oid, c.relkind, c.relrowsecurity,
	(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', a.attnum,
		` + leadsSQL + `, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
		CASE WHEN a.attgenerated <> '' THEN (SELECT pg_catalog.pg_get_expr(g.adbin, g.adrelid) FROM pg_catalog.pg_attrdef g WHERE g.adrelid = a.attrelid AND g.adnum = a.attnum) END), ';' ORDER BY a.attnum)
		FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	(SELECT pg_catalog.string_agg(pg_catalog.md5(r.ev_action::text), ';' ORDER BY r.oid) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid),
	(SELECT pg_catalog.string_agg(i.inhrelid::text || '-' || i.inhparent::text, ';' ORDER BY i.inhrelid, i.inhparent)
		FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))))`

// loadCatalog reads a snapshot in a few queries.
func loadCatalog(ctx context.Context, q querier, searchPath []string) (*catalog, error) {
	c := &catalog{searchPath: searchPath, relations: map[string]*relation{}, byOID: map[int64]*relation{},
		operators: map[string]bool{}, suffixes: map[string]bool{}, defined: map[string]defined{}, derived: &sync.Map{}}
	var (
		r       relation
		comment *string
	)
	err := each(ctx, q, []any{&r.oid, &r.schema, &r.name, &r.kind, &comment, &r.definition, &r.ruled, &r.stamp}, func() {
		one := r
		one.kind, one.columns = relationKind(r.kind), nil
		if comment != nil {
			one.comment = *comment
		}
		if one.schema == "pg_catalog" || one.schema == "information_schema" {
			one.kind = "catalog"
		}
		c.relations[one.schema+"."+one.name] = &one
		c.byOID[one.oid] = &one
	}, `SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, pg_catalog.obj_description(c.oid, 'pg_class'),
		(CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= 16384 THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END),
		EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type <> '1'), `+stampSQL+`
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r','v','m','f','p') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'`)
	if err != nil {
		return nil, err
	}
	if err := c.loadColumns(ctx, q); err != nil {
		return nil, err
	}
	var a, b int64
	err = each(ctx, q, []any{&a, &b}, func() {
		if view := c.byOID[a]; view != nil && b == 0 {
			view.opaque = true
		} else if view != nil {
			view.reads = append(view.reads, b)
		}
	}, `SELECT DISTINCT r.ev_class::int8, (CASE WHEN d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN d.refobjid ELSE 0 END)::int8
		FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
		WHERE r.ev_class >= 16384 AND ((d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class)
			OR (d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass) AND d.refobjid >= 16384))`)
	if err != nil {
		return nil, err
	}
	err = each(ctx, q, []any{&a, &b}, func() {
		for _, pair := range [][2]int64{{a, b}, {b, a}} {
			if rel := c.byOID[pair[0]]; rel != nil {
				rel.kin = append(rel.kin, pair[1])
			}
		}
	}, `SELECT inhrelid::int8, inhparent::int8 FROM pg_catalog.pg_inherits`)
	if err != nil {
		return nil, err
	}
	var name string
	err = each(ctx, q, []any{&name}, func() { c.operators[name] = true },
		`SELECT DISTINCT o.oprname::text FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE n.nspname = ANY($1)`,
		searchPath)
	if err != nil {
		return nil, err
	}
	if err := c.loadDefined(ctx, q); err != nil {
		return nil, err
	}
	if err := c.loadSuffixes(ctx, q); err != nil {
		return nil, err
	}
	c.seal()
	return c, nil
}

func (c *catalog) loadColumns(ctx context.Context, q querier) error {
	var (
		oid     int64
		col     relationColumn
		typmod  int
		user    int64 // the type if users made it, or 0
		comment *string
	)
	held, err := loadHeld(ctx, q)
	if err != nil {
		return err
	}
	return each(ctx, q, []any{&oid, &col.name, &col.typ, &col.base, &typmod, &col.notNull, &col.primaryKey, &comment, &col.generated, &user, &col.leads}, func() {
		rel := c.byOID[oid]
		if rel == nil {
			return
		}
		one := col
		one.rowsOf = held.rows(user)
		if comment != nil {
			one.comment = *comment
		}
		if (one.base == "varchar" || one.base == "bpchar") && typmod > 4 {
			one.length = typmod - 4
		}
		rel.columns = append(rel.columns, one)
	}, `SELECT a.attrelid::int8, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
		(CASE WHEN t.oid < 16384 THEN t.typname::text ELSE 'user' END), a.atttypmod, a.attnotnull,
		EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY(i.indkey)),
		pg_catalog.col_description(a.attrelid, a.attnum),
		(CASE WHEN a.attgenerated <> '' THEN (SELECT pg_catalog.pg_get_expr(g.adbin, g.adrelid) FROM pg_catalog.pg_attrdef g
			WHERE g.adrelid = a.attrelid AND g.adnum = a.attnum) ELSE '' END),
		(CASE WHEN t.oid >= 16384 THEN t.oid ELSE 0 END)::int8,
		`+leadsSQL+`
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','v','m','f','p') ORDER BY a.attrelid, a.attnum`)
}

// held says what types are made of.
type held struct {
	parts     map[int64][]int64 // types that a type holds values of
	relations map[int64]int64   // by their row types
}

// loadHeld reads it in flat queries: a recursion for each column of a user's type
// is so dear by the planner's guess that the server compiles it first.
func loadHeld(ctx context.Context, q querier) (held, error) {
	h := held{map[int64][]int64{}, map[int64]int64{}}
	var typ, part, relation int64
	return h, each(ctx, q, []any{&typ, &part, &relation}, func() {
		if relation != 0 {
			h.relations[typ] = relation
		} else {
			h.parts[typ] = append(h.parts[typ], part)
		}
	}, `SELECT objid::int8, refobjid::int8, 0::int8 FROM pg_catalog.pg_depend
			WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
		UNION ALL SELECT t.oid::int8, a.atttypid::int8, 0 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
			WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
		UNION ALL SELECT t.oid::int8, 0, c.oid::int8 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
			WHERE c.oid >= 16384 AND c.relkind <> 'c'`)
}

// rows are the relations whose rows a type can hold, sorted.
func (h held) rows(typ int64) (of []int64) {
	seen := map[int64]bool{typ: true}
	for todo := []int64{typ}; len(todo) > 0; {
		one := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if r, ok := h.relations[one]; ok {
			of = append(of, r)
		}
		for _, part := range h.parts[one] {
			if !seen[part] {
				seen[part], todo = true, append(todo, part)
			}
		}
	}
	slices.Sort(of)
	return slices.Compact(of)
}

func relationKind(kind string) string {
	switch kind {
	case "r":
		return "table"
	case "p":
		return "partitioned_table"
	case "v":
		return "view"
	case "m":
		return "materialized_view"
	case "f":
		return "foreign_table"
	}
	return "unknown"
}

func (c *catalog) seal() {
	var all []string
	for name, r := range c.relations {
		all = append(all, name+"="+r.stamp)
	}
	for name, f := range c.defined {
		all = append(all, "d "+name+" "+f.digest)
	}
	for name := range c.operators {
		all = append(all, "o "+name)
	}
	for name := range c.suffixes {
		all = append(all, "s "+name)
	}
	sort.Strings(all)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", c.searchPath, all))
	c.version = hex.EncodeToString(sum[:])
}

// The kinds of stamps. An operator's says that no user defined one of its name, a
// suffix's that nothing could be called by it.
const (
	stampRelation = "relation"
	stampOperator = "operator"
	stampFunction = "function"
	stampSuffix   = "suffix"
	builtIn       = "built-in"
)

// currentStamps computes the stamps again, by name, from the database's state.
func currentStamps(ctx context.Context, q querier, stamps []connectors.Stamp) ([]connectors.Stamp, error) {
	now := make([]connectors.Stamp, len(stamps))
	at := map[string][]string{} // names by kind
	index := map[[2]string]int{}
	for i, s := range stamps {
		now[i] = connectors.Stamp{Kind: s.Kind, Name: s.Name}
		at[s.Kind] = append(at[s.Kind], s.Name)
		index[[2]string{s.Kind, s.Name}] = i
		if s.Kind == stampOperator || s.Kind == stampSuffix {
			now[i].Value = builtIn
		}
	}
	var name, value string
	if names := at[stampRelation]; len(names) > 0 {
		schemas, relations := make([]string, len(names)), make([]string, len(names))
		for i, n := range names {
			schemas[i], relations[i], _ = strings.Cut(n, "\x00")
		}
		var i int
		err := each(ctx, q, []any{&i, &value}, func() { now[index[[2]string{stampRelation, names[i-1]}]].Value = value },
			`SELECT o.i::int4, `+stampSQL+` FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o(schema, name, i)
			JOIN pg_catalog.pg_namespace n ON n.nspname = o.schema JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = o.name`,
			schemas, relations)
		if err != nil {
			return nil, err
		}
	}
	if names := at[stampFunction]; len(names) > 0 {
		schemas, functions := make([]string, len(names)), make([]string, len(names))
		for i, n := range names {
			schemas[i], functions[i], _ = strings.Cut(n, "\x00")
		}
		err := definedNow(ctx, q, schemas, functions, func(schema, name, digest string) {
			now[index[[2]string{stampFunction, schema + "\x00" + name}]].Value = digest
		})
		if err != nil {
			return nil, err
		}
	}
	if names := at[stampSuffix]; len(names) > 0 {
		if err := suffixesNow(ctx, q, names, func(name string) { now[index[[2]string{stampSuffix, name}]].Value = "callable" }); err != nil {
			return nil, err
		}
	}
	if names := at[stampOperator]; len(names) > 0 {
		err := each(ctx, q, []any{&name}, func() { now[index[[2]string{stampOperator, name}]].Value = "defined" },
			`SELECT o.oprname::text FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
			WHERE o.oprname = ANY($1::text[]::name[]) AND n.nspname = ANY(pg_catalog.current_schemas(false))`, names)
		if err != nil {
			return nil, err
		}
	}
	return now, nil
}

// each runs a query and calls do after every row was read into dest.
func each(ctx context.Context, q querier, dest []any, do func(), sql string, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, dest, func() error {
		do()
		return nil
	})
	return err
}
