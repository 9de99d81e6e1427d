package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
)

// readyTimeout bounds a readiness check: orchestrators ask every few seconds.
const readyTimeout = 5 * time.Second

// healthz says that the process answers, whatever else is down.
func (s *Server) healthz(c *fiber.Ctx) error {
	return writeJSON(c, http.StatusOK, map[string]string{"status": "ok", "version": s.cfg.Version})
}

// readyz says whether requests can be served, and if not, why.
func (s *Server) readyz(c *fiber.Ctx) error {
	if s.stopping.Load() {
		return notReady(c, []string{"shutting down"})
	}
	ctx, cancel := s.requestContext()
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, readyTimeout)
	defer stop()
	if err := s.cfg.Gateway.Ready(ctx); err != nil {
		return notReady(c, strings.Split(err.Error(), "\n"))
	}
	return writeJSON(c, http.StatusOK, map[string]any{"status": "ready", "reasons": []string{}})
}

func notReady(c *fiber.Ctx, reasons []string) error {
	return writeJSON(c, http.StatusServiceUnavailable, map[string]any{"status": "not_ready", "reasons": reasons})
}

// openapi serves the contract.
func (s *Server) openapi(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "public, no-cache")
	return sendTagged(c, s.etag, "application/yaml", s.cfg.OpenAPI)
}

// schemaJSON writes a schema with its lists never null.
func schemaJSON(schema *gateway.Schema) ([]byte, error) {
	out := *schema
	out.Tables = orEmpty(out.Tables)
	for i := range out.Tables {
		if out.Tables[i].Columns == nil {
			out.Tables[i].Columns = []gateway.SchemaColumn{}
		}
	}
	return json.Marshal(&out)
}
