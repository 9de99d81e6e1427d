package evidence

import "errors"

// Errors of the log that callers act on. Each says whether it fails one record
// or the writer.
var (
	// ErrUnavailable fails one record: it is not known to be durable, so what
	// it tells must not be released. It may become durable later all the same:
	// then the record exists and the answer was withheld.
	ErrUnavailable = errors.New("evidence cannot be made durable")
	// ErrStopped fails the writer, for good: it was closed, or the store holds
	// other bytes under one of its keys, so that somebody else writes with its
	// identity. Only a restart, which is a new writer, helps.
	ErrStopped = errors.New("the evidence writer has stopped")
	// ErrTooLarge fails one record: it is beyond what a segment may hold.
	ErrTooLarge = errors.New("the record is too large")
	// ErrInvalid: an evidence object is not what its format says, or is not
	// signed by a trusted key. The text says what.
	ErrInvalid = errors.New("invalid evidence")
)
