package export

import (
	"net/netip"

	"github.com/chaperone-sql/chaperone/evidence"
)

// OCSFVersion is the version of the schema that OCSF writes.
const OCSFVersion = "1.8.0"

// OCSF appends a record as one OCSF event, a JSON object without a newline, and
// gives the extended dst. query.outcome is a Datastore Activity (6005),
// auth.failed an Authentication (3002), everything else, types that this program
// does not know included, an API Activity (6003). docs/interchange.md has the
// mapping. metadata.uid is the record's identifier: what was delivered twice has
// it twice.
//
// A record whose body is withheld gives an event of its entry's fields. Whatever
// a record holds, the event is valid; an error is a defect.
func OCSF(dst []byte, r *evidence.Record) ([]byte, error) {
	r = understood(r)
	e := &ocsfEvent{SeverityID: severityInformational, Time: r.Time.UnixMilli(), Metadata: ocsfMetadata{
		Version: OCSFVersion, UID: r.ID, CorrelationUID: r.QueryID, Sequence: r.Sequence, LogSource: r.Writer,
		EventCode: orUnknown(string(r.Type)), Product: ocsfName{Name: product, Vendor: product},
	}, Actor: ocsfActorOf(r), SrcEndpoint: ocsfSource(r), Unmapped: ocsfRest(r)}
	switch r.Type {
	case evidence.TypeOutcome:
		e.datastore(r)
	case evidence.TypeAuthFailed, evidence.TypeAuthSucceeded:
		e.authentication(r)
	default:
		e.api(r)
	}
	e.CategoryUID, e.TypeUID = e.ClassUID/1000, e.ClassUID*100+e.ActivityID
	return appendJSON(dst, e)
}

// Classes, and values of enumerations that mean the same in each class.
const (
	classAuthentication = 3002
	classAPI            = 6003
	classDatastore      = 6005

	other = 99

	severityInformational = 1
	severityLow           = 2
	severityMedium        = 3
)

// datastoreActivities are by kind of statement; what is not here is Other.
var datastoreActivities = map[string]int{
	"select": 4, "explain": 4, "show": 8, // Query, List
	"insert": 6, "copy": 5, "merge": 5, "update": 2, "delete": 7, // Create, Write, Update, Delete
}

// apiActivities are Create 1, Read 2, Update 3, Delete 4; what is not here is
// Other.
var apiActivities = map[evidence.Type]int{
	evidence.TypeIntent: 1, evidence.TypeLeaseIssued: 1, evidence.TypeLeaseRevoked: 4,
	evidence.TypeApprovalRequested: 1, evidence.TypeApprovalViewed: 2, evidence.TypeApprovalDecided: 3,
	evidence.TypeApprovalClaimed: 3, evidence.TypeApprovalCancelled: 4,
	evidence.TypeBundled: 1, evidence.TypeRead: 2, evidence.TypeExported: 2,
	evidence.TypeConfigLoaded: 2, evidence.TypeConfigChanged: 3, evidence.TypeKeysChanged: 3, evidence.TypePolicyLoaded: 2,
}

func (e *ocsfEvent) datastore(r *evidence.Record) {
	e.ClassUID = classDatastore
	e.TypeID, e.Database = 1, &ocsfDatabase{Name: orUnknown(r.Connection), TypeID: 1} // a database, relational
	if len(r.Relations) == 1 {
		e.TypeID, e.Table = 3, &ocsfName{Name: r.Relations[0]}
	}
	// Without a kind the activity is Unknown: the body is withheld, or the
	// statement was not understood.
	if st := r.Statement; st != nil && st.Kind != "" {
		var ok bool
		if e.ActivityID, ok = datastoreActivities[st.Kind]; !ok {
			e.ActivityID, e.ActivityName = other, st.Kind
		}
	}
	if st := r.Statement; st != nil && st.Normalized != "" {
		e.QueryInfo = &ocsfQuery{UID: r.QueryID, String: st.Normalized}
	}
	if res := r.Result; res != nil && res.Started != nil && res.Ended != nil {
		e.StartTime, e.EndTime = res.Started.UnixMilli(), res.Ended.UnixMilli()
		e.Duration = max(0, e.EndTime-e.StartTime)
	}
	e.Unmapped.Relations = r.Relations
	e.outcome(r)
	e.decision(r)
}

// outcome says how a request ended.
func (e *ocsfEvent) outcome(r *evidence.Record) {
	e.StatusCode = r.Status
	switch r.Status {
	case "succeeded", "dry_run":
		e.StatusID = 1
	case "failed", "refused":
		e.StatusID, e.SeverityID = 2, severityLow
	case "denied", "withheld":
		e.StatusID, e.SeverityID = 2, severityMedium
	case "":
		// That it was recorded is that it happened, unless a note says more.
		if r.Type.Known() && !r.Withheld && r.Note == "" {
			e.StatusID = 1
		}
	default:
		e.StatusID, e.Status = other, r.Status
	}
	if r.Result != nil {
		e.StatusDetail = r.Result.Code
	}
}

// decision says what policy made of a statement, in the profile security_control.
func (e *ocsfEvent) decision(r *evidence.Record) {
	if r.Effect == "" && r.Status == "" {
		return
	}
	e.Metadata.Profiles = profileSecurityControl
	act := func(action, disposition int) { e.ActionID, e.DispositionID = &action, &disposition }
	switch {
	case r.Status == "succeeded" && len(r.Approvers) > 0:
		act(1, 8) // Allowed, Approved
	case r.Status == "succeeded":
		act(1, 1) // Allowed, Allowed
	case r.Status == "dry_run":
		act(1, 16) // Allowed, No Action
	case r.Status == "denied":
		act(2, 26) // Denied, Unauthorized
	case r.Status == "refused":
		act(2, 25) // Denied, Rejected
	case r.Status == "withheld":
		act(2, 2) // Denied, Blocked
	case r.Status == "failed":
		act(0, 27) // Unknown, Error
	case r.Status != "":
		act(other, other)
		e.Action, e.Disposition = r.Status, r.Status
	default:
		act(0, 0)
	}
	// A rule that asks for approval, or denies, is the product's own judgement of risk.
	switch r.Effect {
	case "approve", "deny":
		e.RiskLevelID = 3 // High
	case "allow":
		e.RiskLevelID = 1 // Low
	}
	if d := r.Decision; d != nil {
		e.Policy = &ocsfPolicy{Name: "statements", Version: d.PolicyVersion}
		for _, rule := range d.Rules {
			e.Authorizations = append(e.Authorizations, ocsfAuthorization{Decision: d.Effect, Policy: &ocsfPolicy{Name: rule}})
		}
	}
	if e.Authorizations == nil && r.Effect != "" {
		e.Authorizations = []ocsfAuthorization{{Decision: r.Effect}}
	}
}

var profileSecurityControl = []string{"security_control"}

func (e *ocsfEvent) authentication(r *evidence.Record) {
	e.ClassUID, e.ActivityID = classAuthentication, 1 // Logon
	e.Service, e.User = &ocsfName{Name: product, UID: r.Writer}, &ocsfUser{Name: unknown}
	if r.Actor != nil && r.Actor.Subject != "" {
		e.User = &ocsfUser{UID: r.Actor.Subject, FullName: r.Actor.Name}
	}
	if r.Type == evidence.TypeAuthSucceeded {
		e.StatusID, e.AuthProtocolID, e.LogonTypeID = 1, 4, 2 // Success, OpenID, Interactive
		return
	}
	e.SeverityID, e.StatusID, e.StatusCode = severityLow, 2, r.Status
	if r.Result != nil {
		e.StatusDetail = r.Result.Code
	}
	e.AuthProtocolID, e.LogonTypeID = 6, 3 // OAuth 2.0, Network
}

func (e *ocsfEvent) api(r *evidence.Record) {
	e.ClassUID = classAPI
	var ok bool
	if e.ActivityID, ok = apiActivities[r.Type]; !ok {
		e.ActivityID, e.ActivityName = other, e.Metadata.EventCode
	}
	e.API, e.Resources = &ocsfAPI{Operation: e.Metadata.EventCode}, ocsfResources(r)
	if r.RequestID != "" {
		e.API.Request = &ocsfUID{UID: r.RequestID}
	}
	e.Unmapped.Effect = r.Effect
	e.outcome(r)
	if !r.Type.Known() {
		e.SeverityID = 0 // unknown
	}
}

// ocsfActorOf is who asked; the gateway itself where nobody did.
func ocsfActorOf(r *evidence.Record) *ocsfActor {
	a := &ocsfActor{}
	if r.SessionID != "" {
		a.Session = &ocsfUID{UID: r.SessionID}
	}
	if r.Actor == nil || *r.Actor == (evidence.Actor{RemoteAddr: r.Actor.RemoteAddr}) {
		a.AppName, a.AppUID = product, r.Writer
		if r.Type == evidence.TypeAuthFailed {
			a.AppName, a.AppUID = unknown, "" // it was somebody, and not the gateway
		}
		return a
	}
	a.User = &ocsfUser{UID: r.Actor.Subject, FullName: r.Actor.Name}
	if a.User.UID == "" {
		a.User.Name = unknown
	}
	a.AppUID = r.Actor.ClientID
	if r.Actor.Issuer != "" {
		a.IDP = &ocsfUID{UID: r.Actor.Issuer}
	}
	return a
}

// ocsfSource is where the request came from; the gateway itself where there was
// none.
func ocsfSource(r *evidence.Record) *ocsfEndpoint {
	if r.Actor == nil || r.Actor.RemoteAddr == "" {
		return &ocsfEndpoint{SvcName: product, InstanceUID: r.Writer}
	}
	address := r.Actor.RemoteAddr
	if ip, port, ok := addressOf(address); ok {
		return &ocsfEndpoint{IP: ip, Port: port}
	}
	return &ocsfEndpoint{Name: address}
}

// ipText is an address as ip_t wants it: without a zone, which may be anything.
func ipText(ip netip.Addr) string { return ip.Unmap().WithZone("").String() }

func ocsfResources(r *evidence.Record) []ocsfResource {
	list := make([]ocsfResource, 0, len(r.Relations)+1)
	if r.Connection != "" {
		list = append(list, ocsfResource{Name: r.Connection, Type: "connection"})
	}
	for _, name := range r.Relations {
		list = append(list, ocsfResource{Name: name, Type: "table"})
	}
	return list
}

// ocsfRest is what OCSF has no place for.
func ocsfRest(r *evidence.Record) *ocsfUnmapped {
	u := &ocsfUnmapped{PurposeOfUse: r.PurposeOfUse, Patients: r.Patients, Approvers: r.Approvers, Withheld: r.Withheld,
		Transport: r.Data["transport"], Data: allowedData(r)}
	if r.Actor != nil {
		u.OnBehalfOf = r.Actor.OnBehalfOf
		if r.Actor.AuthTime != nil {
			u.AuthTime = r.Actor.AuthTime.UnixMilli()
		}
	}
	if r.Statement != nil {
		u.Fingerprint, u.DryRun = r.Statement.Fingerprint, r.Statement.DryRun
	}
	if res := r.Result; res != nil {
		u.SQLState, u.DatabaseSession, u.Command, u.TransactionID = res.SQLState, res.SessionDB, res.Command, res.TransactionID
		u.Rows, u.Truncated, u.Masks, u.Detected = &res.RowCount, res.Truncated, res.Masks, res.Detected
		if res.Affected >= 0 {
			u.Affected = &res.Affected
		}
	}
	if l := r.Lease; l != nil {
		u.LeaseID, u.DatabaseUser, u.Access = l.ID, l.Username, l.Access
	}
	if a := r.Approval; a != nil && r.Type != evidence.TypeOutcome && r.Type != evidence.TypeIntent {
		u.Decision, u.Rule, u.Approvers = a.Decision, a.Rule, a.Approvers
	}
	for _, o := range r.Observed {
		u.Observed = append(u.Observed, o.Writer)
	}
	return u
}
