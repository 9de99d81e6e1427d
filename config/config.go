// Package config reads the gateway's one YAML file, strictly: an unknown key, a
// bad value or a missing secret stops the start with file, line and the fix.
//
// Secrets are never in the file, only references to a file or an environment
// variable. docs/configuration.md is made from the comments of this file.
package config

// Config is the whole file.
type Config struct {
	// Instance names this gateway in evidence; unique among the gateways that
	// share a store, and the name its signing key was made for. At most 31 small
	// letters, digits and "-".
	Instance string `yaml:"instance"`
	// Listen is host:port. A host that is not loopback needs tls.
	Listen string `yaml:"listen"`
	// PublicURL is what browsers and agents use, without a trailing slash. https
	// unless its host is loopback.
	PublicURL string `yaml:"public_url"`
	// TLS serves HTTPS. Required unless listen is loopback.
	TLS TLS `yaml:"tls"`
	// Log says how the gateway logs. Logs never hold statements or data.
	Log Log `yaml:"log"`
	// Identity is the OIDC provider that says who asks.
	Identity Identity `yaml:"identity"`
	// Vault issues database credentials, for connections with issuer vault.
	Vault *Vault `yaml:"vault"`
	// Store keeps recordings and approvals where nobody can change them.
	Store Store `yaml:"store"`
	// Evidence is how recordings are signed and sealed.
	Evidence Evidence `yaml:"evidence"`
	// Approvals is how risky statements wait.
	Approvals Approvals `yaml:"approvals"`
	// Masking is what protected data becomes.
	Masking Masking `yaml:"masking"`
	// Policy is what may run.
	Policy Policy `yaml:"policy"`
	// Limits bound requests.
	Limits Limits `yaml:"limits"`
	// Connections are the databases, by the name that agents use.
	Connections map[string]Connection `yaml:"connections"`
}

// TLS is the listener's certificate.
type TLS struct {
	// CertFile is a PEM file of the certificate and its chain.
	CertFile string `yaml:"cert_file"`
	// KeyFile is a PEM file of the certificate's private key. It must not be
	// readable by others.
	KeyFile string `yaml:"key_file"`
	// TerminatedByProxy says that a proxy in front speaks TLS; public_url must
	// then be https, and only the proxy may reach listen.
	TerminatedByProxy bool `yaml:"terminated_by_proxy"`
}

// Log is how the gateway logs.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is json or text. Default json.
	Format string `yaml:"format"`
}

// Identity is the OIDC provider.
type Identity struct {
	// Issuer is the provider's issuer URL, exactly as in its tokens.
	Issuer string `yaml:"issuer"`
	// CAFile is a PEM file of the provider's certificate authority.
	CAFile string `yaml:"ca_file"`
	// Audience must be in every token's aud.
	Audience string `yaml:"audience"`
	// Algorithms that tokens may be signed with: RS, PS or ES with 256, 384 or
	// 512, or EdDSA. Default [RS256, ES256].
	Algorithms []string `yaml:"algorithms"`
	// ClockSkew that is tolerated. Default 30s, at most 5m.
	ClockSkew Duration `yaml:"clock_skew"`
	// AllowedAZP are the clients whose tokens are taken; empty takes all.
	AllowedAZP []string `yaml:"allowed_azp"`
	// RolesClaim is a claim (dots descend) with a list of "role:connection".
	RolesClaim string `yaml:"roles_claim"`
	// Grants give roles for other claims.
	Grants []Grant `yaml:"grants"`
	// OnBehalfOfClaim names the person an agent acts for (dots descend).
	OnBehalfOfClaim string `yaml:"on_behalf_of_claim"`
	// Login lets people sign in to the approval pages.
	Login *Login `yaml:"login"`
}

// Grant gives a role on connections to tokens whose claim holds a value.
type Grant struct {
	// Claim is a claim's path, such as "realm_access.roles".
	Claim string `yaml:"claim"`
	// Value must equal the claim or be in its list.
	Value string `yaml:"value"`
	// Role is agent, approver or auditor.
	Role string `yaml:"role"`
	// Connections the role is for; "*" is all.
	Connections []string `yaml:"connections"`
}

// Login is the OIDC client of the pages.
type Login struct {
	// ClientID of the authorization code flow with PKCE.
	ClientID string `yaml:"client_id"`
	// ClientSecret if the client is confidential.
	ClientSecret *SecretRef `yaml:"client_secret"`
	// Scopes besides openid.
	Scopes []string `yaml:"scopes"`
	// SessionKey encrypts sessions: 32 bytes in hex, the same for all gateways.
	SessionKey SecretRef `yaml:"session_key"`
}

// Vault is where credentials come from, and maybe masking.token_key.
type Vault struct {
	// Address is the server's URL; https unless it is loopback.
	Address string `yaml:"address"`
	// CAFile is a PEM file of its certificate authority.
	CAFile string `yaml:"ca_file"`
	// Namespace of Vault Enterprise.
	Namespace string `yaml:"namespace"`
	// AppRole is how the gateway logs in.
	AppRole AppRole `yaml:"approle"`
	// Timeout of one request. Default 5s.
	Timeout Duration `yaml:"timeout"`
}

// AppRole is Vault's auth method for machines.
type AppRole struct {
	// Mount of the auth method. Default approle.
	Mount string `yaml:"mount"`
	// RoleID of the role. It is read anew at each login.
	RoleID SecretRef `yaml:"role_id"`
	// SecretID of the role. It is read anew at each login.
	SecretID SecretRef `yaml:"secret_id"`
}

// Store is the write-once store: s3 or dir.
type Store struct {
	// S3 is a bucket with Object Lock.
	S3 *S3 `yaml:"s3"`
	// Dir is a directory, for a laptop.
	Dir *Dir `yaml:"dir"`
	// Retention of every object. Default and, but for dir and loopback
	// endpoints, minimum 6y (45 CFR 164.316(b)(2)(i)).
	Retention Duration `yaml:"retention"`
}

// S3 is a bucket.
type S3 struct {
	// Endpoint of an S3-compatible server; empty is AWS.
	Endpoint string `yaml:"endpoint"`
	// Region of the bucket.
	Region string `yaml:"region"`
	// Bucket with versioning and Object Lock.
	Bucket string `yaml:"bucket"`
	// Prefix of every key.
	Prefix string `yaml:"prefix"`
	// PathStyle addresses the bucket in the path.
	PathStyle bool `yaml:"path_style"`
	// AccessKey is the access key's ID; without it AWS's default chain is used.
	AccessKey *SecretRef `yaml:"access_key"`
	// SecretKey that belongs to access_key.
	SecretKey *SecretRef `yaml:"secret_key"`
	// CAFile is a PEM file of the server's certificate authority.
	CAFile string `yaml:"ca_file"`
}

// Dir is a directory.
type Dir struct {
	// Path of the directory.
	Path string `yaml:"path"`
}

// Evidence is how recordings are signed and sealed.
type Evidence struct {
	// SigningKey is a file made by `chaperone keys signing`.
	SigningKey SecretRef `yaml:"signing_key"`
	// VerifierKeys is the file of public keys that `chaperone evidence verify
	// --config` trusts: this gateway's and those that share the store.
	VerifierKeys string `yaml:"verifier_keys"`
	// Auditors are the age recipients that sealed parts are encrypted to.
	Auditors []string `yaml:"auditors"`
	// Heartbeat between checkpoints of an idle log. Default 1m.
	Heartbeat Duration `yaml:"heartbeat"`
	// Observe is how often the gateway records how far the logs of the others
	// are. Default 5m.
	Observe Duration `yaml:"observe"`
	// Witnesses are servers that speak C2SP tlog-witness, best run by somebody else
	// than the gateways: each cosigns the log if it continues what it cosigned
	// before, at the start, every observe, and at the end. None can hold up or fail
	// a query. At most 8.
	Witnesses []Witness `yaml:"witnesses"`
	// DailyBundles says whether this gateway stores the bundle of each closed
	// day (bundles/2026/11/23.zip) if no other was faster. It needs room for the
	// day's records in the folder for temporary files. Default true.
	DailyBundles bool `yaml:"daily_bundles"`
	// Index is the file of the index that auditors search with, on local disk. It
	// proves nothing and is made again if it is lost; without it, at each start.
	// Each gateway needs its own.
	Index string `yaml:"index"`
	// Forward are the systems that records are forwarded to, such as a SIEM.
	Forward []Forward `yaml:"forward"`
	// ForwardState is the folder on local disk that holds how far each of them has
	// the records, a file each. It has to outlive the process, and each gateway
	// needs its own. Required with forward.
	ForwardState string `yaml:"forward_state"`
}

// Forward is a system that gets the clear part of each record; see forwarding.md.
type Forward struct {
	// Name of it in metrics, logs and the name of its state's file: small letters,
	// digits and "-". Another name is another system, that has nothing yet.
	Name string `yaml:"name"`
	// Type is otlp, syslog, hec or webhook.
	Type string `yaml:"type"`
	// URL of otlp (https://host:4318/v1/logs), hec
	// (https://host:8088/services/collector/event) or webhook, whole.
	URL string `yaml:"url"`
	// Address of syslog over TLS, host:port.
	Address string `yaml:"address"`
	// Secret is the token of hec, the signing key of webhook (whsec_ and base64), or
	// a bearer token of otlp, which may do without. It is read anew for each
	// delivery.
	Secret *SecretRef `yaml:"secret"`
	// TLS to it.
	TLS ForwardTLS `yaml:"tls"`
	// Insecure allows http, and syslog without TLS, to a loopback host.
	Insecure bool `yaml:"insecure"`
	// Scope is instance, the records of this gateway's own instance, or all, those
	// of every gateway that shares the store. Default instance.
	Scope string `yaml:"scope"`
	// Since is the time of the first record, for a system that has nothing yet.
	// Default the start of the gateway that first names it.
	Since Time `yaml:"since"`
	// MaxRecords in one delivery, at most 10000. Default 500.
	MaxRecords int `yaml:"max_records"`
	// MaxBytes of one delivery before it is compressed, at most 16MiB; a larger
	// record goes alone. Default 1MiB.
	MaxBytes Size `yaml:"max_bytes"`
	// Index of hec; without it the token's own.
	Index string `yaml:"index"`
	// SourceType of hec. Default chaperone:ocsf.
	SourceType string `yaml:"source_type"`
}

// ForwardTLS is TLS to a system that records are forwarded to.
type ForwardTLS struct {
	// CAFile is a PEM file of its certificate authority; without it the
	// machine's own are trusted.
	CAFile string `yaml:"ca_file"`
	// CertFile is a PEM file of the gateway's certificate for it, if it asks for
	// one.
	CertFile string `yaml:"cert_file"`
	// KeyFile is a PEM file of that certificate's private key. It must not be
	// readable by others.
	KeyFile string `yaml:"key_file"`
}

// Witness is a server that cosigns the log.
type Witness struct {
	// URL is its submission prefix, without add-checkpoint. https unless its host
	// is loopback.
	URL string `yaml:"url"`
	// Key is its verifier key, a line as `chaperone keys witness` prints it: Ed25519,
	// cosignature/v1.
	Key string `yaml:"key"`
}

// Approvals is how risky statements wait.
type Approvals struct {
	// Key is an age identity made by `chaperone keys age`, the same for all
	// gateways: it opens waiting statements.
	Key SecretRef `yaml:"key"`
	// Expires is how long a request waits. Default 24h.
	Expires Duration `yaml:"expires"`
}

// Masking is what protected data becomes.
type Masking struct {
	// Profile is hipaa-safe-harbor, hipaa-limited-data-set, or custom, which has
	// no class but those of classes. Default hipaa-safe-harbor.
	Profile string `yaml:"profile"`
	// Classes are classes of your own, by the name that columns use. One that the
	// profile has too takes its place.
	Classes map[string]Class `yaml:"classes"`
	// TokenKey keys tokens: at least 32 bytes, the same for all gateways. It may
	// be in Vault: {vault: secret/data/chaperone#token_key}, which the gateway
	// reads once at its start (version 2 of the key-value engine; without data/
	// for version 1).
	TokenKey SecretRef `yaml:"token_key"`
	// MRNPattern is the site's medical record number, an RE2 expression. It is
	// looked for much faster if it begins with fixed text, such as MRN-.
	MRNPattern string `yaml:"mrn_pattern"`
	// Detectors to run on unclassified values: ssn, email, phone, mrn, card, mbi,
	// member, npi, dea, iban, vin, ip, url. Default all but url.
	Detectors []string `yaml:"detectors"`
	// LookupsPerHour of each principal on each connection; 0 allows none.
	// Default 100.
	LookupsPerHour int `yaml:"lookups_per_hour"`
	// SmallCell is the smallest group whose counts and other aggregates are
	// shown; smaller ones are null. 0 shows all. Default 11.
	SmallCell int `yaml:"small_cell"`
}

// Class is what becomes of one kind of protected data.
type Class struct {
	// Mask is redact, constant, null, partial, zip3, year, birth_year, age,
	// age_band, token, date_shift, free_text_scan, expression or cel; see masking.md.
	Mask string `yaml:"mask"`
	// Text that redact (default [redacted]) or constant shows; the constant "0"
	// is zero in a column of numbers.
	Text string `yaml:"text"`
	// First is how many characters at the beginning partial keeps.
	First int `yaml:"first"`
	// Last is how many characters at the end partial keeps. Where fewer than four
	// would be masked, all are.
	Last int `yaml:"last"`
	// Width is how many birth years one age_band holds, at most 45. Default 5.
	Width int `yaml:"width"`
	// Postgres is the SQL of expression for PostgreSQL, with $value for the
	// protected value: "left($value, 2) || '***'".
	Postgres string `yaml:"postgres"`
	// MySQL is the SQL of expression for MySQL and MariaDB: "concat(left($value,
	// 2), '***')".
	MySQL string `yaml:"mysql"`
	// CEL is the expression of cel over the text value, made in the gateway:
	// "value.substring(0, 2) + '***'". Where it fails, the value is redacted.
	CEL string `yaml:"cel"`
	// Days is how far date_shift moves a person's dates at most. Default 365.
	Days int `yaml:"days"`
	// Lookup allows "column = value" joined by AND to see the raw column, within
	// lookups_per_hour. Default false.
	Lookup bool `yaml:"lookup"`
}

// Policy is what may run.
type Policy struct {
	// Builtin rule sets. Default [hipaa].
	Builtin []string `yaml:"builtin"`
	// BulkRows is the most rows of a protected table that a statement may read
	// without approval. Default 1000.
	BulkRows int64 `yaml:"bulk_rows"`
	// LargeRows is the most rows a statement may be expected to return without
	// approval. Default 10000.
	LargeRows int64 `yaml:"large_rows"`
	// MaxCost is the planner's cost above which a statement needs approval, in
	// the planner's own units. Default 5000000.
	MaxCost float64 `yaml:"max_cost"`
	// Rules of your own; the strictest that matches wins.
	Rules []Rule `yaml:"rules"`
}

// Rule is a CEL rule.
type Rule struct {
	// Name shown in decisions: small letters, digits and "-".
	Name string `yaml:"name"`
	// Effect is allow, approve or deny.
	Effect string `yaml:"effect"`
	// When is a CEL expression over statement, principal, connection, request,
	// estimate and now.
	When string `yaml:"when"`
	// Message tells the agent why, in one sentence. Required but for allow.
	Message string `yaml:"message"`
	// Hint tells the agent what to do instead.
	Hint string `yaml:"hint"`
	// Approvals is how many people must agree, for the effect approve. Default 1.
	Approvals int `yaml:"approvals"`
	// Expires is how long a request under this rule waits, for the effect
	// approve; at most, and by default, approvals.expires.
	Expires Duration `yaml:"expires"`
}

// Limits bound requests.
type Limits struct {
	// Body is the largest request body, at most 16MiB. Default 4MiB.
	Body Size `yaml:"body"`
	// Rows is the row_limit of a request that names none. Default 1000.
	Rows int64 `yaml:"rows"`
	// MaxRows is the largest row_limit. Default 100000.
	MaxRows int64 `yaml:"max_rows"`
	// Bytes is the byte_limit of a request that names none. Default 1MiB.
	Bytes Size `yaml:"bytes"`
	// MaxBytes is the largest byte_limit, at most 64MiB: a result is held in
	// memory until it is recorded. Default 16MiB.
	MaxBytes Size `yaml:"max_bytes"`
	// Timeout of a request that names none. Default 30s.
	Timeout Duration `yaml:"timeout"`
	// MaxTimeout is the longest timeout, at most 1h. Default 5m.
	MaxTimeout Duration `yaml:"max_timeout"`
	// LockTimeout bounds the wait for locks in the database. Default 5s.
	LockTimeout Duration `yaml:"lock_timeout"`
	// Concurrency is how many requests are in work at once. Default 256.
	Concurrency int `yaml:"concurrency"`
	// PerPrincipal is how many of them one caller may have. Default 64.
	PerPrincipal int `yaml:"per_principal"`
}

// Connection is one database.
type Connection struct {
	// Description shown to agents.
	Description string `yaml:"description"`
	// Engine is postgres or mysql (MariaDB too).
	Engine string `yaml:"engine"`
	// Host of the database server.
	Host string `yaml:"host"`
	// Port of the database server.
	Port int `yaml:"port"`
	// Database on the server.
	Database string `yaml:"database"`
	// SearchPath of PostgreSQL. Default [public].
	SearchPath []string `yaml:"search_path"`
	// TLS to the database.
	TLS DatabaseTLS `yaml:"tls"`
	// Credentials are minted for each request.
	Credentials Credentials `yaml:"credentials"`
	// MaxSessions open at once. Default 32.
	MaxSessions int `yaml:"max_sessions"`
	// MaskedSchema is the schema (for mysql the database) of the masking views
	// that `chaperone masks apply` made. With it the gateway reads through them,
	// writes nothing, and its users need the role MASKED_SCHEMA_ro only; see
	// masks-in-the-database.md. Default none: the gateway masks by itself.
	MaskedSchema string `yaml:"masked_schema"`
	// Columns gives protected columns their class: "public.patients.ssn: ssn"
	// (for mysql "patients.ssn", or "clinic.patients.ssn" of another database).
	// The class none says that a column is not protected; the class person, that
	// it is not protected and names the person whom the row is about, so that
	// what is counted for one person is no small cell. `chaperone classify`
	// proposes all of them.
	Columns map[string]string `yaml:"columns"`
	// Unclassified is what becomes of a column without class or none in a table
	// that has protected columns: redact or show. Default redact.
	Unclassified string `yaml:"unclassified"`
	// Functions of yours that statements may call, with the digest of their
	// definition: "public.bmi: sha256:…". Whoever lists one has read it: what it
	// reads and calls is not understood. A changed definition is refused.
	// `chaperone policy explain 'SELECT public.bmi(80, 1.8)'` shows the digest.
	// Default none. For postgres only.
	Functions map[string]string `yaml:"functions"`
	// SmallCell of this connection, if not masking.small_cell.
	SmallCell *int `yaml:"small_cell"`
}

// DatabaseTLS is TLS to a database.
type DatabaseTLS struct {
	// Mode is verify-full, or off for a loopback host. Default verify-full.
	Mode string `yaml:"mode"`
	// CAFile is a PEM file of the server's certificate authority.
	CAFile string `yaml:"ca_file"`
	// ServerName if the certificate names another than host.
	ServerName string `yaml:"server_name"`
}

// Credentials are minted by vault, or by the gateway itself (native).
type Credentials struct {
	// Issuer is vault or native.
	Issuer string `yaml:"issuer"`
	// Mount of Vault's database engine. Default database.
	Mount string `yaml:"mount"`
	// ReadRole is Vault's role for reading.
	ReadRole string `yaml:"read_role"`
	// WriteRole is Vault's role for approved writes; without it nothing can be
	// written.
	WriteRole string `yaml:"write_role"`
	// AdminUser creates the users of the issuer native.
	AdminUser string `yaml:"admin_user"`
	// AdminPassword of admin_user.
	AdminPassword *SecretRef `yaml:"admin_password"`
	// ReadGroup is the group role that native users join for reading; empty on
	// a server without roles, where they get SELECT on the database.
	ReadGroup string `yaml:"read_group"`
	// WriteGroup is the group role that native users join for approved writes.
	WriteGroup string `yaml:"write_group"`
	// TTL of a credential; more than the longest timeout. Default 10m.
	TTL Duration `yaml:"ttl"`
}
