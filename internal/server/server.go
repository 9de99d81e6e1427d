// Package server builds a gateway process from a configuration and runs it. It
// is the one place that knows every part; it decides nothing.
package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	chaperone "github.com/chaperone-sql/chaperone"
	"github.com/chaperone-sql/chaperone/api"
	"github.com/chaperone-sql/chaperone/approvals"
	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/credentials"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/forward"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
	"github.com/chaperone-sql/chaperone/worm"
)

// Server is a gateway process. Its parts start in New and end in Close.
type Server struct {
	cfg       *config.Config
	log       *evidence.Log
	leases    *credentials.Leases
	issuers   *Issuers
	reader    *evidence.Reader
	api       *api.Server
	audit     *auditing
	witnesses *witnesses
	forward   *forward.Forwarder
	logger    *slog.Logger

	// life ends with Close, and with it what runs beside requests.
	life   context.Context
	end    context.CancelFunc
	beside sync.WaitGroup
}

// revokers revoke side by side; outstanding leases bound how many credentials
// exist at once.
const (
	revokers    = 4
	outstanding = 128
)

// New builds every part, starts the evidence log, and settles what an earlier
// process of this instance left. It serves nothing yet.
func New(ctx context.Context, cfg *config.Config, version string, logger *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, logger: logger}
	store, err := OpenStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := store.Check(ctx); err != nil {
		return nil, fmt.Errorf("the store cannot keep evidence: %w", err)
	}
	auditors, err := Auditors(cfg)
	if err != nil {
		return nil, err
	}
	signer, err := SigningKey(cfg)
	if err != nil {
		return nil, err
	}
	keys := []byte(signer.VerifierKey() + "\n")
	if cfg.Evidence.VerifierKeys != "" {
		if keys, err = os.ReadFile(cfg.Evidence.VerifierKeys); err != nil {
			return nil, err
		}
	}
	trusted, err := evidence.ParseVerifiers(keys)
	if err != nil {
		return nil, err
	}
	if s.witnesses, err = newWitnesses(cfg); err != nil {
		return nil, err
	}
	s.log, err = evidence.Open(ctx, evidence.Config{
		Store: store, Name: cfg.Instance, Signer: signer, Auditors: auditors, GatewayVersion: version,
		ConfigDigest: digest(cfg), Heartbeat: time.Duration(cfg.Evidence.Heartbeat), Observe: time.Duration(cfg.Evidence.Observe),
		Witnesses: s.witnesses.clients, OnWitness: s.witnesses.count, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	s.reader = evidence.NewReader(store, trusted)
	if s.issuers, err = NewIssuers(cfg, time.Now); err != nil {
		return nil, errors.Join(err, s.log.Close(ctx))
	}
	s.leases, err = credentials.NewLeases(credentials.LeasesConfig{
		Issuer: s.issuers, Workers: revokers, Outstanding: outstanding, OnRevoked: s.revoked, Clock: time.Now, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, s.log.Close(ctx))
	}
	s.recover(ctx)
	// What runs beside requests outlives ctx, which bounds the start only.
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	bundles := bundle.Config{Store: store, Trusted: trusted, Signer: signer, Keys: keys,
		Maker: "gateway " + cfg.Instance + ", version " + version, Parts: BundleParts(), Clock: time.Now}
	if s.api, err = s.build(ctx, store, auditors, bundles, version); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	if s.forward, err = s.startForwarding(); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	if s.audit != nil {
		s.beside.Go(func() { s.audit.index.Run(s.life, indexEvery) })
	}
	if cfg.Evidence.DailyBundles {
		daily := &bundle.Daily{Log: s.log, Logger: logger, Config: bundles}
		s.beside.Go(func() { daily.Run(s.life) })
	}
	return s, nil
}

// build makes the HTTP server and everything behind it.
func (s *Server) build(ctx context.Context, store worm.Store, auditors []age.Recipient, bundles bundle.Config,
	version string,
) (*api.Server, error) {
	cfg := s.cfg
	key, recipient, err := approvalKey(cfg)
	if err != nil {
		return nil, err
	}
	requests, err := approvals.New(approvals.Config{
		Store: store, Clock: time.Now, Key: key, Recipients: append([]age.Recipient{recipient}, auditors...),
		TimeOf: evidence.QueryTime, Longest: time.Duration(cfg.Approvals.Expires),
	})
	if err != nil {
		return nil, err
	}
	rules, err := cfg.Rules()
	if err != nil {
		return nil, err
	}
	decider, err := policy.New(rules)
	if err != nil {
		return nil, err
	}
	tokens, err := Tokenizer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.recordStart(ctx, startup{signer: bundles.Signer, rules: rules, policy: decider.Version(), version: version,
		tokens: tokens.Fingerprint(), approvals: fmt.Sprint(recipient)}); err != nil {
		return nil, err
	}
	detectors, err := masking.NewDetectors(masking.DetectorConfig{Names: cfg.Masking.Detectors, MRNPattern: cfg.Masking.MRNPattern})
	if err != nil {
		return nil, err
	}
	databases, err := Databases(cfg)
	if err != nil {
		return nil, err
	}
	verifier, err := newVerifier(cfg, time.Now)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gateway.Config{
		Databases: databases, Policy: decider, Leases: s.leases, Log: s.log, Recordings: s.reader, Requests: requests,
		Store: store, Tokens: tokens, Detectors: detectors, Limits: limits(cfg), PublicURL: cfg.PublicURL,
		ApprovalTTL: time.Duration(cfg.Approvals.Expires), Decode: api.DecodeQuery, Clock: time.Now, Logger: s.logger,
		Probes: map[string]func(context.Context) error{
			"evidence": func(context.Context) error { return s.log.Ready() },
			"identity": verifier.Ready,
		},
	})
	if err != nil {
		return nil, err
	}
	people, sessions, loginKey, err := login(cfg, verifier, time.Now)
	if err != nil {
		return nil, err
	}
	out := api.Config{
		Gateway: g, Auth: verifier, Registry: s.metrics(), Logger: s.logger, PublicURL: cfg.PublicURL, Issuer: cfg.Identity.Issuer,
		BodyLimit: int(cfg.Limits.Body), Concurrency: cfg.Limits.Concurrency, Connections: 4 * cfg.Limits.Concurrency,
		MaxTimeout: time.Duration(cfg.Limits.MaxTimeout), OpenAPI: chaperone.OpenAPI, Version: version, Clock: time.Now,
	}
	if people != nil { // a nil pointer in an interface would not be nil
		out.Login, out.Sessions, out.LoginKey = people, sessions, masking.Secret(loginKey)
	}
	if s.audit, err = s.newAuditing(store, g, bundles); err != nil {
		return nil, err
	}
	out.Auditing = s.audit
	return api.New(out)
}

func limits(cfg *config.Config) gateway.Limits {
	l := cfg.Limits
	return gateway.Limits{
		DefaultRows: l.Rows, MaxRows: l.MaxRows, DefaultBytes: int64(l.Bytes), MaxBytes: int64(l.MaxBytes),
		DefaultTimeout: time.Duration(l.Timeout), MaxTimeout: time.Duration(l.MaxTimeout), LockTimeout: time.Duration(l.LockTimeout),
		Concurrency: l.Concurrency, PerPrincipal: l.PerPrincipal, LookupsPerHour: cfg.Masking.LookupsPerHour,
	}
}

// metrics registers what the parts count.
func (s *Server) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chaperone_leases", Help: "Database credentials that are in use or wait to be revoked.",
	}, func() float64 { return float64(s.leases.Waiting()) }), s.witnesses.asked, s.witnesses.last)
	if len(s.cfg.Evidence.Forward) > 0 {
		r.MustRegister(forwarding{s})
	}
	return r
}

// revoked records the end of a lease. It is off the response path; if it cannot
// be queued, the next start finds the lease open and revokes it again.
func (s *Server) revoked(l *credentials.Lease, err error) {
	r := &evidence.Record{Type: evidence.TypeLeaseRevoked, QueryID: l.QueryID, Connection: l.Connection, Lease: &evidence.Lease{
		ID: l.ID, Username: l.Username, Access: string(l.Access), IssuedAt: l.IssuedAt.UTC(), ExpiresAt: l.ExpiresAt.UTC(),
	}}
	if err != nil {
		r.Note = "it could not be revoked and was left to its TTL"
	}
	if err := s.log.AppendAsync(r); err != nil {
		s.logger.Warn("the end of a credential was not recorded", "lease", l.ID, "error", err)
	}
}

// recover looks at what an earlier process of this instance left, says so, and
// revokes the credentials that it knows of. It never runs a statement again.
func (s *Server) recover(ctx context.Context) {
	left, err := s.reader.Tail(ctx, s.cfg.Instance, s.log.Writer(), time.Now().Add(-24*time.Hour))
	if err != nil {
		s.logger.Error("what the predecessor left could not be read; its credentials end by their TTL", "error", err)
		return
	}
	if left == nil || left.PredecessorWriter == "" {
		return
	}
	s.logger.Info("found the predecessor", "predecessor", left.PredecessorWriter, "unclean_end", left.UncleanEnd,
		"leases_left", len(left.Leases), "queries_interrupted", len(left.Intents))
	if !left.UncleanEnd && len(left.Leases) == 0 && len(left.Intents) == 0 {
		return
	}
	for _, l := range left.Leases {
		lease := &credentials.Lease{ID: l.Lease.ID, Connection: l.Connection, QueryID: l.QueryID,
			Access: credentials.Access(l.Lease.Access), Username: l.Lease.Username,
			IssuedAt: l.Lease.IssuedAt, ExpiresAt: l.Lease.ExpiresAt}
		if lease.ExpiresAt.Before(time.Now()) {
			s.revoked(lease, nil) // its TTL ended it
			continue
		}
		err := s.issuers.Revoke(ctx, lease.Connection, lease.ID)
		s.revoked(lease, err)
	}
	for _, q := range left.Intents {
		if err := s.log.AppendAsync(&evidence.Record{Type: evidence.TypeRecovered, QueryID: q.QueryID, SessionID: q.SessionID,
			Connection: q.Connection, Note: "interrupted: the gateway stopped while this query was in work"}); err != nil {
			s.logger.Warn("an interrupted query was not recorded", "query_id", q.QueryID, "error", err)
		}
	}
	note := fmt.Sprintf("the predecessor %s left %d leases and %d queries without an outcome", left.PredecessorWriter,
		len(left.Leases), len(left.Intents))
	if err := s.log.AppendAsync(&evidence.Record{Type: evidence.TypeRecovered, Note: note}); err != nil {
		s.logger.Warn("what the predecessor left was not recorded", "error", err)
	}
	if s.issuers.native != nil {
		if err := s.issuers.native.Reap(ctx); err != nil {
			s.logger.Warn("users that a crash left were not dropped", "error", err)
		}
	}
}

// Writer is the name of this process in evidence.
func (s *Server) Writer() string { return s.log.Writer() }

// Reader reads the recordings.
func (s *Server) Reader() *evidence.Reader { return s.reader }

// Serve answers requests on l until Shutdown.
func (s *Server) Serve(l net.Listener) error { return s.api.Serve(l) }

// Close ends everything in order: no more requests, every credential revoked,
// the log closed cleanly.
func (s *Server) Close(ctx context.Context) error {
	var all []error
	if s.api != nil {
		all = append(all, s.api.Shutdown(ctx))
	}
	if s.end != nil {
		s.end()
		s.beside.Wait()
	}
	if s.audit != nil {
		all = append(all, s.audit.close())
	}
	all = append(all, s.leases.Close(ctx), s.log.Close(ctx))
	if s.forward != nil { // what closing recorded is forwarded, too
		s.endForwarding(ctx)
	}
	return errors.Join(all...)
}

// digest names a configuration in evidence without showing it. It holds no
// secret: those are references.
func digest(cfg *config.Config) string {
	b, err := json.Marshal(cfg)
	if err != nil {
		panic("server: " + err.Error()) // plain structs
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
