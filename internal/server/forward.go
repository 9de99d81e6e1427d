package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence/export"
	"github.com/chaperone-sql/chaperone/evidence/forward"
)

// drain is how long the end of a process waits for its last records to be
// forwarded.
const drain = 5 * time.Second

// startForwarding begins to forward what is recorded, or gives nil.
func (s *Server) startForwarding() (*forward.Forwarder, error) {
	e := &s.cfg.Evidence
	if len(e.Forward) == 0 {
		return nil, nil //nolint:nilnil // nobody to forward to
	}
	cfg := forward.Config{Reader: s.reader, Writer: s.log.Writer(), Dir: e.ForwardState, Encode: export.OCSF, Logger: s.logger, Clock: time.Now}
	for i := range e.Forward {
		f := &e.Forward[i]
		sink, err := newSink(f)
		if err != nil {
			return nil, err
		}
		cfg.Destinations = append(cfg.Destinations, forward.Destination{Name: f.Name, Sink: sink, Since: f.Since.Time, All: f.Scope == "all",
			MaxRecords: f.MaxRecords, MaxBytes: int(f.MaxBytes)})
	}
	return forward.Start(cfg)
}

func (s *Server) endForwarding(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, drain)
	defer stop()
	s.forward.Close(ctx)
}

// newSink makes what speaks a destination's protocol; it contacts nobody.
func newSink(f *config.Forward) (forward.Sink, error) {
	secured, err := forwardTLS(f)
	if err != nil {
		return nil, fmt.Errorf("forwarding to %s: %w", f.Name, err)
	}
	http := forward.HTTP{URL: f.URL, TLS: secured}
	if f.Secret != nil {
		http.Secret = f.Secret.Resolve
	}
	switch f.Type {
	case "otlp":
		return forward.NewOTLP(http), nil
	case "hec":
		return forward.NewHEC(forward.HECConfig{HTTP: http, Index: f.Index, SourceType: f.SourceType}), nil
	case "webhook":
		return forward.NewWebhook(http), nil
	case "syslog":
		if f.Insecure {
			secured = nil
		}
		return forward.NewSyslog(forward.SyslogConfig{Address: f.Address, TLS: secured}), nil
	}
	return nil, fmt.Errorf("forwarding to %s: there is no type %s", f.Name, f.Type)
}

func forwardTLS(f *config.Forward) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Address != "" {
		host, _, err := net.SplitHostPort(f.Address)
		if err != nil {
			return nil, err
		}
		out.ServerName = host
	}
	if f.TLS.CAFile != "" {
		pem, err := os.ReadFile(f.TLS.CAFile)
		if err != nil {
			return nil, err
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.TLS.CAFile)
		}
	}
	if f.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.TLS.CertFile, f.TLS.KeyFile)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// forwarding gives metrics of how far each destination is. Their one label is
// the destination's name in the configuration.
type forwarding struct{ s *Server }

var (
	forwardLabels    = []string{"destination"}
	forwardedTotal   = prometheus.NewDesc("chaperone_forward_records_total", "Records that the destination took, repetitions included.", forwardLabels, nil)
	forwardSkipped   = prometheus.NewDesc("chaperone_forward_skipped_total", "Records given up because the destination refuses them.", forwardLabels, nil)
	forwardRejected  = prometheus.NewDesc("chaperone_forward_rejected_total", "Records that the destination took and said it threw away.", forwardLabels, nil)
	forwardFailures  = prometheus.NewDesc("chaperone_forward_failures_total", "Deliveries that failed.", forwardLabels, nil)
	forwardLag       = prometheus.NewDesc("chaperone_forward_lag_records", "Records that are stored and not forwarded yet.", forwardLabels, nil)
	forwardAge       = prometheus.NewDesc("chaperone_forward_lag_seconds", "Age of the oldest of them.", forwardLabels, nil)
	forwardSuccess   = prometheus.NewDesc("chaperone_forward_last_success_timestamp_seconds", "When the destination took records last; 0 if not since the start.", forwardLabels, nil)
	forwardUnread    = prometheus.NewDesc("chaperone_forward_unreadable_logs", "Logs that cannot be read or are not trusted, so that they are not forwarded.", forwardLabels, nil)
	forwardEverybody = []*prometheus.Desc{forwardedTotal, forwardSkipped, forwardRejected, forwardFailures, forwardLag, forwardAge, forwardSuccess, forwardUnread}
)

// Describe implements prometheus.Collector.
func (f forwarding) Describe(out chan<- *prometheus.Desc) {
	for _, d := range forwardEverybody {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (f forwarding) Collect(out chan<- prometheus.Metric) {
	if f.s.forward == nil {
		return // still starting
	}
	for _, st := range f.s.forward.Status() {
		counter := func(d *prometheus.Desc, n uint64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), st.Name)
		}
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, st.Name)
		}
		counter(forwardedTotal, st.Forwarded)
		counter(forwardSkipped, st.Skipped)
		counter(forwardRejected, st.Rejected)
		counter(forwardFailures, st.Failures)
		gauge(forwardLag, float64(st.Behind))
		age, last := 0.0, 0.0
		if !st.Oldest.IsZero() {
			age = max(0, time.Since(st.Oldest).Seconds())
		}
		if !st.LastSuccess.IsZero() {
			last = float64(st.LastSuccess.UnixMilli()) / 1e3
		}
		gauge(forwardAge, age)
		gauge(forwardSuccess, last)
		gauge(forwardUnread, float64(st.Unreadable))
	}
}
