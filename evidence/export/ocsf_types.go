package export

// The parts of OCSF 1.8 that an event of ours has. What is optional and would
// only say again in words what a number says is left out.

type ocsfEvent struct {
	ClassUID     int    `json:"class_uid"`
	CategoryUID  int    `json:"category_uid"`
	ActivityID   int    `json:"activity_id"`
	ActivityName string `json:"activity_name,omitempty"`
	TypeUID      int    `json:"type_uid"`
	SeverityID   int    `json:"severity_id"`
	// Time is Unix milliseconds, as are StartTime and EndTime; Duration is
	// milliseconds.
	Time         int64  `json:"time"`
	StatusID     int    `json:"status_id"`
	Status       string `json:"status,omitempty"`
	StatusCode   string `json:"status_code,omitempty"`
	StatusDetail string `json:"status_detail,omitempty"`

	Metadata    ocsfMetadata  `json:"metadata"`
	Actor       *ocsfActor    `json:"actor"`
	SrcEndpoint *ocsfEndpoint `json:"src_endpoint"`

	// Datastore Activity.
	TypeID    int           `json:"type_id,omitempty"`
	Database  *ocsfDatabase `json:"database,omitempty"`
	Table     *ocsfName     `json:"table,omitempty"`
	QueryInfo *ocsfQuery    `json:"query_info,omitempty"`
	StartTime int64         `json:"start_time,omitempty"`
	EndTime   int64         `json:"end_time,omitempty"`
	Duration  int64         `json:"duration,omitempty"`

	// The profile security_control.
	ActionID       *int                `json:"action_id,omitempty"`
	Action         string              `json:"action,omitempty"`
	DispositionID  *int                `json:"disposition_id,omitempty"`
	Disposition    string              `json:"disposition,omitempty"`
	RiskLevelID    int                 `json:"risk_level_id,omitempty"`
	Policy         *ocsfPolicy         `json:"policy,omitempty"`
	Authorizations []ocsfAuthorization `json:"authorizations,omitempty"`

	// Authentication.
	User           *ocsfUser `json:"user,omitempty"`
	Service        *ocsfName `json:"service,omitempty"`
	AuthProtocolID int       `json:"auth_protocol_id,omitempty"`
	LogonTypeID    int       `json:"logon_type_id,omitempty"`

	// API Activity.
	API       *ocsfAPI       `json:"api,omitempty"`
	Resources []ocsfResource `json:"resources,omitempty"`

	Unmapped *ocsfUnmapped `json:"unmapped,omitempty"`
}

type ocsfMetadata struct {
	Version        string   `json:"version"`
	UID            string   `json:"uid"`
	CorrelationUID string   `json:"correlation_uid,omitempty"`
	Sequence       uint64   `json:"sequence"`
	LogSource      string   `json:"log_source"`
	EventCode      string   `json:"event_code"`
	Profiles       []string `json:"profiles,omitempty"`
	Product        ocsfName `json:"product"`
}

type ocsfName struct {
	Name   string `json:"name,omitempty"`
	UID    string `json:"uid,omitempty"`
	Vendor string `json:"vendor_name,omitempty"`
}

type ocsfUID struct {
	UID string `json:"uid"`
}

type ocsfActor struct {
	User    *ocsfUser `json:"user,omitempty"`
	Session *ocsfUID  `json:"session,omitempty"`
	IDP     *ocsfUID  `json:"idp,omitempty"`
	AppName string    `json:"app_name,omitempty"`
	AppUID  string    `json:"app_uid,omitempty"`
}

type ocsfUser struct {
	Name     string `json:"name,omitempty"`
	UID      string `json:"uid,omitempty"`
	FullName string `json:"full_name,omitempty"`
}

type ocsfEndpoint struct {
	IP          string `json:"ip,omitempty"`
	Port        int    `json:"port,omitempty"`
	Name        string `json:"name,omitempty"`
	SvcName     string `json:"svc_name,omitempty"`
	InstanceUID string `json:"instance_uid,omitempty"`
}

type ocsfDatabase struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
}

type ocsfQuery struct {
	UID    string `json:"uid"`
	String string `json:"query_string"`
}

type ocsfPolicy struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type ocsfAuthorization struct {
	Decision string      `json:"decision"`
	Policy   *ocsfPolicy `json:"policy,omitempty"`
}

type ocsfAPI struct {
	Operation string   `json:"operation"`
	Request   *ocsfUID `json:"request,omitempty"`
}

type ocsfResource struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// ocsfUnmapped is what has no place in OCSF. Names are those of our records.
type ocsfUnmapped struct {
	PurposeOfUse string   `json:"purpose_of_use,omitempty"`
	OnBehalfOf   string   `json:"on_behalf_of,omitempty"`
	AuthTime     int64    `json:"auth_time,omitempty"` // Unix milliseconds
	Relations    []string `json:"relations,omitempty"`
	Patients     []string `json:"patients,omitempty"`
	Effect       string   `json:"effect,omitempty"`
	Approvers    []string `json:"approvers,omitempty"`
	Decision     string   `json:"decision,omitempty"`
	Rule         string   `json:"rule,omitempty"`
	Fingerprint  string   `json:"fingerprint,omitempty"`
	DryRun       bool     `json:"dry_run,omitempty"`

	Rows            *int64           `json:"row_count,omitempty"`
	Affected        *int64           `json:"affected_rows,omitempty"`
	Truncated       string           `json:"truncated,omitempty"`
	Masks           map[string]int64 `json:"masks,omitempty"`
	Detected        map[string]int64 `json:"detected,omitempty"`
	SQLState        string           `json:"sqlstate,omitempty"`
	Command         string           `json:"command,omitempty"`
	TransactionID   string           `json:"transaction_id,omitempty"`
	DatabaseSession string           `json:"db_session,omitempty"`
	DatabaseUser    string           `json:"db_user,omitempty"`
	LeaseID         string           `json:"lease_id,omitempty"`
	Access          string           `json:"access,omitempty"`

	Transport string            `json:"transport,omitempty"`
	Observed  []string          `json:"observed,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	Withheld  bool              `json:"withheld,omitempty"`
}
