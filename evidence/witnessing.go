package evidence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/compact"
)

// Cosigner is a witness: somebody else's server that signs a checkpoint if the
// tree continues the one that it signed before (c2sp.org/tlog-witness).
type Cosigner interface {
	// Name is that of its key.
	Name() string
	// Cosign sends a signed checkpoint, and the proof from the size that the
	// witness should know. It gives verified lines of cosignatures. If the
	// witness knows another size, the error is a *SizeError.
	Cosign(ctx context.Context, old uint64, proof [][]byte, checkpoint []byte) (lines []byte, err error)
}

// SizeError: a witness knows another size of the log.
type SizeError struct{ Size uint64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the witness cosigned %d records of this log", e.Size)
}

// MaxWitnesses is how many witnesses a log asks.
const MaxWitnesses = 8

const (
	// witnessRounds is how many rounds may fail one after another, and one more,
	// until a record counts as not witnessed in time.
	witnessRounds = 3
	// roundTime bounds a round, lastRound the one before the log is closed.
	roundTime = 30 * time.Second
	lastRound = 3 * time.Second
)

// rounds is what the log knows of its witnesses. One round runs at a time.
type rounds struct {
	mu        sync.Mutex
	witnesses []*attendant
	life      context.Context //nolint:containedctx // of all rounds but the last
	end       context.CancelFunc
}

// attendant is one witness. Its answer may be lost, so that it knows either of two
// points; nothing else is sent until it is known which.
type attendant struct {
	Cosigner
	confirmed *point // nil before the first
	tried     *point // nil if all is known
}

func (r *rounds) begin(life context.Context, witnesses []Cosigner) {
	r.life, r.end = context.WithCancel(life)
	for _, w := range witnesses {
		r.witnesses = append(r.witnesses, &attendant{Cosigner: w})
	}
}

// attest has the log cosigned at once and every interval.
func (l *Log) attest() {
	tick := time.NewTicker(l.cfg.Observe)
	defer tick.Stop()
	for {
		l.round(l.rounds.life, roundTime, l.AppendAsync)
		select {
		case <-l.rounds.life.Done():
			return
		case <-tick.C:
		}
	}
}

// attestLast has the end of the log cosigned, if that is soon done.
func (l *Log) attestLast(ctx context.Context) {
	if len(l.cfg.Witnesses) == 0 {
		return
	}
	l.rounds.end()
	l.round(ctx, lastRound, l.appendLast)
}

// round asks each witness to cosign the newest durable checkpoint and records
// what they give. It is off the way of any query: what fails is tried again in
// the next round.
func (l *Log) round(ctx context.Context, limit time.Duration, record func(*Record) error) {
	l.rounds.mu.Lock()
	defer l.rounds.mu.Unlock()
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	newest := l.here()
	defer l.forget()
	if err := l.Flush(ctx); err != nil {
		return // the store is away, and that is told elsewhere
	}
	var mu sync.Mutex
	got := make(map[*point][]byte)
	var group sync.WaitGroup
	for _, w := range l.rounds.witnesses {
		group.Go(func() {
			err := l.ask(ctx, w, newest, func(at *point, lines []byte) {
				mu.Lock()
				defer mu.Unlock()
				got[at] = append(got[at], lines...)
			})
			if err != nil && l.life.Err() == nil && !errors.Is(ctx.Err(), context.Canceled) {
				l.cfg.Logger.Warn("a witness did not cosign the evidence log", "witness", w.Name(), "error", err)
			}
		})
	}
	group.Wait()
	for at, lines := range got {
		err := record(&Record{Type: TypeWitnessed, Witnessed: string(at.note) + string(lines)})
		if err != nil && !errors.Is(err, ErrStopped) {
			l.cfg.Logger.Warn("cosignatures of the evidence log were not queued", "error", err)
		}
	}
}

// here makes a point of the end of the newest segment, which is durable after a
// Flush.
func (l *Log) here() *point {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.points {
		if p.size == l.tree.size() {
			return p
		}
	}
	p := l.tree.point()
	p.note = l.newest
	l.points = append(l.points, p)
	return p
}

// grow tells the points of a new node of the tree. l.mu is held.
func (l *Log) grow(id compact.NodeID, hash []byte) {
	for _, p := range l.points {
		p.grow(id, hash)
	}
}

// forget drops the points that no witness needs: two of each are kept at most.
func (l *Log) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []*point
	for _, p := range l.points {
		for _, w := range l.rounds.witnesses {
			if w.confirmed == p || w.tried == p {
				kept = append(kept, p)
				break
			}
		}
	}
	l.points = kept
}

// ask asks one witness: first for what may have been answered before. It gives the
// newest checkpoint that was cosigned.
func (l *Log) ask(ctx context.Context, w *attendant, newest *point, give func(*point, []byte)) error {
	var got []byte
	defer func() {
		if got != nil {
			give(w.confirmed, got)
		}
	}()
	for _, to := range []*point{w.tried, newest} {
		if to == nil || to == w.confirmed {
			continue
		}
		w.tried = to
		lines, err := l.submit(ctx, w, to)
		l.cfg.OnWitness(w.Name(), err)
		if err != nil {
			return err
		}
		w.confirmed, w.tried, got = to, nil, lines
	}
	return nil
}

func (l *Log) submit(ctx context.Context, w *attendant, to *point) ([]byte, error) {
	old, proof, err := l.proof(w.confirmed, to)
	if err != nil {
		return nil, err
	}
	lines, err := w.Cosign(ctx, old, proof, to.note)
	var knows *SizeError
	if errors.As(err, &knows) && knows.Size == to.size {
		// It has this one already, and its answer was lost.
		lines, err = w.Cosign(ctx, to.size, nil, to.note)
	}
	switch {
	case !errors.As(err, &knows):
	case knows.Size < old:
		err = fmt.Errorf("the witness has forgotten what it cosigned before: %w", err)
	default:
		err = fmt.Errorf("somebody else had another tree cosigned in the name of this log: %w", err)
	}
	return lines, err
}

func (l *Log) proof(from, to *point) (uint64, [][]byte, error) {
	if from == nil {
		return 0, nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	hashes, err := from.prove(to)
	return from.size, hashes, err
}
