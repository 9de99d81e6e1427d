// Package classify proposes which columns of a database are protected, from
// their names, their types and what a sample of their values looks like. It
// decides nothing: a person reads, edits and keeps what it proposes.
//
// It reaches no database and keeps no value; see Stats.
package classify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// Confidence says how sure a proposal is.
type Confidence string

// The confidences.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
)

// None proposes that a column is not protected, Person the same of a column
// that names the person whom its row is about.
const (
	None   = masking.None
	Person = masking.Person
)

// Proposal is what a column is held for.
type Proposal struct {
	Column     masking.ColumnRef
	Type       string
	Class      string
	Confidence Confidence
	Reason     string
}

// protected reports whether a mask is proposed.
func (p *Proposal) protected() bool { return p.Class != None && p.Class != Person }

// enough is how many values must have been seen before their form counts.
const enough = 10

// Propose looks at every column of tables. Views are left out: they are as
// protected as what they read. Stats may lack columns that were not sampled.
func Propose(profile *masking.Profile, tables []connectors.Table, stats map[masking.ColumnRef]*Stats) []Proposal {
	var out []Proposal
	for _, t := range tables {
		if !Covers(t) {
			continue
		}
		for _, c := range t.Columns {
			ref := masking.ColumnRef{Schema: t.Schema, Relation: t.Name, Column: c.Name}
			p := propose(t, c, stats[ref])
			if p.Class == None && namesPerson(t, c) {
				p.Class, p.Reason = Person, p.Reason+"; it names the person whom the row is about"
			}
			if _, ok := profile.Classes[p.Class]; !ok && p.protected() {
				p.Class, p.Reason = "other_id", p.Reason+"; the profile has no class "+p.Class
			}
			p.Column, p.Type = ref, c.Type
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Proposal) int {
		return strings.Compare(a.Column.Schema+"\x00"+a.Column.Relation, b.Column.Schema+"\x00"+b.Column.Relation)
	})
	return out
}

// Covers reports whether a relation's columns are for a person to classify.
func Covers(t connectors.Table) bool { return t.Kind == "table" || t.Kind == "partitioned_table" }

// propose weighs what the name, the type and the values say. What speaks for
// protection wins.
func propose(t connectors.Table, c connectors.TableColumn, s *Stats) Proposal {
	named, seen := byName(t, c), byValues(c, s)
	switch {
	case named.Class != None && seen.Class == named.Class:
		return Proposal{Class: named.Class, Confidence: High, Reason: named.Reason + "; " + seen.Reason}
	case named.Class != None && named.Confidence != Low:
		if seen.Class != None && seen.Confidence != Low {
			named.Reason += "; " + seen.Reason
		}
		return named
	case seen.Class != None && (seen.Confidence != Low || named.Class == None && named.Confidence != High):
		return seen
	case named.Class != None:
		return named
	}
	if s != nil && s.Values >= enough && named.Confidence == Low && named.Reason == nothing {
		return unremarkable(c, s)
	}
	return named
}

// nothing is the reason of a proposal without one.
const nothing = "nothing speaks for it, but no values were looked at"

// byName proposes from names, comments and types.
func byName(t connectors.Table, c connectors.TableColumn) Proposal {
	name, table, kind := split(c.Name), split(t.Name), kindOf(c.Type)
	last := name[strings.LastIndexByte(name, ' ')+1:]
	if kind == kindBool {
		return Proposal{Class: None, Confidence: High, Reason: "yes or no"}
	}
	ofType := func(list []rule) *rule {
		for i, r := range list {
			if (r.kinds == anything || r.kinds&kind != 0) && r.names.MatchString(name) && (r.tables == nil || r.tables.MatchString(table)) {
				return &list[i]
			}
		}
		return nil
	}
	found := ofType(rules)
	isKey := keyish.MatchString(last) && (kind == kindNumber || kind == kindText)
	switch {
	case found != nil && about.MatchString(last) && name != last && found.class != "zip":
		return Proposal{Class: None, Confidence: Medium, Reason: "says something about " + article(found.class) + ", does not hold it"}
	case found != nil && (!isKey || !personal[found.class]):
		return Proposal{Class: found.class, Confidence: found.confidence, Reason: found.reason}
	}
	if known := ofType(notProtected); known != nil {
		return Proposal{Class: None, Confidence: known.confidence, Reason: known.reason}
	}
	switch {
	case kind == kindDate && bookkeeping.MatchString(name):
		return Proposal{Class: "date", Confidence: Low, Reason: "bookkeeping; none, if it does not tell when a person was treated"}
	case kind == kindDate && clinical.MatchString(table):
		return Proposal{Class: "date", Confidence: High, Reason: "a date in a clinical table"}
	case kind == kindDate:
		return Proposal{Class: "date", Confidence: Medium, Reason: "a date, if it is of a person"}
	case kind == kindTime && clinical.MatchString(table):
		return Proposal{Class: None, Confidence: Low, Reason: "a time of day without its date"}
	case kind == kindNetwork:
		return Proposal{Class: "ip", Confidence: High, Reason: "of a network type"}
	case kind == kindDocument:
		return Proposal{Class: "free_text", Confidence: Medium, Reason: "a document can hold anything"}
	case kind == kindBinary:
		return Proposal{Class: "photo", Confidence: Low, Reason: "binary data can be an image or a document"}
	case c.PrimaryKey, isKey:
		return Proposal{Class: None, Confidence: Medium, Reason: "a key inside the database; pseudonym, if it is known outside"}
	}
	if class, word := byComment(c.Comment, kind); class != "" {
		return Proposal{Class: class, Confidence: Medium, Reason: "its comment speaks of " + word}
	}
	if kind == kindNumber {
		return Proposal{Class: None, Confidence: Medium, Reason: "a number whose name is not of an identifier"}
	}
	return Proposal{Class: None, Confidence: Low, Reason: nothing}
}

// namesPerson reports whether a column is the key of a person: patient_id, or
// the own key of a table of people.
func namesPerson(t connectors.Table, c connectors.TableColumn) bool {
	name := split(c.Name)
	of, last := "", name
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		of, last = name[:i], name[i+1:]
	}
	if kind := kindOf(c.Type); !keyish.MatchString(last) || kind != kindNumber && kind != kindText && kind != kindOther {
		return false
	}
	return who.MatchString(of) || of == "" && who.MatchString(split(t.Name))
}

// personal are classes of plain data, which a key only points to.
var personal = map[string]bool{"name": true, "address": true, "phone": true, "email": true, "fax": true, "photo": true, "free_text": true,
	"birth_date": true, "date": true, "url": true, "biometric": true, "zip": true}

// commentWords are looked for in comments, the longer ones first.
var commentWords = []struct{ words, class string }{
	{"social security", "ssn"}, {"medical record number", "mrn"}, {"date of birth", "birth_date"}, {"birth date", "birth_date"},
	{"phone", "phone"}, {"e-mail", "email"}, {"email", "email"}, {"street", "address"}, {"address", "address"},
	{"zip code", "zip"}, {"postal code", "zip"}, {"member number", "insurance_id"}, {"policy number", "insurance_id"},
	{"account number", "account"}, {"license number", "license"}, {"serial number", "device"}, {"patient name", "name"},
	{"patient's name", "name"}, {"first name", "name"}, {"last name", "name"}, {"free text", "free_text"}, {"ip address", "ip"},
}

func byComment(comment string, kind typeKind) (class, word string) {
	if kind != kindText && kind != kindNumber && kind != kindOther {
		return "", ""
	}
	comment = strings.ToLower(comment)
	for _, w := range commentWords {
		if strings.Contains(comment, w.words) {
			return w.class, w.words
		}
	}
	return "", ""
}

// ofDetector is the class of what a detector finds.
var ofDetector = map[string]string{"ssn": "ssn", "email": "email", "phone": "phone", "mrn": "mrn", "card": "account",
	"mbi": "insurance_id", "member": "insurance_id", "npi": "license", "dea": "license", "iban": "account", "vin": "vehicle",
	"ip": "ip", "url": "url"}

// byValues proposes from the sample.
func byValues(c connectors.TableColumn, s *Stats) Proposal {
	no := Proposal{Class: None, Confidence: Low}
	if s == nil || s.Values == 0 {
		return no
	}
	for _, name := range slices.Sorted(maps.Keys(s.Whole)) {
		if share := s.share(s.Whole[name]); share >= 0.5 {
			confidence := High
			if s.Values < enough || (kindOf(c.Type) == kindNumber && name != "ssn") {
				confidence = Medium
			}
			return Proposal{Class: ofDetector[name], Confidence: confidence, Reason: percent(share) + " of its values have the form of " + ofDetector[name]}
		}
	}
	found := 0
	for _, n := range s.Part {
		found = max(found, n)
	}
	for _, n := range s.Whole {
		found = max(found, n)
	}
	kind := kindOf(c.Type)
	switch {
	case found > 0 && kind&(kindText|kindDocument) != 0:
		confidence := Medium
		if s.share(s.Long) >= 0.2 {
			confidence = High
		}
		return Proposal{Class: "free_text", Confidence: confidence, Reason: percent(s.share(found)) + " of its values hold an identifier"}
	case kind != kindText || s.Values < enough:
		return no
	case s.share(s.Long) >= 0.2 && s.share(s.Distinct) >= 0.3:
		return Proposal{Class: "free_text", Confidence: Medium, Reason: "long texts, " + percent(s.share(s.Distinct)) + " of them different"}
	case s.share(s.Dates) >= 0.8:
		return Proposal{Class: "date", Confidence: Medium, Reason: percent(s.share(s.Dates)) + " of its values are written like dates"}
	case s.share(s.ZIPs) >= 0.9:
		return Proposal{Class: "zip", Confidence: Medium, Reason: percent(s.share(s.ZIPs)) + " of its values look like ZIP codes"}
	case s.share(s.Distinct) < 0.9:
		return no
	case s.share(s.Names) >= 0.8:
		return Proposal{Class: "name", Confidence: Low, Reason: "nearly every value is another, and capitalised like a name"}
	case s.share(s.Codes) >= 0.8:
		return Proposal{Class: "other_id", Confidence: Low, Reason: "a code that nearly every row has for itself"}
	}
	return no
}

// unremarkable is a column that nothing speaks for after a look at its values.
func unremarkable(_ connectors.TableColumn, s *Stats) Proposal {
	if s.Values >= 5*enough && s.share(s.Distinct) <= 0.2 {
		return Proposal{Class: None, Confidence: High, Reason: fmt.Sprintf("few different values (%d of %d)", s.Distinct, s.Values)}
	}
	return Proposal{Class: None, Confidence: Medium, Reason: fmt.Sprintf("nothing speaks for it (%d values)", s.Values)}
}

// percent is never more exact than helps.
func percent(share float64) string {
	switch p := int(share*100 + 0.5); {
	case p < 1:
		return "under 1 %"
	default:
		return fmt.Sprintf("%d %%", p)
	}
}

func article(class string) string {
	name := strings.ReplaceAll(class, "_", " ")
	if strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}
