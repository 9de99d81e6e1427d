package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Beside tells where objects are that belong to evidence and are not under
// evidence/: approvals.
type Beside struct {
	// Root is the prefix of all of them, and Hour of those of requests made in an
	// hour; a request's folder there is called as its query.
	Root string
	Hour func(time.Time) string
}

// found collects the objects of a target.
type found struct {
	segments map[string]map[uint64]bool // by writer
	objects  map[string]bool
}

func newFound() *found {
	return &found{segments: make(map[string]map[uint64]bool), objects: make(map[string]bool)}
}

func (f *found) segment(writer string, number uint64) {
	if f.segments[writer] == nil {
		f.segments[writer] = make(map[uint64]bool)
		f.objects[announcementKey(writer)] = true
	}
	f.segments[writer][number] = true
}

func (f *found) empty() bool { return len(f.segments) == 0 }

// ranges are the segments, as few ranges as there can be, in order.
func (f *found) ranges() (list []SegmentRange) {
	for writer, numbers := range f.segments {
		sorted := make([]uint64, 0, len(numbers))
		for n := range numbers {
			sorted = append(sorted, n)
		}
		slices.Sort(sorted)
		for _, n := range sorted {
			if last := len(list) - 1; last >= 0 && list[last].Writer == writer && list[last].To == n {
				list[last].To++
				continue
			}
			list = append(list, SegmentRange{Writer: writer, From: n, To: n + 1})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Writer != list[j].Writer {
			return list[i].Writer < list[j].Writer
		}
		return list[i].From < list[j].From
	})
	return list
}

func (f *found) others() []string {
	list := make([]string, 0, len(f.objects))
	for key := range f.objects {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}

// objectsOf finds what holds the records of a target: segments, the
// announcements of their writers, links, and what is beside.
func (r *Reader) objectsOf(ctx context.Context, t HoldTarget, beside Beside) (*found, error) {
	f := newFound()
	if t.Since != nil {
		return f, r.objectsWithin(ctx, *t.Since, *t.Until, beside, f)
	}
	ids := []string{t.QueryID}
	if t.SessionID != "" {
		var err error
		if ids, err = r.queriesOf(ctx, t.SessionID); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		if err := r.objectsOfQuery(ctx, id, beside, f); err != nil {
			return nil, fmt.Errorf("finding the objects of %s: %w", id, err)
		}
	}
	return f, nil
}

func (r *Reader) objectsOfQuery(ctx context.Context, id string, beside Beside, f *found) error {
	q, err := parseQueryID(id)
	if err != nil {
		return err
	}
	homes, err := r.homes(ctx, q)
	if err != nil {
		return err
	}
	for _, writer := range homes {
		err := r.findAtHome(ctx, writer, id, q, make(map[string]Record), func(s *segment) { f.segment(writer, s.Segment) })
		if err != nil {
			return err
		}
	}
	err = r.store.List(ctx, linkPrefix(id), "", func(e worm.Entry) bool {
		if _, _, _, ok := parseLinkKey(e.Key); ok {
			f.objects[e.Key] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	for key := range f.objects {
		_, writer, number, ok := parseLinkKey(key)
		if !ok || f.segments[writer][number] {
			continue
		}
		// A link whose segment was never stored points at nothing.
		if _, err := r.segment(ctx, writer, number); err == nil {
			f.segment(writer, number)
		} else if !errors.Is(err, worm.ErrNotFound) {
			return err
		}
	}
	if beside.Hour == nil {
		return nil
	}
	return r.store.List(ctx, beside.Hour(q.at)+id+"/", "", func(e worm.Entry) bool {
		f.objects[e.Key] = true
		return true
	})
}

// objectsWithin finds what holds the records of a period, and the days' bundles
// and the auditors' orders of that time.
func (r *Reader) objectsWithin(ctx context.Context, since, until time.Time, beside Beside, f *found) error {
	names, err := r.writerNames(ctx, 0)
	if err != nil {
		return err
	}
	for _, writer := range names {
		if _, started, err := parseWriter(writer); err != nil || !started.Before(until) {
			continue
		}
		from, err := r.seek(ctx, writer, since)
		if err != nil {
			return err
		}
		// The first segment made at or after until may still hold an earlier record.
		last, err := r.seek(ctx, writer, until)
		if err != nil {
			return err
		}
		err = listSegments(ctx, r.store, writer, from, func(number uint64) bool {
			if number <= last {
				f.segment(writer, number)
			}
			return number < last
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(r.linksWithin(ctx, f), r.besideWithin(ctx, since, until, beside, f),
		r.ordersWithin(ctx, since, until, f), r.bundlesWithin(ctx, since, until, f))
}

// linksWithin adds the links of segments that were found.
func (r *Reader) linksWithin(ctx context.Context, f *found) error {
	return r.store.List(ctx, linksDir, "", func(e worm.Entry) bool {
		if _, writer, number, ok := parseLinkKey(e.Key); ok && f.segments[writer][number] {
			f.objects[e.Key] = true
		}
		return true
	})
}

// besideWithin adds requests made in the period. What was decided in it of an
// earlier request is found by that request's query, not here.
func (r *Reader) besideWithin(ctx context.Context, since, until time.Time, beside Beside, f *found) error {
	if beside.Hour == nil {
		return nil
	}
	end := beside.Hour(until) + "~" // after every key of that hour
	return r.store.List(ctx, beside.Root, beside.Hour(since), func(e worm.Entry) bool {
		if e.Key > end {
			return false
		}
		f.objects[e.Key] = true
		return true
	})
}

func (r *Reader) ordersWithin(ctx context.Context, since, until time.Time, f *found) error {
	return r.store.List(ctx, holdsDir, "", func(e worm.Entry) bool {
		order, _, ok := parseHoldKey(e.Key)
		if _, at, err := parseWriter("x-" + order); ok && err == nil && !at.Before(since) && at.Before(until) {
			f.objects[e.Key] = true
		}
		return true
	})
}

// bundlesRoot is where the bundles of closed days are.
const bundlesRoot = "bundles/"

func (r *Reader) bundlesWithin(ctx context.Context, since, until time.Time, f *found) error {
	return r.store.List(ctx, bundlesRoot, "", func(e worm.Entry) bool {
		day, err := time.Parse("2006/01/02", strings.TrimSuffix(strings.TrimPrefix(e.Key, bundlesRoot), ".zip"))
		if err == nil && day.Add(24*time.Hour).After(since) && day.Before(until) {
			f.objects[e.Key] = true
		}
		return true
	})
}
