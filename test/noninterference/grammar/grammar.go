// Package grammar makes SQL statements at random, aimed at a gateway that masks
// columns at their source: protected columns stand wherever the language lets a
// column stand. What it makes is typed, so that most of it runs.
package grammar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Dialect is the SQL that is written.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// Type is what a column or an expression holds.
type Type string

// The types.
const (
	Int       Type = "int"
	Text      Type = "text"
	Date      Type = "date"
	Timestamp Type = "timestamp"
	Numeric   Type = "numeric"
	Bool      Type = "bool"
	JSON      Type = "json"
)

// Seen is what a statement sees of a column.
type Seen int

// What a statement sees: the column itself, a coarser value, or a constant.
const (
	Open Seen = iota
	Generalised
	Destroyed
)

// Column of a table.
type Column struct {
	Name string
	Type Type
	Seen Seen
}

// Table that statements read. Its first column is its key, an integer.
type Table struct {
	Name    string
	Columns []Column
}

// Statement is one that was made. Shape names its outermost production.
type Statement struct {
	Text   string
	Params []string
	Shape  string
}

// relation is a table as it is seen in a FROM clause.
type relation struct {
	alias   string
	columns []Column
	key     bool // it has a column id, which is a key
	whole   bool // it may be used as one value
	merged  bool // its id was merged by USING
}

// Generator makes statements; the same seed makes the same ones.
type Generator struct {
	d      Dialect
	tables []Table
	r      *rand.Rand
	n      int // aliases so far
	params []string
	depth  int
	ctes   []relation
	// bold lets an expression use what it had better not.
	bold bool
	// worst is what the expression at hand has seen.
	worst Seen
}

// New makes a Generator over tables.
func New(d Dialect, tables []Table, seed uint64) *Generator {
	return &Generator{d: d, tables: tables, r: rand.New(rand.NewPCG(seed, 17))} //nolint:gosec // not for secrets
}

// Next makes a statement.
func (g *Generator) Next() Statement {
	g.n, g.params, g.depth, g.ctes, g.bold = 0, nil, 0, nil, g.r.IntN(25) == 0
	shape, text := "", ""
	switch g.pick(50, 14, 10, 8, 6, 6, 6) {
	case 0:
		shape, text = "select", g.top()
	case 1:
		shape, text = "with", g.with()
	case 2:
		shape, text = "set", g.set()
	case 3:
		shape, text = "grouped", g.grouped()
	case 4:
		shape, text = "window", g.windowed()
	case 5:
		shape, text = "derived", g.fromDerived()
	case 6:
		shape, text = "star", g.star()
	}
	text = g.parameters(g.noise(text))
	return Statement{Text: text, Params: g.params, Shape: shape}
}

// parameters puts markers where values stand between two \x01.
func (g *Generator) parameters(text string) string {
	parts := strings.Split(text, "\x01")
	for i := 1; i < len(parts); i += 2 {
		value := parts[i]
		if parts[i] = "?"; g.pg() {
			at := slices.Index(g.params, value)
			if at < 0 {
				at, g.params = len(g.params), append(g.params, value)
			}
			parts[i] = fmt.Sprintf("$%d::text", at+1)
		} else {
			g.params = append(g.params, value)
		}
	}
	return strings.Join(parts, "")
}

func (g *Generator) pg() bool { return g.d == Postgres }

// pick chooses by weight.
func (g *Generator) pick(weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	at := g.r.IntN(sum)
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return 0
}

func (g *Generator) one(list ...string) string { return list[g.r.IntN(len(list))] }

func (g *Generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *Generator) alias() string {
	g.n++
	if g.chance(6) { // names that are also a column's or a table's
		return g.one("ssn", "last_name", "claims", "dob", "p") + fmt.Sprint(g.n)
	}
	return g.one("p", "e", "t", "x", "q") + fmt.Sprint(g.n)
}

// noise puts comments, odd case and Unicode escapes where they mean nothing.
func (g *Generator) noise(text string) string {
	if g.chance(4) {
		text = strings.Replace(text, " FROM ", g.one(" /* FROM patients */ FROM ", "\n-- ' \nFROM ", "\tfrom "), 1)
	}
	if g.pg() && g.chance(3) {
		text = strings.Replace(text, ".ssn", g.one(`."ssn"`, `.U&"s\0073n"`, `.SSN`), 1)
	}
	return text
}

// name quotes a name, sometimes.
func (g *Generator) name(text string) string {
	if !g.chance(7) {
		return text
	}
	if g.pg() {
		return `"` + text + `"`
	}
	return "`" + text + "`"
}

func (g *Generator) table() Table { return g.tables[g.r.IntN(len(g.tables))] }

// reference is a relation and its text in FROM.
func (g *Generator) reference() (relation, string) {
	if len(g.ctes) > 0 && g.chance(60) {
		c := g.ctes[g.r.IntN(len(g.ctes))]
		a := g.alias()
		return relation{alias: a, columns: c.columns, key: c.key, whole: true}, c.alias + " " + g.name(a)
	}
	if g.depth < 3 && g.chance(12) {
		return g.derived(false)
	}
	t := g.table()
	a := g.alias()
	text := g.name(t.Name)
	if g.pg() && g.chance(8) {
		text = "public." + text
	}
	if g.pg() && g.chance(3) {
		text = "ONLY " + text
	}
	return relation{alias: a, columns: t.Columns, key: true, whole: true}, text + g.one(" ", " AS ") + g.name(a)
}

// derived is a derived table; lateral ones see outer relations.
func (g *Generator) derived(lateral bool, outer ...relation) (relation, string) {
	g.depth++
	defer func() { g.depth-- }()
	body, columns := g.body(outer, !lateral)
	a := g.alias()
	rel := relation{alias: a, columns: columns, whole: true}
	text := "(" + body + ") AS " + a
	if lateral {
		text = "LATERAL " + text
	}
	if g.pg() && g.chance(15) {
		var names []string
		for i := range rel.columns {
			rel.columns[i].Name = fmt.Sprintf("r%d", i+1)
			names = append(names, rel.columns[i].Name)
		}
		text += " (" + strings.Join(names, ", ") + ")"
	}
	return rel, text
}

// from makes a FROM clause of some relations that are joined sensibly.
func (g *Generator) from() ([]relation, string) {
	first, text := g.reference()
	rels := []relation{first}
	for n := g.pick(50, 35, 15); n > 0; n-- {
		if g.pg() && g.depth < 2 && g.chance(10) {
			rel, t := g.derived(true, rels...)
			text += g.one(" CROSS JOIN ", " LEFT JOIN ", " JOIN ")
			if strings.HasSuffix(text, " CROSS JOIN ") {
				text += t
			} else {
				text += t + " ON true"
			}
			rels = append(rels, rel)
			continue
		}
		rel, t := g.reference()
		kinds := []string{" JOIN ", " LEFT JOIN ", " INNER JOIN ", " RIGHT JOIN "}
		if g.pg() {
			kinds = append(kinds, " FULL JOIN ")
		}
		join := g.one(kinds...)
		if len(rels) == 1 && first.key && rel.key && g.chance(12) {
			text += join + t + " USING (id)"
			rels[0].columns, rels[0].merged = first.columns[1:], true
			rel.columns, rel.merged = rel.columns[1:], true
			rels = append(rels, rel)
			return rels, text
		}
		text += join + t + " ON " + g.joinCondition(rels[g.r.IntN(len(rels))], rel, join)
		rels = append(rels, rel)
	}
	return rels, text
}

// joinCondition compares two relations by columns that can be compared.
func (g *Generator) joinCondition(a, b relation, join string) string {
	var pairs []string
	for _, x := range a.columns {
		for _, y := range b.columns {
			if x.Type == y.Type && x.Type == Int && x.Seen == Open && y.Seen == Open {
				pairs = append(pairs, a.alias+"."+x.Name+" = "+b.alias+"."+y.Name)
			}
		}
	}
	text := "1 = 1"
	if len(pairs) > 0 {
		text = g.one(pairs...)
	}
	if g.chance(20) && join != " FULL JOIN " { // which takes mergeable conditions only
		text += " AND " + g.condition([]relation{a, b}, 1)
	}
	return text
}

// where filters; one by a key is nearly always there, since reads in bulk need
// an approval.
func (g *Generator) where(rels []relation) string {
	var list []string
	for _, r := range rels {
		for _, c := range r.columns {
			if c.Type == Int && c.Seen == Open && (c.Name == "id" || c.Name == "patient_id") && g.chance(85) {
				list = append(list, r.alias+"."+c.Name+g.one(" < ", " <= ", " = ", " <> ")+fmt.Sprint(2+g.r.IntN(30)))
				break
			}
		}
	}
	if g.chance(45) {
		list = append(list, g.condition(rels, 2))
	}
	if len(list) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(list, " AND ")
}

// selected makes a select list with its columns.
func (g *Generator) selected(rels []relation, least int) (string, []Column) {
	var (
		items   []string
		columns []Column
	)
	for n := least + g.r.IntN(4); n > 0; n-- {
		typ := g.anyType()
		g.worst = Open
		text := g.expr(typ, rels, 3, true)
		seen := g.worst
		name := fmt.Sprintf("c%d", len(items)+1)
		if g.chance(5) {
			name += g.one("_ssn", "_id")
		}
		items = append(items, text+" AS "+name)
		columns = append(columns, Column{Name: name, Type: typ, Seen: seen})
	}
	return strings.Join(items, ", "), columns
}

func (g *Generator) anyType() Type {
	types := []Type{Int, Text, Text, Text, Date, Timestamp, Numeric, Bool}
	if g.chance(8) {
		return JSON
	}
	return types[g.r.IntN(len(types))]
}

// body is a query with its columns. Its rows may be limited.
func (g *Generator) body(outer []relation, filter bool) (string, []Column) {
	rels, from := g.from()
	list, columns := g.selected(rels, 1)
	for _, c := range rels[0].columns {
		if c.Type == Int && c.Seen == Open && g.chance(90) { // to join by
			list = rels[0].alias + "." + c.Name + " AS j, " + list
			columns = append([]Column{{Name: "j", Type: Int, Seen: Open}}, columns...)
			break
		}
	}
	seen := append(append([]relation(nil), rels...), outer...)
	text := "SELECT " + list + " FROM " + from
	if filter || g.chance(70) {
		text += g.where(rels)
	} else {
		text += " WHERE " + g.condition(seen, 2)
	}
	if g.chance(15) {
		text += g.orderBy(rels) + g.limit(rels)
	}
	return text, columns
}

// orderBy orders by every key there is, so that the order is total where it can
// be.
func (g *Generator) orderBy(rels []relation) string {
	list := g.keys(rels)
	if g.chance(30) {
		list = append([]string{g.key(rels)}, list...)
	}
	if len(list) == 0 {
		return ""
	}
	return " ORDER BY " + strings.Join(list, ", ")
}

// keys are the open numbers of relations, keys among them.
func (g *Generator) keys(rels []relation) []string {
	var list []string
	for _, r := range rels {
		if r.merged && len(list) == 0 {
			list = append(list, "id")
		}
		for _, c := range r.columns {
			if c.Type == Int && c.Seen == Open {
				list = append(list, r.alias+"."+c.Name+g.one("", " DESC", " ASC"))
			}
		}
	}
	return list
}

func (g *Generator) anyComparable() Type {
	return []Type{Int, Text, Date, Timestamp, Numeric}[g.r.IntN(5)]
}

func (g *Generator) top() string {
	rels, from := g.from()
	list, _ := g.selected(rels, 1)
	if g.chance(3) {
		return "SELECT DISTINCT " + list + " FROM " + from + g.where(rels)
	}
	return "SELECT " + list + " FROM " + from + g.where(rels) + g.orderBy(rels) + g.limit(rels)
}

// limit takes some rows, if the order of all is told by keys: which rows come
// first among equals is the server's to choose.
func (g *Generator) limit(rels []relation) string {
	for _, r := range rels {
		if !r.key {
			return ""
		}
	}
	switch g.pick(60, 30, 10) {
	case 1:
		return fmt.Sprintf(" LIMIT %d", 1+g.r.IntN(40))
	case 2:
		return fmt.Sprintf(" LIMIT %d OFFSET %d", 1+g.r.IntN(40), g.r.IntN(5))
	}
	return ""
}

func (g *Generator) star() string {
	rels, from := g.from()
	list := "*"
	if g.chance(50) {
		list = rels[0].alias + ".*, " + g.expr(g.anyType(), rels, 2, true) + " AS extra"
	}
	return "SELECT " + list + " FROM " + from + g.where(rels) + g.orderBy(rels) + g.limit(rels)
}

func (g *Generator) with() string {
	var list []string
	for n := 1 + g.r.IntN(2); n > 0; n-- {
		g.depth++
		body, columns := g.body(nil, true)
		g.depth--
		name := fmt.Sprintf("w%d", len(list)+1)
		if g.chance(10) {
			name = g.one("patients", "claims") // in the place of a table
			for _, c := range g.ctes {
				if c.alias == name {
					name = fmt.Sprintf("w%d", len(list)+1)
				}
			}
		}
		how := ""
		if g.pg() {
			how = g.one("", "", " MATERIALIZED", " NOT MATERIALIZED")
		}
		list = append(list, name+" AS"+how+" ("+body+")")
		g.ctes = append(g.ctes, relation{alias: name, columns: columns})
	}
	return "WITH " + strings.Join(list, ", ") + " " + g.top()
}

// set joins queries whose columns have the same types.
func (g *Generator) set() string {
	types := []Type{}
	for n := 1 + g.r.IntN(3); n > 0; n-- {
		types = append(types, g.anyComparable())
	}
	part := func(compare bool) string {
		rels, from := g.from()
		var items []string
		for i, t := range types {
			items = append(items, g.expr(t, rels, 2, !compare)+fmt.Sprintf(" AS s%d", i+1))
		}
		return "SELECT " + strings.Join(items, ", ") + " FROM " + from + g.where(rels)
	}
	op := g.one(" UNION ALL ", " UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT ")
	compare := op != " UNION ALL "
	text := part(compare) + op + part(compare)
	var order []string
	for i := range types {
		order = append(order, fmt.Sprint(i+1))
	}
	if compare {
		return text + " ORDER BY " + strings.Join(order, ", ")
	}
	return "SELECT * FROM (" + text + ") u"
}

// key is what can be grouped and ordered by: no bare constant, which SQL takes
// for a position or refuses.
func (g *Generator) key(rels []relation) string {
	for range 5 {
		t := g.anyComparable()
		if c, ok := g.column(t, rels, false); ok {
			if t == Text && g.chance(30) {
				return "upper(" + c + ")"
			}
			if t == Date && g.chance(30) {
				return "extract(YEAR FROM " + c + ")"
			}
			return c
		}
	}
	return rels[0].alias + "." + rels[0].columns[0].Name
}

func (g *Generator) aggregate(rels []relation) string {
	switch g.pick(20, 20, 15, 10, 10, 8, 8, 9) {
	case 0:
		return "count(*)"
	case 1:
		return g.one("max", "min") + "(" + g.expr(g.anyComparable(), rels, 2, true) + ")"
	case 2:
		return g.one("sum", "avg") + "(" + g.expr(g.oneType(Int, Numeric), rels, 2, true) + ")"
	case 3:
		return "count(DISTINCT " + g.expr(g.oneType(Int, Date, Text), rels, 1, false) + ")"
	case 4:
		return "sum(CASE WHEN " + g.condition(rels, 1) + " THEN 1 ELSE 0 END)"
	case 5:
		if g.pg() {
			return "count(*) FILTER (WHERE " + g.condition(rels, 1) + ")"
		}
		return "bit_xor(" + g.expr(Int, rels, 1, true) + ")"
	case 6:
		value := g.expr(Text, rels, 1, true)
		if g.pg() {
			return "string_agg(" + value + ", ','" + g.within(rels) + ")"
		}
		return "group_concat(" + value + g.within(rels) + " SEPARATOR '|')"
	}
	if g.pg() {
		return g.one("array_agg(", "json_agg(", "jsonb_agg(") + g.expr(g.oneType(Text, Date, Int), rels, 1, true) + g.within(rels) + ")"
	}
	return "bit_and(" + g.expr(Int, rels, 1, true) + ")" // not std(): its last digit depends on the order of rows
}

// within is the order inside of an aggregate.
func (g *Generator) within(rels []relation) string {
	list := g.keys(rels)
	if len(list) == 0 {
		return ""
	}
	return " ORDER BY " + strings.Join(list, ", ")
}

func (g *Generator) oneType(types ...Type) Type { return types[g.r.IntN(len(types))] }

func (g *Generator) grouped() string {
	rels, from := g.from()
	var keys, items []string
	for n := g.pick(20, 60, 20); n > 0; n-- {
		k := g.key(rels)
		keys = append(keys, k)
		items = append(items, k+fmt.Sprintf(" AS k%d", len(keys)))
	}
	for n := 1 + g.r.IntN(3); n > 0; n-- {
		items = append(items, g.aggregate(rels)+fmt.Sprintf(" AS a%d", n))
	}
	text := "SELECT " + strings.Join(items, ", ") + " FROM " + from + g.where(rels)
	if len(keys) == 0 {
		return text
	}
	by := make([]string, len(keys))
	for i := range by {
		by[i] = fmt.Sprint(i + 1)
	}
	switch {
	case g.pg() && g.chance(15):
		text += " GROUP BY " + g.one("ROLLUP", "CUBE") + " (" + strings.Join(keys, ", ") + ")"
	case g.chance(30):
		text += " GROUP BY " + strings.Join(keys, ", ")
	default:
		text += " GROUP BY " + strings.Join(by, ", ")
	}
	if g.chance(25) {
		text += " HAVING count(*) " + g.one(">", ">=", "<") + fmt.Sprint(1+g.r.IntN(4))
	}
	return text + " ORDER BY " + strings.Join(by, ", ")
}

func (g *Generator) windowed() string {
	rels, from := g.from()
	total := !slices.ContainsFunc(rels, func(r relation) bool { return !r.key })
	over := func() string {
		text := ""
		if g.chance(60) {
			text += "PARTITION BY " + g.key(rels) + " "
		}
		return "(" + text + strings.TrimPrefix(g.orderBy(rels), " ") + ")"
	}
	var items []string
	for n := 1 + g.r.IntN(2); n > 0; n-- {
		f := ""
		switch g.pick(30, 40, 30) {
		case 0:
			if f = g.one("rank()", "dense_rank()"); total { // the others choose among equals
				f = g.one("row_number()", "ntile(3)", f)
			}
		case 1:
			if !total {
				f = "count(*)"
				break
			}
			f = g.one("lag", "lead", "first_value", "last_value") + "(" + g.expr(g.anyComparable(), rels, 1, true) + ")"
		case 2:
			f = g.one("max", "min", "count") + "(" + g.expr(g.anyComparable(), rels, 1, true) + ")"
		}
		items = append(items, f+" OVER "+over()+fmt.Sprintf(" AS w%d", n))
	}
	list, _ := g.selected(rels, 1)
	return "SELECT " + list + ", " + strings.Join(items, ", ") + " FROM " + from + g.where(rels) + g.orderBy(rels) + g.limit(rels)
}

func (g *Generator) fromDerived() string {
	rel, text := g.derived(false)
	rels := []relation{rel}
	list, _ := g.selected(rels, 1)
	where := ""
	if g.chance(40) {
		where = " WHERE " + g.condition(rels, 2)
	}
	return "SELECT " + list + " FROM " + text + where
}
