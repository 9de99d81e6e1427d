package forward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

const (
	envGateway = "CHAPERONE_FORWARD_TEST_GATEWAY"
	// canaries stand where a record holds what is not forwarded.
	canary = "CANARY-7f3a"
	token  = "token-that-nobody-logs"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" //nolint:gosec // the specification's example
)

// brisk is production's pace for tests.
var brisk = pace{poll: 20 * time.Millisecond, list: 100 * time.Millisecond, first: 20 * time.Millisecond, most: 300 * time.Millisecond,
	refused: 200 * time.Millisecond}

func TestMain(m *testing.M) {
	if text := os.Getenv(envGateway); text != "" {
		if err := gateway(text); err != nil {
			fmt.Fprintln(os.Stderr, "gateway:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is where a test's records are.
type world struct {
	Store, Key, Auditor, Cursors string
	Public                       string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	private, public, err := evidence.GenerateSigner("gw")
	must(t, err)
	_, recipient, err := evidence.GenerateIdentity(false)
	must(t, err)
	return &world{Store: t.TempDir(), Key: private.Reveal(), Auditor: recipient, Public: public, Cursors: t.TempDir()}
}

func (w *world) store() (*dir.Store, note.Verifiers, error) {
	store, err := dir.New(dir.Config{Path: w.Store})
	if err != nil {
		return nil, nil, err
	}
	trusted, err := evidence.ParseVerifiers([]byte(w.Public))
	return store, trusted, err
}

func (w *world) reader(t testing.TB) *evidence.Reader {
	t.Helper()
	store, trusted, err := w.store()
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return evidence.NewReader(store, trusted)
}

func (w *world) open(ctx context.Context, instance string) (*evidence.Log, error) {
	store, _, err := w.store()
	if err != nil {
		return nil, err
	}
	signer, err := evidence.ParseSigner(masking.Secret(w.Key))
	if err != nil {
		return nil, err
	}
	auditors, err := evidence.ParseRecipients(w.Auditor)
	if err != nil {
		return nil, err
	}
	return evidence.Open(ctx, evidence.Config{Store: store, Name: instance, Signer: signer, Auditors: append([]age.Recipient{}, auditors...),
		GatewayVersion: "test", Heartbeat: time.Minute, Logger: slog.New(slog.DiscardHandler)})
}

func (w *world) log(t testing.TB, instance string) *evidence.Log {
	t.Helper()
	l, err := w.open(t.Context(), instance)
	must(t, err)
	t.Cleanup(func() { _ = l.Close(context.Background()) }) // most are closed already
	return l
}

// outcome is a record with a canary in each part that stays here.
func outcome(n int) *evidence.Record {
	return &evidence.Record{Type: evidence.TypeOutcome, SessionID: "s-" + strconv.Itoa(n), Connection: "clinic",
		Actor:     &evidence.Actor{Subject: "crew-ünïcode \"7\"", Issuer: "https://issuer.example"},
		Relations: []string{"public.patients"}, Statement: &evidence.Statement{SHA256: "00", Kind: "select", Normalized: "SELECT\n zip FROM patients WHERE a < $1 & b ≠ ']'"},
		Decision: &evidence.Decision{Effect: "allow", Rules: []string{"reads"}},
		Result: &evidence.Result{Status: "succeeded", RowCount: 1, Rows: json.RawMessage(`[["` + canary + `"]]`),
			Columns: json.RawMessage(`[{"name":"` + canary + `"}]`), Notes: []string{canary}, Problem: json.RawMessage(`{"detail":"` + canary + `"}`)},
		Note: canary, Secret: &evidence.Secret{Statement: canary}}
}

// encodeAll is an encoder that leaves nothing out: what it is not given to see
// is the forwarder's doing.
func encodeAll(dst []byte, r *evidence.Record) ([]byte, error) {
	b, err := json.Marshal(r)
	return append(dst, b...), err
}

// records are the stored records of the logs, by id, as they are to be received.
func (w *world) records(t testing.TB) map[string]string {
	t.Helper()
	reader := w.reader(t)
	names, err := reader.Names(t.Context())
	must(t, err)
	all := map[string]string{}
	for _, name := range names {
		must(t, reader.Follow(t.Context(), name, 0, func(_ uint64, records []evidence.Record) error {
			for i := range records {
				b, err := encodeAll(nil, clear(&records[i]))
				if err != nil {
					return err
				}
				all[records[i].ID] = string(b)
			}
			return nil
		}))
	}
	return all
}

// order is what the test tells its gateway process.
type order struct {
	World *world
	Kind  string
	// Addr is the receiver's, the others its certificates.
	Addr, CA, Cert, Key string
	// Records are appended before it waits to be ended.
	Records int
	// Ready is a file that is written when they are.
	Ready string
}

func (o *order) sink() (Sink, error) {
	give := func(s string) Secret { return func() (masking.Secret, error) { return masking.Secret(s), nil } }
	switch o.Kind {
	case "otlp":
		return NewOTLP(HTTP{URL: "http://" + o.Addr + "/v1/logs", Secret: give(token)}), nil
	case "hec":
		return NewHEC(HECConfig{HTTP: HTTP{URL: "http://" + o.Addr + "/services/collector/event", Secret: give(token)}}), nil
	case "webhook":
		return NewWebhook(HTTP{URL: "http://" + o.Addr + "/hook", Secret: give(secret)}), nil
	case "syslog":
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, err
		}
		cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no authority")
		}
		return NewSyslog(SyslogConfig{Address: o.Addr, TLS: cfg}), nil
	}
	return nil, fmt.Errorf("no such kind: %s", o.Kind)
}

// gateway is a process that records and forwards until SIGTERM, as a gateway does.
func gateway(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log, err := o.World.open(ctx, "gw-1")
	if err != nil {
		return err
	}
	store, trusted, err := o.World.store()
	if err != nil {
		return err
	}
	sink, err := o.sink()
	if err != nil {
		return err
	}
	f, err := start(Config{Reader: evidence.NewReader(store, trusted), Writer: log.Writer(), Dir: o.World.Cursors, Encode: encodeAll,
		Destinations: []Destination{{Name: "siem", Sink: sink, MaxRecords: 200}}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}, brisk)
	if err != nil {
		return err
	}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := w; n < o.Records && ctx.Err() == nil; n += 8 {
				if _, err := log.Append(ctx, outcome(n)); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "append:", err)
				}
			}
		})
	}
	writers.Wait()
	if err := os.WriteFile(o.Ready, nil, 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = log.Close(end)
	f.Close(end)
	return err
}

// receiver is what a test forwards to.
type receiver struct {
	*testenv.Receiver
	down func()
	up   func()
}

func logFile(t testing.TB) string { return filepath.Join(t.TempDir(), "gateway.log") }

func certPool(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no authority")
	}
	return pool
}
