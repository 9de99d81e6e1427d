package worm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
)

// chunk is how much of a stream is held at once, in bytes.
const chunk = 256 << 10

// Source is a body of known size that a store reads several times: for its
// checksum, for each attempt, and to compare it with what is stored. Implementers
// of Store use it.
type Source struct {
	size int64

	mu   sync.Mutex
	r    io.ReadSeeker
	now  *pass
	fail error
}

// pass is one reading of a Source from its start.
type pass struct {
	s   *Source
	off int64
}

// NewSource sees that r has size bytes.
func NewSource(r io.ReadSeeker, size int64) (*Source, error) {
	end, err := r.Seek(0, io.SeekEnd)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	case end != size:
		return nil, fmt.Errorf("%w: it has %d bytes and not %d", ErrBody, end, size)
	}
	return &Source{r: r, size: size}, nil
}

// Size is the number of bytes.
func (s *Source) Size() int64 { return s.size }

// Err is why the body could not be read, as ErrBody, or nil. It tells that apart
// from the failure of whoever read it.
func (s *Source) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

// Open begins at the start again. What an earlier Open gave reads no more: an
// HTTP transport may still be reading the body of an attempt that was given up.
func (s *Source) Open() io.ReadSeeker {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &pass{s: s}
	s.now = p
	s.seek(0)
	return p
}

func (s *Source) seek(off int64) {
	if _, err := s.r.Seek(off, io.SeekStart); err != nil {
		s.fail = fmt.Errorf("%w: %w", ErrBody, err)
	}
}

var errPassed = errors.New("this reading of the body was given up")

// Read implements io.Reader. A body that ends early is an error.
func (p *pass) Read(b []byte) (int, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch left := p.s.size - p.off; {
	case p.s.now != p:
		return 0, errPassed
	case p.s.fail != nil:
		return 0, p.s.fail
	case left == 0:
		return 0, io.EOF
	case int64(len(b)) > left:
		b = b[:left]
	}
	n, err := p.s.r.Read(b)
	p.off += int64(n)
	switch {
	case n > 0:
		return n, nil
	case err == nil:
		return 0, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	p.s.fail = fmt.Errorf("%w: %w", ErrBody, err)
	return 0, p.s.fail
}

// Seek implements io.Seeker.
func (p *pass) Seek(offset int64, whence int) (int64, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.now != p {
		return 0, errPassed
	}
	switch whence {
	case io.SeekCurrent:
		offset += p.off
	case io.SeekEnd:
		offset += p.s.size
	}
	if offset < 0 || offset > p.s.size {
		return 0, errors.New("seeking outside of the body")
	}
	p.off = offset
	p.s.seek(offset)
	return offset, p.s.fail
}

// Digest is the SHA-256 of the body, read in a pass of its own.
func (s *Source) Digest(ctx context.Context) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if _, err := s.CopyTo(ctx, h); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

// CopyTo writes the body in a pass of its own, until ctx ends.
func (s *Source) CopyTo(ctx context.Context, w io.Writer) (n int64, err error) {
	p, buffer := s.Open(), make([]byte, chunk)
	for n < s.size {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		got, err := p.Read(buffer)
		if err != nil {
			return n, err
		}
		if _, err := w.Write(buffer[:got]); err != nil {
			return n, err
		}
		n += int64(got)
	}
	return n, nil
}

// Same reports whether r gives exactly the bytes of the body. An error is r's
// own or ErrBody.
func (s *Source) Same(r io.Reader) (bool, error) {
	p := s.Open()
	mine, theirs := make([]byte, chunk), make([]byte, chunk)
	for {
		n, err := io.ReadFull(r, theirs)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return false, err
		}
		m, err := io.ReadFull(p, mine[:n])
		switch {
		case s.Err() != nil:
			return false, s.Err()
		case m < n, !bytes.Equal(mine[:n], theirs[:n]):
			return false, nil
		case err != nil && !errors.Is(err, io.EOF):
			return false, err
		}
		if ended {
			_, err := p.Read(mine[:1])
			return errors.Is(err, io.EOF), s.Err()
		}
	}
}
