package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Toxic is a network between this machine and a server that can be made bad
// (Shopify's toxiproxy).
type Toxic struct {
	tb  testing.TB
	api string
	// Addr is where the server is reached through it.
	Addr string
}

// Toxiproxy puts a proxy before the server at an address.
func Toxiproxy(tb testing.TB, upstream string) *Toxic {
	tb.Helper()
	server, err := program("toxiproxy-server")
	must(tb, err)
	port, err := freePort()
	must(tb, err)
	front, err := freePort()
	must(tb, err)
	p, err := startProcess(filepath.Join(serverDir(tb), "toxiproxy.log"), "", false, nil, server, "-host", "127.0.0.1", "-port", strconv.Itoa(port))
	must(tb, err)
	tb.Cleanup(func() { p.stop(quitOther) })
	t := &Toxic{tb: tb, api: fmt.Sprintf("http://127.0.0.1:%d", port), Addr: fmt.Sprintf("127.0.0.1:%d", front)}
	must(tb, p.ready(startContext(tb), "toxiproxy", func(ctx context.Context) error { return t.call(ctx, http.MethodGet, "/version", nil) }))
	t.do(http.MethodPost, "/proxies", map[string]any{"name": "p", "listen": t.Addr, "upstream": strings.TrimPrefix(upstream, "http://"), "enabled": true})
	return t
}

// Add makes the network bad: a kind of toxiproxy's with its attributes.
// downstream is from the server to the client.
func (t *Toxic) Add(kind string, downstream bool, attributes map[string]any) {
	t.tb.Helper()
	stream := "upstream"
	if downstream {
		stream = "downstream"
	}
	t.do(http.MethodPost, "/proxies/p/toxics", map[string]any{"name": kind, "type": kind, "stream": stream, "attributes": attributes})
}

// Enable lets connections through, or refuses and cuts them.
func (t *Toxic) Enable(on bool) {
	t.tb.Helper()
	t.do(http.MethodPost, "/proxies/p", map[string]any{"enabled": on})
}

// Heal removes everything that is bad.
func (t *Toxic) Heal() {
	t.tb.Helper()
	t.do(http.MethodPost, "/reset", nil)
}

func (t *Toxic) do(method, path string, body any) {
	t.tb.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	must(t.tb, t.call(ctx, method, path, body))
}

func (t *Toxic) call(ctx context.Context, method, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, t.api+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("toxiproxy: %s %s: %s", method, path, res.Status)
	}
	return nil
}

// SmallS3 is an S3 server of its own on a file system of so many bytes, with a
// fresh bucket: it can be filled. It needs root, or sudo.
func SmallS3(tb testing.TB, size int) (store *ObjectStore, grow func(size int)) {
	tb.Helper()
	ctx := startContext(tb)
	dir := serverDir(tb)
	mount := func(options string) {
		tb.Helper()
		must(tb, asRoot(ctx, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir))
	}
	mount("mode=1777,size=" + strconv.Itoa(size)) // also for whoever is not root
	tb.Cleanup(func() { _ = asRoot(context.Background(), "umount", "-l", dir) })
	server, p, err := startS3(ctx, dir, false)
	must(tb, err)
	tb.Cleanup(func() { p.stop(quitOther) })
	store, err = freshBucket(ctx, server, strings.ReplaceAll(randomName("t"), "_", "-"))
	must(tb, err)
	return store, func(size int) { tb.Helper(); mount("remount,size=" + strconv.Itoa(size)) }
}

// asRoot runs a program as root.
func asRoot(ctx context.Context, name string, args ...string) error {
	if os.Geteuid() != 0 {
		return runAs(ctx, "", "sudo", append([]string{"-n", name}, args...)...)
	}
	return runAs(ctx, "", name, args...)
}
