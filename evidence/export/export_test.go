package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ocsf(t testing.TB, r *evidence.Record) []byte {
	t.Helper()
	line, err := OCSF(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func fhir(t testing.TB, r *evidence.Record) ([]byte, bool) {
	t.Helper()
	line, ok, err := FHIR(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return line, ok
}

// TestTypes: a type that is added to evidence is decided on here.
func TestTypes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Type" {
			found++
			if value := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`); !evidence.Type(value).Known() {
				t.Errorf("%s is not known to exports", value)
			}
		}
		return true
	})
	if found != len(evidence.Types()) {
		t.Errorf("evidence has %d types, exports know %d", found, len(evidence.Types()))
	}
}

// TestOCSFIsValid: every event is valid by the published schema.
func TestOCSFIsValid(t *testing.T) {
	all := samples(t)
	events := make([][]byte, len(all))
	for i, s := range all {
		events[i] = ocsf(t, s.record)
	}
	problems, err := testenv.ValidateOCSF(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range problems {
		if len(list) > 0 {
			t.Errorf("%s: %s\n%.600s", all[i].name, list, events[i])
		}
	}
	t.Logf("%d events", len(events))
}

// TestOCSFValidatorFails: the validator finds what is wrong.
func TestOCSFValidatorFails(t *testing.T) {
	event := string(ocsf(t, full(evidence.TypeOutcome)))
	changes := [][2]string{
		{`"activity_id":4`, `"activity_id":11`}, {`"type_uid":600504`, `"type_uid":600503`}, {`"time":1795509000123`, `"time":"2026"`},
		{`"severity_id":1,`, ``}, {`"version":"1.8.0",`, ``}, {`"actor":`, `"acter":`}, {`"ip":"10.0.0.7"`, `"ip":"x"`},
		{`"profiles":["security_control"],`, ``}, {`"class_uid":6005`, `"class_uid":6004`}, {`"port":50412`, `"port":65536`},
		{`"type_id":1}`, `"type_id":77}`}, {`"src_endpoint"`, `"dst_endpoint"`},
	}
	events := make([][]byte, len(changes))
	for i, c := range changes {
		changed := strings.Replace(event, c[0], c[1], 1)
		if changed == event {
			t.Fatalf("nothing to change: %s in %s", c[0], event)
		}
		events[i] = []byte(changed)
	}
	problems, err := testenv.ValidateOCSF(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range problems {
		if len(list) == 0 {
			t.Errorf("%s was not found", changes[i])
		}
	}
}

// tolerated are the validator's warnings that we know and live with: no narrative
// for people, types and entities of our own where HL7 has no code for them,
// purposes that R4 has no code for, and a record without a time.
var tolerated = regexp.MustCompile(`dom-6: 'A resource should have narrative` +
	`|^CodeSystem is unknown and can't be validated: urn:chaperone:(record-type|entity) ` +
	`|^The Coding provided \(urn:chaperone:(record-type|entity)#` +
	`|^No code provided, and a code should be provided from the value set 'V3 Value SetPurposeOfUse'` +
	`|^The value '0001-01-01T00:00:00.000Z' is outside the range of reasonable years`)

func wrong(issues []testenv.FHIRIssue) (list []testenv.FHIRIssue) {
	for _, issue := range issues {
		if issue.Severity != "information" && (issue.Severity != "warning" || !tolerated.MatchString(issue.Message)) {
			list = append(list, issue)
		}
	}
	return list
}

// TestFHIRIsValid: every resource is valid by HL7's validator, those that name a
// profile also by that.
func TestFHIRIsValid(t *testing.T) {
	var names []string
	var resources [][]byte
	profiles := map[string]int{}
	for _, s := range samples(t) {
		resource, ok := fhir(t, s.record)
		if !ok {
			continue
		}
		for _, name := range []string{profileQuery, profilePatientQuery} {
			if bytes.Contains(resource, []byte(`"`+name+`"`)) {
				profiles[name]++
			}
		}
		names, resources = append(names, s.name), append(resources, resource)
	}
	answers, err := testenv.ValidateFHIR(t.Context(), resources)
	if err != nil {
		t.Fatal(err)
	}
	for i, issues := range answers {
		for _, issue := range wrong(issues) {
			t.Errorf("%s: %.400s\n%.900s", names[i], issue, resources[i])
		}
	}
	if len(profiles) != 2 {
		t.Errorf("profiles %v", profiles)
	}
	t.Logf("%d resources, of profiles %v", len(resources), profiles)
}

// TestFHIRValidatorFails: the validator finds what is wrong, also against the
// profiles.
func TestFHIRValidatorFails(t *testing.T) {
	line, _ := fhir(t, full(evidence.TypeOutcome))
	resource := string(line)
	changes := [][2]string{
		{`"recorded":"2026-11-24T08:30:00.123Z"`, `"recorded":"yesterday"`}, {`"code":"TREAT"`, `"code":"TREATS"`}, {`"action":"E"`, `"action":"X"`},
		{`"requestor":false,`, ``}, {`"source":`, `"origin":`}, {`"outcome":"0"`, `"outcome":"1"`}, {`"valueString"`, `"valueText"`},
		{`"id":"gw`, `"id":"_gw`},
		// Valid by R4, and not by the profile.
		{`"action":"E"`, `"action":"R"`}, {`"outcome":"0",`, ``}, {`"code":"110152"`, `"code":"110150"`},
		{`"type":"2"}}`, `"type":"2"},"media":{"text":"x"}}`}, {`"role":{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"1"}`,
			`"role":{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"2"}`},
		{`"code":"rest"`, `"code":"rust"`},
		{profilePatientQuery, profilePatientQuery + "X"},
	}
	resources := make([][]byte, len(changes))
	for i, c := range changes {
		changed := strings.Replace(resource, c[0], c[1], 1)
		if changed == resource {
			t.Fatalf("nothing to change: %s in %s", c[0], resource)
		}
		resources[i] = []byte(changed)
	}
	answers, err := testenv.ValidateFHIR(t.Context(), resources)
	if err != nil {
		t.Fatal(err)
	}
	for i, issues := range answers {
		if len(wrong(issues)) == 0 {
			t.Errorf("%s was not found", changes[i])
		}
	}
}

// TestNothingElseLeaves: what must not leave is in no export.
func TestNothingElseLeaves(t *testing.T) {
	for _, kind := range types() {
		r := full(kind)
		resource, _ := fhir(t, r)
		for form, text := range map[string][]byte{"csv": table(t, r), "ocsf": ocsf(t, r), "fhir": resource} {
			if bytes.Contains(text, []byte(canary)) {
				t.Errorf("%s of %s: %s", form, kind, text)
			}
			if len(text) > 0 && !bytes.Contains(text, []byte(r.QueryID)) {
				t.Errorf("%s of %s does not lead to its query", form, kind)
			}
			if len(text) > 0 && !bytes.Contains(text, []byte(r.ID)) {
				t.Errorf("%s of %s does not lead to its record", form, kind)
			}
		}
	}
	// The canary is where it is looked for.
	if text, err := json.Marshal(full(evidence.TypeOutcome)); err != nil || bytes.Count(text, []byte(canary)) < 10 {
		t.Error("the sample does not hold the canary")
	}
}

// TestGolden shows what the exports of some records look like.
func TestGolden(t *testing.T) {
	pending := full(evidence.TypeOutcome)
	pending.Status, pending.Result.Status, pending.Approvers = "pending_approval", "pending_approval", nil
	records := []*evidence.Record{full(evidence.TypeOutcome), pending, withheld(evidence.TypeOutcome), full(evidence.TypeAuthFailed),
		full(evidence.TypeApprovalDecided), full(evidence.TypeRead), full(evidence.TypeLeaseIssued), full(futureType)}
	for _, format := range []string{FormatCSV, FormatOCSF, FormatFHIR} {
		text := exported(t, format, records...)
		if format != FormatCSV {
			text = indented(t, text)
		}
		path := filepath.Join("testdata", format+".golden")
		if *update {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s is not as it was; run with -update and look at the difference", path)
		}
	}
}

func indented(t *testing.T, lines []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(lines) {
		if err := json.Indent(&out, bytes.TrimSpace(line), "", " "); err != nil {
			t.Fatal(err)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}
