package evidence

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"
)

// Difference is a set of aggregates of one caller that nearly repeat one
// another. Two counts that differ in one condition differ by the people that it
// leaves out, so what each may show can together show one person. That is not
// prevented; here it can be seen.
type Difference struct {
	Principal  string   `json:"principal"`
	Connection string   `json:"connection"`
	Tables     []string `json:"tables"`
	// Kind is "values" for one statement asked again with other values (the
	// values are sealed), "predicate" for statements that differ in one condition.
	Kind string `json:"kind"`
	// Statements are the normalised texts, one or two.
	Statements []string  `json:"statements"`
	Count      int       `json:"count"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	// QueryIDs are the newest of them, at most 20 of each statement.
	QueryIDs []string `json:"query_ids"`
}

const (
	// differencingRepeats is how often a statement is asked with other values
	// before that is worth a line.
	differencingRepeats = 2
	// keptIDs of each statement, and keptTexts of each caller and set of tables:
	// pairs are compared one by one.
	keptIDs   = 20
	keptTexts = 500
)

// asked is one normalised aggregate of one caller.
type asked struct {
	text        string
	terms       []string
	count       int
	first, last time.Time
	ids         []string
}

// Differencing reads the aggregates over protected relations that the filter
// chooses, and lists those of one caller that differ in one condition or in
// their values only, most frequent first. It reads clear parts only.
func Differencing(ctx context.Context, r *Reader, f Filter) ([]Difference, error) {
	type group struct{ principal, connection, tables string }
	groups := map[group]map[string]*asked{}
	err := r.Records(ctx, f, func(record *Record) bool {
		st := record.Statement
		if record.Type != TypeOutcome || record.Actor == nil || st == nil || !st.Aggregate || st.DryRun ||
			record.Result == nil || record.Result.Status != "succeeded" {
			return true
		}
		g := group{record.Actor.Key(), record.Connection, strings.Join(tablesOf(st.Relations), ", ")}
		if groups[g] == nil {
			groups[g] = map[string]*asked{}
		}
		one := groups[g][st.Fingerprint+st.Normalized]
		if one == nil {
			if len(groups[g]) >= keptTexts {
				return true
			}
			one = &asked{text: st.Normalized, terms: conditions(st.Normalized), first: record.Time}
			groups[g][st.Fingerprint+st.Normalized] = one
		}
		one.count++
		one.last = record.Time
		if one.ids = append(one.ids, record.QueryID); len(one.ids) > keptIDs {
			one.ids = one.ids[1:]
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	var out []Difference
	for g, all := range groups {
		list := make([]*asked, 0, len(all))
		for _, one := range all {
			list = append(list, one)
		}
		sort.Slice(list, func(i, j int) bool { return list[i].text < list[j].text })
		for i, x := range list {
			d := Difference{Principal: g.principal, Connection: g.connection, Tables: strings.Split(g.tables, ", ")}
			if x.count >= differencingRepeats && strings.ContainsAny(x.text, "?$") {
				d.Kind, d.Statements, d.Count, d.First, d.Last, d.QueryIDs = "values", []string{x.text}, x.count, x.first, x.last, x.ids
				out = append(out, d)
			}
			for _, y := range list[i+1:] {
				if !nearlySame(x.terms, y.terms) {
					continue
				}
				d.Kind, d.Statements, d.Count = "predicate", []string{x.text, y.text}, x.count+y.count
				d.First, d.Last = x.first, x.last
				if y.first.Before(d.First) {
					d.First = y.first
				}
				if y.last.After(d.Last) {
					d.Last = y.last
				}
				d.QueryIDs = slices.Concat(x.ids, y.ids)
				out = append(out, d)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Count != out[j].Count {
			return out[i].Count > out[j].Count
		}
		return out[i].Principal+out[i].Statements[0] < out[j].Principal+out[j].Statements[0]
	})
	return out, nil
}

func tablesOf(relations json.RawMessage) (names []string) {
	var list []struct{ Schema, Name string }
	if json.Unmarshal(relations, &list) != nil {
		return nil
	}
	for _, r := range list {
		names = append(names, r.Schema+"."+r.Name)
	}
	sort.Strings(names)
	return names
}

// conditions takes a normalised text apart at its conjunctions and clauses. It
// reads words, not SQL: a report may err, it decides nothing.
func conditions(text string) []string {
	var terms []string
	term := []string{}
	end := func() {
		if len(term) > 0 {
			terms = append(terms, strings.Join(term, " "))
		}
		term = term[:0]
	}
	for _, word := range strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", "`", "").Replace(strings.ToLower(text))) {
		switch word {
		case "and", "or", "where", "having", "on":
			end()
			continue // WHERE a and AND a are one condition
		case "group", "order", "limit", "select", "from":
			end()
		}
		if word != "(" && word != ")" {
			term = append(term, marker(word))
		}
	}
	end()
	sort.Strings(terms)
	return terms
}

// marker makes the engines' markers of values one: numbered ones shift with each
// condition more.
func marker(word string) string {
	if strings.HasPrefix(word, "$") {
		return "?"
	}
	return word
}

// nearlySame reports whether one condition more, less or another makes the
// terms equal.
func nearlySame(x, y []string) bool {
	only := func(x, y []string) (n int) {
		rest := slices.Clone(y)
		for _, term := range x {
			if at := slices.Index(rest, term); at >= 0 {
				rest = slices.Delete(rest, at, at+1)
			} else {
				n++
			}
		}
		return n
	}
	shared := len(x) - only(x, y)
	return only(x, y) <= 1 && only(y, x) <= 1 && shared > 1
}
