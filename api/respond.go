package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
)

// The bodies below are disjoint on purpose: only an answer with rows has the
// member rows, only one that waits has expires_at, only a dry run has decision.

type resultHead struct {
	QueryID string           `json:"query_id"`
	Status  approvals.State  `json:"status"`
	Command string           `json:"command"`
	Columns []gateway.Column `json:"columns"`
}

type resultTail struct {
	RowCount         int64    `json:"row_count"`
	AffectedRows     *int64   `json:"affected_rows"`
	Truncated        bool     `json:"truncated"`
	TruncationReason *string  `json:"truncation_reason"`
	Notes            []string `json:"notes"`
	RecordingID      string   `json:"recording_id"`
}

type pendingBody struct {
	QueryID         string             `json:"query_id"`
	Status          approvals.State    `json:"status"`
	ApprovalURL     string             `json:"approval_url"`
	ExpiresAt       time.Time          `json:"expires_at"`
	StatementSHA256 string             `json:"statement_sha256"`
	Reasons         []approvals.Reason `json:"reasons"`
}

type stateBody struct {
	QueryID string          `json:"query_id"`
	Status  approvals.State `json:"status"`
	// ResultURL is where an approved query is claimed.
	ResultURL string        `json:"result_url,omitempty"`
	Approval  *approvalLink `json:"approval,omitempty"`
	Problem   *document     `json:"problem,omitempty"`
}

type approvalLink struct {
	ApprovalURL     string             `json:"approval_url"`
	ExpiresAt       time.Time          `json:"expires_at"`
	StatementSHA256 string             `json:"statement_sha256"`
	Reasons         []approvals.Reason `json:"reasons"`
}

type dryRunBody struct {
	QueryID     string                `json:"query_id"`
	Status      string                `json:"status"`
	Decision    string                `json:"decision"`
	Rules       []approvals.Reason    `json:"rules"`
	Normalized  string                `json:"normalized"`
	Rewritten   string                `json:"rewritten"`
	Relations   []connectors.Relation `json:"relations"`
	Uses        []useBody             `json:"uses"`
	Functions   []connectors.Function `json:"functions"`
	Columns     []gateway.Column      `json:"columns"`
	Estimate    *connectors.Estimate  `json:"estimate"`
	Notes       []string              `json:"notes"`
	RecordingID string                `json:"recording_id"`
}

// useBody is a connectors.Use with its column as one name.
type useBody struct {
	Column   string             `json:"column"`
	Class    string             `json:"class"`
	Kind     connectors.UseKind `json:"kind"`
	Seen     connectors.Seen    `json:"seen"`
	Openable bool               `json:"openable"`
	Hint     string             `json:"hint,omitempty"`
}

// writeAnswer answers a query or a claim: rows or an explanation with 200, what
// waits (or was decided while waiting) with 202.
func (s *Server) writeAnswer(c *fiber.Ctx, a *gateway.Answer) error {
	s.metrics.answer(a)
	setServerTiming(c, a.Timing)
	if a.Replayed {
		c.Set("Idempotency-Replayed", "true")
	}
	switch {
	case a.Result != nil:
		body, err := resultJSON(a)
		if err != nil {
			return err
		}
		return sendJSON(c, http.StatusOK, body)
	case a.DryRun != nil:
		return writeJSON(c, http.StatusOK, dryRunOf(a))
	case a.Pending != nil:
		c.Set(fiber.HeaderLocation, "/v1/queries/"+a.QueryID)
		if a.Pending.RetryAfter > 0 {
			setRetryAfter(c, a.Pending.RetryAfter)
		}
		link := linkOf(a.Pending)
		return writeJSON(c, http.StatusAccepted, pendingBody{a.QueryID, a.State, link.ApprovalURL, link.ExpiresAt,
			link.StatementSHA256, link.Reasons})
	case a.Problem != nil:
		return a.Problem
	}
	return fmt.Errorf("an answer without content, state %s", a.State)
}

// resultJSON writes an answer with its rows exactly as they were recorded:
// marshalling them again would compact and escape them.
func resultJSON(a *gateway.Answer) ([]byte, error) {
	r := a.Result
	head, err := json.Marshal(resultHead{a.QueryID, a.State, r.Command, orEmpty(r.Columns)})
	if err != nil {
		return nil, err
	}
	var truncation *string
	if r.TruncationReason != "" {
		truncation = &r.TruncationReason
	}
	tail, err := json.Marshal(resultTail{r.RowCount, r.AffectedRows, r.Truncated, truncation, orEmpty(r.Notes), r.RecordingID})
	if err != nil {
		return nil, err
	}
	rows := []byte(r.Rows)
	if len(rows) == 0 {
		rows = []byte("[]")
	}
	b := bytes.NewBuffer(make([]byte, 0, len(head)+len(rows)+len(tail)+16))
	b.Write(head[:len(head)-1]) // without the closing brace
	b.WriteString(`,"rows":`)
	b.Write(rows)
	b.WriteByte(',')
	b.Write(tail[1:]) // without the opening brace
	return b.Bytes(), nil
}

// DryRunJSON is the body of a dry run's answer, for the command line, too.
func DryRunJSON(a *gateway.Answer) ([]byte, error) { return json.MarshalIndent(dryRunOf(a), "", "  ") }

func dryRunOf(a *gateway.Answer) dryRunBody {
	e := a.DryRun
	body := dryRunBody{
		QueryID: a.QueryID, Status: "dry_run", Decision: e.Decision, Rules: orEmpty(e.Rules), Normalized: e.Normalized,
		Rewritten: e.Rewritten,
		Relations: orEmpty(e.Relations), Uses: make([]useBody, 0, len(e.Uses)), Functions: orEmpty(e.Functions),
		Columns: orEmpty(e.Columns), Estimate: e.Estimate, Notes: orEmpty(e.Notes), RecordingID: e.RecordingID,
	}
	for _, u := range e.Uses {
		body.Uses = append(body.Uses, useBody{u.Column.String(), u.Class, u.Kind, u.Seen, u.Openable, u.Hint})
	}
	return body
}

func linkOf(p *gateway.Pending) *approvalLink {
	return &approvalLink{p.ApprovalURL, p.ExpiresAt.UTC().Truncate(time.Microsecond), p.StatementSHA256, orEmpty(p.Reasons)}
}

// stateOf is the body of a state look-up. It never has rows.
func stateOf(a *gateway.Answer) stateBody {
	body := stateBody{QueryID: a.QueryID, Status: a.State}
	if a.Pending != nil {
		body.Approval = linkOf(a.Pending)
	}
	if a.State == approvals.Approved {
		body.ResultURL = "/v1/queries/" + a.QueryID + "/result"
	}
	if a.Problem != nil {
		d := documentOf(a.Problem)
		body.Problem = &d
	}
	return body
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func writeJSON(c *fiber.Ctx, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return sendJSON(c, status, body)
}

func sendJSON(c *fiber.Ctx, status int, body []byte) error {
	c.Status(status).Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Response().SetBodyRaw(body)
	return nil
}

// setServerTiming writes the steps in milliseconds (W3C Server Timing).
func setServerTiming(c *fiber.Ctx, timing []gateway.Timing) {
	if len(timing) == 0 {
		return
	}
	parts := make([]string, 0, len(timing))
	for _, t := range timing {
		parts = append(parts, t.Step+";dur="+strconv.FormatFloat(float64(t.Took.Microseconds())/1000, 'f', -1, 64))
	}
	c.Set("Server-Timing", strings.Join(parts, ", "))
}

// sendTagged answers with an entity tag, or 304 to a client that has it.
func sendTagged(c *fiber.Ctx, tag, contentType string, body []byte) error {
	c.Set(fiber.HeaderETag, tag)
	if matches(headerValues(c, fiber.HeaderIfNoneMatch), tag) {
		c.Status(http.StatusNotModified)
		return nil
	}
	c.Set(fiber.HeaderContentType, contentType)
	c.Response().SetBodyRaw(body)
	return nil
}

// matches is the weak comparison of If-None-Match (RFC 9110, section 13.1.2).
func matches(headers []string, tag string) bool {
	for _, candidate := range splitList(strings.Join(headers, ",")) {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

func etagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
