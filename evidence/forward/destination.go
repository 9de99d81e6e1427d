package forward

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// pace is how fast things are tried again.
type pace struct {
	// poll is how often the ends of living logs are looked at, list how often
	// for other logs.
	poll, list time.Duration
	// first and most bound the pause after a failure that time mends, refused
	// that after one that a person must mend.
	first, most, refused time.Duration
}

var production = pace{poll: time.Second, list: 15 * time.Second, first: 500 * time.Millisecond, most: time.Minute, refused: 5 * time.Minute}

const (
	// turn is how many deliveries one log has before the others have theirs.
	turn = 20
	// longestRest bounds how long a log that has been silent is not looked at.
	longestRest = 10 * time.Minute
)

// errTurn ends a log's turn.
var errTurn = errors.New("the others' turn")

// destination follows logs for one receiver.
type destination struct {
	Destination
	reader           *evidence.Reader
	writer, instance string
	encode           Encoder
	clock            func() time.Time
	pace             pace
	logger           *slog.Logger
	file             string
	closing          <-chan struct{}

	// What follows is the goroutine's own.
	looked  time.Time // for new logs
	listed  time.Time // when all logs were known
	due     map[string]time.Time
	batch   []Event
	bytes   int
	turns   int
	skipped int  // in a row
	gaveUp  bool // the receiver failed while closing

	mu       sync.Mutex
	state    state    // written by the goroutine, read by watch
	progress progress // of status
	failing  bool
}

// run follows the logs until ctx ends or, after closing, until the own one is
// done or the receiver fails.
func (d *destination) run(ctx context.Context) {
	closing := d.closing
	for {
		more := d.round(ctx)
		if ctx.Err() != nil || d.gaveUp || d.isClosing() && d.at(d.writer).Done {
			return
		}
		pause := d.pace.poll
		if more {
			pause = 0
		} else if d.isClosing() {
			pause = min(pause, 50*time.Millisecond)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-closing:
			closing = nil
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (d *destination) isClosing() bool {
	select {
	case <-d.closing:
		return true
	default:
		return false
	}
}

// round gives each log that is due its turn, and reports whether some had more.
// While closing only the own log has one.
func (d *destination) round(ctx context.Context) (more bool) {
	names := []string{d.writer}
	if !d.isClosing() {
		names = d.logs(ctx)
	}
	for _, name := range names {
		closing := d.isClosing()
		if ctx.Err() != nil || d.gaveUp {
			return false
		}
		if closing && name != d.writer || !closing && d.clock().Before(d.due[name]) {
			continue
		}
		err := d.follow(ctx, name)
		switch {
		case errors.Is(err, errTurn):
			more = true
		case ctx.Err() != nil || d.gaveUp:
		default:
			d.rest(name, err)
		}
	}
	return more
}

// logs gives the logs that are followed, by their start. New ones are looked for
// now and then.
func (d *destination) logs(ctx context.Context) []string {
	now := d.clock()
	if now.Sub(d.looked) >= d.pace.list {
		d.looked = now
		if err := d.list(ctx); err == nil {
			d.listed = now
			d.readable("", nil)
		} else if ctx.Err() == nil {
			d.readable("", err)
		}
	}
	var names []string
	for name, c := range d.state.Logs {
		if !c.Done {
			names = append(names, name)
		}
	}
	if _, known := d.state.Logs[d.writer]; !known {
		names = append(names, d.writer)
	}
	slices.SortFunc(names, func(a, b string) int {
		s, _ := evidence.WriterStart(a)
		t, _ := evidence.WriterStart(b)
		return s.Compare(t)
	})
	return names
}

// list takes in the logs that are not known yet. A log whose beginning cannot be
// found holds up no other; its error is one of those joined.
func (d *destination) list(ctx context.Context) error {
	names, err := d.reader.Names(ctx)
	if err != nil {
		return err
	}
	var all []error
	for _, name := range names {
		instance, _ := evidence.WriterInstance(name)
		start, ok := evidence.WriterStart(name)
		if _, known := d.state.Logs[name]; !ok || known || !d.All && instance != d.instance || !start.After(d.state.Floor) {
			continue
		}
		var c cursor
		if start.Before(d.state.Since) {
			if c.Segment, err = d.reader.From(ctx, name, d.state.Since); err != nil {
				all = append(all, err)
				continue
			}
		}
		d.set(name, c)
	}
	return errors.Join(all...)
}

// rest notes when a log that was followed to its end, or cannot be read, is
// looked at again.
func (d *destination) rest(name string, err error) {
	d.readable(name, err)
	now := d.clock()
	c := d.at(name)
	last := c.Last
	if last.IsZero() { // nothing was read of it: it may have lived until since, at least
		if last, _ = evidence.WriterStart(name); last.Before(d.state.Since) {
			last = d.state.Since
		}
	}
	silent := now.Sub(last)
	switch {
	case name == d.writer:
		d.due[name] = now
	case err != nil:
		d.due[name] = now.Add(min(max(silent/20, 10*d.pace.poll), longestRest))
	default:
		d.due[name] = now.Add(min(silent/20, longestRest))
		if silent > dead && !c.Done {
			c.Done = true
			d.set(name, c)
		}
	}
	if err == nil {
		d.caughtUp(name)
	}
}

func (d *destination) at(name string) cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Logs[name]
}

func (d *destination) set(name string, c cursor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Logs[name] = c
}

// follow forwards a log from its cursor to its end, or for a turn.
func (d *destination) follow(ctx context.Context, name string) error {
	c := d.at(name)
	d.turns = 0
	err := d.reader.Follow(ctx, name, c.Segment, func(segment uint64, records []evidence.Record) error {
		for i := range records {
			r := &records[i]
			if r.Sequence < c.Sequence {
				continue
			}
			next := cursor{Segment: segment, Sequence: r.Sequence + 1, Last: r.Time}
			if i == len(records)-1 {
				next.Segment++
				next.Done = r.Type == evidence.TypeWriterClosed
			}
			if err := d.add(ctx, r, next); err != nil {
				return err
			}
		}
		return nil
	})
	if flushed := d.flush(ctx); flushed != nil && err == nil {
		err = flushed
	}
	return err
}

// add puts a record into the batch, and delivers that if it is full.
func (d *destination) add(ctx context.Context, r *evidence.Record, next cursor) error {
	body, err := d.encode(nil, clear(r))
	if err != nil {
		if err := d.flush(ctx); err != nil {
			return err
		}
		d.skip(r.ID, "it cannot be encoded: "+err.Error())
		d.advance(r.Writer, next)
		return nil
	}
	if d.bytes+len(body) > d.MaxBytes && len(d.batch) > 0 {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	instance, _ := evidence.WriterInstance(r.Writer)
	d.batch = append(d.batch, Event{ID: r.ID, Writer: r.Writer, Instance: instance, Time: r.Time, Type: r.Type, Warning: warns(r), Body: body, next: next})
	d.bytes += len(body)
	if len(d.batch) >= d.MaxRecords {
		return d.flush(ctx)
	}
	return nil
}

// flush delivers the batch. Afterwards it is empty: what was not delivered is
// read again.
func (d *destination) flush(ctx context.Context) error {
	batch := d.batch
	d.batch, d.bytes = nil, 0
	if len(batch) == 0 {
		return nil
	}
	if err := d.deliver(ctx, batch); err != nil {
		return err
	}
	if d.turns++; d.turns >= turn || d.isClosing() && batch[0].Writer != d.writer {
		return errTurn
	}
	return nil
}

// clear is a record without what is sealed, what was released, and sentences
// that quote what was asked: only what says who did what, when and how it ended.
func clear(r *evidence.Record) *evidence.Record {
	out := *r
	out.Sealed, out.Secret, out.Note = nil, nil, ""
	if r.Result != nil {
		result := *r.Result
		result.Columns, result.Rows, result.Notes, result.Problem = nil, nil, nil, nil
		out.Result = &result
	}
	return &out
}

// warns tells a refusal from what goes its way.
func warns(r *evidence.Record) bool {
	switch r.Type {
	case evidence.TypeAuthFailed, evidence.TypeRejected:
		return true
	default:
		return r.Effect == "deny" || slices.Contains([]string{"refused", "denied", "failed", "withheld"}, r.Status)
	}
}

// pending gives the logs that have more than was forwarded, as far as is known.
func (d *destination) pending() map[string]cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	logs := maps.Clone(d.state.Logs)
	maps.DeleteFunc(logs, func(_ string, c cursor) bool { return c.Done })
	return logs
}
