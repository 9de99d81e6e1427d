package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// Get implements worm.Store. It asks for the newest version and for the list
// of versions at the same time; only if there is more than one does it read
// again, the oldest.
func (s *Store) Get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if err := worm.CheckKey(key); err != nil {
		return worm.Object{}, err
	}
	object, err := read(ctx, s, func(ctx context.Context) (worm.Object, error) { return s.get(ctx, key, limit) })
	if err != nil {
		return worm.Object{}, fmt.Errorf("reading %s: %w", key, err)
	}
	return object, nil
}

func (s *Store) get(ctx context.Context, key string, limit int64) (worm.Object, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	var (
		object   worm.Object
		id       string
		newest   error
		versions history
	)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		// A newest version that is a marker or too large is no failure yet.
		object, id, newest = s.version(gctx, key, "", limit)
		if newest != nil && !isContract(newest) {
			return newest
		}
		return nil
	})
	group.Go(func() (err error) {
		versions, err = s.history(gctx, key)
		return err
	})
	if err := group.Wait(); err != nil {
		return worm.Object{}, err
	}
	if versions.oldest == "" {
		// Created between the two answers: one version, which is the oldest.
		return object, newest
	}
	if newest != nil || id != versions.oldest {
		object, _, newest = s.version(ctx, key, versions.oldest, limit)
	}
	object.Anomaly = versions.anomaly()
	return object, newest
}

// version reads one version ("" is the newest) and tells its id.
func (s *Store) version(ctx context.Context, key, id string, limit int64) (object worm.Object, got string, err error) {
	input := &s3.GetObjectInput{Bucket: s.bucket(), Key: s.key(key)}
	if id != "" {
		input.VersionId = aws.String(id)
	}
	out, err := s.client.GetObject(ctx, input)
	if err != nil {
		if isStatus(err, http.StatusNotFound) && !missingBucket(err) {
			err = worm.ErrNotFound
		}
		return object, "", err
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	if aws.ToInt64(out.ContentLength) > limit {
		return object, "", worm.ErrTooLarge
	}
	object.Modified = aws.ToTime(out.LastModified).UTC()
	object.Body, err = io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err == nil && int64(len(object.Body)) > limit {
		return worm.Object{}, "", worm.ErrTooLarge
	}
	return object, aws.ToString(out.VersionId), err
}

func missingBucket(err error) bool {
	var missing *types.NoSuchBucket
	return errors.As(err, &missing)
}

// history is what the versions of one key say.
type history struct {
	newest, oldest   string // version ids
	entry            worm.Entry
	versions, marker int
}

func (h *history) anomaly() string {
	switch {
	case h.marker > 0 && h.versions > 1:
		return fmt.Sprintf("%d versions and %d delete markers", h.versions, h.marker)
	case h.marker > 0:
		return "a delete marker hides it"
	case h.versions > 1:
		return fmt.Sprintf("%d versions", h.versions)
	}
	return ""
}

func (s *Store) history(ctx context.Context, key string) (h history, err error) {
	err = s.versions(ctx, s.page, key, "", func(found *history) bool {
		if found.entry.Key == key {
			h = *found
		}
		return false // the key itself sorts before every longer one
	})
	return h, err
}

// List implements worm.Store. It lists versions, not objects: a delete marker
// hides nothing.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(worm.Entry) bool) error {
	err := s.versions(ctx, s.patientPage, prefix, after, func(h *history) bool {
		h.entry.Anomaly = h.anomaly()
		return h.versions == 0 || yield(h.entry)
	})
	if err != nil {
		return fmt.Errorf("listing %q: %w", prefix, err)
	}
	return nil
}

// pager reads one page of versions.
type pager func(context.Context, *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error)

func (s *Store) page(ctx context.Context, in *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error) {
	return s.client.ListObjectVersions(ctx, in)
}

func (s *Store) patientPage(ctx context.Context, in *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error) {
	return read(ctx, s, func(ctx context.Context) (*s3.ListObjectVersionsOutput, error) { return s.page(ctx, in) })
}

// versions calls yield with the history of each key, in byte order.
func (s *Store) versions(ctx context.Context, fetch pager, prefix, after string, yield func(*history) bool) error {
	input := &s3.ListObjectVersionsInput{Bucket: s.bucket(), Prefix: s.key(prefix)}
	switch {
	case strings.HasPrefix(after, prefix) && after != "":
		input.KeyMarker = s.key(after)
	case after > prefix:
		return nil // every key of the prefix sorts before
	}
	// A marker before the prefix says nothing, and MinIO refuses one outside of it.
	var open *history // its further versions may be on the next page
	for {
		page, err := fetch(ctx, input)
		if err != nil {
			return err
		}
		for _, h := range s.merge(page) {
			if h.entry.Key <= after {
				continue // some servers read the marker as inclusive
			}
			if open != nil && open.entry.Key == h.entry.Key {
				open.add(h)
				continue
			}
			if open != nil && !yield(open) {
				return nil
			}
			open = h
		}
		if !aws.ToBool(page.IsTruncated) {
			break
		}
		input.KeyMarker, input.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
	}
	if open != nil {
		yield(open)
	}
	return nil
}

// merge joins the two lists of a page, each sorted by key and newest first,
// into one history a key.
func (s *Store) merge(page *s3.ListObjectVersionsOutput) []*history {
	var merged []*history
	at := func(key string) *history {
		if n := len(merged); n == 0 || merged[n-1].entry.Key != key {
			merged = append(merged, &history{entry: worm.Entry{Key: key}})
		}
		return merged[len(merged)-1]
	}
	versions, markers := page.Versions, page.DeleteMarkers
	for len(versions) > 0 || len(markers) > 0 {
		if len(markers) > 0 && (len(versions) == 0 || aws.ToString(markers[0].Key) < aws.ToString(versions[0].Key)) {
			at(s.relative(markers[0].Key)).marker++
			markers = markers[1:]
			continue
		}
		v := versions[0]
		h := at(s.relative(v.Key))
		id := aws.ToString(v.VersionId)
		h.add(&history{newest: id, oldest: id, versions: 1,
			entry: worm.Entry{Size: aws.ToInt64(v.Size), Modified: lastModified(v)}})
		versions = versions[1:]
	}
	return merged
}

func lastModified(v types.ObjectVersion) time.Time { return aws.ToTime(v.LastModified).UTC() }

// add takes in older versions of the same key. A version that a server puts
// at the end of one page and at the start of the next counts once.
func (h *history) add(older *history) {
	if h.versions == 0 {
		h.newest = older.newest
	} else if older.newest == h.oldest {
		h.versions--
	}
	h.versions += older.versions
	h.marker += older.marker
	if older.versions > 0 {
		h.oldest, h.entry.Size, h.entry.Modified = older.oldest, older.entry.Size, older.entry.Modified
	}
}

func (s *Store) relative(key *string) string {
	return strings.TrimPrefix(aws.ToString(key), s.cfg.Prefix)
}

// patience bounds how long a read is tried again when ctx has no end.
const patience = 15 * time.Second

// read tries a read again until it has an answer, within patience and ctx.
func read[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (answer T, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	err = s.retry(ctx, 0, func(ctx context.Context) (err error) {
		answer, err = call(ctx)
		return err
	})
	return answer, err
}
