package classify

import (
	"regexp"
	"strings"
	"unicode"
)

// rule is what a name says. The first that matches counts.
type rule struct {
	class      string
	confidence Confidence
	// kinds are the kinds of type that the rule is for; 0 is every one.
	kinds typeKind
	// names matches the column's words, joined by single spaces.
	names *regexp.Regexp
	// tables, if set, must match the table's words, too.
	tables *regexp.Regexp
	reason string
}

// typeKind groups SQL types by what they can hold.
type typeKind uint16

const (
	kindText typeKind = 1 << iota
	kindNumber
	kindDate
	kindTime // of day
	kindBool
	kindDocument // JSON, XML, arrays, records
	kindBinary
	kindNetwork
	kindOther
)

const (
	anything  = typeKind(0)
	textual   = kindText | kindDocument | kindOther
	numbering = kindText | kindNumber | kindOther
	dated     = kindDate | kindText | kindNumber
)

// words matches whole words of a name; "_" is the end of a word or nothing, as
// in first_name, firstName and firstname.
func words(alternatives string) *regexp.Regexp {
	list := strings.ReplaceAll(strings.Join(strings.Fields(alternatives), "|"), "_", " ?")
	return regexp.MustCompile(`(^| )(` + list + `)( |$)`)
}

var (
	people = words(`patients? persons? people members? subscribers? beneficiar(y|ies) contacts? guarantors? clients? residents?
		newborns? mothers? relatives? family guardians? customers? users? demographics? pat individuals? insured dependents?`)
	// who is nobody but the person of a key.
	who   = regexp.MustCompile(`^(patients?|pat|persons?|people|subjects?|members?|beneficiar(y|ies)|individuals?|newborns?)$`)
	staff = words(`providers? physicians? doctors? attending practitioners? prescribers? nurses? clinicians? surgeons? staff
		referring ordering pharmacist dentists? therapists? care_?givers? employees? ser`)
	bookkeeping = words(`created updated modified inserted loaded changed synced imported exported processed etl row_version
		valid_from valid_to record_date last_update deleted ingested refreshed`)
	clinical = words(`patients? persons? encounters? visits? admissions? discharges? stays? transfers? labs? labevents results?
		observations? orders? prescriptions? medications? procedures? diagnos[ei]s conditions? claims? appointments? notes?
		immunizations? allerg(y|ies) vitals? measurements? exposures? occurrences? events? specimens? services? deaths? reports?
		hsp pat microbiologyevents emar chartevents surger(y|ies) episodes? drug referrals?`)
	// about are last words of a name that speaks of a value without being one.
	about = words(`types? kinds? status flag count cnt verified preference format length category class language lang version ind
		indicator yn name_type method source_concept_id concept_id order priority system use`)
	// keyish are last words of a key.
	keyish = words(`id ids key sk pk uid uuid guid fk seq`)
)

// rules are the field's usual names: plain ones, and those of FHIR, OMOP, MIMIC
// and Epic's Clarity.
var rules = []rule{
	// Numbers of people.
	{"ssn", High, numbering, words(`ssns? social_security(_(no|num|nbr|number))? soc_sec(_(no|num|number))? itin tax_?payer_id tax_id`), nil,
		"the name of a social security number"},
	{"other_id", High, numbering, words(`national_id nhs(_(no|number))? nin passport(_(no|num|number))? citizen_id identity_card`), nil,
		"the name of a national identifier"},
	{"mrn", High, numbering, words(`mrns? pat_mrn(_id)? medical_record(_(no|num|nbr|number|id))? med_rec(_(no|num|number))? chart_(no|num|number)
		hospital_number patient_(no|number|identifier) emr_number ehr_number empi(_id)?`), nil, "the name of a medical record number"},
	{"insurance_id", High, numbering, words(`member_(id|no|num|number) plan_member_id subscriber_(id|no|num|number) polic(y|ies)_(no|num|nbr|number|id)
		insurance_(id|no|num|number|policy) insured_id beneficiary(_(id|no|number))? bene_id medicare(_(id|no|number))? medicaid(_(id|no|number))?
		mbi hicn? health_plan_id certificate_(no|number) desynpuf_id group_(no|num|number) memberid policyno`), nil,
		"the name of a health plan number"},
	{"vehicle", High, numbering, words(`vin license_plate licence_plate plate_(no|number) vehicle_(id|no|number) registration_plate`), nil,
		"the name of a vehicle's number"},
	{"license", Low, numbering, words(`npi dea(_(no|number))? upin`), nil, "a provider's number, not the patient's"},
	{"license", High, numbering, words(`licen[cs]e licen[cs]e_(no|num|number|id) driver_?s?_licen[cs]e(_(no|number))? dl_number`), nil,
		"the name of a licence number"},
	{"device", High, numbering, words(`device_(serial|id|identifier|no|number)(_(no|number))? serial(_(no|num|nbr|number))? udi imei imsi mac
		mac_addr(ess)? implant_(id|serial)`), nil, "the name of a device's number"},
	{"account", High, numbering, words(`accounts?(_(no|num|nbr|number|id))? acct(_(no|num|nbr|number|id))? hsp_account_id har iban card_(no|num|number)
		credit_card bank_account routing_number csn pat_enc_csn_id encounter_csn account_identifier`), nil, "the name of an account number"},
	{"account", Medium, numbering, words(`claim_(no|num|number) invoice_(no|num|number) visit_(no|num|number) fin(_(no|number))?
		accession(_(no|num|number))? prescription_(no|number) rx_(no|num|number) case_(no|number)`), nil,
		"a number by which a person's papers are found"},

	// Reaching people.
	{"email", High, textual, words(`e?_?mails? email_addr(ess)?`), nil, "the name of an e-mail address"},
	{"ip", High, kindText | kindNetwork, words(`ips? ip_?addr(ess)? ipv4 ipv6 remote_addr client_ip host_addr`), nil, "the name of an IP address"},
	{"url", Medium, kindText, words(`urls? uri website web_site homepage web_page`), nil, "the name of a web address"},
	{"fax", High, numbering, words(`fax(_(no|num|number))? facsimile`), nil, "the name of a fax number"},
	{"phone", High, numbering | kindDocument, words(`phones?(_(no|num|nbr|number))? mobile(_(no|num|number|phone))? cell(_(phone|no|number))? tele?phone(_(no|number))?
		tel pager telecom contact_(no|number) (home|work)_?phone msisdn`), nil, "the name of a phone number"},
	{"zip", High, numbering, words(`zip zip_?code zips postal(_code)? post_?code zip5 zip4 zip9`), nil, "the name of a ZIP code"},
	{"address", High, textual | kindNumber, words(`addr(ess(es)?)?(_(line)?_?[0-9])? address_line(_[0-9])? add_line_[0-9] street(_.*)? city town
		county village district precinct residence home_address po_box apartment census_tract neighbou?rhood lat latitude lon lng longitude geo_?location
		place_of_birth birth_?place`), nil, "smaller than a state"},

	// Dates of people.
	{"birth_date", High, kindDate, words(`.*dob birth_?date date_of_birth birth_?day birth_date_?time birth .*born(_on)?`), nil, "the name of a date of birth"},
	{"birth_date", Medium, dated | kindDocument, words(`.*dob birth_?date date_of_birth birth_?day birth_date_?time (year|month|day)_of_birth
		birth_(year|month) anchor_year`), nil, "a birth, not of a date type: shown as nothing unless the mask fits"},
	{"date", High, dated, words(`dod date_of_death death_(date|time|date_?time) deceased(_(date|at|date_?time))? dod_(hosp|ssn) died_(on|at)
		deathtime`), nil, "the name of a date of death"},

	// Names.
	{"name", Low, textual, words(`(provider|physician|doctor|attending|practitioner|prescriber|nurse|clinician|surgeon|referring)_(.*_)?name`), nil,
		"a provider's name, not the patient's"},
	{"name", Low, textual, words(`(first|given|last|family|middle|full)_name surname fname lname`), staff, "a name in a table of providers"},
	{"name", High, textual, words(`first_?name given(_?name)?s? last_?name family(_name)? surnames? maiden(_?name)? middle_?name full_?name patient_name
		pat_(first_|last_|middle_)?name person_name member_name subscriber_name guarantor_name insured_name contact_name fname lname mname fore_?names?
		nick_?name preferred_name birth_name mothers?_(maiden_)?name fathers?_name spouse(_name)? next_of_kin nok(_name)? emergency_contact(_name)?
		legal_name display_name guardian(_name)? alias(es)? name_(given|family|text) caregiver_name recipient_name`), nil, "the name of a person's name"},
	{"name", Medium, textual, words(`initials middle_initial suffix prefix_name`), nil, "a part of a name"},
	{"name", High, textual, words(`names?`), people, "a name in a table of people"},

	// What the body and the camera leave.
	{"biometric", High, anything, words(`finger_?prints? biometrics? voice_?prints? retina iris_scan palm_print dna genome face_template`), nil,
		"the name of a biometric identifier"},
	{"photo", High, kindText | kindBinary | kindDocument, words(`photos?(_.*)? picture portrait face(_image)? head_?shot avatar thumbnail`), nil,
		"the name of a photograph"},
	{"photo", Medium, kindText | kindBinary, words(`images?(_.*)? scan(_image)? video`), nil, "an image can show a face"},

	// Other identifiers.
	{"other_id", High, numbering | kindDocument, words(`identifiers?(_value)? .*source_value(_id)? external_id foreign_id alternate_id legacy_id`), people,
		"an identifier from elsewhere, of a person"},
	{"other_id", Medium, numbering | kindDocument, words(`identifiers?(_value)? external_id alternate_id legacy_id participant_(id|code) subject_code
		study_(no|number) badge(_(no|id|number))? student_id employee_id username user_?name login`), nil, "an identifier from elsewhere"},

	// Text that can hold any of them.
	{"free_text", High, kindText, words(`.*notes? .*comments? narrative .*free_?text remarks? history(_of_present_illness)? hpi impressions? assessment
		findings report(_text)? .*note_text message(_text|_body)? body discharge_summary chief_complaint complaint .*text memo instructions? plan_text
		subjective objective transcript letter content summary_text anamnesis sig_text`), nil, "the name of free text"},
	{"free_text", Medium, kindText, words(`description descr detail(s)? summary reason explanation interpretation addendum`), clinical,
		"may hold free text about a patient"},
}

// notProtected are names that are known not to identify by themselves.
var notProtected = []rule{
	{None, High, anything, words(`state(_code)? country(_code)? region_code`), nil, "a state may stay"},
	{None, Medium, anything, words(`sex gender(_code|_concept_id)? race ethnicity marital_status language religion blood_type`), nil,
		"no identifier of the eighteen, though it narrows down"},
	{None, Low, anything, words(`age age_.* .*_age anchor_age`), nil, "ages of 90 and more identify: decide whether it can hold them"},
	{None, High, anything, words(`icd(_?(9|10))?(_cm)?(_code)? cpt(_code)? hcpcs(_code|_cd)? loinc(_code|_num)? snomed(_code)? ndc(_code)? rxnorm(_code)? drg(_cd|_code)?
		diagnosis_code procedure_code .*concept_id concept_code icd_code`), nil, "a code of a terminology"},
}

// split turns a name into words: snake_case, kebab-case, camelCase and digits at
// the end of a word are told apart.
func split(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			b.WriteByte(' ')
			continue
		case i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) ||
			(unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1]))):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// kindOf groups a type by its name in either engine.
func kindOf(typ string) typeKind {
	t := strings.ToLower(strings.TrimSpace(typ))
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(t, p) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasSuffix(t, "[]"), has("json", "xml", "hstore", "record"):
		return kindDocument
	case has("bool", "tinyint(1)", "bit"):
		return kindBool
	case has("bytea", "blob", "tinyblob", "mediumblob", "longblob", "binary", "varbinary", "oid"):
		return kindBinary
	case has("date", "timestamp", "abstime") || t == "year" || has("year("):
		return kindDate
	case has("interval"):
		return kindNumber
	case has("time"):
		return kindTime
	case has("inet", "cidr", "macaddr"):
		return kindNetwork
	case has("point", "geo", "polygon", "line", "box", "path", "circle", "multi"):
		return kindOther
	case has("int", "smallint", "bigint", "tinyint", "mediumint", "numeric", "decimal", "real", "double", "float", "money", "serial", "bigserial"):
		return kindNumber
	case has("text", "char", "varchar", "character", "citext", "name", "tinytext", "mediumtext", "longtext", "enum", "set", "uuid", "bpchar", "\"char\""):
		return kindText
	}
	return kindOther
}
