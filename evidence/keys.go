package evidence

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/masking"
)

// maxKeyFile bounds a file of keys in bytes.
const maxKeyFile = 1 << 20

// Signer is a gateway's private signing key (Ed25519).
type Signer struct {
	note.Signer
	verifierKey string
}

// VerifierKey is the public key as a line that auditors keep:
// "<name>+<hash>+<base64>" (c2sp.org/signed-note).
func (s *Signer) VerifierKey() string { return s.verifierKey }

// SignsFor reports whether a key signs logs of an instance: the one it is named
// for, or, where gateways share a key, every one whose name goes on with a hyphen.
// So who has one gateway's key can neither write nor explain another's log.
func SignsFor(key, instance string) bool {
	return !IsAuditorKey(key) && (key == instance || strings.HasPrefix(instance, key+"-"))
}

// GenerateSigner makes a signing key. The private line goes into a file that
// only the gateway reads (mode 0600), the public line to the auditors.
func GenerateSigner(name string) (private masking.Secret, public string, err error) {
	if err := checkInstance(name); err != nil {
		return "", "", fmt.Errorf("naming a signing key: %w", err)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	return masking.Secret(skey), vkey, err
}

// ParseSigner reads a private line of GenerateSigner. Lines that are empty or
// start with # are left out.
func ParseSigner(text masking.Secret) (*Signer, error) {
	lines := keyLines(text.Reveal())
	if len(lines) != 1 {
		return nil, fmt.Errorf("reading signing key: %w: expected one key, found %d", ErrInvalid, len(lines))
	}
	signer, err := note.NewSigner(lines[0])
	if err != nil {
		return nil, fmt.Errorf("reading signing key: %w: not a private key of note format", ErrInvalid)
	}
	// "PRIVATE+KEY+<name>+<hash>+<base64>"; NewSigner checked the form.
	parts := strings.SplitN(lines[0], "+", 5)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, fmt.Errorf("reading signing key: %w: not an Ed25519 key", ErrInvalid)
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("reading signing key: no public key")
	}
	vkey, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, fmt.Errorf("reading signing key: %w", err)
	}
	return &Signer{Signer: signer, verifierKey: vkey}, nil
}

// LoadSigner reads a private key file. It must be readable by its owner alone.
func LoadSigner(path string) (*Signer, error) {
	text, err := ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	signer, err := ParseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, nil
}

// ReadPrivateFile reads a file of secrets and refuses one that its group or
// others may read or write.
func ReadPrivateFile(path string) (text masking.Secret, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return "", fmt.Errorf("reading private key: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading private key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("reading private key: %s may be read by others (mode %04o): chmod 600 it",
			path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", fmt.Errorf("reading private key: %w", err)
	}
	return masking.Secret(b), nil
}

// WritePrivateFile makes a new file with mode 0600 and never replaces one.
func WritePrivateFile(path string, text masking.Secret) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the operator names the file
	if err != nil {
		return fmt.Errorf("writing private key: %w", err)
	}
	_, err = f.WriteString(text.Reveal())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing private key: %w", err)
	}
	return nil
}

// ParseVerifiers reads public key lines, as auditors keep them in a file. At
// least one is required.
func ParseVerifiers(text []byte) (note.Verifiers, error) {
	list, err := ParseVerifierList(text)
	if err != nil {
		return nil, err
	}
	return note.VerifierList(list...), nil
}

// ParseVerifierList is ParseVerifiers, for who must know the keys' names.
func ParseVerifierList(text []byte) ([]note.Verifier, error) {
	list := make([]note.Verifier, 0, 4)
	for _, line := range keyLines(string(text)) {
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("reading public keys: %w: %q is not a verifier key", ErrInvalid, line)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("reading public keys: %w: there is none", ErrInvalid)
	}
	return list, nil
}

// LoadVerifiers reads a file of public keys.
func LoadVerifiers(path string) (note.Verifiers, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the auditor names the file
	if err != nil {
		return nil, fmt.Errorf("reading public keys: %w", err)
	}
	return ParseVerifiers(text)
}

// keyLines are the lines that are neither empty nor comments.
func keyLines(text string) []string {
	var lines []string
	scan := bufio.NewScanner(bytes.NewReader([]byte(text)))
	for scan.Scan() {
		if line := strings.TrimSpace(scan.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}
