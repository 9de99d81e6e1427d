package export

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// FHIR appends a record as one FHIR R4 AuditEvent, a JSON object without a
// newline, and gives the extended dst. It is false, and dst as it was, for a type
// of which there is no AuditEvent to make: what leads to a query's outcome, and a
// gateway's own affairs. docs/interchange.md has the mapping.
//
// A successful look-up names the profile Query of IHE BALP 1.1.4, or PatientQuery
// where it names one person, by a token. Whatever a record holds, the resource is
// valid; an error is a defect.
func FHIR(dst []byte, r *evidence.Record) ([]byte, bool, error) {
	kind, ok := fhirKinds[r.Type]
	if !ok && r.Type.Known() {
		return dst, false, nil
	}
	r = understood(r)
	own := fhirCoding{System: systemType, Code: fhirCode(string(r.Type))}
	e := &fhirAuditEvent{ResourceType: "AuditEvent", ID: fhirID(r.ID), Type: own, Action: kind.action, Recorded: fhirInstant(r.Time),
		Outcome: fhirOutcome(r), OutcomeDesc: fhirOutcomeText(r), Purpose: fhirPurpose(r.PurposeOfUse),
		Agent: fhirAgents(r), Source: fhirSource{Observer: fhirWho{Identifier: fhirIdentifier{systemWriter, fhirValue(r.Writer)}}}}
	if kind.dicom != "" {
		e.Type, e.Subtype = fhirCoding{System: systemDICOM, Code: kind.dicom}, []fhirCoding{own}
	}
	if r.Type == evidence.TypeOutcome {
		e.query(r)
	}
	e.Entity = append(e.Entity, fhirRecord(r))
	for _, name := range r.Relations {
		if name = fhirText(name); name != "" {
			e.Entity = append(e.Entity, fhirEntity{Type: &fhirCoding{System: systemEntity, Code: "relation"}, Name: name})
		}
	}
	dst, err := appendJSON(dst, e)
	return dst, err == nil, err
}

// fhirKind is what kind of event a record is: a DICOM code, "" where none fits and
// the type is our own, and an action.
type fhirKind struct{ dicom, action string }

var fhirKinds = map[evidence.Type]fhirKind{
	evidence.TypeOutcome:           {"110112", "E"}, // Query
	evidence.TypeAuthFailed:        {"110114", "E"}, // User Authentication
	evidence.TypeAuthSucceeded:     {"110114", "E"},
	evidence.TypeRead:              {"110101", "R"}, // Audit Log Used
	evidence.TypeExported:          {"110106", "R"}, // Export
	evidence.TypeBundled:           {"110106", "C"}, // Export
	evidence.TypeApprovalRequested: {"", "C"},
	evidence.TypeApprovalViewed:    {"", "R"},
	evidence.TypeApprovalDecided:   {"", "U"},
	evidence.TypeApprovalClaimed:   {"", "U"},
	evidence.TypeApprovalCancelled: {"", "D"},
}

// fhirActions are by kind of statement; others execute.
var fhirActions = map[string]string{"insert": "C", "update": "U", "delete": "D"}

// query is what an outcome says more: the statement, the persons, and the profile
// of BALP if it fits. That fixes a type and a subtype, those of a RESTful search.
func (e *fhirAuditEvent) query(r *evidence.Record) {
	st := r.Statement
	if st != nil {
		if action := fhirActions[st.Kind]; action != "" {
			e.Action = action
		}
		if st.Normalized != "" {
			e.Entity = append(e.Entity, fhirEntity{Type: &fhirCoding{System: systemEntityType, Code: "2"},
				Role: &fhirCoding{System: systemRole, Code: "24"}, Query: base64.StdEncoding.EncodeToString([]byte(st.Normalized))})
		}
	}
	for _, token := range r.Patients {
		e.Entity = append(e.Entity, fhirEntity{Type: &fhirCoding{System: systemEntityType, Code: "1"}, Role: &fhirCoding{System: systemRole, Code: "1"},
			What: &fhirWho{Type: "Patient", Identifier: fhirIdentifier{systemPatient, fhirValue(token)}}})
	}
	searched := st != nil && st.Kind == "select" && st.Normalized != "" && r.Status == "succeeded" && e.Agent[0].Network != nil
	if !searched || len(r.Patients) > 1 {
		return // BALP wants an event for each person, and this is the one of the query
	}
	profile := profileQuery
	if len(r.Patients) == 1 {
		profile = profilePatientQuery
	}
	e.Meta = &fhirMeta{Profile: []string{profile}}
	e.Type, e.Subtype[0] = fhirCoding{System: systemEventType, Code: "rest"}, fhirCoding{System: systemInteraction, Code: "search"}
}

// fhirRecord is the entity that leads back to the record, and says of it what
// AuditEvent has no place for.
func fhirRecord(r *evidence.Record) fhirEntity {
	e := fhirEntity{Type: &fhirCoding{System: systemEntity, Code: "record"},
		What: &fhirWho{Identifier: fhirIdentifier{systemRecord, fhirValue(r.ID)}}}
	add := func(name, value string) {
		if value = fhirText(value); value != "" {
			e.Detail = append(e.Detail, fhirDetail{name, value})
		}
	}
	count := func(name string, n int64) {
		if n > 0 {
			add(name, strconv.FormatInt(n, 10))
		}
	}
	add("sequence", strconv.FormatUint(r.Sequence, 10))
	add("query_id", r.QueryID)
	add("session_id", r.SessionID)
	add("request_id", r.RequestID)
	add("connection", r.Connection)
	if r.Withheld {
		add("withheld", "true")
	}
	if st := r.Statement; st != nil && r.Type == evidence.TypeOutcome {
		add("kind", st.Kind)
		add("fingerprint", st.Fingerprint)
	}
	add("effect", r.Effect)
	if d := r.Decision; d != nil {
		add("policy_version", d.PolicyVersion)
		for _, rule := range d.Rules {
			add("rule", rule)
		}
	}
	if res := r.Result; res != nil {
		count("row_count", res.RowCount)
		count("affected_rows", res.Affected)
		count("masked_cells", sum(res.Masks))
		count("detected_cells", sum(res.Detected))
	}
	if l := r.Lease; l != nil {
		add("db_user", l.Username)
		add("lease_id", l.ID)
	}
	if a := r.Approval; a != nil && r.Type != evidence.TypeOutcome {
		add("rule", a.Rule)
	}
	data := allowedData(r)
	for _, name := range sortedKeys(data) {
		add(name, data[name])
	}
	return e
}

// fhirAgents are who asked, through what, for whom, and who approved. The first
// is the client's end of the connection.
func fhirAgents(r *evidence.Record) (list []fhirAgent) {
	server := fhirAgent{Type: fhirConcept(systemDICOM, "110152"), Who: fhirWho{Identifier: fhirIdentifier{systemWriter, fhirValue(r.Writer)}},
		Network: &fhirNetwork{fhirValue(r.Writer), "1"}}
	a := r.Actor
	if a == nil {
		return []fhirAgent{server} // the gateway itself
	}
	client := fhirAgent{Type: fhirConcept(systemDICOM, "110153"), Who: fhirWho{Display: unknown}, Network: fhirAddress(a.RemoteAddr)}
	if a.ClientID != "" {
		client.Who = fhirWho{Identifier: fhirIdentifier{fhirSystem(a.Issuer), fhirValue(a.ClientID)}}
	}
	list = append(list, client, server)
	if a.Subject != "" {
		list = append(list, fhirAgent{Type: fhirConcept(systemParticipation, "IRCP"), Requestor: true, Name: fhirText(a.Name),
			Who: fhirWho{Identifier: fhirIdentifier{fhirSystem(a.Issuer), fhirValue(a.Subject)}}})
	}
	if a.OnBehalfOf != "" {
		list = append(list, fhirAgent{Type: fhirConcept(systemRoleCode, "DELEGATOR"),
			Who: fhirWho{Identifier: fhirIdentifier{fhirSystem(a.Issuer), fhirValue(a.OnBehalfOf)}}})
	}
	for _, key := range approversOf(r) {
		list = append(list, fhirAgent{Type: fhirConcept(systemRoleCode, "GRANTOR"),
			Who: fhirWho{Identifier: fhirIdentifier{"", fhirValue(key)}}})
	}
	return list
}

// fhirAddress is the network end of an agent, nil if nothing is known of it.
func fhirAddress(remote string) *fhirNetwork {
	if ip, _, ok := addressOf(remote); ok {
		return &fhirNetwork{ip, "2"}
	}
	if remote = fhirText(remote); remote != "" {
		return &fhirNetwork{remote, "1"}
	}
	return nil
}

// fhirOutcome is 0 for success, 4 and 8 for failures, "" where it has not ended
// or is not known.
func fhirOutcome(r *evidence.Record) string {
	switch {
	case r.Type == evidence.TypeAuthFailed:
		return "4"
	case r.Status == "failed", r.Status == "refused", r.Status == "denied":
		return "4"
	case r.Status == "withheld":
		return "8" // it ran, and what it gave was not released
	case r.Status == "succeeded", r.Status == "dry_run", r.Status == "" && r.Type.Known():
		return "0"
	}
	return ""
}

func fhirOutcomeText(r *evidence.Record) string {
	text := r.Status
	if r.Result != nil && r.Result.Code != "" {
		text += " " + r.Result.Code
	}
	return fhirText(text)
}

// fhirPurpose is a code of R4's PurposeOfUse; what is none, such as one that HL7
// added since, is text.
func fhirPurpose(code string) []fhirCodeable {
	if code == "" {
		return nil
	}
	if evidence.PurposeName(code) == "" || younger[code] {
		return []fhirCodeable{{Text: fhirValue(code)}}
	}
	return []fhirCodeable{{Coding: []fhirCoding{{System: systemReason, Code: code}}}}
}

// fhirID is a record's identifier as the resource's, or, where it is none that
// FHIR allows (64 letters, digits, "-" and "."), one made from it.
func fhirID(id string) string {
	if n := len(id); n > 0 && n <= 64 && idCharacters(id) {
		return id
	}
	digest := sha256.Sum256([]byte(id))
	return "sha256-" + hex.EncodeToString(digest[:16])
}

func idCharacters(id string) bool {
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// fhirInstant is a time in milliseconds. FHIR's years are 0001 to 9999.
func fhirInstant(t time.Time) string {
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		t = time.Time{}
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
