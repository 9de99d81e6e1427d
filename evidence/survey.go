package evidence

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-sql/chaperone/worm"
)

// surveyed is how many of an instance's newest writers a start looks at.
const surveyed = 8

// survey tells how the earlier writers of an instance ended, as far as no
// announcement told it yet. What it finds is announced and signed, so that a
// log that is shorter later was cut.
func survey(ctx context.Context, store worm.Store, instance string) ([]Predecessor, error) {
	names, err := writersOf(ctx, store, instance)
	if err != nil {
		return nil, err
	}
	names = names[max(0, len(names)-surveyed):]
	told := make(map[string]Predecessor)
	var list []Predecessor
	for i := len(names) - 1; i >= 0; i-- {
		if err := collectTold(ctx, store, names[i], told); err != nil {
			return nil, err
		}
		before, known := told[names[i]]
		if known && before.Closed {
			continue
		}
		end, err := logEnd(ctx, store, names[i], 0)
		if err != nil {
			return nil, err
		}
		// One that was seen alive and has gone on since is told again.
		if !known || end.Segments > before.Segments || end.Closed {
			list = append(list, *end)
		}
	}
	return list, nil
}

// writersOf lists the writers of an instance by their start.
func writersOf(ctx context.Context, store worm.Store, instance string) ([]string, error) {
	var names []string
	err := store.List(ctx, writersDir+instance+"-", "", func(e worm.Entry) bool {
		name := strings.TrimPrefix(e.Key, writersDir)
		// "gw-" is a prefix of instance "gw-2" as well.
		if of, _, err := parseWriter(name); err == nil && of == instance {
			names = append(names, name)
		}
		return true
	})
	return names, err
}

// collectTold notes what a writer's announcement says of earlier ones. The
// newest announcement is read first, and counts. Signatures are verification's
// business: nothing is decided by them here.
func collectTold(ctx context.Context, store worm.Store, writer string, told map[string]Predecessor) error {
	object, err := store.Get(ctx, announcementKey(writer), maxAnnouncement)
	if errors.Is(err, worm.ErrNotFound) || errors.Is(err, worm.ErrTooLarge) {
		return nil
	}
	if err != nil {
		return err
	}
	// Verification reports a broken announcement; it tells nothing here.
	a, _ := readAnnouncement(object.Body)
	for _, p := range a.Predecessors {
		if _, have := told[p.Writer]; !have {
			told[p.Writer] = p
		}
	}
	return nil
}

// logEnd looks at the end of a writer's log, of which so many segments are known.
func logEnd(ctx context.Context, store worm.Store, writer string, known uint64) (*Predecessor, error) {
	end := &Predecessor{Writer: writer}
	numbers, err := lastNumbers(ctx, store, writer, known)
	if err != nil {
		return nil, err
	}
	// Whole up to the first gap; the numbers start at 0 or far from the end.
	whole := 0
	for whole < len(numbers) && (numbers[whole] == 0 || whole > 0 && numbers[whole] == numbers[whole-1]+1 ||
		whole == 0 && len(numbers) > maxInFlight) {
		whole++
	}
	if whole > 0 {
		end.Segments = numbers[whole-1] + 1
		if err := end.describe(ctx, store); err != nil {
			return nil, err
		}
	}
	for _, number := range numbers[whole:] {
		object, err := store.Get(ctx, segmentKey(writer, number), maxSegment)
		if err != nil {
			return nil, err
		}
		end.Stranded = append(end.Stranded, Stranded{Segment: number, SHA256: digest(object.Body)})
	}
	return end, nil
}

// describe reads the last whole segment.
func (p *Predecessor) describe(ctx context.Context, store worm.Store) error {
	object, err := store.Get(ctx, segmentKey(p.Writer, p.Segments-1), maxSegment)
	if err != nil {
		return err
	}
	if err := p.take(object.Body); err != nil {
		p.Problem = err.Error()
	}
	return nil
}

// take notes what the last whole segment says.
func (p *Predecessor) take(body []byte) error {
	s, err := parseSegment(body)
	if err != nil {
		return err
	}
	p.Checkpoint = string(s.note)
	last, err := s.record(len(s.records) - 1)
	if err != nil {
		return err
	}
	p.Closed = last.Type == TypeWriterClosed
	return nil
}

// lastNumbers are the numbers of a writer's last segments, at least one more
// than can be in flight if there are so many.
func lastNumbers(ctx context.Context, store worm.Store, writer string, known uint64) ([]uint64, error) {
	// Double a lower bound, then halve the way back: few listings for any length.
	any := func(from uint64) (bool, error) {
		found := false
		err := listSegments(ctx, store, writer, from, func(uint64) bool { found = true; return false })
		return found, err
	}
	low := known - min(known, 1) // something from low on, unless there is nothing at all
	high := low + 1              // nothing from high on, at the end
	for {
		found, err := any(high)
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		low, high = high, high+2*(high-low)
	}
	for high-low > maxInFlight {
		middle := low + (high-low)/2
		found, err := any(middle)
		if err != nil {
			return nil, err
		}
		if found {
			low = middle
		} else {
			high = middle
		}
	}
	from := uint64(0)
	if low > maxInFlight {
		from = low - maxInFlight
	}
	var numbers []uint64
	err := listSegments(ctx, store, writer, from, func(n uint64) bool { numbers = append(numbers, n); return true })
	return numbers, err
}

// listSegments lists the numbers of a writer's segments from one on.
func listSegments(ctx context.Context, store worm.Store, writer string, from uint64, yield func(uint64) bool) error {
	after := ""
	if from > 0 {
		after = segmentKey(writer, from-1)
	}
	err := store.List(ctx, segmentPrefix(writer), after, func(e worm.Entry) bool {
		if of, number, ok := parseSegmentKey(e.Key); ok && of == writer {
			return yield(number)
		}
		return true // verification reports it
	})
	if err != nil {
		return fmt.Errorf("listing segments: %w", err)
	}
	return nil
}
