package evidence

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

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

// sealSecret seals what only auditors may read, compressed where that is smaller.
// Everything inside is of one request, by one caller: a length tells nobody of
// another's text.
func sealSecret(s *Secret, recipients []age.Recipient) ([]byte, error) {
	plain, err := encodeJSON(s)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	small, err := compress(plain)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return seal(small, recipients)
}

// worthwhile is the length in bytes below which compression is not tried: its own
// header and trailer take 18.
const worthwhile = 128

// compressors are kept: each takes hundreds of kilobytes.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compress gives the gzip form (RFC 1952) of a text, or the text if that is not
// longer. JSON begins with "{", gzip with 0x1F: a reader can tell them apart.
func compress(plain []byte) ([]byte, error) {
	if len(plain) < worthwhile {
		return plain, nil
	}
	var b bytes.Buffer
	w := compressors.Get().(*gzip.Writer) //nolint:errcheck,forcetypeassert // nothing else is in the pool
	defer compressors.Put(w)
	w.Reset(&b)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() >= len(plain) {
		return plain, nil
	}
	return b.Bytes(), nil
}

// maxSecret bounds an opened text in bytes: what is sealed in a segment may be
// compressed, and whoever made it may mean harm.
const maxSecret = maxSegment

// decompress is the inverse of compress, for a text of a stranger.
func decompress(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != 0x1f || b[1] != 0x8b {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: not gzip", ErrInvalid)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: not gzip", ErrInvalid)
	case len(plain) > maxSecret:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxSecret)
	}
	return plain, nil
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
	if b, err = decompress(b); err != nil {
		return nil, fmt.Errorf("opening sealed part of %s: %w", r.ID, err)
	}
	var s Secret
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("opening sealed part of %s: %w: not JSON", r.ID, ErrInvalid)
	}
	return &s, nil
}
