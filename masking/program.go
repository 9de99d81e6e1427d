package masking

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// programCost bounds one evaluation in CEL's own units, which grow with the
// value; maxProgram bounds a program's text in bytes.
const (
	programCost = 20_000
	maxProgram  = 1000
)

// Program is a mask that a user writes as a CEL expression over the text
// `value`, which is never NULL. It is safe for concurrent use.
type Program struct {
	// metered counts what it costs while it runs. Plain does not, in half the
	// time: it is for values of up to short bytes, on which the program cannot
	// cost too much.
	metered, plain cel.Program
	short          int
}

// NewProgram compiles an expression.
func NewProgram(text string) (*Program, error) {
	if len(text) > maxProgram {
		return nil, fmt.Errorf("write an expression of at most %d characters", maxProgram)
	}
	env, err := cel.NewEnv(cel.ClearMacros(), cel.Variable("value", cel.StringType), ext.Strings())
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, errors.New(issues.Errors()[0].Message)
	}
	if ast.OutputType() != cel.StringType {
		return nil, fmt.Errorf("the expression is of type %s; a mask is a string", ast.OutputType())
	}
	if strings.TrimSpace(text) == "value" {
		return nil, errors.New("this is the value as it is; give the column the class none if it is not protected")
	}
	p := &Program{short: short(env, ast)}
	if p.metered, err = env.Program(ast, cel.CostLimit(programCost), cel.EvalOptions(cel.OptOptimize)); err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	if p.plain, err = env.Program(ast, cel.EvalOptions(cel.OptOptimize)); err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	return p, nil
}

// short is how long a value may be, in bytes, for CEL's own estimate of the worst
// case to stay below half of programCost; -1 if no length is short enough, or none
// is known to be.
func short(env *cel.Env, ast *cel.Ast) int {
	for size := programCost; size > 0; size /= 2 {
		if cost, err := env.EstimateCost(ast, longest(size)); err == nil && cost.Max <= programCost/2 {
			return size
		}
	}
	return -1
}

// longest tells CEL how long the value is at most, and nothing else.
type longest uint64

// EstimateSize bounds the variable.
func (l longest) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	if len(node.Path()) != 1 {
		return nil // made of it
	}
	return &checker.SizeEstimate{Max: uint64(l)}
}

// EstimateCallCost leaves functions to CEL.
func (longest) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// Append appends what a value becomes. Whatever fails, costs too much or gives
// no text is redacted: what went wrong is not told.
func (p *Program) Append(dst, value []byte) []byte {
	if !utf8.Valid(value) {
		return append(dst, RedactText...)
	}
	program := p.metered
	if len(value) <= p.short {
		program = p.plain
	}
	out, _, err := program.Eval(activation{types.String(value)})
	if err != nil {
		return append(dst, RedactText...)
	}
	text, ok := out.(types.String)
	if !ok {
		return append(dst, RedactText...)
	}
	return append(dst, text...)
}

// activation is the one variable; it is a third of the price of a map.
type activation struct{ value ref.Val }

// ResolveName gives a variable to CEL.
func (a activation) ResolveName(name string) (any, bool) { return a.value, name == "value" }

// Parent has no variables of an outer scope.
func (activation) Parent() cel.Activation { return nil }

// Programs are the compiled CEL masks of a profile, by class.
func (p *Profile) Programs() (map[string]*Program, error) {
	out := map[string]*Program{}
	for name, class := range p.Classes {
		if class.Mask.Kind != CEL {
			continue
		}
		program, err := NewProgram(class.Mask.CEL)
		if err != nil {
			return nil, fmt.Errorf("class %s: %w", name, err)
		}
		out[name] = program
	}
	return out, nil
}
