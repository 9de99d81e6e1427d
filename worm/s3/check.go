package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/chaperone-sql/chaperone/worm"
)

// Check implements worm.Store: versioning and Object Lock must be on, a second
// create under one key must be refused, and what was created must be locked.
// The object it makes for that is one a month, locked like any other.
func (s *Store) Check(ctx context.Context) error {
	versioning, err := read(ctx, s, func(ctx context.Context) (*s3.GetBucketVersioningOutput, error) {
		return s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: s.bucket()})
	})
	if err != nil {
		return fmt.Errorf("checking bucket %s: reading its versioning: %w", s.cfg.Bucket, err)
	}
	if versioning.Status != types.BucketVersioningStatusEnabled {
		return fmt.Errorf("checking bucket %s: versioning is not enabled", s.cfg.Bucket)
	}
	lock, err := read(ctx, s, func(ctx context.Context) (*s3.GetObjectLockConfigurationOutput, error) {
		return s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: s.bucket()})
	})
	if err != nil {
		return fmt.Errorf("checking bucket %s: reading its Object Lock configuration: %w", s.cfg.Bucket, err)
	}
	if lock.ObjectLockConfiguration == nil ||
		lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return fmt.Errorf("checking bucket %s: Object Lock is not enabled", s.cfg.Bucket)
	}
	return s.probe(ctx)
}

// probe tries what the store promises.
func (s *Store) probe(ctx context.Context) error {
	key := "check/" + s.cfg.Clock().UTC().Format("2006-01")
	if err := s.Create(ctx, key, []byte("chaperone\n")); err != nil {
		return fmt.Errorf("checking bucket %s: creating an object: %w", s.cfg.Bucket, err)
	}
	if err := s.Create(ctx, key, []byte("another\n")); !errors.Is(err, worm.ErrExists) {
		if err != nil {
			return fmt.Errorf("checking bucket %s: creating an object twice: %w", s.cfg.Bucket, err)
		}
		return fmt.Errorf("checking bucket %s: the server does not honour If-None-Match", s.cfg.Bucket)
	}
	head, err := read(ctx, s, func(ctx context.Context) (*s3.HeadObjectOutput, error) {
		return s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucket(), Key: s.key(key)})
	})
	if err != nil {
		return fmt.Errorf("checking bucket %s: reading an object's lock: %w", s.cfg.Bucket, err)
	}
	if head.ObjectLockMode != types.ObjectLockModeCompliance || head.ObjectLockRetainUntilDate == nil {
		return fmt.Errorf("checking bucket %s: a created object is not locked in COMPLIANCE mode "+
			"(or the identity lacks s3:GetObjectRetention)", s.cfg.Bucket)
	}
	return nil
}
