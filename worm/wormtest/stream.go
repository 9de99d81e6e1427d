package wormtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/chaperone-sql/chaperone/worm"
)

// noise is a body of any size that takes no memory: the same bytes for the same
// seed. It counts what is read of it.
type noise struct {
	seed, size, off int64
	// fails is the offset at which reading fails, negative for never.
	fails int64
}

func newNoise(seed, size int64) *noise { return &noise{seed: seed, size: size, fails: -1} }

var errNoise = errors.New("the disk is broken")

// Read implements io.Reader.
func (n *noise) Read(p []byte) (int, error) {
	if n.off >= n.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), n.size-n.off, 64<<10)]
	if n.fails >= 0 && n.off+int64(len(p)) > n.fails {
		return 0, errNoise
	}
	for i := range p {
		at := n.off + int64(i)
		p[i] = byte((at*2654435761+n.seed*40503)>>7) ^ byte(at>>13)
	}
	n.off += int64(len(p))
	return len(p), nil
}

// Seek implements io.Seeker.
func (n *noise) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += n.off
	case io.SeekEnd:
		offset += n.size
	}
	n.off = offset
	return offset, nil
}

// wantStream reads an object as a stream and compares it with a body.
func wantStream(t *testing.T, s worm.Store, key string, want io.Reader) worm.Entry {
	t.Helper()
	body, entry, err := s.Open(t.Context(), key)
	must(t, err)
	got, expected := sha256.New(), sha256.New()
	size, err := io.Copy(got, body)
	must(t, err)
	must(t, body.Close())
	_, err = io.Copy(expected, want)
	must(t, err)
	if !bytes.Equal(got.Sum(nil), expected.Sum(nil)) || entry.Size != size || entry.Key != key || entry.Modified.IsZero() {
		t.Fatalf("%s: read %d other bytes than were stored, entry %+v", key, size, entry)
	}
	return entry
}

func testStream(t *testing.T, h Harness) {
	s := h.Store
	for _, size := range []int64{0, 1, 256 << 10, 3<<20 + 7} {
		key := "stream/" + string(rune('a'+size%26))
		must(t, s.CreateFrom(t.Context(), key, newNoise(1, size), size))
		wantStream(t, s, key, newNoise(1, size))
		// The same again, also if the reader is not at its start.
		again := newNoise(1, size)
		_, err := again.Seek(size/2, io.SeekStart)
		must(t, err)
		must(t, s.CreateFrom(t.Context(), key, again, size))
		wantErr(t, s.CreateFrom(t.Context(), key, newNoise(1, size+1), size+1), worm.ErrExists)
		if size > 0 {
			wantErr(t, s.CreateFrom(t.Context(), key, newNoise(2, size), size), worm.ErrExists)
			wantErr(t, s.CreateFrom(t.Context(), key, newNoise(1, size-1), size-1), worm.ErrExists)
		}
		if entry := wantStream(t, s, key, newNoise(1, size)); entry.Anomaly != "" {
			t.Errorf("an anomaly after refused creates: %s", entry.Anomaly)
		}
	}
	// Create and CreateFrom are the same to one another.
	must(t, s.Create(t.Context(), "both", []byte("body")))
	must(t, s.CreateFrom(t.Context(), "both", strings.NewReader("body"), 4))
	wantErr(t, s.CreateFrom(t.Context(), "both", strings.NewReader("bodY"), 4), worm.ErrExists)
	wantStream(t, s, "both", strings.NewReader("body"))

	_, _, err := s.Open(t.Context(), "stream")
	wantErr(t, err, worm.ErrNotFound)
	_, _, err = s.Open(t.Context(), "none/at/all")
	wantErr(t, err, worm.ErrNotFound)
	_, _, err = s.Open(t.Context(), "../both")
	wantErr(t, err, worm.ErrBadKey)
	wantErr(t, s.CreateFrom(t.Context(), "a//b", strings.NewReader(""), 0), worm.ErrBadKey)
}

// testStreamBody: a body that is not as announced stores nothing.
func testStreamBody(t *testing.T, h Harness) {
	short, long, broken := newNoise(1, 1000), newNoise(1, 1001), newNoise(1, 1<<20)
	broken.fails = 700 << 10
	wantErr(t, h.Store.CreateFrom(t.Context(), "k", short, 1001), worm.ErrBody)
	wantErr(t, h.Store.CreateFrom(t.Context(), "k", long, 1000), worm.ErrBody)
	err := h.Store.CreateFrom(t.Context(), "k", broken, 1<<20)
	wantErr(t, err, worm.ErrBody)
	wantErr(t, err, errNoise)
	_, _, err = h.Store.Open(t.Context(), "k")
	wantErr(t, err, worm.ErrNotFound)
}

// testStreamRace: exactly one of many creators wins.
func testStreamRace(t *testing.T, h Harness) {
	const creators, size = 8, 300 << 10
	errs := make([]error, creators)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range creators {
		done.Go(func() {
			start.Wait()
			errs[i] = h.Store.CreateFrom(t.Context(), "k", newNoise(int64(i*1000), size), size)
		})
	}
	start.Done()
	done.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("both %d and %d won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, worm.ErrExists):
			t.Fatal(err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	wantStream(t, h.Store, "k", newNoise(int64(winner*1000), size))
}

// testStreamMemory: a large object takes no more memory than a small one.
func testStreamMemory(t *testing.T, h Harness) {
	const size, most = 192 << 20, 24 << 20
	before := allocated()
	must(t, h.Store.CreateFrom(t.Context(), "large", newNoise(7, size), size))
	if grew := allocated() - before; grew > most {
		t.Errorf("storing %d bytes allocated %d", int64(size), grew)
	}
	before = allocated()
	must(t, h.Store.CreateFrom(t.Context(), "large", newNoise(7, size), size))
	wantErr(t, h.Store.CreateFrom(t.Context(), "large", newNoise(8, size), size), worm.ErrExists)
	wantStream(t, h.Store, "large", newNoise(7, size))
	if grew := allocated() - before; grew > most {
		t.Errorf("comparing and reading %d bytes allocated %d", int64(size), grew)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// testStreamOldest: the oldest version is what Open reads.
func testStreamOldest(t *testing.T, h Harness) {
	if h.Overwrite == nil || h.Hide == nil {
		return // the store has no versions
	}
	const size = 100 << 10
	must(t, h.Store.CreateFrom(t.Context(), "k", newNoise(3, size), size))
	h.Overwrite(t, "k", []byte("forged"))
	h.Hide(t, "k")
	if entry := wantStream(t, h.Store, "k", newNoise(3, size)); entry.Anomaly == "" {
		t.Error("no anomaly reported")
	}
	must(t, h.Store.CreateFrom(t.Context(), "k", newNoise(3, size), size))
	wantErr(t, h.Store.CreateFrom(t.Context(), "k", strings.NewReader("forged"), 6), worm.ErrExists)
}

// testSource: a source that was opened again gives its earlier reader nothing.
func testSource(t *testing.T, _ Harness) {
	size := rand.Int64N(1<<20) + 1000 // #nosec G404 -- a size
	s, err := worm.NewSource(newNoise(1, size), size)
	must(t, err)
	first := s.Open()
	_, err = io.CopyN(io.Discard, first, 100)
	must(t, err)
	second := s.Open()
	if n, err := first.Read(make([]byte, 10)); n > 0 || err == nil {
		t.Fatalf("a reading that was given up read %d bytes, %v", n, err)
	}
	all, err := io.ReadAll(second)
	must(t, err)
	want, err := io.ReadAll(newNoise(1, size))
	must(t, err)
	if !bytes.Equal(all, want) {
		t.Fatal("the second reading is not the body")
	}
	for name, other := range map[string][]byte{"shorter": want[:size-1], "longer": append(bytes.Clone(want), 0),
		"other": append(bytes.Clone(want[:size-1]), want[size-1]^1), "empty": nil} {
		if same, err := s.Same(bytes.NewReader(other)); same || err != nil {
			t.Errorf("%s: same %v, %v", name, same, err)
		}
	}
	if same, err := s.Same(bytes.NewReader(want)); !same || err != nil {
		t.Errorf("the same bytes: %v, %v", same, err)
	}
}
