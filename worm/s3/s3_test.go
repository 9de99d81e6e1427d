package s3

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/worm"
	"github.com/chaperone-sql/chaperone/worm/wormtest"
)

func config(server *testenv.ObjectStore) Config {
	return Config{Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket, Prefix: "chaperone/",
		PathStyle: true, Retention: time.Hour, AccessKey: server.AccessKey, SecretKey: masking.Secret(server.SecretKey)}
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestConformance(t *testing.T) {
	wormtest.Run(t, func(t *testing.T) wormtest.Harness {
		cfg := config(testenv.S3(t))
		store := open(t, cfg)
		broken := cfg
		broken.Endpoint = closedPort(t)
		return wormtest.Harness{
			Store: store, Broken: open(t, broken),
			Hide: func(t *testing.T, key string) {
				_, err := store.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: store.bucket(), Key: store.key(key)})
				if err != nil {
					t.Fatal(err)
				}
			},
			Overwrite: func(t *testing.T, key string, body []byte) {
				_, err := store.client.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: store.bucket(), Key: store.key(key), Body: bytes.NewReader(body)})
				if err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// TestLocked: not even the administrator removes a stored version.
func TestLocked(t *testing.T) {
	store := open(t, config(testenv.S3(t)))
	if err := store.Create(t.Context(), "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	h, err := store.history(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{
		Bucket: store.bucket(), Key: store.key("k"), VersionId: &h.oldest})
	if err == nil {
		t.Error("a locked version was deleted")
	}
}

// TestListPages lists more keys than one page holds.
func TestListPages(t *testing.T) {
	store := open(t, config(testenv.S3(t)))
	const n = 1100
	group := make(chan error, n)
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		go func() {
			group <- store.Create(t.Context(), "p/"+strings.Repeat("0", 4-len(itoa(i)))+itoa(i), []byte("x"))
			<-slots
		}()
	}
	for range n {
		if err := <-group; err != nil {
			t.Fatal(err)
		}
	}
	last, count := "", 0
	err := store.List(t.Context(), "p/", "p/0009", func(e worm.Entry) bool {
		if e.Key <= last || e.Anomaly != "" {
			t.Errorf("%s after %s: %s", e.Key, last, e.Anomaly)
		}
		last = e.Key
		count++
		return true
	})
	if err != nil || count != n-10 || last != "p/1099" {
		t.Errorf("%d keys up to %s, %v", count, last, err)
	}
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + itoa(i%10)
}

// faulty stands between client and server and does to each PUT what fault
// says.
type faulty struct {
	proxy *httputil.ReverseProxy
	fault func(w http.ResponseWriter, forward func(http.ResponseWriter)) // nil forwards
	// gets is what GETs of objects meet; set while no request runs.
	gets func(w http.ResponseWriter, forward func(http.ResponseWriter))
	puts atomic.Int64
}

func discardWriter() http.ResponseWriter { return httptest.NewRecorder() }

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	forward := func(w http.ResponseWriter) { f.proxy.ServeHTTP(w, r) }
	if r.Method == http.MethodGet && r.URL.Query().Has("versionId") && f.gets != nil {
		f.gets(w, forward)
		return
	}
	if r.Method == http.MethodPut {
		f.puts.Add(1)
	}
	if r.Method != http.MethodPut || f.fault == nil {
		forward(w)
		return
	}
	f.fault(w, forward)
}

func openFaulty(t *testing.T, fault func(w http.ResponseWriter, forward func(http.ResponseWriter))) (*Store, *faulty) {
	t.Helper()
	server := testenv.S3(t)
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header is signed: it must stay the client's.
	f := &faulty{fault: fault, proxy: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host
	}}}
	front := httptest.NewServer(f)
	t.Cleanup(front.Close)
	cfg := config(server)
	cfg.Endpoint, cfg.Timeout = front.URL, 500*time.Millisecond
	return open(t, cfg), f
}

// breakOff cuts the connection without an answer.
func breakOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestFaults(t *testing.T) {
	const faults = 3
	tests := []struct {
		name  string
		fault func(w http.ResponseWriter, forward func(http.ResponseWriter))
	}{
		{"answer lost after it was stored", func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
			forward(discardWriter())
			breakOff(w)
		}},
		{"connection cut before", func(w http.ResponseWriter, _ func(http.ResponseWriter)) { breakOff(w) }},
		{"503 storm", func(w http.ResponseWriter, _ func(http.ResponseWriter)) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"503 although stored", func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
			forward(discardWriter())
			w.WriteHeader(http.StatusServiceUnavailable)
		}},
		{"409 ConditionalRequestConflict", func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`<Error><Code>ConditionalRequestConflict</Code></Error>`))
		}},
		{"412 although nothing is there", func(w http.ResponseWriter, _ func(http.ResponseWriter)) { w.WriteHeader(http.StatusPreconditionFailed) }},
		{"too slow, but stored", func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
			forward(discardWriter())
			time.Sleep(700 * time.Millisecond)
			w.WriteHeader(http.StatusOK)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var left atomic.Int64
			left.Store(faults)
			store, f := openFaulty(t, func(w http.ResponseWriter, forward func(http.ResponseWriter)) {
				if left.Add(-1) >= 0 {
					test.fault(w, forward)
					return
				}
				forward(w)
			})
			if err := store.Create(t.Context(), "k", []byte("body")); err != nil {
				t.Fatal(err)
			}
			if f.puts.Load() < 2 {
				t.Errorf("%d attempts", f.puts.Load())
			}
			object, err := store.Get(t.Context(), "k", 0)
			if err != nil || string(object.Body) != "body" || object.Anomaly != "" {
				t.Errorf("%+v, %v", object, err)
			}
			if err := store.Create(t.Context(), "k", []byte("other")); !errors.Is(err, worm.ErrExists) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRefused: what cannot succeed is not tried again.
func TestRefused(t *testing.T) {
	store, f := openFaulty(t, func(w http.ResponseWriter, _ func(http.ResponseWriter)) { w.WriteHeader(http.StatusForbidden) })
	err := store.Create(t.Context(), "k", []byte("body"))
	if !errors.Is(err, worm.ErrUnavailable) || f.puts.Load() != 1 {
		t.Errorf("%v after %d attempts", err, f.puts.Load())
	}
}

func TestStorm(t *testing.T) {
	store, f := openFaulty(t, func(w http.ResponseWriter, _ func(http.ResponseWriter)) { w.WriteHeader(http.StatusServiceUnavailable) })
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	err := store.Create(ctx, "k", []byte("body"))
	if !errors.Is(err, worm.ErrUnavailable) || f.puts.Load() < 3 {
		t.Errorf("%v after %d attempts", err, f.puts.Load())
	}
	if strings.Contains(err.Error(), "http") {
		t.Errorf("the error tells the address: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := Config{Region: "r", Bucket: "b", Retention: time.Hour, AccessKey: "a", SecretKey: "s"}
	bad := map[string]func(*Config){
		"region": func(c *Config) { c.Region = "" }, "bucket": func(c *Config) { c.Bucket = "" },
		"retention": func(c *Config) { c.Retention = 0 }, "half a credential": func(c *Config) { c.SecretKey = "" },
		"prefix without slash": func(c *Config) { c.Prefix = "p" }, "prefix": func(c *Config) { c.Prefix = "../" },
		"certificate": func(c *Config) { c.CAFile = "/does/not/exist" },
	}
	open(t, good)
	for name, change := range bad {
		c := good
		change(&c)
		if _, err := New(t.Context(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestCheckFindsMissingLock: a bucket without Object Lock is refused.
func TestCheckFindsMissingLock(t *testing.T) {
	server := testenv.S3(t)
	admin := open(t, config(server))
	plain := "plain-" + server.Bucket
	if _, err := admin.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &plain}); err != nil {
		t.Fatal(err)
	}
	cfg := config(server)
	cfg.Bucket = plain
	if err := open(t, cfg).Check(t.Context()); err == nil {
		t.Error("a bucket without Object Lock passed")
	}
	cfg.Bucket = "no-such-bucket"
	if err := open(t, cfg).Check(t.Context()); err == nil {
		t.Error("a missing bucket passed")
	}
}
