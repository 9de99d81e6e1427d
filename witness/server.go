package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"
)

// Server is a witness of gateways' logs. It takes any origin
// "<key name>/<writer>" that is signed by the listed key of that name: gateways
// name their writers at each start. It is safe for concurrent use.
type Server struct {
	signer  *torchwood.CosignatureSigner
	names   map[string]bool
	trusted note.Verifiers
	state   *state
	limit   *rate.Limiter
	slots   chan struct{}
	logger  *slog.Logger
}

// Bounds of what anybody may ask of a witness.
const (
	perSecond  = 50 // requests; each costs a signature and a write to disk
	burst      = 200
	concurrent = 32
	// maxLogs is how many logs of one key are known: a gateway begins one at
	// each start, and nothing is ever forgotten.
	maxLogs = 1 << 16
)

// New opens the state of a witness that Init made, and trusts these gateways.
func New(dir string, signer *torchwood.CosignatureSigner, gateways []note.Verifier, logger *slog.Logger) (*Server, error) {
	s := &Server{signer: signer, names: make(map[string]bool), trusted: note.VerifierList(gateways...), logger: logger,
		limit: rate.NewLimiter(perSecond, burst), slots: make(chan struct{}, concurrent)}
	for _, v := range gateways {
		s.names[v.Name()] = true
	}
	var err error
	s.state, err = openState(dir, signer.Verifier())
	return s, err
}

// Close gives the state free.
func (s *Server) Close() error { return s.state.db.Close() }

// Handler serves POST /add-checkpoint, and at GET /checkpoints the newest
// checkpoints that were cosigned, as `chaperone evidence verify --checkpoints`
// takes them: {"checkpoints": {writer: the gateway's own signed note}}.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", s.bounded(s.addCheckpoint))
	mux.HandleFunc("GET /checkpoints", s.bounded(s.checkpoints))
	return mux
}

// bounded bounds how much anybody can ask for.
func (s *Server) bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.limit.Allow() {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			next(w, r)
		default:
			http.Error(w, "too many requests", http.StatusServiceUnavailable)
		}
	}
}

func (s *Server) checkpoints(w http.ResponseWriter, _ *http.Request) {
	list, err := s.state.checkpoints()
	if err != nil {
		s.logger.Error("the checkpoints cannot be read", "error", err)
		http.Error(w, "the checkpoints cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"checkpoints": list}) // who does not hear it asks again
}

// refusal is an answer that is no cosignature.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// conflict is the size of the log that was cosigned last.
type conflict struct{ size int64 }

func (*conflict) Error() string { return "the old size is not the one that was cosigned last" }

func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request is too large or broke off", http.StatusBadRequest)
		return
	}
	lines, err := s.cosign(body)
	var refused *refusal
	var known *conflict
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(lines) // who does not hear it asks again
	case errors.As(err, &known):
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", known.size)
	case errors.As(err, &refused):
		http.Error(w, refused.reason, refused.status)
	default:
		s.logger.Error("nothing can be cosigned", "error", err)
		http.Error(w, "the witness cannot cosign now", http.StatusInternalServerError)
	}
}

// cosign checks a request as the protocol says and gives signature lines, which
// leave when the checkpoint is on disk.
func (s *Server) cosign(body []byte) ([]byte, error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, err.Error()}
	}
	c, n, err := s.open(r.checkpoint)
	if err != nil {
		return nil, err
	}
	if r.old > uint64(c.N) { // #nosec G115 -- ParseCheckpoint gives no negative size
		return nil, &refusal{http.StatusBadRequest, "the old size is larger than the checkpoint's"}
	}
	var lines []byte
	// One at a time: reading what was cosigned, and storing what is, are one step.
	err = s.state.db.Update(func(tx *bolt.Tx) error {
		if err := s.continues(tx, c, r); err != nil {
			return err
		}
		signed, err := note.Sign(n, s.signer)
		if err != nil {
			return err
		}
		// What note.Sign adds comes last.
		lines = []byte(string(signed)[len(withoutLast(string(signed))):])
		return tx.Bucket(logsBucket).Put([]byte(c.Origin), signed)
	})
	if err != nil {
		return nil, err
	}
	return lines, nil
}

// open verifies a checkpoint: its origin is a log of a listed key, which signed
// it. Signatures by other keys are ignored.
func (s *Server) open(msg []byte) (c torchwood.Checkpoint, signed *note.Note, err error) {
	origin, _, _ := bytes.Cut(msg, []byte{'\n'})
	name, _, ok := cutLast(string(origin))
	if !ok || !s.names[name] {
		return c, nil, &refusal{http.StatusNotFound, "this log is none of a gateway that this witness knows"}
	}
	n, err := note.Open(msg, s.trusted)
	if err != nil {
		return c, nil, &refusal{http.StatusForbidden, "the checkpoint is not signed by the log's key"}
	}
	own := n.Sigs[:0:0]
	for _, sig := range n.Sigs {
		if sig.Name == name {
			own = append(own, sig)
		}
	}
	if len(own) == 0 {
		return c, nil, &refusal{http.StatusForbidden, "the checkpoint is not signed by the log's key"}
	}
	c, err = torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.String() != n.Text || c.Origin != string(origin) {
		return c, nil, &refusal{http.StatusBadRequest, "this is no checkpoint"}
	}
	return c, &note.Note{Text: n.Text, Sigs: own}, nil
}

// continues compares a checkpoint with the one that was cosigned last.
func (s *Server) continues(tx *bolt.Tx, c torchwood.Checkpoint, r request) error {
	stored := tx.Bucket(logsBucket).Get([]byte(c.Origin))
	if stored == nil {
		return s.begins(tx, c, r)
	}
	last, err := s.state.read(c.Origin, stored)
	if err != nil {
		return err
	}
	size := uint64(c.N)                          // #nosec G115 -- no negative size is stored or parsed
	if r.old != uint64(last.N) || c.N < last.N { // #nosec G115 -- as above
		if r.old > uint64(last.N) { // #nosec G115 -- as above
			s.logger.Error("a log says that more of it was cosigned than this witness knows: was the state put back to an older one?",
				"origin", c.Origin, "old", r.old, "cosigned", last.N)
		}
		return &conflict{last.N}
	}
	if c.N == last.N {
		if c.Hash != last.Hash {
			s.logger.Error("a log has two histories: another root was cosigned at this size", "origin", c.Origin, "size", c.N)
			return &conflict{last.N}
		}
		if len(r.proof) > 0 {
			return &refusal{http.StatusUnprocessableEntity, "the proof of equal sizes is empty"}
		}
		return nil
	}
	if last.N == 0 {
		return emptyProof(r)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, r.old, size, r.proof, last.Hash[:], c.Hash[:]); err != nil {
		s.logger.Error("a log does not continue what was cosigned, or its proof is wrong", "origin", c.Origin, "size", c.N,
			"cosigned", last.N)
		return &refusal{http.StatusUnprocessableEntity, "the proof does not show that the log continues"}
	}
	return nil
}

// begins takes a log that is new.
func (s *Server) begins(tx *bolt.Tx, c torchwood.Checkpoint, r request) error {
	if r.old != 0 {
		return &conflict{0}
	}
	if c.N == 0 && !bytes.Equal(c.Hash[:], rfc6962.DefaultHasher.EmptyRoot()) {
		return &refusal{http.StatusUnprocessableEntity, "this is not the root of an empty tree"}
	}
	name, _, _ := cutLast(c.Origin)
	counts := tx.Bucket(countBucket)
	count := 0
	if text := counts.Get([]byte(name)); text != nil {
		var err error
		if count, err = strconv.Atoi(string(text)); err != nil {
			return errState
		}
	}
	if count >= maxLogs {
		return &refusal{http.StatusTooManyRequests, "this key has begun too many logs"}
	}
	if err := counts.Put([]byte(name), []byte(strconv.Itoa(count+1))); err != nil {
		return err
	}
	return emptyProof(r)
}

func emptyProof(r request) error {
	if len(r.proof) > 0 {
		return &refusal{http.StatusUnprocessableEntity, "the proof from an empty tree is empty"}
	}
	return nil
}
