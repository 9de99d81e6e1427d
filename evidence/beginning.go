package evidence

import (
	"context"
	"errors"
	"fmt"

	"github.com/chaperone-sql/chaperone/worm"
)

// Beginning is what the writer before said of itself when it started.
type Beginning struct {
	// Writer is its name, "" if there is none.
	Writer string
	// Key is the verifier line that it announced. Nothing is decided by it: its
	// signature is not checked.
	Key string
	// Records are the first ones of the types asked for.
	Records map[Type]*Record
	// Unread says why Records could not be read.
	Unread error
}

const (
	// maxBeginningWriters bounds how many writers are looked at: those that died
	// at once said nothing.
	maxBeginningWriters = 8
	// maxBeginningSegments bounds how far into a log is looked.
	maxBeginningSegments = 32
)

// BeginningBefore reads what the newest writer of the instance before self said of
// itself: the first record of each type, near the start of its log. A writer that
// said none of it is passed over.
func (r *Reader) BeginningBefore(ctx context.Context, instance, self string, types ...Type) (*Beginning, error) {
	names, err := writersOf(ctx, r.store, instance)
	if err != nil {
		return nil, fmt.Errorf("reading what the writer before said: %w", err)
	}
	looked := 0
	for i := len(names) - 1; i >= 0 && looked < maxBeginningWriters; i-- {
		if names[i] >= self {
			continue
		}
		looked++
		b := &Beginning{Writer: names[i], Records: make(map[Type]*Record)}
		object, err := r.store.Get(ctx, announcementKey(names[i]), maxAnnouncement)
		if err != nil && !errors.Is(err, worm.ErrTooLarge) {
			return nil, fmt.Errorf("reading what the writer before said: %w", err)
		}
		a, _ := readAnnouncement(object.Body) // verification reports a broken one
		b.Key = a.Key
		if err := r.beginning(ctx, b, types); errors.Is(err, ErrInvalid) {
			b.Unread = err
		} else if err != nil {
			return nil, fmt.Errorf("reading what %s said: %w", names[i], err)
		}
		if len(b.Records) > 0 || b.Unread != nil {
			return b, nil
		}
	}
	return &Beginning{}, nil
}

func (r *Reader) beginning(ctx context.Context, b *Beginning, types []Type) error {
	wanted := make(map[Type]bool, len(types))
	for _, t := range types {
		wanted[t] = true
	}
	return r.scan(ctx, b.Writer, 0, func(s *segment) (bool, error) {
		for i := range s.records {
			record, err := s.record(i)
			if err != nil {
				return false, err
			}
			if wanted[record.Type] && b.Records[record.Type] == nil {
				b.Records[record.Type] = record
			}
		}
		return len(b.Records) < len(wanted) && s.Segment < maxBeginningSegments, nil
	})
}
