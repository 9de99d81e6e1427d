// Package index finds evidence records by time, principal, connection, table,
// patient's token, decision, status, query, session and type.
//
// An index proves nothing. It is made from the logs of all writers and can be
// made again at any time; what it finds is read once more from a verified
// segment before anybody sees it. It holds digests of the fields that it
// searches by, record and query ids, and no text of any record.
//
// It is kept in a file of go.etcd.io/bbolt: an ordered map on disk in pure Go,
// which needs no process of its own, no compaction and no memory but the
// system's page cache, and whose cursors walk backwards, which is what a search
// for the newest first does.
package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Reader gives what is indexed. evidence.Reader is one.
type Reader interface {
	Names(ctx context.Context) ([]string, error)
	Entries(ctx context.Context, writer string, from uint64, yield func(segment uint64, records []evidence.Record) error) error
	Beyond(ctx context.Context, writer string, missing uint64) (string, error)
}

// Config is what an Index is made of.
type Config struct {
	// Path is the index's file; beside it is <Path>.sum. Only one process may
	// use it.
	Path string
	// Store names where the evidence is. An index of another store is thrown away.
	Store  string
	Reader Reader
	Logger *slog.Logger
	// Clock is time.Now in production.
	Clock func() time.Time
}

const (
	// version is of the file's form; another one is thrown away.
	version = 2
	// maxDamaged bounds State.Damaged: a forged log may have any number of segments.
	maxDamaged = 1000
	// lockTimeout bounds the wait for another process that uses the file.
	lockTimeout = 2 * time.Second
	// sumSuffix names the file with the digest of a closed index.
	sumSuffix = ".sum"
)

// Buckets of the file.
var (
	bucketMeta     = []byte("meta")
	bucketWriters  = []byte("writers")  // name: cursor
	bucketNumbers  = []byte("numbers")  // number: name
	bucketPostings = []byte("postings") // term, time, number, sequence: place, see postings.go
	bucketDamaged  = []byte("damaged")  // segment: why it was left out
)

// errDamaged: the file is not what this package wrote.
var errDamaged = errors.New("the index file is damaged")

// Index is safe for concurrent use.
type Index struct {
	cfg Config

	// refreshing is held while the logs are followed; it is a channel so that
	// waiting for it can end.
	refreshing chan struct{}

	mu sync.RWMutex // guards db itself: held for writing while the file is replaced
	db *bolt.DB

	state struct {
		sync.Mutex
		State
		due  map[string]time.Time // when a silent writer is looked at again
		gaps map[string]gap       // by writer: where its log breaks off, though it goes on behind
	}
}

// State tells how far an index is.
type State struct {
	// UpTo is when all logs had last been followed to their ends; zero if they
	// have not been yet.
	UpTo time.Time
	// Records counts what has been indexed by this process.
	Records int64
	// Damaged are segments that do not verify and were left out, and those that are
	// missing within a log, which is left out from there on, with the reason: the
	// first 1000 of them.
	Damaged map[string]string
}

// Open opens the index's file, or makes a new one if there is none, or if it is
// damaged, of another store, of another version, or was not closed: what is in it
// can always be had again.
func Open(cfg Config) (*Index, error) {
	ix := &Index{cfg: cfg, refreshing: make(chan struct{}, 1)}
	ix.state.Damaged = make(map[string]string)
	ix.state.due, ix.state.gaps = make(map[string]time.Time), make(map[string]gap)
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o700); err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	why := ix.checkSum()
	if why == nil {
		if why = ix.open(); why == nil {
			return ix, nil
		}
		if errors.Is(why, errInUse) {
			return nil, fmt.Errorf("opening the index: %w", why)
		}
	}
	if !errors.Is(why, os.ErrNotExist) {
		cfg.Logger.Warn("the search index is made anew", "reason", why.Error())
	}
	if err := ix.fresh(); err != nil {
		return nil, fmt.Errorf("making the index: %w", err)
	}
	return ix, nil
}

// errInUse: another process has the file.
var errInUse = errors.New("another process uses the index")

// checkSum compares the file with the digest that Close left. Pages are read
// only of a file that this package is known to have written: the store trusts
// what is in them.
func (ix *Index) checkSum() error {
	want, err := os.ReadFile(ix.cfg.Path + sumSuffix)
	if errors.Is(err, os.ErrNotExist) {
		if _, there := os.Stat(ix.cfg.Path); there == nil {
			return fmt.Errorf("%w: it was not closed", errDamaged)
		}
		return err
	}
	if err != nil {
		return err
	}
	got, err := sumFile(ix.cfg.Path)
	if err != nil {
		return err
	}
	if got != string(want) {
		return fmt.Errorf("%w: its digest is not the one it was closed with", errDamaged)
	}
	return nil
}

func sumFile(path string) (sum string, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// open opens the file for writing. From here on it has no digest until Close.
func (ix *Index) open() error {
	// Nothing is synced: what a crash leaves is thrown away.
	db, err := bolt.Open(ix.cfg.Path, 0o600, &bolt.Options{Timeout: lockTimeout, NoSync: true, NoFreelistSync: true,
		FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := errors.Join(guarded(func() error { return ix.prepare(db) }), remove(ix.cfg.Path+sumSuffix)); err != nil {
		return errors.Join(err, db.Close())
	}
	ix.db = db
	return nil
}

// meta says what a file is.
type meta struct {
	Version int    `json:"version"`
	Store   string `json:"store"`
}

// prepare sees that the file is an index of this store, or makes an empty one of
// an empty file.
func (ix *Index) prepare(db *bolt.DB) error {
	return db.Update(func(tx *bolt.Tx) error {
		mine := meta{version, ix.cfg.Store}
		if b := tx.Bucket(bucketMeta); b != nil {
			var m meta
			if err := json.Unmarshal(b.Get(bucketMeta), &m); err != nil || m != mine {
				return errors.New("it is of another store or version")
			}
			return ix.recall(tx)
		}
		for _, name := range [][]byte{bucketMeta, bucketWriters, bucketNumbers, bucketPostings, bucketDamaged} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		text, err := json.Marshal(mine)
		if err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(bucketMeta, text)
	})
}

// recall reads what was left out of the index before.
func (ix *Index) recall(tx *bolt.Tx) error {
	ix.state.Lock()
	defer ix.state.Unlock()
	return tx.Bucket(bucketDamaged).ForEach(func(segment, why []byte) error {
		if len(ix.state.Damaged) < maxDamaged {
			ix.state.Damaged[string(segment)] = string(why)
		}
		return nil
	})
}

// fresh replaces the file by an empty one.
func (ix *Index) fresh() error {
	if err := errors.Join(remove(ix.cfg.Path), remove(ix.cfg.Path+sumSuffix)); err != nil {
		return err
	}
	return ix.open()
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// rebuild throws away a file that turned out to be wrong while it was used.
func (ix *Index) rebuild(why error) error {
	ix.cfg.Logger.Warn("the search index is made anew", "reason", why.Error())
	ix.mu.Lock()
	defer ix.mu.Unlock()
	_ = guarded(ix.db.Close) // the file is removed, whatever it says
	ix.state.Lock()
	ix.state.UpTo = time.Time{}
	clear(ix.state.due)
	clear(ix.state.gaps)
	clear(ix.state.Damaged)
	ix.state.Unlock()
	return ix.fresh()
}

// Close ends the index and leaves its digest, so that it can be used again.
func (ix *Index) Close() error {
	ix.refreshing <- struct{}{}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if err := errors.Join(guarded(ix.db.Sync), guarded(ix.db.Close)); err != nil {
		return fmt.Errorf("closing the index: %w", err)
	}
	sum, err := sumFile(ix.cfg.Path)
	if err != nil {
		return fmt.Errorf("closing the index: %w", err)
	}
	if err := os.WriteFile(ix.cfg.Path+sumSuffix, []byte(sum), 0o600); err != nil {
		return fmt.Errorf("closing the index: %w", err)
	}
	return nil
}

// view and update run a transaction. A disk that damages the file while it is
// mapped shows as a fault or a panic: it is errDamaged here.
func (ix *Index) view(f func(*bolt.Tx) error) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return guarded(func() error { return ix.db.View(f) })
}

func (ix *Index) update(f func(*bolt.Tx) error) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return guarded(func() error { return ix.db.Update(f) })
}

func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}
