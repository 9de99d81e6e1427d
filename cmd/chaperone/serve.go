package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/internal/server"
)

// drainTime is how long requests in work have to end after a signal.
const drainTime = 30 * time.Second

// serve runs the gateway until it is told to stop.
func serve(ctx context.Context, args []string, errs io.Writer) error {
	var path string
	if _, err := flags("serve", args, func(f *flag.FlagSet) { f.StringVar(&path, "config", "", "configuration file") }); err != nil {
		return err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	logger := newLogger(cfg, errs)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := server.New(starting, cfg, version, logger)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	l, err := listen(ctx, cfg)
	if err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	logger.Info("serving", "address", l.Addr().String(), "writer", s.Writer(), "version", version)
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		logger.Info("stopping")
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer stop()
	return errors.Join(err, s.Close(drain))
}

func listen(ctx context.Context, cfg *config.Config) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if cfg.TLS.CertFile == "" {
		return l, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the certificate: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

func newLogger(cfg *config.Config, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // checked by config
	options := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}
