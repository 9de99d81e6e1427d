// Package worm is a create-once, write-once object store: what was stored
// first under a key stays the truth for as long as its retention runs.
//
// "First writer wins" is the only concurrency primitive the gateway has; this
// package is where it is made true. worm/s3 uses Object Lock, worm/dir a
// directory on a laptop. Both pass worm/wormtest.
package worm

import (
	"context"
	"errors"
	"io"
	"time"
)

var (
	// ErrExists: another body is stored under the key. Nothing was changed.
	ErrExists = errors.New("object exists with other content")
	// ErrNotFound: no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrUnavailable: the store cannot be reached or answered with a fault;
	// whether a Create took effect is unknown.
	ErrUnavailable = errors.New("object store unavailable")
	// ErrTooLarge: the object is larger than the caller allowed, or than the
	// store can hold.
	ErrTooLarge = errors.New("object too large")
	// ErrBody: the body to store could not be read, or has not the size that the
	// caller said.
	ErrBody = errors.New("the body cannot be read as it was announced")
)

// Store is the contract. Keys are slash-separated, [A-Za-z0-9._/-], at most 512 bytes.
type Store interface {
	// Create stores body under key unless the key exists. It retries an
	// unknown outcome with the same bytes until ctx ends. The key holding the
	// same bytes already is success; other bytes are ErrExists. On nil the
	// object is durable and locked until the store's retention has passed.
	Create(ctx context.Context, key string, body []byte) error
	// CreateFrom is Create for a body that does not fit into memory: it reads r
	// from its start, several times, and needs the same memory for any size. r
	// must have exactly size bytes and stay as it is until CreateFrom returns,
	// or it is ErrBody. A size beyond what the store can hold is ErrTooLarge.
	CreateFrom(ctx context.Context, key string, r io.ReadSeeker, size int64) error
	// Open reads the oldest version of an object as a stream of entry.Size
	// bytes: one byte less is an error, never io.EOF. ctx governs the stream, and
	// the caller closes it.
	Open(ctx context.Context, key string) (body io.ReadCloser, entry Entry, err error)
	// Get returns the oldest version of an object, at most limit bytes
	// (limit <= 0: 64 MiB).
	Get(ctx context.Context, key string, limit int64) (Object, error)
	// List calls yield for each key under prefix in byte order, starting
	// strictly after the key `after` ("" from the start), until yield is false.
	List(ctx context.Context, prefix, after string, yield func(Entry) bool) error
	// Check verifies that the store can do what this contract says (lock
	// enabled, create-once), for start-up and `chaperone check`.
	Check(ctx context.Context) error
}

// Object is a stored object.
type Object struct {
	Body []byte
	// Modified is the store's own time of the write, UTC.
	Modified time.Time
	// Anomaly says what is wrong with the key although its oldest version is
	// intact (a second version, a delete marker), or "".
	Anomaly string
}

// Entry is one listed key.
type Entry struct {
	Key      string
	Size     int64
	Modified time.Time
	Anomaly  string
}
