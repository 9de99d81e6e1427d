package masking

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Custom is a profile without classes, for those who define every one. The
// figures are those of the Safe Harbor.
func Custom() *Profile {
	p := HIPAASafeHarbor()
	p.Name, p.Classes = "custom", map[string]Class{}
	return p
}

// Profiles are the profiles that there are, the default first.
func Profiles() []*Profile {
	return []*Profile{HIPAASafeHarbor(), HIPAALimitedDataSet(), Custom()}
}

var className = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Add adds a class, or changes the one of its name.
func (p *Profile) Add(c Class) error {
	switch {
	case !className.MatchString(c.Name):
		return fmt.Errorf("name classes with small letters, digits and _")
	case c.Name == None || c.Name == Person || c.Name == Unclassified:
		return fmt.Errorf("%s is no class of protected data; take another name", c.Name)
	case c.Lookup && c.Mask.Generalises():
		return fmt.Errorf("lookup is for masks that hide the value; %s is compared as it is shown", c.Mask.Kind)
	}
	if err := c.Mask.check(); err != nil {
		return err
	}
	delete(p.Clear, c.Name)
	p.Classes[c.Name] = c
	if c.Mask.Kind == ZIP3 { // a profile that left ZIP codes clear has no list
		p.LowPopulationZIP3 = HIPAASafeHarbor().LowPopulationZIP3
	}
	return nil
}

// options are what each mask takes besides its kind.
var options = map[Kind][]string{
	Redact: {"text"}, Constant: {"text"}, Null: nil, Partial: {"first", "last"},
	ZIP3: nil, Year: nil, BirthYear: nil, Age: nil, AgeBand: {"width"},
	Token: nil, DateShift: {"days"}, FreeTextScan: nil, Expression: {"postgres", "mysql"}, CEL: {"cel"},
}

// maxDays is a hundred years.
const maxDays = 36525

// maxWidth is the widest age band: half of what is told of a life.
const maxWidth = 45

// check reports what is wrong with a mask that a user wrote.
func (m Mask) check() error {
	takes, ok := options[m.Kind]
	if !ok {
		return fmt.Errorf("there is no mask %q; there are %s", m.Kind, strings.Join(kinds(), ", "))
	}
	for _, o := range []struct {
		name  string
		given bool
	}{
		{"text", m.Text != ""}, {"first", m.First != 0}, {"last", m.Last != 0}, {"width", m.Width != 0}, {"days", m.Days != 0},
		{"postgres", m.Postgres != ""}, {"mysql", m.MySQL != ""}, {"cel", m.CEL != ""},
	} {
		if o.given && !slices.Contains(takes, o.name) {
			return fmt.Errorf("the mask %s has no %s; leave it out", m.Kind, o.name)
		}
	}
	switch {
	case m.Kind == Constant && m.Text == "":
		return fmt.Errorf("the mask constant needs a text")
	case m.Kind == Expression && m.Postgres == "" && m.MySQL == "":
		return fmt.Errorf("the mask expression needs an expression for postgres, for mysql, or both")
	case m.Kind == CEL:
		_, err := NewProgram(m.CEL)
		return err
	case m.First < 0 || m.Last < 0:
		return fmt.Errorf("first and last are numbers of characters")
	case m.Kind == Partial && m.First+m.Last == 0:
		return fmt.Errorf("the mask partial needs first or last, the characters that stay; redact hides them all")
	case m.Days < 0 || m.Days > maxDays:
		return fmt.Errorf("days is how far dates move at most, up to %d", maxDays)
	case m.Width < 0 || m.Width > maxWidth:
		return fmt.Errorf("width is a number of birth years, at most %d", maxWidth)
	}
	return nil
}

// kinds are the names of the masks, sorted.
func kinds() []string {
	var names []string
	for kind := range options {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return names
}
