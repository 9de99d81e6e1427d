package forward

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/chaperone-sql/chaperone/internal/testenv"
)

// hook is a receiver of Standard Webhooks, verified by their library. It answers
// only for what it has kept.
type hook struct {
	t      *testing.T
	verify *standardwebhooks.Webhook
	addr   string

	mu   sync.Mutex
	all  []testenv.Received
	http *http.Server
}

func hooks(t *testing.T) *receiver {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	h := &hook{t: t, verify: verify, addr: "127.0.0.1:0"}
	h.up()
	t.Cleanup(h.down)
	return &receiver{Receiver: testenv.NewReceiver(t, h.addr, func() []testenv.Received {
		h.mu.Lock()
		defer h.mu.Unlock()
		return append([]testenv.Received{}, h.all...)
	}), down: h.down, up: h.up}
}

func (h *hook) up() {
	l, err := net.Listen("tcp", h.addr)
	must(h.t, err)
	h.addr = l.Addr().String()
	server := &http.Server{Handler: h}
	h.http = server
	go func() { _ = server.Serve(l) }()
}

// down cuts every connection, as a crash does.
func (h *hook) down() { _ = h.http.Close() }

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if err := h.verify.Verify(body, r.Header); err != nil {
		h.t.Errorf("a signature does not verify: %v", err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.mu.Lock()
	h.all = append(h.all, testenv.Received{ID: r.Header.Get(standardwebhooks.HeaderWebhookID), Body: string(body)})
	h.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
