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
	return Choose(m.About(), func(f evidence.Filter, yield func(*evidence.Record) bool) error {
		return evidence.MergeRuns(runs, f, yield)
	}, func(r *evidence.Record) bool { return !f.Matches(r) || yield(r) })
}

// scan calls yield with the records that a filter matches, by time, until yield is
// false.
type scan func(f evidence.Filter, yield func(*evidence.Record) bool) error

// Choose calls yield with the records that f chooses as a bundle does: those that
// match, and the others of their queries in the period. records is called once or
// twice. Memory is bounded by the queries that match.
func Choose(f evidence.Filter, records func(evidence.Filter, func(*evidence.Record) bool) error,
	yield func(*evidence.Record) bool,
) error {
	chosen, err := chooser(f, records)
	if err != nil {
		return err
	}
	return records(period(f), func(r *evidence.Record) bool { return !chosen(r) || yield(r) })
}

// chooser tells which records f chooses.
func chooser(f evidence.Filter, records scan) (chosen func(*evidence.Record) bool, err error) {
	within := period(f)
	if f.ChoosesAll() {
		return within.Matches, nil
	}
	matched := make(map[string]bool) // queries of which an entry matches
	err = records(f, func(r *evidence.Record) bool {
		if r.QueryID != "" {
			matched[r.QueryID] = true
		}
		return true
	})
	return func(r *evidence.Record) bool { return f.Matches(r) || matched[r.QueryID] && within.Matches(r) }, err
}

// period is a filter without anything but its period.
func period(f evidence.Filter) evidence.Filter {
	return evidence.Filter{Since: f.Since, Until: f.Until}
}
