package postgres

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// maskWriter writes masks as SQL over a column, for derived tables and for
// views alike.
type maskWriter struct {
	profile *masking.Profile
	today   time.Time // UTC date: fixes the bound of 90 years
	// expressions keeps masks that users wrote, parsed; nil keeps none.
	expressions *sync.Map
}

// mask writes a class's mask over a column, of the column's own type. A kind or
// type that is not known is a NULL.
func (m maskWriter) mask(class masking.Class, c relationColumn) string {
	name := quote(c.name)
	text := isText(c.base)
	switch class.Mask.Kind {
	case masking.Redact, masking.Token, masking.FreeTextScan, masking.CEL:
		if !text {
			return null(c)
		}
		shown := class.Mask.Text
		if shown == "" {
			shown = masking.RedactText
		}
		if runes := []rune(shown); c.length > 0 && len(runes) > c.length {
			shown = string(runes[:c.length])
		}
		value := literal(shown) + "::" + c.typ
		if c.notNull {
			return value
		}
		return "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + value + " END"
	case masking.Constant:
		if class.Mask.Text == "0" && isNumber(c.base) {
			return "CASE WHEN " + name + " IS NULL THEN NULL ELSE 0::pg_catalog." + c.base + " END"
		}
		return m.mask(masking.Class{Mask: masking.Mask{Kind: masking.Redact, Text: class.Mask.Text}}, c)
	case masking.Age:
		if !isNumber(c.base) {
			return null(c)
		}
		return "CASE WHEN " + name + " >= 90 THEN 90::pg_catalog." + c.base + " ELSE " + name + " END"
	case masking.Partial:
		first, last := class.Mask.First, class.Mask.Last
		if !text || first < 0 || last < 0 {
			return null(c)
		}
		value := name + "::text"
		length := "pg_catalog.char_length(" + value + ")"
		return fmt.Sprintf("(CASE WHEN %s < %d THEN pg_catalog.repeat('*', %s) ELSE pg_catalog.left(%s, %d) || "+
			"pg_catalog.repeat('*', %s - %d) || pg_catalog.right(%s, %d) END)::%s",
			length, first+last+4, length, value, first, length, first+last, value, last, c.typ)
	case masking.Expression:
		return m.expression(class, c)
	case masking.AgeBand:
		return m.ageBand(class, c, name)
	case masking.ZIP3:
		if !text {
			return null(c)
		}
		zip := "pg_catalog.left(pg_catalog.lpad(" + name + "::text, 5, '0'), 3)"
		return "(CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + "::text !~ '^[0-9]{3,5}(-?[0-9]{4})?$' OR " + zip + " IN (" +
			literals(m.profile.LowPopulationZIP3) + ") THEN '000' ELSE " + zip + " END)::" + c.typ
	case masking.Year, masking.BirthYear:
		return m.year(class, c, name)
	}
	return null(c)
}

// year is the first instant of the year, and for a date of birth at most that
// of 90 years ago.
func (m maskWriter) year(class masking.Class, c relationColumn, name string) string {
	var first string
	switch c.base {
	case "date":
		first = "pg_catalog.date_trunc('year', " + name + "::timestamp)::date"
	case "timestamp":
		first = "pg_catalog.date_trunc('year', " + name + ")"
	case "timestamptz":
		first = "pg_catalog.date_trunc('year', " + name + ", 'UTC')"
	default:
		return null(c)
	}
	if class.Mask.Kind == masking.Year {
		return first
	}
	bound := m.today.AddDate(-90, 0, 1) // born before is 90 or older
	return fmt.Sprintf("CASE WHEN %s < '%s'::%s THEN '%04d-01-01'::%s ELSE %s END", name, bound.Format("2006-01-02"), c.base,
		m.today.Year()-90, c.base, first)
}

// null is a NULL of the column's type; of a user's type it is text, since its
// input function is not known.
func null(c relationColumn) string {
	if types[c.base] {
		return "NULL::pg_catalog." + quote(c.base)
	}
	if element, ok := strings.CutPrefix(c.base, "_"); ok && types[element] {
		return "NULL::pg_catalog." + quote(element) + "[]"
	}
	return "NULL::text"
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func literals(list []string) string {
	out := []string{}
	for _, text := range list {
		out = append(out, literal(text))
	}
	if len(out) == 0 {
		return "'000'"
	}
	return strings.Join(out, ", ")
}

func isText(base string) bool { return base == "text" || base == "varchar" || base == "bpchar" }

func isNumber(base string) bool {
	switch base {
	case "int2", "int4", "int8", "float4", "float8", "numeric":
		return true
	}
	return false
}

// ageBand is the first instant of a band of birth years, at the earliest that
// of the year 90 years ago. Infinity has no year and is NULL, as GREATEST would not keep a NULL.
func (m maskWriter) ageBand(class masking.Class, c relationColumn, name string) string {
	value := name
	switch c.base {
	case "date", "timestamp":
	case "timestamptz":
		value = "(" + name + " AT TIME ZONE 'UTC')"
	default:
		return null(c)
	}
	width := class.Mask.Width
	if width < 1 {
		width = 5
	}
	top := fmt.Sprintf("%04d-01-01", m.today.Year()-90)
	year := "EXTRACT(year FROM " + value + ")::int4"
	band := fmt.Sprintf("pg_catalog.make_date(%s - %s %% %d, 1, 1)", year, year, width)
	shown := fmt.Sprintf("CASE WHEN pg_catalog.isfinite(%s) IS NOT TRUE THEN NULL WHEN %s < '%04d-01-01' THEN '%s'::date ELSE GREATEST(%s, '%s'::date) END",
		name, value, m.today.Year()-89, top, band, top)
	if c.base == "timestamptz" {
		return "((" + shown + ")::timestamp AT TIME ZONE 'UTC')"
	}
	return "(" + shown + ")::" + c.base
}
