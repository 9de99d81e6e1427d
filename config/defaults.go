package config

import (
	"time"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/chaperone-sql/chaperone/policy"
)

func (c *Config) defaults() {
	c.Log.defaults()
	c.Identity.defaults()
	c.Store.defaults()
	c.Evidence.defaults()
	c.Approvals.defaults()
	c.Masking.defaults()
	c.Policy.defaults()
	c.Limits.defaults()
}

func (l *Log) defaults() { *l = Log{Level: "info", Format: "json"} }

func (i *Identity) defaults() {
	i.Algorithms = []string{"RS256", "ES256"}
	i.ClockSkew = Duration(30 * time.Second)
}

func (v *Vault) defaults() { v.Timeout = Duration(5 * time.Second); v.AppRole.defaults() }

func (a *AppRole) defaults() { a.Mount = "approle" }

func (s *Store) defaults() { s.Retention = Duration(6 * Year) }

func (e *Evidence) defaults() {
	e.Heartbeat, e.Observe, e.DailyBundles = Duration(time.Minute), Duration(5*time.Minute), true
}

func (f *Forward) defaults() {
	f.Scope, f.MaxRecords, f.MaxBytes, f.SourceType = forwardInstance, 500, 1<<20, "chaperone:ocsf"
}

func (a *Approvals) defaults() { a.Expires = Duration(24 * time.Hour) }

func (m *Masking) defaults() {
	m.Profile = masking.HIPAASafeHarbor().Name
	m.LookupsPerHour = 100
	m.SmallCell = masking.HIPAASafeHarbor().SmallCell
}

func (p *Policy) defaults() {
	figures := policy.DefaultFigures()
	p.Builtin = []string{"hipaa"}
	p.BulkRows, p.LargeRows, p.MaxCost = figures.BulkRows, figures.LargeRows, figures.MaxCost
}

func (l *Limits) defaults() {
	*l = Limits{
		Body: 4 << 20, Rows: 1000, MaxRows: 100_000, Bytes: 1 << 20, MaxBytes: 16 << 20,
		Timeout: Duration(30 * time.Second), MaxTimeout: Duration(5 * time.Minute), LockTimeout: Duration(5 * time.Second),
		Concurrency: 256, PerPrincipal: 64,
	}
}

func (c *Connection) defaults() {
	c.MaxSessions = 32
	c.Unclassified = unclassifiedRedact
	c.TLS.defaults()
	c.Credentials.defaults()
}

func (t *DatabaseTLS) defaults() { t.Mode = tlsVerify }

func (c *Credentials) defaults() { c.Mount = "database"; c.TTL = Duration(10 * time.Minute) }
