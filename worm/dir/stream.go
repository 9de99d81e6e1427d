package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/chaperone-sql/chaperone/worm"
)

// CreateFrom implements worm.Store.
func (s *Store) CreateFrom(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := s.mayCreate(ctx, key); err != nil {
		return err
	}
	body, err := worm.NewSource(r, size)
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	err = s.create(key, func(f *os.File) error {
		_, err := body.CopyTo(ctx, f)
		return err
	})
	switch {
	case err == nil:
		return nil
	case body.Err() != nil:
		return fmt.Errorf("storing %s: %w", key, body.Err())
	case errors.Is(err, fs.ErrExist):
		return s.compare(ctx, key, body)
	}
	return fmt.Errorf("storing %s: %w: %w", key, worm.ErrUnavailable, err)
}

// compare tells whether an existing object is the same. If it is, it is made
// durable once more: its creator may have died before it could.
func (s *Store) compare(ctx context.Context, key string, body *worm.Source) error {
	same, err := s.same(ctx, key, body)
	switch {
	// Not found: the key is taken by something that is no object.
	case errors.Is(err, worm.ErrNotFound), err == nil && !same:
		return fmt.Errorf("storing %s: %w", key, worm.ErrExists)
	case err != nil:
		return err
	}
	if err := errors.Join(s.syncFile(key), s.syncDir(path.Dir(key))); err != nil {
		return fmt.Errorf("storing %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	return nil
}

func (s *Store) same(ctx context.Context, key string, body *worm.Source) (bool, error) {
	stored, entry, err := s.Open(ctx, key)
	if err != nil {
		return false, err
	}
	defer func() { _ = stored.Close() }()
	if entry.Size != body.Size() {
		return false, nil
	}
	same, err := body.Same(stored)
	if err != nil && body.Err() == nil {
		return false, fmt.Errorf("storing %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	return same, err
}

// Open implements worm.Store.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, worm.Entry, error) {
	if err := worm.CheckKey(key); err != nil {
		return nil, worm.Entry{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, worm.Entry{}, fmt.Errorf("reading %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	f, err := s.open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, worm.Entry{}, fmt.Errorf("reading %s: %w", key, worm.ErrNotFound)
	}
	if err != nil {
		return nil, worm.Entry{}, fmt.Errorf("reading %s: %w: %w", key, worm.ErrUnavailable, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, worm.Entry{}, errors.Join(fmt.Errorf("reading %s: %w: %w", key, worm.ErrUnavailable, err), f.Close())
	}
	entry := worm.Entry{Key: key, Size: info.Size(), Modified: info.ModTime().UTC()}
	return &stream{ctx: ctx, key: key, file: f, left: info.Size()}, entry, nil
}

// stream is an open object.
type stream struct {
	ctx  context.Context //nolint:containedctx // it governs the reading, as the contract says
	key  string
	file *os.File
	left int64
}

// Read implements io.Reader.
func (r *stream) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("reading %s: %w: %w", r.key, worm.ErrUnavailable, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if n > 0 || err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("reading %s: %w: %w", r.key, worm.ErrUnavailable, err)
}

// Close implements io.Closer.
func (r *stream) Close() error { return r.file.Close() }
