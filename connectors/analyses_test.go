package connectors

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

func classified(t *testing.T, class string) *masking.Classification {
	t.Helper()
	c, err := masking.Classify(masking.HIPAASafeHarbor(), map[masking.ColumnRef]string{{Schema: "s", Relation: "t", Column: "c"}: class})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKeyOf changes each field of an input, also those of tomorrow: a field that
// is not listed fails.
func TestKeyOf(t *testing.T) {
	base := Input{Text: "SELECT 1", Classes: classified(t, "ssn")}
	changes := map[string][]func(*Input){
		"Text":       {func(in *Input) { in.Text = "SELECT 2" }},
		"Names":      {func(in *Input) { in.Names = []string{} }, func(in *Input) { in.Names = []string{"a", "b"} }, func(in *Input) { in.Names = []string{"a\x00b"} }},
		"Count":      {func(in *Input) { in.Count = 1 }},
		"Classes":    {func(in *Input) { in.Classes = classified(t, "name") }},
		"SearchPath": {func(in *Input) { in.SearchPath = []string{"a"} }, func(in *Input) { in.SearchPath = []string{"b", "a"} }},
		"Open":       {func(in *Input) { in.Open = []string{"a"} }, func(in *Input) { in.Open = []string{"u1", "u2"} }},
		"Today":      {func(in *Input) { in.Today = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) }},
		"Cells":      {func(in *Input) { in.Cells = true }},
		"Functions": {func(in *Input) { in.Functions = map[string]string{"public.f": "sha256:0"} },
			func(in *Input) { in.Functions = map[string]string{"public.f": "sha256:1"} }},
	}
	seen := map[Key]string{KeyOf("v1", base): "nothing"}
	meet := func(key Key, what string) {
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[key] = what
	}
	meet(KeyOf("v2", base), "another catalog")
	for field := range reflect.TypeFor[Input]().Fields() {
		if len(changes[field.Name]) == 0 {
			t.Errorf("no change of Input.%s is tried", field.Name)
		}
		for i, change := range changes[field.Name] {
			in := base
			change(&in)
			meet(KeyOf("v1", in), fmt.Sprint(field.Name, i))
		}
	}
	if KeyOf("v1", base) != KeyOf("v1", Input{Text: "SELECT 1", Classes: classified(t, "ssn")}) {
		t.Error("the same question has two keys")
	}
}

func key(i int) Key { return KeyOf(fmt.Sprint(i), Input{Classes: &masking.Classification{}}) }

func TestAnalysesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name       string
		puts, text int
		most       int
	}{
		{"entries", 2 * maxAnalyses, 10, maxAnalyses},
		{"bytes", 600, 60 << 10, maxAnalysesBytes / (60 << 10)},
		{"too large", 3, 65 << 10, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := NewAnalyses()
			for i := range c.puts {
				a.Put(key(i), &Statement{Text: strings.Repeat("x", c.text)})
			}
			if n := a.lru.Len(); n > c.most || n < c.most*9/10 || a.bytes > maxAnalysesBytes {
				t.Errorf("%d entries of %d bytes are kept, not about %d", n, a.bytes, c.most)
			}
			if got := a.Get(key(c.puts - 1)); (got != nil) != (c.most > 0) {
				t.Errorf("the newest is %v", got)
			}
			for a.lru.Len() > 0 {
				a.lru.RemoveOldest()
			}
			if a.bytes != 0 {
				t.Errorf("an empty cache counts %d bytes", a.bytes)
			}
		})
	}
}

func TestAnalysesForgetTheIdle(t *testing.T) {
	a := NewAnalyses()
	now := time.Unix(0, 0)
	a.now = func() time.Time { return now }
	a.Put(key(1), &Statement{})
	a.Put(key(2), &Statement{})
	now = now.Add(maxAnalysisIdle / 2)
	if a.Get(key(2)) == nil {
		t.Error("one is forgotten too early")
	}
	now = now.Add(maxAnalysisIdle / 2)
	if a.Get(key(1)) != nil || a.Get(key(2)) == nil || a.lru.Len() != 1 {
		t.Error("what was idle is not what was forgotten")
	}
}

// TestAnalysesAreShared is for the race detector.
func TestAnalysesAreShared(t *testing.T) {
	a := NewAnalyses()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				if st := a.Get(key(i % 50)); st != nil && st.Text != fmt.Sprint(i%50) {
					t.Errorf("%d is answered by %s", i%50, st.Text)
				}
				a.Put(key(i%50), &Statement{Text: fmt.Sprint(i % 50)})
			}
		})
	}
	all.Wait()
}
