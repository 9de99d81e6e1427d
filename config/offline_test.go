package config

import (
	"path/filepath"
	"testing"
)

// TestLoadOffline: the example names secrets and certificates that no test
// machine has.
func TestLoadOffline(t *testing.T) {
	example := filepath.Join("..", "deploy", "chaperone.example.yaml")
	if _, err := Load(example); err == nil {
		t.Fatal("the secrets of the example are here?")
	}
	cfg, err := LoadOffline(example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Rules(); err != nil {
		t.Error(err)
	}
	conn := cfg.Connections["clinic"]
	if _, err := conn.Classification(&cfg.Masking); err != nil {
		t.Error(err)
	}
}
