package worm

import (
	"context"
	"errors"
	"time"
)

// ErrShorter: the object is locked until later than the time asked for, and a
// lock in COMPLIANCE mode is never shortened. Nothing was changed.
var ErrShorter = errors.New("the object is locked until later already")

// Lock is what keeps an object from being changed or removed. Either of the two
// is enough: an object on hold stays when its retention has ended.
type Lock struct {
	// Until is the end of the retention, zero if there is none.
	Until time.Time
	// Compliance is true if nobody can shorten or lift the retention.
	Compliance bool
	// Hold is true while a legal hold is on.
	Hold bool
}

// Retention is what a store with real locks can do beyond Store. It always means
// the oldest version of a key, which is the truth. worm/s3 implements it;
// worm/dir does not: a directory has no locks.
type Retention interface {
	// Lock reads back what keeps an object.
	Lock(ctx context.Context, key string) (Lock, error)
	// Extend locks an object in COMPLIANCE mode until a later time (whole
	// seconds, rounded up). The time it has is success, an earlier one
	// ErrShorter. It cannot be undone by anybody.
	Extend(ctx context.Context, key string, until time.Time) error
	// Hold sets or lifts the legal hold of an object.
	Hold(ctx context.Context, key string, on bool) error
}
