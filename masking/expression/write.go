package expression

import (
	"strconv"
	"strings"
)

// Dialect is how an engine writes what engines write differently.
type Dialect struct {
	// Text writes a constant text.
	Text func(text string) string
	// Call writes an operation that has no sign or keywords of its own.
	Call func(op string, args []string) string
}

// Write writes an expression over a value, whose own SQL is given.
func (d Dialect) Write(n Node, value string) string {
	args := make([]string, len(n.Args))
	for i, arg := range n.Args {
		args[i] = d.Write(arg, value)
	}
	switch n.Op {
	case Value:
		return value
	case Constant:
		switch n.Type {
		case Null:
			return "NULL"
		case Number:
			return strconv.FormatInt(n.Number, 10)
		}
		return d.Text(n.Text)
	case Case:
		var b strings.Builder
		b.WriteString("CASE")
		for len(args) > 1 {
			b.WriteString(" WHEN " + args[0] + " THEN " + args[1])
			args = args[2:]
		}
		if len(args) == 1 {
			b.WriteString(" ELSE " + args[0])
		}
		return b.String() + " END"
	case "and", "or":
		return "(" + strings.Join(args, " "+n.Op+" ") + ")"
	case "not":
		return "(NOT " + args[0] + ")"
	case "is null":
		return "(" + args[0] + " IS NULL)"
	case "in":
		return "(" + args[0] + " IN (" + strings.Join(args[1:], ", ") + "))"
	case "between":
		return "(" + args[0] + " BETWEEN " + args[1] + " AND " + args[2] + ")"
	case "like":
		return "(" + args[0] + " LIKE " + args[1] + ")"
	case "=", "<>", "<", "<=", ">", ">=", "+", "-":
		return "(" + args[0] + " " + n.Op + " " + args[1] + ")"
	}
	return d.Call(n.Op, args)
}
