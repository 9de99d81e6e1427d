package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// Holder carries out what an auditor orders: legal holds and longer retention. Each
// order is evidence itself, a signed note that is stored before the first lock is
// touched. Every method can be repeated: an order that was broken off is carried
// on, and where nothing is left to do nothing is written.
type Holder struct {
	Store worm.Store
	// Locks is the store's, of the same objects.
	Locks worm.Retention
	// Trusted are the public keys: of the writers whose records are looked for,
	// and of the auditors whose orders count.
	Trusted note.Verifiers
	// Signer is the auditor's own key; its name begins with AuditorKey.
	Signer *Signer
	// Auditors are whom reasons are sealed to.
	Auditors []age.Recipient
	Beside   Beside
	// Clock is time.Now in production.
	Clock func() time.Time
}

// lockers is how many objects are asked for at once.
const lockers = 8

// HeldReport says what was done.
type HeldReport struct {
	// Orders are the keys of the notes that were written or carried on; none if
	// nothing was left to do.
	Orders []string
	// Resumed is true if an order that was broken off was carried on.
	Resumed bool
	// Segments and Others count the objects that the target has.
	Segments, Others int
	// Changed and Already count what was done to them, and what was so before.
	Changed, Already int
	// Kept are objects that stay on hold since another order holds them.
	Kept int
	// By is the newest order of this kind on this target that was carried out
	// before, "" if none.
	By string
}

// Hold puts everything that holds the target's records on legal hold. Records
// that come later are not: repeat it.
func (h *Holder) Hold(ctx context.Context, t HoldTarget, reason string) (*HeldReport, error) {
	return h.act(ctx, HoldOrder{Action: ActionHold, HoldTarget: t}, reason)
}

// Release lifts the legal hold of a target, but not from objects that an order on
// another target holds.
func (h *Holder) Release(ctx context.Context, t HoldTarget, reason string) (*HeldReport, error) {
	return h.act(ctx, HoldOrder{Action: ActionRelease, HoldTarget: t}, reason)
}

// Extend locks a target's objects until a later time. Objects that are locked
// longer stay so. It cannot be undone.
func (h *Holder) Extend(ctx context.Context, t HoldTarget, to time.Time, reason string) (*HeldReport, error) {
	to = to.UTC().Truncate(time.Second)
	if !to.After(h.Clock()) {
		return nil, errors.New("extending retention: the date has passed")
	}
	return h.act(ctx, HoldOrder{Action: ActionExtend, HoldTarget: t, To: &to}, reason)
}

func (h *Holder) act(ctx context.Context, want HoldOrder, reason string) (*HeldReport, error) {
	if err := want.check(); err != nil {
		return nil, err
	}
	if !IsAuditorKey(h.Signer.Name()) {
		return nil, fmt.Errorf("an auditor's key is called %s…, and this one %s: make one with `chaperone keys signing --name %sNAME`",
			AuditorKey, h.Signer.Name(), AuditorKey)
	}
	if reason == "" {
		return nil, errors.New("give a reason")
	}
	orders, err := ReadHolds(ctx, h.Store, h.Trusted)
	if err != nil {
		return nil, err
	}
	report := &HeldReport{}
	for i := range orders {
		if o := &orders[i]; !o.Done && o.alike(&want) && !overtaken(orders[i+1:], o) {
			report.Resumed = true
			if err := h.carryOut(ctx, o, report); err != nil {
				return nil, err
			}
			o.Done = true
		}
	}
	f, err := NewReader(h.Store, h.Trusted).objectsOf(ctx, want.HoldTarget, h.Beside)
	if err != nil {
		return nil, err
	}
	if f.empty() {
		return nil, fmt.Errorf("%s: %w", want.HoldTarget, worm.ErrNotFound)
	}
	want.Segments, want.Objects = f.ranges(), f.others()
	report.Others = len(want.Objects)
	report.Segments = len(want.keys()) - report.Others
	held := false
	if want.Action == ActionRelease {
		held = leaveToOthers(orders, &want, report)
	}
	for i := range orders {
		if orders[i].Done && orders[i].alike(&want) {
			report.By = holdKey(orders[i].Order)
		}
	}
	left, err := h.left(ctx, &want)
	if err != nil || left == 0 && !held {
		report.Already = max(report.Already, len(want.keys())-report.Changed)
		return report, err
	}
	return report, h.order(ctx, &want, reason, report)
}

// overtaken reports whether a later order is about the hold of the same target.
func overtaken(later []HoldOrder, o *HoldOrder) bool {
	return o.Action != ActionExtend && slices.ContainsFunc(later, func(l HoldOrder) bool {
		return l.Action != ActionExtend && l.same(o.HoldTarget)
	})
}

// alike reports whether two orders ask for the same, at different times.
func (o *HoldOrder) alike(w *HoldOrder) bool {
	return o.Action == w.Action && o.same(w.HoldTarget) && (o.To == nil) == (w.To == nil) && (o.To == nil || o.To.Equal(*w.To))
}

// leaveToOthers takes out of a release what orders on other targets hold, and
// adds the notes of the holds that it ends, which were held with their objects. It
// reports whether there are such: then the release is recorded though no object is
// left to it, or the other orders could never end.
func leaveToOthers(orders []HoldOrder, release *HoldOrder, report *HeldReport) (held bool) {
	active := make(map[string][]*HoldOrder) // by target
	var mine []string
	for i := range orders {
		o := &orders[i]
		switch o.Action {
		case ActionHold:
			active[o.String()] = append(active[o.String()], o)
		case ActionRelease:
			delete(active, o.String())
		case ActionExtend: // holds nothing
		}
	}
	others := make(map[string]bool)
	for target, list := range active {
		for _, o := range list {
			if target == release.String() {
				mine = append(mine, holdKey(o.Order))
				continue
			}
			for _, key := range o.keys() {
				others[key] = true
			}
		}
	}
	free := newFound()
	for _, r := range release.Segments {
		for n := r.From; n < r.To; n++ {
			if others[segmentKey(r.Writer, n)] {
				report.Kept++
				continue
			}
			free.segment(r.Writer, n)
		}
	}
	objects := append(mine, release.Objects...)
	kept := objects[:0]
	for _, key := range objects {
		if others[key] {
			report.Kept++
			continue
		}
		kept = append(kept, key)
	}
	release.Segments, release.Objects = free.ranges(), kept
	return len(mine) > 0
}

// done reports whether an object is already as the order wants it.
func (o *HoldOrder) done(l worm.Lock) bool {
	switch o.Action {
	case ActionHold:
		return l.Hold
	case ActionRelease:
		return !l.Hold
	case ActionExtend:
		return l.Compliance && !l.Until.Before(*o.To)
	}
	return false
}

// each calls do for every object of an order and its lock, several at once.
func (h *Holder) each(ctx context.Context, o *HoldOrder, do func(ctx context.Context, key string, l worm.Lock) error) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(lockers)
	for _, key := range o.keys() {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error {
			l, err := h.Locks.Lock(gctx, key)
			if err != nil {
				return err
			}
			return do(gctx, key, l)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// left counts the objects that are not yet as the order wants them.
func (h *Holder) left(ctx context.Context, o *HoldOrder) (int, error) {
	var n atomic.Int64
	err := h.each(ctx, o, func(_ context.Context, _ string, l worm.Lock) error {
		if !o.done(l) {
			n.Add(1)
		}
		return nil
	})
	return int(n.Load()), err
}

// order stores an order and carries it out. A crash in between leaves the order
// without the note of its end; the next one like it carries it on.
func (h *Holder) order(ctx context.Context, o *HoldOrder, reason string, report *HeldReport) error {
	var err error
	if o.Reason, err = sealSecret(&Secret{Reason: reason}, h.Auditors); err != nil {
		return err
	}
	now := h.Clock().UTC().Truncate(time.Millisecond)
	o.Order, o.Key, o.Time = newOrder(now), h.Signer.VerifierKey(), now
	body, err := encodeHold(holdMagic, o, h.Signer)
	if err != nil {
		return err
	}
	if len(body) > maxSegment {
		return fmt.Errorf("%w: the order names too many objects; give a shorter period", ErrTooLarge)
	}
	if err := h.Store.Create(ctx, holdKey(o.Order), body); err != nil {
		return fmt.Errorf("recording the order: %w", err)
	}
	return h.carryOut(ctx, o, report)
}

// carryOut does to each object what the order says and then stores the note of its
// end. The order of a hold is held itself: it says why, for as long.
func (h *Holder) carryOut(ctx context.Context, o *HoldOrder, report *HeldReport) error {
	key := holdKey(o.Order)
	report.Orders = append(report.Orders, key)
	if o.Action == ActionHold {
		if err := h.Locks.Hold(ctx, key, true); err != nil {
			return err
		}
	}
	var changed, already atomic.Int64
	err := h.each(ctx, o, func(ctx context.Context, key string, l worm.Lock) error {
		if o.done(l) {
			already.Add(1)
			return nil
		}
		changed.Add(1)
		return h.apply(ctx, o, key)
	})
	if err != nil {
		return fmt.Errorf("the order %s was not carried out wholly; repeat it: %w", key, err)
	}
	done := HoldDone{Order: o.Order, Key: h.Signer.VerifierKey(), Time: h.Clock().UTC(), Changed: int(changed.Load()), Already: int(already.Load())}
	report.Changed, report.Already = report.Changed+done.Changed, report.Already+done.Already
	body, err := encodeHold(holdDoneMagic, done, h.Signer)
	if err != nil {
		return err
	}
	// Two who carry on one order at once both did; either's note will do.
	if err := h.Store.Create(ctx, key+holdDone, body); err != nil && !errors.Is(err, worm.ErrExists) {
		return fmt.Errorf("recording the end of an order: %w", err)
	}
	return nil
}

func (h *Holder) apply(ctx context.Context, o *HoldOrder, key string) error {
	if o.Action != ActionExtend {
		return h.Locks.Hold(ctx, key, o.Action == ActionHold)
	}
	err := h.Locks.Extend(ctx, key, *o.To)
	if errors.Is(err, worm.ErrShorter) {
		return nil // somebody extended it further since it was looked at
	}
	return err
}

// ReadHolds reads all orders of auditors, by time, and whether each was carried
// out. One that is not signed by a trusted auditor's key is an error: what is on
// hold would not be known.
func ReadHolds(ctx context.Context, store worm.Store, trusted note.Verifiers) ([]HoldOrder, error) {
	var keys []string
	err := store.List(ctx, holdsDir, "", func(e worm.Entry) bool {
		keys = append(keys, e.Key)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	var list []HoldOrder
	for _, key := range keys { // an order sorts before the note of its end
		object, err := store.Get(ctx, key, maxSegment)
		if err != nil {
			return nil, fmt.Errorf("reading orders: %w", err)
		}
		order, ended, err := openHold(key, object.Body, trusted)
		if err != nil {
			return nil, fmt.Errorf("reading orders: %s: %w", key, err)
		}
		if order != nil {
			list = append(list, *order)
			continue
		}
		last := len(list) - 1
		if last < 0 || list[last].Order != ended.Order {
			return nil, fmt.Errorf("reading orders: %s: %w: the end of an order that is not there", key, ErrInvalid)
		}
		list[last].Done = true
	}
	return list, nil
}
