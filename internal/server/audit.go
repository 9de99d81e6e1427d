package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/worm"
)

// indexEvery is how often the search index follows the logs by itself; a search
// follows them, too.
const indexEvery = 15 * time.Second

// auditing is what auditors see, and the index behind it.
type auditing struct {
	*audit.Service
	index *index.Index
	// private is a folder of the index that ends with the process, "" if it stays.
	private string
}

// newAuditing opens the index and builds the service. Nothing follows the logs yet.
func (s *Server) newAuditing(store worm.Store, rejects audit.Rejecter, bundles bundle.Config) (_ *auditing, err error) {
	a := &auditing{}
	path := s.cfg.Evidence.Index
	if path == "" {
		if a.private, err = os.MkdirTemp("", "chaperone-index-"); err != nil {
			return nil, fmt.Errorf("making the search index: %w", err)
		}
		path = filepath.Join(a.private, "index.db")
	}
	if a.index, err = index.Open(index.Config{Path: path, Store: storeName(s.cfg), Reader: s.reader, Logger: s.logger, Clock: time.Now}); err != nil {
		return nil, errors.Join(err, a.forget())
	}
	a.Service, err = audit.New(audit.Config{Index: a.index, Reader: s.reader, Log: s.log, Rejects: rejects,
		Bundles: &storedBundles{store, bundles}, Logger: s.logger, Clock: time.Now})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *auditing) close() error { return errors.Join(a.index.Close(), a.forget()) }

func (a *auditing) forget() error {
	if a.private == "" {
		return nil
	}
	return os.RemoveAll(a.private)
}

// storeName says which store an index is of.
func storeName(cfg *config.Config) string {
	if cfg.Store.Dir != nil {
		return "dir " + cfg.Store.Dir.Path
	}
	c := cfg.Store.S3
	return strings.Join([]string{"s3", c.Endpoint, c.Bucket, c.Prefix}, " ")
}

// storedBundles gives the bundles that the gateways stored, and makes others.
type storedBundles struct {
	store worm.Store
	cfg   bundle.Config
}

// Days implements audit.Bundles.
func (b *storedBundles) Days(ctx context.Context) (days []audit.Day, err error) {
	err = b.store.List(ctx, bundle.Prefix, "", func(e worm.Entry) bool {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Key, bundle.Prefix), ".zip")
		if day, err := time.Parse("2006/01/02", name); err == nil && bundle.Key(day) == e.Key {
			days = append(days, audit.Day{Day: day, Size: e.Size, Stored: e.Modified})
		}
		return true
	})
	slices.Reverse(days)
	return days, err
}

// Open implements audit.Bundles.
func (b *storedBundles) Open(ctx context.Context, day time.Time) (io.ReadCloser, int64, error) {
	body, entry, err := b.store.Open(ctx, bundle.Key(day))
	return body, entry.Size, err
}

// Make implements audit.Bundles.
func (b *storedBundles) Make(ctx context.Context, f evidence.Filter, out io.Writer) error {
	cfg := b.cfg
	cfg.Filter = f
	_, err := bundle.Build(ctx, cfg, out)
	return err
}
