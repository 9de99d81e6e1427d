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

// The kinds of mask. Most are written into the statement by the engine; those
// for which Mask.InGateway is true are applied by the gateway to a plain output,
// and are Redact wherever the value would enter an expression.
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
	// AgeBand keeps the band of Mask.Width birth years that a date of birth is
	// in, as its first instant; from 90 years on it is as BirthYear.
	AgeBand Kind = "age_band"
	// Age is an age in years, 90 from 90 on.
	Age Kind = "age"
	// Constant is Mask.Text for text types, zero for numbers if the text is
	// "0", and a typed NULL for everything else; NULL stays NULL.
	Constant Kind = "constant"
	// Null is a typed NULL.
	Null Kind = "null"
	// Partial keeps Mask.First and Mask.Last characters of a text and masks the
	// rest; all of it if fewer than four would be masked.
	Partial Kind = "partial"
	// Token is a keyed token (HMAC-SHA-256), equal for equal values.
	Token Kind = "token"
	// DateShift moves a date or timestamp by a number of days that is the same for
	// all dates of a person (see Tokenizer.Shift). It is a typed NULL where no one
	// column of class Person stands beside it.
	DateShift Kind = "date_shift"
	// FreeTextScan keeps a text but for what the detectors find in it. Names and
	// much else are not found: it is for those who accept that.
	FreeTextScan Kind = "free_text_scan"
	// Expression is what Mask.Postgres or Mask.MySQL makes of a text, and a typed
	// NULL for every other type.
	Expression Kind = "expression"
	// CEL is what the program Mask.CEL makes of a value, as a text.
	CEL Kind = "cel"
)

// Mask is what a protected value becomes.
type Mask struct {
	Kind Kind
	// Text is what Redact shows, "[redacted]" unless configured.
	Text string
	// First and Last are how many characters Partial keeps.
	First, Last int
	// Width is the birth years in a band of AgeBand; below 1 means 5.
	Width int
	// Days is how far DateShift moves at most; below 1 means DefaultDays.
	Days int
	// Postgres and MySQL are the expressions of Expression, one for each engine.
	Postgres, MySQL string
	// CEL is the expression of CEL.
	CEL string
}

// Generalises reports whether the mask keeps a coarser value that a statement
// may filter, join, group and order by. A mask that does not generalise
// destroys the value, and such a use would silently answer something else.
func (m Mask) Generalises() bool {
	return m.Kind == ZIP3 || m.Kind == Year || m.Kind == BirthYear || m.Kind == AgeBand || m.Kind == Age
}

// InGateway reports whether the gateway makes the mask, of a plain output.
func (m Mask) InGateway() bool {
	return m.Kind == Token || m.Kind == DateShift || m.Kind == FreeTextScan || m.Kind == CEL
}

// Class is a kind of protected data, such as "ssn".
type Class struct {
	Name string
	Mask Mask
	// Lookup allows `column = <parameter or literal>` joined by AND to see the
	// raw column, within a budget for each principal and hour.
	Lookup bool
}

// Redacted is the class of an expression over a column of this class.
func (c Class) Redacted() Class { return Class{Name: c.Name, Mask: Mask{Kind: Redact}} }

// Profile is a complete set of classes with the figures their masks need.
type Profile struct {
	Name    string
	Classes map[string]Class
	// LowPopulationZIP3 holds the three-digit prefixes that become 000.
	LowPopulationZIP3 []string
	// SmallCell is the smallest group count that may be shown; 0 shows all.
	SmallCell int
	// Clear holds the classes that the profile leaves as they are: their
	// columns are not protected.
	Clear map[string]bool
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
	// decided are the columns that a person declared None.
	decided map[ColumnRef]bool
	// closed are the relations of which an undecided column is redacted.
	closed  map[relationRef]bool
	version string
	persons map[ColumnRef]bool
}

type relationRef struct{ schema, relation string }

const (
	// None stands where a class would: a person decided that the column is not
	// protected.
	None = "none"
	// Person stands where a class would: the column is not protected, and names
	// the person whom its row is about. What is counted for one person is no
	// small cell of a table about people.
	Person = "person"
	// Unclassified is the class of a column that nobody decided about, in a
	// relation with protected columns.
	Unclassified = "unclassified"
)

// Option changes how columns are classified.
type Option func(*Classification)

// RedactUnclassified gives the class Unclassified, which is redacted, to every
// column without a class or None of a relation that has a protected column: what
// was added since, or forgotten, is not shown until somebody decides.
func RedactUnclassified() Option {
	return func(c *Classification) {
		c.closed = map[relationRef]bool{}
		for ref := range c.columns {
			c.closed[relationRef{ref.Schema, ref.Relation}] = true
		}
	}
}

// Classify resolves a column-to-class-name map ("public.patients.ssn" → "ssn")
// against a profile. An unknown class is an error. Columns that are not in the
// map are shown, unless an option says otherwise.
func Classify(p *Profile, columns map[ColumnRef]string, options ...Option) (*Classification, error) {
	c := &Classification{profile: p, columns: make(map[ColumnRef]Class, len(columns)), decided: map[ColumnRef]bool{}, persons: map[ColumnRef]bool{}}
	for ref, name := range columns {
		if name == None || name == Person || p.Clear[name] {
			c.persons[ref] = name == Person
			c.decided[ref] = true
			continue
		}
		class, ok := p.Classes[name]
		if !ok {
			return nil, fmt.Errorf("column %s: profile %q has no class %q", ref, p.Name, name)
		}
		c.columns[ref] = class
	}
	for _, option := range options {
		option(c)
	}
	c.version = c.digest()
	return c, nil
}

// Person reports whether a column names the person whom its row is about.
func (c *Classification) Person(ref ColumnRef) bool { return c.persons[ref] }

// Decided reports whether somebody said that a column is not protected.
func (c *Classification) Decided(ref ColumnRef) bool { return c.decided[ref] }

// Closed reports whether columns that nobody decided about are redacted in
// relations with protected columns.
func (c *Classification) Closed() bool { return c.closed != nil }

// Profile returns the profile the classes come from.
func (c *Classification) Profile() *Profile { return c.profile }

// Class returns the class of a column, if it is protected.
func (c *Classification) Class(ref ColumnRef) (Class, bool) {
	if class, ok := c.columns[ref]; ok {
		return class, true
	}
	if !c.closed[relationRef{ref.Schema, ref.Relation}] || c.decided[ref] {
		return Class{}, false
	}
	return Class{Name: Unclassified, Mask: Mask{Kind: Redact, Text: RedactText}}, true
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
