package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// VerifyBundle checks an unpacked bundle, or an opened zip of one, with nothing
// but trusted keys, as docs/evidence-format.md says ("What a verifier of a bundle
// checks"). Files named in ignore may be there as well. Its error means that it
// could not check; what is wrong is in the report.
func VerifyBundle(ctx context.Context, files fs.FS, trusted note.Verifiers, o Options, ignore ...string) (*Report, error) {
	o.Copy = true
	v := newVerifier(bundled{files: files}, trusted, o)
	b := &bundleVerifier{verifier: v, files: files, matched: make(map[string]bool), waiting: make(map[string]*unmatched)}
	v.bundle = b
	if err := b.verify(ctx, ignore); err != nil {
		return nil, fmt.Errorf("verifying a bundle: %w", err)
	}
	return v.sorted(), nil
}

// bundleVerifier is a verifier of a period instead of a whole store.
type bundleVerifier struct {
	*verifier
	files    fs.FS
	manifest *Manifest
	filter   Filter

	mu sync.Mutex
	// matched are the queries of which an entry matches the filter; waiting are
	// the entries that match if their query does.
	matched map[string]bool
	waiting map[string]*unmatched
	records int64
	queries int64
}

// unmatched are a query's entries that do not match by themselves.
type unmatched struct {
	records, queries int64
	object, withheld string // the first whose body is not there
}

func (b *bundleVerifier) verify(ctx context.Context, ignore []string) error {
	ok, err := b.readManifest()
	if err != nil || !ok {
		return err
	}
	if err := b.checkFiles(ignore); err != nil {
		return err
	}
	if err := b.announcements(ctx); err != nil {
		return err
	}
	if err := b.verifyRuns(ctx); err != nil {
		return err
	}
	if err := b.conclude(ctx); err != nil {
		return err
	}
	if err := b.proofs(); err != nil {
		return err
	}
	b.verifyCosigned()
	b.complete()
	return nil
}

// bundled is the store that a bundle's files are, for announcements.
type bundled struct {
	worm.Store
	files fs.FS
}

func (b bundled) Get(_ context.Context, key string, limit int64) (worm.Object, error) {
	body, err := readFile(b.files, key, limit)
	return worm.Object{Body: body}, err
}

// readFile reads at most limit bytes.
func readFile(files fs.FS, name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%s: %w", name, worm.ErrNotFound)
	}
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, worm.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%s: %w", name, worm.ErrTooLarge)
	}
	return body, nil
}

// readManifest reports whether there is a manifest to go by.
func (b *bundleVerifier) readManifest() (bool, error) {
	body, err := readFile(b.files, ManifestFile, maxManifest)
	if errors.Is(err, worm.ErrNotFound) || errors.Is(err, worm.ErrTooLarge) {
		b.finding(ManifestFile, KindMissing, "There is no manifest that can be read: this is no bundle, or not a whole one.")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m, signed, wrong, err := openManifest(body, b.trusted)
	switch {
	case err != nil:
		b.finding(ManifestFile, KindMalformed, "The manifest was changed: %v.", err)
		return false, nil
	case wrong != nil:
		b.finding(ManifestFile, KindSignature, "The manifest was changed, or signed by a key you do not trust: %v.", wrong)
	case !signed:
		b.note(ManifestFile, KindSignature, "The manifest is not signed: the report and the exports are as believable as "+
			"whoever gave you the bundle. The records are proved all the same.")
	}
	b.manifest, b.filter = m, m.About()
	b.report.Bundle = &Scope{Since: m.Since, Until: m.Until, Created: m.Created, Maker: m.Maker, Filter: m.Filter}
	if !m.Since.Before(m.Until) {
		b.finding(ManifestFile, KindOrder, "The period ends before it begins.")
	}
	if m.Until.After(m.Created) {
		b.finding(ManifestFile, KindOrder, "The period ends at %s, after the bundle was made: its end cannot be complete.",
			m.Until.Format(time.RFC3339))
	}
	b.o.Now = m.Created
	return true, nil
}

// checkFiles compares the files with the manifest.
func (b *bundleVerifier) checkFiles(ignore []string) error {
	seen := map[string]bool{ManifestFile: true}
	for _, name := range ignore {
		seen[name] = true
	}
	err := fs.WalkDir(b.files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || seen[name] {
			return err
		}
		seen[name] = true
		b.report.Objects++
		want, listed := b.manifest.Files[name]
		switch {
		case !listed:
			b.finding(name, KindUnexplained, "The manifest does not name this file: somebody put it there.")
			return nil
		case !d.Type().IsRegular():
			b.finding(name, KindMalformed, "This is no plain file.")
			return nil
		}
		sum, size, err := hashFile(b.files, name)
		if err == nil && (sum != want.SHA256 || size != want.Size) {
			b.finding(name, KindContent, "This file is not the one that the manifest names: one of the two was changed.")
		}
		return err
	})
	if err != nil {
		return err
	}
	for name := range b.manifest.Files {
		if !seen[name] {
			b.finding(name, KindMissing, "The manifest names this file, and it is not there.")
		}
	}
	return nil
}

func hashFile(files fs.FS, name string) (sum string, size int64, err error) {
	f, err := files.Open(name)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(err, f.Close())
}

// announcements reads who had announced itself when the bundle was made.
func (b *bundleVerifier) announcements(ctx context.Context) error {
	for name := range b.manifest.Files {
		if writer, ok := strings.CutPrefix(name, writersDir); ok {
			if _, _, err := parseWriter(writer); err != nil {
				b.finding(name, KindUnexplained, "This is no writer's name.")
				continue
			}
			if _, err := fs.Stat(b.files, name); err == nil {
				b.log(writer).announced = true // one that is gone is reported
			}
		}
	}
	for writer := range b.manifest.Runs {
		if _, _, err := parseWriter(writer); err != nil {
			b.finding(ManifestFile, KindMalformed, "It names a run of %q, which is no writer's name.", writer)
			continue
		}
		b.log(writer)
	}
	return b.verifier.announcements(ctx)
}

// verifyRuns verifies each writer's run, several at once.
func (b *bundleVerifier) verifyRuns(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.parallel())
	for _, l := range b.logs {
		run, ok := b.manifest.Runs[l.writer]
		if !ok {
			b.withoutRun(l)
			continue
		}
		group.Go(func() error { return b.verifyRun(ctx, l, run) })
	}
	return group.Wait()
}

// withoutRun judges a writer of which the bundle has no segment.
func (b *bundleVerifier) withoutRun(l *logState) {
	l.end.closed = true // its end is judged here
	_, started, err := parseWriter(l.writer)
	if err != nil || !started.Before(b.manifest.Until) {
		return // it only tells how earlier ones ended
	}
	l.end.tree = newTree() // who saw more of it than nothing is a witness
	if b.fresh(l, started) {
		return
	}
	for _, p := range l.told {
		if p.Segments == 0 && p.Problem == "" {
			b.note(announcementKey(l.writer), KindCut, "The writer died before its first record.")
			return
		}
	}
	b.finding(RunFile(l.writer), KindMissing, "Writer %s started before the end of the period, and the bundle has none of its records.",
		l.writer)
}

// verifyRun walks through a run once, with memory bounded by a segment.
func (b *bundleVerifier) verifyRun(ctx context.Context, l *logState, run Run) (err error) {
	l.partial, l.end.next, l.end.open = true, run.From, make(map[string]bool)
	f, err := b.files.Open(RunFile(l.writer))
	if errors.Is(err, fs.ErrNotExist) {
		b.finding(RunFile(l.writer), KindMissing, "The manifest names this run, and it is not there.")
		l.end.damaged = true
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for s, err := range segmentsOf(f) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrInvalid):
			b.finding(segmentKey(l.writer, l.end.next), KindMalformed, "This segment was changed, so that the run cannot be read "+
				"any further: %v.", err)
			l.end.damaged, l.end.tree = true, nil
			return nil
		case err != nil:
			return err
		}
		b.runSegment(l, s)
	}
	b.checkRun(l, run)
	return nil
}

// runSegment checks the next segment of a run.
func (b *bundleVerifier) runSegment(l *logState, s *segment) {
	first := len(l.marks) == 0 && !l.end.damaged
	if s.Writer == l.writer && s.Segment > l.end.next {
		b.missing(l, l.end.next, s.Segment)
		l.end.tree, l.end.damaged = nil, true
	}
	s.partial = b.manifest.Filter != nil
	number := l.end.next
	if s.Writer == l.writer && s.Segment >= number {
		number = s.Segment
	}
	l.end.next = number + 1
	if !b.checkSegment(l, s, number) {
		return
	}
	if first {
		b.beginRun(l, s)
	}
	b.continues(l, s)
}

// beginRun judges where a run begins.
func (b *bundleVerifier) beginRun(l *logState, s *segment) {
	if s.Segment == 0 {
		l.end.tree, l.end.previous = newTree(), ""
		return
	}
	l.mark(s.Segment) // what was signed at the end of the segment before
	if r, _, err := s.entry(0); err == nil && !r.Time.Before(b.manifest.Since) {
		b.finding(segmentKey(l.writer, s.Segment-1), KindMissing,
			"The run begins within the period and not at the beginning of the log: what came before may be of the period.")
	}
}

// checkRun compares a run with what the manifest says of it.
func (b *bundleVerifier) checkRun(l *logState, run Run) {
	if l.end.damaged || l.end.tree == nil {
		return // reported
	}
	first := uint64(0)
	if len(l.marks) > 0 && run.From > 0 {
		first = l.marks[0].size
	}
	if l.end.next != run.To || l.end.tree.size() != run.Size || first != run.First {
		b.finding(RunFile(l.writer), KindCut, "The run is not the one that the manifest names: segments %d to %d, records %d to %d.",
			run.From, run.To, run.First, run.Size)
	}
}

// entry takes in an entry of a run, for the filter.
func (b *bundleVerifier) entry(r *Record, object string) {
	if !b.filter.within(r.Time) {
		return
	}
	query := int64(0)
	if r.Type == TypeIntent {
		query = 1
	}
	matches := b.filter.Matches(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if matches {
		b.records++
		b.queries += query
		if r.QueryID != "" && !b.filter.ChoosesAll() {
			b.matched[r.QueryID] = true
		}
		if r.Withheld {
			b.withheld(object, r.ID)
		}
		return
	}
	if r.QueryID == "" {
		return
	}
	u := b.waiting[r.QueryID]
	if u == nil {
		u = &unmatched{}
		b.waiting[r.QueryID] = u
	}
	u.records++
	u.queries += query
	if r.Withheld && u.withheld == "" {
		u.object, u.withheld = object, r.ID
	}
}

// KindWithheld: a record that the bundle should hold is withheld.
const KindWithheld Kind = "withheld"

func (b *bundleVerifier) withheld(object, record string) {
	b.add(Finding{Object: object, Record: record, Kind: KindWithheld,
		Message: "The bundle's filter chooses this record, and the bundle leaves its content out."})
}

// complete judges the filter when all runs are read.
func (b *bundleVerifier) complete() {
	for query := range b.matched {
		if u := b.waiting[query]; u != nil {
			b.records += u.records
			b.queries += u.queries
			if u.withheld != "" {
				b.withheld(u.object, u.withheld)
			}
		}
	}
	if b.records != b.manifest.Records || b.queries != b.manifest.Queries {
		b.finding(ManifestFile, KindContent, "It counts %d records and %d queries; there are %d and %d.",
			b.manifest.Records, b.manifest.Queries, b.records, b.queries)
	}
}

// mayBeEarlier reports whether a query's approval may have been decided before
// the bundle's runs.
func (b *bundleVerifier) mayBeEarlier(query string) bool {
	if b == nil {
		return false
	}
	q, err := parseQueryID(query)
	if err != nil || !q.at.Before(b.manifest.Since) {
		return false
	}
	for _, run := range b.manifest.Runs {
		if run.From > 0 {
			return true
		}
	}
	return false
}

// before reports whether a bundle was made before a writer started.
func (b *bundleVerifier) before(writer string) bool {
	_, started, err := parseWriter(writer)
	return b != nil && err == nil && started.After(b.manifest.Created)
}

// proofs checks the proofs to later checkpoints.
func (b *bundleVerifier) proofs() error {
	for writer, l := range b.logs {
		body, err := readFile(b.files, ProofFile(writer), maxAnnouncement)
		if errors.Is(err, worm.ErrNotFound) {
			continue
		}
		if err != nil && !errors.Is(err, worm.ErrTooLarge) {
			return err
		}
		if l.end.tree == nil || l.end.damaged {
			continue // the run is reported
		}
		if wrong := b.proves(l, body); wrong != nil {
			b.finding(ProofFile(writer), KindContent, "The proof is wrong: %v.", wrong)
		}
	}
	return nil
}

// proves checks a proof from the end of a run.
func (b *bundleVerifier) proves(l *logState, body []byte) error {
	var p Proof
	if err := json.Unmarshal(body, &p); err != nil {
		return errors.New("it is not JSON of the right form")
	}
	c, err := OpenCheckpoint([]byte(p.Checkpoint), b.trusted)
	if err != nil {
		return err
	}
	if c.Writer() != l.writer || l.key != nil && c.keyName() != l.key.Name() {
		return errors.New("its checkpoint is of another log")
	}
	if p.Size != l.end.tree.size() {
		return fmt.Errorf("it is from %d records, and the run ends at %d", p.Size, l.end.tree.size())
	}
	if err := l.end.tree.continuedBy(c, p.Hashes); err != nil || p.Witnessed == "" {
		return err
	}
	c, at, err := openCosigned(p.Witnessed, b.keysOf(l), b.o.Witnesses)
	if err != nil {
		return err
	}
	if c.Writer() != l.writer {
		return errors.New("its cosigned checkpoint is of another log")
	}
	if err := l.end.tree.continuedBy(c, p.WitnessedHashes); err != nil {
		return err
	}
	l.cosignedBeyond(at)
	return nil
}

// continuedBy verifies a consistency proof from the tree to a checkpoint.
func (t *tree) continuedBy(c Checkpoint, texts []string) error {
	hashes := make([][]byte, len(texts))
	for i, text := range texts {
		var err error
		if hashes[i], err = decodeHash(text); err != nil {
			return err
		}
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, t.size(), c.Size, hashes, root, c.Root)
}
