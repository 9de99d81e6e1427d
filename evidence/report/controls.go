package report

import (
	"bytes"
	_ "embed" // the controls
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-sql/chaperone/evidence"
)

//go:embed controls.yaml
var controlsText []byte

// control is a paragraph of the regulation and what this bundle says about it.
type control struct {
	// Citation is a paragraph of 45 CFR, such as "164.312(b)".
	Citation string `yaml:"citation"`
	// Name is what it is about, in our own words.
	Name string `yaml:"name"`
	// Evidenced is what the records show.
	Evidenced string `yaml:"evidenced"`
	// Records are the types of the records that show it.
	Records []evidence.Type `yaml:"records"`
	// Counts are names of counters.
	Counts []string `yaml:"counts"`
	// Other is what the organisation must show by other means.
	Other string `yaml:"other"`
}

var citation = regexp.MustCompile(`^164\.(308|312|316|502|514|528)\([a-z]\)(\([0-9]+\)(\([ivx]+\)(\([A-Z]\))?)?)?$`)

// loadControls reads the controls strictly: a field, a type or a counter that is not
// known is an error.
func loadControls(text []byte) ([]control, error) {
	var list []control
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("reading the controls: %w", err)
	}
	if err := d.Decode(&[]control{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the controls: more than one document")
	}
	known := make(map[string]bool)
	for _, counter := range counters(&collector{}) {
		known[counter.name] = true
	}
	seen := make(map[string]bool)
	for i := range list {
		c := &list[i]
		switch {
		case !citation.MatchString(c.Citation), seen[c.Citation]:
			return nil, fmt.Errorf("reading the controls: %q is no paragraph, or is there twice", c.Citation)
		case c.Name == "", c.Evidenced == "", c.Other == "", len(c.Records) == 0, len(c.Counts) == 0:
			return nil, fmt.Errorf("reading the controls: %s: a field is empty", c.Citation)
		}
		seen[c.Citation] = true
		for _, t := range c.Records {
			if !t.Known() {
				return nil, fmt.Errorf("reading the controls: %s: there are no records %q", c.Citation, t)
			}
		}
		for _, name := range c.Counts {
			if !known[name] {
				return nil, fmt.Errorf("reading the controls: %s: there is no counter %q", c.Citation, name)
			}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("reading the controls: there are none")
	}
	return list, nil
}

// counter is a count that a control shows.
type counter struct {
	name, words string
	n           int64
	// affair is true if a filter of queries leaves out what it counts, so that zero
	// says nothing.
	affair bool
}

// words are a counter with its number; filtered is true in a bundle with a filter.
func (c counter) text(filtered bool) string {
	if filtered && c.affair && c.n == 0 {
		return capital(c.words) + ": not in a bundle with this filter"
	}
	return capital(c.words) + ": " + number(c.n)
}

// counters are all counts by name.
func counters(c *collector) []counter {
	return []counter{
		{"records", "records", c.records, false},
		{"queries", "queries", c.total(), false},
		{"succeeded", "queries that succeeded", c.ends[succeeded], false},
		{"principals", "persons and agents who asked", c.principals(), false},
		{"denied_by_policy", "queries denied by policy", c.ends[deniedByPolicy], false},
		{"denied_by_approvers", "denials by approvers", c.n.deniedByApprovers, false},
		{"refused", "queries refused because they were not understood or not valid", c.ends[refused], false},
		{"rejected", "requests of known callers that were no query", c.n.rejected, true},
		{"forbidden", "requests beyond the caller's role", c.n.forbidden, true},
		{"approvals_asked", "requests for approval", c.rulesAsked.total(), false},
		{"approvals_given", "approvals by approvers", c.n.approvals, false},
		{"break_glass", "break-glass queries", c.glass.total(), false},
		{"rows", "rows released", c.n.rows, false},
		{"masked_cells", "cells masked", c.masks.total(), false},
		{"detected", "answers in which a detector found something", c.detected.total(), false},
		{"persons", "different persons named by look-ups", int64(len(c.people)), false},
		{"accounting", "queries that name the person of this bundle", c.accounting.total(), false},
		{"failed_sign_ins", "failed sign-ins recorded", c.n.failed, true},
		{"failed_sign_ins_left_out", "failed sign-ins counted and not recorded one by one", c.n.leftOut, true},
		{"sign_ins", "sign-ins of people to the pages", c.n.signedIn, true},
		{"credentials", "database credentials issued", c.n.leasesIssued, false},
		{"credentials_revoked", "database credentials recorded as ended", c.n.leasesRevoked, false},
		{"credentials_open", "database credentials without a record of their end", c.n.unrevoked, false},
		{"without_end", "queries interrupted or without a recorded end", c.endsOf(interrupted, noEnd), false},
		{"starts", "starts of gateways", c.n.started, true},
		{"unclean", "records of what a gateway that stopped left undone", c.n.recovered, true},
		{"config_changes", "changes of the configuration", c.n.configChanged, true},
		{"key_changes", "changes of keys", c.n.keysChanged, true},
		{"policy_changes", "changes of the rules of decision", c.n.policyChanged, true},
		{"reads", "looks of auditors at evidence", c.n.reads, true},
		{"exports", "exports of evidence", c.n.exported, true},
		{"bundles", "days' bundles stored", c.n.bundled, true},
	}
}
