package report

import (
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
)

// verdict is the outcome of verification in words.
type verdict struct {
	Tone, Head, Words string
	Findings, Notes   table
}

// meanings say what a kind of finding is about (evidence.Kind).
var meanings = map[evidence.Kind]string{
	evidence.KindMalformed:   "A file is not what its format says it must be.",
	evidence.KindSignature:   "A signature is wrong, or by a key that the maker does not trust.",
	evidence.KindContent:     "Something was changed: it is not what was signed.",
	evidence.KindMissing:     "Something that must be there is missing.",
	evidence.KindMisplaced:   "Something is stored in another's place.",
	evidence.KindForked:      "A log has two histories.",
	evidence.KindCut:         "The end of a log is gone, or nothing explains it.",
	evidence.KindOrder:       "Things are out of order, in time or in cause.",
	evidence.KindUnexplained: "Something is there that no gateway of this version writes.",
	evidence.KindAnomaly:     "The store tells of an attempt to hide or replace something.",
	evidence.KindClock:       "The clocks of a gateway and of the store disagree.",
	evidence.KindWithheld:    "A content that the bundle should hold was left out.",
}

func judge(r *evidence.Report, chosen int64) verdict {
	v := verdict{
		Findings: table{ID: "finding", Caption: "Findings of the verification", Columns: columns("What it means", "Where", "In the verifier's words"),
			None: "No findings."},
		Notes: table{ID: "remark", Caption: "Remarks of the verification, which are no findings", Columns: columns("Where", "In the verifier's words"),
			None: "No remarks."},
	}
	if r == nil {
		v.Tone, v.Head = "bad", "Nothing was verified."
		v.Words = "The program that wrote this report was not given the outcome of a verification. Believe nothing below before you have verified the bundle yourself."
		return v
	}
	findings := int64(len(r.Findings))
	what := counted(r.Records, "record", "records") + " in " + counted(r.Segments, "signed segment", "signed segments") + " of " +
		counted(r.Writers, "gateway log", "gateway logs")
	switch {
	case findings > 0 && r.Records == 0:
		v.Tone, v.Head = "bad", "Nothing could be verified: "+counted(findings, "finding", "findings")+"."
		v.Words = "No record could be verified with the public keys that the maker of this bundle has, for the reasons listed here. Numbers and lists below may be wrong or incomplete."
	case findings > 0:
		v.Tone, v.Head = "bad", "Something is wrong: "+counted(findings, "finding", "findings")+"."
		v.Words = "The program that made this bundle checked " + what + " and found what is listed here. Until each finding is explained, numbers and lists below may be wrong or incomplete."
	case r.Records == 0 || r.Segments == 0:
		v.Tone, v.Head = "wait", "There was nothing to verify."
		v.Words = "The bundle holds no record, so nothing was verified and nothing below says anything about what happened."
	default:
		v.Tone, v.Head = "good", "Verified when the bundle was made: no findings."
		v.Words = "The program that made this bundle checked " + what + " (logs reach a little beyond the period) with the public keys that it has, and found nothing altered, removed, reordered or added."
		if chosen == 0 {
			v.Words += " None of these records is of what this bundle is about."
		}
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if len(v.Findings.Rows) == maxList {
			v.Findings.More = counted(int64(len(r.Findings)-i), "more finding", "more findings") + " not shown here: your own verification lists all."
			break
		}
		where := text(legible(f.Object))
		if f.Record != "" {
			where.Small = []string{"record " + legible(f.Record)}
		}
		v.Findings.add(text(either(meanings[f.Kind], legible(string(f.Kind)))), where, text(legible(f.Message)))
	}
	for i := range r.Notes {
		n := &r.Notes[i]
		if len(v.Notes.Rows) == maxList {
			v.Notes.More = counted(int64(len(r.Notes)-i), "more remark", "more remarks") + " not shown here: your own verification lists all."
			break
		}
		v.Notes.add(text(legible(strings.TrimSpace(n.Object+" "+n.Record))), text(legible(n.Message)))
	}
	return v
}

// clocks counts the findings about clocks.
func clocks(r *evidence.Report) (n int64) {
	if r == nil {
		return 0
	}
	for i := range r.Findings {
		if r.Findings[i].Kind == evidence.KindClock {
			n++
		}
	}
	return n
}
