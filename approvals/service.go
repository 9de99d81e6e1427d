package approvals

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/worm"
)

// maxObject bounds what is read of one object: a request body of 4 MiB, sealed
// and in base64, with room.
const maxObject = 16 << 20

// Config of a Service.
type Config struct {
	Store worm.Store
	// Clock is time.Now in production.
	Clock func() time.Time
	// Key opens sealed statements; it is the same for all gateways.
	Key age.Identity
	// Recipients that a sealed statement is encrypted to: Key's own and the
	// auditors'.
	Recipients []age.Recipient
	// TimeOf reads the time in a query id.
	TimeOf func(id string) (time.Time, error)
	// Longest is the longest that a request can wait, so that listing the open
	// ones need not look further back.
	Longest time.Duration
}

// Service keeps requests in a write-once store.
//
// A request lives under approvals/<yyyy/mm/dd/hh>/<id>/ (the hour is the id's
// own), as objects that are each created once:
//
//	request        what waits
//	vote-<hash>    one for each approver
//	verdict        approved, denied, cancelled: the first to create it decides
//	claim          one gateway runs it
//	outcome        how that ended
//
// A crash between any two leaves a state that Get can tell: votes without a
// verdict are completed by the next vote or claim; a claim without an outcome
// is interrupted after its deadline.
type Service struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Clock == nil || cfg.Key == nil || len(cfg.Recipients) == 0 || cfg.TimeOf == nil || cfg.Longest <= 0 {
		return nil, errors.New("approvals: a required part of the configuration is missing")
	}
	return &Service{cfg}, nil
}

// verdict is the end of voting.
type verdict struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	State   State     `json:"state"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Nonce   string    `json:"nonce"`
}

// Root is where all requests are kept. Keys below it sort by the time of requests.
const Root = "approvals/"

// Hour is where requests made in an hour are kept; a request's folder there is
// called as its identifier.
func Hour(t time.Time) string { return Root + t.UTC().Format("2006/01/02/15") + "/" }

// dir is where a request is kept. A malformed id is a request that is not there.
func (s *Service) dir(id string) (string, error) {
	at, err := s.cfg.TimeOf(id)
	if err != nil || strings.ContainsAny(id, "/.") {
		return "", ErrNotFound
	}
	return Hour(at) + id + "/", nil
}

// Create files a request. The secret is sealed before anything is stored.
func (s *Service) Create(ctx context.Context, r Request, secret Secret) error {
	dir, err := s.dir(r.ID)
	if err != nil {
		return fmt.Errorf("filing an approval request: malformed id")
	}
	if r.Sealed, err = s.seal(secret); err != nil {
		return err
	}
	return s.put(ctx, dir+"request", r)
}

// Get tells where a request stands by now.
func (s *Service) Get(ctx context.Context, id string) (*Status, error) {
	dir, err := s.dir(id)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, dir, id)
}

func (s *Service) read(ctx context.Context, dir, id string) (*Status, error) {
	var st Status
	found, err := s.get(ctx, dir+"request", &st.Request)
	if err != nil {
		return nil, err
	}
	if !found || st.Request.ID != id {
		return nil, ErrNotFound
	}
	var names []string
	err = s.cfg.Store.List(ctx, dir, "", func(e worm.Entry) bool {
		names = append(names, strings.TrimPrefix(e.Key, dir))
		return len(names) < 1000
	})
	if err != nil {
		return nil, unavailable(err)
	}
	var v verdict
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "vote-"):
			var vote Vote
			if _, err := s.get(ctx, dir+name, &vote); err != nil {
				return nil, err
			}
			st.Votes = append(st.Votes, vote)
		case name == "verdict":
			if _, err := s.get(ctx, dir+name, &v); err != nil {
				return nil, err
			}
		case name == "claim":
			st.Claim = &Claim{}
			if _, err := s.get(ctx, dir+name, st.Claim); err != nil {
				return nil, err
			}
		case name == "outcome":
			st.Outcome = &Outcome{}
			if _, err := s.get(ctx, dir+name, st.Outcome); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(st.Votes, func(a, b Vote) int { return a.At.Compare(b.At) })
	st.State = s.state(&st, v.State)
	return &st, nil
}

// state derives the state from the objects and the clock.
func (s *Service) state(st *Status, verdict State) State {
	now := s.cfg.Clock()
	switch {
	case st.Outcome != nil:
		return st.Outcome.State
	case st.Claim != nil && now.After(st.Claim.Deadline):
		return Interrupted
	case st.Claim != nil:
		return Running
	case verdict == Denied, verdict == Cancelled:
		return verdict
	case !now.Before(st.Request.Expires):
		return Expired
	case verdict == Approved:
		return Approved
	}
	return Pending
}

// OpenSecret decrypts what the request sealed, to show it to an approver or to
// run it.
func (s *Service) OpenSecret(ctx context.Context, id string) (*Secret, error) {
	status, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(status.Request.Sealed), s.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("opening an approval request: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxObject))
	if err != nil {
		return nil, fmt.Errorf("opening an approval request: %w", err)
	}
	var secret Secret
	if err := decode(text, &secret); err != nil {
		return nil, fmt.Errorf("opening an approval request: %w", err)
	}
	return &secret, nil
}

func (s *Service) seal(secret Secret) ([]byte, error) {
	text, err := json.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("sealing an approval request: %w", err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, s.cfg.Recipients...)
	if err != nil {
		return nil, fmt.Errorf("sealing an approval request: %w", err)
	}
	if _, err = w.Write(text); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("sealing an approval request: %w", err)
	}
	return out.Bytes(), nil
}

// Decide casts a vote. A denial ends the matter; an approval does once as many
// approved as the request asks for. The requester, and the person on whose
// behalf it was made, never can.
func (s *Service) Decide(ctx context.Context, id string, vote Vote) (*Status, error) {
	status, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r := status.Request
	switch {
	case vote.Approver == "", vote.ID != id, vote.Binding != r.Binding:
		return nil, errors.New("deciding: the vote is not for this request")
	case vote.Approver == r.Requester, vote.Approver == r.OnBehalfOf:
		return nil, ErrOwnRequest
	case status.State == Expired:
		return nil, ErrExpired
	case status.State == Cancelled:
		return nil, ErrCancelled
	case status.State != Pending:
		return nil, ErrAlreadyDecided
	}
	dir, err := s.dir(id)
	if err != nil {
		return nil, err
	}
	who := sha256.Sum256([]byte(vote.Approver))
	err = s.put(ctx, dir+"vote-"+hex.EncodeToString(who[:8]), vote)
	if errors.Is(err, worm.ErrExists) {
		return nil, ErrAlreadyDecided // each approver has one vote
	}
	if err != nil {
		return nil, err
	}
	if status, err = s.Get(ctx, id); err != nil {
		return nil, err
	}
	end := counted(status)
	if end == Pending {
		return status, nil
	}
	err = s.put(ctx, dir+"verdict", verdict{1, id, end, vote.Approver, vote.At, vote.Nonce})
	if err != nil && !errors.Is(err, worm.ErrExists) {
		return nil, err
	}
	decided, getErr := s.Get(ctx, id)
	if getErr == nil && err != nil && decided.State != end {
		return nil, ErrAlreadyDecided // somebody else was first, and decided otherwise
	}
	return decided, getErr
}

// counted is what the votes amount to.
func counted(s *Status) State {
	approved := 0
	for _, v := range s.Votes {
		if !v.Approve {
			return Denied
		}
		approved++
	}
	if approved >= max(1, s.Request.Approvals) {
		return Approved
	}
	return Pending
}

// Cancel withdraws a request that is not claimed. Only its requester may.
func (s *Service) Cancel(ctx context.Context, id, requester string) (*Status, error) {
	status, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case status.Request.Requester != requester:
		return nil, ErrNotFound
	case status.State == Cancelled:
		return status, nil
	case status.State == Expired:
		return nil, ErrExpired
	case status.State != Pending:
		return nil, ErrAlreadyDecided
	}
	dir, err := s.dir(id)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Clock().UTC()
	err = s.put(ctx, dir+"verdict", verdict{1, id, Cancelled, requester, now, now.String()})
	if errors.Is(err, worm.ErrExists) {
		return nil, ErrAlreadyDecided
	}
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, id)
}

// Claim takes an approved request for one run. Of any number of claims exactly
// one succeeds, ever.
func (s *Service) Claim(ctx context.Context, id string, c Claim) error {
	status, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	switch status.State {
	case Approved:
	case Running, Succeeded, Failed, Interrupted:
		return ErrAlreadyClaimed
	case Expired:
		return ErrExpired
	case Cancelled:
		return ErrCancelled
	case Pending, Denied:
		return ErrNotApproved
	default:
		return ErrNotApproved
	}
	dir, err := s.dir(id)
	if err != nil {
		return err
	}
	if err = s.put(ctx, dir+"claim", c); errors.Is(err, worm.ErrExists) {
		return ErrAlreadyClaimed
	}
	if err != nil {
		return err
	}
	// On S3 a create succeeds again behind a delete marker; the oldest version
	// is the truth, and only whoever wrote that one may run.
	var first Claim
	if found, err := s.get(ctx, dir+"claim", &first); err != nil || !found || first.Nonce != c.Nonce {
		return errors.Join(ErrAlreadyClaimed, err)
	}
	return nil
}

// Finish notes how a claimed run ended. It is create-once like the rest: a
// second outcome changes nothing.
func (s *Service) Finish(ctx context.Context, id string, o Outcome) error {
	dir, err := s.dir(id)
	if err != nil {
		return err
	}
	return s.put(ctx, dir+"outcome", o)
}

// ListOpen calls yield for each request that waits for a decision. It looks at
// the hours in which an open request can have been made, and no further back.
func (s *Service) ListOpen(ctx context.Context, yield func(*Status) bool) error {
	now := s.cfg.Clock()
	for at := now.Add(-s.cfg.Longest).Truncate(time.Hour); !at.After(now.Add(time.Hour)); at = at.Add(time.Hour) {
		prefix := Hour(at)
		open := map[string]bool{}
		err := s.cfg.Store.List(ctx, prefix, "", func(e worm.Entry) bool {
			id, name, _ := strings.Cut(strings.TrimPrefix(e.Key, prefix), "/")
			switch name {
			case "request":
				if _, ended := open[id]; !ended {
					open[id] = true
				}
			case "verdict", "claim", "outcome":
				open[id] = false
			}
			return true
		})
		if err != nil {
			return unavailable(err)
		}
		for id, waiting := range open {
			if !waiting {
				continue
			}
			status, err := s.read(ctx, prefix+id+"/", id)
			if err != nil {
				return err
			}
			if status.State == Pending && !yield(status) {
				return nil
			}
		}
	}
	return nil
}

func (s *Service) put(ctx context.Context, key string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	if err := s.cfg.Store.Create(ctx, key, body); err != nil {
		return unavailable(err)
	}
	return nil
}

// get reads an object strictly: what another program wrote is an error.
func (s *Service) get(ctx context.Context, key string, v any) (found bool, err error) {
	object, err := s.cfg.Store.Get(ctx, key, maxObject)
	if errors.Is(err, worm.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(err)
	}
	if err := decode(object.Body, v); err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	return true, nil
}

func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// unavailable makes the store's failure this package's; ErrExists stays.
func unavailable(err error) error {
	if errors.Is(err, worm.ErrExists) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
