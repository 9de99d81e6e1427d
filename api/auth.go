package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// resourceMetadataPath is RFC 9728's.
const resourceMetadataPath = "/.well-known/oauth-protected-resource"

// call is one request of a known caller.
type call struct {
	ctx       context.Context
	principal *identity.Principal
	meta      gateway.Meta
}

// authenticated runs a handler for a caller whose token is valid. The body has
// not been read by then.
func (s *Server) authenticated(handle func(*fiber.Ctx, *call) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		ctx, cancel := s.requestContext()
		defer cancel()
		k := &call{ctx: ctx, meta: metaOf(c, "rest")}
		start := time.Now()
		problem, challenge := s.authenticate(c, k)
		k.meta.AuthTook = time.Since(start)
		if problem != nil {
			problem = s.cfg.Gateway.Reject(ctx, nil, problem, k.meta, "")
			if problem.Code == gateway.CodeUnauthenticated {
				c.Set(fiber.HeaderWWWAuthenticate, challenge)
			}
			return problem
		}
		return handle(c, k)
	}
}

func metaOf(c *fiber.Ctx, transport string) gateway.Meta {
	id, _ := c.Locals(keyRequestID).(string)
	return gateway.Meta{RequestID: id, RemoteAddr: c.Context().RemoteAddr().String(), Transport: transport}
}

// authenticate sets the principal, or says what is wrong and how to challenge.
func (s *Server) authenticate(c *fiber.Ctx, k *call) (problem *gateway.Problem, challenge string) {
	token, err := bearerToken(headerValues(c, fiber.HeaderAuthorization))
	if errors.Is(err, errNoToken) {
		return &gateway.Problem{Code: gateway.CodeUnauthenticated, Detail: sentence(err.Error()),
			Hint: "Send the header: Authorization: Bearer <token>."}, s.challenge("", "")
	}
	if err != nil {
		return &gateway.Problem{Code: gateway.CodeUnauthenticated, Detail: sentence(err.Error())},
			s.challenge("invalid_request", err.Error())
	}
	k.principal, err = s.cfg.Auth.Verify(k.ctx, token)
	switch {
	case err == nil:
		return nil, ""
	case errors.Is(err, identity.ErrInvalidToken):
		// Its text is in safe words by contract, and helps to find a wrong clock or audience.
		return &gateway.Problem{Code: gateway.CodeUnauthenticated, Detail: sentence(err.Error())},
			s.challenge("invalid_token", err.Error())
	case errors.Is(err, identity.ErrProviderUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &gateway.Problem{Code: gateway.CodeIdentity, Retryable: true, RetryAfter: 2 * time.Second,
			Detail: "The identity provider cannot be reached, so nobody can be recognised. Nothing was run."}, ""
	}
	s.cfg.Logger.Error("verifying a token", "error", err, "request_id", k.meta.RequestID)
	return internal(""), ""
}

// challenge is the WWW-Authenticate value (RFC 6750, section 3; RFC 9728,
// section 5.1). Error and description are our own words.
func (s *Server) challenge(code, description string) string {
	var b strings.Builder
	b.WriteString(`Bearer realm="chaperone"`)
	if code != "" {
		fmt.Fprintf(&b, `, error="%s", error_description="%s"`, code, quotable(description))
	}
	if s.cfg.Issuer != "" {
		fmt.Fprintf(&b, `, resource_metadata="%s%s"`, s.cfg.PublicURL, resourceMetadataPath)
	}
	return b.String()
}

// quotable keeps what error_description may hold (RFC 6750, section 3).
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, text)
}

// resourceMetadata tells clients where tokens come from (RFC 9728).
func (s *Server) resourceMetadata(c *fiber.Ctx) error {
	body, err := json.Marshal(map[string]any{
		"resource": s.cfg.PublicURL, "authorization_servers": []string{s.cfg.Issuer},
		"bearer_methods_supported": []string{"header"}, "resource_name": "Chaperone",
	})
	if err != nil {
		return err
	}
	return sendJSON(c, fiber.StatusOK, body)
}

// headerValues returns every line of a header, copied.
func headerValues(c *fiber.Ctx, name string) []string {
	lines := c.Request().Header.PeekAll(name)
	values := make([]string, len(lines))
	for i, line := range lines {
		values[i] = string(line)
	}
	return values
}

// reject records a refusal of a known caller and returns the problem to answer.
func (s *Server) reject(k *call, p *gateway.Problem) error {
	return s.cfg.Gateway.Reject(k.ctx, k.principal, p, k.meta, "")
}

// jsonBody reads a JSON body within its bound, or says why not.
func (s *Server) jsonBody(c *fiber.Ctx) ([]byte, *gateway.Problem) {
	if !isJSON(c.Get(fiber.HeaderContentType)) {
		return nil, &gateway.Problem{Code: codeMediaType, Detail: "The Content-Type must be application/json in UTF-8."}
	}
	return readBody(c, s.cfg.BodyLimit)
}

// readBody reads the body, at most limit bytes of it. Compressed bodies are
// refused: their true size is not known before it is too late.
func readBody(c *fiber.Ctx, limit int) ([]byte, *gateway.Problem) {
	if coding := c.Get(fiber.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, &gateway.Problem{Code: codeMediaType, Detail: "The body must not be compressed."}
	}
	req := c.Request()
	tooLarge := &gateway.Problem{Code: gateway.CodeTooLarge, Detail: fmt.Sprintf("The body is larger than %d bytes.", limit)}
	if req.Header.ContentLength() > limit {
		return nil, tooLarge
	}
	if !req.IsBodyStream() {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(req.BodyStream(), int64(limit)+1))
	if err != nil {
		// The rest may still come; it must not be read as another request.
		_ = req.CloseBodyStream()
		c.Context().SetConnectionClose()
		return nil, &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The body broke off or did not arrive in time."}
	}
	if len(body) > limit {
		return nil, tooLarge
	}
	_ = req.CloseBodyStream() // read to its end; reading on would reach into the next request
	return body, nil
}
