package grammar

import (
	"fmt"
	"strings"
)

// column is a column of a type. Unless free, it is one whose mask keeps enough
// to be compared.
func (g *Generator) column(typ Type, rels []relation, free bool) (string, bool) {
	var list []string
	var seen []Seen
	for _, r := range rels {
		for _, c := range r.columns {
			if c.Type == typ && (free || c.Seen != Destroyed || g.bold) {
				list, seen = append(list, r.alias+"."+g.name(c.Name)), append(seen, c.Seen)
				if free && c.Seen != Open { // what matters is what is protected
					list, seen = append(list, list[len(list)-1], list[len(list)-1]), append(seen, c.Seen, c.Seen)
				}
			}
		}
	}
	if len(list) == 0 {
		return "", false
	}
	i := g.r.IntN(len(list))
	g.worst = max(g.worst, seen[i])
	return list[i], true
}

func (g *Generator) literal(typ Type) string {
	switch typ {
	case Int:
		return fmt.Sprint(g.r.IntN(60) - 2)
	case Numeric:
		return fmt.Sprintf("%d.%d", g.r.IntN(500), g.r.IntN(99))
	case Bool:
		return g.one("true", "false")
	case Date:
		text := fmt.Sprintf("'%d-%02d-%02d'", 1930+g.r.IntN(95), 1+g.r.IntN(12), 1+g.r.IntN(28))
		if g.pg() {
			return text + g.one("::date", "::date", "")
		}
		return g.one("CAST("+text+" AS DATE)", "DATE "+text)
	case Timestamp:
		text := fmt.Sprintf("'20%02d-%02d-%02d 0%d:30:00'", 15+g.r.IntN(11), 1+g.r.IntN(12), 1+g.r.IntN(28), g.r.IntN(9))
		if g.pg() {
			return text + "::timestamptz"
		}
		return g.one("CAST("+text+" AS DATETIME)", "TIMESTAMP "+text)
	case JSON:
		if g.pg() {
			return `'{"a": 1, "b": [2]}'::jsonb`
		}
		return `'{"a": 1, "b": [2]}'`
	}
	if g.pg() && g.chance(4) {
		return `E'\x41b'`
	}
	return g.one("'a'", "'M'", "'945'", "'%1%'", "'E11'", "''", "'90'", "'x''y'", "'[redacted]'", "'MRN'")
}

// fill puts expressions into one of some templates: {t} is a text, {i} an int,
// {d} a date, {s} a timestamp, {n} a numeric, {x} any of text, int and date, {k}
// an int literal, {c} a condition.
func (g *Generator) fill(rels []relation, depth int, free bool, templates ...string) string {
	var b strings.Builder
	text := g.one(templates...)
	for {
		at := strings.IndexByte(text, '{')
		if at < 0 || at+2 >= len(text) || text[at+2] != '}' {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:at])
		e := func(t Type) string { return g.expr(t, rels, depth-1, free) }
		switch text[at+1] {
		case 't':
			b.WriteString(e(Text))
		case 'i':
			b.WriteString(e(Int))
		case 'd':
			b.WriteString(e(Date))
		case 's':
			b.WriteString(e(Timestamp))
		case 'n':
			b.WriteString(e(Numeric))
		case 'x':
			b.WriteString(e(g.oneType(Text, Int, Date)))
		case 'k':
			b.WriteString(g.literal(Int))
		case 'c':
			b.WriteString(g.condition(rels, 0))
		}
		text = text[at+3:]
	}
}

// expr makes an expression of a type. free ones may be over columns whose mask
// hides the value.
func (g *Generator) expr(typ Type, rels []relation, depth int, free bool) string {
	if depth <= 0 || g.chance(30) {
		if c, ok := g.column(typ, rels, free); ok && !g.chance(8) {
			return c
		}
		if g.chance(4) && typ == Text {
			return "\x01" + g.one("a", "E11", "%9%") + "\x01" // becomes a parameter
		}
		return g.literal(typ)
	}
	e := func(t Type) string { return g.expr(t, rels, depth-1, free) }
	if g.chance(14) {
		switch g.pick(40, 30, 30) {
		case 0:
			return "CASE WHEN " + g.condition(rels, depth-1) + " THEN " + e(typ) + " ELSE " + e(typ) + " END"
		case 1:
			return "coalesce(" + e(typ) + ", " + e(typ) + ")"
		case 2:
			if free && typ != JSON {
				return g.scalar(typ, rels)
			}
		}
	}
	switch typ {
	case Int:
		return g.intExpr(rels, depth, free)
	case Numeric:
		return g.fill(rels, depth, free, "round({n}, 1)", "({n} + {i})", "abs({n})", "({i} * 1.5)",
			"CAST({i} AS decimal(12,2))")
	case Bool:
		if free {
			return "(" + g.condition(rels, depth-1) + ")"
		}
		return g.literal(Bool)
	case Date:
		if g.pg() {
			return g.fill(rels, depth, free, "({s})::date", "date_trunc('month', {s})::date", "({d} + {k})",
				"greatest({d}, {d})")
		}
		return g.fill(rels, depth, free, "date({s})", "date_add({d}, INTERVAL {k} DAY)", "last_day({d})")
	case Timestamp:
		if g.pg() {
			return g.fill(rels, depth, free, "date_trunc('"+g.one("year", "month", "day")+"', {s})", "({s} + interval '1 day')",
				"least({s}, {s})")
		}
		return g.fill(rels, depth, free, "date_add({s}, INTERVAL 1 HOUR)", "CAST({d} AS DATETIME)")
	case JSON:
		return g.jsonExpr(rels, depth, free)
	}
	return g.textExpr(rels, depth, free)
}

func (g *Generator) intExpr(rels []relation, depth int, free bool) string {
	list := []string{"length({t})", "({i} + {k})", "({i} - {k})", "({i} * {k})", "abs({i})",
		"extract(YEAR FROM {d})", "extract(MONTH FROM {s})", "ascii({t})",
		"char_length({t})"}
	if g.pg() {
		list = append(list, "position('1' IN {t})", "({d} - {d})", "bit_length({t})",
			"cardinality(string_to_array({t}, '-'))", "strpos({t}, '9')")
	} else {
		list = append(list, "locate('1', {t})", "datediff({d}, {d})", "year({d})", "crc32({t})",
			"timestampdiff(YEAR, {d}, {d})", "field({t}, 'a', 'b')")
	}
	if g.chance(3) { // may fail on what is behind a mask
		if g.pg() {
			return g.fill(rels, depth, free, "CAST({t} AS int)", "(10 / (length({t}) - 10))", "(1 / nullif(ascii({t}) - 57, 0))")
		}
		return g.fill(rels, depth, free, "CAST({t} AS signed)", "(10 DIV (length({t}) - 10))")
	}
	if free && depth > 1 && g.depth < 2 && g.chance(10) {
		return "(SELECT count(*) FROM " + g.table().Name + " s WHERE s.id < " + fmt.Sprint(2+g.r.IntN(9)) + ")"
	}
	text := g.fill(rels, depth, free, list...)
	if g.pg() && strings.HasPrefix(text, "extract(") {
		return text + "::int"
	}
	return text
}

func (g *Generator) textExpr(rels []relation, depth int, free bool) string {
	list := []string{"upper({t})", "lower({t})", "concat({t}, '-', {x})",
		"substring({t}, 1, 4)", "replace({t}, '-', '')", "reverse({t})", "nullif({t}, 'a')",
		"left({t}, 3)", "right({t}, 4)", "md5({t})", "trim({t})", "lpad({t}, 12, '0')",
		"repeat({t}, 2)"}
	if g.pg() {
		list = append(list, "{x}::text", "({t} || {t})",
			"to_char({s}, 'YYYY-MM-DD')", "split_part({t}, ' ', 1)", "encode(convert_to({t}, 'UTF8'), '"+g.one("hex", "base64")+"')",
			"regexp_replace({t}, '[0-9]', 'x', 'g')", "format('%s:%s', {t}, {d})", "translate({t}, '0123456789', 'abcdefghij')",
			"initcap({t})", "array_to_string(regexp_split_to_array({t}, ''), '.')", "encode(sha256(convert_to({t}, 'UTF8')), 'hex')",
			"quote_literal({t})", "CAST({t} AS varchar(3))", "(ARRAY[{t}, {t}])[1]", `{t} COLLATE "C"`)
		if free && g.chance(25) {
			if r, ok := g.row(rels); ok {
				return g.one(r+"::text", "row_to_json("+r+")::text", "to_jsonb("+r+")::text", "md5("+r+"::text)", "length("+r+"::text)::text",
					"ROW("+r+".*)::text")
			}
		}
	} else { // not insert(): MariaDB 10.11 changes its argument in place, also where it is read again
		list = append(list, "hex({t})", "to_base64({t})", "sha2({t}, 256)", "date_format({s}, '%Y-%m-%d')",
			"substring_index({t}, ' ', 1)", "CAST({x} AS char)",
			"regexp_replace({t}, '[0-9]', 'x')", "quote({t})", "if({c}, {t}, 'n')",
			"elt(1, {t}, 'b')", "soundex({t})", "make_set(1, {t})")
	}
	return g.fill(rels, depth, free, list...)
}

// row is a relation used as one value.
func (g *Generator) row(rels []relation) (string, bool) {
	r := rels[g.r.IntN(len(rels))]
	for _, c := range r.columns {
		g.worst = max(g.worst, c.Seen)
	}
	return r.alias, r.whole
}

func (g *Generator) jsonExpr(rels []relation, depth int, free bool) string {
	if g.pg() {
		list := []string{"jsonb_build_object('k', {x}, 'j', {t})", "to_jsonb({x})",
			"jsonb_build_array({t}, {i})"}
		if r, ok := g.row(rels); ok {
			list = append(list, "to_jsonb("+r+")", "(to_jsonb("+r+") - 'id')")
		}
		return g.fill(rels, depth, free, list...)
	}
	return g.fill(rels, depth, free, "json_object('k', {x})", "json_array({t}, {i})", "json_quote({t})")
}

// scalar is a subquery of one row and column, perhaps correlated.
func (g *Generator) scalar(typ Type, outer []relation) string {
	if g.depth > 1 {
		return g.literal(typ)
	}
	g.depth++
	defer func() { g.depth-- }()
	rel, from := g.reference()
	rels := []relation{rel}
	if typ == Bool {
		return "EXISTS (SELECT 1 FROM " + from + " WHERE " + g.condition(append(rels, outer...), 1) + ")"
	}
	value := "max(" + g.expr(typ, rels, 1, true) + ")"
	where := g.where(rels)
	if g.chance(50) {
		where = " WHERE " + g.condition(append(rels, outer...), 1)
	}
	return "(SELECT " + value + " FROM " + from + where + ")"
}

// condition is a truth value over columns that can be compared.
func (g *Generator) condition(rels []relation, depth int) string {
	e := func(t Type) string { return g.expr(t, rels, depth, false) }
	t := g.anyComparable()
	switch g.pick(30, 10, 10, 8, 12, 8, 6, 6, 10) {
	case 0:
		return e(t) + g.one(" = ", " < ", " > ", " <= ", " >= ", " <> ") + e(t)
	case 1:
		if c, ok := g.column(Text, rels, true); ok {
			return c + g.one(" IS NULL", " IS NOT NULL")
		}
		return e(t) + " IS NOT NULL"
	case 2:
		return e(t) + g.one(" IN (", " NOT IN (") + g.literal(t) + ", " + g.literal(t) + ")"
	case 3:
		return e(t) + " BETWEEN " + g.literal(t) + " AND " + g.literal(t)
	case 4:
		like := " LIKE "
		if g.pg() {
			like = g.one(" LIKE ", " ILIKE ", " NOT LIKE ", " ~ ")
		}
		return e(Text) + like + g.one("'1%'", "'%a%'", "'E%'", "'9__'", "'%5%'", "'%0-%'")
	case 5:
		if depth > 0 {
			return "(" + g.condition(rels, depth-1) + g.one(" AND ", " OR ") + g.condition(rels, depth-1) + ")"
		}
	case 6:
		if depth > 0 {
			return "NOT (" + g.condition(rels, depth-1) + ")"
		}
	case 7:
		if g.pg() {
			return e(t) + g.one(" IS DISTINCT FROM ", " IS NOT DISTINCT FROM ") + e(t)
		}
		return e(t) + " <=> " + e(t)
	case 8:
		if g.depth < 2 && depth > 0 {
			g.depth++
			defer func() { g.depth-- }()
			rel, from := g.reference()
			inner := []relation{rel}
			if g.chance(50) {
				return g.one("EXISTS", "NOT EXISTS") + " (SELECT 1 FROM " + from + " WHERE " + g.condition(append(inner, rels...), 0) + ")"
			}
			return e(Int) + " IN (SELECT " + g.expr(Int, inner, 1, false) + " FROM " + from + g.where(inner) + ")"
		}
	}
	return e(Int) + " > " + g.literal(Int)
}
