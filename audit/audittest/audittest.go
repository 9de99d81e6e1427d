// Package audittest is for tests of what auditors see: a store in a folder with
// real logs in it, a real index over them and an audit.Service. Only what a test
// does to the store is not real.
package audittest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// World is a store, those who write into it, and the Service.
type World struct {
	t testing.TB
	// Path is the folder of the store, IndexPath the file of the index.
	Path, IndexPath string
	// Temp is where the Service makes bundles.
	Temp    string
	Store   *Store
	Trusted note.Verifiers
	// Identity opens what is sealed.
	Identity string
	// Logs are those of the gateways; the first records looks.
	Logs    []*evidence.Log
	Index   *index.Index
	Service *audit.Service

	// Eve signs with an auditor's key, which Trusted has, too; Other with that of
	// another gateway.
	Eve, Other *evidence.Signer
	// Poison, if set, changes what the index says.
	Poison func(q index.Query, page *index.Page)

	signer   *evidence.Signer
	auditors []age.Recipient
	now      atomic.Int64
}

// Store is a store that can be down for writers or for readers.
type Store struct {
	worm.Store
	NoWrites, NoReads atomic.Bool
}

// Create implements worm.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	if s.NoWrites.Load() {
		return fmt.Errorf("%w: the test says so", worm.ErrUnavailable)
	}
	return s.Store.Create(ctx, key, body)
}

// Get implements worm.Store.
func (s *Store) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if s.NoReads.Load() {
		return worm.Object{}, fmt.Errorf("%w: the test says so", worm.ErrUnavailable)
	}
	return s.Store.Get(ctx, key, limit)
}

// New makes a world with some gateways.
func New(t testing.TB, gateways int) *World {
	t.Helper()
	w := &World{t: t, Path: t.TempDir(), IndexPath: filepath.Join(t.TempDir(), "index.db"), Temp: t.TempDir()}
	w.now.Store(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC).UnixNano())
	store, err := dir.New(dir.Config{Path: w.Path})
	w.must(err)
	w.Store = &Store{Store: store}
	signer, key := w.Signer("gw")
	eve, eves := w.Signer("auditor-eve")
	second, seconds := w.Signer("forger")
	w.Eve, w.Other = eve, second
	keys := strings.Join([]string{key, eves, seconds}, "\n")
	w.Trusted, err = evidence.ParseVerifiers([]byte(keys))
	w.must(err)
	private, recipient, err := evidence.GenerateIdentity(false)
	w.must(err)
	w.Identity = private.Reveal()
	w.auditors, err = evidence.ParseRecipients(recipient)
	w.must(err)
	w.signer = signer
	for i := range gateways {
		w.Logs = append(w.Logs, w.open(fmt.Sprintf("gw-%d", i)))
	}
	w.OpenIndex()
	t.Cleanup(func() { w.must(w.Index.Close()) })
	w.Service, err = audit.New(audit.Config{Index: indexOf{w}, Reader: w.Reader(), Log: w.Logs[0], Rejects: rejects{w.Logs[0]},
		Bundles: &bundles{w, bundle.Config{Store: w.Store, Trusted: w.Trusted, Signer: signer, Keys: []byte(keys), Maker: "a test", Clock: w.Now}},
		Logger:  slog.New(slog.DiscardHandler), Clock: w.Now, Temp: w.Temp})
	w.must(err)
	return w
}

// open starts a gateway's log.
func (w *World) open(name string) *evidence.Log {
	w.t.Helper()
	l, err := evidence.Open(w.t.Context(), evidence.Config{Store: w.Store, Name: name, Signer: w.signer, Auditors: w.auditors,
		GatewayVersion: "test", ConfigDigest: "x", Heartbeat: time.Hour, Observe: time.Hour, RetryWindow: 300 * time.Millisecond,
		Clock: w.Now, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		_ = l.Close(ctx)
	})
	return l
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Signer makes a signing key, and gives its public line.
func (w *World) Signer(name string) (*evidence.Signer, string) {
	w.t.Helper()
	private, public, err := evidence.GenerateSigner(name)
	w.must(err)
	signer, err := evidence.ParseSigner(private)
	w.must(err)
	return signer, public
}

// Now is the clock of everything here.
func (w *World) Now() time.Time { return time.Unix(0, w.now.Load()).UTC() }

// Pass lets time pass.
func (w *World) Pass(d time.Duration) { w.now.Add(int64(d)) }

// Reader reads the store and trusts the gateways' key.
func (w *World) Reader() *evidence.Reader { return evidence.NewReader(w.Store, w.Trusted) }

// OpenIndex opens the file of the index (again).
func (w *World) OpenIndex() {
	w.t.Helper()
	ix, err := index.Open(index.Config{Path: w.IndexPath, Store: "test", Reader: w.Reader(), Logger: slog.New(slog.DiscardHandler), Clock: w.Now})
	w.must(err)
	w.Index = ix
}

// Append records something and gives the record's id, and its segment's key.
func (w *World) Append(gateway int, r evidence.Record) (id, segment string) {
	w.t.Helper()
	w.Pass(time.Second)
	receipt, err := w.Logs[gateway].Append(w.t.Context(), &r)
	w.must(err)
	return receipt.RecordID, receipt.Segment
}

// Query is a query that was asked and answered.
type Query struct {
	ID string
	// Intent and Outcome are ids of records, IntentIn and OutcomeIn keys of segments.
	Intent, Outcome, IntentIn, OutcomeIn string
}

// Ask records a query of a connection and a session, with one row.
func (w *World) Ask(gateway int, connection, session string, change ...func(intent, outcome *evidence.Record)) (q Query) {
	w.t.Helper()
	w.Pass(time.Second)
	q.ID = evidence.NewQueryID(w.Logs[gateway].Writer(), w.Now())
	base := evidence.Record{QueryID: q.ID, SessionID: session, Connection: connection, PurposeOfUse: "TREAT",
		Actor:     &evidence.Actor{Subject: "crew-7", Issuer: "https://id.example.org", Name: "Crew Seven", RemoteAddr: "192.0.2.7:4711"},
		Relations: []string{"public.patients"}, Patients: []string{"mrn:tok_1"},
		Statement: &evidence.Statement{Normalized: "SELECT zip FROM patients WHERE id = $1", Parameters: 1}}
	intent, outcome := base, base
	intent.Type, intent.Decision = evidence.TypeIntent, &evidence.Decision{Effect: "allow", Rules: []string{"small"}}
	intent.Secret = &evidence.Secret{Statement: "SELECT zip FROM patients WHERE id = 4711"}
	outcome.Type, outcome.Decision = evidence.TypeOutcome, intent.Decision
	outcome.Result = &evidence.Result{Status: "succeeded", Command: "SELECT", RowCount: 1,
		Columns: []byte(`[{"name":"zip","type":"text","masked":true,"mask":"zip3"}]`), Rows: []byte(`[["023**"]]`)}
	for _, c := range change {
		c(&intent, &outcome)
	}
	q.Intent, q.IntentIn = w.Append(gateway, intent)
	q.Outcome, q.OutcomeIn = w.Append(gateway, outcome)
	return q
}

// Forge stores a log that nobody's gateway wrote, announced by one signer and
// signed by another, with a query in it.
func (w *World) Forge(announced, signer *evidence.Signer, connection, session string) Query {
	w.t.Helper()
	folder, err := dir.New(dir.Config{Path: w.t.TempDir()})
	w.must(err)
	elsewhere := &World{t: w.t, Store: &Store{Store: folder}}
	elsewhere.now.Store(w.now.Load())
	l, err := evidence.Open(w.t.Context(), evidence.Config{Store: elsewhere.Store, Name: "forger", Signer: announced, Auditors: w.auditors,
		GatewayVersion: "test", ConfigDigest: "x", Heartbeat: time.Hour, Observe: time.Hour, Clock: elsewhere.Now, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	elsewhere.Logs = append(elsewhere.Logs, l)
	q := elsewhere.Ask(0, connection, session)
	w.must(l.Close(w.t.Context()))
	for _, key := range elsewhere.Objects() {
		o, err := elsewhere.Store.Get(w.t.Context(), key, 1<<20)
		w.must(err)
		if strings.Contains(key, "/segments/") {
			// The checkpoint is a signed note at the end: docs/evidence-format.md, "Segment".
			head, rest, _ := strings.Cut(string(o.Body), "\n"+announced.Name()+"/")
			text, _, _ := strings.Cut(rest, "\n\n")
			signed, err := note.Sign(&note.Note{Text: signer.Name() + "/" + text + "\n"}, signer)
			w.must(err)
			o.Body = append([]byte(head+"\n"), signed...)
		}
		w.must(w.Store.Create(w.t.Context(), key, o.Body))
	}
	return q
}

// Objects are the keys of all objects.
func (w *World) Objects() (keys []string) {
	w.t.Helper()
	w.must(w.Store.List(w.t.Context(), "", "", func(e worm.Entry) bool {
		keys = append(keys, e.Key)
		return true
	}))
	return keys
}

// Records are all that the store holds.
func (w *World) Records() (all []evidence.Record) {
	w.t.Helper()
	w.must(w.Reader().Records(w.t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		all = append(all, *r)
		return true
	}))
	return all
}

// Looks are the records of looks, of refusals and of bundles taken.
func (w *World) Looks() []evidence.Record {
	w.t.Helper()
	return slices.DeleteFunc(w.Records(), func(r evidence.Record) bool {
		return r.Type != evidence.TypeRead && r.Type != evidence.TypeExported && r.Type != evidence.TypeRejected
	})
}

// Alter changes an object as the owner of the folder can.
func (w *World) Alter(key string, change func([]byte) []byte) {
	w.t.Helper()
	path := filepath.Join(w.Path, filepath.FromSlash(key))
	body, err := os.ReadFile(path) // #nosec G304 -- of the test's own folder
	w.must(err)
	changed := change(slices.Clone(body))
	if slices.Equal(changed, body) {
		w.t.Fatalf("%s was not altered", key)
	}
	w.must(os.Chmod(path, 0o600))
	w.must(os.WriteFile(path, changed, 0o600))
}

// Remove removes an object.
func (w *World) Remove(key string) {
	w.t.Helper()
	w.Take(key)
}

// Take removes an object and gives it.
func (w *World) Take(key string) []byte {
	w.t.Helper()
	path := filepath.Join(w.Path, filepath.FromSlash(key))
	body, err := os.ReadFile(path) // #nosec G304 -- of the test's own folder
	w.must(err)
	w.must(os.Remove(path))
	return body
}

// Restart starts another writer of an instance, as after a crash.
func (w *World) Restart(name string) {
	w.t.Helper()
	w.Logs = append(w.Logs, w.open(name))
}

// Auditor is somebody who audits these connections.
func Auditor(connections ...string) *identity.Principal {
	p := &identity.Principal{Subject: "audrey", Issuer: "https://id.example.org", Name: "Audrey", Roles: map[string][]identity.Role{}}
	for _, name := range connections {
		p.Roles[name] = []identity.Role{identity.Auditor}
	}
	return p
}

// Meta is of a request of a page.
var Meta = gateway.Meta{RequestID: "r-1", RemoteAddr: "192.0.2.1:1", Transport: "page"}

// rejects records refusals as gateway.Gateway does.
type rejects struct{ log *evidence.Log }

// Reject implements audit.Rejecter.
func (r rejects) Reject(ctx context.Context, p *identity.Principal, problem *gateway.Problem, m gateway.Meta, connection string) *gateway.Problem {
	receipt, err := r.log.Append(ctx, &evidence.Record{Type: evidence.TypeRejected, Connection: connection, Actor: gateway.ActorOf(p, m),
		Result: &evidence.Result{Status: "refused", Code: string(problem.Code), Affected: -1}})
	if err != nil {
		return &gateway.Problem{Code: gateway.CodeEvidence}
	}
	problem.RecordingID = receipt.RecordID
	return problem
}

// indexOf is the world's index, whichever is open.
type indexOf struct{ w *World }

func (i indexOf) Search(ctx context.Context, q index.Query) (*index.Page, error) {
	page, err := i.w.Index.Search(ctx, q)
	if err == nil && i.w.Poison != nil {
		i.w.Poison(q, page)
	}
	return page, err
}
func (i indexOf) Refresh(ctx context.Context) error { return i.w.Index.Refresh(ctx) }
func (i indexOf) State() index.State                { return i.w.Index.State() }

// bundles are those of the store, as a gateway's process gives them.
type bundles struct {
	w   *World
	cfg bundle.Config
}

// Days implements audit.Bundles.
func (b *bundles) Days(ctx context.Context) (days []audit.Day, err error) {
	err = b.w.Store.List(ctx, bundle.Prefix, "", func(e worm.Entry) bool {
		day, err := time.Parse("bundles/2006/01/02.zip", e.Key)
		if err == nil {
			days = append(days, audit.Day{Day: day, Size: e.Size, Stored: e.Modified})
		}
		return true
	})
	slices.Reverse(days)
	return days, err
}

// Open implements audit.Bundles.
func (b *bundles) Open(ctx context.Context, day time.Time) (io.ReadCloser, int64, error) {
	body, entry, err := b.w.Store.Open(ctx, bundle.Key(day))
	return body, entry.Size, err
}

// Make implements audit.Bundles.
func (b *bundles) Make(ctx context.Context, f evidence.Filter, out io.Writer) error {
	cfg := b.cfg
	cfg.Filter = f
	_, err := bundle.Build(ctx, cfg, out)
	return err
}
