package evidence_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/report"
	"github.com/chaperone-sql/chaperone/witness"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// arena is a recording in a real bucket, a copy of it, and bundles of it: what
// the attacks of the tamper matrix work on.
type arena struct {
	t        testing.TB
	bucket   evidence.Bucket
	signer   *evidence.Signer
	other    *evidence.Signer // of another gateway, trusted as well
	public   string
	trusted  note.Verifiers
	auditors []age.Recipient
	keys     string // file
	began    time.Time

	closed, again, across string // writers: of gw-1 two, of gw-2
	approved              string // a query that ran on approval
	secret                string // a query of alice
	early                 map[string]string
	kept                  map[string]string // checkpoints at the end
	one, two              *witnessed        // both cosign all logs
	list                  map[string]string // what one holds at the end
	yesterday             string            // a copy made before the end
	copied                string            // a copy of everything
	bundles               map[string]string // unpacked, by kind
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSigner(t testing.TB, name string) (*evidence.Signer, string) {
	t.Helper()
	private, public, err := evidence.GenerateSigner(name)
	check(t, err)
	signer, err := evidence.ParseSigner(private)
	check(t, err)
	return signer, public
}

func newAuditors(t testing.TB) []age.Recipient {
	t.Helper()
	_, recipient, err := evidence.GenerateIdentity(false)
	check(t, err)
	auditors, err := evidence.ParseRecipients(recipient)
	check(t, err)
	return auditors
}

func newArena(t testing.TB) *arena {
	t.Helper()
	a := &arena{t: t, bucket: evidence.OpenBucket(t), bundles: map[string]string{}, began: time.Now().Add(-time.Second).UTC()}
	var one, two string
	a.signer, one = newSigner(t, "gw-1")
	a.other, two = newSigner(t, "gw-2")
	a.public = one + "\n" + two + "\n"
	var err error
	a.trusted, err = evidence.ParseVerifiers([]byte(a.public))
	check(t, err)
	a.auditors = newAuditors(t)
	a.one, a.two = a.witness("witness.test/1"), a.witness("witness.test/2")
	a.keys = filepath.Join(t.TempDir(), "keys")
	check(t, os.WriteFile(a.keys, []byte(a.public), 0o600))
	a.record()
	return a
}

func (a *arena) open(name string, signer *evidence.Signer) *evidence.Log {
	a.t.Helper()
	a.one.on.Store(false) // the round at the start: so that segments have their numbers
	a.two.on.Store(false)
	l, err := evidence.Open(context.Background(), evidence.Config{Store: a.bucket.Store, Name: name, Signer: signer, Auditors: a.auditors,
		GatewayVersion: "test", ConfigDigest: "abc", Heartbeat: time.Minute, Observe: time.Hour,
		Witnesses: []evidence.Cosigner{a.one, a.two}, Logger: slog.New(slog.DiscardHandler)})
	check(a.t, err)
	for _, w := range []*witnessed{a.one, a.two} {
		<-w.refused
		w.on.Store(true)
	}
	return l
}

func (a *arena) append(l *evidence.Log, r *evidence.Record) {
	a.t.Helper()
	_, err := l.Append(context.Background(), r)
	check(a.t, err)
}

// query records a query, on the approval of somebody if there is one.
func (a *arena) query(l, approves *evidence.Log, subject, approver string) string {
	a.t.Helper()
	id := evidence.NewQueryID(l.Writer(), time.Now())
	base := evidence.Record{QueryID: id, SessionID: "s-" + subject, Connection: "clinic", Relations: []string{"public.patients"},
		Actor: &evidence.Actor{Issuer: "https://idp", Subject: subject}, Decision: &evidence.Decision{Effect: "allow"},
		Statement: &evidence.Statement{SHA256: "00", Normalized: "SELECT ssn FROM patients WHERE id = $1"}}
	intent, outcome := base, base
	if approver != "" {
		asked := base
		asked.Type, asked.Decision = evidence.TypeApprovalRequested, &evidence.Decision{Effect: "approve"}
		asked.Result = &evidence.Result{Status: "pending_approval"}
		a.append(l, &asked)
		a.append(approves, &evidence.Record{Type: evidence.TypeApprovalDecided, QueryID: id, Connection: "clinic",
			Actor: &evidence.Actor{Issuer: "https://idp", Subject: approver}, Approval: &evidence.Approval{Decision: "approve"}})
		on := &evidence.Approval{Decision: "approve", Approvers: []string{"https://idp#" + approver}}
		intent.Decision, intent.Approval = asked.Decision, on
		outcome.Decision, outcome.Approval = asked.Decision, on
	}
	intent.Type, intent.Secret = evidence.TypeIntent, &evidence.Secret{Statement: "SELECT ssn FROM patients WHERE id = 4242", Salt: "x"}
	a.append(l, &intent)
	outcome.Type = evidence.TypeOutcome
	outcome.Result = &evidence.Result{Status: "succeeded", RowCount: 1, Rows: []byte(`[["[redacted]"]]`)}
	a.append(l, &outcome)
	return id
}

func (a *arena) record() {
	ctx := context.Background()
	one := a.open("gw-1", a.signer)
	a.closed = one.Writer()
	a.query(one, nil, "alice", "")
	check(a.t, one.Close(ctx))
	one = a.open("gw-1", a.signer)
	a.again = one.Writer()
	two := a.open("gw-2", a.other)
	a.across = two.Writer()
	a.secret = a.query(one, nil, "alice", "")
	a.query(two, nil, "bob", "")
	a.approved = a.query(one, two, "alice", "carol")
	evidence.LookAround(a.t, one)
	evidence.LookAround(a.t, two)
	a.query(two, nil, "bob", "") // which nobody saw yet
	a.yesterday = a.fetch()
	a.early = a.verify(a.yesterday, a.goCopy).Checkpoints
	a.query(one, nil, "alice", "")
	middle := time.Now().UTC()
	time.Sleep(2 * time.Millisecond)
	a.query(two, nil, "bob", "")
	evidence.LookAround(a.t, one)
	evidence.LookAround(a.t, two)
	evidence.Attest(a.t, two)
	check(a.t, one.Close(ctx))
	a.query(two, nil, "bob", "") // which nobody saw
	check(a.t, two.Close(ctx))
	a.copied = a.fetch()
	a.kept = a.verify(a.copied, a.goCopy).Checkpoints
	a.list = a.one.list()
	for _, by := range []verifierOf{a.goCopy, a.python} {
		for _, h := range []help{{}, {witnesses: a.one.key + a.two.key}, {witnesses: a.two.key}, {kept: a.list}} {
			clean, err := by(a.copied, h)
			check(a.t, err)
			if len(clean.Findings) > 0 {
				a.t.Fatalf("findings before any attack: %s", listed(clean))
			}
		}
	}
	filter := evidence.Filter{Since: a.began, Until: time.Now().UTC()}
	a.bundles["signed"] = a.bundle(filter, a.signer)
	a.bundles["unsigned"] = a.bundle(filter, nil)
	a.bundles["before the end"] = a.bundle(evidence.Filter{Since: a.began, Until: middle}, nil)
	filter.Principal = "alice"
	a.bundles["filtered"] = a.bundle(filter, a.signer)
}

func (a *arena) fetch() string {
	a.t.Helper()
	path := a.t.TempDir()
	store, err := dir.New(dir.Config{Path: path})
	check(a.t, err)
	_, err = evidence.Fetch(context.Background(), a.bucket.Store, store)
	check(a.t, errors.Join(err, store.Close()))
	return path
}

func (a *arena) bundle(f evidence.Filter, signer *evidence.Signer) string {
	a.t.Helper()
	return a.bundleOf(a.bucket.Store, f, signer)
}

func (a *arena) bundleOf(store worm.Store, f evidence.Filter, signer *evidence.Signer) string {
	a.t.Helper()
	var out bytes.Buffer
	_, err := bundle.Build(context.Background(), bundle.Config{Store: store, Trusted: a.trusted, Filter: f, Maker: "a test",
		Keys: []byte(a.public), Signer: signer, Parts: []bundle.Part{report.Part()}}, &out)
	check(a.t, err)
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	check(a.t, err)
	path := a.t.TempDir()
	check(a.t, os.CopyFS(path, z))
	return path
}

// help is what an auditor has beside what he verifies.
type help struct {
	kept map[string]string // checkpoints
	// witnesses are lines of witnesses' keys.
	witnesses string
}

func (h help) options() (o evidence.Options, err error) {
	o.Checkpoints = slices.Collect(maps.Values(h.kept))
	if h.witnesses != "" {
		o.Witnesses, err = evidence.ParseWitnessKeys([]byte(h.witnesses))
	}
	return o, err
}

// witnessed is a witness of our own that the arena's gateways ask, if it is on.
type witnessed struct {
	*witness.Client
	t        testing.TB
	on       atomic.Bool
	refused  chan struct{}
	dir, key string
	signer   *torchwood.CosignatureSigner
	server   *witness.Server
}

func (w *witnessed) Cosign(ctx context.Context, old uint64, proof [][]byte, checkpoint []byte) ([]byte, error) {
	if !w.on.Load() {
		w.refused <- struct{}{}
		return nil, errors.New("off")
	}
	return w.Client.Cosign(ctx, old, proof, checkpoint)
}

// list is what the witness holds.
func (w *witnessed) list() map[string]string {
	w.t.Helper()
	check(w.t, w.server.Close())
	list, err := witness.Checkpoints(w.dir, w.signer.Verifier())
	check(w.t, err)
	return list
}

// witness starts a witness of both gateways' keys.
func (a *arena) witness(name string) *witnessed {
	a.t.Helper()
	private, public, err := witness.GenerateKey(name)
	check(a.t, err)
	path := filepath.Join(a.t.TempDir(), "key")
	check(a.t, evidence.WritePrivateFile(path, private))
	w := &witnessed{t: a.t, refused: make(chan struct{}), dir: a.t.TempDir(), key: public + "\n"}
	w.signer, err = witness.LoadSigner(path)
	check(a.t, err)
	check(a.t, witness.Init(w.dir, w.signer))
	gateways, err := evidence.ParseVerifierList([]byte(a.public))
	check(a.t, err)
	w.server, err = witness.New(w.dir, w.signer, gateways, slog.New(slog.DiscardHandler))
	check(a.t, err)
	served := httptest.NewServer(w.server.Handler())
	a.t.Cleanup(served.Close)
	w.Client, err = witness.NewClient(served.URL, public)
	check(a.t, err)
	return w
}

// verifierOf is one of the two verifiers.
type verifierOf func(path string, with help) (*evidence.Report, error)

func (a *arena) verify(path string, by verifierOf) *evidence.Report {
	a.t.Helper()
	report, err := by(path, help{})
	check(a.t, err)
	return report
}

func (a *arena) goCopy(path string, with help) (*evidence.Report, error) {
	options, err := with.options()
	if err != nil {
		return nil, err
	}
	options.Copy = true
	store, err := dir.New(dir.Config{Path: path, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	report, err := evidence.Verify(context.Background(), store, a.trusted, options)
	return report, errors.Join(err, store.Close())
}

func (a *arena) goBundle(path string, with help) (*evidence.Report, error) {
	options, err := with.options()
	if err != nil {
		return nil, err
	}
	return evidence.VerifyBundle(context.Background(), os.DirFS(path), a.trusted, options)
}

// python is verify.py, which was written from the format document alone.
func (a *arena) python(path string, with help) (*evidence.Report, error) {
	args := []string{"bundle/verify.py", "--json", "--keys", a.keys}
	if with.witnesses != "" {
		file := filepath.Join(a.t.TempDir(), "witnesses")
		if err := os.WriteFile(file, []byte(with.witnesses), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--witness-keys", file)
	}
	if with.kept != nil {
		text, err := json.Marshal(map[string]any{"checkpoints": with.kept})
		if err != nil {
			return nil, err
		}
		file := filepath.Join(a.t.TempDir(), "kept.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--checkpoints", file)
	}
	var errs bytes.Buffer
	cmd := exec.Command("python3", append(args, path)...) // #nosec G204 -- our own script
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("verify.py: %w\n%s%s", err, out, errs.Bytes())
	}
	report := &evidence.Report{}
	if err := json.Unmarshal(out, report); err != nil {
		return nil, err
	}
	if (len(report.Findings) > 0) != (err != nil) {
		return nil, fmt.Errorf("verify.py: %d findings do not go with its exit code", len(report.Findings))
	}
	return report, nil
}

// scene is a copy of what an attack works on.
type scene struct {
	*arena
	path string
}

func (s *scene) file(name string) string { return filepath.Join(s.path, filepath.FromSlash(name)) }

func (s *scene) read(name string) []byte {
	s.t.Helper()
	body, err := os.ReadFile(s.file(name))
	check(s.t, err)
	return body
}

func (s *scene) write(name string, body []byte) {
	s.t.Helper()
	check(s.t, os.MkdirAll(filepath.Dir(s.file(name)), 0o700))
	check(s.t, os.RemoveAll(s.file(name)))
	check(s.t, os.WriteFile(s.file(name), body, 0o600))
}

func (s *scene) remove(names ...string) {
	s.t.Helper()
	for _, name := range names {
		check(s.t, os.RemoveAll(s.file(name)))
	}
}

func (s *scene) change(name string, f func([]byte) []byte) {
	s.t.Helper()
	s.write(name, f(s.read(name)))
}

func (s *scene) swap(a, b string) {
	s.t.Helper()
	one, two := s.read(a), s.read(b)
	s.write(a, two)
	s.write(b, one)
}

// segments is how many a writer has in a copy.
func (s *scene) segments(writer string) uint64 {
	s.t.Helper()
	list, err := os.ReadDir(filepath.Dir(s.file(evidence.SegmentKey(writer, 0))))
	check(s.t, err)
	return uint64(len(list))
}

// store is the copy as a store.
func (s *scene) store() worm.Store {
	s.t.Helper()
	store, err := dir.New(dir.Config{Path: s.path, ReadOnly: true})
	check(s.t, err)
	return store
}

// forge makes a log again with a key, from a segment on.
func (s *scene) forge(signer *evidence.Signer, writer string, from uint64, old, replaced string) {
	s.t.Helper()
	for key, body := range evidence.Forge(s.t, s.store(), signer, writer, from, func(entry []byte) []byte {
		return bytes.ReplaceAll(entry, []byte(old), []byte(replaced))
	}) {
		s.write(key, body)
	}
}

// run changes the objects of a writer's run in a bundle.
func (s *scene) run(writer string, f func(objects [][]byte) [][]byte) {
	s.t.Helper()
	name := evidence.RunFile(writer)
	s.write(name, bytes.Join(f(evidence.SplitRun(s.t, s.read(name))), nil))
}

// relist makes the manifest right again for files that were changed, without a
// signature: what somebody does who has no key.
func (s *scene) relist(change func(m *evidence.Manifest)) {
	s.t.Helper()
	text, _, _ := strings.Cut(string(s.read(evidence.ManifestFile)), "\n\n")
	_, line, _ := strings.Cut(text, "\n")
	var m evidence.Manifest
	check(s.t, json.Unmarshal([]byte(line), &m))
	for name := range m.Files {
		body, err := os.ReadFile(s.file(name))
		if errors.Is(err, os.ErrNotExist) {
			delete(m.Files, name)
			continue
		}
		check(s.t, err)
		sum := sha256.Sum256(body)
		m.Files[name] = evidence.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body))}
	}
	if change != nil {
		change(&m)
	}
	body, err := m.Encode(nil)
	check(s.t, err)
	s.write(evidence.ManifestFile, body)
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}
