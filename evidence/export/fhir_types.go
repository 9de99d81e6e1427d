package export

import (
	"net/url"
	"strings"
)

// Systems of codes and identifiers.
const (
	systemDICOM         = "http://dicom.nema.org/resources/ontology/DCM"
	systemEventType     = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	systemInteraction   = "http://hl7.org/fhir/restful-interaction"
	systemEntityType    = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	systemRole          = "http://terminology.hl7.org/CodeSystem/object-role"
	systemParticipation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	systemRoleCode      = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
	systemReason        = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	// Our own: types of records, kinds of entities, and what identifiers are of.
	systemType    = "urn:chaperone:record-type"
	systemEntity  = "urn:chaperone:entity"
	systemRecord  = "urn:chaperone:record"
	systemWriter  = "urn:chaperone:writer"
	systemPatient = "urn:chaperone:patient-token"

	profileQuery        = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query"
	profilePatientQuery = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientQuery"
)

// The parts of AuditEvent (http://hl7.org/fhir/R4/auditevent.html) that we fill.

type fhirAuditEvent struct {
	ResourceType string         `json:"resourceType"`
	ID           string         `json:"id"`
	Meta         *fhirMeta      `json:"meta,omitempty"`
	Type         fhirCoding     `json:"type"`
	Subtype      []fhirCoding   `json:"subtype,omitempty"`
	Action       string         `json:"action,omitempty"`
	Recorded     string         `json:"recorded"`
	Outcome      string         `json:"outcome,omitempty"`
	OutcomeDesc  string         `json:"outcomeDesc,omitempty"`
	Purpose      []fhirCodeable `json:"purposeOfEvent,omitempty"`
	Agent        []fhirAgent    `json:"agent"`
	Source       fhirSource     `json:"source"`
	Entity       []fhirEntity   `json:"entity"`
}

type fhirMeta struct {
	Profile []string `json:"profile"`
}

type fhirCoding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

type fhirCodeable struct {
	Coding []fhirCoding `json:"coding,omitempty"`
	Text   string       `json:"text,omitempty"`
}

func fhirConcept(system, code string) *fhirCodeable {
	return &fhirCodeable{Coding: []fhirCoding{{system, code}}}
}

type fhirIdentifier struct {
	System string `json:"system,omitempty"`
	Value  string `json:"value"`
}

// fhirWho is a Reference by identifier, or by words.
type fhirWho struct {
	Type       string         `json:"type,omitempty"`
	Identifier fhirIdentifier `json:"identifier,omitzero"`
	Display    string         `json:"display,omitempty"`
}

type fhirAgent struct {
	Type      *fhirCodeable `json:"type,omitempty"`
	Who       fhirWho       `json:"who"`
	Name      string        `json:"name,omitempty"`
	Requestor bool          `json:"requestor"`
	Network   *fhirNetwork  `json:"network,omitempty"`
}

type fhirNetwork struct {
	Address string `json:"address"`
	// Type: 1 machine name, 2 IP address.
	Type string `json:"type"`
}

type fhirSource struct {
	Observer fhirWho `json:"observer"`
}

type fhirEntity struct {
	What   *fhirWho     `json:"what,omitempty"`
	Type   *fhirCoding  `json:"type,omitempty"`
	Role   *fhirCoding  `json:"role,omitempty"`
	Name   string       `json:"name,omitempty"`
	Query  string       `json:"query,omitempty"` // base64
	Detail []fhirDetail `json:"detail,omitempty"`
}

type fhirDetail struct {
	Type  string `json:"type"`
	Value string `json:"valueString"`
}

// younger are the codes of PurposeOfUse that R4's v3-ActReason does not have.
var younger = setOf("MLTRAINING", "PMTDS", "TREATDS")

// maxFHIRString is the most that a FHIR string may have, in characters; we count
// bytes.
const maxFHIRString = 1 << 20

// fhirText is text as a FHIR string: no control characters, none that turn the
// direction of writing (CVE-2021-42574), no spaces around it, not too long. It may be empty, and then its element must be left out.
func fhirText(s string) string {
	if len(s) > maxFHIRString {
		s = s[:maxFHIRString]
	}
	if !plain(s) {
		s = oneLine(s)
	}
	return strings.TrimSpace(s)
}

// plain reports whether s is nothing but printable ASCII, as nearly all texts are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// fhirValue is fhirText where an element must have a value.
func fhirValue(s string) string { return orUnknown(fhirText(s)) }

// fhirCode is text as a FHIR code: single spaces within, none around.
func fhirCode(s string) string { return orUnknown(strings.Join(strings.Fields(fhirText(s)), " ")) }

// fhirSystem is an issuer as the system of its identifiers, "" if it is no web
// address, as OpenID Connect wants it to be. HL7's validator knows schemes in
// small letters only.
func fhirSystem(issuer string) string {
	u, err := url.Parse(issuer)
	web := strings.HasPrefix(issuer, "https://") || strings.HasPrefix(issuer, "http://")
	if err != nil || !web || u.Host == "" || !plain(issuer) || strings.ContainsAny(issuer, " \"<>\\^`{|}") {
		return ""
	}
	return issuer
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
