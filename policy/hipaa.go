package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Figures are the numbers of the built-in rules.
type Figures struct {
	// BulkRows is the most rows of a protected relation that leave without a
	// person's approval.
	BulkRows int64
	// LargeRows is the most rows of any relations a statement may be expected
	// to produce without approval.
	LargeRows int64
	// MaxCost is the planner's cost, in its own units, above which a statement
	// needs approval.
	MaxCost float64
}

// DefaultFigures suit a database of some million rows.
func DefaultFigures() Figures { return Figures{BulkRows: 1000, LargeRows: 10_000, MaxCost: 5_000_000} }

// HIPAA is the built-in rule set. It serves the minimum necessary standard (45
// CFR 164.502(b), 164.514(d)): what an agent needs for a question runs, what
// takes data out in bulk or changes it needs a person, what can only harm is
// denied.
func HIPAA(f Figures) []Rule {
	rules := []Rule{{Name: "read", Effect: Allow,
		When: `statement.runnable && statement.kind == "select" && !statement.write`}}
	rules = append(rules, exports(f)...)
	rules = append(rules, protected()...)
	rules = append(rules, writes()...)
	rules = append(rules, resources(f)...)
	rules = append(rules, server()...)
	return append(rules, kinds()...)
}

// exports need approval. The request's row_limit does not count: many requests
// of a thousand rows each are an export too.
func exports(f Figures) []Rule {
	bulk, large := strconv.FormatInt(f.BulkRows, 10), strconv.FormatInt(f.LargeRows, 10)
	limited := func(rows string) string {
		return `(statement.shape.limit >= 0 && statement.shape.limit <= ` + rows + `)`
	}
	// A guess of the planner asks a person only when it is far beyond: what comes is
	// counted in any case, and stopped.
	more := func(rows string) string {
		return `(estimate.known && estimate.rows > ` + rows + `.0 * (estimate.guess ? 10.0 : 1.0))`
	}
	// Groups are not estimated well over masks, so there only what comes counts.
	uncounted := `(estimate.known && estimate.rows > ` + strconv.FormatFloat(math.MaxFloat32, 'f', 1, 64) + `)`
	const (
		summary = `(statement.shape.aggregate || statement.shape.grouped && !statement.shape.groups_by_key)`
		rowsOut = `(statement.shape.protected_rows_out && !` + summary + `)`
	)
	return []Rule{
		{
			Name: "bulk-export", Effect: Approve, Outgrown: f.BulkRows,
			When: `statement.kind == "select" && statement.protected && ` + rowsOut +
				` && !` + limited(bulk) + ` && (!statement.shape.filtered || ` + more(bulk) + `)`,
			Message: "This reads rows of protected tables in bulk.",
			Hint:    "Filter the protected table, add LIMIT " + bulk + " or less, or aggregate; otherwise a person must approve.",
		},
		{
			Name: "many-groups", Effect: Approve, Outgrown: f.BulkRows,
			When:    `statement.kind == "select" && statement.protected && !` + rowsOut + ` && !` + limited(bulk) + ` && ` + uncounted,
			Message: "This makes more groups of protected rows than a summary has.",
			Hint:    "Group by less, filter, or add LIMIT " + bulk + " or less; otherwise a person must approve.",
		},
		{
			Name: "bulk-collect", Effect: Approve,
			When: `statement.kind == "select" && statement.shape.collects && ` +
				`(!statement.shape.filtered || !estimate.known || estimate.grouped > ` + bulk + `.0)`,
			Message: "This collects rows of protected tables into one value.",
			Hint:    "Filter the protected table, or count instead of collecting; otherwise a person must approve.",
		},
		{
			Name: "large-result", Effect: Approve, Outgrown: f.LargeRows,
			When: `statement.kind == "select" && !` + limited(large) +
				` && (` + uncounted + ` || statement.shape.rows_out && !statement.shape.aggregate && !statement.shape.grouped && ` + more(large) + `)`,
			Message: "This is expected to produce more than " + large + " rows.",
			Hint:    "Filter, aggregate, or add LIMIT " + large + " or less; otherwise a person must approve.",
		},
	}
}

// protected are the rules on uses that a mask would make lie.
func protected() []Rule {
	return []Rule{
		{
			Name: ruleProtectedPredicate, Effect: Approve,
			When:    `statement.uses.exists(u, u.seen == "destroyed" && u.openable)`,
			Message: "This compares a protected column's real values, which only a person can allow.",
		},
		{
			Name: ruleDestroyedUse, Effect: Deny,
			When: `statement.uses.exists(u, u.seen == "destroyed" && !u.openable)`,
			Message: "This joins, groups, orders or compares by a column whose mask hides the value, " +
				"so the answer would be wrong.",
		},
	}
}

func writes() []Rule {
	return []Rule{
		{
			Name: "write", Effect: Approve, When: `statement.runnable && statement.write`,
			Message: "Every change of data needs a person's approval.",
		},
		{
			Name: "write-without-where", Effect: Deny,
			When:    `statement.kind in ["update", "delete", "merge"] && !statement.shape.where`,
			Message: "An UPDATE or DELETE needs a WHERE, a MERGE an ON that says which rows.", Hint: "Say which rows.",
		},
		{
			Name: "write-in-query", Effect: Deny, When: `statement.kind == "select" && statement.write`,
			Message: "A SELECT may not change data inside.", Hint: "Send the change as a statement of its own.",
		},
	}
}

// resources are the rules on what slows others down. A bound on time and rows
// holds in any case; these ask before.
func resources(f Figures) []Rule {
	large := strconv.FormatInt(f.LargeRows, 10)
	return []Rule{
		{
			Name: "too-expensive", Effect: Approve,
			When:    `estimate.known && estimate.cost > ` + strconv.FormatFloat(f.MaxCost, 'f', 1, 64) + ` * (estimate.guess ? 10.0 : 1.0)`,
			Message: "The database expects this to be very expensive.",
			Hint:    "Filter by an indexed column, or join on keys; otherwise a person must approve.",
		},
		{
			Name: "cartesian", Effect: Approve,
			When: `statement.shape.cartesian && ` +
				`(!estimate.known || estimate.rows > ` + large + `.0 || estimate.scanned > ` + large + `.0)`,
			Message: "Two large tables are joined without a condition between them.",
			Hint:    "Add the join condition; otherwise a person must approve.",
		},
		{
			Name: "recursive", Effect: Approve, When: `statement.shape.recursive && statement.shape.limit < 0`,
			Message: "A recursive query without LIMIT may not end.", Hint: "Add a LIMIT with a number.",
		},
		{
			Name: "row-locks", Effect: Deny, When: `statement.kind == "select" && statement.shape.locking`,
			Message: "Reads may not lock rows.", Hint: "Leave out FOR UPDATE and FOR SHARE.",
		},
	}
}

// server are the rules on what reaches beyond the tables.
func server() []Rule {
	return []Rule{
		{
			Name: ruleDeniedCatalog, Effect: Deny, When: `statement.relations.exists(r, r.denied != "")`,
			Message: "This reads a system catalog that can hold data values or secrets.",
		},
		{
			Name: ruleDeniedFunction, Effect: Deny,
			When:    `statement.functions.exists(f, !(f.class in ["harmless", "catalog", "listed"]))`,
			Message: "This calls a function that can do more than compute.",
		},
	}
}

// kinds deny every kind of statement that is no query and no plain write.
func kinds() []Rule {
	refused := []struct{ kind, what, hint string }{
		{"ddl", "Changing the schema", "Ask a database administrator."},
		{"grant", "Changing privileges", "Ask a database administrator."},
		{"copy", "COPY", "Use SELECT; results are returned as JSON."},
		{"call", "Running procedures, prepared or dynamic SQL", "Write the statement itself."},
		{"session", "Changing the session or the transaction", "Each request is one statement in its own transaction."},
		{"utility", "Database maintenance", "Ask a database administrator."},
		{"explain", "EXPLAIN", `Send the statement itself with "dry_run": true: the answer holds the planner's estimate.`},
		{"show", "SHOW or DESCRIBE", "Use GET /v1/connections/{name}/schema, or ask information_schema, such as " +
			"SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = 'patients'; settings are not shown."},
	}
	rules := make([]Rule, 0, len(refused))
	for _, k := range refused {
		rules = append(rules, Rule{
			Name: "no-" + k.kind, Effect: Deny, When: fmt.Sprintf(`statement.kind == %q`, k.kind),
			Message: k.what + " is not possible through the gateway.", Hint: k.hint,
		})
	}
	return rules
}

// Builtin returns a built-in rule set by name.
func Builtin(name string, f Figures) ([]Rule, error) {
	if strings.EqualFold(name, "hipaa") {
		return HIPAA(f), nil
	}
	return nil, fmt.Errorf("there is no built-in rule set %q; there is hipaa", name)
}
