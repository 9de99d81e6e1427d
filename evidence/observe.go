package evidence

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// observer looks at other writers' logs and remembers what it has told, so that
// each log is a witness of the others: who removes, cuts or rewrites one log has
// to rewrite those of all gateways that saw it.
type observer struct {
	store worm.Store
	self  string
	// since is when it looked last: writers that started later are news, with
	// slack for clocks that differ.
	since time.Time
	// seen is what was told of each writer.
	seen map[string]*sighting
}

// sighting is how far another log was.
type sighting struct {
	announcement string
	segments     uint64
	closed       bool // nothing more can come
}

// clockSlack is how far the clocks of gateways may be apart for one to miss the
// start of another.
const clockSlack = 10 * time.Minute

// observe looks at the newest writer of every other instance and at every writer
// that started since it looked last. What it gives is news; it counts as told.
func (o *observer) observe(ctx context.Context, now time.Time) ([]Observation, error) {
	writers, err := o.candidates(ctx)
	if err != nil {
		return nil, err
	}
	var news []Observation
	for _, writer := range writers {
		observation, err := o.look(ctx, writer)
		if err != nil {
			return news, err
		}
		if observation != nil {
			news = append(news, *observation)
		}
	}
	o.since = now
	return news, nil
}

// candidates lists whom to look at.
func (o *observer) candidates(ctx context.Context) ([]string, error) {
	var names []string // by instance, then by start
	err := o.store.List(ctx, writersDir, "", func(e worm.Entry) bool {
		names = append(names, strings.TrimPrefix(e.Key, writersDir))
		return true
	})
	if err != nil {
		return nil, err
	}
	var list []string
	for i, name := range names {
		instance, started, err := parseWriter(name)
		if err != nil || name == o.self {
			continue // verification reports a name that is none
		}
		next := ""
		if i+1 < len(names) {
			next, _, _ = parseWriter(names[i+1])
		}
		if next != instance || !o.since.IsZero() && started.After(o.since.Add(-clockSlack)) {
			list = append(list, name)
		}
	}
	return list, nil
}

// look gives what is new of one writer, or nil.
func (o *observer) look(ctx context.Context, writer string) (*Observation, error) {
	seen, known := o.seen[writer]
	if !known {
		object, err := o.store.Get(ctx, announcementKey(writer), maxAnnouncement)
		if errors.Is(err, worm.ErrTooLarge) {
			return nil, nil // verification reports it
		}
		if err != nil {
			return nil, err
		}
		seen = &sighting{announcement: lineDigest(object.Body)}
	}
	if seen.closed {
		return nil, nil
	}
	end, err := logEnd(ctx, o.store, writer, seen.segments)
	if err != nil {
		return nil, err
	}
	if known && end.Segments == seen.segments {
		return nil, nil
	}
	seen.segments, seen.closed = end.Segments, end.Closed
	o.seen[writer] = seen
	return &Observation{Writer: writer, Announcement: seen.announcement, Checkpoint: end.Checkpoint}, nil
}

// watch records what the writer sees of others every interval.
func (l *Log) watch() {
	tick := time.NewTicker(l.cfg.Observe)
	defer tick.Stop()
	for {
		select {
		case <-l.life.Done():
			return
		case <-tick.C:
			l.lookAround()
		}
	}
}

// lookAround records what is new. What could not be seen or queued is told the
// next time, or by another gateway.
func (l *Log) lookAround() {
	ctx, stop := context.WithTimeout(l.life, l.cfg.Observe)
	defer stop()
	news, err := l.others.observe(ctx, l.cfg.Clock())
	if err == nil && len(news) > 0 {
		err = l.AppendAsync(&Record{Type: TypeObserved, Observed: news})
	}
	if err != nil && !errors.Is(err, ErrStopped) && l.life.Err() == nil {
		l.others.seen = make(map[string]*sighting) // tell it all again
		l.cfg.Logger.Warn("other gateways' evidence could not be looked at", "error", err)
	}
}
