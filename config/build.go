package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

// Rules are the built-in sets and then the file's own.
func (c *Config) Rules() ([]policy.Rule, error) {
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
	for _, r := range c.Policy.Rules {
		rules = append(rules, policy.Rule{
			Name: r.Name, Effect: policy.Effect(r.Effect), When: r.When, Message: r.Message, Hint: r.Hint,
			Approvals: r.Approvals, Expires: time.Duration(r.Expires),
		})
	}
	return rules, nil
}

// Classification resolves a connection's columns against a profile. For MySQL
// a column is table.column (or database.table.column); its schema is the
// connection's database.
func (c *Connection) Classification(profile string) (*masking.Classification, error) {
	if profile != "hipaa-safe-harbor" {
		return nil, fmt.Errorf("there is no profile %q", profile)
	}
	columns := make(map[masking.ColumnRef]string, len(c.Columns))
	p := masking.HIPAASafeHarbor()
	for name, class := range c.Columns {
		parts := strings.Split(name, ".")
		if c.Engine == "mysql" && len(parts) == 2 {
			parts = append([]string{c.Database}, parts...)
		}
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			return nil, fmt.Errorf("%q is no column; write schema.table.column", name)
		}
		if _, ok := p.Classes[class]; !ok {
			return nil, fmt.Errorf("%s: there is no class %q; there are %s", name, class, strings.Join(p.ClassNames(), ", "))
		}
		columns[masking.ColumnRef{Schema: parts[0], Relation: parts[1], Column: parts[2]}] = class
	}
	return masking.Classify(p, columns)
}
