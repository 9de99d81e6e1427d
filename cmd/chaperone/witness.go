package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/witness"
)

// witnessFlags are what both commands of a witness need.
type witnessFlags struct{ key, state string }

func (w *witnessFlags) define(f *flag.FlagSet) {
	f.StringVar(&w.key, "key", "", "private key file, made by `chaperone keys witness`")
	f.StringVar(&w.state, "state", "", "folder of what was cosigned; never put it back to an older one")
}

// witnessCommand runs a witness of gateways' logs (c2sp.org/tlog-witness), or
// prints what it cosigned last.
func witnessCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 0 && args[0] == "checkpoints" {
		return witnessCheckpoints(args[1:], out)
	}
	var w witnessFlags
	var address, gateways, cert, certKey string
	var begin bool
	if _, err := flags("witness", args, func(f *flag.FlagSet) {
		w.define(f)
		f.StringVar(&address, "listen", "", "host:port; what is not loopback needs --tls-cert")
		f.StringVar(&gateways, "gateways", "", "file of the gateways' public keys, one a line")
		f.BoolVar(&begin, "init", false, "make the state: once for a key")
		f.StringVar(&cert, "tls-cert", "", "PEM file of the certificate and its chain")
		f.StringVar(&certKey, "tls-key", "", "PEM file of its private key")
	}); err != nil {
		return err
	}
	if address == "" || w.key == "" || gateways == "" || w.state == "" {
		return errors.New("give --listen, --key, --gateways and --state")
	}
	signer, err := witness.LoadSigner(w.key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(gateways) // #nosec G304 -- the operator names the file
	if err != nil {
		return err
	}
	keys, err := evidence.ParseVerifierList(text)
	if err != nil {
		return err
	}
	if begin {
		if err := witness.Init(w.state, signer); err != nil {
			return err
		}
	}
	logger := slog.New(slog.NewJSONHandler(errs, nil))
	server, err := witness.New(w.state, signer, keys, logger)
	if err != nil {
		return err
	}
	l, err := witnessListener(ctx, address, cert, certKey)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	fmt.Fprintln(out, signer.Verifier().String())
	logger.Info("witnessing", "address", l.Addr().String(), "gateways", len(keys))
	return errors.Join(serveWitness(ctx, l, server.Handler()), server.Close())
}

// witnessListener listens with TLS, or on loopback only.
func witnessListener(ctx context.Context, address, cert, key string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if cert == "" && !loopback.Is(host) {
		return nil, errors.New("listening: an address that is not loopback needs --tls-cert and --tls-key")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil || cert == "" {
		return l, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the certificate: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

func serveWitness(ctx context.Context, l net.Listener, handler http.Handler) error {
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute, MaxHeaderBytes: 8 << 10}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	return s.Shutdown(drain)
}

func witnessCheckpoints(args []string, out io.Writer) error {
	var w witnessFlags
	if _, err := flags("witness checkpoints", args, w.define); err != nil {
		return err
	}
	if w.key == "" || w.state == "" {
		return errors.New("give --key and --state")
	}
	signer, err := witness.LoadSigner(w.key)
	if err != nil {
		return err
	}
	list, err := witness.Checkpoints(w.state, signer.Verifier())
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"checkpoints": list})
}
