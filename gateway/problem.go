package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/policy"
	"github.com/chaperone-sql/chaperone/worm"
)

var (
	// errBusy: every session of the connection stayed in use.
	errBusy = errors.New("every session of the connection is in use")
	// errCancelled is the cause of a context that the requester cancelled.
	errCancelled = errors.New("cancelled by the requester")
)

// problem says in safe words what an error of a step means for the caller. It
// is the one place that does; an error it does not know is CodeInternal and
// its text stays inside.
func (g *Gateway) problem(ctx context.Context, err error) *Problem {
	var (
		known *Problem
		sql   *connectors.Error
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(context.Cause(ctx), errCancelled):
		return &Problem{Code: CodeCancelled, Detail: "The requester cancelled the query. Nothing was released."}
	case errors.As(err, &sql):
		return sqlProblem(sql)
	case errors.Is(err, errBusy):
		return &Problem{Code: CodeTooMany, Detail: "Every session of the connection stayed in use until the time was up.",
			Retryable: true, RetryAfter: time.Second}
	case errors.Is(err, credentials.ErrUnavailable):
		return &Problem{Code: CodeCredentials, Detail: "No database credential could be minted. Nothing was run.",
			Retryable: true, RetryAfter: 2 * time.Second}
	case errors.Is(err, evidence.ErrUnavailable), errors.Is(err, evidence.ErrStopped), errors.Is(err, worm.ErrUnavailable):
		return evidenceProblem()
	case errors.Is(err, connectors.ErrCatalogChanged):
		return &Problem{Code: CodeDatabaseConflict, Retryable: true, RetryAfter: time.Second,
			Detail: "The database's tables or views kept changing while the statement was analysed. Nothing was released."}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return timeoutProblem()
	}
	if p := approvalProblem(err); p != nil {
		return p
	}
	g.cfg.Logger.ErrorContext(ctx, "unexpected error", "error", err)
	return &Problem{Code: CodeInternal, Detail: "Something went wrong inside the gateway. Nothing was released."}
}

func evidenceProblem() *Problem {
	return &Problem{Code: CodeEvidence, Retryable: true, RetryAfter: 2 * time.Second,
		Detail: "The recording could not be made durable, so nothing is released."}
}

func timeoutProblem() *Problem {
	return &Problem{Code: CodeTimeout, Retryable: true,
		Detail: "The request's time was up. The statement was stopped and nothing was released.",
		Hint:   "Ask for less, or raise timeout_ms."}
}

// sqlProblem carries over what an engine said; its words are safe by contract.
func sqlProblem(e *connectors.Error) *Problem {
	p := &Problem{
		Detail: e.Message, Hint: e.Hint, SQLState: e.SQLState, Position: e.Position, Retryable: e.Retryable,
	}
	switch e.Kind {
	case connectors.KindMalformed:
		p.Code = CodeMalformed
	case connectors.KindSyntax:
		p.Code = CodeSyntax
	case connectors.KindUnresolved:
		p.Code = CodeUnresolved
	case connectors.KindUnsupported:
		p.Code = CodeUnsupported
	case connectors.KindParameter:
		p.Code = CodeParameter
	case connectors.KindStatement:
		p.Code = CodeStatement
	case connectors.KindPermission:
		p.Code = CodePermission
	case connectors.KindConflict:
		p.Code = CodeDatabaseConflict
	case connectors.KindTimeout:
		return timeoutProblem()
	case connectors.KindCancelled:
		p.Code = CodeCancelled
	case connectors.KindTooMany:
		p.Code = CodeTooManyAffected
	case connectors.KindUnavailable:
		p.Code, p.RetryAfter = CodeDatabase, 2*time.Second
	default:
		p.Code, p.Detail = CodeInternal, "Something went wrong inside the gateway. Nothing was released."
	}
	return p
}

// approvalProblem maps the errors of approvals, or is nil.
func approvalProblem(err error) *Problem {
	switch {
	case errors.Is(err, approvals.ErrNotFound):
		return notFound()
	case errors.Is(err, approvals.ErrOwnRequest):
		return &Problem{Code: CodeOwnRequest, Detail: "You asked for this statement, so somebody else must decide."}
	case errors.Is(err, approvals.ErrAlreadyDecided):
		return &Problem{Code: CodeAlreadyDecided, Detail: "This request was decided already."}
	case errors.Is(err, approvals.ErrExpired):
		return &Problem{Code: CodeExpired, Detail: "The approval request expired.", Hint: "Send the statement again."}
	case errors.Is(err, approvals.ErrNotApproved):
		return &Problem{Code: CodeNotApproved, Detail: "The statement is not approved (yet)."}
	case errors.Is(err, approvals.ErrAlreadyClaimed):
		return &Problem{Code: CodeAlreadyClaimed, Detail: "The approved statement was claimed already. It runs once only.",
			Hint: "Repeat the claim with the same Idempotency-Key to get its answer again."}
	case errors.Is(err, approvals.ErrCancelled):
		return &Problem{Code: CodeCancelled, Detail: "The requester cancelled the query."}
	case errors.Is(err, approvals.ErrUnavailable):
		return &Problem{Code: CodeApprovals, Retryable: true, RetryAfter: 2 * time.Second,
			Detail: "The approval store cannot be reached. Nothing was run."}
	}
	return nil
}

func notFound() *Problem {
	return &Problem{Code: CodeNotFound, Detail: "There is no such query, or it is not yours to see."}
}

// outgrown is the problem of a result that is larger than what was allowed. The
// planner's estimate had let it pass.
func outgrown(rows int64, rule string) *Problem {
	return &Problem{Code: CodeDenied, Rule: rule,
		Detail: fmt.Sprintf("The result outgrew what was allowed: the database expected at most %d rows and there are more. "+
			"The statement was stopped and rolled back, and nothing is released.", rows),
		Hint: fmt.Sprintf("Add LIMIT %d or less, filter more, or aggregate.", rows)}
}

// denial is the problem of a decision to deny.
func denial(d policy.Decision) *Problem {
	if len(d.Matched) == 0 {
		return &Problem{Code: CodeDenied, Detail: "No rule allows this statement.", Rule: "default-deny"}
	}
	first := d.Matched[0]
	return &Problem{Code: CodeDenied, Detail: first.Message, Hint: first.Hint, Rule: first.Rule}
}
