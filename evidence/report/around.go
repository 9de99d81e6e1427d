package report

import (
	"slices"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// around is what the entries tell of the records that a filter leaves out.
type around struct {
	known            bool
	records, queries int64
	// unnamed are statements that gave rows back and named nobody, by table; others
	// are those that named other persons only. Known with a filter of a person.
	unnamed, others tally
}

// lookAround reads the entries of a bundle with a filter.
func lookAround(content *bundle.Content) (*around, error) {
	a := &around{}
	if content.Manifest.Filter == nil || content.Entries == nil {
		return a, nil
	}
	a.known = true
	patient := content.Manifest.Filter.Patient
	err := content.Entries(func(r *evidence.Record) bool {
		a.records++
		if r.Type == evidence.TypeIntent {
			a.queries++
		}
		if patient == "" || r.Type != evidence.TypeOutcome || r.Status != "succeeded" || slices.Contains(r.Patients, patient) {
			return true
		}
		by := &a.unnamed
		if len(r.Patients) > 0 {
			by = &a.others
		}
		for _, table := range r.Relations {
			by.add(table, 1)
		}
		return true
	})
	return a, err
}
