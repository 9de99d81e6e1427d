package api

import (
	"bytes"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/chaperone-sql/chaperone/gateway"
)

// metrics counts requests. Every label comes from a fixed set of our own:
// routes as registered, methods, statuses, problem codes, steps, states.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	steps    *prometheus.HistogramVec
	problems *prometheus.CounterVec
	answers  *prometheus.CounterVec
	inFlight prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry, version string) (*metrics, error) {
	// From a warm read (milliseconds) to a statement's longest time (minutes).
	buckets := prometheus.ExponentialBuckets(0.001, 2, 18)
	m := &metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_http_requests_total",
			Help: "HTTP requests by method, route and status."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "chaperone_http_request_duration_seconds",
			Help: "Time from a request's headers to its answer, by route.", Buckets: buckets}, []string{"route"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "chaperone_step_duration_seconds",
			Help: "Time of each step of a query.", Buckets: buckets}, []string{"step"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_problems_total",
			Help: "Problem documents by code."}, []string{"code"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_answers_total",
			Help: "Answers to queries and claims by state."}, []string{"state"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chaperone_http_requests_in_flight",
			Help: "HTTP requests in work."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "chaperone_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.steps, m.problems, m.answers, m.inFlight, build} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) enter() (leave func()) {
	m.inFlight.Inc()
	return m.inFlight.Dec
}

func (m *metrics) request(method, route string, status int, took time.Duration) {
	switch method {
	case fiber.MethodGet, fiber.MethodPost, fiber.MethodHead:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) problem(code gateway.Code) { m.problems.WithLabelValues(string(code)).Inc() }

func (m *metrics) answer(a *gateway.Answer) {
	m.answers.WithLabelValues(string(a.State)).Inc()
	for _, t := range a.Timing {
		m.steps.WithLabelValues(t.Step).Observe(t.Took.Seconds())
	}
}

// serve writes the registry in Prometheus' text format. It goes round promhttp
// because its fiber adaptor would read a request body of any size.
func (m *metrics) serve(c *fiber.Ctx) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var b bytes.Buffer
	e := expfmt.NewEncoder(&b, format)
	for _, family := range families {
		if err := e.Encode(family); err != nil {
			return err
		}
	}
	c.Set(fiber.HeaderContentType, string(format))
	c.Response().SetBodyRaw(b.Bytes())
	return nil
}
