package api

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/gateway"
)

// idPattern is what a query's id can look like. Anything else does not exist.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)

// query is POST /v1/query.
func (s *Server) query(c *fiber.Ctx, k *call) error {
	key, err := idempotencyKey(headerValues(c, "Idempotency-Key"))
	if err != nil {
		return s.reject(k, badRequest(err))
	}
	body, problem := s.jsonBody(c)
	if problem != nil {
		return s.reject(k, problem)
	}
	r, err := DecodeQuery(body)
	if err != nil {
		return s.reject(k, problemOf(err))
	}
	r.IdempotencyKey = key
	r.Meta = k.meta
	wait, preferred := preferredWait(headerValues(c, "Prefer"))
	r.Wait = wait
	a, err := s.cfg.Gateway.Query(k.ctx, k.principal, r)
	if err != nil {
		return err
	}
	if preferred && a.Pending != nil {
		c.Set("Preference-Applied", "wait="+strconv.Itoa(int(wait.Seconds())))
	}
	return s.writeAnswer(c, a)
}

// state is GET /v1/queries/{id}.
func (s *Server) state(c *fiber.Ctx, k *call) error {
	id, err := s.queryID(c, k)
	if err != nil {
		return err
	}
	a, err := s.cfg.Gateway.State(k.ctx, k.principal, id, k.meta)
	if err != nil {
		return err
	}
	if a.Pending != nil && a.Pending.RetryAfter > 0 {
		setRetryAfter(c, a.Pending.RetryAfter)
	}
	return writeJSON(c, http.StatusOK, stateOf(a))
}

// result is POST /v1/queries/{id}/result, the claim.
func (s *Server) result(c *fiber.Ctx, k *call) error {
	id, err := s.queryID(c, k)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(headerValues(c, "Idempotency-Key"))
	if err != nil {
		return s.reject(k, badRequest(err))
	}
	a, err := s.cfg.Gateway.Result(k.ctx, k.principal, id, key, k.meta)
	if err != nil {
		return err
	}
	return s.writeAnswer(c, a)
}

// cancel is POST /v1/queries/{id}/cancel. Of a statement that runs it is a
// request: the answer to the query itself tells how it ended.
func (s *Server) cancel(c *fiber.Ctx, k *call) error {
	id, err := s.queryID(c, k)
	if err != nil {
		return err
	}
	a, err := s.cfg.Gateway.Cancel(k.ctx, k.principal, id, k.meta)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if a.State == approvals.Running {
		status = http.StatusAccepted
	}
	return writeJSON(c, status, stateOf(a))
}

// queryID reads the id in the path. One that cannot be is not asked for.
func (s *Server) queryID(c *fiber.Ctx, k *call) (string, error) {
	id := c.Params("id")
	if !idPattern.MatchString(id) {
		return "", s.reject(k, &gateway.Problem{Code: gateway.CodeNotFound,
			Detail: "There is no such query, or it is not yours to see."})
	}
	return id, nil
}

// connections is GET /v1/connections.
func (s *Server) connections(c *fiber.Ctx, k *call) error {
	list, err := s.cfg.Gateway.Connections(k.ctx, k.principal)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, map[string]any{"connections": orEmpty(list)})
}

// schema is GET /v1/connections/{name}/schema. It holds no data, so a client may
// keep it and ask again with If-None-Match.
func (s *Server) schema(c *fiber.Ctx, k *call) error {
	name, err := url.PathUnescape(c.Params("name"))
	if err != nil {
		name = "" // no connection has this name
	}
	schema, err := s.cfg.Gateway.Schema(k.ctx, k.principal, name)
	if err != nil {
		return err
	}
	body, err := schemaJSON(schema)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	c.Set(fiber.HeaderVary, fiber.HeaderAuthorization)
	return sendTagged(c, etagOf([]byte(schema.Connection+"\x00"+schema.Version)), fiber.MIMEApplicationJSON, body)
}
