package config

import (
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

var (
	connectionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	instanceName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)
)

// defaults fills in what the file leaves out.
func (c *Config) defaults() {
	set(&c.Log.Level, "info")
	set(&c.Log.Format, "json")
	set(&c.Identity.ClockSkew, Duration(30*time.Second))
	set(&c.Store.Retention, Duration(6*year))
	set(&c.Evidence.Heartbeat, Duration(time.Minute))
	set(&c.Approvals.Expires, Duration(24*time.Hour))
	set(&c.Masking.Profile, "hipaa-safe-harbor")
	set(&c.Masking.LookupsPerHour, 100)
	set(&c.Limits.Body, 4<<20)
	set(&c.Limits.Rows, 1000)
	set(&c.Limits.MaxRows, 100_000)
	set(&c.Limits.Bytes, 1<<20)
	set(&c.Limits.MaxBytes, 16<<20)
	set(&c.Limits.Timeout, Duration(30*time.Second))
	set(&c.Limits.MaxTimeout, Duration(5*time.Minute))
	set(&c.Limits.LockTimeout, Duration(5*time.Second))
	set(&c.Limits.Concurrency, 256)
	set(&c.Limits.PerPrincipal, 64)
	figures := policy.DefaultFigures()
	set(&c.Policy.BulkRows, figures.BulkRows)
	set(&c.Policy.LargeRows, figures.LargeRows)
	set(&c.Policy.MaxCost, figures.MaxCost)
	if c.Identity.Algorithms == nil {
		c.Identity.Algorithms = []string{"RS256", "ES256"}
	}
	if c.Policy.Builtin == nil {
		c.Policy.Builtin = []string{"hipaa"}
	}
	if c.Vault != nil {
		set(&c.Vault.AppRole.Mount, "approle")
		set(&c.Vault.Timeout, Duration(5*time.Second))
	}
	for name, conn := range c.Connections {
		set(&conn.TLS.Mode, "verify-full")
		set(&conn.MaxSessions, 32)
		set(&conn.Credentials.Mount, "database")
		set(&conn.Credentials.TTL, Duration(10*time.Minute))
		if conn.Engine == "postgres" && conn.SearchPath == nil {
			conn.SearchPath = []string{"public"}
		}
		c.Connections[name] = conn
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (v *validator) config(c *Config) {
	if !instanceName.MatchString(c.Instance) {
		v.wrong([]string{"instance"}, "name this gateway with small letters, digits and -, such as gateway-1")
	}
	v.listener(c)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		v.wrong([]string{"log", "level"}, "is none of debug, info, warn, error")
	}
	if c.Log.Format != "json" && c.Log.Format != "text" {
		v.wrong([]string{"log", "format"}, "is neither json nor text")
	}
	v.identity(c)
	if c.Vault != nil {
		v.url([]string{"vault", "address"}, c.Vault.Address)
		v.secret([]string{"vault", "approle", "role_id"}, c.Vault.AppRole.RoleID)
		v.secret([]string{"vault", "approle", "secret_id"}, c.Vault.AppRole.SecretID)
		v.file([]string{"vault", "ca_file"}, c.Vault.CAFile)
	}
	v.store(c)
	v.secret([]string{"evidence", "signing_key"}, c.Evidence.SigningKey)
	if len(c.Evidence.Auditors) == 0 {
		v.wrong([]string{"evidence", "auditors"}, "name at least one auditor's age recipient (make one with `chaperone keys age`)")
	}
	for i, a := range c.Evidence.Auditors {
		if _, err := age.ParseRecipients(strings.NewReader(a)); err != nil {
			v.wrong([]string{"evidence", "auditors", strconv.Itoa(i)}, "is no age recipient; it begins with age1")
		}
	}
	v.file([]string{"evidence", "verifier_keys"}, c.Evidence.VerifierKeys)
	v.secret([]string{"approvals", "key"}, c.Approvals.Key)
	v.masking(c)
	if _, err := c.Rules(); err != nil {
		v.wrong([]string{"policy"}, "%v", err)
	} else if _, err := policy.New(must(c.Rules())); err != nil {
		v.wrong([]string{"policy", "rules"}, "%v", err)
	}
	v.limits(c)
	if len(c.Connections) == 0 {
		v.wrong([]string{"connections"}, "there is no connection")
	}
	for name := range c.Connections {
		v.connection(c, name)
	}
}

func must[T any](value T, _ error) T { return value }

func (v *validator) listener(c *Config) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		v.wrong([]string{"listen"}, "write host:port, such as 127.0.0.1:8080")
		return
	}
	hasCert := c.TLS.CertFile != "" || c.TLS.KeyFile != ""
	v.file([]string{"tls", "cert_file"}, c.TLS.CertFile)
	v.file([]string{"tls", "key_file"}, c.TLS.KeyFile)
	if hasCert && (c.TLS.CertFile == "" || c.TLS.KeyFile == "") {
		v.wrong([]string{"tls"}, "cert_file and key_file go together")
	}
	if !hasCert && !loopback(host) && !c.TLS.TerminatedByProxy {
		v.wrong([]string{"listen"}, "without tls only a loopback address; give tls.cert_file and tls.key_file, "+
			"or tls.terminated_by_proxy if a proxy in front speaks TLS")
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Host == "" || strings.HasSuffix(c.PublicURL, "/") || u.RawQuery != "" || u.User != nil:
		v.wrong([]string{"public_url"}, "write the gateway's URL without a trailing slash, such as https://chaperone.example.org")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		v.wrong([]string{"public_url"}, "must be https unless its host is loopback")
	}
}

func (v *validator) identity(c *Config) {
	v.url([]string{"identity", "issuer"}, c.Identity.Issuer)
	v.file([]string{"identity", "ca_file"}, c.Identity.CAFile)
	if c.Identity.Audience == "" {
		v.wrong([]string{"identity", "audience"}, "name the audience that tokens must be for")
	}
	for i, a := range c.Identity.Algorithms {
		if !slices.Contains([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}, a) {
			v.wrong([]string{"identity", "algorithms", strconv.Itoa(i)}, "%q is no asymmetric signature algorithm", a)
		}
	}
	if time.Duration(c.Identity.ClockSkew) > 5*time.Minute {
		v.wrong([]string{"identity", "clock_skew"}, "at most 5m")
	}
	if c.Identity.RolesClaim == "" && len(c.Identity.Grants) == 0 {
		v.wrong([]string{"identity"}, "give roles_claim or grants, or nobody has a role")
	}
	for i, g := range c.Identity.Grants {
		path := []string{"identity", "grants", strconv.Itoa(i)}
		if g.Claim == "" || g.Value == "" || len(g.Connections) == 0 {
			v.wrong(path, "needs claim, value and connections")
		}
		if !slices.Contains([]string{"agent", "approver", "auditor"}, g.Role) {
			v.wrong(path, "role %q is none of agent, approver, auditor", g.Role)
		}
		for _, name := range g.Connections {
			if _, ok := c.Connections[name]; !ok && name != "*" {
				v.wrong(path, "there is no connection %q", name)
			}
		}
	}
	if l := c.Identity.Login; l != nil {
		if l.ClientID == "" {
			v.wrong([]string{"identity", "login", "client_id"}, "name the OIDC client of the pages")
		}
		if l.ClientSecret != nil {
			v.secret([]string{"identity", "login", "client_secret"}, *l.ClientSecret)
		}
		if key, ok := v.secret([]string{"identity", "login", "session_key"}, l.SessionKey); ok {
			if b, err := hex.DecodeString(key.Reveal()); err != nil || len(b) != 32 {
				v.wrong([]string{"identity", "login", "session_key"}, "must be 32 bytes in hex (openssl rand -hex 32)")
			}
		}
	}
}

func (v *validator) store(c *Config) {
	s := c.Store
	local := s.Dir != nil
	switch {
	case (s.S3 == nil) == (s.Dir == nil):
		v.wrong([]string{"store"}, "give either s3 or dir")
		return
	case s.Dir != nil && s.Dir.Path == "":
		v.wrong([]string{"store", "dir", "path"}, "name the directory")
	case s.S3 != nil:
		if s.S3.Bucket == "" || s.S3.Region == "" {
			v.wrong([]string{"store", "s3"}, "needs bucket and region")
		}
		if s.S3.Endpoint != "" {
			v.url([]string{"store", "s3", "endpoint"}, s.S3.Endpoint)
			if u, err := url.Parse(s.S3.Endpoint); err == nil {
				local = loopback(u.Hostname())
			}
		}
		if (s.S3.AccessKey == nil) != (s.S3.SecretKey == nil) {
			v.wrong([]string{"store", "s3"}, "access_key and secret_key go together")
		}
		if s.S3.AccessKey != nil && s.S3.SecretKey != nil {
			v.secret([]string{"store", "s3", "access_key"}, *s.S3.AccessKey)
			v.secret([]string{"store", "s3", "secret_key"}, *s.S3.SecretKey)
		}
		v.file([]string{"store", "s3", "ca_file"}, s.S3.CAFile)
	}
	if !local && time.Duration(s.Retention) < 6*year {
		v.wrong([]string{"store", "retention"}, "at least 6y (45 CFR 164.316(b)(2)(i))")
	}
	if time.Duration(s.Retention) < time.Minute {
		v.wrong([]string{"store", "retention"}, "at least 1m")
	}
}

func (v *validator) masking(c *Config) {
	if c.Masking.Profile != "hipaa-safe-harbor" {
		v.wrong([]string{"masking", "profile"}, "there is the profile hipaa-safe-harbor")
	}
	if key, ok := v.secret([]string{"masking", "token_key"}, c.Masking.TokenKey); ok && len(key.Reveal()) < 32 {
		v.wrong([]string{"masking", "token_key"}, "must have at least 32 bytes (openssl rand -hex 32)")
	}
	_, err := masking.NewDetectors(masking.DetectorConfig{Names: c.Masking.Detectors, MRNPattern: c.Masking.MRNPattern})
	if err != nil {
		v.wrong([]string{"masking"}, "%v", err)
	}
	if c.Masking.LookupsPerHour < 0 {
		v.wrong([]string{"masking", "lookups_per_hour"}, "cannot be negative")
	}
}

func (v *validator) limits(c *Config) {
	l := c.Limits
	for _, pair := range []struct {
		name     string
		def, max int64
	}{
		{"rows", l.Rows, l.MaxRows}, {"bytes", int64(l.Bytes), int64(l.MaxBytes)},
		{"timeout", int64(l.Timeout), int64(l.MaxTimeout)},
	} {
		if pair.def < 1 || pair.def > pair.max {
			v.wrong([]string{"limits", pair.name}, "must be at least 1 and at most max_%s", pair.name)
		}
	}
	if l.MaxBytes > 64<<20 {
		v.wrong([]string{"limits", "max_bytes"}, "at most 64MiB: a result is held in memory until it is recorded")
	}
	if l.Body > 16<<20 {
		v.wrong([]string{"limits", "body"}, "at most 16MiB")
	}
	if l.Concurrency < 1 || l.PerPrincipal < 1 {
		v.wrong([]string{"limits"}, "concurrency and per_principal must be positive")
	}
	if time.Duration(l.MaxTimeout) > time.Hour {
		v.wrong([]string{"limits", "max_timeout"}, "at most 1h")
	}
}

func (v *validator) connection(c *Config, name string) {
	conn := c.Connections[name]
	path := func(keys ...string) []string { return append([]string{"connections", name}, keys...) }
	if !connectionName.MatchString(name) {
		v.wrong(path(), "name connections with small letters, digits, - and _")
	}
	if conn.Engine != "postgres" && conn.Engine != "mysql" {
		v.wrong(path("engine"), "is neither postgres nor mysql")
	}
	if conn.Host == "" || conn.Port < 1 || conn.Port > 65535 || conn.Database == "" {
		v.wrong(path(), "needs host, port and database")
	}
	switch conn.TLS.Mode {
	case "verify-full":
	case "off":
		if !loopback(conn.Host) {
			v.wrong(path("tls", "mode"), "off is for loopback hosts; use verify-full")
		}
	default:
		v.wrong(path("tls", "mode"), "is neither verify-full nor off")
	}
	v.file(path("tls", "ca_file"), conn.TLS.CAFile)
	if conn.MaxSessions < 1 {
		v.wrong(path("max_sessions"), "must be positive")
	}
	v.credentials(c, conn, path)
	if _, err := conn.Classification(c.Masking.Profile); err != nil {
		v.wrong(path("columns"), "%v", err)
	}
}

func (v *validator) credentials(c *Config, conn Connection, path func(...string) []string) {
	switch cr := conn.Credentials; cr.Issuer {
	case "vault":
		if c.Vault == nil {
			v.wrong(path("credentials", "issuer"), "vault needs the section vault")
		}
		if cr.ReadRole == "" {
			v.wrong(path("credentials", "read_role"), "name Vault's role for reading")
		}
		if cr.AdminUser != "" || cr.AdminPassword != nil {
			v.wrong(path("credentials"), "admin_user and admin_password are for the issuer native")
		}
	case "native":
		if cr.AdminUser == "" || cr.AdminPassword == nil {
			v.wrong(path("credentials"), "native needs admin_user and admin_password")
			return
		}
		v.secret(path("credentials", "admin_password"), *cr.AdminPassword)
	default:
		v.wrong(path("credentials", "issuer"), "is neither vault nor native")
	}
	if conn.Credentials.TTL <= c.Limits.MaxTimeout {
		v.wrong(path("credentials", "ttl"), "must be longer than limits.max_timeout")
	}
}

func (v *validator) url(path []string, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		v.wrong(path, "write a URL without user or password")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		v.wrong(path, "must be https unless its host is loopback")
	}
}

func (v *validator) secret(path []string, ref SecretRef) (masking.Secret, bool) {
	secret, err := ref.Resolve()
	if err != nil {
		v.wrong(path, "%v", err)
		return "", false
	}
	return secret, true
}

func (v *validator) file(path []string, name string) {
	if name == "" {
		return
	}
	if _, err := os.Stat(name); err != nil {
		v.wrong(path, "%v", err)
	}
}

// loopback reports whether a host is this machine's own.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
