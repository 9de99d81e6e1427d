package bundle_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// day is the period of the bundles here.
var day = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// world is a store that several gateways write to, with a clock that tests move.
type world struct {
	path     string
	store    worm.Store
	signer   *evidence.Signer
	public   string
	trusted  note.Verifiers
	auditors []age.Recipient
	now      atomic.Int64
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB, path string) worm.Store {
	t.Helper()
	store, err := dir.New(dir.Config{Path: path})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{path: t.TempDir()}
	w.store = openDir(t, w.path)
	private, public, err := evidence.GenerateSigner("gw")
	must(t, err)
	w.public = public
	w.signer, err = evidence.ParseSigner(private)
	must(t, err)
	w.trusted, err = evidence.ParseVerifiers([]byte(public))
	must(t, err)
	_, recipient, err := evidence.GenerateIdentity(false)
	must(t, err)
	w.auditors, err = evidence.ParseRecipients(recipient)
	must(t, err)
	return w
}

func (w *world) clock() time.Time { return time.Unix(0, w.now.Load()) }

func (w *world) at(d time.Duration) { w.now.Store(day.Add(d).UnixNano()) }

func (w *world) open(t testing.TB, name string) *evidence.Log {
	t.Helper()
	l, err := evidence.Open(context.Background(), evidence.Config{Store: w.store, Name: name, Signer: w.signer, Auditors: w.auditors,
		GatewayVersion: "test", ConfigDigest: "abc", Heartbeat: time.Hour, Observe: time.Hour, Clock: w.clock, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	return l
}

func add(t testing.TB, l *evidence.Log, r *evidence.Record) {
	t.Helper()
	_, err := l.Append(context.Background(), r)
	must(t, err)
}

// query is a query of one principal as the gateway records it.
func (w *world) query(t testing.TB, l *evidence.Log, subject string) string {
	t.Helper()
	id := evidence.NewQueryID(l.Writer(), w.clock())
	actor := &evidence.Actor{Issuer: "https://idp", Subject: subject}
	st := &evidence.Statement{SHA256: "00", Normalized: "SELECT id FROM patients WHERE mrn = $1"}
	add(t, l, &evidence.Record{Type: evidence.TypeIntent, QueryID: id, SessionID: "s-" + subject, Connection: "clinic", Actor: actor,
		Relations: []string{"public.patients"}, Patients: []string{"mrn:tok_" + subject}, Statement: st,
		Decision: &evidence.Decision{Effect: "allow"}, Secret: &evidence.Secret{Statement: "SELECT id FROM patients WHERE mrn = '1'"}})
	add(t, l, &evidence.Record{Type: evidence.TypeLeaseIssued, QueryID: id, Connection: "clinic", Lease: &evidence.Lease{ID: "lease/" + subject}})
	add(t, l, &evidence.Record{Type: evidence.TypeOutcome, QueryID: id, SessionID: "s-" + subject, Connection: "clinic", Actor: actor,
		Relations: []string{"public.patients"}, Statement: st, Decision: &evidence.Decision{Effect: "allow"},
		Result: &evidence.Result{Status: "succeeded", RowCount: 1, Rows: []byte(`[["[redacted]"]]`)}})
	return id
}

// recorded fills a store: gw-1 ran the day before and again on the day, gw-2 on
// both sides of each midnight, gw-3 only the day after.
func recorded(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.at(-3 * time.Hour)
	first, across := w.open(t, "gw-1"), w.open(t, "gw-2")
	w.query(t, first, "alice")
	w.query(t, across, "bob")
	must(t, first.Close(context.Background()))
	for hour := range 24 {
		w.at(time.Duration(hour)*time.Hour + time.Minute)
		if hour == 8 {
			first = w.open(t, "gw-1")
		}
		w.query(t, across, []string{"alice", "bob", "carol"}[hour%3])
		if hour > 8 {
			w.query(t, first, "alice")
		}
	}
	w.at(25 * time.Hour)
	later := w.open(t, "gw-3")
	w.query(t, later, "dave")
	w.query(t, across, "bob")
	w.query(t, across, "bob")
	for _, l := range []*evidence.Log{first, across, later} {
		must(t, l.Close(context.Background()))
	}
	return w
}

func (w *world) config(f evidence.Filter) bundle.Config {
	f.Since, f.Until = day, day.Add(24*time.Hour)
	return bundle.Config{Store: w.store, Trusted: w.trusted, Filter: f, Maker: "a test", Keys: []byte(w.public + "\n"),
		Signer: w.signer, Clock: func() time.Time { return w.clock().Add(time.Minute) },
		Parts: []bundle.Part{{Name: "records.txt", Write: func(out io.Writer, c *bundle.Content) error {
			return c.Records(func(r *evidence.Record) bool { fmt.Fprintln(out, r.ID, r.Type); return true })
		}}}}
}

// unpacked makes a bundle and unpacks it into a folder.
func unpacked(t testing.TB, cfg bundle.Config) (string, *evidence.Manifest) {
	t.Helper()
	var out bytes.Buffer
	m, err := bundle.Build(context.Background(), cfg, &out)
	must(t, err)
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	must(t, err)
	path := t.TempDir()
	must(t, os.CopyFS(path, z))
	return path, m
}

func verified(t testing.TB, w *world, path string, o evidence.Options) *evidence.Report {
	t.Helper()
	report, err := evidence.VerifyBundle(context.Background(), os.DirFS(path), w.trusted, o)
	must(t, err)
	return report
}

func TestBundle(t *testing.T) {
	w := recorded(t)
	path, m := unpacked(t, w.config(evidence.Filter{}))
	report := verified(t, w, path, evidence.Options{})
	if len(report.Findings) > 0 {
		t.Fatalf("findings %+v", report.Findings)
	}
	// 24 of gw-2 and 15 of gw-1, three records each; gw-1 started and saw gw-2.
	if m.Queries != 39 || m.Records != 39*3+2 || len(m.Runs) != 3 {
		t.Errorf("manifest: %d queries, %d records, runs %v", m.Queries, m.Records, m.Runs)
	}
	text, err := os.ReadFile(filepath.Join(path, "records.txt"))
	must(t, err)
	if n := int64(strings.Count(string(text), "\n")); n != m.Records {
		t.Errorf("%d records in the part, want %d", n, m.Records)
	}
	// The day after continues: what was kept of this one is compared.
	next := w.config(evidence.Filter{})
	next.Filter.Since, next.Filter.Until = day.Add(24*time.Hour), day.Add(25*time.Hour+time.Second)
	after, _ := unpacked(t, next)
	kept := evidence.Options{}
	for _, c := range report.Checkpoints {
		kept.Checkpoints = append(kept.Checkpoints, c)
	}
	if again := verified(t, w, after, kept); len(again.Findings) > 0 {
		t.Errorf("the day after: %+v", again.Findings)
	}
}

func TestFilteredBundle(t *testing.T) {
	w := recorded(t)
	for name, c := range map[string]struct {
		filter           evidence.Filter
		queries, records int64
	}{
		"principal":   {evidence.Filter{Principal: "bob"}, 8, 24},
		"by its key":  {evidence.Filter{Principal: "https://idp#bob"}, 8, 24},
		"patient":     {evidence.Filter{Patient: "mrn:tok_alice"}, 23, 69},
		"session":     {evidence.Filter{SessionID: "s-carol"}, 8, 24},
		"relation":    {evidence.Filter{Relation: "public.patients"}, 39, 117},
		"status":      {evidence.Filter{Status: "failed"}, 0, 0},
		"combination": {evidence.Filter{Principal: "alice", Connection: "clinic", Effect: "allow"}, 23, 69},
		"nobody":      {evidence.Filter{Principal: "eve"}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path, m := unpacked(t, w.config(c.filter))
			if m.Queries != c.queries || m.Records != c.records {
				t.Errorf("%d queries, %d records", m.Queries, m.Records)
			}
			if report := verified(t, w, path, evidence.Options{}); len(report.Findings) > 0 {
				t.Errorf("findings %+v", report.Findings)
			}
			var withheld int
			must(t, filepath.Walk(filepath.Join(path, "evidence/runs"), func(p string, info os.FileInfo, err error) error {
				if err == nil && !info.IsDir() {
					text, err := os.ReadFile(p)
					must(t, err)
					withheld += strings.Count(string(text), "\n-\n")
				}
				return err
			}))
			if withheld == 0 {
				t.Error("nothing is withheld")
			}
		})
	}
}

func TestNoEndInTheFuture(t *testing.T) {
	w := recorded(t)
	cfg := w.config(evidence.Filter{})
	cfg.Filter.Until = day.Add(48 * time.Hour)
	if _, err := bundle.Build(context.Background(), cfg, io.Discard); err == nil {
		t.Error("a bundle of the future was made")
	}
}

// TestDaily: each closed day is bundled once, by whoever comes first, and what
// lies in the store verifies.
func TestDaily(t *testing.T) {
	w := recorded(t)
	w.at(49 * time.Hour)
	log := w.open(t, "gw-1")
	cfg := w.config(evidence.Filter{})
	daily := &bundle.Daily{Config: cfg, Log: log, Logger: slog.New(slog.DiscardHandler)}
	must(t, daily.Look(t.Context()))
	must(t, daily.Look(t.Context())) // nothing more to do
	must(t, log.Close(t.Context()))
	var keys []string
	must(t, w.store.List(t.Context(), bundle.Prefix, "", func(e worm.Entry) bool { keys = append(keys, e.Key); return true }))
	if fmt.Sprint(keys) != "[bundles/2026/11/23.zip bundles/2026/11/24.zip bundles/2026/11/25.zip]" {
		t.Errorf("bundles %v", keys)
	}
	for _, key := range keys {
		object, err := w.store.Get(t.Context(), key, 0)
		must(t, err)
		z, err := zip.NewReader(bytes.NewReader(object.Body), int64(len(object.Body)))
		must(t, err)
		report, err := evidence.VerifyBundle(t.Context(), z, w.trusted, evidence.Options{})
		must(t, err)
		for _, n := range report.Notes {
			if n.Object == evidence.ManifestFile {
				t.Errorf("%s: %s", key, n.Message)
			}
		}
		if len(report.Findings) > 0 || report.Records == 0 {
			t.Errorf("%s: %d records, %+v", key, report.Records, report.Findings)
		}
	}
	bundled := 0
	must(t, evidence.NewReader(w.store, w.trusted).Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		if r.Type == evidence.TypeBundled {
			bundled++
		}
		return true
	}))
	if bundled != 3 {
		t.Errorf("%d bundles are recorded", bundled)
	}
}
