package config

// LoadOffline is Load for a machine that has neither the secrets nor the
// certificates that the file refers to: for trying policy and masking in CI. The
// result can start nothing.
func LoadOffline(path string) (*Config, error) { return load(path, true) }
