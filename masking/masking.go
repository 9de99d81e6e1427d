// Package masking says which columns are protected, what each protected
// class of data becomes before it leaves, and how a value that slipped
// through unclassified is recognised.
//
// It knows no SQL: an engine under connectors/ writes a Mask in its own
// dialect and puts it under the reference. It knows no HTTP and no storage.
package masking

import (
	"fmt"
	"log/slog"
)

// Kind names how a mask transforms a value.
type Kind string

// The kinds of mask. Redact, Constant, ZIP3, Year and BirthYear are written
// into the statement by the engine; Token is applied by the gateway to a plain
// output, and is Redact wherever the value would enter an expression.
const (
	// Redact replaces a value by Mask.Text for text types and by a typed NULL
	// for others; NULL stays NULL.
	Redact Kind = "redact"
	// ZIP3 keeps the first three digits of a ZIP code, or 000 for areas of at
	// most 20,000 people (45 CFR 164.514(b)(2)(i)(B)).
	ZIP3 Kind = "zip3"
	// Year keeps the year of a date or timestamp, as the first instant of that
	// year so that the type stays (45 CFR 164.514(b)(2)(i)(C)).
	Year Kind = "year"
	// BirthYear is Year for a date of birth: births that make a person 90 or
	// older all become the first day of the year 90 years ago.
	BirthYear Kind = "birth_year"
	// Token is a keyed token (HMAC-SHA-256), equal for equal values.
	Token Kind = "token"
)

// Mask is what a protected value becomes.
type Mask struct {
	Kind Kind
	// Text is what Redact shows, "[redacted]" unless configured.
	Text string
}

// Generalises reports whether the mask keeps a coarser value that a statement
// may filter, join, group and order by. A mask that does not generalise
// destroys the value, and such a use would silently answer something else.
func (m Mask) Generalises() bool {
	return m.Kind == ZIP3 || m.Kind == Year || m.Kind == BirthYear
}

// Class is a kind of protected data, such as "ssn".
type Class struct {
	Name string
	Mask Mask
	// Lookup allows `column = <parameter or literal>` joined by AND to see the
	// raw column, within a budget for each principal and hour.
	Lookup bool
}

// Profile is a complete set of classes with the figures their masks need.
type Profile struct {
	Name    string
	Classes map[string]Class
	// LowPopulationZIP3 holds the three-digit prefixes that become 000.
	LowPopulationZIP3 []string
	// SmallCell is the smallest group count that may be shown; 0 shows all.
	SmallCell int
}

// ColumnRef names a column of a relation as the catalog spells it.
type ColumnRef struct {
	Schema, Relation, Column string
}

// String is schema.relation.column.
func (c ColumnRef) String() string { return c.Schema + "." + c.Relation + "." + c.Column }

// Classification says which class each protected column has. It is built once
// from configuration and never changes afterwards.
type Classification struct {
	profile *Profile
	columns map[ColumnRef]Class
	version string
}

// Classify resolves a column-to-class-name map ("public.patients.ssn" → "ssn")
// against a profile. An unknown class is an error.
func Classify(p *Profile, columns map[ColumnRef]string) (*Classification, error) {
	c := &Classification{profile: p, columns: make(map[ColumnRef]Class, len(columns))}
	for ref, name := range columns {
		class, ok := p.Classes[name]
		if !ok {
			return nil, fmt.Errorf("column %s: profile %q has no class %q", ref, p.Name, name)
		}
		c.columns[ref] = class
	}
	c.version = c.digest()
	return c, nil
}

// Profile returns the profile the classes come from.
func (c *Classification) Profile() *Profile { return c.profile }

// Class returns the class of a column, if it is protected.
func (c *Classification) Class(ref ColumnRef) (Class, bool) {
	class, ok := c.columns[ref]
	return class, ok
}

// Version is a digest of everything that changes what a mask would be.
func (c *Classification) Version() string { return c.version }

// Secret is a string that must never be printed: a password, a token, a key.
// Every way of formatting, logging or marshalling it says "[redacted]".
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
