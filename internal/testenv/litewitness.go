package testenv

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"filippo.io/torchwood"
)

// Litewitness is an independent witness of transparency logs: torchwood's own
// server (c2sp.org/tlog-witness).
type Litewitness struct {
	tb testing.TB
	db string
	// URL is its submission prefix, Key its verifier key.
	URL, Key string
}

// StartLitewitness runs one, with its key in an SSH agent, as it wants it.
func StartLitewitness(tb testing.TB) *Litewitness {
	tb.Helper()
	server, err := program("litewitness")
	must(tb, err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(tb, err)
	signer, err := torchwood.NewCosignatureSigner("litewitness.test/w1", key)
	must(tb, err)
	public, err := ssh.NewPublicKey(key.Public())
	must(tb, err)
	port, err := freePort()
	must(tb, err)
	w := &Litewitness{tb: tb, db: filepath.Join(serverDir(tb), "litewitness.db"), URL: fmt.Sprintf("http://127.0.0.1:%d", port),
		Key: signer.Verifier().String()}
	p, err := startProcess(filepath.Join(serverDir(tb), "litewitness.log"), "", false, nil, server, "-db", w.db,
		"-name", signer.Name(), "-ssh-agent", sshAgent(tb, key), "-key", ssh.FingerprintSHA256(public),
		"-listen", fmt.Sprintf("127.0.0.1:%d", port))
	must(tb, err)
	tb.Cleanup(func() { p.stop(quitOther) })
	must(tb, p.ready(startContext(tb), "litewitness", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}))
	return w
}

// sshAgent serves a key over a socket, whose path must be short.
func sshAgent(tb testing.TB, key ed25519.PrivateKey) string {
	tb.Helper()
	keyring := agent.NewKeyring()
	must(tb, keyring.Add(agent.AddedKey{PrivateKey: key}))
	dir, err := os.MkdirTemp("", "agent")
	must(tb, err)
	tb.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(tb, err)
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(keyring, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// addLog does what `witnessctl add-log` and `add-key` do, which cannot be built
// here: a dependency of theirs is not to be had.
const addLog = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
db.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (sys.argv[2], "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="))
db.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (sys.argv[2], sys.argv[3]))
db.commit()
`

// AddLog makes an origin known with its verifier key.
func (w *Litewitness) AddLog(origin, key string) {
	w.tb.Helper()
	if out, err := exec.Command("python3", "-c", addLog, w.db, origin, key).CombinedOutput(); err != nil {
		w.tb.Fatalf("adding a log to litewitness: %v\n%s", err, out)
	}
}
