package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
)

// Bundles lists the stored bundles of days, newest first.
func (s *Service) Bundles(ctx context.Context, p *identity.Principal, m gateway.Meta) ([]Day, error) {
	if err := s.enterAll(ctx, p, m); err != nil {
		return nil, err
	}
	days, err := s.cfg.Bundles.Days(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	if _, err := s.record(ctx, p, look{what: "bundles", facts: map[string]string{"found": strconv.Itoa(len(days))}}, m); err != nil {
		return nil, err
	}
	return days, nil
}

// Bundle streams the bundle of a day. ctx governs the stream.
func (s *Service) Bundle(ctx context.Context, p *identity.Principal, day time.Time, m gateway.Meta) (io.ReadCloser, int64, error) {
	if err := s.enterAll(ctx, p, m); err != nil {
		return nil, 0, err
	}
	body, size, err := s.cfg.Bundles.Open(ctx, day)
	if err != nil && !errors.Is(err, worm.ErrNotFound) {
		return nil, 0, s.problem(err)
	}
	facts := map[string]string{"day": day.UTC().Format(time.DateOnly), "bytes": strconv.FormatInt(size, 10)}
	recorded, failed := s.record(ctx, p, look{what: "bundle", taken: err == nil, facts: facts}, m)
	if failed != nil {
		if body != nil {
			failed = errors.Join(failed, body.Close())
		}
		return nil, 0, failed
	}
	if err != nil {
		return nil, 0, &gateway.Problem{Code: gateway.CodeNotFound, Detail: "There is no bundle of this day (yet).", RecordingID: recorded}
	}
	return body, size, nil
}

// NewBundle makes a bundle of what a filter chooses and streams it. The look is
// recorded when the bundle is made, before a byte of it leaves.
func (s *Service) NewBundle(ctx context.Context, p *identity.Principal, f evidence.Filter, m gateway.Meta) (io.ReadCloser, int64, error) {
	if err := s.enterAll(ctx, p, m); err != nil {
		return nil, 0, err
	}
	now := s.cfg.Clock().UTC()
	switch {
	case f.Since.IsZero(), f.Until.IsZero(), !f.Since.Before(f.Until), f.Until.After(now):
		return nil, 0, s.cfg.Rejects.Reject(ctx, p, &gateway.Problem{Code: gateway.CodeMalformed,
			Detail: "A bundle needs a period: its begin, and its end, which must be over."}, m, "")
	}
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	default:
		return nil, 0, s.cfg.Rejects.Reject(ctx, p, &gateway.Problem{Code: gateway.CodeTooMany, Retryable: true, RetryAfter: 30 * time.Second,
			Detail: "Another bundle is being made. One is made at a time."}, m, "")
	}
	file, size, err := s.makeBundle(ctx, f)
	if err != nil {
		return nil, 0, s.problem(err)
	}
	s.refresh(ctx)
	known, err := s.exists(ctx, f)
	if err == nil {
		_, err = s.record(ctx, p, look{what: "new bundle", taken: true, asked: askedFilter(f), known: known,
			facts: withPeriod(f, map[string]string{"bytes": strconv.FormatInt(size, 10)})}, m)
	}
	if err != nil {
		return nil, 0, errors.Join(s.problem(err), file.Close())
	}
	return file, size, nil
}

// exists reports whether the index knows a record that the filter chooses, so that
// the filter may be recorded in clear.
func (s *Service) exists(ctx context.Context, f evidence.Filter) (bool, error) {
	page, err := s.cfg.Index.Search(ctx, oneOf(f))
	return err == nil && len(page.Hits) > 0, err
}

// temporary is a file that is gone when it is closed.
type temporary struct{ *os.File }

// Close implements io.Closer.
func (t temporary) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }

func (s *Service) makeBundle(ctx context.Context, f evidence.Filter) (_ io.ReadCloser, size int64, err error) {
	file, err := os.CreateTemp(s.cfg.Temp, "chaperone-bundle-*.zip")
	if err != nil {
		return nil, 0, fmt.Errorf("making a bundle: %w", err)
	}
	t := temporary{file}
	if err = s.cfg.Bundles.Make(ctx, f, file); err == nil {
		if size, err = file.Seek(0, io.SeekEnd); err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		return nil, 0, errors.Join(err, t.Close())
	}
	return t, size, nil
}
