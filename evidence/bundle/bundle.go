// Package bundle makes evidence bundles: a zip that an auditor checks off the
// network with nothing but public keys. docs/evidence-format.md is the
// specification of what is in it; evidence.VerifyBundle checks it.
package bundle

import (
	"context"
	_ "embed" // verify.py
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/worm"
)

// Config is what a bundle is made of. Store, Trusted, Until and Maker must be
// set.
type Config struct {
	Store   worm.Store
	Trusted note.Verifiers
	// Filter chooses the records; its Since and Until are the period. Until must
	// have passed.
	Filter evidence.Filter
	// Maker says in words who makes the bundle.
	Maker string
	// Keys are the public keys that the maker knows, one a line.
	Keys []byte
	// Signer signs the manifest; nil leaves it unsigned.
	Signer *evidence.Signer
	// Parts are what is added for people to read.
	Parts []Part
	// Temp is a folder for the unpacked bundle while it is made, as large as its
	// records; "" is the system's.
	Temp string
	// Clock is time.Now in production.
	Clock func() time.Time
}

// Part is a file of a bundle for people or other programs to read. It has one of
// Write and Each.
type Part struct {
	Name string
	// Write writes the file.
	Write func(w io.Writer, c *Content) error
	// Each makes what is given the records that the filter chooses, by time. The
	// records are read once for all such parts, and shared: they must not be changed.
	Each func(w io.Writer) (RecordWriter, error)
}

// RecordWriter writes a file of a bundle record by record.
type RecordWriter interface {
	Write(r *evidence.Record) error
	// Flush is called once, after the last.
	Flush() error
}

// Content is what a Part is made from.
type Content struct {
	Manifest *evidence.Manifest
	// Report is the outcome of verifying the bundle.
	Report *evidence.Report
	// Records calls yield with the records that the filter chooses, by time.
	Records func(yield func(*evidence.Record) bool) error
	// Entries calls yield with every record of the period, by time: also with those
	// that the filter leaves out, of which only the entry is there.
	Entries func(yield func(*evidence.Record) bool) error
}

// copiers is how many logs are copied at once.
const copiers = 4

// Build makes a bundle and writes the zip. Memory is bounded by a segment of
// each log that is copied at the same time, and by the queries that match.
func Build(ctx context.Context, cfg Config, out io.Writer) (m *evidence.Manifest, err error) {
	dir, err := os.MkdirTemp(cfg.Temp, "chaperone-bundle-")
	if err != nil {
		return nil, fmt.Errorf("making a bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &builder{cfg: cfg, dir: dir, manifest: &evidence.Manifest{
		Since: cfg.Filter.Since.UTC(), Until: cfg.Filter.Until.UTC(), Maker: cfg.Maker,
		Runs: make(map[string]evidence.Run), Files: make(map[string]evidence.File),
	}}
	if b.cfg.Clock == nil {
		b.cfg.Clock = time.Now
	}
	if !cfg.Filter.ChoosesAll() {
		b.manifest.Filter = &cfg.Filter
	}
	if err := b.build(ctx, out); err != nil {
		return nil, fmt.Errorf("making a bundle: %w", err)
	}
	return b.manifest, nil
}

type builder struct {
	cfg      Config
	dir      string
	manifest *evidence.Manifest
	// chosen tells the records that the bundle is about.
	chosen func(*evidence.Record) bool
	mu     sync.Mutex
}

func (b *builder) build(ctx context.Context, out io.Writer) error {
	b.manifest.Created = b.cfg.Clock().UTC()
	if b.cfg.Filter.Until.IsZero() || b.cfg.Filter.Until.After(b.manifest.Created) {
		return errors.New("the period must have an end that has passed")
	}
	for _, step := range []func(context.Context) error{b.copyLogs, b.choose, b.addTools, b.addParts} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.pack(out)
}

// copyLogs copies the announcements and each writer's run.
func (b *builder) copyLogs(ctx context.Context) error {
	reader := evidence.NewReader(b.cfg.Store, b.cfg.Trusted)
	writers, err := reader.Names(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copiers)
	for _, writer := range writers {
		started, _ := evidence.WriterStart(writer)
		group.Go(func() error {
			object, err := b.cfg.Store.Get(ctx, evidence.AnnouncementFile(writer), 0)
			if err != nil {
				return err
			}
			if err := b.write(evidence.AnnouncementFile(writer), func(w io.Writer) error { _, err := w.Write(object.Body); return err }); err != nil {
				return err
			}
			if !started.Before(b.manifest.Until) {
				return nil // it only tells how earlier ones ended
			}
			return b.copyLog(ctx, reader, writer)
		})
	}
	return group.Wait()
}

func (b *builder) copyLog(ctx context.Context, reader *evidence.Reader, writer string) error {
	var run evidence.Run
	found := false
	err := b.write(evidence.RunFile(writer), func(w io.Writer) (err error) {
		run, found, err = reader.CopyRun(ctx, writer, b.manifest.Since, b.manifest.Until, w)
		return err
	})
	if err != nil || !found {
		return errors.Join(err, b.drop(evidence.RunFile(writer), found))
	}
	b.mu.Lock()
	b.manifest.Runs[writer] = run
	b.mu.Unlock()
	proof, ok, err := reader.ProveRun(ctx, writer, run)
	if err != nil || !ok {
		return err
	}
	return b.writeJSON(evidence.ProofFile(writer), proof)
}

// choose finds the records that match, counts them, and withholds the bodies of
// the others.
func (b *builder) choose(context.Context) error {
	f := b.cfg.Filter
	var err error
	if b.chosen, err = chooser(f, b.each); err != nil {
		return err
	}
	err = b.each(period(f), func(r *evidence.Record) bool {
		if b.chosen(r) {
			b.manifest.Records++
			if r.Type == evidence.TypeIntent {
				b.manifest.Queries++
			}
		}
		return true
	})
	if err != nil || f.ChoosesAll() {
		return err
	}
	for writer := range b.manifest.Runs {
		if err := b.withhold(evidence.RunFile(writer)); err != nil {
			return err
		}
	}
	return nil
}

// each reads the runs' records by time.
func (b *builder) each(f evidence.Filter, yield func(*evidence.Record) bool) error {
	runs := make(map[string]func() (io.ReadCloser, error), len(b.manifest.Runs))
	for writer := range b.manifest.Runs {
		runs[writer] = func() (io.ReadCloser, error) { return os.Open(b.path(evidence.RunFile(writer))) }
	}
	return evidence.MergeRuns(runs, f, yield)
}

// withhold writes a run again without the bodies that are not chosen.
func (b *builder) withhold(name string) error {
	old := b.path(name) + ".whole"
	if err := os.Rename(b.path(name), old); err != nil {
		return err
	}
	in, err := os.Open(old) // #nosec G304 -- a file of our own folder
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	err = b.write(name, func(w io.Writer) error { return evidence.WithholdRun(w, in, b.chosen) })
	return errors.Join(err, os.Remove(old))
}

func (b *builder) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

// addParts verifies what was copied, and adds what is made from it for people.
func (b *builder) addParts(ctx context.Context) error {
	if err := b.writeManifest(nil); err != nil {
		return err
	}
	report, err := evidence.VerifyBundle(ctx, os.DirFS(b.dir), b.cfg.Trusted, evidence.Options{})
	if err != nil {
		return err
	}
	if err := os.Remove(b.path(evidence.ManifestFile)); err != nil {
		return err
	}
	report.Notes = withoutManifest(report.Notes)
	content := &Content{Manifest: b.manifest, Report: report, Records: func(yield func(*evidence.Record) bool) error {
		return b.each(period(b.cfg.Filter), func(r *evidence.Record) bool { return !b.chosen(r) || yield(r) })
	}, Entries: func(yield func(*evidence.Record) bool) error { return b.each(period(b.cfg.Filter), yield) }}
	var each []Part
	for _, part := range b.cfg.Parts {
		if part.Write == nil {
			each = append(each, part)
			continue
		}
		if err := b.write(part.Name, func(w io.Writer) error { return part.Write(w, content) }); err != nil {
			return fmt.Errorf("writing %s: %w", part.Name, err)
		}
	}
	return b.addEach(ctx, each, content)
}

// addEach reads the records once and gives each to all parts, which write at the
// same time.
func (b *builder) addEach(ctx context.Context, parts []Part, content *Content) error {
	if len(parts) == 0 {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	feeds := make([]chan *evidence.Record, len(parts))
	for i, part := range parts {
		feed := make(chan *evidence.Record) // unbuffered: records may be large
		feeds[i] = feed
		group.Go(func() error {
			if err := b.write(part.Name, func(w io.Writer) error { return writeEach(w, part, feed) }); err != nil {
				return fmt.Errorf("writing %s: %w", part.Name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer func() {
			for _, feed := range feeds {
				close(feed)
			}
		}()
		err := content.Records(func(r *evidence.Record) bool {
			for _, feed := range feeds {
				select {
				case feed <- r:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
		return errors.Join(err, ctx.Err())
	})
	return group.Wait()
}

func writeEach(w io.Writer, part Part, feed <-chan *evidence.Record) error {
	out, err := part.Each(w)
	if err != nil {
		return err
	}
	for r := range feed {
		if err := out.Write(r); err != nil {
			return err
		}
	}
	return out.Flush()
}

// withoutManifest leaves out that the manifest is not signed yet.
func withoutManifest(notes []evidence.Finding) []evidence.Finding {
	kept := notes[:0]
	for _, n := range notes {
		if n.Object != evidence.ManifestFile {
			kept = append(kept, n)
		}
	}
	return kept
}

//go:embed verify.py
var verifyPy []byte

// addTools adds the second verifier, the keys, and how to begin.
func (b *builder) addTools(context.Context) error {
	for name, body := range map[string][]byte{"verify.py": verifyPy, "README.txt": []byte(readme), "keys": b.cfg.Keys} {
		if err := b.write(name, func(w io.Writer) error { _, err := w.Write(body); return err }); err != nil {
			return err
		}
	}
	return nil
}

const readme = `Evidence of a Chaperone gateway

The file "manifest" says of which period and what this bundle is; evidence/runs
holds the records, one JSON object a line. If there is a report.html, open it in a
browser: it tells what is recorded, for people, and proves nothing by itself.

To check it without believing whoever gave you this bundle, you need the public
keys of the gateways, which you got by another way than this bundle (the file
"keys" is only for comparison), and one of:

    python3 verify.py --keys YOUR-KEYS .
    chaperone evidence verify --bundle BUNDLE.zip --keys YOUR-KEYS

verify.py needs Python 3.9 or newer and nothing else, and no network. Both say
what they checked, and name what is wrong. Keep the checkpoints that they print:
with them you find later whether anything that is here was changed since.

The folder exports, if there is one, holds the same records for other programs:
records.csv for spreadsheets, ocsf.ndjson for security tools (OCSF 1.8), and
fhir.ndjson for health records systems (FHIR R4 AuditEvent). They hold no rows and
prove nothing: each line names the record in evidence/runs that does.
docs/interchange.md says what their fields mean.

docs/evidence-format.md of the project describes every file.
`
