package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chaperone-sql/chaperone/worm"
)

const (
	// maxPut is the largest object that one PUT stores, in bytes (AWS: 5 GiB;
	// Amazon S3 User Guide, "Uploading objects").
	maxPut = 5 << 30
	// maxStalls is how often a stream is taken up again where it broke without
	// having got anything since.
	maxStalls = 5
)

// CreateFrom implements worm.Store with one PUT, up to 5 GiB. It has the outcomes
// of Create. Since sending a body only to have it refused costs much, it looks
// first whether the key exists; the PUT is conditional all the same.
func (s *Store) CreateFrom(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := worm.CheckKey(key); err != nil {
		return err
	}
	if err := s.createFrom(ctx, key, r, size); err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}

func (s *Store) createFrom(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if size > maxPut {
		return fmt.Errorf("%w: one upload is at most %d bytes", worm.ErrTooLarge, int64(maxPut))
	}
	body, err := worm.NewSource(r, size)
	if err != nil {
		return err
	}
	sum, err := body.Digest(ctx)
	if err != nil {
		return err
	}
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	// An attempt may read what is stored and send the body.
	return s.retry(ctx, 2*size, func(ctx context.Context) error {
		h, err := s.history(ctx, key)
		if err != nil {
			return err
		}
		if h.oldest != "" {
			return s.compareStream(ctx, key, h, body)
		}
		err = s.put(ctx, key, body.Open(), size, checksum)
		switch {
		case body.Err() != nil:
			return body.Err()
		case !isStatus(err, 412):
			return err
		}
		if h, err = s.history(ctx, key); err != nil {
			return err
		}
		if h.oldest == "" {
			return errUnknown // as in compare
		}
		return s.compareStream(ctx, key, h, body)
	})
}

// compareStream tells whether what the key holds is the same.
func (s *Store) compareStream(ctx context.Context, key string, h history, body *worm.Source) error {
	if h.entry.Size != body.Size() {
		return worm.ErrExists
	}
	stored := s.stream(ctx, key, h)
	same, err := body.Same(stored)
	_ = stored.Close()
	switch {
	case err != nil:
		return err
	case !same:
		return worm.ErrExists
	}
	return nil
}

// Open implements worm.Store. A stream that breaks is taken up again where it
// broke, from the same version.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, worm.Entry, error) {
	if err := worm.CheckKey(key); err != nil {
		return nil, worm.Entry{}, err
	}
	h, err := read(ctx, s, func(ctx context.Context) (history, error) { return s.history(ctx, key) })
	if err == nil && h.oldest == "" {
		err = worm.ErrNotFound
	}
	if err != nil {
		return nil, worm.Entry{}, fmt.Errorf("reading %s: %w", key, err)
	}
	body := s.stream(ctx, key, h)
	if err := body.connect(); err != nil {
		return nil, worm.Entry{}, err
	}
	h.entry.Anomaly = h.anomaly()
	return body, h.entry, nil
}

func (s *Store) stream(ctx context.Context, key string, h history) *stream {
	return &stream{ctx: ctx, store: s, key: key, version: h.oldest, size: h.entry.Size}
}

// stream reads one version of an object. It is used by one goroutine.
type stream struct {
	ctx       context.Context //nolint:containedctx // it governs the reading, as the contract says
	store     *Store
	key       string
	version   string
	size, off int64
	stalls    int

	body io.ReadCloser
	end  context.CancelFunc // of body's request
}

// Read implements io.Reader.
func (r *stream) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if r.off == r.size {
				return 0, io.EOF
			}
			if err := r.connect(); err != nil {
				return 0, err
			}
		}
		n, err := r.once(p)
		r.off += int64(n)
		if n > 0 {
			r.stalls = 0
			return n, nil
		}
		if err == nil {
			return 0, nil
		}
		if r.off == r.size && errors.Is(err, io.EOF) {
			_ = r.Close()
			return 0, io.EOF
		}
		// Cut short, broken, silent, or of another checksum than the server's:
		// the SDK tells the last at the end, when all of it has been given out.
		_ = r.Close()
		if r.stalls++; r.off == r.size || r.stalls > maxStalls || r.ctx.Err() != nil {
			return 0, fmt.Errorf("reading %s: %w: %w", r.key, worm.ErrUnavailable, safe(err))
		}
	}
}

// once reads what comes within the store's time limit.
func (r *stream) once(p []byte) (int, error) {
	silence := time.AfterFunc(r.store.cfg.Timeout, r.end)
	defer silence.Stop()
	if left := r.size - r.off; left == 0 {
		p = make([]byte, 1) // to see the end, or that there is more
		if n, err := r.body.Read(p); n == 0 {
			return 0, err
		}
		return 0, errors.New("the server sent more than the object has")
	} else if int64(len(p)) > left {
		p = p[:left]
	}
	return r.body.Read(p)
}

// connect asks for the version from where the stream is.
func (r *stream) connect() error {
	err := func() error {
		patient, stop := context.WithTimeout(r.ctx, patience)
		defer stop()
		return r.store.retry(patient, 0, r.request)
	}()
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.key, err)
	}
	return nil
}

// request makes the request that connect tries again. attempt bounds the wait
// for the answer; what follows is bounded by the stream's own context.
func (r *stream) request(attempt context.Context) error {
	ctx, end := context.WithCancel(r.ctx) //nolint:contextcheck // see above
	release := context.AfterFunc(attempt, end)
	defer release()
	input := &s3.GetObjectInput{Bucket: r.store.bucket(), Key: r.store.key(r.key), VersionId: aws.String(r.version)}
	if r.off > 0 {
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", r.off))
	}
	out, err := r.store.client.GetObject(ctx, input) //nolint:contextcheck // see above
	if err != nil {
		end()
		return err
	}
	if got := aws.ToInt64(out.ContentLength); got != r.size-r.off {
		end()
		_ = out.Body.Close()
		return fmt.Errorf("%w: the server sends %d bytes of %d", worm.ErrUnavailable, got, r.size-r.off)
	}
	r.body, r.end = out.Body, end
	return nil
}

// Close implements io.Closer. Closing a body that was not read to its end breaks
// its connection, and is no failure.
func (r *stream) Close() error {
	if r.body == nil {
		return nil
	}
	r.end()
	_ = r.body.Close()
	r.body = nil
	return nil
}
