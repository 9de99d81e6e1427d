package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/connectors/mysql"
	"github.com/chaperone-sql/chaperone/connectors/postgres"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/masking/expression"
	"github.com/chaperone-sql/chaperone/policy"
	"github.com/chaperone-sql/chaperone/witness"
)

func (v validator) store(c *Config) {
	s := c.Store
	if (s.S3 == nil) == (s.Dir == nil) {
		v.wrong([]string{"store"}, "give either s3 or dir")
		return
	}
	local := s.Dir != nil
	if s.Dir != nil && s.Dir.Path == "" {
		v.wrong([]string{"store", "dir"}, "name the directory with path")
	}
	if s.S3 != nil {
		local = v.s3(s.S3)
	}
	switch retention := time.Duration(s.Retention); {
	case retention < time.Minute:
		v.wrong([]string{"store", "retention"}, "at least 1m")
	case !local && retention < minRetention:
		v.wrong([]string{"store", "retention"}, "at least 6y (45 CFR 164.316(b)(2)(i)); "+
			"shorter only for dir and loopback endpoints")
	}
}

// s3 reports whether the store is on this machine.
func (v validator) s3(s *S3) (local bool) {
	path := func(key string) []string { return []string{"store", "s3", key} }
	if s.Bucket == "" {
		v.wrong(path("bucket"), "name the bucket; it must have Object Lock")
	}
	if s.Region == "" {
		v.wrong(path("region"), "name the bucket's region, such as us-east-1")
	}
	if s.Endpoint != "" {
		v.url(path("endpoint"), s.Endpoint)
		u, err := url.Parse(s.Endpoint)
		local = err == nil && loopback.Is(u.Hostname())
	}
	if (s.AccessKey == nil) != (s.SecretKey == nil) {
		v.wrong([]string{"store", "s3"}, "access_key and secret_key go together")
	}
	if s.AccessKey != nil {
		v.secret(path("access_key"), *s.AccessKey)
	}
	if s.SecretKey != nil {
		v.secret(path("secret_key"), *s.SecretKey)
	}
	v.authority(path("ca_file"), s.CAFile)
	return local
}

func (v validator) evidence(c *Config) {
	v.secret([]string{"evidence", "signing_key"}, c.Evidence.SigningKey)
	v.positive([]string{"evidence", "heartbeat"}, int64(c.Evidence.Heartbeat))
	v.positive([]string{"evidence", "observe"}, int64(c.Evidence.Observe))
	v.auditors(c)
	v.forward(c)
	if len(c.Evidence.Witnesses) > evidence.MaxWitnesses {
		v.wrong([]string{"evidence", "witnesses"}, "at most %d", evidence.MaxWitnesses)
	}
	for i, w := range c.Evidence.Witnesses {
		if _, err := witness.NewClient(w.URL, w.Key); err != nil {
			v.wrong([]string{"evidence", "witnesses", strconv.Itoa(i)}, "%v", err)
		}
	}
}

// auditors checks who is trusted, and to whom is sealed.
func (v validator) auditors(c *Config) {
	if name := c.Evidence.VerifierKeys; name != "" {
		if _, err := readPlain(name); err != nil && !v.offline {
			v.wrong([]string{"evidence", "verifier_keys"}, "%v", err)
		}
	}
	auditors := []string{"evidence", "auditors"}
	if len(c.Evidence.Auditors) == 0 {
		v.wrong(auditors, "name at least one auditor's age recipient (make one with `chaperone keys age`)")
		return
	}
	var all []age.Recipient
	for i, text := range c.Evidence.Auditors {
		list, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(list) == 0 {
			v.wrong(append(auditors, strconv.Itoa(i)), "is no age recipient; it begins with age1")
			return
		}
		all = append(all, list...)
	}
	// Post-quantum and other recipients cannot be mixed in one file.
	if _, err := age.Encrypt(io.Discard, all...); err != nil {
		v.wrong(auditors, "cannot be used together: %v", err)
	}
}

func (v validator) approvals(c *Config) {
	v.positive([]string{"approvals", "expires"}, int64(c.Approvals.Expires))
	path := []string{"approvals", "key"}
	if key, ok := v.secret(path, c.Approvals.Key); ok {
		// The library's own error may repeat what it read.
		if ids, err := age.ParseIdentities(strings.NewReader(key.Reveal())); err != nil || len(ids) != 1 {
			v.wrong(path, "holds no age identity; make one with `chaperone keys age`")
		}
	}
}

func (v validator) masking(c *Config) {
	p, err := profile(c.Masking.Profile)
	if err != nil {
		v.wrong([]string{"masking", "profile"}, "%v", err)
		p = masking.Custom()
	}
	for _, name := range slices.Sorted(maps.Keys(c.Masking.Classes)) {
		if err := p.Add(c.Masking.Classes[name].class(name)); err != nil {
			v.wrong([]string{"masking", "classes", name}, "%v", err)
		}
		v.expressions(name, c.Masking.Classes[name])
	}
	if c.Masking.SmallCell < 0 {
		v.wrong([]string{"masking", "small_cell"}, "is a number of rows; write 0 to show all")
	}
	v.tokenKey(c)
	if _, err := masking.NewDetectors(masking.DetectorConfig{Names: c.Masking.Detectors}); err != nil {
		v.wrong([]string{"masking", "detectors"}, "%v", err)
	}
	if _, err := masking.NewDetectors(masking.DetectorConfig{MRNPattern: c.Masking.MRNPattern}); err != nil {
		v.wrong([]string{"masking", "mrn_pattern"}, "%v", err)
	}
	if c.Masking.MRNPattern == "" && slices.Contains(c.Masking.Detectors, "mrn") {
		v.wrong([]string{"masking", "detectors"}, "mrn needs mrn_pattern")
	}
	if c.Masking.LookupsPerHour < 0 {
		v.wrong([]string{"masking", "lookups_per_hour"}, "cannot be negative")
	}
}

// expressions has each engine look at its own.
func (v validator) expressions(class string, c Class) {
	for _, e := range []struct {
		key, text string
		parse     func(string) (expression.Node, error)
	}{{"postgres", c.Postgres, postgres.ParseMask}, {"mysql", c.MySQL, mysql.ParseMask}} {
		if e.text == "" {
			continue
		}
		if _, err := e.parse(e.text); err != nil {
			v.wrong([]string{"masking", "classes", class, e.key}, "%v", err)
		}
	}
}

// tokenKey looks at the key, unless it is in Vault: that is for the start.
func (v validator) tokenKey(c *Config) {
	if ref := c.Masking.TokenKey; ref.Vault != "" {
		switch {
		case ref.File != "" || ref.Env != "":
			v.wrong(tokenKey, "give one of file, env and vault")
		case c.Vault == nil:
			v.wrong(tokenKey, "vault needs the section vault")
		}
		return
	}
	if key, ok := v.secret(tokenKey, c.Masking.TokenKey); ok {
		if _, err := masking.NewTokenizer([]byte(key.Reveal())); err != nil {
			v.wrong(tokenKey, "%v (openssl rand -hex 32)", err)
		}
	}
}

func (v validator) policy(c *Config) {
	v.positive([]string{"policy", "bulk_rows"}, c.Policy.BulkRows)
	v.positive([]string{"policy", "large_rows"}, c.Policy.LargeRows)
	if c.Policy.MaxCost <= 0 {
		v.wrong([]string{"policy", "max_cost"}, "must be more than nothing")
	}
	builtin, err := c.builtin()
	if err != nil {
		v.wrong([]string{"policy", "builtin"}, "%v", err)
	}
	for i, r := range c.Policy.Rules {
		if r.Expires > c.Approvals.Expires {
			v.wrong([]string{"policy", "rules", strconv.Itoa(i), "expires"}, "at most approvals.expires")
		}
	}
	rules, err := c.Rules()
	if err != nil {
		return // said above
	}
	if len(rules) == 0 {
		v.wrong([]string{"policy"}, "there is no rule, so every statement would be denied")
	}
	_, err = policy.New(rules)
	if err == nil {
		return
	}
	var wrong *policy.RuleError
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		v.wrong([]string{"policy"}, "%v", err)
		return
	}
	for _, one := range joined.Unwrap() {
		switch {
		case !errors.As(one, &wrong), wrong.Index < len(builtin):
			v.wrong([]string{"policy", "builtin"}, "%v", one)
		case wrong.InWhen:
			v.wrong([]string{"policy", "rules", strconv.Itoa(wrong.Index - len(builtin)), "when"}, "%s", wrong.Problem)
		default:
			v.wrong([]string{"policy", "rules", strconv.Itoa(wrong.Index - len(builtin))}, "%s", wrong.Problem)
		}
	}
}

func (v validator) limits(c *Config) {
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
	v.positive([]string{"limits", "lock_timeout"}, int64(l.LockTimeout))
	v.positive([]string{"limits", "concurrency"}, int64(l.Concurrency))
	v.positive([]string{"limits", "per_principal"}, int64(l.PerPrincipal))
	if l.MaxBytes > 64<<20 {
		v.wrong([]string{"limits", "max_bytes"}, "at most 64MiB: a result is held in memory until it is recorded")
	}
	if l.Body > 16<<20 {
		v.wrong([]string{"limits", "body"}, "at most 16MiB")
	}
	if time.Duration(l.MaxTimeout) > time.Hour {
		v.wrong([]string{"limits", "max_timeout"}, "at most 1h")
	}
}

func (v validator) connection(c *Config, name string) {
	conn := c.Connections[name]
	path := func(keys ...string) []string { return append([]string{"connections", name}, keys...) }
	if !connectionName.MatchString(name) {
		v.wrong(path(), "name connections with small letters, digits, - and _")
	}
	v.oneOf(path("engine"), conn.Engine, enginePostgres, engineMySQL)
	if conn.Host == "" || strings.ContainsAny(conn.Host, "/@ ") {
		v.wrong(path("host"), "write a host name or an IP address")
	}
	if conn.Port < 1 || conn.Port > 65535 {
		v.wrong(path("port"), "write a port from 1 to 65535")
	}
	if conn.Database == "" {
		v.wrong(path("database"), "name the database")
	}
	if conn.Engine == engineMySQL && conn.SearchPath != nil {
		v.wrong(path("search_path"), "is for postgres")
	}
	if conn.Engine == enginePostgres && (len(conn.SearchPath) == 0 || slices.Contains(conn.SearchPath, "")) {
		v.wrong(path("search_path"), "name at least one schema, such as [public]")
	}
	if m := conn.MaskedSchema; m != "" && (!MaskedSchemaName(m) || m == conn.Database || slices.Contains(conn.SearchPath, m)) {
		v.wrong(path("masked_schema"), "write a name of its own, of at most 50 small letters, digits and _, such as chaperone_masked")
	}
	for function, digest := range conn.Functions {
		if conn.Engine != enginePostgres || !functionName.MatchString(function) || !functionDigest.MatchString(digest) {
			v.wrong(path("functions", function), `write schema.name: sha256:… (64 hexadecimal digits), for postgres only; `+
				"`chaperone policy explain 'SELECT schema.name(…)'` shows the digest")
		}
	}
	v.oneOf(path("tls", "mode"), conn.TLS.Mode, tlsVerify, tlsOff)
	if conn.TLS.Mode == tlsOff && !loopback.Is(conn.Host) {
		v.wrong(path("tls", "mode"), "off is for loopback hosts; use verify-full")
	}
	v.authority(path("tls", "ca_file"), conn.TLS.CAFile)
	v.positive(path("max_sessions"), int64(conn.MaxSessions))
	if conn.SmallCell != nil && *conn.SmallCell < 0 {
		v.wrong(path("small_cell"), "is a number of rows; write 0 to show all")
	}
	v.credentials(c, conn, path)
	v.columns(c, conn, path)
	v.oneOf(path("unclassified"), conn.Unclassified, unclassifiedRedact, unclassifiedShow)
}

func (v validator) columns(c *Config, conn Connection, path func(...string) []string) {
	profile, err := c.Masking.NewProfile()
	if err != nil {
		return // said at masking
	}
	first := map[masking.ColumnRef]string{}
	for _, name := range slices.Sorted(maps.Keys(conn.Columns)) {
		class := conn.Columns[name]
		ref, err := conn.column(name)
		switch other, twice := first[ref]; {
		case err != nil:
			v.wrong(path("columns", name), "%v", err)
		case twice:
			v.wrong(path("columns", name), "is the same column as %s; leave one out", other)
		}
		first[ref] = name
		if m := profile.Classes[class].Mask; m.Kind == masking.Expression && (conn.Engine == enginePostgres && m.Postgres == "" || conn.Engine == engineMySQL && m.MySQL == "") {
			v.wrong(path("columns", name), "the class %s has no expression for %s", class, conn.Engine)
		}
		if _, ok := profile.Classes[class]; !ok && class != masking.None && class != masking.Person && !profile.Clear[class] {
			v.wrong(path("columns", name), "there is no class %q; there are %s", class,
				strings.Join(append(profile.ClassNames(), masking.Person, masking.None), ", "))
		}
	}
}

func (v validator) credentials(c *Config, conn Connection, path func(...string) []string) {
	cr := conn.Credentials
	v.oneOf(path("credentials", "issuer"), cr.Issuer, issuerVault, issuerNative)
	switch cr.Issuer {
	case issuerVault:
		if c.Vault == nil {
			v.wrong(path("credentials", "issuer"), "vault needs the section vault")
		}
		v.name(path("credentials", "mount"), cr.Mount)
		v.name(path("credentials", "read_role"), cr.ReadRole)
		if cr.WriteRole != "" {
			v.name(path("credentials", "write_role"), cr.WriteRole)
		}
		if cr.AdminUser != "" || cr.AdminPassword != nil || cr.ReadGroup != "" || cr.WriteGroup != "" {
			v.wrong(path("credentials"), "admin_user, admin_password, read_group and write_group are for the issuer native")
		}
	case issuerNative:
		if cr.ReadRole != "" || cr.WriteRole != "" {
			v.wrong(path("credentials"), "read_role and write_role are for the issuer vault; use read_group and write_group")
		}
		if cr.AdminUser == "" || cr.AdminPassword == nil {
			v.wrong(path("credentials"), "native needs admin_user and admin_password")
		} else {
			v.secret(path("credentials", "admin_password"), *cr.AdminPassword)
		}
	}
	if cr.TTL <= c.Limits.MaxTimeout {
		v.wrong(path("credentials", "ttl"), "must be longer than limits.max_timeout")
	}
}

// readPlain reads a small ordinary file that is no secret.
func readPlain(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no ordinary file of at most 1 MiB", name)
	}
	return os.ReadFile(name) //nolint:gosec // the operator's own path
}
