// Package api is the HTTP surface of the gateway, and nothing else: routes,
// bearer authentication, strict decoding, problem documents (RFC 9457), the
// pages on which people approve, metrics. It decides nothing about a statement;
// everything it refuses of a known caller is recorded through Gateway.Reject
// before the answer leaves.
//
// A client that goes away does not stop its query: fasthttp does not tell, and
// a lost answer must be there to be asked for again with the same
// Idempotency-Key. The request's own time bounds it, and its requester can
// cancel it.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/masking"
)

// Config is what a Server is made of. Every field must be set unless its
// comment says otherwise.
type Config struct {
	Gateway Gateway
	Auth    Authenticator
	// Login and Sessions are for the pages. Both nil: there are no pages, and
	// decisions come through the API only.
	Login    Login
	Sessions Sessions
	// Auditing is what auditors see; nil: there are no pages and no API for them.
	Auditing Auditing
	// LoginKey encrypts what the browser carries while it signs in: 32 random
	// bytes, the same for all gateways behind one address. Needed with Login.
	LoginKey masking.Secret
	Registry *prometheus.Registry
	Logger   *slog.Logger
	// PublicURL is the address that browsers use, without a trailing slash.
	// It must be https unless its host is a loopback address.
	PublicURL string
	// Issuer is the OIDC issuer named to clients (RFC 9728); "" names none.
	Issuer string
	// BodyLimit is the largest request body in bytes; DESIGN says 4 MiB.
	BodyLimit int
	// Concurrency bounds the requests in work at once; more get a 429.
	Concurrency int
	// Connections bounds the open client connections.
	Connections int
	// MaxTimeout is the longest time a statement may ask for.
	MaxTimeout time.Duration
	// OpenAPI is the document served at /openapi.yaml.
	OpenAPI []byte
	Version string
	// Clock is time.Now in production.
	Clock func() time.Time
}

// Bounds of the transport. What a request may ask for is configuration; these
// only keep a slow or hostile client from holding what it was given.
const (
	readTimeout  = 30 * time.Second // of a whole request, headers and body
	writeTimeout = 60 * time.Second
	idleTimeout  = 90 * time.Second
	// headerLimit leaves room for a token that lists many groups.
	headerLimit = 16 << 10
	// drainLimit is how much of a refused body is still read, so that the
	// client sees the answer instead of a reset connection.
	drainLimit = 16 << 20
	formLimit  = 64 << 10
	// grace is what a request may take beyond its statement and its wait:
	// minting, recording, answering.
	grace = 30 * time.Second
)

// Server is the HTTP server. It keeps nothing between requests.
type Server struct {
	cfg     Config
	app     *fiber.App
	metrics *metrics
	pages   *pages
	origin  string // scheme and host of PublicURL
	secure  bool   // PublicURL is https
	places  chan struct{}
	etag    string // of the OpenAPI document

	base     context.Context // the parent of every request's context
	stop     context.CancelFunc
	stopping atomic.Bool
}

// New checks the configuration and builds the routes. It listens to nothing.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Gateway == nil, cfg.Auth == nil, cfg.Registry == nil, cfg.Logger == nil, cfg.Clock == nil,
		len(cfg.OpenAPI) == 0, cfg.Version == "":
		return nil, errors.New("api: a required part of the configuration is missing")
	case (cfg.Login == nil) != (cfg.Sessions == nil):
		return nil, errors.New("api: Login and Sessions belong together")
	case cfg.Login != nil && len(cfg.LoginKey.Reveal()) != loginKeySize:
		return nil, fmt.Errorf("api: LoginKey must have %d bytes", loginKeySize)
	case cfg.BodyLimit < 1, cfg.Concurrency < 1, cfg.Connections < 1, cfg.MaxTimeout <= 0:
		return nil, errors.New("api: every limit must be positive")
	}
	public, err := parsePublicURL(cfg.PublicURL)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, origin: public.Scheme + "://" + public.Host, secure: public.Scheme == "https",
		places: make(chan struct{}, cfg.Concurrency), etag: etagOf(cfg.OpenAPI),
	}
	s.base, s.stop = context.WithCancel(context.Background())
	if s.metrics, err = newMetrics(cfg.Registry, cfg.Version); err != nil {
		s.stop()
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if cfg.Login != nil {
		if s.pages, err = newPages(); err != nil {
			s.stop()
			return nil, err
		}
	}
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StrictRouting:         true,
		CaseSensitive:         true,
		// Strings of a request outlive it in recordings and approvals.
		Immutable: true,
		// The body is read by the handlers, after authentication and within
		// bounds; fiber's own limit then governs only what is read ahead.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		BodyLimit:                    cfg.BodyLimit,
		Concurrency:                  cfg.Connections,
		ReadBufferSize:               headerLimit,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ErrorHandler:                 s.onTransportError,
	})
	s.routes()
	return s, nil
}

// parsePublicURL accepts an https URL, or an http one of a loopback address,
// with nothing behind the host.
func parsePublicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("api: PublicURL must be scheme and host, without a trailing slash")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Hostname())) {
		return nil, errors.New("api: PublicURL must be https, except on a loopback address")
	}
	return u, nil
}

// Serve answers requests that arrive on the listener until Shutdown. The caller
// makes the listener, with TLS if it is not on a loopback address.
func (s *Server) Serve(l net.Listener) error {
	if err := s.app.Listener(l); err != nil {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

// Shutdown stops taking requests and waits for those in work until ctx ends;
// then it cancels them and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	defer s.stop()
	if err := s.app.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("shutting down HTTP: %w", err)
	}
	return nil
}

// routes is the whole surface.
func (s *Server) routes() {
	s.app.Use(s.around)

	s.app.Get("/healthz", s.healthz)
	s.app.Get("/readyz", s.readyz)
	s.app.Get("/metrics", s.metrics.serve)
	s.app.Get("/openapi.yaml", s.openapi)
	if s.cfg.Issuer != "" {
		s.app.Get(resourceMetadataPath, s.resourceMetadata)
	}

	s.app.Post("/v1/query", s.authenticated(s.query))
	s.app.Get("/v1/queries/:id", s.authenticated(s.state))
	s.app.Post("/v1/queries/:id/result", s.authenticated(s.result))
	s.app.Post("/v1/queries/:id/cancel", s.authenticated(s.cancel))
	s.app.Get("/v1/connections", s.authenticated(s.connections))
	s.app.Get("/v1/connections/:name/schema", s.authenticated(s.schema))
	s.app.Get("/v1/approvals", s.authenticated(s.listApprovals))
	s.app.Get("/v1/approvals/:id", s.authenticated(s.showApproval))
	s.app.Post("/v1/approvals/:id/decision", s.authenticated(s.decide))

	if s.cfg.Auditing != nil {
		s.evidenceRoutes()
	}
	if s.pages != nil {
		s.pageRoutes()
	}
}
