package forward

import (
	"context"
	"fmt"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// OTLP sends log records by OTLP over HTTP, as protobuf (OTLP 1.x). The URL is
// whole, /v1/logs included. A secret is sent as a bearer token.
//
// The messages are the project's own; its exporters are not used since they
// retry and drop by themselves, and hide what a partial success rejected.
type OTLP struct{ post *poster }

// NewOTLP makes a Sink; it contacts nobody.
func NewOTLP(h HTTP) *OTLP { return &OTLP{newPoster(h)} }

// Severities of the logs data model.
const (
	severityInfo = logs.SeverityNumber_SEVERITY_NUMBER_INFO
	severityWarn = logs.SeverityNumber_SEVERITY_NUMBER_WARN
)

// Deliver implements Sink.
func (o *OTLP) Deliver(ctx context.Context, events []Event) (int, error) {
	header := map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
	if o.post.Secret != nil {
		token, err := o.post.secret()
		if err != nil {
			return 0, err
		}
		header["Authorization"] = "Bearer " + token
	}
	body, err := proto.Marshal(otlpRequest(events))
	if err != nil {
		return 0, &refused{reason: "it is no protobuf: not UTF-8"}
	}
	answer, err := o.post.post(ctx, zipped(body), header)
	if err != nil {
		return 0, err
	}
	var res collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(answer, &res); err != nil {
		return 0, fmt.Errorf("the answer is none of an OTLP receiver")
	}
	// "The client MUST NOT retry the request when it receives a partial success".
	if n := res.GetPartialSuccess().GetRejectedLogRecords(); n > 0 {
		return len(events), &partial{int(min(n, int64(len(events))))}
	}
	return len(events), nil
}

// Check implements Sink.
func (o *OTLP) Check(ctx context.Context) error { return o.post.check(ctx) }

// Close implements Sink.
func (o *OTLP) Close() { o.post.close() }

// otlpRequest makes a request; events of one batch are of one writer.
func otlpRequest(events []Event) *collector.ExportLogsServiceRequest {
	records := make([]*logs.LogRecord, len(events))
	for i := range events {
		e := &events[i]
		at := uint64(max(e.Time.UnixNano(), 0)) // #nosec G115 -- not negative
		r := &logs.LogRecord{TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: severityInfo, SeverityText: "INFO",
			EventName: "chaperone." + string(e.Type), Body: text(string(e.Body)),
			Attributes: []*common.KeyValue{{Key: "log.record.uid", Value: text(e.ID)}}}
		if e.Warning {
			r.SeverityNumber, r.SeverityText = severityWarn, "WARN"
		}
		records[i] = r
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			{Key: "service.name", Value: text("chaperone")},
			{Key: "service.instance.id", Value: text(events[0].Instance)},
			{Key: "chaperone.writer", Value: text(events[0].Writer)},
		}},
		ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "chaperone/evidence"}, LogRecords: records}},
	}}}
}

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}
