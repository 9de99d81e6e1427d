package evidence

import (
	"context"
	"errors"

	"github.com/chaperone-sql/chaperone/worm"
)

// verifyHolds checks the notes of auditors' orders: each signed by a trusted
// auditor's key, and no end without its order. What they ask for is not compared
// with the locks of the store, which a copy does not have.
func (v *verifier) verifyHolds(ctx context.Context) error {
	last := ""
	for _, key := range v.holds {
		object, err := v.store.Get(ctx, key, maxSegment)
		switch {
		case errors.Is(err, worm.ErrNotFound), errors.Is(err, worm.ErrTooLarge):
			v.finding(key, KindMalformed, "The auditor's order cannot be read: %v.", err)
			continue
		case err != nil:
			return err
		}
		order, ended, err := openHold(key, object.Body, v.trusted)
		switch {
		case err != nil:
			v.finding(key, kindOf(err), "The auditor's order was changed, forged, or is not signed by an auditor's key that you trust: %v.", err)
		case order != nil:
			last = order.Order
		case ended.Order != last:
			v.finding(key, KindMissing, "This says that an order was carried out, but the order itself is gone or damaged.")
		}
	}
	return nil
}
