package forward

import (
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
)

func give(s string) Secret { return func() (masking.Secret, error) { return masking.Secret(s), nil } }

func event(n int) Event {
	return Event{ID: fmt.Sprintf("gw-1-0mwys0m17-vej7oifu.%d", n), Writer: "gw-1-0mwys0m17-vej7oifu", Instance: "gw-1",
		Time: time.Date(2026, 11, 27, 9, 30, 0, 123456000, time.UTC), Type: "query.outcome", Warning: n%2 == 1,
		Body: []byte(`{"metadata":{"uid":"gw-1-0mwys0m17-vej7oifu.` + fmt.Sprint(n) + `"},"q":"a < b & \"ü\" ≠ ']'"}`)}
}

// TestWhatReceiversUnderstand: each real receiver finds the event's fields where
// its protocol has them, and the body as it was.
func TestWhatReceiversUnderstand(t *testing.T) {
	for kind, c := range map[string]struct {
		open         func(testing.TB) *testenv.Receiver
		calm, warned map[string]string
	}{
		"otlp": {testenv.OTelCollector, map[string]string{"service": "chaperone", "instance": "gw-1", "time": "2026-11-27T09:30:00.123456Z",
			"severity": "9", "event": "chaperone.query.outcome"}, map[string]string{"severity": "13"}},
		"hec": {testenv.VictoriaLogs, map[string]string{"host": "gw-1", "source": "chaperone", "sourcetype": "chaperone:ocsf",
			"_time": "2026-11-27T09:30:00.123456Z", "fields.record_type": "query.outcome"}, nil},
		"syslog": {testenv.Rsyslog, map[string]string{"pri": "110", "time": "2026-11-27T09:30:00.123456Z", "host": "gw-1", "app": "chaperone",
			"procid": "gw-1-0mwys0m17-vej7oifu", "msgid": "query.outcome"}, map[string]string{"pri": "108"}},
	} {
		t.Run(kind, func(t *testing.T) {
			r := c.open(t)
			o := order{Kind: kind, Addr: r.Addr, CA: r.CAFile, Cert: r.CertFile, Key: r.KeyFile}
			sink, err := o.sink()
			must(t, err)
			defer sink.Close()
			must(t, sink.Check(t.Context()))
			events := []Event{event(0), event(1)}
			taken, err := sink.Deliver(t.Context(), events)
			if taken != 2 || err != nil {
				t.Fatal(taken, err)
			}
			var got []testenv.Received
			eventually(t, 10*time.Second, "they can be read", func() bool { got = r.Received(); return len(got) == 2 })
			for i, want := range []map[string]string{c.calm, c.warned} {
				one := got[i]
				if one.ID != events[i].ID {
					one = got[1-i]
				}
				if one.ID != events[i].ID || one.Body != string(events[i].Body) {
					t.Errorf("%s: %s", one.ID, one.Body)
				}
				for name, value := range want {
					if one.Fields[name] != value {
						t.Errorf("%s is %q, want %q", name, one.Fields[name], value)
					}
				}
			}
		})
	}
}

// TestSyslogThatIsCut: a proxy that cuts a delivery and a receiver that then
// closes in peace do not look like one that has read everything.
func TestSyslogThatIsCut(t *testing.T) {
	r := testenv.Rsyslog(t)
	net := testenv.Toxiproxy(t, r.Addr)
	o := order{Kind: "syslog", Addr: net.Addr, CA: r.CAFile, Cert: r.CertFile, Key: r.KeyFile}
	sink, err := o.sink()
	must(t, err)
	events := make([]Event, 40)
	for i := range events {
		events[i] = event(i)
		events[i].Body = []byte(`{"pad":"` + strings.Repeat("x", 1000) + `"}`)
	}
	for _, bytes := range []int{4_000, 10_000, 20_000, 30_000} {
		net.Add("limit_data", false, map[string]any{"bytes": bytes})
		if taken, err := sink.Deliver(t.Context(), events); taken != 0 || err == nil {
			t.Errorf("cut after %d bytes: %d taken, %v", bytes, taken, err)
		}
		net.Heal()
	}
	if got := len(r.Received()); got == 0 || got >= 4*len(events) {
		t.Errorf("%d arrived: the test cut nothing, or everything", got)
	}
	if taken, err := sink.Deliver(t.Context(), events); taken != len(events) || err != nil {
		t.Error(taken, err)
	}
}

// TestSyslogMessages are read by the library's own parser as they were meant.
func TestSyslogMessages(t *testing.T) {
	var frames strings.Builder
	for i := range 3 {
		e := event(i)
		line, err := message(&e)
		must(t, err)
		fmt.Fprintf(&frames, "%d %s", len(line), line)
	}
	n := 0
	octetcounting.NewParser(syslog.WithListener(func(res *syslog.Result) {
		must(t, res.Error)
		m, ok := res.Message.(*rfc5424.SyslogMessage)
		e := event(n)
		if !ok || *m.Message != string(e.Body) || *m.MsgID != string(e.Type) || (*m.StructuredData)[sdID]["record_id"] != e.ID || !m.Timestamp.Equal(e.Time) {
			t.Errorf("%+v", m)
		}
		n++
	})).Parse(strings.NewReader(frames.String()))
	if n != 3 {
		t.Errorf("%d messages", n)
	}
	for name, spoil := range map[string]func(*Event){
		"type too long": func(e *Event) { e.Type = "a.type.of.more.than.thirty-two.characters" },
		"no host name":  func(e *Event) { e.Instance = "a b" },
	} {
		e := event(0)
		spoil(&e)
		if line, err := message(&e); err == nil {
			t.Errorf("%s: %s", name, line)
		}
	}
}

// TestAnswers: what an HTTP receiver's answer means, and that no error holds what
// was sent, the URL, the answer or the secret.
func TestAnswers(t *testing.T) {
	type meaning int
	const (
		ok meaning = iota
		no
		stop
		again
		some
	)
	half, err := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "hunter2"}})
	must(t, err)
	for _, c := range []struct {
		kind   string
		status int
		body   string
		want   meaning
	}{
		{"otlp", 200, "", ok}, {"otlp", 200, string(half), some}, {"otlp", 200, "<html>hunter2</html>", again},
		{"otlp", 400, "hunter2", no}, {"otlp", 413, "", no}, {"otlp", 422, "", no},
		{"otlp", 400, `{"code":11,"message":"hunter2"}`, no}, // a code of gRPC, not of HEC
		{"otlp", 401, "hunter2", stop}, {"otlp", 403, "", stop}, {"otlp", 404, "", stop}, {"otlp", 405, "", stop}, {"otlp", 415, "", stop}, {"otlp", 302, "", stop},
		{"otlp", 408, "", again}, {"otlp", 429, "hunter2", again}, {"otlp", 500, "", again}, {"otlp", 502, "", again}, {"otlp", 503, "", again},
		{"hec", 200, `{"text":"Success","code":0}`, ok}, {"hec", 200, `{"text":"hunter2","code":9}`, again}, {"hec", 200, "hunter2", again},
		{"hec", 400, `{"text":"Invalid data format","code":6,"invalid-event-number":0}`, no}, {"hec", 400, `{"text":"Incorrect index","code":7}`, stop},
		{"hec", 400, `{"text":"Data channel is missing","code":10}`, stop}, {"hec", 403, `{"text":"Invalid token","code":4}`, stop},
		{"hec", 503, `{"text":"Server is busy","code":9}`, again},
		{"webhook", 204, "", ok}, {"webhook", 410, "", stop}, {"webhook", 400, "hunter2", no}, {"webhook", 504, "", again},
	} {
		t.Run(fmt.Sprint(c.kind, " ", c.status, " ", len(c.body)), func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("a redirect was followed")
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			o := order{Kind: c.kind, Addr: strings.TrimPrefix(s.URL, "http://")}
			sink, err := o.sink()
			must(t, err)
			defer sink.Close()
			taken, err := sink.Deliver(t.Context(), []Event{event(0)})
			var (
				refusal *refused
				denial  *denied
				half    *partial
				wait    *later
			)
			got := again
			switch {
			case err == nil:
				got = ok
			case errors.As(err, &refusal):
				got = no
			case errors.As(err, &denial):
				got = stop
			case errors.As(err, &half):
				got = some
			}
			if got != c.want || (taken == 1) != (c.want == ok || c.want == some) {
				t.Errorf("%d taken, %v", taken, err)
			}
			if c.status >= 429 && (!errors.As(err, &wait) || wait.after != 7*time.Second) && c.status != 422 {
				t.Errorf("Retry-After is not heeded: %v", err)
			}
			for _, word := range []string{"hunter2", token, secret, "http:", "/v1/logs", "outcome"} {
				if err != nil && strings.Contains(err.Error(), word) {
					t.Errorf("the error holds %q: %v", word, err)
				}
			}
		})
	}
}

// TestSecrets: where each protocol has its secret, and that it is read anew.
func TestSecrets(t *testing.T) {
	var seen http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	}))
	defer s.Close()
	now := "first"
	h := HTTP{URL: s.URL, Secret: func() (masking.Secret, error) { return masking.Secret(now), nil }}
	sink := NewHEC(HECConfig{HTTP: h})
	for _, now = range []string{"first", "second"} {
		if _, err := sink.Deliver(t.Context(), []Event{event(0)}); err != nil || seen.Get("Authorization") != "Splunk "+now {
			t.Errorf("%v, %v", seen, err)
		}
	}
	h.Secret = func() (masking.Secret, error) { return "", errors.New("the file is gone") }
	var stop *denied
	if _, err := NewHEC(HECConfig{HTTP: h}).Deliver(t.Context(), []Event{event(0)}); !errors.As(err, &stop) {
		t.Error(err)
	}
	h.Secret = give("token")
	if _, err := NewOTLP(h).Deliver(t.Context(), []Event{event(0)}); seen.Get("Authorization") != "Bearer token" {
		t.Errorf("%v, %v", seen, err)
	}
}

// TestTLS: only a receiver whose certificate the right authority signed gets
// anything.
func TestTLS(t *testing.T) {
	got := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		must(t, err)
		text, err := io.ReadAll(z)
		must(t, err)
		var req collector.ExportLogsServiceRequest
		must(t, proto.Unmarshal(text, &req))
		got += len(req.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords())
	}))
	defer s.Close()
	s.Config.ErrorLog = nil
	if taken, err := NewOTLP(HTTP{URL: s.URL}).Deliver(t.Context(), []Event{event(0)}); taken != 0 || err == nil || got != 0 {
		t.Errorf("an unknown authority: %d taken, %v", taken, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	if taken, err := NewOTLP(HTTP{URL: s.URL, TLS: &tls.Config{RootCAs: pool}}).Deliver(t.Context(), []Event{event(0), event(1)}); taken != 2 || err != nil || got != 2 {
		t.Errorf("%d taken, %d got, %v", taken, got, err)
	}
	r := testenv.Rsyslog(t)
	for name, cfg := range map[string]*tls.Config{"without a certificate": {RootCAs: certPool(t, r.CAFile), ServerName: "127.0.0.1"},
		"of another name":      {RootCAs: certPool(t, r.CAFile), ServerName: "logs.example.org"},
		"of another authority": {RootCAs: pool, ServerName: "127.0.0.1"}} {
		if taken, err := NewSyslog(SyslogConfig{Address: r.Addr, TLS: cfg}).Deliver(t.Context(), []Event{event(0)}); taken != 0 || err == nil {
			t.Errorf("%s: %d taken, %v", name, taken, err)
		}
	}
	if n := len(r.Received()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, "-1": 0, "soon": 0, "99999999999": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got := retryAfter(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)); got < 50*time.Second || got > time.Minute {
		t.Error(got)
	}
}

func FuzzHECCode(f *testing.F) {
	f.Add([]byte(`{"code":7}`))
	f.Add([]byte(`{"code":"7"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if code, ok := hecCode(b); ok && !json.Valid(b) {
			t.Errorf("%d of what is no JSON", code)
		}
	})
}
