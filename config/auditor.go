package config

// LoadAuditor is Load of an auditor's own file, which needs only the sections
// store and evidence: the store as the auditor's identity reaches it, the public
// keys that the auditor trusts, the recipients of what is sealed, and, for acts of
// the auditor's own, evidence.signing_key. A gateway's file will do too. The result
// can start no gateway.
func LoadAuditor(path string) (*Config, error) { return loadFor(path, false, validator.auditor) }

func (v validator) auditor(c *Config) {
	v.store(c)
	if c.Evidence.SigningKey != (SecretRef{}) {
		v.secret([]string{"evidence", "signing_key"}, c.Evidence.SigningKey)
	}
	v.auditors(c)
}
