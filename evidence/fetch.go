package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// manifestKey is what Fetch leaves beside the objects: what the store said that
// a copy cannot say by itself.
const manifestKey = "fetched.json"

const manifestFormat = "chaperone-evidence-fetch/v1"

// manifest is the content of fetched.json. It is not signed: it is the
// auditor's own note. An auditor who does not trust the folder's keeper keeps
// checkpoints apart (Options.Checkpoints).
type manifest struct {
	Format string `json:"format"`
	// Time is when the copy was begun.
	Time time.Time `json:"time"`
	// Checkpoints are the logs' ends, by writer, as signed notes.
	Checkpoints map[string]string `json:"checkpoints"`
	// Anomalies are what the store said of objects, by key.
	Anomalies map[string]string `json:"anomalies"`
}

// Fetched says what Fetch copied.
type Fetched struct {
	Objects, Bytes int64
	Anomalies      int64
}

// fetchers is how many objects are copied at once.
const fetchers = 8

// Fetch copies the objects under the prefixes ("evidence/" and "approvals/" if
// none are given), byte by byte under the same keys, into another store, for
// verification without the bucket. The folder must be empty, or be left by a
// Fetch that failed. Verify with Options.Copy.
func Fetch(ctx context.Context, from, to worm.Store, prefixes ...string) (*Fetched, error) {
	if len(prefixes) == 0 {
		prefixes = []string{root, "approvals/"}
	}
	m := manifest{Format: manifestFormat, Time: time.Now().UTC(),
		Checkpoints: map[string]string{}, Anomalies: map[string]string{}}
	total := &Fetched{}
	for _, prefix := range prefixes {
		if err := copyAll(ctx, from, to, prefix, &m, total); err != nil {
			return nil, fmt.Errorf("fetching evidence: %w", err)
		}
	}
	if err := m.addCheckpoints(ctx, to); err != nil {
		return nil, fmt.Errorf("fetching evidence: reading checkpoints: %w", err)
	}
	body, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("fetching evidence: %w", err)
	}
	key := manifestKey
	if err := to.Create(ctx, key, append(body, '\n')); errors.Is(err, worm.ErrExists) {
		return nil, fmt.Errorf("fetching evidence: the folder holds an earlier copy already: %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("fetching evidence: %w", err)
	}
	return total, nil
}

func copyAll(ctx context.Context, from, to worm.Store, prefix string, m *manifest, total *Fetched) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	err := from.List(ctx, prefix, "", func(e worm.Entry) bool {
		if e.Anomaly != "" {
			m.Anomalies[e.Key] = e.Anomaly
			total.Anomalies++
		}
		total.Objects++
		total.Bytes += e.Size
		group.Go(func() error {
			object, err := from.Get(gctx, e.Key, max(e.Size, 1))
			if err != nil {
				return err
			}
			return to.Create(gctx, e.Key, object.Body)
		})
		return gctx.Err() == nil
	})
	return errors.Join(group.Wait(), err)
}

// addCheckpoints notes each log's end in the copy.
func (m *manifest) addCheckpoints(ctx context.Context, copied worm.Store) error {
	writers := make(map[string]bool)
	last := ""
	err := copied.List(ctx, root, "", func(e worm.Entry) bool {
		if writer, _, ok := parseSegmentKey(e.Key); ok && writer != last {
			if _, _, err := parseWriter(writer); err == nil {
				writers[writer] = true
			}
			last = writer
		}
		return true
	})
	if err != nil {
		return err
	}
	for writer := range writers {
		end, err := logEnd(ctx, copied, writer, 0)
		if err != nil {
			return err
		}
		if end.Checkpoint != "" {
			m.Checkpoints[writer] = end.Checkpoint
		}
	}
	return nil
}

// FetchedAt is when a copy was begun.
func FetchedAt(ctx context.Context, copied worm.Store) (time.Time, error) {
	object, err := copied.Get(ctx, manifestKey, maxSegment)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the evidence was fetched: %w", err)
	}
	m, ok := parseManifest(object.Body)
	if !ok {
		return time.Time{}, fmt.Errorf("reading when the evidence was fetched: %w: %s", ErrInvalid, manifestKey)
	}
	return m.Time, nil
}

func parseManifest(body []byte) (m manifest, ok bool) {
	err := json.Unmarshal(body, &m)
	return m, err == nil && m.Format == manifestFormat
}

// readManifest takes in what Fetch noted, if the copy was made by it.
func (v *verifier) readManifest(ctx context.Context) error {
	object, err := v.store.Get(ctx, manifestKey, maxSegment)
	if errors.Is(err, worm.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m, ok := parseManifest(object.Body)
	if !ok {
		v.finding(manifestKey, KindMalformed, "This is not what Fetch wrote.")
		return nil
	}
	if v.o.Now.IsZero() {
		v.o.Now = m.Time
	}
	for writer, text := range m.Checkpoints {
		if _, err := OpenCheckpoint([]byte(text), v.trusted); err != nil {
			// The segment it was taken from is reported by itself.
			v.note(manifestKey, KindSignature, "The checkpoint noted for %s is not signed by a key you trust.", writer)
			continue
		}
		v.o.Checkpoints = append(v.o.Checkpoints, text)
	}
	for key, anomaly := range m.Anomalies {
		v.finding(key, KindAnomaly, "When it was fetched the store told that somebody tried to hide or replace this object "+
			"(%s). Its oldest version was fetched.", anomaly)
	}
	return nil
}
