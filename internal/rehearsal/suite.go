package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/chaperone-sql/chaperone/api"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// Suite is a file of statements with what must become of them.
type Suite struct {
	// Connection and Now are for the cases that name none.
	Connection string    `yaml:"connection"`
	Now        time.Time `yaml:"now"`
	Statements []Case    `yaml:"statements"`
}

// Case is one statement.
type Case struct {
	Name       string `yaml:"name"`
	Connection string `yaml:"connection"`
	Statement  string `yaml:"statement"`
	// Parameters are a list, or names with values, as over HTTP.
	Parameters  any       `yaml:"parameters"`
	Principal   Principal `yaml:"principal"`
	Purpose     string    `yaml:"purpose"`
	Reason      string    `yaml:"reason"`
	RowLimit    int64     `yaml:"row_limit"`
	MaxAffected *int64    `yaml:"max_affected"`
	Now         time.Time `yaml:"now"`
	// Estimate stands for the planner's, which an offline test has not.
	Estimate *Estimate `yaml:"estimate"`
	Expect   Expect    `yaml:"expect"`

	line int
}

// Principal is who asks. Roles default to [agent].
type Principal struct {
	Subject    string   `yaml:"subject"`
	ClientID   string   `yaml:"client_id"`
	OnBehalfOf string   `yaml:"on_behalf_of"`
	Groups     []string `yaml:"groups"`
	Roles      []string `yaml:"roles"`
}

// Estimate is the planner's.
type Estimate struct {
	Rows    float64 `yaml:"rows"`
	Cost    float64 `yaml:"cost"`
	Scanned float64 `yaml:"scanned"`
	Grouped float64 `yaml:"grouped"`
}

// Expect is what must come out. What is left out is not compared.
type Expect struct {
	// Decision is allow, approve, deny, or refused: not understood, or wrong.
	Decision string `yaml:"decision"`
	// Rule must be among those that decide.
	Rule string `yaml:"rule"`
	// Masks names every masked column of the result with the kind of its mask;
	// {} says that nothing is masked, "none" that a column is not.
	Masks map[string]string `yaml:"masks"`
	// Text is the rewritten statement; white space does not matter.
	Text string `yaml:"text"`
	// Code is the problem's, such as sql_unresolved.
	Code string `yaml:"code"`
	// Notes must be contained in the answer's notes, each.
	Notes []string `yaml:"notes"`
}

// refused is the decision about a statement that no rule saw.
const refused = "refused"

// ParseSuite reads a file strictly; name is used in messages.
func ParseSuite(name string, text []byte) (suite *Suite, err error) {
	defer func() { // a defect of the YAML library must not look like a crash of ours
		if r := recover(); r != nil {
			suite, err = nil, fmt.Errorf("%s: not understood as YAML", name)
		}
	}()
	suite = &Suite{}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(suite); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if len(suite.Statements) == 0 {
		return nil, fmt.Errorf("%s: there are no statements", name)
	}
	lines := linesOf(text)
	var wrong []error
	for i := range suite.Statements {
		c := &suite.Statements[i]
		if i < len(lines) {
			c.line = lines[i]
		}
		if c.Connection == "" {
			c.Connection = suite.Connection
		}
		if c.Now.IsZero() {
			c.Now = suite.Now
		}
		if c.Principal.Roles == nil {
			c.Principal.Roles = []string{string(identity.Agent)}
		}
		refuse := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("%s:%d: %s", name, c.line, fmt.Sprintf(format, args...)))
		}
		if c.Connection == "" {
			refuse("name the connection")
		}
		if strings.TrimSpace(c.Statement) == "" {
			refuse("there is no statement")
		}
		if !slices.Contains([]string{"allow", "approve", "deny", refused}, c.Expect.Decision) {
			refuse("expect.decision must be allow, approve, deny or refused")
		}
		for _, r := range c.Principal.Roles {
			if !slices.Contains([]identity.Role{identity.Agent, identity.Approver, identity.Auditor}, identity.Role(r)) {
				refuse("there is no role %q; there are agent, approver and auditor", r)
			}
		}
	}
	return suite, errors.Join(wrong...)
}

// linesOf is where each statement of the file begins.
func linesOf(text []byte) []int {
	file, err := parser.ParseBytes(text, 0)
	if err != nil || len(file.Docs) == 0 {
		return nil
	}
	root, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	var lines []int
	for _, pair := range root.Values {
		list, ok := pair.Value.(*ast.SequenceNode)
		if !ok || pair.Key.String() != "statements" {
			continue
		}
		for _, entry := range list.Values {
			if m, ok := entry.(*ast.MappingNode); ok && len(m.Values) > 0 {
				lines = append(lines, m.Values[0].Key.GetToken().Position.Line)
				continue
			}
			lines = append(lines, entry.GetToken().Position.Line)
		}
	}
	return lines
}

// Result is what became of one case.
type Result struct {
	Line       int               `json:"line"`
	Name       string            `json:"name,omitempty"`
	Connection string            `json:"connection"`
	Statement  string            `json:"statement"`
	Passed     bool              `json:"passed"`
	Wrong      []string          `json:"wrong,omitempty"`
	Decision   string            `json:"decision"`
	Rules      []string          `json:"rules"`
	Code       string            `json:"code,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Masks      map[string]string `json:"masks"`
	Text       string            `json:"text,omitempty"`
}

// Run tries every case. An error is of the stage: nothing is known then.
func (s *Stage) Run(ctx context.Context, suite *Suite) ([]Result, error) {
	results := make([]Result, 0, len(suite.Statements))
	for i := range suite.Statements {
		one, err := s.run(ctx, &suite.Statements[i])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", suite.Statements[i].line, err)
		}
		results = append(results, *one)
	}
	return results, nil
}

func (s *Stage) run(ctx context.Context, c *Case) (*Result, error) {
	r := &Result{Line: c.line, Name: c.Name, Connection: c.Connection, Statement: c.Statement, Rules: []string{}, Masks: map[string]string{}}
	question, err := c.question()
	var problem *gateway.Problem
	if err != nil && !errors.As(err, &problem) {
		return nil, err
	}
	answer := &gateway.Rehearsed{Problem: problem}
	if problem == nil {
		if answer, err = s.Try(ctx, question); err != nil {
			return nil, err
		}
	}
	r.fill(answer)
	r.Wrong = c.Expect.compare(r, answer)
	r.Passed = len(r.Wrong) == 0
	return r, nil
}

// question reads the case as the gateway reads a request: parameters become
// what they would become over HTTP. A Problem is the request's own.
func (c *Case) question() (Question, error) {
	body := map[string]any{"connection": c.Connection, "statement": c.Statement}
	for name, value := range map[string]string{"purpose_of_use": c.Purpose, "reason": c.Reason} {
		if value != "" {
			body[name] = value
		}
	}
	if c.Parameters != nil {
		body["parameters"] = c.Parameters
	}
	if c.RowLimit != 0 {
		body["row_limit"] = c.RowLimit
	}
	if c.MaxAffected != nil {
		body["max_affected"] = *c.MaxAffected
	}
	text, err := json.Marshal(body)
	if err != nil {
		return Question{}, fmt.Errorf("parameters: %w", err)
	}
	request, err := api.DecodeQuery(text)
	if err != nil {
		return Question{}, err
	}
	q := Question{Request: request, Principal: c.Principal.identity(c.Connection), Now: c.Now}
	if c.Estimate != nil {
		q.Estimate = &connectors.Estimate{Known: true, Rows: c.Estimate.Rows, Cost: c.Estimate.Cost,
			Scanned: c.Estimate.Scanned, Grouped: c.Estimate.Grouped}
	}
	return q, nil
}

func (p Principal) identity(connection string) *identity.Principal {
	out := &identity.Principal{Subject: p.Subject, ClientID: p.ClientID, OnBehalfOf: p.OnBehalfOf, Groups: p.Groups,
		Roles: map[string][]identity.Role{}}
	for _, role := range p.Roles {
		out.Roles[connection] = append(out.Roles[connection], identity.Role(role))
	}
	return out
}

// fill writes down what came out.
func (r *Result) fill(answer *gateway.Rehearsed) {
	r.Decision = string(answer.Decision.Effect)
	if answer.Problem != nil {
		r.Code, r.Detail = string(answer.Problem.Code), answer.Problem.Detail
		if answer.Problem.Code != gateway.CodeDenied {
			r.Decision = refused
		}
	}
	for _, m := range answer.Decision.Matched {
		r.Rules = append(r.Rules, m.Rule)
	}
	if e := answer.Explanation; e != nil {
		r.Text = e.Rewritten
		for _, col := range e.Columns {
			if col.Masked {
				r.Masks[col.Name] = col.Mask
			}
		}
	}
}

// compare says what is not as expected.
func (e *Expect) compare(r *Result, answer *gateway.Rehearsed) []string {
	var wrong []string
	differs := func(what, want, got string) {
		wrong = append(wrong, fmt.Sprintf("%s: expected %s, but it is %s", what, orNothing(want), orNothing(got)))
	}
	if e.Decision != r.Decision {
		got := r.Decision
		if r.Detail != "" {
			got += " (" + r.Detail + ")"
		}
		differs("decision", e.Decision, got)
	}
	if e.Rule != "" && !slices.Contains(r.Rules, e.Rule) {
		differs("rule", e.Rule, strings.Join(r.Rules, ", "))
	}
	if e.Code != "" && e.Code != r.Code {
		differs("code", e.Code, r.Code)
	}
	if e.Text != "" && spaced(e.Text) != spaced(r.Text) {
		differs("text", spaced(e.Text), spaced(r.Text))
	}
	if e.Masks != nil {
		wrong = append(wrong, e.compareMasks(r, answer)...)
	}
	for _, note := range e.Notes {
		if answer.Explanation == nil || !slices.ContainsFunc(answer.Explanation.Notes, func(n string) bool { return strings.Contains(n, note) }) {
			wrong = append(wrong, fmt.Sprintf("notes: there is none with %q", note))
		}
	}
	return wrong
}

func (e *Expect) compareMasks(r *Result, answer *gateway.Rehearsed) []string {
	if answer.Explanation == nil {
		return []string{"masks: the statement was not understood"}
	}
	var wrong []string
	columns := map[string]bool{}
	for _, col := range answer.Explanation.Columns {
		columns[col.Name] = true
		want, got := e.Masks[col.Name], col.Mask
		if want == "none" {
			want = ""
		}
		if want != got {
			wrong = append(wrong, fmt.Sprintf("masks: %s: expected %s, but it is %s", col.Name, orNothing(want), orNothing(got)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Masks)) {
		if !columns[name] {
			wrong = append(wrong, fmt.Sprintf("masks: %s: the result has no such column", name))
		}
	}
	return wrong
}

func orNothing(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }
