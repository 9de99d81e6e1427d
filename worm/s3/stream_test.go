package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// TestStreamFaults: a body is stored once and whole whatever happens to its
// attempts.
func TestStreamFaults(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	tests := map[string]func(w http.ResponseWriter, forward func(http.ResponseWriter)){
		"answer lost after it was stored": func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
			forward(discardWriter())
			breakOff(w)
		},
		"connection cut before": func(w http.ResponseWriter, _ func(http.ResponseWriter)) { breakOff(w) },
		"503":                   func(w http.ResponseWriter, _ func(http.ResponseWriter)) { w.WriteHeader(http.StatusServiceUnavailable) },
		"412 although nothing is there": func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
			w.WriteHeader(http.StatusPreconditionFailed)
		},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			var left atomic.Int64
			left.Store(2)
			store, _ := openFaulty(t, func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
				if left.Add(-1) >= 0 {
					fault(w, forward)
					return
				}
				forward(w)
			})
			if err := store.CreateFrom(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
				t.Fatal(err)
			}
			object, err := store.Get(t.Context(), "k", 0)
			if err != nil || !bytes.Equal(object.Body, body) || object.Anomaly != "" {
				t.Errorf("%d bytes, %q, %v", len(object.Body), object.Anomaly, err)
			}
			err = store.CreateFrom(t.Context(), "k", strings.NewReader(strings.Repeat("x", len(body))), int64(len(body)))
			if !errors.Is(err, worm.ErrExists) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// cutting breaks each answer to a GET of an object after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
	hang time.Duration
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left <= 0 {
		time.Sleep(c.hang)
		breakOff(c.ResponseWriter)
		return 0, errors.New("cut")
	}
	n := min(len(p), c.left)
	c.left -= n
	got, err := c.ResponseWriter.Write(p[:n])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	if err == nil && n < len(p) {
		return c.Write(p[n:])
	}
	return got, err
}

// TestOpenGoesOn: a stream that breaks or falls silent goes on where it was.
func TestOpenGoesOn(t *testing.T) {
	body := make([]byte, 1<<20)
	for i := range body {
		body[i] = byte(i*7 + i>>8)
	}
	for name, hang := range map[string]time.Duration{"broken": 0, "silent": time.Second} {
		t.Run(name, func(t *testing.T) {
			store, f := openFaulty(t, nil)
			if err := store.CreateFrom(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
				t.Fatal(err)
			}
			var answers atomic.Int64
			f.gets = func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
				answers.Add(1)
				forward(&cutting{ResponseWriter: w, left: 300 << 10, hang: hang})
			}
			stream, entry, err := store.Open(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(stream)
			if err != nil || !bytes.Equal(got, body) || entry.Size != int64(len(body)) {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			if answers.Load() < 4 {
				t.Errorf("%d requests", answers.Load())
			}
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("gives up", func(t *testing.T) {
		store, f := openFaulty(t, nil)
		if err := store.CreateFrom(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
		f.gets = func(w http.ResponseWriter, forward func(http.ResponseWriter)) { forward(&cutting{ResponseWriter: w}) }
		stream, _, err := store.Open(t.Context(), "k")
		if err == nil {
			_, err = io.ReadAll(stream)
		}
		if !errors.Is(err, worm.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

// TestTooLarge: what one upload cannot hold is refused before anything is sent.
func TestTooLarge(t *testing.T) {
	store, f := openFaulty(t, nil)
	err := store.CreateFrom(t.Context(), "k", strings.NewReader(""), maxPut+1)
	if !errors.Is(err, worm.ErrTooLarge) || f.puts.Load() > 0 {
		t.Errorf("%v after %d attempts", err, f.puts.Load())
	}
}
