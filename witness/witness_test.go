package witness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gateway is a gateway's key and where it writes.
type gateway struct {
	t        testing.TB
	store    *dir.Store
	signer   *evidence.Signer
	verifier note.Verifier
	trusted  note.Verifiers
	auditors []age.Recipient
}

func newGateway(t testing.TB, name string) *gateway {
	t.Helper()
	store, err := dir.New(dir.Config{Path: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	g := &gateway{t: t, store: store}
	private, public, err := evidence.GenerateSigner(name)
	must(t, err)
	g.signer, err = evidence.ParseSigner(private)
	must(t, err)
	g.verifier, err = note.NewVerifier(public)
	must(t, err)
	g.trusted = note.VerifierList(g.verifier)
	_, recipient, err := evidence.GenerateIdentity(false)
	must(t, err)
	g.auditors, err = evidence.ParseRecipients(recipient)
	must(t, err)
	return g
}

// outcomes are how requests to witnesses ended.
type outcomes struct {
	mu   sync.Mutex
	good int
	bad  []error
}

func (o *outcomes) add(_ string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.good++
	} else {
		o.bad = append(o.bad, err)
	}
}

func (o *outcomes) count() (good, bad int, last error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.bad) > 0 {
		last = o.bad[len(o.bad)-1]
	}
	return o.good, len(o.bad), last
}

func (g *gateway) open(observe time.Duration, o *outcomes, witnesses ...evidence.Cosigner) *evidence.Log {
	g.t.Helper()
	l, err := evidence.Open(g.t.Context(), evidence.Config{Store: g.store, Name: "gw", Signer: g.signer, Auditors: g.auditors,
		GatewayVersion: "test", ConfigDigest: "abc", Heartbeat: time.Minute, Observe: observe, Witnesses: witnesses,
		OnWitness: o.add, Logger: slog.New(slog.DiscardHandler)})
	must(g.t, err)
	return l
}

func (g *gateway) append(l *evidence.Log) time.Duration {
	g.t.Helper()
	began := time.Now()
	_, err := l.Append(g.t.Context(), &evidence.Record{Type: evidence.TypeAuthFailed})
	must(g.t, err)
	return time.Since(began)
}

func (g *gateway) close(l *evidence.Log) {
	g.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	must(g.t, l.Close(ctx))
}

func (g *gateway) verify(key string) *evidence.Report {
	g.t.Helper()
	witnesses, err := evidence.ParseWitnessKeys([]byte(key))
	must(g.t, err)
	report, err := evidence.Verify(g.t.Context(), g.store, g.trusted, evidence.Options{Witnesses: witnesses, WitnessWithin: 20 * time.Second})
	must(g.t, err)
	return report
}

// ours is a witness of our own that runs.
type ours struct {
	*Server
	dir, url, key string
	signer        *torchwood.CosignatureSigner
}

func newKey(t testing.TB, name string) *torchwood.CosignatureSigner {
	t.Helper()
	private, public, err := GenerateKey(name)
	must(t, err)
	path := filepath.Join(t.TempDir(), "key")
	must(t, evidence.WritePrivateFile(path, private))
	signer, err := LoadSigner(path)
	must(t, err)
	if signer.Verifier().String() != public {
		t.Fatal("the key that is read is not the one that was made")
	}
	return signer
}

func startOurs(t testing.TB, gateways ...note.Verifier) *ours {
	t.Helper()
	w := &ours{signer: newKey(t, "witness.test/ours"), dir: filepath.Join(t.TempDir(), "state")}
	w.key = w.signer.Verifier().String()
	must(t, Init(w.dir, w.signer))
	var err error
	w.Server, err = New(w.dir, w.signer, gateways, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { _ = w.Close() })
	server := httptest.NewServer(w.Handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func newClient(t testing.TB, url, key string) *Client {
	t.Helper()
	c, err := NewClient(url, key)
	must(t, err)
	return c
}

// waitFor waits until so many requests went well.
func (o *outcomes) waitFor(t testing.TB, good int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if n, _, _ := o.count(); n >= good {
			return
		}
	}
	n, bad, last := o.count()
	t.Fatalf("%d requests went well and %d did not, want %d: %v", n, bad, good, last)
}

// TestLitewitness: a log is cosigned by a witness that is not ours, through
// several sizes and to its end, and the auditor who knows its key is content.
func TestLitewitness(t *testing.T) {
	w := testenv.StartLitewitness(t)
	g, o := newGateway(t, "gw"), &outcomes{}
	l := g.open(50*time.Millisecond, o, newClient(t, w.URL, w.Key))
	g.append(l)
	time.Sleep(150 * time.Millisecond)
	if good, bad, last := o.count(); good != 0 || bad == 0 || !strings.Contains(last.Error(), "404") {
		t.Fatalf("before the log is known: %d, %d, %v", good, bad, last)
	}
	w.AddLog("gw/"+l.Writer(), g.signer.VerifierKey())
	o.waitFor(t, 1)
	for i := range 40 {
		for range i % 7 {
			g.append(l)
		}
		time.Sleep(10 * time.Millisecond)
	}
	good, bad, _ := o.count()
	o.waitFor(t, 5)
	g.close(l)
	if after, now, last := o.count(); after <= good || now != bad {
		t.Errorf("at the end: %d and %d requests, %d and %d before: %v", after, now, good, bad, last)
	}
	if report := g.verify(w.Key); len(report.Findings) > 0 {
		t.Errorf("findings %+v", report.Findings)
	}
	// Another witness' key: nobody cosigned anything.
	if report := g.verify(newKey(t, "other.test/w").Verifier().String()); len(report.Findings) != 1 || report.Findings[0].Kind != evidence.KindUnwitnessed {
		t.Errorf("with another witness' key: %+v", report.Findings)
	}
}

// TestOurs: the same with our witness, whose own list of checkpoints is what an
// auditor would have kept.
func TestOurs(t *testing.T) {
	g, o := newGateway(t, "gw"), &outcomes{}
	w := startOurs(t, g.verifier)
	l := g.open(20*time.Millisecond, o, newClient(t, w.url, w.key))
	for i := range 60 {
		for range i % 5 {
			g.append(l)
		}
		time.Sleep(3 * time.Millisecond)
	}
	o.waitFor(t, 4)
	g.close(l)
	if _, bad, last := o.count(); bad > 0 {
		t.Errorf("%d requests failed: %v", bad, last)
	}
	if report := g.verify(w.key); len(report.Findings) > 0 {
		t.Errorf("findings %+v", report.Findings)
	}
	must(t, w.Close())
	list, err := Checkpoints(w.dir, w.signer.Verifier())
	must(t, err)
	c, err := evidence.OpenCheckpoint([]byte(list[l.Writer()]), g.trusted)
	must(t, err)
	report, err := evidence.Verify(t.Context(), g.store, g.trusted, evidence.Options{Checkpoints: []string{list[l.Writer()]}})
	must(t, err)
	if len(report.Findings) > 0 || c.Size == 0 {
		t.Errorf("with the witness' list: %+v, %d records", report.Findings, c.Size)
	}
}

// TestWitnessRefuses: what a witness must not cosign, over HTTP.
func TestWitnessRefuses(t *testing.T) {
	g, stranger := newGateway(t, "gw"), newGateway(t, "gw-other")
	w := startOurs(t, g.verifier)
	tree := func(by note.Signer, origin string, size, seed int) []byte {
		return checkpointOf(t, by, origin, size, seed)
	}
	const one, two = "gw/gw-000000001-00000000", "gw/gw-000000002-00000000"
	for _, c := range []struct {
		name string
		body []byte
		want int
		says string
	}{
		{"no request", []byte("hello"), 400, ""},
		{"too large", append([]byte("old 0\n\n"), make([]byte, maxRequest)...), 400, ""},
		{"too long a proof", []byte("old 1\n" + strings.Repeat("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 64) + "\n"), 400, ""},
		{"unknown key name", request{checkpoint: tree(stranger.signer, "gw-other/gw-000000001-00000000", 3, 0)}.encode(), 404, ""},
		{"no writer", request{checkpoint: tree(g.signer, "gw/x", 3, 0)}.encode(), 404, ""},
		{"another's signature", request{checkpoint: tree(stranger.signer, one, 3, 0)}.encode(), 403, ""},
		{"old without anything before", request{old: 2, checkpoint: tree(g.signer, one, 3, 0)}.encode(), 409, "0\n"},
		{"old beyond the checkpoint", request{old: 4, checkpoint: tree(g.signer, one, 3, 0)}.encode(), 400, ""},
		{"a proof from nothing", request{proof: [][]byte{make([]byte, 32)}, checkpoint: tree(g.signer, one, 3, 0)}.encode(), 422, ""},
		{"the first", request{checkpoint: tree(g.signer, one, 3, 0)}.encode(), 200, ""},
		{"the first again from nothing", request{checkpoint: tree(g.signer, one, 3, 0)}.encode(), 409, "3\n"},
		{"the same again", request{old: 3, checkpoint: tree(g.signer, one, 3, 0)}.encode(), 200, ""},
		{"the same with another root", request{old: 3, checkpoint: tree(g.signer, one, 3, 1)}.encode(), 409, "3\n"},
		{"a smaller one", request{old: 2, checkpoint: tree(g.signer, one, 2, 0)}.encode(), 409, "3\n"},
		{"a larger one with a wrong proof", request{old: 3, proof: [][]byte{make([]byte, 32)}, checkpoint: tree(g.signer, one, 5, 0)}.encode(), 422, ""},
		{"a larger one without a proof", request{old: 3, checkpoint: tree(g.signer, one, 5, 0)}.encode(), 422, ""},
		{"another log of the same key", request{checkpoint: tree(g.signer, two, 9, 3)}.encode(), 200, ""},
	} {
		resp, err := http.Post(w.url+"/add-checkpoint", "text/plain", bytes.NewReader(c.body))
		must(t, err)
		var answer bytes.Buffer
		_, err = answer.ReadFrom(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != c.want || c.says != "" && (answer.String() != c.says || resp.Header.Get("Content-Type") != sizeType) {
			t.Errorf("%s: %d %q, want %d %q", c.name, resp.StatusCode, answer.String(), c.want, c.says)
		}
		if resp.StatusCode == http.StatusOK && !strings.HasPrefix(answer.String(), "— witness.test/ours ") {
			t.Errorf("%s: %q", c.name, answer.String())
		}
	}
}

// checkpointOf is a signed checkpoint of no real tree.
func checkpointOf(t testing.TB, by note.Signer, origin string, size, seed int) []byte {
	t.Helper()
	c := torchwood.Checkpoint{Origin: origin, Extension: "x\n"}
	c.N = int64(size)
	c.Hash[0], c.Hash[1] = byte(size), byte(seed)
	msg, err := note.Sign(&note.Note{Text: c.String()}, by)
	must(t, err)
	return msg
}

// TestState: what is stored must be the witness' own, and there.
func TestState(t *testing.T) {
	g := newGateway(t, "gw")
	signer, dir := newKey(t, "witness.test/ours"), filepath.Join(t.TempDir(), "state")
	open := func(s *torchwood.CosignatureSigner) error {
		w, err := New(dir, s, []note.Verifier{g.verifier}, slog.New(slog.DiscardHandler))
		if err == nil {
			must(t, w.Close())
		}
		return err
	}
	if open(signer) == nil {
		t.Error("a witness without state starts")
	}
	must(t, Init(dir, signer))
	must(t, open(signer))
	if Init(dir, signer) == nil {
		t.Error("a state is made again")
	}
	if open(newKey(t, "witness.test/ours")) == nil {
		t.Error("the state of another key is taken")
	}
	w, err := New(dir, signer, []note.Verifier{g.verifier}, slog.New(slog.DiscardHandler))
	must(t, err)
	if open(signer) == nil {
		t.Error("two witnesses share a state")
	}
	const origin = "gw/gw-000000001-00000000"
	_, err = w.cosign(request{checkpoint: checkpointOf(t, g.signer, origin, 7, 0)}.encode())
	must(t, err)
	must(t, w.Close())
	// It is on disk.
	must(t, open(signer))
	path := filepath.Join(dir, stateFile)
	body, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(body, []byte(origin+"\n7\n")) {
		t.Fatal("the checkpoint is not in the file")
	}
	must(t, os.WriteFile(path, bytes.ReplaceAll(body, []byte(origin+"\n7\n"), []byte(origin+"\n6\n")), 0o600))
	if err := open(signer); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a changed state is taken: %v", err)
	}
	must(t, os.WriteFile(path, body[:100], 0o600))
	if err := open(signer); err == nil {
		t.Error("a part of a state is taken")
	}
}

// TestHostile: a witness that is down, slow or lies never holds up a record.
func TestHostile(t *testing.T) {
	var led sync.Map
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Store("yes", true) }))
	defer elsewhere.Close()
	g := newGateway(t, "gw")
	liar := newKey(t, "witness.test/liar")
	other, err := note.Sign(&note.Note{Text: "gw/x\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}, liar)
	must(t, err)
	line := other[bytes.Index(other, []byte("—")):]
	for name, h := range map[string]http.HandlerFunc{
		"slow":    func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"endless": func(w http.ResponseWriter, r *http.Request) { endless(w, r, strings.Repeat("x", 1<<10)) },
		"endless headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			w.WriteHeader(http.StatusOK)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"nothing":          func(http.ResponseWriter, *http.Request) {},
		"another's":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(line) },
		"no lines":         func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("— a\n\n\n— b c\n")) },
		"any size":         func(w http.ResponseWriter, _ *http.Request) { conflictWith(w, "123456") },
		"a size that is 0": func(w http.ResponseWriter, _ *http.Request) { conflictWith(w, "0") },
		"no size":          func(w http.ResponseWriter, _ *http.Request) { conflictWith(w, "-1") },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(h)
			defer server.Close()
			own, o := *g, &outcomes{}
			own.t = t
			l := own.open(20*time.Millisecond, o, newClient(t, server.URL, liar.Verifier().String()))
			for range 30 {
				if took := own.append(l); took > 2*time.Second {
					t.Errorf("a record took %s", took)
				}
				time.Sleep(5 * time.Millisecond)
			}
			began := time.Now()
			own.close(l)
			if took := time.Since(began); took > lastRoundBound {
				t.Errorf("closing took %s", took)
			}
			if good, bad, _ := o.count(); good > 0 || bad == 0 {
				t.Errorf("%d good and %d bad answers", good, bad)
			}
			report, err := evidence.Verify(t.Context(), g.store, g.trusted, evidence.Options{})
			must(t, err)
			if len(report.Findings) > 0 {
				t.Errorf("findings %+v", report.Findings)
			}
		})
	}
	if _, ok := led.Load("yes"); ok {
		t.Error("a redirect was followed")
	}
}

// lastRoundBound is how long closing may take with a witness that is silent.
const lastRoundBound = 5 * time.Second

func conflictWith(w http.ResponseWriter, size string) {
	w.Header().Set("Content-Type", sizeType)
	w.WriteHeader(http.StatusConflict)
	_, _ = w.Write([]byte(size + "\n"))
}

func endless(w http.ResponseWriter, r *http.Request, text string) {
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(text)); err != nil {
			return
		}
	}
}

// lossy loses the answers of a witness, not the requests.
type lossy struct {
	evidence.Cosigner
	mu   sync.Mutex
	lose int
}

func (l *lossy) Cosign(ctx context.Context, old uint64, proof [][]byte, checkpoint []byte) ([]byte, error) {
	lines, err := l.Cosigner.Cosign(ctx, old, proof, checkpoint)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose++; err == nil && l.lose%3 != 0 {
		return nil, fmt.Errorf("the answer was lost")
	}
	return lines, err
}

// TestLostAnswers: a witness that knows more than the log believes is caught up
// with, and nothing is missing at the end.
func TestLostAnswers(t *testing.T) {
	g, o := newGateway(t, "gw"), &outcomes{}
	w := startOurs(t, g.verifier)
	l := g.open(10*time.Millisecond, o, &lossy{Cosigner: newClient(t, w.url, w.key)}, newClient(t, w.url, w.key))
	for range 60 {
		g.append(l)
		time.Sleep(5 * time.Millisecond)
	}
	if good, bad, last := o.count(); good < 5 || bad < 5 {
		t.Fatalf("%d good and %d bad: %v", good, bad, last)
	}
	g.close(l)
	if report := g.verify(w.key); len(report.Findings) > 0 {
		t.Errorf("findings %+v", report.Findings)
	}
}

// TestDated: records are dated by the gateway's clock; when witnesses cosigned
// them bounds that from both sides.
func TestDated(t *testing.T) {
	for name, c := range map[string]struct {
		off   time.Duration
		since time.Duration // from now, of the auditor's own
		want  evidence.Kind
	}{
		"now":          {0, -time.Hour, ""},
		"back":         {-2 * time.Hour, 0, evidence.KindUnwitnessed},
		"before then":  {-2 * time.Hour, -time.Hour, ""},
		"back, within": {-10 * time.Minute, 0, ""},
		"ahead":        {20 * time.Minute, 0, evidence.KindClock},
	} {
		t.Run(name, func(t *testing.T) {
			g, o := newGateway(t, "gw"), &outcomes{}
			w := startOurs(t, g.verifier)
			clock := func() time.Time { return time.Now().Add(c.off) }
			l, err := evidence.Open(t.Context(), evidence.Config{Store: g.store, Name: "gw", Signer: g.signer, Auditors: g.auditors,
				GatewayVersion: "test", ConfigDigest: "abc", Heartbeat: time.Minute, Observe: 10 * time.Minute, Clock: clock,
				Witnesses: []evidence.Cosigner{newClient(t, w.url, w.key)}, OnWitness: o.add, Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			g.append(l)
			g.close(l)
			witnesses, err := evidence.ParseWitnessKeys([]byte(w.key))
			must(t, err)
			options := evidence.Options{Witnesses: witnesses, Copy: true, Now: clock()}
			if c.since != 0 {
				options.WitnessSince = time.Now().Add(c.since)
			}
			report, err := evidence.Verify(t.Context(), g.store, g.trusted, options)
			must(t, err)
			if len(report.Findings) == 0 != (c.want == "") || c.want != "" && report.Findings[0].Kind != c.want {
				t.Errorf("findings %+v", report.Findings)
			}
		})
	}
}

// TestDied: what a process that died did not get cosigned is said, and is no
// finding as long as it is within the bound.
func TestDied(t *testing.T) {
	g, o := newGateway(t, "gw"), &outcomes{}
	w := startOurs(t, g.verifier)
	client := newClient(t, w.url, w.key)
	died := g.open(time.Hour, o, client) // never closed, and nothing more of it comes
	o.waitFor(t, 1)
	g.append(died)
	g.append(died)
	next := g.open(time.Hour, o, client)
	g.close(next)
	witnesses, err := evidence.ParseWitnessKeys([]byte(w.key))
	must(t, err)
	for within, want := range map[time.Duration]int{0: 0, time.Nanosecond: 1} {
		report, err := evidence.Verify(t.Context(), g.store, g.trusted, evidence.Options{Witnesses: witnesses, WitnessWithin: within})
		must(t, err)
		ends := 0
		for _, n := range report.Notes {
			if n.Kind == evidence.KindUnwitnessed && strings.Contains(n.Object, died.Writer()) {
				ends++
			}
		}
		found := 0
		for _, f := range report.Findings {
			if f.Kind == evidence.KindUnwitnessed && strings.Contains(f.Object, died.Writer()) {
				found++
			}
		}
		if ends != 1-want || min(found, 1) != want || want == 0 && len(report.Findings) > 0 {
			t.Errorf("within %s: findings %+v, notes %+v", within, report.Findings, report.Notes)
		}
	}
}

// TestConcurrent: however many ask at once, a witness cosigns one history.
func TestConcurrent(t *testing.T) {
	g := newGateway(t, "gw")
	w := startOurs(t, g.verifier)
	const origin = "gw/gw-000000001-00000000"
	var good sync.Map
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, err := w.cosign(request{checkpoint: checkpointOf(t, g.signer, origin, 5, i)}.encode()); err == nil {
				good.Store(i, true)
			}
		})
	}
	group.Wait()
	count := 0
	good.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d of 20 histories were cosigned", count)
	}
}

// TestClientRefuses: what a configuration may not say.
func TestClientRefuses(t *testing.T) {
	key := newKey(t, "witness.test/w").Verifier().String()
	_, log, err := evidence.GenerateSigner("gw")
	must(t, err)
	for _, c := range []struct {
		url, key string
		good     bool
	}{
		{"https://witness.example.org/w1/", key, true},
		{"http://127.0.0.1:7380", key, true},
		{"http://witness.example.org", key, false},
		{"https://user@witness.example.org", key, false},
		{"https://witness.example.org?x", key, false},
		{"witness.example.org", key, false},
		{"ftp://127.0.0.1", key, false},
		{"https://witness.example.org", log, false},
		{"https://witness.example.org", "", false},
	} {
		if _, err := NewClient(c.url, c.key); (err == nil) != c.good {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(request{old: 3, proof: [][]byte{make([]byte, 32)}, checkpoint: []byte("a/b\n3\nx\n\n— a b\n")}.encode())
	f.Add([]byte("old 0\n\n"))
	f.Add([]byte("old 01\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err == nil && !bytes.Equal(r.encode(), body) {
			t.Fatalf("%q is read as %q", body, r.encode())
		}
	})
}

// FuzzCosign: whatever comes, nothing but the one honest log is cosigned.
func FuzzCosign(f *testing.F) {
	g := newGateway(f, "gw")
	w := startOurs(f, g.verifier)
	honest := checkpointOf(f, g.signer, "gw/gw-000000001-00000000", 7, 0)
	f.Add(request{checkpoint: honest}.encode())
	f.Add(request{old: 7, checkpoint: honest}.encode())
	f.Add(request{old: 7, proof: [][]byte{make([]byte, 32)}, checkpoint: honest}.encode())
	text, _, _ := bytes.Cut(honest, []byte("\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := w.cosign(body); err == nil && !bytes.Contains(body, append(text, "\n\n"...)) {
			t.Fatalf("%q is cosigned", body)
		}
	})
}

// FuzzAnswer: whatever a witness answers, only its own right cosignature gets in.
func FuzzAnswer(f *testing.F) {
	g := newGateway(f, "gw")
	signer := newKey(f, "witness.test/w")
	c := newClient(f, "https://witness.test", signer.Verifier().String())
	c.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	checkpoint := checkpointOf(f, g.signer, "gw/gw-000000001-00000000", 7, 0)
	n, err := note.Open(checkpoint, g.trusted)
	must(f, err)
	signed, err := note.Sign(n, signer)
	must(f, err)
	f.Add(signed[len(checkpoint):])
	f.Add([]byte("— witness.test/w AAAA\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if lines, err := c.cosignature(checkpoint, answer); err == nil {
			t.Fatalf("%q gives %q", answer, lines) // its clock is another
		}
	})
}
