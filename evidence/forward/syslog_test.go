package forward

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// peer is a receiver of syslog that ends connections in a way of its own.
type peer struct {
	net.Listener
	mu  sync.Mutex
	got int // bytes
}

// peers listens; after is called with a connection that was read to its end.
func peers(t *testing.T, after func(*tls.Conn, net.Conn)) (*peer, *tls.Config) {
	t.Helper()
	files := testenv.Certificates(t)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	p := &peer{Listener: l}
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}})
				n, err := io.Copy(io.Discard, c)
				p.mu.Lock()
				p.got += int(n)
				p.mu.Unlock()
				if err == nil {
					after(c, raw)
				}
			}()
		}
	}()
	return p, &tls.Config{RootCAs: certPool(t, files.CA), ServerName: "127.0.0.1"}
}

// TestSyslogReceiversOfOtherManners: one that closes without close_notify, or
// not at all, is found out by empty connections, and then believed.
func TestSyslogReceiversOfOtherManners(t *testing.T) {
	for name, c := range map[string]struct {
		after func(*tls.Conn, net.Conn)
		rude  bool
	}{
		"says close_notify": {func(c *tls.Conn, _ net.Conn) { _ = c.Close() }, false},
		"only closes":       {func(_ *tls.Conn, raw net.Conn) { _ = raw.Close() }, true},
		"stays":             {func(*tls.Conn, net.Conn) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, cfg := peers(t, c.after)
			s := NewSyslog(SyslogConfig{Address: p.Addr().String(), TLS: cfg})
			for try := 1; ; try++ {
				taken, err := s.Deliver(t.Context(), []Event{event(0), event(1)})
				if err != nil && c.rude && try < tries {
					p.mu.Lock()
					if p.got != 0 {
						t.Error("records were sent before the receiver's manners were known")
					}
					p.mu.Unlock()
					continue
				}
				if taken != 2 || err != nil || c.rude != (try == tries) {
					t.Fatalf("try %d: %d taken, %v", try, taken, err)
				}
				break
			}
			// What was believed is not, if the receiver does not answer any more.
			_ = p.Close()
			if taken, err := s.Deliver(t.Context(), []Event{event(2)}); taken != 0 || err == nil {
				t.Errorf("%d taken, %v", taken, err)
			}
		})
	}
}

// TestSyslogReceiverThatDies: a receiver that closes without a word because it
// died is not believed.
func TestSyslogReceiverThatDies(t *testing.T) {
	var p *peer
	dies := make(chan struct{})
	p, cfg := peers(t, func(_ *tls.Conn, raw net.Conn) {
		select {
		case <-dies:
			_ = p.Close()
		default:
		}
		_ = raw.Close()
	})
	s := NewSyslog(SyslogConfig{Address: p.Addr().String(), TLS: cfg})
	var err error
	for range tries {
		_, err = s.Deliver(t.Context(), []Event{event(0)})
	}
	must(t, err)
	close(dies)
	if taken, err := s.Deliver(t.Context(), []Event{event(1)}); taken != 0 || err == nil {
		t.Errorf("%d taken, %v", taken, err)
	}
}

// TestSyslogInClear is for this machine: octet counting, and the FIN for a word.
func TestSyslogInClear(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	got := make(chan string, 3)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			got <- string(b)
			_ = c.Close()
		}
	}()
	e := event(0)
	line, err := message(&e)
	must(t, err)
	if taken, err := NewSyslog(SyslogConfig{Address: l.Addr().String()}).Deliver(t.Context(), []Event{e}); taken != 1 || err != nil {
		t.Fatal(taken, err)
	}
	select {
	case text := <-got:
		if text != fmt.Sprintf("%d %s", len(line), line) {
			t.Errorf("%q", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing arrived")
	}
}
