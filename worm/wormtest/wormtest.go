// Package wormtest holds the conformance suite that every worm.Store passes.
package wormtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Harness is a store under test, empty, and what the suite cannot do through
// the contract.
type Harness struct {
	Store worm.Store
	// Hide makes a key look deleted the way an administrator could (a delete
	// marker). Nil if the store has no such thing.
	Hide func(t *testing.T, key string)
	// Overwrite puts a second version over a key. Nil if there are no versions.
	Overwrite func(t *testing.T, key string, body []byte)
	// Broken is a store of the same kind whose backend does not answer.
	Broken worm.Store
}

// Run runs the suite. open gives a fresh, empty store each time.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"create and get", testCreate},
		{"same bytes again", testIdempotent},
		{"racing creators", testRace},
		{"bad keys", testBadKeys},
		{"limits and large objects", testLarge},
		{"list", testList},
		{"cancelled context", testCancelled},
		{"delete marker", testHidden},
		{"second version", testOverwritten},
		{"streams", testStream},
		{"streams of bad bodies", testStreamBody},
		{"racing streams", testStreamRace},
		{"memory of streams", testStreamMemory},
		{"streams of the oldest version", testStreamOldest},
		{"source", testSource},
		{"unavailable", testUnavailable},
		{"check", testCheck},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func wantBody(t *testing.T, s worm.Store, key string, want []byte) worm.Object {
	t.Helper()
	object, err := s.Get(t.Context(), key, 0)
	must(t, err)
	if !bytes.Equal(object.Body, want) {
		t.Fatalf("%s: got %d bytes, want other %d bytes", key, len(object.Body), len(want))
	}
	return object
}

func testCreate(t *testing.T, h Harness) {
	before := time.Now().Add(-time.Minute)
	must(t, h.Store.Create(t.Context(), "a/b/c", []byte("body")))
	object := wantBody(t, h.Store, "a/b/c", []byte("body"))
	if object.Anomaly != "" || object.Modified.Before(before) || object.Modified.Location() != time.UTC {
		t.Errorf("got %+v", object)
	}
	must(t, h.Store.Create(t.Context(), "empty", nil))
	wantBody(t, h.Store, "empty", nil)
	_, err := h.Store.Get(t.Context(), "a/b", 0)
	wantErr(t, err, worm.ErrNotFound)
	_, err = h.Store.Get(t.Context(), "a/b/d", 0)
	wantErr(t, err, worm.ErrNotFound)
	_, err = h.Store.Get(t.Context(), "x/y", 0)
	wantErr(t, err, worm.ErrNotFound)
}

func testIdempotent(t *testing.T, h Harness) {
	for range 3 {
		must(t, h.Store.Create(t.Context(), "k", []byte("one")))
	}
	for _, other := range []string{"two", "", "one ", "on"} {
		wantErr(t, h.Store.Create(t.Context(), "k", []byte(other)), worm.ErrExists)
	}
	if object := wantBody(t, h.Store, "k", []byte("one")); object.Anomaly != "" {
		t.Errorf("an anomaly after refused creates: %s", object.Anomaly)
	}
}

// testRace: exactly one of many creators wins, the others are told, and the
// winner's bytes are there whole.
func testRace(t *testing.T, h Harness) {
	for round := range 8 {
		key := fmt.Sprintf("race/%d", round)
		const creators = 16
		errs := make([]error, creators)
		bodies := make([][]byte, creators)
		var start, done sync.WaitGroup
		start.Add(1)
		for i := range creators {
			bodies[i] = bytes.Repeat([]byte{byte('a' + i)}, 4096)
			done.Go(func() {
				start.Wait()
				errs[i] = h.Store.Create(t.Context(), key, bodies[i])
			})
		}
		start.Done()
		done.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: both %d and %d won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, worm.ErrExists):
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		wantBody(t, h.Store, key, bodies[winner])
	}
}

func testBadKeys(t *testing.T, h Harness) {
	bad := []string{"", "/a", "a/", "../a", "a/../b", "a//b", ".tmp/x", "a b", "ü", "a\x00", strings.Repeat("x", 600)}
	for _, key := range bad {
		wantErr(t, h.Store.Create(t.Context(), key, []byte("x")), worm.ErrBadKey)
		_, err := h.Store.Get(t.Context(), key, 0)
		wantErr(t, err, worm.ErrBadKey)
	}
}

func testLarge(t *testing.T, h Harness) {
	body := make([]byte, 20<<20)
	_, err := rand.Read(body)
	must(t, err)
	must(t, h.Store.Create(t.Context(), "large", body))
	wantBody(t, h.Store, "large", body)
	_, err = h.Store.Get(t.Context(), "large", int64(len(body))-1)
	wantErr(t, err, worm.ErrTooLarge)
	object, err := h.Store.Get(t.Context(), "large", int64(len(body)))
	must(t, err)
	if len(object.Body) != len(body) {
		t.Fatalf("got %d bytes", len(object.Body))
	}
	wantErr(t, h.Store.Create(t.Context(), "large", []byte("small")), worm.ErrExists)
	must(t, h.Store.Create(t.Context(), "large", body))
}

func testList(t *testing.T, h Harness) {
	keys := []string{"a-b", "a.b", "a/0000", "a/0001", "a/0002", "a/b/c", "ab", "b/0000"}
	for i := range keys { // not in order
		key := keys[(i*3+1)%len(keys)]
		must(t, h.Store.Create(t.Context(), key, []byte(key)))
	}
	tests := []struct {
		prefix, after string
		want          string
	}{
		{"", "", strings.Join(keys, " ")},
		{"a/", "", "a/0000 a/0001 a/0002 a/b/c"},
		{"a", "", "a-b a.b a/0000 a/0001 a/0002 a/b/c ab"},
		{"a/000", "", "a/0000 a/0001 a/0002"},
		{"a/", "a/0000", "a/0001 a/0002 a/b/c"},
		{"a/", "a/0001x", "a/0002 a/b/c"},
		{"a/", "a/b/c", ""},
		{"a/", "b", ""},
		{"", "a/b", "a/b/c ab b/0000"},
		{"b/", "a/0001", "b/0000"},
		{"none/", "", ""},
	}
	for _, test := range tests {
		var got []string
		must(t, h.Store.List(t.Context(), test.prefix, test.after, func(e worm.Entry) bool {
			if e.Size != int64(len(e.Key)) || e.Modified.IsZero() || e.Anomaly != "" {
				t.Errorf("entry %+v", e)
			}
			got = append(got, e.Key)
			return true
		}))
		if strings.Join(got, " ") != test.want {
			t.Errorf("list %q after %q: got %v, want %s", test.prefix, test.after, got, test.want)
		}
	}
	n := 0
	must(t, h.Store.List(t.Context(), "a", "", func(worm.Entry) bool { n++; return n < 3 }))
	if n != 3 {
		t.Errorf("a yield that said stop was called %d times", n)
	}
}

func testCancelled(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, h.Store.Create(ctx, "k", []byte("x")), worm.ErrUnavailable)
	_, err := h.Store.Get(ctx, "k", 0)
	wantErr(t, err, worm.ErrUnavailable)
	wantErr(t, h.Store.CreateFrom(ctx, "k", strings.NewReader("x"), 1), worm.ErrUnavailable)
	_, _, err = h.Store.Open(ctx, "k")
	wantErr(t, err, worm.ErrUnavailable)

	must(t, h.Store.Create(t.Context(), "k", bytes.Repeat([]byte("x"), 4<<20)))
	ctx, cancel = context.WithCancel(t.Context())
	body, _, err := h.Store.Open(ctx, "k")
	must(t, err)
	_, err = io.ReadFull(body, make([]byte, 10))
	must(t, err)
	cancel()
	_, err = io.Copy(io.Discard, body)
	wantErr(t, err, worm.ErrUnavailable)
	must(t, body.Close())
}

// testHidden: a delete marker hides nothing and lets nobody be first again.
func testHidden(t *testing.T, h Harness) {
	if h.Hide == nil {
		return // the store has no delete markers
	}
	must(t, h.Store.Create(t.Context(), "p/k", []byte("truth")))
	h.Hide(t, "p/k")
	if object := wantBody(t, h.Store, "p/k", []byte("truth")); object.Anomaly == "" {
		t.Error("no anomaly reported")
	}
	listed := ""
	must(t, h.Store.List(t.Context(), "p/", "", func(e worm.Entry) bool {
		listed += e.Key + ":" + e.Anomaly
		return true
	}))
	if !strings.HasPrefix(listed, "p/k:") || listed == "p/k:" {
		t.Errorf("listed %q", listed)
	}
	// What Create says after a marker is the backend's; the truth stays.
	_ = h.Store.Create(t.Context(), "p/k", []byte("forged"))
	wantBody(t, h.Store, "p/k", []byte("truth"))
}

func testOverwritten(t *testing.T, h Harness) {
	if h.Overwrite == nil {
		return // the store has no versions
	}
	must(t, h.Store.Create(t.Context(), "p/k", []byte("truth")))
	must(t, h.Store.Create(t.Context(), "p/l", []byte("other")))
	for i := range 3 {
		h.Overwrite(t, "p/k", fmt.Appendf(nil, "forged %d", i))
	}
	if object := wantBody(t, h.Store, "p/k", []byte("truth")); object.Anomaly == "" {
		t.Error("no anomaly reported")
	}
	var listed []worm.Entry
	must(t, h.Store.List(t.Context(), "p/", "", func(e worm.Entry) bool { listed = append(listed, e); return true }))
	if len(listed) != 2 || listed[0].Key != "p/k" || listed[0].Anomaly == "" || listed[0].Size != 5 ||
		listed[1].Key != "p/l" || listed[1].Anomaly != "" {
		t.Errorf("listed %+v", listed)
	}
	must(t, h.Store.Create(t.Context(), "p/k", []byte("truth")))
	wantErr(t, h.Store.Create(t.Context(), "p/k", []byte("forged 2")), worm.ErrExists)
}

// testUnavailable: a dead backend is ErrUnavailable by the caller's deadline,
// not later.
func testUnavailable(t *testing.T, h Harness) {
	if h.Broken == nil {
		return // the store has no backend that can be away
	}
	calls := map[string]func(ctx context.Context) error{
		"create": func(ctx context.Context) error { return h.Broken.Create(ctx, "k", []byte("x")) },
		"create from": func(ctx context.Context) error {
			return h.Broken.CreateFrom(ctx, "k", strings.NewReader("x"), 1)
		},
		"open": func(ctx context.Context) error { _, _, err := h.Broken.Open(ctx, "k"); return err },
		"get":  func(ctx context.Context) error { _, err := h.Broken.Get(ctx, "k", 0); return err },
		"list": func(ctx context.Context) error {
			return h.Broken.List(ctx, "", "", func(worm.Entry) bool { return true })
		},
		"check": h.Broken.Check,
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, worm.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %v with a deadline of 500ms", name, took)
		}
	}
}

func testCheck(t *testing.T, h Harness) {
	must(t, h.Store.Check(t.Context()))
	must(t, h.Store.Check(t.Context()))
}
