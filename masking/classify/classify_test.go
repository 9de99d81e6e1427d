package classify

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/masking"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		column, typ string // table.column
		class       string
		confidence  Confidence
	}{
		// The clinic.
		{"patients.id", "integer", None, Medium},
		{"patients.mrn", "text", "mrn", High},
		{"patients.first_name", "text", "name", High},
		{"patients.lastName", "varchar(40)", "name", High},
		{"patients.SSN", "char(11)", "ssn", High},
		{"patients.dob", "date", "birth_date", High},
		{"patients.phone", "text", "phone", High},
		{"patients.email", "text", "email", High},
		{"patients.address", "text", "address", High},
		{"patients.zip", "varchar(10)", "zip", High},
		{"patients.insurance_id", "text", "insurance_id", High},
		{"patients.created_at", "timestamp with time zone", "date", Low},
		{"encounters.patient_id", "integer", None, Medium},
		{"encounters.admitted_at", "timestamp with time zone", "date", High},
		{"encounters.diagnosis_code", "text", None, High},
		{"encounters.notes", "text", "free_text", High},
		{"claims.member_id", "text", "insurance_id", High},
		{"claims.amount", "numeric(12,2)", None, Medium},
		// Usual names.
		{"people.social_security_number", "text", "ssn", High},
		{"people.medicalRecordNumber", "text", "mrn", High},
		{"people.surname", "text", "name", High},
		{"people.maiden", "text", "name", High},
		{"people.name", "text", "name", High},
		{"drugs.name", "text", None, Low},
		{"people.MobilePhone", "text", "phone", High},
		{"people.fax_number", "text", "fax", High},
		{"people.street", "text", "address", High},
		{"people.city", "text", "address", High},
		{"people.state", "char(2)", None, High},
		{"people.postal_code", "text", "zip", High},
		{"people.zipcode", "integer", "zip", High},
		{"people.policy_no", "text", "insurance_id", High},
		{"people.account_number", "text", "account", High},
		{"people.drivers_license", "text", "license", High},
		{"providers.npi", "text", "license", Low},
		{"orders.provider_name", "text", "name", Low},
		{"implants.serial_number", "text", "device", High},
		{"logins.ip_address", "inet", "ip", High},
		{"logins.addr", "inet", "ip", High},
		{"people.photo", "bytea", "photo", High},
		{"people.vin", "text", "vehicle", High},
		{"people.homepage", "text", "url", Medium},
		{"people.phone_type", "text", None, Medium},
		{"people.email_verified", "boolean", None, High},
		{"people.address_id", "integer", None, Medium},
		{"people.note_id", "bigint", None, Medium},
		{"visits.updated_at", "datetime", "date", Low},
		{"visits.comments", "text", "free_text", High},
		{"visits.comments", "integer", None, Medium},
		{"visits.payload", "jsonb", "free_text", Medium},
		{"stock.delivered", "date", "date", Medium},
		{"people.ethnicity", "text", None, Medium},
		{"people.age", "integer", None, Low},
		// OMOP.
		{"person.birth_datetime", "timestamp", "birth_date", High},
		{"person.year_of_birth", "integer", "birth_date", Medium},
		{"person.person_source_value", "varchar(50)", "other_id", High},
		{"person.gender_concept_id", "integer", None, Medium},
		{"note.note_text", "text", "free_text", High},
		{"visit_occurrence.visit_start_date", "date", "date", High},
		{"death.death_date", "date", "date", High},
		// MIMIC.
		{"admissions.subject_id", "integer", None, Medium},
		{"admissions.dischtime", "timestamp", "date", High},
		{"patients.dod", "date", "date", High},
		// Epic.
		{"PATIENT.PAT_NAME", "varchar(200)", "name", High},
		{"PATIENT.PAT_MRN_ID", "varchar(50)", "mrn", High},
		{"PATIENT.BIRTH_DATE", "datetime", "birth_date", High},
		{"PATIENT.ADD_LINE_1", "varchar(100)", "address", High},
		{"PAT_ENC.PAT_ENC_CSN_ID", "bigint", "account", High},
		// FHIR.
		{"patient.telecom", "jsonb", "phone", High},
		{"patient.identifier", "text", "other_id", High},
		{"patient.birthDate", "date", "birth_date", High},
		{"patient.name_family", "text", "name", High},
	} {
		table, column, _ := strings.Cut(c.column, ".")
		got := byName(connectors.Table{Name: table}, connectors.TableColumn{Name: column, Type: c.typ})
		if got.Class != c.class || got.Confidence != c.confidence {
			t.Errorf("%s %s is held for %s (%s: %s), not %s (%s)", c.column, c.typ, got.Class, got.Confidence, got.Reason, c.class, c.confidence)
		}
		if got.Reason == "" {
			t.Errorf("%s: no reason", c.column)
		}
	}
}

func TestPerson(t *testing.T) {
	for column, want := range map[string]string{
		"patients.id": Person, "encounters.patient_id": Person, "admissions.subject_id": Person, "person.person_id": Person,
		"visits.PatientID": Person, "encounters.id": None, "encounters.provider_id": None, "patients.provider_id": None,
		"encounters.encounter_id": None, "patients.patient_count": None, "patient_notes.id": None,
	} {
		table, name, _ := strings.Cut(column, ".")
		got := Propose(masking.HIPAASafeHarbor(), []connectors.Table{{Name: table, Kind: "table",
			Columns: []connectors.TableColumn{{Name: name, Type: "integer"}}}}, nil)
		if got[0].Class != want {
			t.Errorf("%s is held for %s (%s), not %s", column, got[0].Class, got[0].Reason, want)
		}
	}
}

func TestComment(t *testing.T) {
	got := byName(connectors.Table{Name: "x"}, connectors.TableColumn{Name: "f17", Type: "text", Comment: "Patient's social security number"})
	if got.Class != "ssn" || got.Confidence != Medium {
		t.Errorf("a comment is held for %v", got)
	}
}

// sample looks at values made by a function of their number.
func sample(t *testing.T, column string, n int, value func(int) string) *Stats {
	t.Helper()
	detectors, err := masking.NewDetectors(masking.DetectorConfig{Names: masking.DetectorNames(), MRNPattern: `MRN-\d{7}`})
	if err != nil {
		t.Fatal(err)
	}
	s := NewStats()
	for i := range n {
		s.Add(detectors, column, []byte(value(i)), false)
	}
	return s
}

func TestValues(t *testing.T) {
	number := func(i int) string { return string(rune('0'+i/10%10)) + string(rune('0'+i%10)) }
	letter := func(i int) string { return string(rune('a' + i%26)) }
	for _, c := range []struct {
		name, typ  string
		value      func(int) string
		class      string
		confidence Confidence
	}{
		{"f1", "text", func(i int) string { return "512-34-" + number(i) + "77" }, "ssn", High},
		{"f1", "text", func(i int) string { return letter(i) + number(i) + "@example.org" }, "email", High},
		{"f1", "text", func(i int) string { return "MRN-00009" + number(i) }, "mrn", High},
		{"f1", "text", func(i int) string {
			return "saw patient, mail to " + letter(i) + number(i) + "@example.org and wait for the answer"
		}, "free_text", High},
		{"f1", "text", func(i int) string { return "the patient came in walking and left after item " + number(i) }, "free_text", Medium},
		{"f1", "text", func(i int) string { return "902" + number(i) }, "zip", Medium},
		{"f1", "text", func(i int) string { return "2021-03-" + number(i%28+1) }, "date", Medium},
		{"f1", "text", func(i int) string { return "Quill" + letter(i) + letter(i/26) + " Brambleth" + letter(i/2) }, "name", Low},
		{"f1", "text", func(i int) string { return "AX-77" + number(i) + letter(i) }, "other_id", Low},
		{"f1", "text", func(i int) string { return "grade " + letter(i%3) }, None, High},
		// A name that says more than the values stands; one that agrees is sure.
		{"last_name", "text", func(int) string { return "x" }, "name", High},
		{"person_no", "text", func(i int) string { return "MRN-00009" + number(i) }, "mrn", High},
		{"claim_no", "text", func(i int) string { return "AX-77" + number(i) + letter(i) }, "account", Medium},
		// What the name holds for harmless, the values may not.
		{"state", "text", func(i int) string { return letter(i) + number(i) + "@example.org" }, "email", High},
	} {
		ref := masking.ColumnRef{Schema: "s", Relation: "t", Column: c.name}
		tables := []connectors.Table{{Schema: "s", Name: "t", Kind: "table", Columns: []connectors.TableColumn{{Name: c.name, Type: c.typ}}}}
		got := Propose(masking.HIPAASafeHarbor(), tables, map[masking.ColumnRef]*Stats{ref: sample(t, c.name, 80, c.value)})
		if len(got) != 1 || got[0].Class != c.class || got[0].Confidence != c.confidence {
			t.Errorf("%s like %q is held for %+v, not %s (%s)", c.name, c.value(3), got, c.class, c.confidence)
		}
		if strings.Contains(got[0].Reason, c.value(3)) && len(c.value(3)) > 3 {
			t.Errorf("the reason %q shows a value", got[0].Reason)
		}
	}
}

func proposals(types map[string]string) []Proposal {
	t := connectors.Table{Schema: "public", Name: "patients", Kind: "table"}
	for _, name := range []string{"id", "ssn", "my notes", "plain"} {
		if typ, ok := types[name]; ok {
			t.Columns = append(t.Columns, connectors.TableColumn{Name: name, Type: typ})
		}
	}
	view := connectors.Table{Schema: "public", Name: "v", Kind: "view", Columns: []connectors.TableColumn{{Name: "ssn", Type: "text"}}}
	return Propose(masking.HIPAASafeHarbor(), []connectors.Table{t, view}, nil)
}

// narrow takes the alignment out.
func narrow(text string) string { return regexp.MustCompile(` +`).ReplaceAllString(text, " ") }

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	f := File{Connection: "clinic", Engine: "postgres", Proposals: proposals(map[string]string{"id": "integer", "ssn": "varchar(11)", "my notes": "text", "plain": "text"})}
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n # public.patients.id: person # medium; integer; a key inside the database",
		"\n public.patients.ssn: ssn # high; varchar(11); the name of",
		"\n \"public.patients.my notes\": free_text # high; text;",
	} {
		if !strings.Contains(narrow(b.String()), want) {
			t.Errorf("there is no line %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "public.v") {
		t.Error("a view is there")
	}
}

// TestPrevious: a person decided in an earlier file; the database changed since.
func TestPrevious(t *testing.T) {
	var b bytes.Buffer
	first := File{Connection: "clinic", Engine: "postgres", Proposals: proposals(map[string]string{"id": "integer", "ssn": "varchar(11)", "my notes": "text"})}
	if err := first.Write(&b); err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(b.String(), "# public.patients.id: person", "public.patients.id: none", 1)
	edited = strings.Replace(edited, "free_text", "pseudonym", 1)
	previous, err := ReadPrevious(strings.NewReader(edited))
	if err != nil {
		t.Fatal(err)
	}
	if len(previous) != 3 {
		t.Fatalf("read %v", previous)
	}
	b.Reset()
	second := File{Connection: "clinic", Engine: "postgres", Previous: previous,
		Proposals: proposals(map[string]string{"id": "bigint", "my notes": "text", "plain": "text"})}
	if err := second.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# new public.patients.plain text: none\n# changed public.patients.id was integer, is bigint\n# gone public.patients.ssn\n",
		"\n public.patients.id: none # decided; bigint; as in the previous file (proposed: person, ",
		"\n \"public.patients.my notes\": pseudonym # decided; text; as in the previous file (proposed: free_text",
		"\n # public.patients.plain: none ",
	} {
		if !strings.Contains(narrow(b.String()), want) {
			t.Errorf("there is no line %q in\n%s", want, b.String())
		}
	}
}

// FuzzNames: no name of a database breaks the table.
func FuzzNames(f *testing.F) {
	f.Add("first_name", "text")
	f.Add("ÄußereID2\n", "varchar(3)")
	f.Fuzz(func(t *testing.T, name, typ string) {
		p := byName(connectors.Table{Name: name}, connectors.TableColumn{Name: name, Type: typ, Comment: name})
		if p.Class == "" || p.Confidence == "" || p.Reason == "" {
			t.Errorf("%q %q: %+v", name, typ, p)
		}
	})
}
