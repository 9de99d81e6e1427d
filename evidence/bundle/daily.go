package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/worm"
)

// Prefix is where the bundles of days are in the store.
const Prefix = "bundles/"

// Key is the object of a day's bundle (UTC).
func Key(day time.Time) string { return Prefix + day.UTC().Format("2006/01/02") + ".zip" }

const (
	// settle is how long after its end a day is bundled: records that were on
	// their way are stored by then, and every running writer has a heartbeat.
	settle = 10 * time.Minute
	// spread keeps gateways from making the same bundle at the same time.
	spread = 5 * time.Minute
	// catchUp is for how many days back a missing bundle is made.
	catchUp = 7
	// again is how soon a look that failed, or found nothing to do, is repeated.
	again = time.Hour
)

// Recorder is the gateway's log.
type Recorder interface {
	AppendAsync(r *evidence.Record) error
}

// Daily stores a bundle of each closed day, create-once: whichever gateway comes
// first.
type Daily struct {
	// Config is what each bundle is made of; its Filter is set for each day.
	Config Config
	Log    Recorder
	Logger *slog.Logger
}

// Run makes the bundles of closed days until ctx ends.
func (d *Daily) Run(ctx context.Context) {
	for {
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.Logger.Error("the bundle of a day could not be made; trying again", "error", err)
		}
		wait := time.NewTimer(d.pause())
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// pause is until a while after the end of the day, but not for long.
func (d *Daily) pause() time.Duration {
	now := d.Config.Clock().UTC()
	end := now.Truncate(24 * time.Hour).Add(24*time.Hour + settle)
	return min(end.Sub(now), again) + rand.N(spread) // #nosec G404 -- spreads load
}

// Look makes the bundles that are missing, of the last days that are over.
func (d *Daily) Look(ctx context.Context) error {
	today := d.Config.Clock().UTC().Add(-settle).Truncate(24 * time.Hour)
	first, err := d.firstDay(ctx)
	if err != nil || first.IsZero() {
		return err
	}
	var all []error
	for back := catchUp; back >= 1; back-- {
		day := today.AddDate(0, 0, -back)
		if day.Before(first) {
			continue
		}
		there, err := d.exists(ctx, Key(day))
		if err == nil && !there {
			err = d.Make(ctx, day)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", day.Format(time.DateOnly), err))
		}
	}
	return errors.Join(all...)
}

// firstDay is the day when the first writer started; zero if there is none.
func (d *Daily) firstDay(ctx context.Context) (first time.Time, err error) {
	writers, err := evidence.NewReader(d.Config.Store, d.Config.Trusted).Names(ctx)
	for _, writer := range writers {
		if started, _ := evidence.WriterStart(writer); first.IsZero() || started.Before(first) {
			first = started
		}
	}
	return first.Truncate(24 * time.Hour), err
}

func (d *Daily) exists(ctx context.Context, key string) (bool, error) {
	there := false
	err := d.Config.Store.List(ctx, key, "", func(e worm.Entry) bool {
		there = e.Key == key
		return false
	})
	return there, err
}

// Make makes the bundle of a day and stores it, unless another gateway was
// faster.
func (d *Daily) Make(ctx context.Context, day time.Time) (err error) {
	cfg := d.Config
	cfg.Filter = evidence.Filter{Since: day, Until: day.AddDate(0, 0, 1)}
	f, err := os.CreateTemp(cfg.Temp, "chaperone-day-*.zip")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	m, err := Build(ctx, cfg, f)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	switch err := cfg.Store.CreateFrom(ctx, Key(day), f, size); {
	case errors.Is(err, worm.ErrExists):
		return nil
	case err != nil:
		return err
	}
	return d.Log.AppendAsync(&evidence.Record{Type: evidence.TypeBundled, Data: map[string]string{
		"object": Key(day), "bytes": strconv.FormatInt(size, 10), "records": strconv.FormatInt(m.Records, 10),
		"queries": strconv.FormatInt(m.Queries, 10),
	}})
}
