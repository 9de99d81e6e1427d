package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/internal/loopback"
	"github.com/chaperone-sql/chaperone/masking"
)

// What a configuration may say.
const (
	enginePostgres = "postgres"
	engineMySQL    = "mysql"
	tlsVerify      = "verify-full"
	tlsOff         = "off"
	issuerVault    = "vault"
	issuerNative   = "native"

	unclassifiedRedact = "redact"
	unclassifiedShow   = "show"

	// minRetention of evidence (45 CFR 164.316(b)(2)(i): six years).
	minRetention = 6 * Year
	maxSkew      = 5 * time.Minute
)

var (
	functionName   = regexp.MustCompile(`^[^.]+\.[^.]+$`)
	functionDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	connectionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	// algorithm is an asymmetric signature of RFC 7518, section 3.1, or RFC 8037.
	algorithm = regexp.MustCompile(`^(([RPE]S)(256|384|512)|EdDSA)$`)
	// instanceName is within what evidence takes as the name of a writer.
	instanceName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)
)

// validator says what is wrong with values that could be read.
type validator struct{ *problems }

func (v validator) config(c *Config) {
	if !instanceName.MatchString(c.Instance) || c.Instance == "writers" || c.Instance == "links" || c.Instance == "holds" {
		v.wrong([]string{"instance"}, "name this gateway with small letters, digits and -, such as gateway-1")
	}
	v.listener(c)
	v.oneOf([]string{"log", "level"}, c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf([]string{"log", "format"}, c.Log.Format, "json", "text")
	v.identity(c)
	v.login(c)
	if c.Vault != nil {
		v.url([]string{"vault", "address"}, c.Vault.Address)
		v.secret([]string{"vault", "approle", "role_id"}, c.Vault.AppRole.RoleID)
		v.secret([]string{"vault", "approle", "secret_id"}, c.Vault.AppRole.SecretID)
		v.name([]string{"vault", "approle", "mount"}, c.Vault.AppRole.Mount)
		v.authority([]string{"vault", "ca_file"}, c.Vault.CAFile)
		v.positive([]string{"vault", "timeout"}, int64(c.Vault.Timeout))
	}
	v.store(c)
	v.evidence(c)
	v.approvals(c)
	v.masking(c)
	v.policy(c)
	v.limits(c)
	if len(c.Connections) == 0 {
		v.wrong([]string{"connections"}, "there is no connection; describe at least one database")
	}
	for name, conn := range c.Connections {
		if conn.Engine == enginePostgres && conn.SearchPath == nil {
			conn.SearchPath = []string{"public"}
			c.Connections[name] = conn
		}
		v.connection(c, name)
	}
}

func (v validator) listener(c *Config) {
	host, port, err := net.SplitHostPort(c.Listen)
	if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
		v.wrong([]string{"listen"}, "write host:port, such as 127.0.0.1:8080")
		return
	}
	hasCert := c.TLS.CertFile != "" || c.TLS.KeyFile != ""
	if hasCert {
		v.certificate(c.TLS)
	}
	switch {
	case hasCert && c.TLS.TerminatedByProxy:
		v.wrong([]string{"tls", "terminated_by_proxy"}, "leave it out where the gateway has a certificate itself")
	case !hasCert && !c.TLS.TerminatedByProxy && !loopback.Is(host):
		v.wrong([]string{"listen"}, "without tls only a loopback address; give tls.cert_file and tls.key_file, "+
			"or tls.terminated_by_proxy if a proxy in front speaks TLS")
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Host == "" || strings.HasSuffix(c.PublicURL, "/") || u.RawQuery != "" || u.Fragment != "",
		u.User != nil:
		v.wrong([]string{"public_url"}, "write the gateway's URL without a trailing slash, such as https://chaperone.example.org")
	case u.Scheme == "https":
	case c.TLS.TerminatedByProxy:
		v.wrong([]string{"public_url"}, "must be https where a proxy speaks TLS")
	case u.Scheme != "http" || !loopback.Is(u.Hostname()):
		v.wrong([]string{"public_url"}, "must be https unless its host is loopback")
	}
}

func (v validator) certificate(t TLS) { v.pair([]string{"tls"}, t.CertFile, t.KeyFile) }

// pair checks a certificate and its key; path is the section that names them.
func (v validator) pair(path []string, cert, key string) {
	at := func(name string) []string { return append(path[:len(path):len(path)], name) }
	if cert == "" || key == "" {
		v.wrong(path, "cert_file and key_file go together")
		return
	}
	if v.offline {
		return
	}
	if _, err := os.Stat(cert); err != nil {
		v.wrong(at("cert_file"), "%v", err)
		return
	}
	if _, ok := v.secret(at("key_file"), SecretRef{File: key}); !ok {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		v.wrong(path, "the certificate cannot be used: %v", err)
	}
}

func (v validator) identity(c *Config) {
	id := []string{"identity"}
	v.url(append(id, "issuer"), c.Identity.Issuer)
	v.authority(append(id, "ca_file"), c.Identity.CAFile)
	if c.Identity.Audience == "" {
		v.wrong(append(id, "audience"), "name the audience that tokens must be for")
	}
	if len(c.Identity.Algorithms) == 0 {
		v.wrong(append(id, "algorithms"), "name at least one, such as RS256")
	}
	for i, a := range c.Identity.Algorithms {
		if !algorithm.MatchString(a) {
			v.wrong(append(id, "algorithms", strconv.Itoa(i)),
				"%q is no asymmetric signature algorithm; write RS256, ES256, PS256 or EdDSA", a)
		}
	}
	if time.Duration(c.Identity.ClockSkew) > maxSkew {
		v.wrong(append(id, "clock_skew"), "at most 5m")
	}
	if c.Identity.RolesClaim == "" && len(c.Identity.Grants) == 0 {
		v.wrong(id, "give roles_claim or grants, or nobody has a role")
	}
	for i, g := range c.Identity.Grants {
		path := append(id, "grants", strconv.Itoa(i))
		if g.Claim == "" || g.Value == "" || len(g.Connections) == 0 {
			v.wrong(path, "needs claim, value and connections")
		}
		v.oneOf(append(path, "role"), g.Role, "agent", "approver", "auditor")
		for k, name := range g.Connections {
			if _, ok := c.Connections[name]; !ok && name != "*" {
				v.wrong(append(path, "connections", strconv.Itoa(k)), "there is no connection %q", name)
			}
		}
	}
}

func (v validator) login(c *Config) {
	l := c.Identity.Login
	if l == nil {
		return
	}
	path := func(key string) []string { return []string{"identity", "login", key} }
	if l.ClientID == "" {
		v.wrong(path("client_id"), "name the OIDC client of the pages")
	}
	if l.ClientSecret != nil {
		v.secret(path("client_secret"), *l.ClientSecret)
	}
	if key, ok := v.secret(path("session_key"), l.SessionKey); ok {
		if b, err := hex.DecodeString(key.Reveal()); err != nil || len(b) != 32 {
			v.wrong(path("session_key"), "must be 32 bytes in hex (openssl rand -hex 32)")
		}
	}
}

func (v validator) oneOf(path []string, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.wrong(path, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
}

func (v validator) positive(path []string, n int64) {
	if n <= 0 {
		v.wrong(path, "must be more than nothing")
	}
}

// name checks a mount or role that becomes a part of a URL's path.
func (v validator) name(path []string, text string) {
	if text == "" {
		v.wrong(path, "is missing; write its name")
	} else if strings.Trim(text, "/") != text || strings.Contains(text, "..") || strings.ContainsFunc(text, func(r rune) bool {
		return unprintable(r) || r == ' ' || r == '?' || r == '#' || r == '%'
	}) {
		v.wrong(path, "is no name; use letters, digits, -, _ and / between")
	}
}

func (v validator) url(path []string, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.wrong(path, "write a URL such as https://host.example.org, without user or password")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Hostname())):
		v.wrong(path, "must be https unless its host is loopback")
	}
}

func (v validator) secret(path []string, ref SecretRef) (masking.Secret, bool) {
	if v.offline && (ref.File == "") != (ref.Env == "") {
		return "", false
	}
	secret, err := ref.Resolve()
	if err != nil {
		v.wrong(path, "%v", err)
		return "", false
	}
	return secret, true
}

// authority checks an optional file of certificates.
func (v validator) authority(path []string, name string) {
	if name == "" || v.offline {
		return
	}
	pem, err := readPlain(name)
	if err != nil {
		v.wrong(path, "%v", err)
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		v.wrong(path, "%s holds no PEM certificate", name)
	}
}
