package evidence

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// world is everything a test's log is made of.
type world struct {
	path     string
	store    worm.Store
	signer   *Signer
	trusted  note.Verifiers
	identity age.Identity
	auditors []age.Recipient
}

func newWorld(t testing.TB) *world {
	t.Helper()
	path := t.TempDir()
	store, err := dir.New(dir.Config{Path: path})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	private, public, err := GenerateSigner("gw")
	must(t, err)
	signer, err := ParseSigner(private)
	must(t, err)
	trusted, err := ParseVerifiers([]byte(public))
	must(t, err)
	id, recipient, err := GenerateIdentity(false)
	must(t, err)
	auditors, err := ParseRecipients(recipient)
	must(t, err)
	identity, err := age.ParseX25519Identity(id.Reveal())
	must(t, err)
	return &world{path: path, store: store, signer: signer, trusted: trusted, identity: identity, auditors: auditors}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) config(name string) Config {
	return Config{Store: w.store, Name: name, Signer: w.signer, Auditors: w.auditors, GatewayVersion: "test",
		ConfigDigest: "abc", Heartbeat: 5 * time.Minute, RetryWindow: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
}

func (w *world) open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { l.kill() })
	return l
}

// kill ends a log as a dying process would: nothing more is stored.
func (l *Log) kill() {
	l.stop(errors.New("killed"))
	l.end()
	l.workers.Wait()
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	must(t, l.Close(ctx))
}

// flaky wraps a store; before each Create it asks fault, which may answer
// instead. after is asked when the object was stored.
type flaky struct {
	worm.Store
	mu     sync.Mutex
	before func(ctx context.Context, key string) error
	after  func(ctx context.Context, key string) error
	puts   int
}

func (f *flaky) set(before, after func(ctx context.Context, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *flaky) Create(ctx context.Context, key string, body []byte) error {
	f.mu.Lock()
	before, after := f.before, f.after
	f.puts++
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, key); err != nil {
			return err
		}
	}
	err := f.Store.Create(ctx, key, body)
	if err == nil && after != nil {
		err = after(ctx, key)
	}
	return err
}

// query appends the records of one query, and gives its id.
func query(t testing.TB, l *Log) string {
	t.Helper()
	id := NewQueryID(l.Writer(), time.Now())
	_, err := l.Append(t.Context(), &Record{Type: TypeIntent, QueryID: id, SessionID: "s1", Connection: "clinic",
		Actor:     &Actor{Subject: "agent", Issuer: "https://issuer"},
		Statement: &Statement{SHA256: "00", Normalized: "SELECT ssn FROM patients WHERE id = ?", Kind: "select"},
		Decision:  &Decision{Effect: "allow", Rules: []string{"reads"}},
		Secret:    &Secret{Statement: "SELECT ssn FROM patients WHERE id = 4242", Salt: "x"}})
	must(t, err)
	lease := &Lease{ID: "lease-" + id, Username: "v-" + id[len(id)-6:], Access: "ro", IssuedAt: time.Now().UTC(),
		ExpiresAt: time.Now().Add(time.Minute).UTC()}
	must(t, l.AppendAsync(&Record{Type: TypeLeaseIssued, QueryID: id, Connection: "clinic", Lease: lease}))
	_, err = l.Append(t.Context(), &Record{Type: TypeOutcome, QueryID: id, SessionID: "s1", Connection: "clinic",
		Actor:     &Actor{Subject: "agent", Issuer: "https://issuer"},
		Statement: &Statement{SHA256: "00", Normalized: "SELECT ssn FROM patients WHERE id = ?", Kind: "select"},
		Decision:  &Decision{Effect: "allow", Rules: []string{"reads"}}, Lease: lease,
		Result: &Result{Status: "succeeded", RowCount: 1, Affected: -1, Command: "SELECT",
			Columns: []byte(`[{"name":"ssn","type":"text","masked":true,"mask":"redact"}]`), Rows: []byte(`[["[redacted]"]]`)}})
	must(t, err)
	must(t, l.AppendAsync(&Record{Type: TypeLeaseRevoked, QueryID: id, Connection: "clinic", Lease: lease}))
	return id
}

func verify(t testing.TB, w *world, o Options) *Report {
	t.Helper()
	report, err := Verify(t.Context(), w.store, w.trusted, o)
	must(t, err)
	return report
}

func identities(w *world) []age.Identity { return []age.Identity{w.identity} }

// without shows a store in which the keys that begin so are gone.
type without struct {
	worm.Store
	prefix string
}

func (s without) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if strings.HasPrefix(key, s.prefix) {
		return worm.Object{}, worm.ErrNotFound
	}
	return s.Store.Get(ctx, key, limit)
}

func (s without) List(ctx context.Context, prefix, after string, yield func(worm.Entry) bool) error {
	return s.Store.List(ctx, prefix, after, func(e worm.Entry) bool {
		return strings.HasPrefix(e.Key, s.prefix) || yield(e)
	})
}

// Bucket is a fresh bucket with Object Lock on a real server, and what
// somebody with every right that the lock leaves can do to it.
type Bucket struct {
	Store     worm.Store
	Hide      func(key string)
	Overwrite func(key string, body []byte)
}

// OpenBucket is set by TestMain.
var OpenBucket func(testing.TB) Bucket
