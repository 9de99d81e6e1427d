// Package witness speaks the C2SP witness protocol (c2sp.org/tlog-witness): the
// side of a log that asks to be cosigned, and a witness that cosigns the logs of
// gateways whose keys it was given. Signatures, checkpoints and proofs are those
// of libraries.
package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

const (
	// maxProof is how many hashes a consistency proof may have, by the protocol.
	maxProof = 63
	// maxRequest bounds a request in bytes: a proof takes 3 KiB, a checkpoint of
	// a gateway less than 1.
	maxRequest = 16 << 10
	// sizeType is the media type of a body that tells a tree's size.
	sizeType = "text/x.tlog.size"
	hashSize = 32
)

// request is the body of add-checkpoint.
type request struct {
	// old is the size of the tree that the proof is from, 0 for none.
	old   uint64
	proof [][]byte
	// checkpoint is a signed note.
	checkpoint []byte
}

func (r request) encode() []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatUint(r.old, 10) + "\n")
	for _, hash := range r.proof {
		b.WriteString(base64.StdEncoding.EncodeToString(hash) + "\n")
	}
	b.WriteByte('\n')
	b.Write(r.checkpoint)
	return b.Bytes()
}

var errRequest = errors.New("the request is not one of add-checkpoint")

// parseRequest reads a body. The checkpoint is not looked at.
func parseRequest(body []byte) (request, error) {
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) > 1+maxProof {
		return request{}, errRequest
	}
	digits, ok := strings.CutPrefix(lines[0], "old ")
	old, err := parseSize(digits)
	if !ok || err != nil {
		return request{}, errRequest
	}
	r := request{old: old, checkpoint: checkpoint}
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != hashSize || len(line) != base64.StdEncoding.EncodedLen(hashSize) {
			return request{}, errRequest
		}
		r.proof = append(r.proof, hash)
	}
	return r, nil
}

// parseSize reads a tree's size: decimal without leading zeroes, below 2^63.
func parseSize(digits string) (uint64, error) {
	size, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != digits {
		return 0, errRequest
	}
	return size, nil
}
