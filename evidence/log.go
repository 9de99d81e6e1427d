package evidence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"filippo.io/age"
)

// Log is this process's writer. It is safe for concurrent use.
//
// Group commit is adaptive: a record that finds a free slot is stored at once
// in a segment of its own; what arrives while all slots are taken goes together
// into the next segment. Several segments are in flight, and acknowledged in
// order: an acknowledged record has everything before it durable.
type Log struct {
	cfg    Config
	writer string
	tag    [4]byte

	// life ends with Close; until then a segment is tried again forever.
	life    context.Context
	end     context.CancelFunc
	workers sync.WaitGroup
	others  *observer // of watch alone
	rounds  rounds

	mu       sync.Mutex
	queue    []*item
	queued   int // bytes in queue
	inflight []*batch
	tree     *tree
	number   uint64    // of the next segment
	newest   []byte    // checkpoint
	previous string    // its digest
	points   []*point  // from which proofs to witnesses will be made
	durable  uint64    // segments known to be stored, from 0 without a gap
	last     time.Time // of the newest record
	cut      time.Time // when the newest segment was made, for heartbeats
	entered  uint64    // items ever queued
	settled  uint64    // items known to be durable
	flushes  []flush
	closing  bool
	stopped  error // why the writer stopped for good
}

// item is a record that waits for its segment.
type item struct {
	// lines are the record's; the entry begins at "type", and the log's own
	// fields go before it when the segment is made.
	lines lines
	time  time.Time
	query string
	// done gets the outcome; nil if nobody waits.
	done chan outcome
}

type outcome struct {
	record  Record // the fields that the log sets
	receipt Receipt
	err     error
}

// flush waits until so many items are durable.
type flush struct {
	target uint64
	done   chan error
}

// Open starts a new writer of the instance: it looks at how its predecessors
// ended, announces itself, and stores writer.started. On nil all of that is
// durable.
//
// Dying after the announcement leaves a writer without segments; the next start
// says so in its own announcement, as it does of every unclean end.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("opening evidence log: %w", err)
	}
	started := cfg.Clock().UTC().Truncate(time.Millisecond)
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	writer := newWriter(cfg.Name, started, random)
	predecessors, err := survey(ctx, cfg.Store, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("opening evidence log: looking at earlier writers: %w", err)
	}
	announcement := Announcement{
		Writer: writer, Instance: cfg.Name, Key: cfg.Signer.VerifierKey(), Started: started,
		GatewayVersion: cfg.GatewayVersion, ConfigDigest: cfg.ConfigDigest,
		HeartbeatMS: cfg.Heartbeat.Milliseconds(), Predecessors: predecessors,
	}
	if len(cfg.Witnesses) > 0 {
		announcement.WitnessWithinMS = (witnessRounds * cfg.Observe).Milliseconds()
	}
	body, err := announcement.encode(cfg.Signer)
	if err != nil {
		return nil, fmt.Errorf("opening evidence log: announcing: %w", err)
	}
	if err := cfg.Store.Create(ctx, announcementKey(writer), body); err != nil {
		return nil, fmt.Errorf("opening evidence log: announcing: %w", err)
	}
	l := &Log{cfg: cfg, writer: writer, tag: writerTag(writer), tree: newTree(), cut: time.Now()}
	// The log outlives ctx, which bounds the start only.
	l.life, l.end = context.WithCancel(context.WithoutCancel(ctx))
	first := &Record{Type: TypeWriterStarted, Data: map[string]string{
		"version": cfg.GatewayVersion, "config": cfg.ConfigDigest, "predecessors": strconv.Itoa(len(predecessors)),
	}, Observed: []Observation{{Writer: writer, Announcement: lineDigest(body)}}}
	if _, err := l.Append(ctx, first); err != nil {
		l.end()
		l.workers.Wait()
		return nil, fmt.Errorf("opening evidence log: %w", err)
	}
	l.workers.Go(l.beat)
	l.others = &observer{store: l.cfg.Store, self: l.writer, seen: make(map[string]*sighting)}
	l.lookAround()
	l.workers.Go(l.watch)
	if len(cfg.Witnesses) > 0 {
		l.rounds.begin(l.life, cfg.Witnesses)
		l.workers.Go(l.attest)
	}
	return l, nil
}

// Writer is the writer's name, "<instance>-<start>-<random>".
func (l *Log) Writer() string { return l.writer }

// Append makes a record durable, and everything appended before it. On an
// error the caller must not release what the record tells. The record may
// become durable later all the same, when the store is back: it then tells of
// an answer that was withheld.
//
// On success the fields of r that the log sets are set.
func (l *Log) Append(ctx context.Context, r *Record) (Receipt, error) {
	it, err := l.prepare(r)
	if err != nil {
		return Receipt{}, err
	}
	done := make(chan outcome, 1)
	it.done = done
	//nolint:contextcheck // storing outlives ctx: what has a sequence number must be stored
	if err := l.enter(it); err != nil {
		return Receipt{}, err
	}
	select {
	case o := <-done:
		if o.err != nil {
			return Receipt{}, o.err
		}
		r.ID, r.Writer, r.Sequence, r.Time = o.record.ID, o.record.Writer, o.record.Sequence, o.record.Time
		return o.receipt, nil
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// AppendAsync queues a record for the next segment and does not wait. It is for
// records that nothing released depends on. An error means the record is lost
// and the caller must say so: the queue is full, or the writer has stopped.
func (l *Log) AppendAsync(r *Record) error {
	it, err := l.prepare(r)
	if err != nil {
		return err
	}
	return l.enter(it)
}

// Flush waits until every record queued before the call is durable.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	if l.stopped != nil {
		defer l.mu.Unlock()
		return l.stopped
	}
	f := flush{target: l.entered, done: make(chan error, 1)}
	if l.settled >= f.target {
		l.mu.Unlock()
		return nil
	}
	l.flushes = append(l.flushes, f)
	l.mu.Unlock()
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("flushing evidence: %w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// Close stores what is queued, has it cosigned, stores writer.closed alone in the
// last segment, and stops the writer. If that cannot be done before ctx ends, the
// log stays without its end, which the next start of the instance tells.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closing
	l.closing = true
	l.mu.Unlock()
	if again {
		return fmt.Errorf("closing evidence log: %w: it was closed before", ErrStopped)
	}
	err := l.Flush(ctx)
	if err == nil {
		l.attestLast(ctx)
		err = l.appendLast(&Record{Type: TypeWriterClosed}) //nolint:contextcheck // as in Append
	}
	if err == nil {
		err = l.Flush(ctx)
	}
	l.stop(fmt.Errorf("%w: it was closed", ErrStopped))
	l.end()
	l.workers.Wait()
	if err != nil {
		return fmt.Errorf("closing evidence log: %w", err)
	}
	return nil
}

// appendLast queues a record of a log that takes no more.
func (l *Log) appendLast(r *Record) error {
	it, err := l.prepare(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped != nil {
		return l.stopped
	}
	l.push(it)
	return nil
}

// Ready is nil while records can be made durable, for readiness probes.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusal()
}

// prepare seals and marshals a record outside of the lock.
func (l *Log) prepare(r *Record) (*item, error) {
	lines, err := marshalLines(r, l.cfg.Auditors)
	if err != nil {
		return nil, err
	}
	return &item{lines: lines, query: r.QueryID}, nil
}

// enter queues an item and starts a segment if a slot is free.
func (l *Log) enter(it *item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return fmt.Errorf("%w: it was closed", ErrStopped)
	}
	if err := l.refusal(); err != nil && (it.done != nil || l.stopped != nil) {
		return err // whoever waits is told at once; others may still be queued
	}
	if l.queued+it.lines.size() > l.cfg.QueueBytes && len(l.queue) > 0 {
		return fmt.Errorf("%w: the queue is full", ErrUnavailable)
	}
	l.push(it)
	return nil
}

// push is enter without questions; l.mu is held.
func (l *Log) push(it *item) {
	it.time = l.now()
	l.queue = append(l.queue, it)
	l.queued += it.lines.size()
	l.entered++
	l.pump()
}

// now is the clock, never running backwards: records are in order of time.
func (l *Log) now() time.Time {
	if t := l.cfg.Clock().UTC().Truncate(time.Microsecond); t.After(l.last) {
		l.last = t
	}
	return l.last
}

// refusal says why no record can be made durable now.
func (l *Log) refusal() error {
	if l.stopped != nil {
		return l.stopped
	}
	for _, b := range l.inflight {
		if b.failing != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, b.failing)
		}
	}
	return nil
}

// stop ends the writer for good and fails everybody who waits.
func (l *Log) stop(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halt(reason)
}

// halt is stop with l.mu held.
func (l *Log) halt(reason error) {
	if l.stopped != nil {
		return
	}
	l.stopped = reason
	l.failWaiting(reason)
	for _, f := range l.flushes {
		f.done <- reason
	}
	l.flushes = nil
}

// failWaiting tells everybody who waits for a record. The records stay where
// they are: what has a sequence number must be stored or the log has a gap,
// and what is queued is true as well.
func (l *Log) failWaiting(err error) {
	for _, b := range l.inflight {
		b.fail(err)
	}
	for _, it := range l.queue {
		it.answer(outcome{err: err})
	}
}

func (it *item) answer(o outcome) {
	if it.done != nil {
		it.done <- o
		it.done = nil
	}
}

// beat stores a heartbeat whenever the log was silent for too long.
func (l *Log) beat() {
	timer := time.NewTimer(l.cfg.Heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-l.life.Done():
			return
		case <-timer.C:
		}
		l.mu.Lock()
		silent := time.Since(l.cut)
		idle := len(l.queue) == 0 && len(l.inflight) == 0
		l.mu.Unlock()
		if silent < l.cfg.Heartbeat {
			timer.Reset(l.cfg.Heartbeat - silent)
			continue
		}
		if idle {
			err := l.AppendAsync(&Record{Type: TypeHeartbeat})
			if err != nil && !errors.Is(err, ErrStopped) {
				l.cfg.Logger.Error("evidence heartbeat was not queued", "error", err)
			}
		}
		timer.Reset(l.cfg.Heartbeat)
	}
}

// marshalLines seals r.Secret and writes the record's lines without the fields
// that the log sets.
func marshalLines(r *Record, auditors []age.Recipient) (lines, error) {
	clear := *r
	if r.Secret != nil {
		var err error
		if clear.Sealed, err = sealSecret(r.Secret, auditors); err != nil {
			return lines{}, fmt.Errorf("recording: %w", err)
		}
	}
	return linesOf(&clear)
}
