package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/chaperone-sql/chaperone/connectors"
)

// costLimit bounds what evaluating one rule may cost, in CEL's units.
const costLimit = 100_000

// Rules that no configuration writes, named in decisions.
const (
	// ErrorRule is named when a rule could not be evaluated.
	ErrorRule = "policy-error"
	// DefaultDenyRule is named when no rule matched.
	DefaultDenyRule = "default-deny"
)

// ruleName is what a rule may be called.
var ruleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Engine holds compiled rules. It is safe for concurrent use.
type Engine struct {
	rules   []compiled
	version string
}

type compiled struct {
	Rule
	program cel.Program
}

// RuleError is one rule that New refuses.
type RuleError struct {
	// Index is the rule's place in the list given to New.
	Index int
	Name  string
	// InWhen is true if the condition is at fault.
	InWhen bool
	// Problem is one line that says what is wrong.
	Problem string
}

func (e *RuleError) Error() string { return fmt.Sprintf("rule %q: %s", e.Name, e.Problem) }

// New compiles rules. Its error joins a RuleError for each rule that is wrong.
func New(rules []Rule) (*Engine, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("building the policy environment: %w", err)
	}
	e := &Engine{}
	var wrong []error
	seen := map[string]bool{}
	for i, r := range rules {
		refuse := func(inWhen bool, problem string) {
			wrong = append(wrong, &RuleError{Index: i, Name: r.Name, InWhen: inWhen, Problem: problem})
		}
		if problem := form(r, seen[r.Name]); problem != "" {
			refuse(false, problem)
		}
		seen[r.Name] = true
		program, problem := compile(env, r.When)
		if problem != "" {
			refuse(true, problem)
		}
		e.rules = append(e.rules, compiled{r, program})
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	text, err := json.Marshal(rules)
	if err != nil {
		return nil, fmt.Errorf("hashing the policy: %w", err)
	}
	sum := sha256.Sum256(text)
	e.version = hex.EncodeToString(sum[:])
	return e, nil
}

// form says what is wrong with a rule besides its condition, or "".
func form(r Rule, taken bool) string {
	switch {
	case !ruleName.MatchString(r.Name):
		return "name rules with small letters, digits and -"
	case r.Name == ErrorRule || r.Name == DefaultDenyRule:
		return "this name is the gateway's own"
	case taken:
		return "another rule has this name"
	case !slices.Contains([]Effect{Allow, Approve, Deny}, r.Effect):
		return fmt.Sprintf("effect %q is none of allow, approve, deny", r.Effect)
	case strings.TrimSpace(r.Message) == "" && r.Effect != Allow:
		return "a rule that approves or denies needs a message for the agent"
	case r.Outgrown < 0 || r.Effect == Allow && r.Outgrown != 0:
		return "outgrown is a number of rows, for the effects approve and deny"
	case r.Approvals < 0 || r.Expires < 0:
		return "approvals and expires cannot be negative"
	case r.Effect != Approve && (r.Approvals != 0 || r.Expires != 0):
		return "approvals and expires are for the effect approve"
	}
	return ""
}

// compile returns the program of a condition, or one line that says what is
// wrong with it.
func compile(env *cel.Env, when string) (cel.Program, string) {
	ast, issues := env.Compile(when)
	if issues.Err() != nil {
		all := make([]string, 0, len(issues.Errors()))
		for _, e := range issues.Errors() {
			message, _, _ := strings.Cut(e.Message, "\n")
			all = append(all, fmt.Sprintf("%s (character %d)", message, e.Location.Column()+1))
		}
		return nil, strings.Join(all, "; ")
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Sprintf("the condition is of type %s, not bool", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return nil, message
	}
	return program, ""
}

// Version is a digest of the rules.
func (e *Engine) Version() string { return e.version }

// Decide evaluates every rule; the strictest effect wins. A rule that fails
// denies: what cannot be decided does not run. An error is a defect of the caller.
func (e *Engine) Decide(in Input) (Decision, error) {
	if in.Statement == nil {
		return Decision{}, errors.New("deciding: there is no statement")
	}
	vars := variables(in)
	byEffect := map[Effect][]Matched{}
	for _, r := range e.rules {
		out, _, err := r.program.Eval(vars)
		hit, ok := false, err == nil
		if ok {
			hit, ok = out.Value().(bool)
		}
		if !ok {
			return e.deny(ErrorRule, fmt.Sprintf("The rule %q could not be evaluated, so the statement is denied.", r.Name),
				"Ask the operator of the gateway to mend the rule."), nil
		}
		if hit {
			byEffect[r.Effect] = append(byEffect[r.Effect], Matched{
				Rule: r.Name, Message: r.Message, Hint: r.Hint, Approvals: r.Approvals, Expires: r.Expires,
			})
		}
	}
	for _, effect := range []Effect{Deny, Approve, Allow} {
		if matched := byEffect[effect]; len(matched) > 0 {
			addHints(matched, in.Statement)
			d := Decision{Effect: effect, Matched: matched, Version: e.version}
			if effect == Allow {
				d.MaxRows, d.OutgrownRule = e.outgrown(in)
			}
			return d, nil
		}
	}
	return e.deny(DefaultDenyRule, "No rule allows this statement.", "Plain SELECT statements are what agents can run."), nil
}

// outgrown finds the fewest rows at which a rule on the estimate would have
// matched, had the planner known the truth.
func (e *Engine) outgrown(in Input) (rows int64, rule string) {
	truth := connectors.Estimate{}
	if in.Estimate != nil {
		truth = *in.Estimate
	}
	truth.Known, truth.Rows, truth.Guess = true, math.MaxFloat64, false
	in.Estimate = &truth
	vars := variables(in)
	for _, r := range e.rules {
		if r.Outgrown <= 0 || rule != "" && r.Outgrown >= rows {
			continue
		}
		out, _, err := r.program.Eval(vars)
		if err != nil || out.Value() == true { // what cannot be decided bounds too
			rows, rule = r.Outgrown, r.Name
		}
	}
	return rows, rule
}

func (e *Engine) deny(rule, message, hint string) Decision {
	return Decision{Effect: Deny, Version: e.version, Matched: []Matched{{Rule: rule, Message: message, Hint: hint}}}
}
