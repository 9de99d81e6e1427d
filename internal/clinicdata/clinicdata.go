// Package clinicdata makes the synthetic clinic of the demo, the development
// stack and the tests: obviously fictional people, the same every time.
//
// Two variants differ in protected values only, and agree under their masks:
// same year, same three ZIP digits, same nullness. That is what a test of
// noninterference needs.
package clinicdata

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Table is one table with its rows, in the order of Columns.
type Table struct {
	Name    string
	Columns []string
	Rows    [][]any
}

// Tables makes the clinic for a number of patients. Values are nil, int,
// string, or time.Time (UTC).
func Tables(patients, variant int) []Table {
	g := &generator{shared: rand.New(rand.NewPCG(7, 11)), own: rand.New(rand.NewPCG(uint64(variant), 13))} //nolint:gosec // not for secrets
	t := []Table{
		{Name: "patients", Columns: []string{"id", "mrn", "first_name", "last_name", "ssn", "dob", "phone", "email", "address",
			"zip", "insurance_id", "created_at"}},
		{Name: "encounters", Columns: []string{"id", "patient_id", "provider", "admitted_at", "discharged_at",
			"diagnosis_code", "notes"}},
		{Name: "medications", Columns: []string{"id", "patient_id", "drug", "dose"}},
		{Name: "claims", Columns: []string{"id", "patient_id", "amount", "payer", "member_id"}},
	}
	for id := 1; id <= patients; id++ {
		p := g.patient(id)
		t[0].Rows = append(t[0].Rows, p.row)
		for range 2 {
			t[1].Rows = append(t[1].Rows, g.encounter(len(t[1].Rows)+1, id, p))
			t[2].Rows = append(t[2].Rows, g.medication(len(t[2].Rows)+1, id))
			t[3].Rows = append(t[3].Rows, g.claim(len(t[3].Rows)+1, id))
		}
	}
	return t
}

// Protected lists the protected columns with their classes in the profile
// hipaa-safe-harbor, by "table.column".
func Protected() map[string]string {
	return map[string]string{
		"patients.mrn": "mrn", "patients.first_name": "name", "patients.last_name": "name", "patients.ssn": "ssn",
		"patients.dob": "birth_date", "patients.phone": "phone", "patients.email": "email", "patients.address": "address",
		"patients.zip": "zip", "patients.insurance_id": "insurance_id",
		"encounters.admitted_at": "date", "encounters.discharged_at": "date", "encounters.notes": "free_text",
		"claims.member_id": "insurance_id",
	}
}

// Decided is Protected, person for the columns that name a patient, and none for
// every other column: a complete classification.
func Decided() map[string]string {
	all := Protected()
	for _, t := range Tables(0, 0) {
		for _, column := range t.Columns {
			if name := t.Name + "." + column; all[name] == "" {
				all[name] = "none"
				if column == "patient_id" || name == "patients.id" {
					all[name] = "person"
				}
			}
		}
	}
	return all
}

// MRNPattern is the clinic's medical record number.
const MRNPattern = `MRN-\d{7}`

// Canaries are protected values of the first patients that occur nowhere else,
// to be searched for where no protected value may be.
func Canaries(tables []Table, patients int) []string {
	var list []string
	add := func(v any) {
		switch v := v.(type) {
		case string:
			list = append(list, v)
		case time.Time:
			if v.YearDay() != 1 {
				list = append(list, v.Format("2006-01-02"))
			}
		}
	}
	for _, row := range tables[0].Rows[:min(patients, len(tables[0].Rows))] {
		for _, i := range []int{1, 2, 3, 4, 5, 6, 7, 8, 10} { // not the ZIP: five digits occur by chance
			add(row[i])
		}
	}
	for _, row := range tables[1].Rows[:min(patients, len(tables[1].Rows))] {
		add(row[3])
		add(row[6])
	}
	for _, row := range tables[3].Rows[:min(patients, len(tables[3].Rows))] {
		add(row[4])
	}
	return list
}

// generator draws what masks keep from shared, the same for every variant, and
// what they hide from own.
type generator struct{ shared, own *rand.Rand }

type patient struct {
	row         []any
	first, last string
	ssn, phone  any
}

var (
	firstNames = []string{"Zephyrine", "Quillon", "Isolde", "Thaddeus", "Ottoline", "Peregrine", "Hyacinth", "Lysander",
		"Marigold", "Barnaby", "Clementine", "Evander"}
	lastNames = []string{"Featherstonehaugh", "Winterbottom", "Bramblethwaite", "Puddifoot", "Hollingberry", "Quackenbush",
		"Thistlewaite", "Snodgrass", "Butterworthy", "Larkspurling"}
	streets   = []string{"Imaginary Lane", "Fable Street", "Make-Believe Road", "Fiction Avenue"}
	zip3      = []string{"902", "100", "606", "770", "036", "981", "303", "021", "733", "059"} // 036 and 059 become 000
	drugs     = []string{"lisinopril", "metformin", "atorvastatin", "amlodipine", "sertraline", "omeprazole", "insulin glargine"}
	doses     = []string{"5 mg", "10 mg", "20 mg", "40 mg", "100 units/ml"}
	diagnoses = []string{"I10", "E11.9", "E78.5", "F32.9", "J45.909", "K21.9", "N18.3", "M54.5"}
	providers = []string{"Ward A", "Ward B", "Outpatient clinic", "Emergency department"}
	payers    = []string{"Acme Health", "Umbrella Care", "Initech Mutual", "Globex Insurance"}
)

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// maybe is v, but nil for one in n; nullness is shared.
func (g *generator) maybe(n int, v any) any {
	if g.shared.IntN(n) == 0 {
		return nil
	}
	return v
}

func (g *generator) patient(id int) patient {
	o, s := g.own, g.shared
	year := 1932 + s.IntN(90)
	p := patient{
		first: fmt.Sprintf("%s%d", pick(o, firstNames), o.IntN(90000)+10000),
		last:  fmt.Sprintf("%s%d", pick(o, lastNames), o.IntN(90000)+10000),
	}
	// Areas from 900 were never issued as SSNs: nobody's number.
	p.ssn = g.maybe(25, fmt.Sprintf("9%02d-%02d-%04d", o.IntN(100), 1+o.IntN(99), 1+o.IntN(9999)))
	// 555-01xx is reserved for fiction.
	p.phone = g.maybe(15, fmt.Sprintf("(%d) 555-01%02d x%04d", 201+o.IntN(700), o.IntN(100), o.IntN(10000)))
	p.row = []any{
		id, fmt.Sprintf("MRN-%07d", id*997+o.IntN(997)), p.first, p.last, p.ssn,
		time.Date(year, time.Month(1+o.IntN(12)), 1+o.IntN(28), 0, 0, 0, 0, time.UTC), p.phone,
		g.maybe(10, fmt.Sprintf("%s.%d@example.org", p.last, o.IntN(1_000_000))),
		fmt.Sprintf("%d %s, Nowhere", 10000+o.IntN(90000), pick(o, streets)),
		g.maybe(40, fmt.Sprintf("%s%02d", pick(s, zip3), o.IntN(100))),
		fmt.Sprintf("INS-%09d", o.IntN(1_000_000_000)),
		time.Date(2020, 1, 1, 0, 0, id*60, 0, time.UTC),
	}
	return p
}

func (g *generator) encounter(id, patientID int, p patient) []any {
	o, s := g.own, g.shared
	year := 2021 + s.IntN(5)
	admitted := time.Date(year, time.Month(1+o.IntN(11)), 1+o.IntN(27), o.IntN(24), o.IntN(60), 0, 0, time.UTC)
	note := fmt.Sprintf("%s %s was seen; call %v; SSN %v on file (ref %06d).", p.first, p.last, p.phone, p.ssn, o.IntN(1_000_000))
	discharged := admitted.Add(time.Duration(1+o.IntN(400)) * time.Hour)
	if discharged.Year() != year { // the year is what the mask keeps
		discharged = time.Date(year, 12, 31, 23, 0, 0, 0, time.UTC)
	}
	return []any{id, patientID, pick(s, providers), admitted, g.maybe(12, discharged), pick(s, diagnoses), g.maybe(9, note)}
}

func (g *generator) medication(id, patientID int) []any {
	return []any{id, patientID, pick(g.shared, drugs), pick(g.shared, doses)}
}

func (g *generator) claim(id, patientID int) []any {
	cents := 1000 + g.shared.IntN(900_000)
	return []any{id, patientID, fmt.Sprintf("%d.%02d", cents/100, cents%100), pick(g.shared, payers),
		g.maybe(30, fmt.Sprintf("MBR%010d", g.own.IntN(1_000_000_000)))}
}
