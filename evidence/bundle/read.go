package bundle

import (
	"io"
	"io/fs"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Records calls yield with the records of an unpacked bundle, or an opened zip
// of one, that the bundle is about and f chooses, by time, until yield is false.
// It verifies nothing: evidence.VerifyBundle comes first.
func Records(files fs.FS, f evidence.Filter, yield func(*evidence.Record) bool) error {
	m, err := evidence.ReadManifest(files)
	if err != nil {
		return err
	}
	runs := make(map[string]func() (io.ReadCloser, error), len(m.Runs))
	for writer := range m.Runs {
		runs[writer] = func() (io.ReadCloser, error) { return files.Open(evidence.RunFile(writer)) }
	}
	about := evidence.Filter{}
	if m.Filter != nil {
		about = *m.Filter
	}
	about.Since, about.Until = m.Since, m.Until
	return Choose(about, func(f evidence.Filter, yield func(*evidence.Record) bool) error {
		return evidence.MergeRuns(runs, f, yield)
	}, func(r *evidence.Record) bool { return !f.Matches(r) || yield(r) })
}

// Choose calls yield with the records that f chooses as a bundle does: those that
// match, and the others of their queries in the period. records gives what
// matches a filter, and is called once or twice. Memory is bounded by the queries
// that match.
func Choose(f evidence.Filter, records func(evidence.Filter, func(*evidence.Record) bool) error,
	yield func(*evidence.Record) bool,
) error {
	period := evidence.Filter{Since: f.Since, Until: f.Until}
	if f.ChoosesAll() {
		return records(period, yield)
	}
	matched := make(map[string]bool)
	err := records(f, func(r *evidence.Record) bool {
		if r.QueryID != "" {
			matched[r.QueryID] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	return records(period, func(r *evidence.Record) bool { return !f.Matches(r) && !matched[r.QueryID] || yield(r) })
}
