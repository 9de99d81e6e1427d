package e2e

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a TCP proxy in front of one server, so that a test can take the
// server away from the gateway, or make it hang, without stopping it.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	mode  mode
	conns map[net.Conn]bool
}

type mode int

const (
	pass   mode = iota
	refuse      // close at once what connects, and what is connected
	hang        // accept, and never answer
)

func newWire(target string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, target: target, conns: map[net.Conn]bool{}}
	go w.serve()
	return w, nil
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// set changes what happens to new connections, and breaks those that are open.
func (w *wire) set(t *testing.T, m mode) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode = m
	for c := range w.conns {
		_ = c.Close()
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mode = pass
	})
}

func (w *wire) serve() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.handle(c)
	}
}

func (w *wire) handle(c net.Conn) {
	w.mu.Lock()
	m := w.mode
	w.conns[c] = true
	w.mu.Unlock()
	defer func() {
		_ = c.Close()
		w.mu.Lock()
		delete(w.conns, c)
		w.mu.Unlock()
	}()
	switch m {
	case refuse:
		return
	case hang:
		_, _ = io.Copy(io.Discard, c)
		return
	case pass:
	}
	up, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, up)
}

// trap is an HTTP proxy that calls a function around the n-th request that
// matches, to kill the gateway exactly before or after a durable step.
type trap struct {
	server *http.Server
	url    string

	mu     sync.Mutex
	match  func(*http.Request) bool
	before func()
	after  func()
	fired  atomic.Bool
	fail   func(*http.Request) bool // answered by 503, and not passed on
	seen   atomic.Int64             // requests so far
}

func newTrap(target string) (*trap, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tr := &trap{url: "http://" + l.Addr().String()}
	proxy := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // the signature of an S3 request covers it
	}}
	tr.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.seen.Add(1)
		tr.mu.Lock()
		hit := tr.match != nil && tr.match(r)
		before, after := tr.before, tr.after
		failed := tr.fail != nil && tr.fail(r)
		if hit {
			tr.match = nil
			tr.fired.Store(true)
		}
		tr.mu.Unlock()
		if failed {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if hit && before != nil {
			before()
			return
		}
		if hit && after != nil {
			body := &recorder{header: http.Header{}}
			proxy.ServeHTTP(body, r) // stored, and never answered
			after()
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = tr.server.Serve(l) }()
	return tr, nil
}

// arm sets the trap for the next request that matches.
func (tr *trap) arm(match func(*http.Request) bool, before, after func()) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.match, tr.before, tr.after = match, before, after
	tr.fired.Store(false)
}

// refuse answers requests that match by 503 until it is called with nil.
func (tr *trap) refuse(match func(*http.Request) bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.fail = match
}

// recorder swallows an answer.
type recorder struct{ header http.Header }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(int)             {}
