package evidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// Pauses between tries of a segment that the store will not take.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// batch is a segment on its way to the store. Its bytes never change.
type batch struct {
	number uint64
	body   []byte
	links  []string // keys of the links to store with it
	items  int
	waiter []waiter
	// failing is why the store does not take it; it is tried again.
	failing error
	stored  bool
}

// waiter is somebody who waits for a record of a batch.
type waiter struct {
	item *item
	outcome
}

func (b *batch) fail(err error) {
	for _, w := range b.waiter {
		w.item.answer(outcome{err: err})
	}
	b.waiter = nil
}

// pump makes segments of the queue while slots are free. l.mu is held.
func (l *Log) pump() {
	for len(l.queue) > 0 && len(l.inflight) < l.cfg.InFlight && l.refusal() == nil {
		b, err := l.makeBatch()
		if err != nil {
			// Signing or hashing failed: a defect. Nothing more can be written.
			l.halt(fmt.Errorf("%w: making a segment: %w", ErrStopped, err))
			return
		}
		l.inflight = append(l.inflight, b)
		l.workers.Go(func() { l.store(b) })
	}
}

// makeBatch takes what fits from the queue, numbers it, and signs it.
func (l *Log) makeBatch() (*batch, error) {
	h := header{Writer: l.writer, Segment: l.number, First: l.tree.size(), Durable: l.durable, Time: l.now(),
		Previous: l.previous, Subtrees: l.tree.subtrees()}
	b := &batch{number: l.number}
	key := segmentKey(l.writer, l.number)
	var records []lines
	size := 0
	for _, it := range l.queue {
		if len(records) > 0 && (size+it.lines.size() > l.cfg.MaxBatchBytes || len(records) == l.cfg.MaxBatchRecords) {
			break
		}
		size += it.lines.size()
		r := Record{Writer: l.writer, Sequence: l.tree.size(), Time: it.time}
		r.ID = recordID(l.writer, r.Sequence)
		entry, err := entryLine(&r, it.lines.entry)
		if err != nil {
			return nil, err
		}
		if err := l.tree.addLeaf(rfc6962.DefaultHasher.HashLeaf(entry), l.grow); err != nil {
			return nil, err
		}
		records = append(records, lines{entry, it.lines.body})
		b.link(it, l)
		if it.done != nil {
			b.waiter = append(b.waiter, waiter{it, outcome{record: r, receipt: Receipt{RecordID: r.ID, Segment: key}}})
		}
	}
	b.items = len(records)
	clear(l.queue[:b.items])
	l.queue = l.queue[b.items:]
	l.queued -= size
	h.Count = uint64(b.items) // #nosec G115 -- a length
	var err error
	if b.body, l.newest, err = encodeSegment(h, records, l.tree, l.cfg.Signer); err != nil {
		return nil, err
	}
	l.previous = lineDigest(l.newest)
	l.number++
	l.cut = time.Now()
	return b, nil
}

// link notes that Find needs a link to see a record in this segment.
func (b *batch) link(it *item, l *Log) {
	if it.query == "" {
		return
	}
	q, err := parseQueryID(it.query)
	if err != nil || q.atHome(l.tag, it.time) {
		return
	}
	key := linkKey(it.query, l.writer, b.number)
	for _, have := range b.links {
		if have == key {
			return
		}
	}
	b.links = append(b.links, key)
}

// store stores a batch, however long it takes, and with the same bytes each
// time. A process that dies in here leaves a segment that is stored or not,
// and perhaps later ones beyond a gap; nobody was told that any of them is
// durable, and the next start of the instance says what is there.
func (l *Log) store(b *batch) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := l.try(b)
		switch {
		case err == nil:
			l.settle(b)
			return
		case errors.Is(err, worm.ErrExists):
			// Other bytes under a key that only this process knows: somebody
			// writes with its identity. This stops the writer for good.
			l.cfg.Logger.Error("another writer uses this writer's identity; the evidence log has stopped",
				"segment", segmentKey(l.writer, b.number))
			l.stop(fmt.Errorf("%w: %s holds other bytes", ErrStopped, segmentKey(l.writer, b.number)))
			return
		case l.life.Err() != nil:
			return
		}
		l.degrade(b, err)
		wait := time.NewTimer(pause)
		select {
		case <-l.life.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// try stores the links, then the segment. A link without its segment, left by a
// crash, points at nothing and harms nobody; a segment without its link would
// hold records that Find does not see.
func (l *Log) try(b *batch) error {
	ctx, stop := context.WithTimeout(l.life, l.cfg.RetryWindow)
	defer stop()
	group, gctx := errgroup.WithContext(ctx)
	for _, key := range b.links {
		group.Go(func() error { return l.cfg.Store.Create(gctx, key, linkBody(key)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return l.cfg.Store.Create(ctx, segmentKey(l.writer, b.number), b.body)
}

// degrade fails whoever waits, now and until the batch is stored: nothing
// after it may be acknowledged before it.
func (l *Log) degrade(b *batch, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.failing == nil {
		l.cfg.Logger.Error("a segment of evidence cannot be stored; trying again until it can",
			"segment", segmentKey(l.writer, b.number), "error", err)
	}
	b.failing = err
	l.failWaiting(fmt.Errorf("%w: %w", ErrUnavailable, err))
}

// settle marks a batch as stored, and acknowledges in order.
func (l *Log) settle(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.failing != nil {
		l.cfg.Logger.Info("a segment of evidence is stored at last", "segment", segmentKey(l.writer, b.number))
	}
	b.stored, b.failing, b.body = true, nil, nil
	for len(l.inflight) > 0 && l.inflight[0].stored {
		first := l.inflight[0]
		l.inflight[0] = nil
		l.inflight = l.inflight[1:]
		l.durable = first.number + 1
		l.settled += uint64(first.items) // #nosec G115 -- a length
		for _, w := range first.waiter {
			w.item.answer(w.outcome)
		}
	}
	waiting := l.flushes[:0]
	for _, f := range l.flushes {
		if l.settled < f.target {
			waiting = append(waiting, f)
			continue
		}
		f.done <- nil
	}
	l.flushes = waiting
	if l.stopped == nil {
		l.pump()
	}
}
