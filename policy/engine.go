package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"github.com/chaperone-sql/chaperone/connectors"
)

// costLimit bounds what evaluating one rule may cost, in CEL's units.
const costLimit = 100_000

// ErrorRule is the rule named in a decision when a rule could not be evaluated.
const ErrorRule = "policy-error"

// Engine holds compiled rules. It is safe for concurrent use.
type Engine struct {
	rules   []compiled
	version string
}

type compiled struct {
	Rule
	program cel.Program
}

// New compiles rules. It reports every rule that is wrong, by name.
func New(rules []Rule) (*Engine, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("building the policy environment: %w", err)
	}
	e := &Engine{}
	var wrong []error
	seen := map[string]bool{}
	for _, r := range rules {
		program, err := compile(env, r)
		if err == nil && seen[r.Name] {
			err = errors.New("another rule has this name")
		}
		seen[r.Name] = true
		if err != nil {
			wrong = append(wrong, fmt.Errorf("rule %q: %w", r.Name, err))
			continue
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

func compile(env *cel.Env, r Rule) (cel.Program, error) {
	switch {
	case r.Name == "":
		return nil, errors.New("a rule needs a name")
	case r.Message == "" && r.Effect != Allow:
		return nil, errors.New("a rule that approves or denies needs a message")
	case !slices.Contains([]Effect{Allow, Approve, Deny}, r.Effect):
		return nil, fmt.Errorf("effect %q is none of allow, approve, deny", r.Effect)
	case r.Approvals < 0 || r.Expires < 0:
		return nil, errors.New("approvals and expires cannot be negative")
	}
	ast, issues := env.Compile(r.When)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the condition is of type %s, not bool", ast.OutputType())
	}
	return env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
}

// Version is a digest of the rules.
func (e *Engine) Version() string { return e.version }

// Decide evaluates every rule. A rule that fails denies: what cannot be decided
// does not run.
func (e *Engine) Decide(in Input) (Decision, error) {
	vars := variables(in)
	byEffect := map[Effect][]Matched{}
	for _, r := range e.rules {
		out, _, err := r.program.Eval(vars)
		hit, ok := false, err == nil
		if ok {
			hit, ok = out.Value().(bool)
		}
		if !ok {
			return Decision{Effect: Deny, Version: e.version, Matched: []Matched{{Rule: ErrorRule,
				Message: fmt.Sprintf("The rule %q could not be evaluated, so the statement is denied.", r.Name)}}}, nil
		}
		if hit {
			byEffect[r.Effect] = append(byEffect[r.Effect], Matched{
				Rule: r.Name, Message: r.Message, Hint: r.Hint, Approvals: r.Approvals, Expires: r.Expires,
			})
		}
	}
	for _, effect := range []Effect{Deny, Approve, Allow} {
		if matched := byEffect[effect]; len(matched) > 0 {
			explain(matched, in.Statement)
			return Decision{Effect: effect, Matched: matched, Version: e.version}, nil
		}
	}
	return Decision{Effect: Deny, Version: e.version}, nil
}

// explain completes a rule's hint with what the engine knows about the very
// use, function or relation that it is about.
func explain(matched []Matched, st *connectors.Statement) {
	for i := range matched {
		if matched[i].Hint != "" {
			continue
		}
		switch matched[i].Rule {
		case "destroyed-use", "protected-predicate":
			for _, use := range st.Uses {
				if use.Seen == connectors.SeenDestroyed && use.Hint != "" {
					matched[i].Hint = use.Hint
					break
				}
			}
		case "denied-catalog":
			for _, r := range st.Relations {
				if r.Denied != "" {
					matched[i].Hint = r.Schema + "." + r.Name + ": " + r.Denied
					break
				}
			}
		case "denied-function":
			for _, f := range st.Functions {
				if f.Class != connectors.FunctionHarmless && f.Class != connectors.FunctionCatalog {
					matched[i].Hint = fmt.Sprintf("%s is of the kind %q.", f.Name, f.Class)
					break
				}
			}
		}
	}
}

// What rules see. The CEL type checker knows these structs, so a misspelt field
// stops the start instead of denying at run time.
type (
	statementView struct {
		Kind       string         `cel:"kind"`
		Write      bool           `cel:"write"`
		Runnable   bool           `cel:"runnable"`
		Relations  []relationView `cel:"relations"`
		Uses       []useView      `cel:"uses"`
		Functions  []functionView `cel:"functions"`
		Outputs    int64          `cel:"outputs"`
		Lookups    int64          `cel:"lookups"`
		Protected  bool           `cel:"protected"`
		Shape      shapeView      `cel:"shape"`
		Normalized string         `cel:"normalized"`
	}
	relationView struct {
		Schema    string `cel:"schema"`
		Name      string `cel:"name"`
		Kind      string `cel:"kind"`
		Write     bool   `cel:"write"`
		Protected bool   `cel:"protected"`
		Denied    string `cel:"denied"`
	}
	useView struct {
		Column   string `cel:"column"`
		Class    string `cel:"class"`
		Kind     string `cel:"kind"`
		Seen     string `cel:"seen"`
		Openable bool   `cel:"openable"`
	}
	functionView struct {
		Name       string `cel:"name"`
		Volatility string `cel:"volatility"`
		Class      string `cel:"class"`
	}
	shapeView struct {
		Filtered  bool  `cel:"filtered"`
		Limit     int64 `cel:"limit"`
		Aggregate bool  `cel:"aggregate"`
		Grouped   bool  `cel:"grouped"`
		Joins     int64 `cel:"joins"`
		Cartesian bool  `cel:"cartesian"`
		Recursive bool  `cel:"recursive"`
		Locking   bool  `cel:"locking"`
		Where     bool  `cel:"where"`
		Depth     int64 `cel:"depth"`
	}
	principalView struct {
		Subject    string   `cel:"subject"`
		ClientID   string   `cel:"client_id"`
		OnBehalfOf string   `cel:"on_behalf_of"`
		Groups     []string `cel:"groups"`
		Roles      []string `cel:"roles"`
	}
	connectionView struct {
		Name   string `cel:"name"`
		Engine string `cel:"engine"`
	}
	requestView struct {
		RowLimit     int64  `cel:"row_limit"`
		ByteLimit    int64  `cel:"byte_limit"`
		TimeoutMS    int64  `cel:"timeout_ms"`
		MaxAffected  int64  `cel:"max_affected"`
		PurposeOfUse string `cel:"purpose_of_use"`
		HasReason    bool   `cel:"has_reason"`
		SessionID    string `cel:"session_id"`
		DryRun       bool   `cel:"dry_run"`
		Parameters   int64  `cel:"parameters"`
	}
	estimateView struct {
		Known   bool    `cel:"known"`
		Rows    float64 `cel:"rows"`
		Cost    float64 `cel:"cost"`
		Scanned float64 `cel:"scanned"`
	}
)

func environment() (*cel.Env, error) {
	return cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true),
			statementType, principalType, connectionType, requestType, estimateType),
		cel.Variable("statement", cel.ObjectType("policy.statementView")),
		cel.Variable("principal", cel.ObjectType("policy.principalView")),
		cel.Variable("connection", cel.ObjectType("policy.connectionView")),
		cel.Variable("request", cel.ObjectType("policy.requestView")),
		cel.Variable("estimate", cel.ObjectType("policy.estimateView")),
		cel.Variable("now", cel.TimestampType),
	)
}

func variables(in Input) map[string]any {
	st := in.Statement
	view := statementView{
		Kind: string(st.Kind), Write: st.Write, Runnable: st.Runnable, Outputs: int64(len(st.Outputs)),
		Lookups: int64(len(st.Lookups)), Normalized: st.Normalized,
		Shape: shapeView{
			Filtered: st.Shape.Filtered, Limit: st.Shape.Limit, Aggregate: st.Shape.Aggregate, Grouped: st.Shape.Grouped,
			Joins: int64(st.Shape.Joins), Cartesian: st.Shape.Cartesian, Recursive: st.Shape.Recursive,
			Locking: st.Shape.Locking, Where: st.Shape.Where, Depth: int64(st.Shape.Depth),
		},
	}
	for _, r := range st.Relations {
		view.Relations = append(view.Relations, relationView(r))
		view.Protected = view.Protected || r.Protected
	}
	for _, u := range st.Uses {
		view.Uses = append(view.Uses, useView{Column: u.Column.String(), Class: u.Class, Kind: string(u.Kind),
			Seen: string(u.Seen), Openable: u.Openable})
	}
	for _, f := range st.Functions {
		view.Functions = append(view.Functions, functionView{f.Name, string(f.Volatility), string(f.Class)})
	}
	var estimate estimateView
	if in.Estimate != nil {
		estimate = estimateView(*in.Estimate)
	}
	return map[string]any{
		"statement":  view,
		"principal":  principalView(in.Principal),
		"connection": connectionView{in.Connection, in.Engine},
		"request":    requestView(in.Request),
		"estimate":   estimate,
		"now":        in.Now.UTC().Truncate(time.Microsecond),
	}
}
