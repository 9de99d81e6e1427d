package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/masking"
)

// keyType is that of Ed25519 cosignatures (c2sp.org/tlog-cosignature): a key of
// another type, such as a gateway's, is refused.
const keyType = 0x04

const privatePrefix = "PRIVATE+KEY+"

// GenerateKey makes a witness' key. name should be a URL without a scheme, such
// as witness.example.org/w1. The private line goes into a file that only the
// witness reads; the public line is for gateways and auditors.
func GenerateKey(name string) (private masking.Secret, public string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("making a witness key: %w", err)
	}
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil || len(name) > 255 {
		return "", "", errors.New("making a witness key: its name has 1 to 255 characters, no space and no plus sign")
	}
	text := privatePrefix + name + "+" + keyHash(signer) + "+" +
		base64.StdEncoding.EncodeToString(append([]byte{keyType}, key.Seed()...))
	return masking.Secret(text + "\n"), signer.Verifier().String(), nil
}

// keyHash is the hash in a verifier key "<name>+<hash>+<base64>".
func keyHash(signer *torchwood.CosignatureSigner) string {
	_, rest, _ := strings.Cut(signer.Verifier().String(), "+")
	hash, _, _ := strings.Cut(rest, "+")
	return hash
}

// LoadSigner reads a private key file. It must be readable by its owner alone.
func LoadSigner(path string) (*torchwood.CosignatureSigner, error) {
	text, err := evidence.ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	wrong := fmt.Errorf("%s is no witness key: make one with `chaperone keys witness`", path)
	rest, ok := strings.CutPrefix(strings.TrimSpace(text.Reveal()), privatePrefix)
	parts := strings.Split(rest, "+")
	if !ok || len(parts) < 3 {
		return nil, wrong
	}
	// base64 may hold plus signs.
	name, hash, seed := parts[0], parts[1], strings.Join(parts[2:], "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(seed)
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != keyType {
		return nil, wrong
	}
	signer, err := torchwood.NewCosignatureSigner(name, ed25519.NewKeyFromSeed(raw[1:]))
	if err != nil || keyHash(signer) != hash {
		return nil, wrong
	}
	return signer, nil
}
