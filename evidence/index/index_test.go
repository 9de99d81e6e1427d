package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// world is a store with real logs in it.
type world struct {
	path    string
	store   worm.Store
	signer  *evidence.Signer
	trusted note.Verifiers
	logs    []*evidence.Log
	now     time.Time
	all     []evidence.Record
}

func newWorld(t testing.TB, writers int) *world {
	t.Helper()
	w := &world{path: t.TempDir(), now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	var err error
	w.store, err = dir.New(dir.Config{Path: w.path})
	must(t, err)
	private, public, err := evidence.GenerateSigner("gw")
	must(t, err)
	w.signer, err = evidence.ParseSigner(private)
	must(t, err)
	w.trusted, err = evidence.ParseVerifiers([]byte(public))
	must(t, err)
	_, recipient, err := evidence.GenerateIdentity(false)
	must(t, err)
	auditors, err := evidence.ParseRecipients(recipient)
	must(t, err)
	for i := range writers {
		l, err := evidence.Open(t.Context(), evidence.Config{Store: w.store, Name: fmt.Sprintf("gw-%d", i), Signer: w.signer,
			Auditors: auditors, GatewayVersion: "test", ConfigDigest: "x", Heartbeat: time.Hour, Observe: time.Hour,
			RetryWindow: time.Second, Clock: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		w.logs = append(w.logs, l)
		t.Cleanup(func() {
			ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
			defer stop()
			_ = l.Close(ctx)
		})
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) reader() *evidence.Reader { return evidence.NewReader(w.store, w.trusted) }

func (w *world) add(t testing.TB, writer int, r evidence.Record) {
	t.Helper()
	w.now = w.now.Add(time.Second)
	_, err := w.logs[writer].Append(t.Context(), &r)
	must(t, err)
}

// fill writes queries of several people, and a canary in every text that the
// index must not hold.
const canary = "Zebulon-Quagmire-078-05-1120"

func (w *world) fill(t testing.TB, queries int) {
	t.Helper()
	for i := range queries {
		writer := i % len(w.logs)
		connection := []string{"clinic", "billing"}[i%2]
		id := evidence.NewQueryID(w.logs[writer].Writer(), w.now)
		base := evidence.Record{QueryID: id, SessionID: fmt.Sprintf("crew-%d", i%5), Connection: connection,
			Actor:     &evidence.Actor{Subject: fmt.Sprintf("agent-%d", i%3), Issuer: "iss", OnBehalfOf: "dr-lee", Name: canary},
			Relations: []string{"public.patients", fmt.Sprintf("public.t%d", i%4)}, Patients: []string{fmt.Sprintf("mrn:tok_%d", i%7)},
			Statement: &evidence.Statement{Normalized: canary}}
		intent := base
		intent.Type, intent.Decision = evidence.TypeIntent, &evidence.Decision{Effect: "allow"}
		w.add(t, writer, intent)
		outcome := base
		outcome.Type, outcome.Decision = evidence.TypeOutcome, &evidence.Decision{Effect: []string{"allow", "deny"}[i%2]}
		outcome.Result = &evidence.Result{Status: []string{"succeeded", "denied", "failed"}[i%3], Rows: []byte(`[["` + canary + `"]]`)}
		w.add(t, writer, outcome)
	}
}

func (w *world) open(t testing.TB, path string) *Index {
	t.Helper()
	ix, err := Open(Config{Path: path, Store: "test", Reader: w.reader(), Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return w.now }})
	must(t, err)
	return ix
}

// search gives all pages of a query.
func search(t testing.TB, ix *Index, q Query) (ids []string) {
	t.Helper()
	for {
		page, err := ix.Search(t.Context(), q)
		must(t, err)
		for _, hit := range page.Hits {
			ids = append(ids, hit.RecordID)
		}
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}

// brute finds the same by reading everything.
func (w *world) brute(t testing.TB, q Query) (ids []string) {
	t.Helper()
	must(t, w.reader().Records(t.Context(), q.Filter, func(r *evidence.Record) bool {
		if q.Type != "" && string(r.Type) != q.Type && !strings.HasPrefix(string(r.Type), q.Type+".") {
			return true
		}
		if q.Connections != nil && !slices.Contains(q.Connections, r.Connection) {
			return true
		}
		ids = append(ids, r.ID)
		return true
	}))
	return ids
}

// The index finds what reading everything finds, whatever is combined.
func TestSearchIsWhatReadingFinds(t *testing.T) {
	w := newWorld(t, 3)
	w.fill(t, 60)
	ix := w.open(t, filepath.Join(t.TempDir(), "index.db"))
	defer func() { must(t, ix.Close()) }()
	must(t, ix.Refresh(t.Context()))
	var query string
	must(t, w.reader().Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		query = r.QueryID
		return query == ""
	}))
	start := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for name, q := range map[string]Query{
		"everything": {}, "principal": {Filter: evidence.Filter{Principal: "agent-1"}},
		"principal by key":         {Filter: evidence.Filter{Principal: "iss#agent-2"}},
		"on behalf of":             {Filter: evidence.Filter{Principal: "dr-lee"}},
		"connection":               {Filter: evidence.Filter{Connection: "billing"}},
		"session":                  {Filter: evidence.Filter{SessionID: "crew-3"}},
		"query":                    {Filter: evidence.Filter{QueryID: query}},
		"table":                    {Filter: evidence.Filter{Relation: "public.t2"}},
		"patient":                  {Filter: evidence.Filter{Patient: "mrn:tok_5"}},
		"status":                   {Filter: evidence.Filter{Status: "failed"}},
		"effect":                   {Filter: evidence.Filter{Effect: "deny"}},
		"period":                   {Filter: evidence.Filter{Since: start.Add(20 * time.Second), Until: start.Add(50 * time.Second)}},
		"type":                     {Type: "query.outcome"},
		"family":                   {Type: "writer"},
		"some connections":         {Connections: []string{"clinic", "other"}},
		"no connection":            {Connections: []string{""}},
		"no connections at all":    {Connections: []string{}},
		"nothing":                  {Filter: evidence.Filter{Principal: "agent-1", Status: "pending"}},
		"nobody":                   {Filter: evidence.Filter{Principal: "nobody"}},
		"before everything":        {Filter: evidence.Filter{Until: time.Unix(5, 0)}},
		"long before everything":   {Filter: evidence.Filter{Until: time.Unix(-5, 0)}},
		"after everything":         {Filter: evidence.Filter{Since: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"five filters and a time":  {Type: "query", Filter: evidence.Filter{Principal: "agent-0", Connection: "clinic", Relation: "public.patients", Effect: "allow", Status: "succeeded", Since: start.Add(time.Second)}},
		"filters of two terms":     {Filter: evidence.Filter{SessionID: "crew-1", Patient: "mrn:tok_1"}},
		"filters and connections":  {Connections: []string{"clinic", "billing"}, Filter: evidence.Filter{Status: "denied"}},
		"connection not among own": {Connections: []string{"clinic"}, Filter: evidence.Filter{Connection: "billing"}},
	} {
		for _, limit := range []int{0, 1, 7} {
			q.Limit = limit
			got, want := search(t, ix, q), w.brute(t, q)
			if !slices.IsSortedFunc(got, func(a, b string) int { return w.timeOf(t, b).Compare(w.timeOf(t, a)) }) {
				t.Errorf("%s: not newest first", name)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: %d found, want %d", name, limit, len(got), len(want))
			}
		}
	}
	if got := search(t, ix, Query{}); len(got) < 120 {
		t.Errorf("only %d records are indexed", len(got))
	}
}

func (w *world) timeOf(t testing.TB, id string) time.Time {
	t.Helper()
	if w.all == nil {
		must(t, w.reader().Records(t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
			w.all = append(w.all, *r)
			return true
		}))
	}
	i := slices.IndexFunc(w.all, func(r evidence.Record) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("%s is not in the store", id)
	}
	return w.all[i].Time
}

// A hit leads to its record with one read.
func TestHitsLeadToRecords(t *testing.T) {
	w := newWorld(t, 2)
	w.fill(t, 20)
	ix := w.open(t, filepath.Join(t.TempDir(), "index.db"))
	defer func() { must(t, ix.Close()) }()
	must(t, ix.Refresh(t.Context()))
	page, err := ix.Search(t.Context(), Query{})
	must(t, err)
	for _, hit := range page.Hits {
		for _, hint := range []uint64{hit.Segment, hit.Segment + 3, 0, 1 << 40} {
			r, err := w.reader().RecordIn(t.Context(), hit.RecordID, hint)
			must(t, err)
			if r.ID != hit.RecordID || r.QueryID != hit.QueryID || !r.Time.Equal(hit.Time) || !strings.HasSuffix(r.Object, fmt.Sprintf("%016d", hit.Segment)) {
				t.Fatalf("%+v leads to %s in %s", hit, r.ID, r.Object)
			}
		}
	}
}

// What is recorded later is found after the next refresh, also by an index that
// was closed in between; nothing is read twice.
func TestIncremental(t *testing.T) {
	w := newWorld(t, 2)
	path := filepath.Join(t.TempDir(), "index.db")
	total := 0
	for round := range 3 {
		w.fill(t, 10)
		ix := w.open(t, path)
		must(t, ix.Refresh(t.Context()))
		must(t, ix.Refresh(t.Context()))
		got := len(search(t, ix, Query{}))
		if want := len(w.brute(t, Query{})); got != want {
			t.Fatalf("round %d: %d of %d", round, got, want)
		}
		if n := ix.State().Records; int(n) != got-total {
			t.Errorf("round %d: %d records were read, %d were new", round, n, got-total)
		}
		total = got
		must(t, ix.Close())
	}
}

// An index that is not what Close left is thrown away and made again.
func TestDamagedAndForeign(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(t, 10)
	path := filepath.Join(t.TempDir(), "index.db")
	ix := w.open(t, path)
	must(t, ix.Refresh(t.Context()))
	want := search(t, ix, Query{})
	must(t, ix.Close())
	good, err := os.ReadFile(path)
	must(t, err)
	sum, err := os.ReadFile(path + sumSuffix)
	must(t, err)
	other := newWorld(t, 1)
	other.fill(t, 3)
	flip := func(at int) func(t *testing.T) {
		return func(t *testing.T) {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			must(t, os.WriteFile(path, bad, 0o600))
		}
	}
	for name, damage := range map[string]func(t *testing.T){
		"first byte": flip(0), "a meta page": flip(100), "in the middle": flip(len(good) / 2), "last byte": flip(len(good) - 1),
		"cut":          func(t *testing.T) { must(t, os.WriteFile(path, good[:len(good)/2], 0o600)) },
		"empty":        func(t *testing.T) { must(t, os.WriteFile(path, nil, 0o600)) },
		"text":         func(t *testing.T) { must(t, os.WriteFile(path, []byte("not an index"), 0o600)) },
		"no digest":    func(t *testing.T) { must(t, os.Remove(path+sumSuffix)) },
		"other digest": func(t *testing.T) { must(t, os.WriteFile(path+sumSuffix, []byte("00"), 0o600)) },
		"deleted":      func(t *testing.T) { must(t, os.Remove(path)) },
		"both deleted": func(t *testing.T) { must(t, errors.Join(os.Remove(path), os.Remove(path+sumSuffix))) },
		"of another store": func(t *testing.T) {
			foreign, err := Open(Config{Path: path, Store: "another", Reader: other.reader(), Logger: slog.New(slog.DiscardHandler), Clock: time.Now})
			must(t, err)
			must(t, foreign.Refresh(t.Context()))
			must(t, foreign.Close())
		},
		"of another store of the same name": func(t *testing.T) {
			must(t, errors.Join(os.Remove(path), os.Remove(path+sumSuffix)))
			foreign := other.open(t, path)
			must(t, foreign.Refresh(t.Context()))
			must(t, foreign.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(path, good, 0o600))
			must(t, os.WriteFile(path+sumSuffix, sum, 0o600))
			damage(t)
			again := w.open(t, path)
			must(t, again.Refresh(t.Context()))
			if got := search(t, again, Query{}); !slices.Equal(got, want) {
				t.Errorf("%d records are found, %d are there", len(got), len(want))
			}
			if n := again.State().Records; int(n) != len(want) {
				t.Errorf("it was not made anew: %d records were read", n)
			}
			must(t, again.Close())
		})
	}
}

// While a process has the file another one is refused, not the file thrown away.
func TestInUse(t *testing.T) {
	w := newWorld(t, 1)
	path := filepath.Join(t.TempDir(), "index.db")
	must(t, w.open(t, path).Close())
	ix := w.open(t, path)
	defer func() { must(t, ix.Close()) }()
	sum, err := sumFile(path)
	must(t, err)
	must(t, os.WriteFile(path+sumSuffix, []byte(sum), 0o600)) // as if it had just been closed
	if _, err := Open(ix.cfg); !errors.Is(err, errInUse) {
		t.Errorf("a second process got %v", err)
	}
}

// A segment that does not verify is left out and told; the rest is found.
func TestDamagedSegment(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(t, 10)
	whole := len(w.brute(t, Query{}))
	name := w.logs[0].Writer()
	object := "evidence/" + name + "/segments/0000000000000005"
	reader := evidence.NewReader(broken{w.store, object}, w.trusted)
	ix, err := Open(Config{Path: filepath.Join(t.TempDir(), "index.db"), Store: "test", Reader: reader, Logger: slog.New(slog.DiscardHandler), Clock: time.Now})
	must(t, err)
	defer func() { must(t, ix.Close()) }()
	must(t, ix.Refresh(t.Context()))
	if why := ix.State().Damaged[object]; why == "" {
		t.Errorf("the damaged segment is not told: %v", ix.State().Damaged)
	}
	if got := len(search(t, ix, Query{})); got != whole-1 {
		t.Errorf("%d of %d records are found", got, whole)
	}
}

type broken struct {
	worm.Store
	key string
}

func (b broken) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	o, err := b.Store.Get(ctx, key, limit)
	if key == b.key && err == nil {
		o.Body = bytes.Replace(o.Body, []byte(`"type":`), []byte(`"Type":`), 1)
	}
	return o, err
}

// The file holds no text of a record.
func TestFileHoldsNoText(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(t, 20)
	path := filepath.Join(t.TempDir(), "index.db")
	ix := w.open(t, path)
	must(t, ix.Refresh(t.Context()))
	must(t, ix.Close())
	text, err := os.ReadFile(path)
	must(t, err)
	for _, secret := range []string{canary, "agent-1", "dr-lee", "mrn:tok_", "public.patients", "crew-1"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the file holds %q", secret)
		}
	}
	if !bytes.Contains(text, []byte("q_")) {
		t.Error("the file does not even hold query ids: the test looks at the wrong bytes")
	}
}

func TestStoreDown(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(t, 3)
	ix := w.open(t, filepath.Join(t.TempDir(), "index.db"))
	defer func() { must(t, ix.Close()) }()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := ix.Refresh(ctx); err == nil || !ix.State().UpTo.IsZero() {
		t.Errorf("err %v, state %+v", err, ix.State())
	}
	must(t, ix.Refresh(t.Context()))
	if ix.State().UpTo.IsZero() {
		t.Error("it is not up to date")
	}
}

func FuzzCursor(f *testing.F) {
	w := newWorld(f, 1)
	w.fill(f, 3)
	ix := w.open(f, filepath.Join(f.TempDir(), "index.db"))
	must(f, ix.Refresh(f.Context()))
	page, err := ix.Search(f.Context(), Query{Limit: 2})
	must(f, err)
	f.Add(page.Next)
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, after string) {
		page, err := ix.Search(t.Context(), Query{After: after, Limit: 3})
		if err != nil && !errors.Is(err, ErrCursor) {
			t.Fatal(err)
		}
		if err == nil && len(page.Hits) > 3 {
			t.Fatal("more than was asked for")
		}
	})
}

// FuzzPlace reads what a posting says.
func FuzzPlace(f *testing.F) {
	f.Add(place{7, "q_1"}.encode())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := decodePlace(b); ok {
			if again, ok := decodePlace(p.encode()); !ok || again != p {
				t.Fatalf("%+v is read back as %+v", p, again)
			}
		}
	})
}

// FuzzFile opens files that this package did not write.
func FuzzFile(f *testing.F) {
	w := newWorld(f, 1)
	w.fill(f, 2)
	path := filepath.Join(f.TempDir(), "seed.db")
	ix := w.open(f, path)
	must(f, ix.Refresh(f.Context()))
	want := len(search(f, ix, Query{}))
	must(f, ix.Close())
	good, err := os.ReadFile(path)
	must(f, err)
	sum, err := os.ReadFile(path + sumSuffix)
	must(f, err)
	f.Add(uint32(0), byte(1))
	f.Add(uint32(4096), byte(0x80))
	f.Add(uint32(20000), byte(0))
	f.Fuzz(func(t *testing.T, at uint32, change byte) {
		bad := bytes.Clone(good)
		bad[int(at)%len(bad)] ^= change
		path := filepath.Join(t.TempDir(), "index.db")
		must(t, os.WriteFile(path, bad, 0o600))
		must(t, os.WriteFile(path+sumSuffix, sum, 0o600))
		ix := w.open(t, path)
		must(t, ix.Refresh(t.Context()))
		if got := len(search(t, ix, Query{})); got != want {
			t.Fatalf("%d records are found, %d are there", got, want)
		}
		must(t, ix.Close())
	})
}
