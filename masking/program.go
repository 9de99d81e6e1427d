package masking

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// programCost bounds one evaluation in CEL's own units, maxProgram its text in
// bytes.
const (
	programCost = 20_000
	maxProgram  = 1000
)

// Program is a mask that a user writes as a CEL expression over the text
// `value`, which is never NULL. It is safe for concurrent use.
type Program struct{ program cel.Program }

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
	program, err := env.Program(ast, cel.CostLimit(programCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	return &Program{program}, nil
}

// Append appends what a value becomes. Whatever fails, costs too much or gives
// no text is redacted: what went wrong is not told.
func (p *Program) Append(dst, value []byte) []byte {
	if !utf8.Valid(value) {
		return append(dst, RedactText...)
	}
	out, _, err := p.program.Eval(activation{types.String(value)})
	if err != nil {
		return append(dst, RedactText...)
	}
	text, ok := out.Value().(string)
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
