package config

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/chaperone-sql/chaperone/internal/loopback"
)

// What evidence.forward may say.
const (
	forwardOTLP    = "otlp"
	forwardSyslog  = "syslog"
	forwardHEC     = "hec"
	forwardWebhook = "webhook"

	forwardInstance = "instance"
	forwardAll      = "all"

	maxForwards       = 16
	maxForwardRecords = 10_000
	maxForwardBytes   = 16 << 20
)

var forwardName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (v validator) forward(c *Config) {
	list := []string{"evidence", "forward"}
	if len(c.Evidence.Forward) > 0 && c.Evidence.ForwardState == "" {
		v.wrong([]string{"evidence", "forward_state"}, "name a folder on local disk; without it nobody knows what was forwarded")
	}
	if len(c.Evidence.Forward) > maxForwards {
		v.wrong(list, "at most %d", maxForwards)
	}
	taken := map[string]bool{}
	for i := range c.Evidence.Forward {
		f := &c.Evidence.Forward[i]
		path := func(key ...string) []string { return append([]string{"evidence", "forward", strconv.Itoa(i)}, key...) }
		if !forwardName.MatchString(f.Name) {
			v.wrong(path("name"), "name it with small letters, digits and -, such as siem")
		} else if taken[f.Name] {
			v.wrong(path("name"), "there are two of this name")
		}
		taken[f.Name] = true
		v.oneOf(path("type"), f.Type, forwardOTLP, forwardSyslog, forwardHEC, forwardWebhook)
		v.oneOf(path("scope"), f.Scope, forwardInstance, forwardAll)
		if f.MaxRecords < 1 || f.MaxRecords > maxForwardRecords {
			v.wrong(path("max_records"), "from 1 to %d", maxForwardRecords)
		}
		if f.MaxBytes < 1 || f.MaxBytes > maxForwardBytes {
			v.wrong(path("max_bytes"), "at most 16MiB")
		}
		if f.Type == forwardSyslog {
			v.forwardAddress(path, f)
		} else {
			v.forwardURL(path, f)
		}
		v.forwardSecret(path, f)
		v.authority(path("tls", "ca_file"), f.TLS.CAFile)
		if f.TLS.CertFile != "" || f.TLS.KeyFile != "" {
			v.pair(path("tls"), f.TLS.CertFile, f.TLS.KeyFile)
		}
	}
}

func (v validator) forwardAddress(path func(...string) []string, f *Forward) {
	if f.URL != "" {
		v.wrong(path("url"), "syslog has an address instead")
	}
	host, port, err := net.SplitHostPort(f.Address)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" || strings.ContainsFunc(host, unprintable) {
		v.wrong(path("address"), "write host:port, such as logs.example.org:6514")
		return
	}
	if f.Insecure && !loopback.Is(host) {
		v.wrong(path("insecure"), "only for a loopback host")
	}
}

func (v validator) forwardURL(path func(...string) []string, f *Forward) {
	if f.Address != "" {
		v.wrong(path("address"), "only syslog has an address; write url")
	}
	v.url(path("url"), f.URL)
	u, err := url.Parse(f.URL)
	switch {
	case err != nil:
	case f.Insecure && !loopback.Is(u.Hostname()):
		v.wrong(path("insecure"), "only for a loopback host")
	case u.Scheme == "http" && loopback.Is(u.Hostname()) && !f.Insecure:
		v.wrong(path("url"), "must be https, or have insecure: true beside it")
	}
}

func (v validator) forwardSecret(path func(...string) []string, f *Forward) {
	switch {
	case f.Secret == nil && (f.Type == forwardHEC || f.Type == forwardWebhook):
		v.wrong(path("secret"), "%s needs one; write {file: PATH} or {env: NAME}", f.Type)
	case f.Secret != nil && f.Type == forwardSyslog:
		v.wrong(path("secret"), "syslog has none; give tls.cert_file and tls.key_file")
	case f.Secret != nil:
		secret, ok := v.secret(path("secret"), *f.Secret)
		if !ok {
			return
		}
		if f.Type == forwardWebhook {
			// The library's own error may repeat what it read.
			key, isKey := strings.CutPrefix(secret.Reveal(), "whsec_")
			if _, err := standardwebhooks.NewWebhook(key); err != nil || !isKey || len(key) < 32 {
				v.wrong(path("secret"), "is no key of Standard Webhooks: whsec_ and at least 24 bytes in base64")
			}
		} else if strings.ContainsFunc(secret.Reveal(), func(r rune) bool { return unprintable(r) || r == ' ' || r > 0x7e }) {
			v.wrong(path("secret"), "is no token")
		}
	}
	if f.Type != forwardHEC && f.Index != "" {
		v.wrong(path("index"), "only for hec")
	}
}
