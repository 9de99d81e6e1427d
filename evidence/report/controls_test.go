package report

import (
	"strings"
	"testing"
)

func TestControls(t *testing.T) {
	list, err := loadControls(controlsText)
	must(t, err)
	cited := map[string]bool{}
	for _, c := range list {
		cited[c.Citation] = true
		if len(c.Name) > 80 || len(c.Evidenced) > 500 || len(c.Other) > 500 {
			t.Errorf("%s is too long to be read", c.Citation)
		}
		for _, bad := range []string{"complian", "ensures", "guarantee", "certif"} {
			if strings.Contains(strings.ToLower(c.Evidenced+c.Name+c.Other), bad) {
				t.Errorf("%s claims too much: %q", c.Citation, bad)
			}
		}
	}
	for _, want := range []string{"164.308(a)(1)(ii)(D)", "164.308(a)(5)(ii)(C)", "164.308(a)(6)(ii)", "164.312(a)(1)", "164.312(a)(2)(i)", "164.312(a)(2)(ii)",
		"164.312(b)", "164.312(c)(1)", "164.312(c)(2)", "164.312(d)", "164.312(e)(1)", "164.316(b)(1)(ii)", "164.316(b)(2)(i)", "164.502(b)(1)", "164.514(d)(2)",
		"164.514(d)(3)", "164.528(a)(1)", "164.528(b)(2)"} {
		if !cited[want] {
			t.Errorf("%s is not there", want)
		}
	}
	good := `- {citation: 164.312(b), name: n, evidenced: e, other: o, records: [query.intent], counts: [queries]}` + "\n"
	if _, err := loadControls([]byte(good)); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for name, bad := range map[string]string{
		"a field":           strings.Replace(good, "name: n", "name: n, colour: red", 1),
		"a type":            strings.Replace(good, "query.intent", "query.dance", 1),
		"a counter":         strings.Replace(good, "[queries]", "[dances]", 1),
		"another part":      strings.Replace(good, "164.312", "160.312", 1),
		"no citation":       strings.Replace(good, "164.312(b)", "security", 1),
		"an empty field":    strings.Replace(good, "other: o", "other: ''", 1),
		"no counts":         strings.Replace(good, "[queries]", "[]", 1),
		"twice":             good + good,
		"a key twice":       strings.Replace(good, "name: n", "name: n, name: m", 1),
		"a second document": good + "---\n" + good,
		"no YAML":           "- {",
		"nothing":           "[]",
		"something else":    "a: b",
	} {
		if _, err := loadControls([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
