package mysql

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"

	"github.com/chaperone-sql/chaperone/masking"
)

// hiddenPrefix begins the names that are ours: of a raw column that a derived
// table carries for the one comparison or output that may see it, of that
// output, and of common table expressions. No client may use such a name.
const hiddenPrefix = "chaperone_raw_"

// hide makes a new hidden name.
func (a *analysis) hide() string {
	a.hidden++
	return fmt.Sprintf("%s%d", hiddenPrefix, a.hidden-1)
}

// reserved reports whether a text holds a hidden name, or what a server takes
// for one: its names ignore case and accents.
func reserved(text string) bool {
	at := []rune(text)
	for i := range at {
		if len(at)-i < len(hiddenPrefix) {
			return false
		}
		same := true
		for j := 0; same && j < len(hiddenPrefix); j++ {
			r := unicode.ToLower(at[i+j])
			same = r == rune(hiddenPrefix[j]) || r > unicode.MaxASCII && unicode.Is(unicode.Latin, r)
		}
		if same {
			return true
		}
	}
	return false
}

// point makes a comparison see the raw column, and use its index.
func (a *analysis) point(ref *ast.ColumnNameExpr, f found, src *source) {
	a.carry(ref, f, src)
	src.sought[f.column.name] = true
}

// carry makes a reference see the raw column, under a hidden name. In a write
// the target itself is not wrapped, so its own name already is the raw one.
func (a *analysis) carry(ref *ast.ColumnNameExpr, f found, src *source) {
	a.pin(ref.Name, f)
	if !src.wrapped {
		return
	}
	a.pointed = true
	hidden, ok := src.raw[f.column.name]
	if !ok {
		hidden = a.hide() // unique: no NATURAL JOIN may meet two
		src.raw[f.column.name] = hidden
	}
	ref.Name.Table, ref.Name.Name = ast.NewCIStr(src.name), ast.NewCIStr(hidden)
}

// pin makes a reference say which source it was resolved to: without a database,
// which a derived table has none of. In a write, whose target is raw, no other
// name may be left for the server to find there after all.
func (a *analysis) pin(name *ast.ColumnName, f found) {
	if f.source == nil {
		return
	}
	name.Schema = ast.CIStr{}
	if a.st.Write && !f.merged && !f.source.target {
		name.Table = ast.NewCIStr(f.source.name)
	}
}

// rewrite replaces every reference to a table with protected columns by a
// derived table of the same name, whose protected columns are masked.
func (a *analysis) rewrite() error {
	if err := a.maskedOnly(); err != nil {
		return err
	}
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
		a.understood[sel] = true
		src.ref.Source, src.ref.AsName = sel, ast.NewCIStr(src.name)
	}
	// Every protected source whose rows can reach the result is filtered, or
	// the statement is not.
	a.st.Shape.Filtered = true
	for _, src := range a.rewrites {
		if src.rows && a.protected(src.table) {
			a.st.ProtectedRowsOut = a.st.ProtectedRowsOut || src.reaches()
			a.st.Shape.Filtered = a.st.Shape.Filtered && !src.loose()
		}
	}
	return nil
}

// complete refuses a statement with a table, call or variable that the walk did
// not meet: a place in the tree that was forgotten would be sent as it is.
func (a *analysis) complete(node ast.Node) error {
	v := &forgotten{understood: a.understood}
	node.Accept(v)
	if v.found {
		return unsupported("a part of the statement is not understood", "Write it more simply.")
	}
	return nil
}

type forgotten struct {
	understood map[ast.Node]bool
	found      bool
}

// Enter looks at what reads or does something; what is below a mask is ours.
func (v *forgotten) Enter(n ast.Node) (ast.Node, bool) {
	switch f := n.(type) {
	case *ast.SelectStmt:
		return n, v.understood[n]
	case *ast.FuncCallExpr:
		v.found = v.found || !v.understood[n] && typedLiteral(f) == nil
	case *ast.TableName, *ast.VariableExpr:
		v.found = v.found || !v.understood[n]
	}
	return n, v.found
}

// Leave is part of the visitor.
func (*forgotten) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// derived writes the SELECT that stands for a table.
func (a *analysis) derived(src *source) (string, error) {
	known := a.protection(src.table)
	var list []string
	for i, c := range src.table.columns {
		name := quote(c.name)
		class, ok := known.classes[c.name]
		switch {
		case !src.columns[i].used:
		case !ok:
			list = append(list, name)
		case class.computed:
			list = append(list, a.computed(c)+" AS "+name)
		default:
			list = append(list, a.again(class.Class, c)+" AS "+name)
		}
		if hidden, ok := src.raw[c.name]; ok {
			list = append(list, name+" AS "+quote(hidden))
		}
		if hidden, ok := src.dated[c.name]; ok {
			list = append(list, dated(c, src.movedBy)+" AS "+quote(hidden))
		}
	}
	shown := len(list) > 0
	if !shown { // such as for count(*)
		list = append(list, "1 AS "+quote(hiddenPrefix+"none"))
	}
	var b strings.Builder
	b.WriteString("SELECT " + strings.Join(list, ", "))
	b.WriteString(" FROM " + quote(a.stored(src.table)) + "." + quote(src.table.name))
	if src.table.kind == "table" && a.cat.masked == "" { // a view has no indexes
		b.WriteString(ignoring(exposing(src.table, known, src.sought)))
	}
	sorted := known.ordered
	if src.table.kind == "view" && shown && !sorted {
		shields, ok := known.shields()
		b.WriteString(shielding(shields))
		sorted = !ok
	}
	if sorted {
		// By every visible column as masked, so that the order in which the view
		// made its rows is lost. Without a LIMIT, MariaDB would drop the order.
		b.WriteString(" ORDER BY ")
		for i, c := range src.table.columns {
			if i > 0 {
				b.WriteString(", ")
			}
			if class, ok := known.classes[c.name]; ok && class.computed {
				b.WriteString(a.computed(c))
			} else if ok {
				b.WriteString(a.again(class.Class, c))
			} else {
				b.WriteString(quote(c.name))
			}
		}
		if len(src.raw)+len(src.dated) > 0 { // rows that are alike as masked differ after all, such as by a token
			b.WriteString(", RAND()")
		}
		b.WriteString(lastRow)
	}
	return b.String(), nil
}

// lastRow is a LIMIT that leaves out nothing.
const lastRow = " LIMIT 18446744073709551615"

// exposing are the indexes in whose order a protected column shows: rows that
// are read through one come in that order. One that a raw comparison needs is
// left, and so is one that has it at a later place, if no other begins alike:
// which of a group's rows come first is less than to read the table whole.
func exposing(t *table, known *protection, sought map[string]bool) []string {
	ordered, needed := map[string]bool{}, map[string]bool{}
	var list []string
	for _, c := range t.columns {
		_, protected := known.classes[c.name]
		for i, index := range slices.Concat(c.leads, c.within) {
			ordered[index] = ordered[index] || protected
			needed[index] = needed[index] || sought[c.name]
			if protected && i < len(c.leads) {
				list = append(list, index)
			}
		}
	}
	for _, c := range t.columns {
		if _, protected := known.classes[c.name]; protected || !slices.ContainsFunc(c.leads, func(index string) bool { return !ordered[index] }) {
			continue
		}
		for _, index := range c.leads {
			if ordered[index] {
				list = append(list, index)
			}
		}
	}
	return slices.DeleteFunc(list, func(index string) bool { return needed[index] })
}

// ignoring is the hint that keeps a server from reading a table through indexes.
func ignoring(indexes []string) string {
	if len(indexes) == 0 {
		return ""
	}
	var list []string
	for _, name := range indexes {
		list = append(list, quote(name))
	}
	return " IGNORE INDEX (" + strings.Join(list, ", ") + ")"
}

// computed stands for an expression over protected columns: it is not
// evaluated, since whether it fails would tell.
func (a *analysis) computed(c tableColumn) string {
	c.nullable = false
	return a.mask(masking.Class{Mask: masking.Mask{Kind: masking.Redact}}, c)
}

func (a *analysis) mask(class masking.Class, c tableColumn) string { return a.masks().mask(class, c) }

func (a *analysis) masks() maskWriter {
	return maskWriter{profile: a.in.Classes.Profile(), today: a.in.Today}
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

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
		fmt.Fprintf(&v.b, " %q %q %v", n.AsName.O, n.ColumnNames, n.Lateral)
	case *ast.SelectField:
		fmt.Fprintf(&v.b, " %q", n.AsName.O)
	case *ast.SelectStmt:
		fmt.Fprintf(&v.b, " %v %s %v", n.Distinct, operatorOf(n.AfterSetOperator), n.SelectStmtOpts != nil && n.SQLCache)
	case *ast.WithClause:
		fmt.Fprintf(&v.b, " %v", n.IsRecursive)
	case *ast.CommonTableExpression:
		fmt.Fprintf(&v.b, " %q %q", n.Name.O, n.ColNameList)
	case *ast.SetOprSelectList:
		fmt.Fprintf(&v.b, " %s", operatorOf(n.AfterSetOperator))
	case *ast.CompareSubqueryExpr:
		fmt.Fprintf(&v.b, " %v %v", n.Op, n.All)
	case *ast.GroupByClause:
		fmt.Fprintf(&v.b, " %v", n.Rollup)
	case *ast.FuncCastExpr:
		fmt.Fprintf(&v.b, " %v %s", n.FunctionType, n.Tp.String())
	case *ast.TimeUnitExpr:
		fmt.Fprintf(&v.b, " %v", n.Unit)
	case *ast.TrimDirectionExpr:
		fmt.Fprintf(&v.b, " %v", n.Direction)
	case *ast.SetCollationExpr:
		fmt.Fprintf(&v.b, " %s", n.Collate)
	case *ast.Join:
		fmt.Fprintf(&v.b, " %v %v %v", n.Tp, n.NaturalJoin, n.StraightJoin)
	case *ast.ByItem:
		fmt.Fprintf(&v.b, " %v", n.Desc)
	case *ast.FuncCallExpr:
		fmt.Fprintf(&v.b, " %s", n.FnName.L)
	case *ast.IsTruthExpr:
		fmt.Fprintf(&v.b, " %v %v", n.Not, n.True)
	case *ast.PatternRegexpExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.MatchAgainst:
		fmt.Fprintf(&v.b, " %v", n.Modifier)
	case *ast.PositionExpr:
		fmt.Fprintf(&v.b, " %v", n.N)
	case *ast.GetFormatSelectorExpr:
		fmt.Fprintf(&v.b, " %v", n.Selector)
	case *ast.DefaultExpr:
		fmt.Fprintf(&v.b, " %v", n.Name != nil)
	case *ast.WindowSpec:
		fmt.Fprintf(&v.b, " %q %q %v", n.Name.O, n.Ref.O, n.OnlyAlias)
	case *ast.FrameClause:
		fmt.Fprintf(&v.b, " %v", n.Type)
	case *ast.FrameBound:
		fmt.Fprintf(&v.b, " %v %v %v", n.Type, n.UnBounded, n.Unit)
	case *ast.AggregateFuncExpr:
		fmt.Fprintf(&v.b, " %s %v", strings.ToLower(n.F), n.Distinct)
	case *ast.WindowFuncExpr:
		fmt.Fprintf(&v.b, " %s %v %v %v", strings.ToLower(n.Name), n.Distinct, n.IgnoreNull, n.FromLast)
	case *ast.IsNullExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.PatternInExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.BetweenExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case *ast.PatternLikeOrIlikeExpr:
		fmt.Fprintf(&v.b, " %v %v", n.Not, n.Escape)
	case *ast.ExistsSubqueryExpr:
		fmt.Fprintf(&v.b, " %v", n.Not)
	case ast.ValueExpr:
		fmt.Fprintf(&v.b, " %q", fmt.Sprint(n.GetValue()))
	}
}

func operatorOf(t *ast.SetOprType) string {
	if t == nil {
		return ""
	}
	return t.String()
}

func (v *outliner) Leave(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.ParenthesesExpr); !ok {
		v.b.WriteByte(')')
	}
	return n, true
}
