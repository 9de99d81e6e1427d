package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// HEC sends events to Splunk's HTTP Event Collector. The URL is whole,
// /services/collector/event included; the secret is the collector's token.
type HEC struct {
	post *poster
	cfg  HECConfig
}

// HECConfig is a collector.
type HECConfig struct {
	HTTP
	// Index that events go to; "" is the token's.
	Index string
	// SourceType of events. "chaperone:ocsf".
	SourceType string
}

// NewHEC makes a Sink; it contacts nobody.
func NewHEC(cfg HECConfig) *HEC {
	if cfg.SourceType == "" {
		cfg.SourceType = "chaperone:ocsf"
	}
	return &HEC{newPoster(cfg.HTTP), cfg}
}

// hecEvent is one event. Splunk reads time as seconds; indexed fields are flat.
type hecEvent struct {
	Time       json.Number       `json:"time"`
	Host       string            `json:"host"`
	Source     string            `json:"source"`
	SourceType string            `json:"sourcetype"`
	Index      string            `json:"index,omitempty"`
	Event      json.RawMessage   `json:"event"`
	Fields     map[string]string `json:"fields"`
}

// Deliver implements Sink.
func (h *HEC) Deliver(ctx context.Context, events []Event) (int, error) {
	token, err := h.post.secret()
	if err != nil {
		return 0, err
	}
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	lines.SetEscapeHTML(false) // the event stays as it is
	for i := range events {
		e := &events[i]
		err := lines.Encode(hecEvent{
			Time: json.Number(strconv.FormatFloat(float64(e.Time.UnixMicro())/1e6, 'f', 6, 64)), Host: e.Instance, Source: "chaperone",
			SourceType: h.cfg.SourceType, Index: h.cfg.Index, Event: e.Body,
			Fields: map[string]string{"record_id": e.ID, "record_type": string(e.Type), "writer": e.Writer},
		})
		if err != nil {
			return 0, &refused{reason: "it is no JSON"}
		}
	}
	answer, err := h.post.post(ctx, zipped(body.Bytes()), map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip",
		"Authorization": "Splunk " + token})
	code, ok := hecCode(answer)
	var no *refused
	switch {
	case errors.As(err, &no) && ok && hecDenies[code]:
		return 0, &denied{fmt.Sprintf("%s, code %d", no.reason, code)}
	case err != nil:
		return 0, err
	case !ok:
		return 0, errors.New("the answer is none of an event collector")
	case code != 0:
		return 0, fmt.Errorf("the receiver answers 200, code %d", code)
	}
	return len(events), nil
}

// Check implements Sink.
func (h *HEC) Check(ctx context.Context) error { return h.post.check(ctx) }

// Close implements Sink.
func (h *HEC) Close() { h.post.close() }

// hecDenies are the codes of Splunk's HTTP Event Collector that come with 400 and
// are not about the events: invalid token, wrong index, channel missing or
// invalid, acknowledgement disabled.
var hecDenies = map[int]bool{4: true, 7: true, 10: true, 11: true, 14: true}

func hecCode(answer []byte) (int, bool) {
	var a struct {
		Code *int `json:"code"`
	}
	if json.Unmarshal(answer, &a) != nil || a.Code == nil {
		return 0, false
	}
	return *a.Code, true
}
