package masking

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
)

// digest hashes everything that changes what a mask would be.
func (c *Classification) digest() string {
	type entry struct{ Column, Class string }
	doc := struct {
		Profile *Profile
		Columns []entry
		// Closed is true if what is not among Columns may be redacted.
		Closed bool
	}{Profile: c.profile, Closed: c.closed != nil}
	for ref := range c.decided {
		name := None
		if c.persons[ref] {
			name = Person
		}
		doc.Columns = append(doc.Columns, entry{ref.String(), name})
	}
	for ref, class := range c.columns {
		doc.Columns = append(doc.Columns, entry{ref.String(), class.Name})
	}
	sort.Slice(doc.Columns, func(i, j int) bool { return doc.Columns[i].Column < doc.Columns[j].Column })
	text, err := json.Marshal(doc) // maps are written in key order
	if err != nil {
		panic("masking: " + err.Error()) // plain structs of strings always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
