// Package dir keeps a worm.Store in a directory: for a laptop, the demo, and
// for reading a copied bucket. A key's file appears whole or not at all, is on
// disk before Create returns, and is never opened for writing again.
//
// It cannot keep the owner of the directory from changing files; that is what
// worm/s3 with Object Lock is for, and what evidence verification finds out. So
// it has no locks either: Store is no worm.Retention, and nothing in a directory
// can be extended or held.
package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

const (
	// tempDir holds files that are being written. No key starts with a dot.
	tempDir = ".tmp"
	// staleTemp is the age at which a temporary file belongs to no running
	// Create any more.
	staleTemp = time.Hour
	// defaultLimit is Get's limit when the caller gives none, in bytes.
	defaultLimit = 64 << 20
)

// Config says where the store is.
type Config struct {
	// Path is the directory; it is made if it does not exist, unless ReadOnly.
	Path string
	// Retention is how long objects shall be kept. A directory cannot enforce
	// it: files are made read-only and this package never removes one.
	Retention time.Duration
	// ReadOnly refuses Create and writes nothing, for reading a copied bucket.
	ReadOnly bool
}

// Store is a worm.Store in a directory. It is safe for concurrent use by any
// number of processes on one machine.
type Store struct {
	root     *os.Root
	readOnly bool
}

var _ worm.Store = (*Store)(nil)

// New opens the directory, and removes what crashed Creates left behind.
func New(cfg Config) (*Store, error) {
	if cfg.Path == "" {
		return nil, errors.New("opening object directory: no path given")
	}
	if cfg.Retention < 0 {
		return nil, errors.New("opening object directory: the retention is negative")
	}
	if !cfg.ReadOnly {
		if err := os.MkdirAll(cfg.Path, 0o700); err != nil {
			return nil, fmt.Errorf("making object directory: %w", err)
		}
	}
	root, err := os.OpenRoot(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("opening object directory: %w", err)
	}
	s := &Store{root: root, readOnly: cfg.ReadOnly}
	if !cfg.ReadOnly {
		if err := s.sweep(time.Now()); err != nil {
			return nil, errors.Join(fmt.Errorf("preparing object directory: %w", err), root.Close())
		}
	}
	return s, nil
}

// Close releases the directory's handle.
func (s *Store) Close() error { return s.root.Close() }

// sweep makes the directory of temporary files and empties it of old ones.
func (s *Store) sweep(now time.Time) error {
	if err := s.root.MkdirAll(tempDir, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), tempDir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && now.Sub(info.ModTime()) > staleTemp {
			err = s.root.Remove(tempDir + "/" + entry.Name())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Create implements worm.Store. A full or failing disk is ErrUnavailable.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	return s.CreateFrom(ctx, key, bytes.NewReader(body), int64(len(body)))
}

// mayCreate refuses what needs no look at the disk.
func (s *Store) mayCreate(ctx context.Context, key string) error {
	if err := worm.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("storing %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	if s.readOnly {
		return fmt.Errorf("storing %s: %w: the directory was opened for reading only", key, worm.ErrUnavailable)
	}
	return nil
}

// create writes a temporary file and links it under its key. Dying before the
// link leaves a temporary file that sweep removes; after it, an object that is
// whole, since its bytes were synced first, and perhaps not yet durable: the
// caller was told nothing, and a retry syncs it in compare.
func (s *Store) create(key string, write func(*os.File) error) error {
	parent := path.Dir(key)
	if err := s.makeDirs(parent); err != nil {
		return err
	}
	temp := tempDir + "/" + rand.Text()
	if err := s.writeTemp(temp, write); err != nil {
		return errors.Join(err, s.removeTemp(temp))
	}
	// link(2) never replaces: exactly one of racing creators succeeds.
	if err := s.root.Link(temp, key); err != nil {
		return errors.Join(err, s.removeTemp(temp))
	}
	return errors.Join(s.syncDir(parent), s.removeTemp(temp))
}

func (s *Store) removeTemp(name string) error {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) writeTemp(name string, write func(*os.File) error) error {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o444)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDirs makes each missing directory durable in its parent.
func (s *Store) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	made := ""
	for part := range strings.SplitSeq(dir, "/") {
		parent := made
		made = path.Join(made, part)
		info, err := s.root.Lstat(made)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is not a directory", made)
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := s.root.Mkdir(made, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := s.syncDir(path.Join(".", parent)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) syncDir(name string) error {
	if name == "" {
		name = "."
	}
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Store) syncFile(key string) error {
	f, err := s.open(key)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// open opens a key's file. No part of the way may be a symbolic link, nor may
// the file be anything but a regular one: somebody else made it then.
func (s *Store) open(key string) (*os.File, error) {
	for i := range len(key) {
		if key[i] != '/' {
			continue
		}
		info, err := s.root.Lstat(key[:i])
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fs.ErrNotExist
		}
	}
	seen, err := s.root.Lstat(key)
	switch {
	case err != nil:
		return nil, err
	case !seen.Mode().IsRegular():
		return nil, fs.ErrNotExist // no object; List tells of it
	}
	f, err := s.root.Open(key)
	if err != nil {
		return nil, err
	}
	// os.Root resolves links itself, so what was opened is compared with what
	// was looked at.
	info, err := f.Stat()
	if err == nil && !os.SameFile(seen, info) {
		err = fmt.Errorf("%s changed while it was opened", key)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Get implements worm.Store.
func (s *Store) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if err := worm.CheckKey(key); err != nil {
		return worm.Object{}, err
	}
	if err := ctx.Err(); err != nil {
		return worm.Object{}, fmt.Errorf("reading %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	object, err := s.read(key, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return object, fmt.Errorf("reading %s: %w", key, worm.ErrNotFound)
	case errors.Is(err, worm.ErrTooLarge):
		return object, fmt.Errorf("reading %s: %w", key, err)
	case err != nil:
		return object, fmt.Errorf("reading %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	return object, nil
}

func (s *Store) read(key string, limit int64) (object worm.Object, err error) {
	f, err := s.open(key)
	if err != nil {
		return object, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return object, err
	}
	if info.Size() > limit {
		return object, worm.ErrTooLarge
	}
	object.Modified = info.ModTime().UTC()
	object.Body, err = io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(object.Body)) > limit {
		return worm.Object{}, worm.ErrTooLarge
	}
	return object, err
}

// List implements worm.Store. What is no regular file is listed with an
// anomaly: nothing of this package makes such a thing.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(worm.Entry) bool) error {
	_, err := s.walk(ctx, ".", prefix, after, yield)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing %q: %w: %w", prefix, worm.ErrUnavailable, err)
	}
	return nil
}

// walk lists one directory and what is below it, in byte order of whole keys.
func (s *Store) walk(ctx context.Context, dir, prefix, after string, yield func(worm.Entry) bool) (bool, error) {
	entries, err := s.readDir(dir)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		key := path.Join(dir, entry.Name())
		if !entry.IsDir() {
			if strings.HasPrefix(key, prefix) && key > after && !yield(s.entry(key, entry)) {
				return false, nil
			}
			continue
		}
		below := key + "/"
		// Keys below all start with `below`: skip what cannot match.
		if !strings.HasPrefix(below, prefix) && !strings.HasPrefix(prefix, below) ||
			after > below && !strings.HasPrefix(after, below) {
			continue
		}
		more, err := s.walk(ctx, key, prefix, after, yield)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || !more && err == nil {
			return more, err
		}
	}
	return true, nil
}

// readDir sorts a directory's entries as their keys sort: a directory counts
// with its slash. Names that are no part of a key are left out.
func (s *Store) readDir(dir string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return nil, err
	}
	entries := all[:0]
	for _, entry := range all {
		if worm.CheckKey(entry.Name()) == nil {
			entries = append(entries, entry)
		}
	}
	name := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	sort.Slice(entries, func(i, j int) bool { return name(entries[i]) < name(entries[j]) })
	return entries, nil
}

func (s *Store) entry(key string, d fs.DirEntry) worm.Entry {
	e := worm.Entry{Key: key}
	info, err := d.Info()
	if err != nil || !info.Mode().IsRegular() {
		e.Anomaly = "is not a regular file"
		return e
	}
	e.Size, e.Modified = info.Size(), info.ModTime().UTC()
	return e
}

// Check implements worm.Store: it makes one small object, once ever, and sees
// that a second one under the same key is refused.
func (s *Store) Check(ctx context.Context) error {
	const key = "check/create-once"
	if err := s.Create(ctx, key, []byte("chaperone\n")); err != nil {
		return fmt.Errorf("checking object directory: %w", err)
	}
	if err := s.Create(ctx, key, []byte("another\n")); !errors.Is(err, worm.ErrExists) {
		return fmt.Errorf("checking object directory: a second object under one key was not refused: %w", err)
	}
	return nil
}
