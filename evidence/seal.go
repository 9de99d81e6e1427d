package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/masking"
)

// GenerateIdentity makes an auditor's key pair: X25519 ("age1…"), or, if
// hybrid, ML-KEM-768 with X25519 ("age1pq1…"), which also withstands whoever
// stores today and decrypts with a quantum computer later. The recipient goes
// into the gateway's configuration; the identity stays with the auditor. One
// set of recipients must be all of one sort.
func GenerateIdentity(hybrid bool) (identity masking.Secret, recipient string, err error) {
	if hybrid {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", fmt.Errorf("generating identity: %w", err)
		}
		return masking.Secret(id.String()), id.Recipient().String(), nil
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("generating identity: %w", err)
	}
	return masking.Secret(id.String()), id.Recipient().String(), nil
}

// ParseRecipients reads recipients, one a line, and sees that a seal to all of
// them together can be made.
func ParseRecipients(text string) ([]age.Recipient, error) {
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading recipients: %w", err)
	}
	if _, err := seal([]byte("{}"), list); err != nil {
		return nil, fmt.Errorf("reading recipients: %w", err)
	}
	return list, nil
}

// LoadIdentities reads a file of private age identities that only its owner
// may read.
func LoadIdentities(path string) ([]age.Identity, error) {
	text, err := ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	list, err := age.ParseIdentities(strings.NewReader(text.Reveal()))
	if err != nil {
		// age's own message may quote the line.
		return nil, fmt.Errorf("reading identities: %w: %s holds a line that is no identity", ErrInvalid, path)
	}
	return list, nil
}

// seal encrypts to all recipients (age v1, binary).
func seal(plain []byte, recipients []age.Recipient) ([]byte, error) {
	if len(recipients) == 0 {
		return nil, errors.New("sealing: no recipients")
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return sealed.Bytes(), nil
}

// ErrNothingSealed: the record has no sealed part.
var ErrNothingSealed = errors.New("the record has no sealed part")

// OpenSealed decrypts a record's sealed part with an auditor's identities.
func OpenSealed(r *Record, identities []age.Identity) (*Secret, error) {
	if len(r.Sealed) == 0 {
		return nil, ErrNothingSealed
	}
	plain, err := age.Decrypt(bytes.NewReader(r.Sealed), identities...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return nil, fmt.Errorf("opening sealed part of %s: it was not sealed to this identity", r.ID)
		}
		return nil, fmt.Errorf("opening sealed part of %s: %w", r.ID, err)
	}
	b, err := io.ReadAll(io.LimitReader(plain, maxSegment))
	if err != nil {
		return nil, fmt.Errorf("opening sealed part of %s: %w", r.ID, err)
	}
	var s Secret
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("opening sealed part of %s: %w: not JSON", r.ID, ErrInvalid)
	}
	return &s, nil
}
