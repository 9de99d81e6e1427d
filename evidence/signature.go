package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// openNote verifies a signed note (c2sp.org/signed-note). It must be exactly
// what note.Sign writes: every signature by a trusted key and in canonical
// base64, so that no byte of it can change unseen.
func openNote(msg []byte, trusted note.Verifiers) (*note.Note, error) {
	n, err := note.Open(msg, trusted)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return nil, fmt.Errorf("%w: no signature by a trusted key", ErrInvalid)
	case errors.As(err, &invalid):
		return nil, fmt.Errorf("%w: the signature by %s is wrong", ErrInvalid, invalid.Name)
	case err != nil:
		return nil, fmt.Errorf("%w: not a signed note", ErrInvalid)
	case len(n.UnverifiedSigs) > 0:
		return nil, fmt.Errorf("%w: also signed by %s, which is not trusted", ErrInvalid, n.UnverifiedSigs[0].Name)
	}
	canonical := n.Text + "\n"
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		if err != nil {
			return nil, fmt.Errorf("%w: a signature is not in canonical base64", ErrInvalid)
		}
		canonical += "— " + s.Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	}
	if canonical != string(msg) {
		return nil, fmt.Errorf("%w: the signed note is not in canonical form", ErrInvalid)
	}
	return n, nil
}

// noteText is the text of a note whose signatures are not looked at.
func noteText(msg []byte) (string, error) {
	i := strings.LastIndex(string(msg), "\n\n")
	if i < 0 {
		return "", fmt.Errorf("%w: not a signed note", ErrInvalid)
	}
	return string(msg[:i+1]), nil
}
