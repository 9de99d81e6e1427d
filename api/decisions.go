package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/approvals"
)

// maxComment bounds an approver's comment, in characters.
const maxComment = 1000

// approvalBody is an approval request without anything sealed or exact.
type approvalBody struct {
	QueryID         string             `json:"query_id"`
	Status          approvals.State    `json:"status"`
	Connection      string             `json:"connection"`
	Requester       requesterBody      `json:"requester"`
	SessionID       string             `json:"session_id,omitempty"`
	PurposeOfUse    string             `json:"purpose_of_use,omitempty"`
	CreatedAt       time.Time          `json:"created_at"`
	ExpiresAt       time.Time          `json:"expires_at"`
	Summary         string             `json:"summary"`
	Kind            string             `json:"kind"`
	Normalized      string             `json:"normalized"`
	Relations       []string           `json:"relations"`
	Columns         []approvals.Column `json:"columns"`
	EstimateRows    *float64           `json:"estimate_rows"`
	Reasons         []approvals.Reason `json:"reasons"`
	ApprovalsNeeded int                `json:"approvals_needed"`
	StatementSHA256 string             `json:"statement_sha256"`
	ApprovalURL     string             `json:"approval_url"`
	Votes           []voteBody         `json:"votes"`
	ClaimedAt       *time.Time         `json:"claimed_at,omitempty"`
	Outcome         *outcomeBody       `json:"outcome,omitempty"`
}

type requesterBody struct {
	Key        string `json:"key"`
	Name       string `json:"name,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	OnBehalfOf string `json:"on_behalf_of,omitempty"`
}

type voteBody struct {
	Approver string    `json:"approver"`
	Name     string    `json:"name,omitempty"`
	Decision string    `json:"decision"`
	Comment  string    `json:"comment,omitempty"`
	At       time.Time `json:"at"`
}

type outcomeBody struct {
	Status      approvals.State `json:"status"`
	Code        string          `json:"code,omitempty"`
	RecordingID string          `json:"recording_id"`
	At          time.Time       `json:"at"`
}

// approvalDetail is what an approver of the connection sees.
type approvalDetail struct {
	approvalBody
	Statement  string          `json:"statement"`
	Parameters json.RawMessage `json:"parameters"`
	Reason     string          `json:"reason,omitempty"`
	MayDecide  bool            `json:"may_decide"`
	WhyNot     string          `json:"why_not,omitempty"`
}

func (s *Server) approvalOf(st *approvals.Status) approvalBody {
	r := &st.Request
	body := approvalBody{
		QueryID: r.ID, Status: st.State, Connection: r.Connection,
		Requester: requesterBody{r.Requester, r.RequesterName, r.ClientID, r.OnBehalfOf},
		SessionID: r.SessionID, PurposeOfUse: r.PurposeOfUse, CreatedAt: r.Created, ExpiresAt: r.Expires,
		Summary: r.Summary, Kind: r.Kind, Normalized: r.Normalized, Relations: orEmpty(r.Relations),
		Columns: orEmpty(r.Columns), EstimateRows: r.EstimateRows, Reasons: orEmpty(r.Reasons),
		ApprovalsNeeded: max(r.Approvals, 1), StatementSHA256: r.Binding,
		ApprovalURL: s.cfg.PublicURL + "/approvals/" + r.ID, Votes: make([]voteBody, 0, len(st.Votes)),
	}
	for i := range st.Votes {
		v := &st.Votes[i]
		body.Votes = append(body.Votes, voteBody{v.Approver, v.Name, decisionWord(v.Approve), v.Comment, v.At})
	}
	if st.Claim != nil {
		body.ClaimedAt = &st.Claim.At
	}
	if o := st.Outcome; o != nil {
		body.Outcome = &outcomeBody{o.State, o.Code, o.RecordID, o.At}
	}
	return body
}

func decisionWord(approve bool) string {
	if approve {
		return "approve"
	}
	return "deny"
}

// listApprovals is GET /v1/approvals.
func (s *Server) listApprovals(c *fiber.Ctx, k *call) error {
	open, err := s.cfg.Gateway.Approvals(k.ctx, k.principal)
	if err != nil {
		return err
	}
	list := make([]approvalBody, 0, len(open))
	for i := range open {
		list = append(list, s.approvalOf(&open[i]))
	}
	return writeJSON(c, http.StatusOK, map[string]any{"approvals": list})
}

// showApproval is GET /v1/approvals/{id}.
func (s *Server) showApproval(c *fiber.Ctx, k *call) error {
	id, err := s.queryID(c, k)
	if err != nil {
		return err
	}
	v, err := s.cfg.Gateway.Approval(k.ctx, k.principal, id, k.meta)
	if err != nil {
		return err
	}
	parameters := v.Parameters
	if len(parameters) == 0 {
		parameters = json.RawMessage("[]")
	}
	return writeJSON(c, http.StatusOK, approvalDetail{s.approvalOf(&v.Status), v.Statement, parameters, v.Reason,
		v.MayDecide, v.WhyNot})
}

// decide is POST /v1/approvals/{id}/decision.
func (s *Server) decide(c *fiber.Ctx, k *call) error {
	id, err := s.queryID(c, k)
	if err != nil {
		return err
	}
	body, problem := s.jsonBody(c)
	if problem != nil {
		return s.reject(k, problem)
	}
	approve, comment, err := decodeDecision(body)
	if err != nil {
		return s.reject(k, badRequest(err))
	}
	st, err := s.cfg.Gateway.Decide(k.ctx, k.principal, id, approve, comment, k.meta)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, s.approvalOf(st))
}

// decodeDecision reads {"decision":"approve"|"deny","comment":"…"}.
func decodeDecision(body []byte) (approve bool, comment string, err error) {
	doc, err := parseJSON(body)
	if err != nil {
		return false, "", err
	}
	if doc.kind != kindObject {
		return false, "", errors.New("the body must be a JSON object")
	}
	decision := ""
	for i := range doc.members {
		value := &doc.members[i].value
		switch name := doc.members[i].name; name {
		case "decision":
			decision, err = text(name, value, maxComment)
		case "comment":
			if value.kind == kindString && value.text == "" {
				continue // an approval needs none
			}
			comment, err = text(name, value, maxComment)
		default:
			err = fmt.Errorf("%s is unknown", fieldName(name))
		}
		if err != nil {
			return false, "", err
		}
	}
	if err := checkDecision(decision, comment); err != nil {
		return false, "", err
	}
	return decision == "approve", comment, nil
}

// checkDecision is the rule of both the API and the page: a denial says why.
func checkDecision(decision, comment string) error {
	switch {
	case decision != "approve" && decision != "deny":
		return &malformed{"the decision must be approve or deny", ""}
	case decision == "deny" && strings.TrimSpace(comment) == "":
		return &malformed{"a denial needs a comment", "Say why, so that the requester can do better."}
	}
	return nil
}
