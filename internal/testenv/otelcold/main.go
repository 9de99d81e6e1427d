// Command otelcold is the OpenTelemetry Collector's own OTLP receiver, which
// writes each log record as a line of JSON to a file. What it acknowledges is
// synced to disk before, so that a test may kill it at any moment. It serves
// tests only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4318", "address of OTLP over HTTP")
	out := flag.String("out", "", "file that the records are appended to")
	flag.Parse()
	if err := run(*listen, *out); err != nil {
		fmt.Fprintln(os.Stderr, "otelcold:", err)
		os.Exit(1)
	}
}

func run(listen, out string) error {
	file, err := os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	s := &sink{file: file}
	next, err := consumer.NewLogs(s.take)
	if err != nil {
		return err
	}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	conf := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": listen}}})
	if err := conf.Unmarshal(cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := factory.CreateLogs(ctx, receiver.Settings{
		ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings(),
	}, cfg, next)
	if err != nil {
		return err
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(r.Shutdown(context.Background()), file.Close())
}

// line is what a test reads of a record.
type line struct {
	Resource   map[string]any `json:"resource"`
	Attributes map[string]any `json:"attributes"`
	TimeNano   int64          `json:"time_unix_nano"`
	Severity   int32          `json:"severity_number"`
	Event      string         `json:"event_name"`
	Body       any            `json:"body"`
}

type sink struct {
	mu   sync.Mutex
	file *os.File
}

// take appends records; nil means they are on disk.
func (s *sink) take(_ context.Context, logs plog.Logs) error {
	var text []byte
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				b, err := json.Marshal(line{
					Resource: resource.Resource().Attributes().AsRaw(), Attributes: r.Attributes().AsRaw(),
					TimeNano: r.Timestamp().AsTime().UnixNano(), Severity: int32(r.SeverityNumber()),
					Event: r.EventName(), Body: r.Body().AsRaw(),
				})
				if err != nil {
					return err
				}
				text = append(append(text, b...), '\n')
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.Write(text); err != nil {
		return err
	}
	return s.file.Sync()
}
