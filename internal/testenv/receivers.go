package testenv

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Receiver is a real server that records are forwarded to. It can be killed and
// started again on what it had.
type Receiver struct {
	// Addr is host:port.
	Addr string
	// CAFile is the authority of its certificate, CertFile and KeyFile that of a
	// client it trusts; "" without TLS.
	CAFile, CertFile, KeyFile string

	tb       testing.TB
	run      func() (*process, error)
	received func(ctx context.Context) ([]Received, error)
	process  *process
}

// Received is what a receiver got of one event.
type Received struct {
	// ID is the record's, from the place where the protocol has it.
	ID, Body string
	// Fields are what else the receiver understood.
	Fields map[string]string
}

// Start starts it, after Stop or Kill again.
func (r *Receiver) Start() {
	r.tb.Helper()
	p, err := r.run()
	must(r.tb, err)
	must(r.tb, p.ready(startContext(r.tb), "receiver", func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	}))
	r.process = p
}

// Kill kills it as a crash would.
func (r *Receiver) Kill() { r.end(syscall.SIGKILL) }

// Stop lets it end in order.
func (r *Receiver) Stop() { r.end(syscall.SIGTERM) }

func (r *Receiver) end(sig syscall.Signal) {
	if r.process != nil {
		r.process.stop(sig)
		r.process = nil
	}
}

// Received is everything that it got and kept, in its own order.
func (r *Receiver) Received() []Received {
	r.tb.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	list, err := r.received(ctx)
	must(r.tb, err)
	return list
}

func newReceiver(tb testing.TB) (*Receiver, string) {
	tb.Helper()
	port, err := freePort()
	must(tb, err)
	r := &Receiver{tb: tb, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	tb.Cleanup(r.Kill)
	return r, serverDir(tb)
}

// OTelCollector is the OpenTelemetry Collector's OTLP receiver, over HTTP at
// /v1/logs. What it acknowledges is on disk.
func OTelCollector(tb testing.TB) *Receiver {
	tb.Helper()
	r, dir := newReceiver(tb)
	server, err := program("otelcold")
	must(tb, err)
	out := filepath.Join(dir, "records")
	r.run = func() (*process, error) {
		return startProcess(filepath.Join(dir, "log"), "", false, nil, server, "-listen", r.Addr, "-out", out)
	}
	r.received = func(context.Context) ([]Received, error) {
		return lines(out, func(line []byte) (Received, error) {
			var l struct {
				Attributes, Resource map[string]string
				Time                 int64  `json:"time_unix_nano"`
				Severity             int    `json:"severity_number"`
				Event                string `json:"event_name"`
				Body                 string
			}
			err := json.Unmarshal(line, &l)
			return Received{l.Attributes["log.record.uid"], l.Body, map[string]string{"service": l.Resource["service.name"],
				"instance": l.Resource["service.instance.id"], "time": time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano),
				"severity": strconv.Itoa(l.Severity), "event": l.Event}}, err
		})
	}
	r.Start()
	return r
}

// VictoriaLogs has a receiver of Splunk's HTTP Event Collector's protocol at
// /services/collector/event. It keeps what it acknowledges in memory for some
// seconds: Stop it, do not Kill it.
func VictoriaLogs(tb testing.TB) *Receiver {
	tb.Helper()
	r, dir := newReceiver(tb)
	server, err := program("victoria-logs")
	must(tb, err)
	r.run = func() (*process, error) {
		return startProcess(filepath.Join(dir, "log"), "", false, nil, server, "-httpListenAddr="+r.Addr,
			"-storageDataPath="+filepath.Join(dir, "data"), "-splunk.preserveJSONKeys=event", "-retentionPeriod=100y")
	}
	r.received = func(ctx context.Context) ([]Received, error) {
		form := url.Values{"query": {"*"}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Addr+"/select/logsql/query", strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		return scan(res.Body, func(line []byte) (Received, error) {
			var l map[string]string
			err := json.Unmarshal(line, &l)
			return Received{l["fields.record_id"], l["_msg"], l}, err
		})
	}
	r.Start()
	return r
}

// Rsyslog is a private rsyslogd that takes RFC 5425 from clients with a
// certificate, and writes each message to a file before it reads on.
func Rsyslog(tb testing.TB) *Receiver {
	tb.Helper()
	r, dir := newReceiver(tb)
	server, err := program("rsyslogd", "/usr/sbin")
	must(tb, err)
	must(tb, certificates(dir))
	r.CAFile, r.CertFile, r.KeyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	_, port, err := net.SplitHostPort(r.Addr)
	must(tb, err)
	conf, out := filepath.Join(dir, "rsyslog.conf"), filepath.Join(dir, "records")
	must(tb, os.WriteFile(conf, []byte(fmt.Sprintf(`global(workDirectory=%q maxMessageSize="1m" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile=%q defaultNetstreamDriverCertFile=%q defaultNetstreamDriverKeyFile=%q)
main_queue(queue.type="Direct")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port=%q ruleset="out")
template(name="fields" type="string" string="%%pri%%\t%%timestamp:::date-rfc3339%%\t%%hostname%%\t%%app-name%%\t%%procid%%\t%%msgid%%\t%%structured-data%%\t%%msg%%\n")
ruleset(name="out") { action(type="omfile" file=%q template="fields") }
`, dir, r.CAFile, filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"), port, out)), 0o600))
	r.run = func() (*process, error) {
		return startProcess(filepath.Join(dir, "log"), "", false, nil, server, "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	}
	r.received = func(context.Context) ([]Received, error) {
		return lines(out, func(line []byte) (Received, error) {
			f := strings.SplitN(string(line), "\t", 8)
			if len(f) != 8 {
				return Received{}, fmt.Errorf("rsyslog wrote %d fields", len(f))
			}
			_, rest, _ := strings.Cut(f[6], `record_id="`)
			id, _, _ := strings.Cut(rest, `"`)
			return Received{id, f[7], map[string]string{"pri": f[0], "time": f[1], "host": f[2], "app": f[3], "procid": f[4], "msgid": f[5],
				"data": f[6]}}, nil
		})
	}
	r.Start()
	return r
}

func lines(file string, each func(line []byte) (Received, error)) ([]Received, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return scan(f, each)
}

func scan(in io.Reader, each func(line []byte) (Received, error)) (list []Received, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		one, err := each(s.Bytes())
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, s.Err()
}

// CertificateFiles are an authority's certificate, and a pair for 127.0.0.1.
type CertificateFiles struct{ CA, Cert, Key string }

// Certificates makes fresh ones.
func Certificates(tb testing.TB) CertificateFiles {
	tb.Helper()
	dir := tb.TempDir()
	must(tb, certificates(dir))
	return CertificateFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")}
}

// certificates writes an authority, and certificates of it for a server on this
// machine and a client.
func certificates(dir string) error {
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := certificate(dir, "ca", ca, ca, key, key); err != nil {
		return err
	}
	for i, name := range []string{"server", "client"} {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: name}, NotBefore: ca.NotBefore,
			NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		if err := certificate(dir, name, c, ca, own, key); err != nil {
			return err
		}
	}
	return nil
}

func certificate(dir, name string, c, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// NewReceiver is a receiver that a test runs itself.
func NewReceiver(tb testing.TB, addr string, received func() []Received) *Receiver {
	return &Receiver{tb: tb, Addr: addr, received: func(context.Context) ([]Received, error) { return received(), nil }}
}
