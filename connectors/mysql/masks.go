package mysql

import (
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// maskWriter writes masks as SQL over a column, for derived tables and for
// views alike.
type maskWriter struct {
	profile *masking.Profile
	today   time.Time // UTC date: fixes the bound of 90 years
}

// mask writes a class's mask over a column. A kind or type that is not known is
// a typed NULL.
func (m maskWriter) mask(class masking.Class, c tableColumn) string {
	name := quote(c.name)
	switch class.Mask.Kind {
	case masking.Redact, masking.Token, masking.FreeTextScan, masking.CEL:
		if !isText(c.dataType) {
			return null(c.dataType)
		}
		text := class.Mask.Text
		if text == "" {
			text = masking.RedactText
		}
		if runes := []rune(text); c.length > 0 && int64(len(runes)) > c.length {
			text = string(runes[:c.length])
		}
		return keepNull(c, name, literal(text))
	case masking.Constant:
		if class.Mask.Text == "0" && isNumber(c.dataType) {
			return keepNull(c, name, "0")
		}
		return m.mask(masking.Class{Mask: masking.Mask{Kind: masking.Redact, Text: class.Mask.Text}}, c)
	case masking.Age:
		if !isNumber(c.dataType) {
			return null(c.dataType)
		}
		return "CASE WHEN " + name + " >= 90 THEN 90 ELSE " + name + " END"
	case masking.Partial:
		first, last := class.Mask.First, class.Mask.Last
		if !isText(c.dataType) || first < 0 || last < 0 {
			return null(c.dataType)
		}
		return fmt.Sprintf("CASE WHEN CHAR_LENGTH(%s) < %d THEN REPEAT('*', CHAR_LENGTH(%s)) ELSE CONCAT(LEFT(%s, %d), "+
			"REPEAT('*', CHAR_LENGTH(%s) - %d), RIGHT(%s, %d)) END", name, first+last+4, name, name, first, name, first+last, name, last)
	case masking.Expression:
		return m.expression(class, c)
	case masking.AgeBand:
		return m.ageBand(class, c, name)
	case masking.ZIP3:
		if !isText(c.dataType) {
			return null(c.dataType)
		}
		zip := "LEFT(LPAD(" + name + ", 5, '0'), 3)"
		return "CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + " NOT REGEXP '^[0-9]{3,5}(-?[0-9]{4})?$' OR " + zip +
			" IN (" + literals(m.profile.LowPopulationZIP3) + ") THEN '000' ELSE " + zip + " END"
	case masking.Year, masking.BirthYear:
		return m.year(class, c, name)
	}
	return null(c.dataType)
}

// year is the first instant of the year, and for a date of birth at most that
// of 90 years ago.
func (m maskWriter) year(class masking.Class, c tableColumn, name string) string {
	typ := map[string]string{"date": "DATE", "datetime": "DATETIME", "timestamp": "DATETIME"}[c.dataType]
	if typ == "" {
		return null(c.dataType)
	}
	first := "CAST(CONCAT(LPAD(YEAR(" + name + "), 4, '0'), '-01-01') AS " + typ + ")"
	if class.Mask.Kind == masking.Year {
		return first
	}
	bound := m.today.AddDate(-90, 0, 0) // born then or earlier is 90 or older
	return fmt.Sprintf("CASE WHEN %s <= '%s' THEN CAST('%04d-01-01' AS %s) ELSE %s END", name, bound.Format("2006-01-02")+" 23:59:59",
		bound.Year(), typ, first)
}

func keepNull(c tableColumn, name, text string) string {
	if !c.nullable {
		return text
	}
	return "CASE WHEN " + name + " IS NULL THEN NULL ELSE " + text + " END"
}

func isText(dataType string) bool {
	switch dataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set":
		return true
	}
	return false
}

// null is a NULL of about the column's type.
func null(dataType string) string {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit":
		return "CAST(NULL AS SIGNED)"
	case "decimal", "float", "double":
		return "CAST(NULL AS DECIMAL(65,30))"
	case "date":
		return "CAST(NULL AS DATE)"
	case "datetime", "timestamp":
		return "CAST(NULL AS DATETIME)"
	case "time":
		return "CAST(NULL AS TIME)"
	}
	return "CAST(NULL AS CHAR)"
}

func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}

func literals(list []string) string {
	out := make([]string, 0, len(list)+1)
	for _, text := range list {
		out = append(out, literal(text))
	}
	if len(out) == 0 {
		return "'000'"
	}
	return strings.Join(out, ", ")
}

func isNumber(dataType string) bool {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double":
		return true
	}
	return false
}

// ageBand is the first instant of a band of birth years, at the earliest that
// of the year 90 years ago.
func (m maskWriter) ageBand(class masking.Class, c tableColumn, name string) string {
	typ := map[string]string{"date": "DATE", "datetime": "DATETIME", "timestamp": "DATETIME"}[c.dataType]
	if typ == "" {
		return null(c.dataType)
	}
	width := class.Mask.Width
	if width < 1 {
		width = 5
	}
	top := fmt.Sprintf("CAST('%04d-01-01' AS %s)", m.today.Year()-90, typ)
	band := fmt.Sprintf("CAST(CONCAT(LPAD(YEAR(%s) - MOD(YEAR(%s), %d), 4, '0'), '-01-01') AS %s)", name, name, width, typ)
	return fmt.Sprintf("CASE WHEN %s < '%04d-01-01' THEN %s ELSE GREATEST(%s, %s) END", name, m.today.Year()-89, top, band, top)
}
