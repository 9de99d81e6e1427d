package evidence

import (
	"encoding/json"
	"testing"
)

func TestDifferencing(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw"))
	ask := func(id, subject, text string, aggregate bool) {
		t.Helper()
		_, err := l.Append(t.Context(), &Record{Type: TypeOutcome, QueryID: id, Connection: "clinic",
			Actor: &Actor{Issuer: "iss", Subject: subject}, Result: &Result{Status: "succeeded"},
			Statement: &Statement{Normalized: text, Fingerprint: text, Aggregate: aggregate,
				Relations: json.RawMessage(`[{"schema":"public","name":"patients","protected":true}]`)}})
		must(t, err)
	}
	ask("q1", "crew", "SELECT count(*) FROM patients WHERE zip = ?", true)
	ask("q2", "crew", "SELECT count(*) FROM patients WHERE zip = ?", true)
	ask("q3", "crew", "SELECT count(*) FROM patients WHERE zip = ? AND id <> ?", true)
	ask("q4", "crew", "SELECT avg(x) FROM patients GROUP BY ward ORDER BY ward", true)              // another question
	ask("q5", "other", "SELECT count(*) FROM patients WHERE id <> ? AND zip = ? AND dob > ?", true) // another caller
	ask("q6", "crew", "SELECT id FROM patients WHERE zip = ?", false)                               // rows
	list, err := Differencing(t.Context(), NewReader(w.store, w.trusted), Filter{})
	must(t, err)
	if len(list) != 2 || list[0].Kind != "predicate" || list[0].Count != 3 || len(list[0].QueryIDs) != 3 ||
		list[1].Kind != "values" || list[1].Count != 2 || list[1].Principal != "iss#crew" {
		t.Errorf("%+v", list)
	}
	if list, err = Differencing(t.Context(), NewReader(w.store, w.trusted), Filter{Principal: "other"}); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestNearlySame(t *testing.T) {
	base := "SELECT ward, count(*) FROM stays WHERE kind = $1 GROUP BY ward"
	for text, want := range map[string]bool{
		base: true,
		"SELECT ward, count(*) FROM stays WHERE kind = $1 AND NOT patient_id = $2 GROUP BY ward": true,
		"SELECT ward, count(*) FROM stays WHERE id <> $1 AND kind = $2 GROUP BY ward":            true, // markers shift
		"SELECT ward, count(*) FROM stays GROUP BY ward":                                         true,
		"SELECT ward, count(*) FROM stays WHERE kind > $1 GROUP BY ward":                         true,
		"SELECT ward, count(*) FROM stays WHERE kind > $1 AND id = $2 GROUP BY ward":             false,
		"SELECT sex, avg(x) FROM stays WHERE kind = $1 GROUP BY sex":                             false,
	} {
		if got := nearlySame(conditions(base), conditions(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
