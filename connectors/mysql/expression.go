package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/expression"
)

// valueMark stands for the protected value in a mask that a user writes; to the
// parser it is the name of a column.
const valueMark = "$value"

// maskFunctions are the functions that such a mask may call, and what package
// expression calls them. Each is harmless and immutable in the function table.
var maskFunctions = map[string]string{
	"left": "left", "right": "right", "substring": "substring", "substr": "substring", "lower": "lower", "upper": "upper", "reverse": "reverse",
	"trim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "replace": "replace", "lpad": "lpad", "rpad": "rpad", "repeat": "repeat",
	"char_length": "char_length", "character_length": "char_length", "concat": "concat", "coalesce": "coalesce", "ifnull": "coalesce", "nullif": "nullif",
}

// ParseMask understands an expression that is to be a mask.
func ParseMask(text string) (expression.Node, error) {
	var none expression.Node
	if len(text) > expression.MaxLength {
		return none, fmt.Errorf("write an expression of at most %d characters, with %s for the value", expression.MaxLength, valueMark)
	}
	if err := checkText(text); err != nil {
		return none, errors.New("this is no plain expression of MySQL")
	}
	node, err := parse("SELECT " + text)
	if err != nil {
		return none, errors.New("this is no expression of MySQL")
	}
	sel, ok := node.(*ast.SelectStmt)
	if !ok || len(sel.Fields.Fields) != 1 {
		return none, errors.New("write one expression")
	}
	field := sel.Fields.Fields[0]
	if field.WildCard != nil || field.AsName.O != "" || !onlyFields(sel) {
		return none, errors.New("write one expression and nothing else")
	}
	n, err := maskNode(field.Expr)
	if err != nil {
		return none, err
	}
	return n, expression.Check(n)
}

// onlyFields reports whether a SELECT has nothing but its list.
func onlyFields(n *ast.SelectStmt) bool {
	return n.From == nil && n.Where == nil && n.GroupBy == nil && n.Having == nil && n.OrderBy == nil && n.Limit == nil && n.LockInfo == nil &&
		n.With == nil && n.SelectIntoOpt == nil && !n.Distinct && len(n.WindowSpecs) == 0 && len(n.TableHints) == 0
}

// maskNode builds what a node says. What it does not know it refuses.
func maskNode(n ast.ExprNode) (expression.Node, error) {
	switch e := n.(type) {
	case *ast.ParenthesesExpr:
		return maskNode(e.Expr)
	case *ast.ColumnNameExpr:
		if e.Name.Name.O == valueMark && e.Name.Table.O == "" && e.Name.Schema.O == "" {
			return expression.NewValue(), nil
		}
		return expression.Node{}, fmt.Errorf("a mask sees no column; write %s for the value", valueMark)
	case ast.ParamMarkerExpr: // which is a ValueExpr too
	case ast.ValueExpr:
		return maskConstant(e)
	case *ast.FuncCallExpr:
		return maskCall(e)
	case *ast.BinaryOperationExpr:
		name, ok := map[opcode.Op]string{opcode.EQ: "=", opcode.NE: "<>", opcode.LT: "<", opcode.LE: "<=", opcode.GT: ">", opcode.GE: ">=",
			opcode.LogicAnd: "and", opcode.LogicOr: "or", opcode.Plus: "+", opcode.Minus: "-"}[e.Op]
		if !ok {
			return expression.Node{}, fmt.Errorf("the operator %s is not possible in a mask", e.Op)
		}
		out, err := maskApply(name, e.L, e.R)
		if err != nil && name == "or" {
			err = fmt.Errorf("%w; || is OR in MySQL, write concat", err)
		}
		return out, err
	case *ast.UnaryOperationExpr:
		if e.Op != opcode.Not && e.Op != opcode.Not2 {
			return expression.Node{}, fmt.Errorf("the operator %s is not possible in a mask", e.Op)
		}
		return maskApply("not", e.V)
	case *ast.IsNullExpr:
		return expression.Negated(e.Not)(maskApply("is null", e.Expr))
	case *ast.PatternInExpr:
		if e.Sel == nil {
			return expression.Negated(e.Not)(maskApply("in", append([]ast.ExprNode{e.Expr}, e.List...)...))
		}
	case *ast.BetweenExpr:
		return expression.Negated(e.Not)(maskApply("between", e.Expr, e.Left, e.Right))
	case *ast.PatternLikeOrIlikeExpr:
		if e.IsLike && e.Escape == '\\' {
			return expression.Negated(e.Not)(maskApply("like", e.Expr, e.Pattern))
		}
	case *ast.CaseExpr:
		return maskCase(e)
	}
	return expression.Node{}, errors.New("this form of expression is not possible in a mask")
}

func maskConstant(v ast.ValueExpr) (expression.Node, error) {
	switch x := v.GetValue().(type) {
	case nil:
		return expression.NewNull(), nil
	case string:
		if strings.Contains(x, valueMark) {
			return expression.Node{}, fmt.Errorf("write %s outside of quotes", valueMark)
		}
		return expression.NewText(x)
	case int64:
		return expression.NewNumber(x)
	}
	return expression.Node{}, errors.New("constants are texts and whole numbers")
}

func maskCall(f *ast.FuncCallExpr) (expression.Node, error) {
	name := f.FnName.L
	own, ok := maskFunctions[name]
	switch {
	case name == "if" && f.Schema.L == "" && len(f.Args) == 3:
		args, err := maskNodes(f.Args)
		if err != nil {
			return expression.Node{}, err
		}
		return expression.NewCase(args...)
	case !ok || f.Schema.L != "":
		hint := ""
		if name == "length" {
			hint = "; write char_length"
		}
		return expression.Node{}, fmt.Errorf("the function %s is not possible in a mask%s", word(name), hint)
	}
	return maskApply(own, f.Args...)
}

func maskCase(e *ast.CaseExpr) (expression.Node, error) {
	var args []expression.Node
	for _, w := range e.WhenClauses {
		condition, err := maskNode(w.Expr)
		if e.Value != nil {
			condition, err = maskApply("=", e.Value, w.Expr)
		}
		if err != nil {
			return condition, err
		}
		result, err := maskNode(w.Result)
		if err != nil {
			return result, err
		}
		args = append(args, condition, result)
	}
	if e.ElseClause != nil {
		otherwise, err := maskNode(e.ElseClause)
		if err != nil {
			return otherwise, err
		}
		args = append(args, otherwise)
	}
	return expression.NewCase(args...)
}

func maskNodes(args []ast.ExprNode) ([]expression.Node, error) {
	var list []expression.Node
	for _, arg := range args {
		n, err := maskNode(arg)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func maskApply(name string, args ...ast.ExprNode) (expression.Node, error) {
	list, err := maskNodes(args)
	if err != nil {
		return expression.Node{}, err
	}
	return expression.Apply(name, list...)
}

// dialect is how MySQL writes masks that users write.
var dialect = expression.Dialect{
	Text: literal,
	Call: func(op string, args []string) string {
		return strings.ToUpper(op) + "(" + strings.Join(args, ", ") + ")"
	},
}

// expression is a user's mask over a column of text; a NULL over any other, and
// wherever there is no such expression for this engine.
func (maskWriter) expression(class masking.Class, c tableColumn) string {
	n, err := ParseMask(class.Mask.MySQL)
	if err != nil || !isText(c.dataType) {
		return null(c.dataType)
	}
	value := quote(c.name)
	if c.dataType == "enum" || c.dataType == "set" { // which also are numbers
		value = "CONCAT(" + value + ")"
	}
	return "CASE WHEN " + quote(c.name) + " IS NULL THEN NULL ELSE " + dialect.Write(n, value) + " END"
}
