package config

import (
	"fmt"
	"maps"
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

// Profile returns a masking profile by name.
func Profile(name string) (*masking.Profile, error) {
	if p := masking.HIPAASafeHarbor(); name == p.Name {
		return p, nil
	}
	return nil, fmt.Errorf("there is no profile %q; there is %s", name, masking.HIPAASafeHarbor().Name)
}

// Classification resolves a connection's columns against a profile.
func (c *Connection) Classification(profile string) (*masking.Classification, error) {
	p, err := Profile(profile)
	if err != nil {
		return nil, err
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
	return masking.Classify(p, columns)
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
