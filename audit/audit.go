// Package audit is what auditors see of evidence through the gateway: searches,
// the records of one query, a session as it happened, bundles. It releases
// nothing before the look itself is durably recorded (45 CFR 164.312(b)), and
// shows records of those connections only that the person audits.
//
// What it shows was read from verified segments. That nothing is missing is not
// for it to say: that is what verification and bundles are for.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
)

// Index finds records. index.Index is one.
type Index interface {
	Search(ctx context.Context, q index.Query) (*index.Page, error)
	Refresh(ctx context.Context) error
	State() index.State
}

// Reader reads verified records. evidence.Reader is one.
type Reader interface {
	Find(ctx context.Context, queryID string) ([]evidence.Record, error)
	FindRecord(ctx context.Context, recordID string) (*evidence.Record, error)
	RecordIn(ctx context.Context, recordID string, segment uint64) (*evidence.Record, error)
}

// Recorder makes a record durable. evidence.Log is one.
type Recorder interface {
	Append(ctx context.Context, r *evidence.Record) (evidence.Receipt, error)
}

// Rejecter records a refusal. gateway.Gateway is one.
type Rejecter interface {
	Reject(ctx context.Context, p *identity.Principal, problem *gateway.Problem, m gateway.Meta, connection string) *gateway.Problem
}

// Bundles gives evidence bundles.
type Bundles interface {
	// Days lists the stored bundles of days, newest first.
	Days(ctx context.Context) ([]Day, error)
	// Open streams the bundle of a day; worm.ErrNotFound if there is none. ctx
	// governs the stream, which the caller closes.
	Open(ctx context.Context, day time.Time) (io.ReadCloser, int64, error)
	// Make makes a bundle of what the filter chooses.
	Make(ctx context.Context, f evidence.Filter, out io.Writer) error
}

// Day is the stored bundle of a day.
type Day struct {
	// Day is its begin, UTC.
	Day time.Time
	// Size is in bytes.
	Size   int64
	Stored time.Time
}

// Config is what a Service is made of. Every field must be set.
type Config struct {
	Index   Index
	Reader  Reader
	Log     Recorder
	Rejects Rejecter
	Bundles Bundles
	Logger  *slog.Logger
	Clock   func() time.Time
	// Temp is a folder for bundles while they are made; "" is the system's.
	Temp string
}

// Service answers auditors. It is safe for concurrent use.
type Service struct {
	cfg Config
	// making is held while a bundle is made: it takes disk and processor.
	making chan struct{}
}

// New checks the configuration.
func New(cfg Config) (*Service, error) {
	if cfg.Index == nil || cfg.Reader == nil || cfg.Log == nil || cfg.Rejects == nil || cfg.Bundles == nil || cfg.Logger == nil || cfg.Clock == nil {
		return nil, errors.New("audit: a required part of the configuration is missing")
	}
	return &Service{cfg: cfg, making: make(chan struct{}, 1)}, nil
}

const (
	// recordTimeout bounds the wait for the record of a look.
	recordTimeout = 10 * time.Second
	// refreshTimeout bounds how long a search waits for the index.
	refreshTimeout = 3 * time.Second
)

// May reports whether a person audits any connection.
func May(p *identity.Principal) bool {
	s := scopeOf(p)
	return s.all || len(s.connections) > 0
}

// scope is what an auditor may see.
type scope struct {
	// all includes what belongs to no connection: sign-ins, writers, other
	// auditors' looks.
	all         bool
	connections []string
}

func scopeOf(p *identity.Principal) scope {
	s := scope{all: slices.Contains(p.Roles["*"], identity.Auditor), connections: []string{}}
	for name, roles := range p.Roles {
		if name != "*" && slices.Contains(roles, identity.Auditor) {
			s.connections = append(s.connections, name)
		}
	}
	slices.Sort(s.connections)
	return s
}

// holds reports whether the records of a connection are within the scope.
func (s scope) holds(connection string) bool {
	return s.all || slices.Contains(s.connections, connection)
}

// enter refuses everybody who is no auditor, and records that.
func (s *Service) enter(ctx context.Context, p *identity.Principal, m gateway.Meta) (scope, error) {
	sc := scopeOf(p)
	if sc.all || len(sc.connections) > 0 {
		return sc, nil
	}
	return sc, s.cfg.Rejects.Reject(ctx, p, Forbidden(), m, "")
}

// Forbidden is the answer to whoever is no auditor.
func Forbidden() *gateway.Problem {
	return &gateway.Problem{Code: gateway.CodeForbidden, Detail: "Only auditors may look at evidence, and you do not hold that role."}
}

// enterAll refuses auditors of some connections, too.
func (s *Service) enterAll(ctx context.Context, p *identity.Principal, m gateway.Meta) error {
	sc, err := s.enter(ctx, p, m)
	if err != nil || sc.all {
		return err
	}
	return s.cfg.Rejects.Reject(ctx, p, &gateway.Problem{Code: gateway.CodeForbidden,
		Detail: "A bundle holds the records of every connection. You audit only: " + strings.Join(sc.connections, ", ") + "."}, m, "")
}

// look is what an auditor looked at, as it is recorded.
type look struct {
	// what is search, query, session, record, bundles, bundle or new bundle.
	what string
	// taken says that a bundle leaves: evidence.exported.
	taken bool
	// query, session and connection are set if records of them were found.
	query, session, connection string
	// asked is what was asked for. It goes into the clear part only if known.
	asked map[string]string
	// known says that some record has what was asked for in its own clear part.
	// What no record has may be anything that a person typed, such as a name.
	known bool
	// facts are of the gateway's own making.
	facts map[string]string
}

// record makes a look durable. Nothing may be shown if it fails.
func (s *Service) record(ctx context.Context, p *identity.Principal, l look, m gateway.Meta) (string, error) {
	r := &evidence.Record{Type: evidence.TypeRead, QueryID: l.query, SessionID: l.session, Connection: l.connection,
		RequestID: m.RequestID, Actor: gateway.ActorOf(p, m), Data: map[string]string{"transport": m.Transport, "what": l.what}}
	if l.taken {
		r.Type = evidence.TypeExported
	}
	if m.Origin != "" {
		r.Data["followed_from"] = m.Origin
	}
	for name, value := range l.facts {
		r.Data[name] = value
	}
	if l.known {
		for name, value := range l.asked {
			r.Data["asked_"+name] = value
		}
	} else if len(l.asked) > 0 {
		text, err := json.Marshal(l.asked)
		if err != nil {
			return "", err
		}
		r.Data["asked"] = "sealed: no record has it"
		r.Secret = &evidence.Secret{Comment: string(text)}
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer stop()
	receipt, err := s.cfg.Log.Append(ctx, r)
	if err != nil {
		s.cfg.Logger.Warn("a look at evidence could not be recorded and was refused", "error", err)
		return "", &gateway.Problem{Code: gateway.CodeEvidence, Retryable: true, RetryAfter: 2 * time.Second,
			Detail: "That you looked could not be recorded, so nothing is shown."}
	}
	return receipt.RecordID, nil
}

// problem says what an error of reading means for the auditor.
func (s *Service) problem(err error) error {
	var known *gateway.Problem
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, worm.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &gateway.Problem{Code: gateway.CodeEvidence, Retryable: true, RetryAfter: 2 * time.Second,
			Detail: "The store of the evidence cannot be read now."}
	}
	s.cfg.Logger.Error("reading evidence for an auditor", "error", err)
	return &gateway.Problem{Code: gateway.CodeInternal, Detail: "Something went wrong inside the gateway. Nothing is shown."}
}

// notFound is the same for what is not there and what the auditor may not see.
func notFound() *gateway.Problem {
	return &gateway.Problem{Code: gateway.CodeNotFound, Detail: "No record of this is found, or it is of a connection that you do not audit."}
}
