package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
)

// Year is 365.25 days, so that six of them are never short of six years.
const Year = 8766 * time.Hour

// maxSecret bounds a secret's file in bytes.
const maxSecret = 64 << 10

// Duration is a time span: "30s", "1h30m", "24h", or "6y" (365.25 days each).
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	wrong := errors.New("is no duration; write 30s, 24h or 6y")
	if n, ok := strings.CutSuffix(string(text), "y"); ok {
		years, err := strconv.ParseUint(n, 10, 7)
		if err != nil {
			return wrong
		}
		*d = Duration(time.Duration(years) * Year) //nolint:gosec // at most 127 years
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return wrong
	}
	*d = Duration(v)
	return nil
}

// Time is a moment: "2026-11-23", midnight in UTC, or "2026-11-23T10:00:00Z".
type Time struct{ time.Time }

// UnmarshalText reads a time.
func (t *Time) UnmarshalText(text []byte) (err error) {
	if t.Time, err = time.Parse(time.DateOnly, string(text)); err == nil {
		return nil
	}
	if t.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return errors.New("is no time; write 2026-11-23 or 2026-11-23T10:00:00Z")
	}
	return nil
}

// Size is a number of bytes: "65536", "64KiB", "4MiB" or "1GiB".
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	number, factor := string(text), int64(1)
	for suffix, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(number, suffix); ok {
			number, factor = strings.TrimSpace(n), f
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return errors.New("is no size; write a number of bytes, or 64KiB, 4MiB")
	}
	*s = Size(n * factor)
	return nil
}

// SecretRef says where a secret is: a file that others cannot read, or an
// environment variable.
type SecretRef struct {
	// File is a path. The file must not be readable by others, nor writable by
	// its group.
	File string `yaml:"file"`
	// Env is a variable's name.
	Env string `yaml:"env"`
	// Vault is a path of Vault's API and a field there, PATH#FIELD, for
	// masking.token_key alone: "secret/data/chaperone#token_key" of version 2 of
	// the key-value engine, "secret/chaperone#token_key" of version 1.
	Vault string `yaml:"vault"`
}

// InVault is the path and the field of a secret that is in Vault.
func (r SecretRef) InVault() (path, field string, ok bool) { return strings.Cut(r.Vault, "#") }

var (
	envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
	// vaultField is PATH#FIELD.
	vaultField = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_.-]+)+#[A-Za-z0-9_.-]+$`)
)

// Resolve reads the secret. White space around it is not part of it.
func (r SecretRef) Resolve() (masking.Secret, error) {
	switch {
	case r.Vault != "":
		return "", errors.New("the secret is in Vault, which this does not read")
	case r.File != "" && r.Env != "":
		return "", errors.New("give either file or env, not both")
	case r.File != "":
		return readSecret(r.File)
	case r.Env != "":
		return notEmpty(os.Getenv(r.Env), "environment variable "+r.Env)
	}
	return "", errors.New("no secret given; write {file: PATH} or {env: NAME}")
}

// readSecret looks at the very file it reads, and only at ordinary ones.
func readSecret(path string) (masking.Secret, error) {
	if info, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("reading secret: %w", err)
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return "", fmt.Errorf("%s is no ordinary file", path)
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return "", fmt.Errorf("reading secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("reading secret: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no ordinary file", path)
	case info.Mode().Perm()&0o027 != 0:
		return "", fmt.Errorf("%s can be read by others or changed by its group; chmod 600 it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("reading secret: %w", err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("%s is larger than any secret", path)
	}
	return notEmpty(string(text), path)
}

func notEmpty(text, where string) (masking.Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fmt.Errorf("%s is empty or not set", where)
	}
	return masking.Secret(text), nil
}
