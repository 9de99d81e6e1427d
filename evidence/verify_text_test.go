package evidence

import (
	"strings"
	"testing"
	"time"
)

// TestWriteText: an auditor sees what a bundle is about before "clean", and
// nothing that somebody wrote into a store's keys moves his cursor.
func TestWriteText(t *testing.T) {
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	text := func(r Report) string {
		var b strings.Builder
		r.WriteText(&b)
		return b.String()
	}
	hostile := text(Report{Findings: []Finding{{Object: "evidence/\x1b[2Jx\u202e", Kind: KindUnexplained, Message: "a\nclean: b"}}})
	if strings.ContainsAny(hostile, "\x1b\u202e") || strings.Count(hostile, "\n") != 2 || strings.Contains(hostile, "\nclean") {
		t.Errorf("%q", hostile)
	}
	whole := Scope{Since: day, Until: day.Add(24 * time.Hour), Created: day.Add(25 * time.Hour), Maker: "gw\x1b"}
	chosen := whole
	chosen.Filter = &Filter{Principal: "crew-7", Patient: "mrn:tok_1"}
	for name, c := range map[string]struct {
		report     Report
		want, lack string
	}{
		"store":    {Report{}, "clean: every record is there, in order, signed and unchanged\n", "bundle"},
		"bundle":   {Report{Bundle: &whole}, "bundle from 2026-11-23T00:00:00Z until 2026-11-24T00:00:00Z (UTC)", "nothing else"},
		"compare":  {Report{Bundle: &whole}, "compare the period with what you asked for\n", "choice"},
		"filtered": {Report{Bundle: &chosen}, "with principal crew-7, patient mrn:tok_1, and of nothing else\n", "\x1b"},
		"choice":   {Report{Bundle: &chosen}, "compare the period and the choice with what you asked for\n", "\x1b"},
		"findings": {Report{Bundle: &whole, Findings: []Finding{{Object: "x"}}}, "FINDING", "clean"},
	} {
		if got := text(c.report); !strings.Contains(got, c.want) || strings.Contains(got, c.lack) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
