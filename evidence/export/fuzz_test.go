package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/evidence"
)

// seeds are for all three: a type, a text for every field, a number, a time.
func seeds(f *testing.F) {
	for _, s := range hostile {
		if len(s) < 1<<16 {
			f.Add(string(evidence.TypeOutcome), s, int64(7), int64(1795509000123))
			f.Add(s, s, int64(-1), int64(0))
		}
	}
	for _, kind := range types() {
		f.Add(string(kind), "x", int64(1)<<62, int64(-1)<<62)
	}
}

func fuzzed(kind, s string, n, ms int64) *evidence.Record {
	r := filled(evidence.Type(kind), s, n, time.UnixMilli(ms))
	r.Withheld = n%2 == 0
	return r
}

// line checks what is true of each line: one object, UTF-8, nothing hidden.
func line(t *testing.T, text []byte, into any) {
	t.Helper()
	if !utf8.Valid(text) || bytes.ContainsAny(text, "\n\r\x00") || bytes.Contains(text, []byte(canary)) {
		t.Fatalf("not a line: %q", text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
}

func FuzzOCSF(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, kind, s string, n, ms int64) {
		r := fuzzed(kind, s, n, ms)
		var event struct {
			Class    int   `json:"class_uid"`
			Activity int   `json:"activity_id"`
			Type     int   `json:"type_uid"`
			Time     int64 `json:"time"`
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		}
		before := []byte("before")
		text, err := OCSF(before, r)
		if err != nil || !bytes.HasPrefix(text, before) {
			t.Fatal(err, "or what was there is lost")
		}
		line(t, text[len(before):], &event)
		if event.Type != event.Class*100+event.Activity || event.Time != r.Time.UnixMilli() || utf8.ValidString(s) && event.Metadata.UID != r.ID {
			t.Errorf("%+v", event)
		}
	})
}

func FuzzFHIR(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, kind, s string, n, ms int64) {
		before := []byte("before")
		text, ok, err := FHIR(before, fuzzed(kind, s, n, ms))
		if err != nil || !bytes.HasPrefix(text, before) || !ok && len(text) != len(before) {
			t.Fatal(err, "or what was there is lost")
		}
		if !ok {
			return
		}
		var resource any
		line(t, text[len(before):], &resource)
		nothingEmpty(t, resource)
		if id := resource.(map[string]any)["id"].(string); len(id) > 64 || !idCharacters(id) {
			t.Errorf("id %q", id)
		}
	})
}

// nothingEmpty checks that no string, list or object is empty (FHIR R4 JSON).
func nothingEmpty(t *testing.T, v any) {
	t.Helper()
	empty := false
	switch v := v.(type) {
	case string:
		empty = v == ""
	case []any:
		empty = len(v) == 0
		for _, e := range v {
			nothingEmpty(t, e)
		}
	case map[string]any:
		empty = len(v) == 0
		for _, e := range v {
			nothingEmpty(t, e)
		}
	}
	if empty {
		t.Error("something is empty")
	}
}

func FuzzCSV(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, kind, s string, n, ms int64) {
		text := table(t, fuzzed(kind, s, n, ms))
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		if err != nil || len(rows) != 2 || bytes.Count(text, []byte("\n")) != 2 || !utf8.Valid(text) || bytes.Contains(text, []byte(canary)) {
			t.Fatalf("%v: %q", err, text)
		}
		for i, value := range rows[1] {
			if name := columns[i]; name != "row_count" && name != "masked_cells" && name != "detected_cells" && formula(value) && value[0] != '\'' {
				t.Errorf("%s: %q", name, value)
			}
		}
	})
}
