package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// recording is a store with everything in it: an instance that was closed,
// died with a gap, and was closed again; a second instance; a query that ended
// on another gateway.
type recording struct {
	*world
	first, died, last, other string // writers
	gap                      uint64 // of died
	query                    string
}

func record(t testing.TB, w *world) *recording {
	t.Helper()
	r := &recording{world: w}
	first := w.open(t, w.config("gw-1"))
	r.first = first.Writer()
	query(t, first)
	r.query = query(t, first)
	closeLog(t, first)

	store := &flaky{Store: w.store}
	cfg := w.config("gw-1")
	cfg.Store = store
	died := w.open(t, cfg)
	r.died = died.Writer()
	query(t, died)
	must(t, died.Flush(t.Context()))
	died.mu.Lock()
	r.gap = died.number
	died.mu.Unlock()
	store.set(func(ctx context.Context, key string) error {
		if key == segmentKey(r.died, r.gap) {
			<-ctx.Done()
			return worm.ErrUnavailable
		}
		return nil
	}, nil)
	for range 3 {
		must(t, died.AppendAsync(&Record{Type: TypeHeartbeat}))
	}
	for _, n := range []uint64{1, 2} {
		waitFor(t, w.store, segmentKey(r.died, r.gap+n))
	}
	died.kill()

	last := w.open(t, w.config("gw-1"))
	r.last = last.Writer()
	query(t, last)
	other := w.open(t, w.config("gw-2"))
	r.other = other.Writer()
	_, err := other.Append(t.Context(), &Record{Type: TypeApprovalDecided, QueryID: r.query})
	must(t, err)
	query(t, other)
	closeLog(t, other)
	closeLog(t, last)
	return r
}

func waitFor(t testing.TB, store worm.Store, key string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := store.Get(context.Background(), key, 0); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not stored", key)
		}
	}
}

func (r *recording) keys(t testing.TB) []string {
	t.Helper()
	var keys []string
	must(t, r.store.List(context.Background(), root, "", func(e worm.Entry) bool { keys = append(keys, e.Key); return true }))
	return keys
}

func TestVerifyClean(t *testing.T) {
	r := record(t, newWorld(t))
	report := verify(t, r.world, Options{Now: time.Now().Add(time.Hour)})
	if len(report.Findings) > 0 {
		t.Fatalf("findings: %+v", report.Findings)
	}
	if report.Writers != 4 || report.Queries != 5 || report.Interrupted != 0 || report.Objects != int64(len(r.keys(t))) {
		t.Errorf("report %+v", report)
	}
	stranded, explained := 0, 0
	for _, n := range report.Notes {
		if strings.Contains(n.Message, "on its way when") {
			stranded++
		}
		if n.Object == segmentKey(r.died, r.gap) {
			explained++
		}
	}
	if stranded != 2 || explained != 1 {
		t.Errorf("notes %+v", report.Notes)
	}
}

// changed shows a store with some objects replaced, or gone (nil).
type changed struct {
	worm.Store
	bodies map[string][]byte
}

func (c changed) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	body, ok := c.bodies[key]
	switch {
	case !ok:
		return c.Store.Get(ctx, key, limit)
	case body == nil:
		return worm.Object{}, worm.ErrNotFound
	case limit > 0 && int64(len(body)) > limit:
		return worm.Object{}, worm.ErrTooLarge
	}
	return worm.Object{Body: body, Modified: time.Now()}, nil
}

// TestEveryByteCounts changes bytes of every evidence object.
func TestEveryByteCounts(t *testing.T) {
	r := record(t, newWorld(t))
	changes, step := 0, 97
	if testing.Short() {
		step = 211
	}
	for i, key := range r.keys(t) {
		object, err := r.store.Get(t.Context(), key, 0)
		must(t, err)
		for at := i % step; at < len(object.Body); at += step {
			for _, flip := range []byte{0x01, 0x20} {
				body := bytes.Clone(object.Body)
				body[at] ^= flip
				wantObject(t, changed{r.store, map[string][]byte{key: body}}, r.trusted, Options{}, key,
					fmt.Sprintf("byte %d of %s changed", at, key))
				changes++
			}
		}
		for name, body := range map[string][]byte{"empty": {}, "longer": append(bytes.Clone(object.Body), '\n'),
			"shorter": object.Body[:len(object.Body)-1]} {
			wantObject(t, changed{r.store, map[string][]byte{key: body}}, r.trusted, Options{}, key, key+" "+name)
		}
	}
	t.Logf("%d changes found", changes)
}

func wantObject(t *testing.T, store worm.Store, trusted note.Verifiers, o Options, object, what string) {
	t.Helper()
	report, err := Verify(t.Context(), store, trusted, o)
	must(t, err)
	for _, f := range report.Findings {
		if f.Object == object {
			return
		}
	}
	t.Errorf("%s: no finding names %s: %+v", what, object, report.Findings)
}

// tamper is an attack by somebody with full write access to the storage.
type tamper struct {
	name string
	do   func(t *testing.T, path string, r *recording)
	// object is what a finding must name.
	object func(r *recording) string
}

func move(t *testing.T, path, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(path, to)), 0o700))
	must(t, os.Rename(filepath.Join(path, from), filepath.Join(path, to)))
}

func remove(t *testing.T, path, key string) {
	t.Helper()
	must(t, os.RemoveAll(filepath.Join(path, key)))
}

func swap(t *testing.T, path, a, b string) {
	t.Helper()
	move(t, path, a, "swap")
	move(t, path, b, a)
	move(t, path, "swap", b)
}

func segments(t *testing.T, path, writer string) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(path, segmentPrefix(writer)))
	must(t, err)
	return len(list)
}

func tampers() []tamper {
	linkOf := func(t *testing.T, path string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(path, "evidence/links/*/*"))
		must(t, err)
		if len(found) != 1 {
			t.Fatalf("links %v", found)
		}
		key, err := filepath.Rel(path, found[0])
		must(t, err)
		return key
	}
	var link string
	return []tamper{
		{"first segment removed", func(t *testing.T, p string, r *recording) { remove(t, p, segmentKey(r.first, 0)) },
			func(r *recording) string { return segmentKey(r.first, 0) }},
		{"middle segment removed", func(t *testing.T, p string, r *recording) { remove(t, p, segmentKey(r.first, 2)) },
			func(r *recording) string { return segmentKey(r.first, 2) }},
		{"last but one segment removed", func(t *testing.T, p string, r *recording) {
			remove(t, p, segmentKey(r.last, uint64(segments(t, p, r.last)-2)))
		}, func(r *recording) string { return segmentPrefix(r.last) }},
		{"last segment removed", func(t *testing.T, p string, r *recording) {
			remove(t, p, segmentKey(r.last, uint64(segments(t, p, r.last)-1)))
		}, func(r *recording) string { return segmentPrefix(r.last) }},
		{"tail cut", func(t *testing.T, p string, r *recording) {
			for n := segments(t, p, r.other) - 1; n >= 2; n-- {
				remove(t, p, segmentKey(r.other, uint64(n)))
			}
		}, func(r *recording) string { return segmentKey(r.other, 2) }},
		{"tail of a closed log with a successor cut", func(t *testing.T, p string, r *recording) {
			remove(t, p, segmentKey(r.first, uint64(segments(t, p, r.first)-1)))
		}, func(r *recording) string { return segmentPrefix(r.first) }},
		{"acknowledged segment before a gap removed", func(t *testing.T, p string, r *recording) {
			remove(t, p, segmentKey(r.died, r.gap-1))
		}, func(r *recording) string { return segmentKey(r.died, r.gap-1) }},
		{"tail of a dead log cut before the gap", func(t *testing.T, p string, r *recording) {
			for n := r.gap - 1; n <= r.gap+2; n++ {
				remove(t, p, segmentKey(r.died, n))
			}
		}, func(r *recording) string { return segmentKey(r.died, r.gap-1) }},
		{"two segments swapped", func(t *testing.T, p string, r *recording) {
			swap(t, p, segmentKey(r.first, 1), segmentKey(r.first, 2))
		}, func(r *recording) string { return segmentKey(r.first, 1) }},
		{"segments of two writers swapped", func(t *testing.T, p string, r *recording) {
			swap(t, p, segmentKey(r.first, 1), segmentKey(r.other, 1))
		}, func(r *recording) string { return segmentKey(r.other, 1) }},
		{"segment renamed", func(t *testing.T, p string, r *recording) {
			move(t, p, segmentKey(r.first, 1), segmentKey(r.first, 1)+".old")
		}, func(r *recording) string { return segmentKey(r.first, 1) + ".old" }},
		{"segment duplicated at the end", func(t *testing.T, p string, r *recording) {
			body, err := os.ReadFile(filepath.Join(p, segmentKey(r.first, 1)))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(p, segmentKey(r.first, uint64(segments(t, p, r.first)))), body, 0o600))
		}, func(r *recording) string { return segmentPrefix(r.first) }},
		{"announcement removed", func(t *testing.T, p string, r *recording) { remove(t, p, announcementKey(r.other)) },
			func(r *recording) string { return announcementKey(r.other) }},
		{"announcements swapped", func(t *testing.T, p string, r *recording) {
			swap(t, p, announcementKey(r.first), announcementKey(r.other))
		}, func(r *recording) string { return announcementKey(r.first) }},
		{"writer removed", func(t *testing.T, p string, r *recording) {
			remove(t, p, announcementKey(r.died))
			remove(t, p, root+r.died)
		}, func(r *recording) string { return announcementKey(r.died) }},
		{"log removed, announcement left", func(t *testing.T, p string, r *recording) { remove(t, p, root+r.other) },
			func(r *recording) string { return segmentKey(r.other, 0) }},
		{"link removed", func(t *testing.T, p string, r *recording) { link = linkOf(t, p); remove(t, p, link) },
			func(*recording) string { return link }},
		{"link renamed", func(t *testing.T, p string, r *recording) {
			link = linkOf(t, p)
			move(t, p, link, linkKey(NewQueryID(r.first, time.Now()), r.other, 1))
		}, func(*recording) string { return link }},
		{"foreign object", func(t *testing.T, p string, r *recording) {
			must(t, os.WriteFile(filepath.Join(p, root+"note"), []byte("x"), 0o600))
		}, func(*recording) string { return root + "note" }},
		{"forged segment by another key", func(t *testing.T, p string, r *recording) { forge(t, p, r) },
			func(r *recording) string { return segmentKey(r.first, 1) }},
	}
}

// forge replaces a segment by one of the same form, signed by another key of
// the same name.
func forge(t *testing.T, path string, r *recording) {
	t.Helper()
	file := filepath.Join(path, segmentKey(r.first, 1))
	body, err := os.ReadFile(file)
	must(t, err)
	s, err := parseSegment(body)
	must(t, err)
	private, _, err := GenerateSigner("gw")
	must(t, err)
	forger, err := ParseSigner(private)
	must(t, err)
	after, err := s.before()
	must(t, err)
	s.records[0].entry = bytes.Replace(s.records[0].entry, []byte("agent"), []byte("angel"), 1)
	for _, record := range s.records {
		must(t, after.add(record.entry))
	}
	forged, _, err := encodeSegment(s.header, s.records, after, forger)
	must(t, err)
	must(t, os.Remove(file))
	must(t, os.WriteFile(file, forged, 0o600))
}

func TestTamperMatrix(t *testing.T) {
	stores := map[string]func(t *testing.T) *world{
		"dir": func(t *testing.T) *world { return newWorld(t) },
		"s3": func(t *testing.T) *world {
			w := newWorld(t)
			w.store = OpenBucket(t).Store
			return w
		},
	}
	for kind, open := range stores {
		r := record(t, open(t))
		for _, attack := range tampers() {
			t.Run(kind+"/"+attack.name, func(t *testing.T) {
				path, copied := fetchTo(t, r)
				clean, err := Verify(t.Context(), copied, r.trusted, Options{Copy: true})
				must(t, err)
				if len(clean.Findings) > 0 {
					t.Fatalf("findings before the attack: %+v", clean.Findings)
				}
				attack.do(t, path, r)
				// Long after, and without the manifest: as any other copy.
				must(t, os.Remove(filepath.Join(path, manifestKey)))
				report, err := Verify(t.Context(), copied, r.trusted, Options{Copy: true, Now: time.Now().Add(time.Hour)})
				must(t, err)
				want := attack.object(r)
				for _, f := range report.Findings {
					if strings.HasPrefix(f.Object, want) {
						if testing.Verbose() {
							t.Logf("%s: %s (%s)", f.Object, f.Message, f.Kind)
						}
						return
					}
				}
				t.Errorf("no finding names %s: %+v", want, report.Findings)
			})
		}
	}
}

func fetchTo(t *testing.T, r *recording) (string, *dir.Store) {
	t.Helper()
	path := t.TempDir()
	copied, err := dir.New(dir.Config{Path: path})
	must(t, err)
	t.Cleanup(func() { _ = copied.Close() })
	fetched, err := Fetch(t.Context(), r.store, copied)
	must(t, err)
	if fetched.Objects != int64(len(r.keys(t))) {
		t.Fatalf("fetched %+v", fetched)
	}
	return path, copied
}

// TestRunningWriter: a log in use is clean while its last checkpoint is fresh,
// and a finding when it has been silent for too long.
func TestRunningWriter(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("gw-1")
	cfg.Heartbeat = time.Minute
	l := w.open(t, cfg)
	query(t, l)
	must(t, l.Flush(t.Context()))
	if report := verify(t, w, Options{}); len(report.Findings) > 0 || len(report.Notes) != 1 {
		t.Errorf("running: %+v %+v", report.Findings, report.Notes)
	}
	if report := verify(t, w, Options{Now: time.Now().Add(3 * time.Minute)}); len(report.Findings) != 1 ||
		report.Findings[0].Kind != KindCut {
		t.Errorf("silent: %+v", report.Findings)
	}
	// The copy is judged by the time it was made, also much later.
	path := t.TempDir()
	copied, err := dir.New(dir.Config{Path: path})
	must(t, err)
	_, err = Fetch(t.Context(), w.store, copied)
	must(t, err)
	report, err := Verify(t.Context(), copied, w.trusted, Options{Copy: true})
	must(t, err)
	if len(report.Findings) > 0 {
		t.Errorf("copy: %+v", report.Findings)
	}
	// A cut tail of a running writer is found by what Fetch noted, or by a
	// checkpoint that the auditor kept.
	remove(t, path, segmentKey(l.Writer(), uint64(segments(t, path, l.Writer())-1)))
	kept := report.Checkpoints[l.Writer()]
	wantObject(t, copied, w.trusted, Options{Copy: true}, segmentKey(l.Writer(), uint64(segments(t, path, l.Writer()))), "cut")
	wantObject(t, copied, w.trusted, Options{Checkpoints: []string{kept}},
		segmentKey(l.Writer(), uint64(segments(t, path, l.Writer()))), "cut, kept checkpoint")
}

// TestLies: records that contradict one another, signed by the gateway's key.
func TestLies(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	id := NewQueryID(l.Writer(), time.Now())
	_, err := l.Append(t.Context(), &Record{Type: TypeOutcome, QueryID: id, Result: &Result{Status: "succeeded"}})
	must(t, err)
	_, err = l.Append(t.Context(), &Record{Type: "made.up"})
	must(t, err)
	_, err = l.Append(t.Context(), &Record{Type: TypeWriterStarted})
	must(t, err)
	closeLog(t, l)
	report := verify(t, w, Options{})
	if len(report.Findings) != 3 {
		t.Errorf("findings %+v", report.Findings)
	}
	for _, f := range report.Findings {
		if f.Record == "" {
			t.Errorf("no record named: %+v", f)
		}
	}
}

// TestUntrustedKeys: with other keys nothing verifies, and with none nothing
// can be checked.
func TestUntrustedKeys(t *testing.T) {
	r := record(t, newWorld(t))
	_, public, err := GenerateSigner("gw")
	must(t, err)
	other, err := ParseVerifiers([]byte("# another gateway\n" + public + "\n"))
	must(t, err)
	report, err := Verify(t.Context(), r.store, other, Options{})
	must(t, err)
	if report.Records != 0 || len(report.Findings) < 10 {
		t.Errorf("%d records, %d findings", report.Records, len(report.Findings))
	}
	if _, err := NewReader(r.store, other).Find(t.Context(), r.query); !errors.Is(err, ErrInvalid) {
		t.Errorf("Find with untrusted keys: %v", err)
	}
	if _, err := ParseVerifiers([]byte("# none\n")); err == nil {
		t.Error("an empty file of keys was accepted")
	}
}

// TestEmptyStore: nothing at all is a finding, not a clean report.
func TestEmptyStore(t *testing.T) {
	if report := verify(t, newWorld(t), Options{}); len(report.Findings) != 1 {
		t.Errorf("findings %+v", report.Findings)
	}
}

// TestVerifyWhileWriting: a store in use gives no false findings, also while
// gateways start and stop.
func TestVerifyWhileWriting(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 2 {
		group.Go(func() {
			for range 6 { // each restart is a new writer
				runBriefly(t, w.config(fmt.Sprintf("gw-%d", i)))
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	waitForAny(t, w.store)
	for running := true; running && !t.Failed(); {
		select {
		case <-done:
			running = false // once more when all is still
		default:
		}
		if report := verify(t, w, Options{}); len(report.Findings) > 0 {
			t.Errorf("findings %+v", report.Findings)
		}
	}
	<-done
}

// runBriefly is a gateway that starts, works with eight clients, and stops.
func runBriefly(t *testing.T, cfg Config) {
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Error(err)
		return
	}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 5 {
				r := &Record{Type: TypeIntent, QueryID: NewQueryID(l.Writer(), time.Now())}
				if _, err := l.Append(context.Background(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func waitForAny(t testing.TB, store worm.Store) {
	t.Helper()
	for found := false; !found; {
		must(t, store.List(t.Context(), writersDir, "", func(worm.Entry) bool { found = true; return false }))
	}
}

// TestAnomaliesOfTheStore: a delete marker and a newer version over evidence
// hide nothing, and are reported, also from a copy.
func TestAnomaliesOfTheStore(t *testing.T) {
	w := newWorld(t)
	server := OpenBucket(t)
	store := server.Store
	w.store = store
	r := record(t, w)
	marked, replaced := segmentKey(r.first, 1), segmentKey(r.other, 1)
	server.Hide(marked)
	server.Overwrite(replaced, []byte("forged"))
	path := t.TempDir()
	copied, err := dir.New(dir.Config{Path: path})
	must(t, err)
	_, err = Fetch(t.Context(), store, copied)
	must(t, err)
	for name, from := range map[string]worm.Store{"bucket": store, "copy": copied} {
		report, err := Verify(t.Context(), from, w.trusted, Options{Copy: name == "copy"})
		must(t, err)
		if len(report.Findings) != 2 || report.Findings[0].Kind != KindAnomaly || report.Findings[0].Object != marked ||
			report.Findings[1].Object != replaced {
			t.Errorf("%s: %+v", name, report.Findings)
		}
	}
	if records, err := NewReader(store, w.trusted).Find(t.Context(), r.query); err != nil || len(records) != 5 {
		t.Errorf("%d records, %v", len(records), err)
	}
}
