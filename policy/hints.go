package policy

import (
	"fmt"
	"strings"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

// The built-in rules whose hint depends on what the statement does.
const (
	ruleProtectedPredicate = "protected-predicate"
	ruleDestroyedUse       = "destroyed-use"
	ruleDeniedCatalog      = "denied-catalog"
	ruleDeniedFunction     = "denied-function"
)

// addHints gives the rules without a hint one about the very use, function or
// relation that they are about.
func addHints(matched []Matched, st *connectors.Statement) {
	for i := range matched {
		m := &matched[i]
		if m.Hint != "" {
			continue
		}
		switch m.Rule {
		case ruleDestroyedUse, ruleProtectedPredicate:
			m.Hint = hintOfUse(st, m.Rule == ruleProtectedPredicate)
		case ruleDeniedCatalog:
			for _, r := range st.Relations {
				if r.Denied != "" {
					m.Hint = fmt.Sprintf("%s.%s: %s.", r.Schema, r.Name, r.Denied)
					break
				}
			}
		case ruleDeniedFunction:
			m.Hint = hintOfFunctions(st)
		}
	}
}

// hintOfFunctions names every function that is denied, so that one answer is
// enough to write the statement without them.
func hintOfFunctions(st *connectors.Statement) string {
	var sentences []string
	for _, f := range st.Functions {
		if why := whyDenied(f.Class); why != "" {
			sentences = append(sentences, fmt.Sprintf("%s %s.", f.Name, why))
		}
	}
	return strings.Join(sentences, " ")
}

func hintOfUse(st *connectors.Statement, openable bool) string {
	for _, use := range st.Uses {
		if use.Seen != connectors.SeenDestroyed || use.Openable != openable {
			continue
		}
		if use.Class == masking.Unclassified {
			return fmt.Sprintf("Nobody has decided yet whether %s is protected: the operator gives it a class, or none.", use.Column)
		}
		if use.Hint != "" {
			return use.Hint
		}
		return fmt.Sprintf("Leave out %s, or use a column that is not masked; the schema endpoint lists how each is.", use.Column)
	}
	return ""
}

// whyDenied says what a function of a class can do; "" for those that are allowed.
func whyDenied(class connectors.FunctionClass) string {
	switch class {
	case connectors.FunctionHarmless, connectors.FunctionCatalog:
		return ""
	case connectors.FunctionReads:
		return "reads tables by name, past the masks; name the table in FROM"
	case connectors.FunctionDynamic:
		return "runs SQL that is given as text; write that statement itself"
	case connectors.FunctionFile:
		return "reaches files of the database server"
	case connectors.FunctionNetwork:
		return "opens network connections from the database server"
	case connectors.FunctionProgram:
		return "starts programs on the database server"
	case connectors.FunctionSleep:
		return "makes the statement wait; leave it out"
	case connectors.FunctionLock:
		return "takes locks that others wait for; leave it out"
	case connectors.FunctionSetting:
		return "reads or changes settings of the server; leave it out"
	case connectors.FunctionSession:
		return "tells of the server and its sessions, or controls them; leave it out (the schema endpoint names the engine)"
	case connectors.FunctionSequence:
		return "changes or shows a sequence; leave it out"
	}
	return "is not known to only compute"
}
