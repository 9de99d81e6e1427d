package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-sql/chaperone/masking"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Duration is a time span such as "30s", "24h" or "6y" (365.25 days each).
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	text := scalar(node)
	if n, ok := strings.CutSuffix(text, "y"); ok {
		years, err := strconv.ParseUint(n, 10, 8)
		if err != nil {
			return misread(node, "%q is no duration; write 30s, 24h or 6y", text)
		}
		*d = Duration(time.Duration(years) * year) //nolint:gosec // at most 255 years
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return misread(node, "%q is no duration; write 30s, 24h or 6y", text)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes such as "4MiB".
type Size int64

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(node ast.Node) error {
	text := scalar(node)
	number, factor := text, int64(1)
	for suffix, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, factor = strings.TrimSpace(n), f
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return misread(node, "%q is no size; write a number of bytes, or 64KiB, 4MiB", text)
	}
	*s = Size(n * factor)
	return nil
}

// scalar is a node's text without quotes.
func scalar(node ast.Node) string {
	return strings.Trim(strings.TrimSpace(node.GetToken().Value), `"'`)
}

// misread is an error that carries the node's place.
func misread(node ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: node.GetToken()}
}

// SecretRef says where a secret is: a file that only its owner can read, or an
// environment variable.
type SecretRef struct {
	// File is a path.
	File string `yaml:"file"`
	// Env is a variable's name.
	Env string `yaml:"env"`
}

// IsZero reports whether the reference is missing.
func (r SecretRef) IsZero() bool { return r == SecretRef{} }

// Resolve reads the secret. Surrounding white space is not part of it.
func (r SecretRef) Resolve() (masking.Secret, error) {
	switch {
	case r.File != "" && r.Env != "":
		return "", fmt.Errorf("give either file or env, not both")
	case r.File != "":
		info, err := os.Stat(r.File)
		if err != nil {
			return "", fmt.Errorf("reading secret: %w", err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return "", fmt.Errorf("%s can be read by others; chmod 600 it", r.File)
		}
		if info.Size() > 64<<10 {
			return "", fmt.Errorf("%s is larger than any secret", r.File)
		}
		b, err := os.ReadFile(r.File)
		if err != nil {
			return "", fmt.Errorf("reading secret: %w", err)
		}
		return notEmpty(string(b), r.File)
	case r.Env != "":
		return notEmpty(os.Getenv(r.Env), "environment variable "+r.Env)
	}
	return "", fmt.Errorf("no secret given; write {file: PATH} or {env: NAME}")
}

func notEmpty(text, where string) (masking.Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fmt.Errorf("%s is empty or not set", where)
	}
	return masking.Secret(text), nil
}
