package mysql

import (
	"fmt"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"

	"github.com/chaperone-sql/chaperone/masking"
)

// hiddenPrefix begins the names under which a derived table carries a raw
// column for the one comparison or output that may see it. No client may use
// such a name.
const hiddenPrefix = "chaperone_raw_"

// point makes a reference see the raw column, under a hidden name. In a write
// the target itself is not wrapped, so its own name already is the raw one.
func (a *analysis) point(ref *ast.ColumnNameExpr, f found, src *source) {
	a.unqualify(ref, f)
	if !src.wrapped {
		return
	}
	hidden, ok := src.raw[f.column.name]
	if !ok {
		hidden = fmt.Sprintf("%s%d", hiddenPrefix, a.hidden) // unique: no NATURAL JOIN may meet two
		a.hidden++
		src.raw[f.column.name] = hidden
	}
	ref.Name.Table, ref.Name.Name = ast.NewCIStr(src.name), ast.NewCIStr(hidden)
}

// unqualify drops the database from a reference to a table that becomes a
// derived one.
func (*analysis) unqualify(ref *ast.ColumnNameExpr, f found) {
	if f.source != nil && f.source.wrapped {
		ref.Name.Schema = ast.CIStr{}
	}
}

// rewrite replaces every reference to a table with protected columns by a
// derived table of the same name, whose protected columns are masked.
func (a *analysis) rewrite() error {
	for _, src := range a.rewrites {
		if src.ref == nil {
			continue // the target of a write
		}
		text, err := a.derived(src)
		if err != nil {
			return err
		}
		node, err := parse(text)
		if err != nil {
			return fmt.Errorf("a mask does not parse: %w", err)
		}
		sel, ok := node.(*ast.SelectStmt)
		if !ok {
			return fmt.Errorf("a mask is no SELECT")
		}
		src.ref.Source, src.ref.AsName = sel, ast.NewCIStr(src.name)
	}
	// Every protected source whose rows can reach the result is filtered, or
	// the statement is not.
	a.st.Shape.Filtered = true
	for _, src := range a.rewrites {
		if src.rows && !src.filtered {
			a.st.Shape.Filtered = false
		}
	}
	return nil
}

// derived writes the SELECT that stands for a table.
func (a *analysis) derived(src *source) (string, error) {
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, c := range src.table.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		name := quote(c.name)
		base := masking.ColumnRef{Schema: src.table.schema, Relation: src.table.name, Column: c.name}
		if class, ok := a.in.Classes.Class(base); ok {
			b.WriteString(a.mask(class, c) + " AS " + name)
		} else {
			b.WriteString(name)
		}
		if hidden, ok := src.raw[c.name]; ok {
			b.WriteString(", " + name + " AS " + quote(hidden))
		}
	}
	b.WriteString(" FROM " + quote(src.table.schema) + "." + quote(src.table.name))
	return b.String(), nil
}

// mask writes a class's mask over a column. A kind or type that is not known is
// a typed NULL.
func (a *analysis) mask(class masking.Class, c tableColumn) string {
	name := quote(c.name)
	switch class.Mask.Kind {
	case masking.Redact, masking.Token:
		if !isText(c.dataType) {
			return null(c.dataType)
		}
		text := class.Mask.Text
		if text == "" {
			text = masking.RedactText
		}
		if c.length > 0 && int64(len(text)) > c.length {
			text = text[:c.length]
		}
		return keepNull(c, name, literal(text))
	case masking.ZIP3:
		if !isText(c.dataType) {
			return null(c.dataType)
		}
		zip := "LEFT(LPAD(" + name + ", 5, '0'), 3)"
		return "CASE WHEN " + name + " IS NULL THEN NULL WHEN " + name + " NOT REGEXP '^[0-9]{3,5}(-?[0-9]{4})?$' OR " + zip +
			" IN (" + literals(a.in.Classes.Profile().LowPopulationZIP3) + ") THEN '000' ELSE " + zip + " END"
	case masking.Year, masking.BirthYear:
		return a.year(class, c, name)
	}
	return null(c.dataType)
}

// year is the first instant of the year, and for a date of birth at most that
// of 90 years ago.
func (a *analysis) year(class masking.Class, c tableColumn, name string) string {
	typ := map[string]string{"date": "DATE", "datetime": "DATETIME", "timestamp": "DATETIME"}[c.dataType]
	if typ == "" {
		return null(c.dataType)
	}
	first := "CAST(CONCAT(LPAD(YEAR(" + name + "), 4, '0'), '-01-01') AS " + typ + ")"
	if class.Mask.Kind == masking.Year {
		return first
	}
	bound := a.in.Today.AddDate(-90, 0, 0) // born then or earlier is 90 or older
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

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

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

// flags of restoring. Brackets are written around every operation, so that the
// two grammars' precedences cannot differ; backslashes are escaped, as the
// pinned sql_mode reads them.
const flags = format.RestoreStringSingleQuotes | format.RestoreKeyWordUppercase | format.RestoreNameBackQuotes |
	format.RestoreStringEscapeBackslash | format.RestoreSpacesAroundBinaryOperation |
	format.RestoreBracketAroundBinaryOperation | format.RestoreBracketAroundBetweenExpr | format.RestoreStringWithoutDefaultCharset

func restore(n ast.Node) (string, error) {
	var b strings.Builder
	if err := n.Restore(format.NewRestoreCtx(flags, &b)); err != nil {
		return "", unsupported("the statement cannot be written back", "Write it more simply.")
	}
	return b.String(), nil
}

// verified is the text of a tree, parsed again and found equal.
func verified(n ast.StmtNode) (string, error) {
	text, err := restore(n)
	if err != nil {
		return "", err
	}
	if err := checkText(text); err != nil {
		return "", err
	}
	again, err := parse(text)
	if err != nil {
		return "", unsupported("the statement cannot be written back", "Write it more simply.")
	}
	first, second := outline(n), outline(again)
	if first != second {
		return "", unsupported("the statement does not read back as it was understood", "Write it more simply.")
	}
	return text, nil
}

// outline is a tree's structure and leaves, without the parentheses that
// restoring adds.
func outline(n ast.Node) string {
	v := &outliner{}
	n.Accept(v)
	return v.b.String()
}

type outliner struct{ b strings.Builder }

func (v *outliner) Enter(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.ParenthesesExpr); !ok {
		fmt.Fprintf(&v.b, "(%T", n)
		v.detail(n)
	}
	return n, false
}

// detail writes what a node says besides its children.
func (v *outliner) detail(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryOperationExpr:
		fmt.Fprintf(&v.b, " %v", n.Op)
	case *ast.UnaryOperationExpr:
		fmt.Fprintf(&v.b, " %v", n.Op)
	case *ast.ColumnName:
		fmt.Fprintf(&v.b, " %q.%q.%q", n.Schema.O, n.Table.O, n.Name.O)
	case *ast.TableName:
		fmt.Fprintf(&v.b, " %q.%q", n.Schema.O, n.Name.O)
	case *ast.TableSource:
		fmt.Fprintf(&v.b, " %q", n.AsName.O)
	case *ast.SelectField:
		fmt.Fprintf(&v.b, " %q", n.AsName.O)
	case *ast.SelectStmt:
		fmt.Fprintf(&v.b, " %v", n.Distinct)
	case *ast.Join:
		fmt.Fprintf(&v.b, " %v %v", n.Tp, n.NaturalJoin)
	case *ast.ByItem:
		fmt.Fprintf(&v.b, " %v", n.Desc)
	case *ast.FuncCallExpr:
		fmt.Fprintf(&v.b, " %s", n.FnName.L)
	case *ast.AggregateFuncExpr:
		fmt.Fprintf(&v.b, " %s %v", strings.ToLower(n.F), n.Distinct)
	case *ast.WindowFuncExpr:
		fmt.Fprintf(&v.b, " %s", strings.ToLower(n.Name))
	case *ast.IsNullExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.PatternInExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.BetweenExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.PatternLikeOrIlikeExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.ExistsSubqueryExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case ast.ValueExpr:
		fmt.Fprintf(&v.b, " %q", fmt.Sprint(n.GetValue()))
	}
}

func (v *outliner) Leave(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.ParenthesesExpr); !ok {
		v.b.WriteByte(')')
	}
	return n, true
}
