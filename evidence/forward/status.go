package forward

import (
	"context"
	"errors"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Status is how far a destination is.
type Status struct {
	Name string
	// Forwarded counts records that the receiver took, those sent twice
	// included; Skipped those given up, each with an error in the log; Rejected
	// those that a receiver took and said it threw away. All since the start.
	Forwarded, Skipped, Rejected uint64
	// Failures counts deliveries that failed.
	Failures uint64
	// LastSuccess is when the receiver took something last, zero if never.
	LastSuccess time.Time
	// Behind is how many records are stored and not forwarded yet, and Oldest the
	// time of the first of them, or before it; zero if there are none.
	Behind uint64
	Oldest time.Time
	// Unreadable counts logs that cannot be read or are not trusted.
	Unreadable int
}

// progress is what the goroutine tells others.
type progress struct {
	Status
	behind     map[string]behind // by log
	unreadable map[string]bool   // logs, and "" for the list of them
}

type behind struct {
	head    time.Time // of the first record that waits, zero if it was not read
	records uint64
}

func (d *destination) status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.progress.Status
	s.Name, s.Unreadable = d.Name, len(d.progress.unreadable)
	for name, b := range d.progress.behind {
		head := b.head
		if head.IsZero() {
			head = d.state.Logs[name].Last
		}
		if head.IsZero() {
			head, _ = evidence.WriterStart(name)
		}
		if s.Oldest.IsZero() || head.Before(s.Oldest) {
			s.Oldest = head
		}
		s.Behind += max(b.records, 1)
	}
	return s
}

// heads notes that these wait.
func (d *destination) heads(events []Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := events[0].Writer
	b := d.progress.behind[name]
	b.head, b.records = events[0].Time, max(b.records, uint64(len(events)))
	d.progress.behind[name] = b
}

// taken notes that the receiver has these.
func (d *destination) taken(events []Event) {
	d.skipped = 0
	d.mu.Lock()
	if d.progress.Forwarded += uint64(len(events)); d.failing {
		d.failing = false
		d.logger.Info("records are forwarded again")
	}
	d.progress.LastSuccess = d.clock()
	name := events[0].Writer
	b := d.progress.behind[name]
	b.records -= min(b.records, uint64(len(events)))
	d.progress.behind[name] = b
	d.mu.Unlock()
	d.advance(name, events[len(events)-1].next)
}

// advance remembers how far a log is forwarded. If that cannot be stored, what
// follows is sent again after the next start.
func (d *destination) advance(name string, next cursor) {
	d.set(name, next)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.save(); err != nil {
		d.progress.Failures++
		d.logger.Error("how far records are forwarded could not be saved; they will be sent again", "error", err)
	}
}

// skip gives a record up.
func (d *destination) skip(id, reason string) {
	d.skipped++
	d.logger.Error("a record is not forwarded", "record", id, "reason", reason)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress.Skipped++
}

func (d *destination) rejected(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress.Rejected += uint64(max(n, 0)) // #nosec G115 -- not negative
}

func (d *destination) failed(error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress.Failures++
	d.failing = true
}

// caughtUp notes that nothing of a log waits.
func (d *destination) caughtUp(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.progress.behind, name)
}

// readable notes whether a log, or with "" the list of them, can be read.
func (d *destination) readable(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.progress.unreadable[name]
	switch {
	case err == nil && known:
		delete(d.progress.unreadable, name)
		d.logger.Info("what could not be read for forwarding can be read again", "log", name)
	case err != nil && !known && !errors.Is(err, context.Canceled):
		d.progress.unreadable[name] = true
		d.logger.Error("a log cannot be read, so that it is not forwarded; trying again", "log", name, "error", err)
	}
}

// watch measures how much waits while the receiver is behind: what runs behind a
// receiver that does not answer cannot count by itself.
func (d *destination) watch(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.measure(ctx)
		}
	}
}

func (d *destination) measure(ctx context.Context) {
	if d.status().Behind == 0 {
		return
	}
	for name, c := range d.pending() {
		if name != d.writer && d.clock().Sub(c.Last) > dead {
			continue
		}
		segments, records, err := d.reader.Size(ctx, name, c.Segment)
		if err != nil {
			continue // the next reading tells
		}
		if c.Sequence == 0 && c.Segment > 0 { // followed from the middle: at least one in each segment
			records = segments - min(segments, c.Segment)
		}
		d.mu.Lock()
		if now := d.state.Logs[name]; records > now.Sequence {
			b := d.progress.behind[name]
			b.records = records - now.Sequence
			d.progress.behind[name] = b
		}
		d.mu.Unlock()
	}
}
