package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
)

// Codes of problems that HTTP alone knows.
const (
	codeMethod    gateway.Code = "method_not_allowed"     // 405
	codeMediaType gateway.Code = "unsupported_media_type" // 415
	codeHeaders   gateway.Code = "headers_too_large"      // 431
	codeSlow      gateway.Code = "request_timeout"        // 408
	codeForgery   gateway.Code = "cross_site"             // 403
)

// meaning is what a code is in HTTP.
type meaning struct {
	status int
	title  string
}

// meanings is the one place that gives a code its status and title. A code that
// is not here is answered as internal.
var meanings = map[gateway.Code]meaning{
	gateway.CodeMalformed:        {http.StatusBadRequest, "The request is malformed"},
	gateway.CodeUnauthenticated:  {http.StatusUnauthorized, "Authentication is required"},
	gateway.CodeDenied:           {http.StatusForbidden, "Policy denies this statement"},
	gateway.CodeForbidden:        {http.StatusForbidden, "The role for this is missing"},
	gateway.CodeOwnRequest:       {http.StatusForbidden, "Somebody else must decide"},
	gateway.CodeNotFound:         {http.StatusNotFound, "Not found"},
	gateway.CodeUnknownConn:      {http.StatusNotFound, "Unknown connection"},
	gateway.CodeConflict:         {http.StatusConflict, "This conflicts with what happened before"},
	gateway.CodeStillRunning:     {http.StatusConflict, "The first request is still running"},
	gateway.CodeAlreadyClaimed:   {http.StatusConflict, "Already claimed"},
	gateway.CodeNotApproved:      {http.StatusConflict, "Not approved"},
	gateway.CodeAlreadyDecided:   {http.StatusConflict, "Already decided"},
	gateway.CodeExpired:          {http.StatusConflict, "The approval request expired"},
	gateway.CodeCancelled:        {http.StatusConflict, "Cancelled"},
	gateway.CodeInterrupted:      {http.StatusConflict, "Interrupted"},
	gateway.CodeDatabaseConflict: {http.StatusConflict, "The database could not serialise this"},
	gateway.CodeTooLarge:         {http.StatusRequestEntityTooLarge, "The request is too large"},
	gateway.CodeSyntax:           {http.StatusUnprocessableEntity, "The SQL has a syntax error"},
	gateway.CodeUnresolved:       {http.StatusUnprocessableEntity, "A name in the SQL is unknown"},
	gateway.CodeUnsupported:      {http.StatusUnprocessableEntity, "The SQL is not understood well enough"},
	gateway.CodeParameter:        {http.StatusUnprocessableEntity, "A parameter is wrong"},
	gateway.CodeStatement:        {http.StatusUnprocessableEntity, "The database refused the statement"},
	gateway.CodePermission:       {http.StatusUnprocessableEntity, "The database does not permit this"},
	gateway.CodeTooManyAffected:  {http.StatusUnprocessableEntity, "More rows would change than allowed"},
	gateway.CodeIdempotencyReuse: {http.StatusUnprocessableEntity, "The Idempotency-Key was used before"},
	gateway.CodeLookupBudget:     {http.StatusTooManyRequests, "The look-up budget is used up"},
	gateway.CodeTooMany:          {http.StatusTooManyRequests, "Too many requests"},
	gateway.CodeDatabase:         {http.StatusBadGateway, "The database is unavailable"},
	gateway.CodeCredentials:      {http.StatusServiceUnavailable, "No database credential can be had"},
	gateway.CodeEvidence:         {http.StatusServiceUnavailable, "The recording cannot be made durable"},
	gateway.CodeApprovals:        {http.StatusServiceUnavailable, "The approval store is unavailable"},
	gateway.CodeIdentity:         {http.StatusServiceUnavailable, "The identity provider is unavailable"},
	gateway.CodeStopping:         {http.StatusServiceUnavailable, "The gateway is shutting down"},
	gateway.CodeTimeout:          {http.StatusGatewayTimeout, "The time was up"},
	gateway.CodeInternal:         {http.StatusInternalServerError, "Internal error"},

	codeMethod:    {http.StatusMethodNotAllowed, "Method not allowed"},
	codeMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	codeHeaders:   {http.StatusRequestHeaderFieldsTooLarge, "The request headers are too large"},
	codeSlow:      {http.StatusRequestTimeout, "The request came too slowly"},
	codeForgery:   {http.StatusForbidden, "The form was not sent from this site"},
}

// document is a problem as RFC 9457 writes it.
type document struct {
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Status      int          `json:"status"`
	Detail      string       `json:"detail,omitempty"`
	Instance    string       `json:"instance,omitempty"`
	Code        gateway.Code `json:"code"`
	QueryID     string       `json:"query_id,omitempty"`
	SQLState    string       `json:"sqlstate,omitempty"`
	Position    int          `json:"position,omitempty"`
	Retryable   bool         `json:"retryable"`
	Rule        string       `json:"rule,omitempty"`
	Hint        string       `json:"hint,omitempty"`
	RecordingID string       `json:"recording_id,omitempty"`
}

func documentOf(p *gateway.Problem) document {
	m, ok := meanings[p.Code]
	if !ok {
		return documentOf(internal(p.QueryID))
	}
	d := document{
		Type: "urn:chaperone:problem:" + string(p.Code), Title: m.title, Status: m.status, Detail: p.Detail, Code: p.Code,
		QueryID: p.QueryID, SQLState: p.SQLState, Position: p.Position, Retryable: p.Retryable, Rule: p.Rule, Hint: p.Hint,
		RecordingID: p.RecordingID,
	}
	if p.QueryID != "" {
		d.Instance = "/v1/queries/" + p.QueryID
	}
	return d
}

func internal(queryID string) *gateway.Problem {
	return &gateway.Problem{Code: gateway.CodeInternal, QueryID: queryID,
		Detail: "Something went wrong inside the gateway. Nothing was released."}
}

// problemOf finds the problem in whatever a handler returned. What it does not
// know is internal, and its text stays inside.
func problemOf(err error) *gateway.Problem {
	var (
		problem *gateway.Problem
		routing *fiber.Error
	)
	if errors.As(err, &problem) && problem != nil {
		return problem
	}
	if !errors.As(err, &routing) {
		return internal("")
	}
	switch routing.Code {
	case http.StatusNotFound:
		return &gateway.Problem{Code: gateway.CodeNotFound, Detail: "There is nothing at this address."}
	case http.StatusMethodNotAllowed:
		return &gateway.Problem{Code: codeMethod, Detail: "This address does not take this method."}
	case http.StatusRequestEntityTooLarge:
		return &gateway.Problem{Code: gateway.CodeTooLarge, Detail: "The request is too large."}
	case http.StatusRequestHeaderFieldsTooLarge:
		return &gateway.Problem{Code: codeHeaders, Detail: "The request headers are too large."}
	case http.StatusRequestTimeout:
		return &gateway.Problem{Code: codeSlow, Detail: "The request did not arrive in time.", Retryable: true}
	case http.StatusBadRequest:
		return &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The request is not valid HTTP."}
	}
	return internal("")
}

// writeProblem answers with a problem document.
func (s *Server) writeProblem(c *fiber.Ctx, p *gateway.Problem) error {
	d := documentOf(p)
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	s.metrics.problem(d.Code)
	if p.RetryAfter > 0 {
		setRetryAfter(c, p.RetryAfter)
	}
	setServerTiming(c, p.Timing)
	c.Status(d.Status).Set(fiber.HeaderContentType, "application/problem+json")
	c.Response().SetBodyRaw(body)
	return nil
}

// setRetryAfter rounds up to whole seconds (RFC 9110, section 10.2.3).
func setRetryAfter(c *fiber.Ctx, d time.Duration) {
	c.Set(fiber.HeaderRetryAfter, strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10))
}
