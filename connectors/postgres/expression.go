package postgres

import (
	"errors"
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/expression"
)

// valueMark stands for the protected value in a mask that a user writes.
const valueMark = "$value"

// maskFunctions are the functions that such a mask may call, and what package
// expression calls them. Each is harmless and immutable in the function table.
var maskFunctions = map[string]string{
	"left": "left", "right": "right", "substring": "substring", "substr": "substring", "lower": "lower", "upper": "upper", "reverse": "reverse",
	"btrim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "replace": "replace", "lpad": "lpad", "rpad": "rpad", "repeat": "repeat",
	"char_length": "char_length", "character_length": "char_length",
}

// ParseMask understands an expression that is to be a mask.
func ParseMask(text string) (expression.Node, error) {
	var none expression.Node
	// Nothing but the value begins with a dollar: neither a parameter nor a
	// quoted text.
	bare := strings.ReplaceAll(text, valueMark, "")
	if len(text) > expression.MaxLength || strings.ContainsRune(bare, '$') {
		return none, fmt.Errorf("write an expression of at most %d characters, with %s for the value and no other $", expression.MaxLength, valueMark)
	}
	tree, ok := one("SELECT " + strings.ReplaceAll(text, valueMark, "$1"))
	if !ok {
		return none, errors.New("this is no expression of PostgreSQL")
	}
	sel := tree.Stmts[0].Stmt.GetSelectStmt()
	if len(sel.GetTargetList()) != 1 {
		return none, errors.New("write one expression")
	}
	target := sel.TargetList[0].GetResTarget()
	if target.GetName() != "" || len(target.Indirection) > 0 || !onlyTargets(sel) {
		return none, errors.New("write one expression and nothing else")
	}
	n, err := maskNode(target.Val)
	if err != nil {
		return none, err
	}
	return n, expression.Check(n)
}

// onlyTargets reports whether a SELECT has nothing but its list.
func onlyTargets(n *pg.SelectStmt) bool {
	return n.Op == pg.SetOperation_SETOP_NONE && n.IntoClause == nil && n.WhereClause == nil && n.HavingClause == nil && n.WithClause == nil &&
		n.LimitCount == nil && n.LimitOffset == nil &&
		len(n.FromClause)+len(n.DistinctClause)+len(n.GroupClause)+len(n.WindowClause)+len(n.SortClause)+len(n.LockingClause)+len(n.ValuesLists) == 0
}

// maskNode builds what a node says. What it does not know it refuses.
func maskNode(n *pg.Node) (expression.Node, error) {
	switch e := n.GetNode().(type) {
	case *pg.Node_ParamRef:
		return expression.NewValue(), nil
	case *pg.Node_AConst:
		return maskConstant(e.AConst)
	case *pg.Node_FuncCall:
		return maskCall(e.FuncCall)
	case *pg.Node_AExpr:
		return maskOperator(e.AExpr)
	case *pg.Node_BoolExpr:
		name := map[pg.BoolExprType]string{pg.BoolExprType_AND_EXPR: "and", pg.BoolExprType_OR_EXPR: "or", pg.BoolExprType_NOT_EXPR: "not"}[e.BoolExpr.Boolop]
		return maskApply(name, e.BoolExpr.Args...)
	case *pg.Node_NullTest:
		test, err := maskApply("is null", e.NullTest.Arg)
		if err != nil || e.NullTest.Nulltesttype == pg.NullTestType_IS_NULL {
			return test, err
		}
		return expression.Apply("not", test)
	case *pg.Node_CoalesceExpr:
		return maskApply("coalesce", e.CoalesceExpr.Args...)
	case *pg.Node_CaseExpr:
		return maskCase(e.CaseExpr)
	case *pg.Node_TypeCast:
		inner, err := maskNode(e.TypeCast.Arg)
		if t := e.TypeCast.TypeName; err == nil && (inner.Type != expression.Text || last(t.GetNames()) != "text" || len(t.ArrayBounds) > 0) {
			err = errors.New("a mask casts nothing but a text to text")
		}
		return inner, err
	case *pg.Node_ColumnRef:
		return expression.Node{}, fmt.Errorf("a mask sees no column; write %s for the value", valueMark)
	}
	return expression.Node{}, errors.New("this form of expression is not possible in a mask")
}

func maskConstant(c *pg.A_Const) (expression.Node, error) {
	switch {
	case c.Isnull:
		return expression.NewNull(), nil
	case c.GetSval() != nil && strings.Contains(c.GetSval().Sval, "$"):
		return expression.Node{}, fmt.Errorf("write %s outside of quotes", valueMark)
	case c.GetSval() != nil:
		return expression.NewText(c.GetSval().Sval)
	case c.GetIval() != nil:
		return expression.NewNumber(int64(c.GetIval().Ival))
	}
	return expression.Node{}, errors.New("constants are texts and whole numbers")
}

func maskCall(f *pg.FuncCall) (expression.Node, error) {
	name := last(f.Funcname)
	own, ok := maskFunctions[name]
	qualified := len(f.Funcname) > 2 || len(f.Funcname) == 2 && f.Funcname[0].GetString_().GetSval() != "pg_catalog"
	if !ok || qualified || f.AggFilter != nil || f.Over != nil || f.AggStar || f.AggDistinct || f.FuncVariadic || f.AggWithinGroup || len(f.AggOrder) > 0 {
		hint := ""
		if name == "length" || name == "concat" {
			hint = map[string]string{"length": "; write char_length", "concat": "; write ||"}[name]
		}
		return expression.Node{}, fmt.Errorf("the function %s is not possible in a mask%s", word(name), hint)
	}
	return maskApply(own, f.Args...)
}

func maskOperator(e *pg.A_Expr) (expression.Node, error) {
	name := last(e.Name)
	if len(e.Name) != 1 {
		return expression.Node{}, errors.New("write operators without their schema")
	}
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		if e.Lexpr == nil || e.Rexpr == nil {
			return expression.Node{}, fmt.Errorf("the operator %s is not possible here in a mask", name)
		}
		if name == "||" {
			name = "concat"
		}
		return maskApply(name, e.Lexpr, e.Rexpr)
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		return maskApply("nullif", e.Lexpr, e.Rexpr)
	case pg.A_Expr_Kind_AEXPR_LIKE:
		return expression.Negated(name == "!~~")(maskApply("like", e.Lexpr, e.Rexpr))
	case pg.A_Expr_Kind_AEXPR_IN:
		return expression.Negated(name == "<>")(maskApply("in", append([]*pg.Node{e.Lexpr}, e.Rexpr.GetList().GetItems()...)...))
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN:
		return expression.Negated(e.Kind == pg.A_Expr_Kind_AEXPR_NOT_BETWEEN)(maskApply("between", append([]*pg.Node{e.Lexpr}, e.Rexpr.GetList().GetItems()...)...))
	}
	return expression.Node{}, fmt.Errorf("the operator %s is not possible in a mask", name)
}

func maskCase(e *pg.CaseExpr) (expression.Node, error) {
	var args []expression.Node
	for _, w := range e.Args {
		var (
			condition expression.Node
			err       error
		)
		if e.Arg != nil {
			condition, err = maskApply("=", e.Arg, w.GetCaseWhen().GetExpr())
		} else {
			condition, err = maskNode(w.GetCaseWhen().GetExpr())
		}
		if err != nil {
			return condition, err
		}
		result, err := maskNode(w.GetCaseWhen().GetResult())
		if err != nil {
			return result, err
		}
		args = append(args, condition, result)
	}
	if e.Defresult != nil {
		otherwise, err := maskNode(e.Defresult)
		if err != nil {
			return otherwise, err
		}
		args = append(args, otherwise)
	}
	return expression.NewCase(args...)
}

func maskApply(name string, args ...*pg.Node) (expression.Node, error) {
	var list []expression.Node
	for _, arg := range args {
		n, err := maskNode(arg)
		if err != nil {
			return n, err
		}
		list = append(list, n)
	}
	return expression.Apply(name, list...)
}

// dialect is how PostgreSQL writes masks that users write.
var dialect = expression.Dialect{
	Text: func(text string) string { return literal(text) + "::pg_catalog.text" },
	Call: func(op string, args []string) string {
		list := strings.Join(args, ", ")
		switch op {
		case "concat":
			return "(" + strings.Join(args, " || ") + ")"
		case "coalesce", "nullif":
			return op + "(" + list + ")"
		case "trim":
			return "pg_catalog.btrim(" + list + ")"
		}
		return "pg_catalog." + quote(op) + "(" + list + ")"
	},
}

// expression is a user's mask over a column of text; a NULL over any other, and
// wherever there is no such expression for this engine.
func (m maskWriter) expression(class masking.Class, c relationColumn) string {
	n, err := m.parsedMask(class.Mask.Postgres)
	if err != nil || !isText(c.base) {
		return null(c)
	}
	return "(CASE WHEN " + quote(c.name) + " IS NULL THEN NULL ELSE " + dialect.Write(n, quote(c.name)+"::pg_catalog.text") + " END)::" + c.typ
}

// parsedMask keeps expressions with the catalog.
func (m maskWriter) parsedMask(text string) (expression.Node, error) {
	if m.expressions == nil {
		return ParseMask(text)
	}
	if n, ok := m.expressions.Load(text); ok {
		return n.(expression.Node), nil //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	n, err := ParseMask(text)
	if err == nil {
		m.expressions.Store(text, n)
	}
	return n, err
}
