package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
)

// keyRequestID is where a request's id is kept in fiber's locals.
const keyRequestID = "request_id"

// around is what every request passes: id, headers, admission, recovery from
// panics, problem documents, the rest of the body, metrics.
func (s *Server) around(c *fiber.Ctx) error {
	start := time.Now()
	defer s.metrics.enter()()
	setCommonHeaders(c, s.secure)
	id := requestID(c.Get(fiber.HeaderXRequestID))
	c.Locals(keyRequestID, id)
	c.Set(fiber.HeaderXRequestID, id)

	if err := s.admitted(c); err != nil {
		if err := s.fail(c, err); err != nil {
			return err
		}
	}
	if c.Response().StatusCode() == http.StatusUnauthorized && len(c.Response().Header.Peek(fiber.HeaderWWWAuthenticate)) == 0 {
		c.Set(fiber.HeaderWWWAuthenticate, s.challenge("", "")) // RFC 9110, section 15.5.2
	}
	drain(c)
	s.finished(c, id, time.Since(start))
	return nil
}

// admitted runs the request if there is a place for it. Probes and metrics need
// none: they must answer when the gateway is full.
func (s *Server) admitted(c *fiber.Ctx) error {
	if isProbe(c.Path()) {
		return s.recovered(c)
	}
	if s.stopping.Load() {
		return &gateway.Problem{Code: gateway.CodeStopping, Retryable: true, RetryAfter: time.Second,
			Detail: "This gateway is shutting down."}
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
		return s.recovered(c)
	default:
		return &gateway.Problem{Code: gateway.CodeTooMany, Retryable: true, RetryAfter: time.Second,
			Detail: "Too many requests are in work."}
	}
}

// isProbe reports whether a path is what orchestrators ask for every few seconds.
func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }

// recovered turns a panic into an internal problem. The value of a panic may
// hold data, so only its type and the stack, which holds none, are logged.
func (s *Server) recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			what := fmt.Sprintf("%T", r)
			if known, ok := r.(runtime.Error); ok {
				what = known.Error()
			}
			s.cfg.Logger.Error("panic in a handler", "panic", what, "request_id", c.Locals(keyRequestID),
				"stack", string(debug.Stack()))
			err = internal("")
		}
	}()
	return c.Next()
}

// fail answers a request whose handler returned an error: people get a page,
// programs a problem document.
func (s *Server) fail(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	if documentOf(p).Code == gateway.CodeInternal && p.QueryID == "" {
		s.cfg.Logger.Error("request failed", "request_id", c.Locals(keyRequestID), "kind", fmt.Sprintf("%T", err))
	}
	if s.pages != nil && isPage(c.Path()) {
		return s.problemPage(c, p)
	}
	return s.writeProblem(c, p)
}

// onTransportError answers what fasthttp could not read as a request.
func (s *Server) onTransportError(c *fiber.Ctx, err error) error {
	setCommonHeaders(c, s.secure)
	return s.writeProblem(c, problemOf(err))
}

// setCommonHeaders: nothing that leaves may be stored, sniffed, framed or run.
func setCommonHeaders(c *fiber.Ctx, secure bool) {
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// Not no-referrer: browsers would then send "Origin: null" with our forms.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	if secure {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
}

// drain reads what a handler left of the body. What is too much, or does not
// come, ends the connection: its bytes must never be read as another request.
func drain(c *fiber.Ctx) {
	req := c.Request()
	if !req.IsBodyStream() {
		return
	}
	defer func() { _ = req.CloseBodyStream() }() // it has nothing to close
	if req.Header.ContentLength() > drainLimit {
		c.Context().SetConnectionClose()
		return
	}
	n, err := io.Copy(io.Discard, io.LimitReader(req.BodyStream(), drainLimit))
	if err != nil || n == drainLimit {
		c.Context().SetConnectionClose()
	}
}

// finished counts the request and writes its line in the log: the route as
// registered, never the path as sent.
func (s *Server) finished(c *fiber.Ctx, id string, took time.Duration) {
	route := c.Route().Path
	if route == "/" { // no route but the middleware matched
		route = "unmatched"
	}
	status := c.Response().StatusCode()
	s.metrics.request(c.Method(), route, status, took)
	level := s.cfg.Logger.Info
	if status < http.StatusBadRequest && isProbe(c.Path()) {
		level = s.cfg.Logger.Debug
	}
	level("request", "method", c.Method(), "route", route, "status", status, "took", took, "request_id", id)
}

// requestContext bounds a request. Its parent ends only after Shutdown gave up
// waiting.
func (s *Server) requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.base, s.cfg.MaxTimeout+maxWait+grace)
}
