package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// Rules are the built-in sets and then the file's own.
func (c *Config) Rules() ([]policy.Rule, error) {
	rules, err := c.builtin()
	if err != nil {
		return nil, err
	}
	for _, r := range c.Policy.Rules {
		rules = append(rules, policy.Rule{
			Name: r.Name, Effect: policy.Effect(r.Effect), When: r.When, Message: r.Message, Hint: r.Hint,
			Approvals: r.Approvals, Expires: time.Duration(r.Expires),
		})
	}
	return rules, nil
}

func (c *Config) builtin() ([]policy.Rule, error) {
	var rules []policy.Rule
	for _, name := range c.Policy.Builtin {
		set, err := policy.Builtin(name, policy.Figures{
			BulkRows: c.Policy.BulkRows, LargeRows: c.Policy.LargeRows, MaxCost: c.Policy.MaxCost,
		})
		if err != nil {
			return nil, err
		}
		rules = append(rules, set...)
	}
	return rules, nil
}

// NewProfile is the file's masking profile: the one it names, with its own
// classes on top.
func (m *Masking) NewProfile() (*masking.Profile, error) {
	p, err := profile(m.Profile)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Classes)) {
		if err := p.Add(m.Classes[name].class(name)); err != nil {
			return nil, fmt.Errorf("class %s: %w", name, err)
		}
	}
	return p, nil
}

func profile(name string) (*masking.Profile, error) {
	var names []string
	for _, p := range masking.Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("there is no profile %q; there are %s", name, strings.Join(names, ", "))
}

func (c Class) class(name string) masking.Class {
	return masking.Class{Name: name, Lookup: c.Lookup, Mask: masking.Mask{
		Kind: masking.Kind(c.Mask), Text: c.Text, First: c.First, Last: c.Last, Width: c.Width, Days: c.Days, Postgres: c.Postgres, MySQL: c.MySQL, CEL: c.CEL,
	}}
}

// Classification resolves a connection's columns against the file's profile.
func (c *Connection) Classification(m *Masking) (*masking.Classification, error) {
	p, err := m.NewProfile()
	if err != nil {
		return nil, err
	}
	if c.SmallCell != nil {
		p.SmallCell = *c.SmallCell
	}
	columns := make(map[masking.ColumnRef]string, len(c.Columns))
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		ref, err := c.column(name)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", name, err)
		}
		if _, twice := columns[ref]; twice {
			return nil, fmt.Errorf("column %s has two classes", ref)
		}
		columns[ref] = c.Columns[name]
	}
	if c.Unclassified == unclassifiedShow {
		return masking.Classify(p, columns)
	}
	return masking.Classify(p, columns, masking.RedactUnclassified())
}

// column reads a column's name: schema.table.column or, for MySQL,
// table.column of the connection's database or database.table.column.
func (c *Connection) column(name string) (masking.ColumnRef, error) {
	parts := strings.Split(name, ".")
	if c.Engine == engineMySQL && len(parts) == 2 {
		parts = append([]string{c.Database}, parts...)
	}
	if len(parts) != 3 || slices.Contains(parts, "") || strings.ContainsFunc(name, unprintable) {
		if c.Engine == engineMySQL {
			return masking.ColumnRef{}, fmt.Errorf("is no column; write table.column")
		}
		return masking.ColumnRef{}, fmt.Errorf("is no column; write schema.table.column")
	}
	return masking.ColumnRef{Schema: parts[0], Relation: parts[1], Column: parts[2]}, nil
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }

var maskedSchemaName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`)

// MaskedSchemaName reports whether a schema of masking views may be called so:
// the names of its roles are made from it.
func MaskedSchemaName(name string) bool {
	return maskedSchemaName.MatchString(name) && !strings.HasPrefix(name, "pg_") && name != "information_schema" && name != "mysql"
}
