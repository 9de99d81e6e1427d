package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/chaperone-sql/chaperone/worm"
)

// Pauses between attempts grow from the first to the last, with jitter.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Create implements worm.Store. One attempt has three outcomes:
//
//   - stored: 200, durable and locked;
//   - refused: 412 (the key exists: its oldest version decides between success
//     and ErrExists), or another 4xx: returned at once as ErrUnavailable, since
//     trying again cannot help;
//   - unknown: no answer, a 5xx, 409 ConditionalRequestConflict, throttling.
//     The same bytes are sent again until ctx ends. If the first attempt was
//     stored after all, the next gets 412 and finds its own bytes.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	if err := worm.CheckKey(key); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	err := s.retry(ctx, int64(len(body)), func(ctx context.Context) error {
		err := s.put(ctx, key, bytes.NewReader(body), int64(len(body)), checksum)
		if !isStatus(err, 412) {
			return err
		}
		return s.compare(ctx, key, body)
	})
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, body io.ReadSeeker, size int64, checksum string) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: s.bucket(), Key: s.key(key), Body: body,
		ContentLength: aws.Int64(size), ContentType: aws.String("application/octet-stream"),
		IfNoneMatch:               aws.String("*"),
		ObjectLockMode:            types.ObjectLockModeCompliance,
		ObjectLockRetainUntilDate: aws.Time(s.cfg.Clock().Add(s.cfg.Retention).UTC()),
		ChecksumSHA256:            aws.String(checksum), // a PUT with lock headers must carry one
	})
	return err
}

// compare answers a 412: is what the key holds the same?
func (s *Store) compare(ctx context.Context, key string, body []byte) error {
	object, err := s.get(ctx, key, int64(len(body)))
	switch {
	case errors.Is(err, worm.ErrTooLarge), err == nil && !bytes.Equal(object.Body, body):
		return worm.ErrExists
	case errors.Is(err, worm.ErrNotFound):
		// Refused in favour of a racing create that then failed: nothing is
		// stored, so the outcome is as open as before.
		return errUnknown
	}
	return err
}

// errUnknown makes retry try again.
var errUnknown = errors.New("the outcome is unknown")

// retry runs attempts until one has a definite outcome or ctx ends. size is
// the number of bytes an attempt moves.
func (s *Store) retry(ctx context.Context, size int64, attempt func(context.Context) error) error {
	allowed := s.cfg.Timeout + time.Duration(size)*time.Second/slowest
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.once(ctx, allowed, attempt)
		if err == nil || isContract(err) {
			return err
		}
		if !unknown(err) {
			return fmt.Errorf("%w: %w", worm.ErrUnavailable, safe(err))
		}
		wait := time.NewTimer(pause/2 + rand.N(pause)) // #nosec G404 -- jitter
		select {
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("%w: %w (%w)", worm.ErrUnavailable, safe(err), context.Cause(ctx))
		case <-wait.C:
		}
	}
}

func (s *Store) once(ctx context.Context, allowed time.Duration, attempt func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, allowed)
	defer stop()
	return attempt(ctx)
}
