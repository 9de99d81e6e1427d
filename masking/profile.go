package masking

import (
	"regexp"
	"slices"
	"strings"
)

// RedactText is what a redacted text shows.
const RedactText = "[redacted]"

// HIPAASafeHarbor is the de-identification of 45 CFR 164.514(b)(2)(i): its
// eighteen identifiers (A) to (R) as classes, with the generalisations that the
// rule permits and nothing else in clear.
func HIPAASafeHarbor() *Profile {
	p := &Profile{
		Name:    "hipaa-safe-harbor",
		Classes: map[string]Class{},
		// Three-digit areas of at most 20,000 people, Census 2000, as HHS lists them.
		LowPopulationZIP3: []string{
			"036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879",
			"884", "890", "893",
		},
		SmallCell: 11, // CMS cell size suppression policy
	}
	redact := Mask{Kind: Redact, Text: RedactText}
	for _, name := range []string{
		"name",         // (A)
		"address",      // (B) smaller than a state, but for ZIP3
		"phone",        // (D)
		"fax",          // (E)
		"email",        // (F)
		"ssn",          // (G)
		"insurance_id", // (I) health plan beneficiary number
		"account",      // (J)
		"license",      // (K)
		"vehicle",      // (L)
		"device",       // (M)
		"url",          // (N)
		"ip",           // (O)
		"biometric",    // (P)
		"photo",        // (Q)
		"other_id",     // (R)
		"free_text",    // may hold any of them
	} {
		p.Classes[name] = Class{Name: name, Mask: redact}
	}
	p.Classes["zip"] = Class{Name: "zip", Mask: Mask{Kind: ZIP3}}                                // (B)
	p.Classes["date"] = Class{Name: "date", Mask: Mask{Kind: Year}}                              // (C)
	p.Classes["birth_date"] = Class{Name: "birth_date", Mask: Mask{Kind: BirthYear}}             // (C)
	p.Classes["age"] = Class{Name: "age", Mask: Mask{Kind: Age}}                                 // (C)
	p.Classes["mrn"] = Class{Name: "mrn", Mask: redact, Lookup: true}                            // (H)
	p.Classes["pseudonym"] = Class{Name: "pseudonym", Mask: Mask{Kind: Token, Text: RedactText}} // 164.514(c)
	return p
}

// HIPAALimitedDataSet is the limited data set of 45 CFR 164.514(e)(2): sixteen
// direct identifiers go; dates, ages and ZIP codes stay. The class other_id,
// which the rule would allow, stays masked. It needs a data use agreement.
func HIPAALimitedDataSet() *Profile {
	p := HIPAASafeHarbor()
	p.Name = "hipaa-limited-data-set"
	p.LowPopulationZIP3 = nil
	p.Clear = map[string]bool{}
	for _, name := range []string{"zip", "date", "birth_date", "age"} {
		delete(p.Classes, name)
		p.Clear[name] = true
	}
	return p
}

var (
	ageShape   = regexp.MustCompile(`^90(\.0*)?$`)
	zip3Shape  = regexp.MustCompile(`^\d{3}$`)
	yearShape  = regexp.MustCompile(`^\d{4}(-01-01([t ]00:00(:00(\.0+)?)?(z|[+-]00(:?00)?)?)?)?$`)
	tokenShape = regexp.MustCompile(`tok_[a-z2-7]{20}`)
)

// LooksMasked reports whether text is, or holds, a value that the class's mask
// could have produced. Such a value is never written into a protected column: an
// agent that was shown a mask must not store it as data. (So a date of the class
// date or birth_date that is truly the first of January cannot be written.)
func LooksMasked(class Class, text string) bool {
	text = strings.ToLower(strings.TrimSpace(text)) // upper(ssn) is a mask too
	if strings.Contains(text, "[redacted") || tokenShape.MatchString(text) {
		return true
	}
	switch class.Mask.Kind {
	case Redact, Token, Constant:
		if class.Mask.Kind == Constant && class.Mask.Text == "0" {
			return text == "0" // not every number that holds one
		}
		shown := strings.ToLower(class.Mask.Text)
		if shown == "" {
			shown = RedactText
		}
		// A short column shows a prefix of the mask.
		return text != "" && (strings.HasPrefix(shown, text) || strings.Contains(text, shown))
	case ZIP3:
		return zip3Shape.MatchString(text)
	case Age:
		return ageShape.MatchString(text)
	case Null, FreeTextScan:
		return false // nothing but NULL; and what was found is marked, as above
	case Partial:
		return strings.Contains(text, "****") || (text != "" && strings.Trim(text, "*") == "")
	case Year, BirthYear, AgeBand:
		return yearShape.MatchString(text)
	}
	return true // an unknown mask could have produced anything
}

// ClassNames lists a profile's classes, sorted, for messages.
func (p *Profile) ClassNames() []string {
	names := make([]string, 0, len(p.Classes))
	for name := range p.Classes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
