package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/chaperone-sql/chaperone/worm"
)

var _ worm.Retention = (*Store)(nil)

// Lock implements worm.Retention. It needs s3:GetObjectRetention and
// s3:GetObjectLegalHold. It asks for each by itself: the headers of an object
// leave out what the identity may not see, which would look like no lock.
func (s *Store) Lock(ctx context.Context, key string) (worm.Lock, error) {
	lock, _, err := s.lock(ctx, key)
	if err != nil {
		return worm.Lock{}, fmt.Errorf("reading the lock of %s: %w", key, err)
	}
	return lock, nil
}

func (s *Store) lock(ctx context.Context, key string) (lock worm.Lock, version *string, err error) {
	if version, err = s.oldest(ctx, key); err != nil {
		return lock, nil, err
	}
	kept, err := read(ctx, s, func(ctx context.Context) (*s3.GetObjectRetentionOutput, error) {
		return orNone(s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: s.bucket(), Key: s.key(key), VersionId: version}))
	})
	if err != nil {
		return lock, nil, err
	}
	if kept != nil && kept.Retention != nil {
		lock.Until = aws.ToTime(kept.Retention.RetainUntilDate).UTC()
		lock.Compliance = kept.Retention.Mode == types.ObjectLockRetentionModeCompliance
	}
	held, err := read(ctx, s, func(ctx context.Context) (*s3.GetObjectLegalHoldOutput, error) {
		return orNone(s.client.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: s.bucket(), Key: s.key(key), VersionId: version}))
	})
	if err != nil {
		return lock, nil, err
	}
	lock.Hold = held != nil && held.LegalHold != nil && held.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
	return lock, version, nil
}

// orNone makes the answer that there is no lock of a kind a nil one.
func orNone[T any](answer *T, err error) (*T, error) {
	if isCode(err, "NoSuchObjectLockConfiguration") {
		return nil, nil //nolint:nilnil // no lock is an answer
	}
	return answer, err
}

// oldest is the version that is the truth.
func (s *Store) oldest(ctx context.Context, key string) (*string, error) {
	if err := worm.CheckKey(key); err != nil {
		return nil, err
	}
	h, err := read(ctx, s, func(ctx context.Context) (history, error) { return s.history(ctx, key) })
	if err != nil {
		return nil, err
	}
	if h.oldest == "" {
		return nil, worm.ErrNotFound
	}
	return aws.String(h.oldest), nil
}

// Extend implements worm.Retention. It needs s3:PutObjectRetention. It compares
// with the lock that is there, so that a mistake is told in our words; the server
// refuses to shorten a lock whatever we ask.
func (s *Store) Extend(ctx context.Context, key string, until time.Time) error {
	until = until.UTC().Add(time.Second - 1).Truncate(time.Second)
	have, version, err := s.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("extending the lock of %s: %w", key, err)
	}
	// A lock that is not in COMPLIANCE mode may only become one that is.
	switch {
	case until.Before(have.Until):
		return fmt.Errorf("extending the lock of %s: %w: until %s, and %s was asked for", key, worm.ErrShorter,
			have.Until.Format(time.RFC3339), until.Format(time.RFC3339))
	case have.Compliance && until.Equal(have.Until):
		return nil
	}
	_, err = read(ctx, s, func(ctx context.Context) (*s3.PutObjectRetentionOutput, error) {
		return s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: s.bucket(), Key: s.key(key), VersionId: version,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until)},
		})
	})
	if err != nil {
		return fmt.Errorf("extending the lock of %s: %w", key, err)
	}
	return nil
}

// Hold implements worm.Retention. It needs s3:PutObjectLegalHold.
func (s *Store) Hold(ctx context.Context, key string, on bool) error {
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	version, err := s.oldest(ctx, key)
	if err == nil {
		_, err = read(ctx, s, func(ctx context.Context) (*s3.PutObjectLegalHoldOutput, error) {
			return s.client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
				Bucket: s.bucket(), Key: s.key(key), VersionId: version, LegalHold: &types.ObjectLockLegalHold{Status: status},
			})
		})
	}
	if err != nil {
		return fmt.Errorf("changing the legal hold of %s: %w", key, err)
	}
	return nil
}
