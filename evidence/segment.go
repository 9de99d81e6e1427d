package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

const (
	segmentMagic = "chaperone-evidence-segment/v1\n"
	// maxSegment bounds a segment object in bytes, for readers.
	maxSegment = 64 << 20
	// maxRecord bounds one record's JSON in bytes.
	maxRecord = 48 << 20
	// maxHeader bounds the header line in bytes; 64 subtree hashes fit.
	maxHeader = 8 << 10
)

// header is a segment's second line. Its SHA-256 is in the signed checkpoint.
type header struct {
	Writer string `json:"writer"`
	// Segment is the segment's number, from 0.
	Segment uint64 `json:"segment"`
	// First is the sequence of the first record: the size of the tree before.
	First uint64 `json:"first"`
	Count uint64 `json:"count"`
	// Durable is how many of the writer's segments were known to be stored
	// when this one was made. Those can never be missing honestly.
	Durable uint64 `json:"durable"`
	// Time is the writer's clock when the segment was made.
	Time time.Time `json:"time"`
	// Subtrees are the roots of the perfect subtrees of the tree before,
	// largest first, so that a segment can be verified by itself.
	Subtrees []string `json:"subtrees"`
}

func (h header) line() ([]byte, error) { return json.Marshal(h) }

func headerDigest(line []byte) string {
	sum := sha256.Sum256(line)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// segment is a segment object taken apart. Slices point into its bytes.
type segment struct {
	header
	headerLine []byte
	// records are the JSON lines that the Merkle leaves hash.
	records [][]byte
	// note is the signed checkpoint.
	note []byte
	// after is the tree that verify found.
	after *tree
}

// encodeSegment writes a segment object and signs the checkpoint of the tree
// that the records, already added to it, lead to.
func encodeSegment(h header, records [][]byte, after *tree, signer *Signer) ([]byte, error) {
	line, err := h.line()
	if err != nil {
		return nil, err
	}
	hash, err := after.root()
	if err != nil {
		return nil, err
	}
	c := Checkpoint{Origin: origin(signer.Name(), h.Writer), Size: after.size(), Root: hash, header: headerDigest(line)}
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, err
	}
	size := len(segmentMagic) + len(line) + 1 + len(signed)
	for _, r := range records {
		size += len(r) + 1
	}
	body := make([]byte, 0, size)
	body = append(body, segmentMagic...)
	body = append(append(body, line...), '\n')
	for _, r := range records {
		body = append(append(body, r...), '\n')
	}
	return append(body, signed...), nil
}

// parseSegment takes a segment object apart. It verifies no hash and no
// signature; verify does.
func parseSegment(body []byte) (*segment, error) {
	rest, ok := bytes.CutPrefix(body, []byte(segmentMagic))
	if !ok {
		return nil, fmt.Errorf("%w: not a segment of version 1", ErrInvalid)
	}
	line, rest, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok || len(line) > maxHeader {
		return nil, fmt.Errorf("%w: no segment header", ErrInvalid)
	}
	s := &segment{headerLine: line}
	if err := json.Unmarshal(line, &s.header); err != nil {
		return nil, fmt.Errorf("%w: the segment header is not JSON of the right form", ErrInvalid)
	}
	if s.Count == 0 || s.Count > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: the segment header counts %d records", ErrInvalid, s.Count)
	}
	s.records = make([][]byte, 0, min(s.Count, 1<<16))
	for range s.Count {
		var record []byte
		if record, rest, ok = bytes.Cut(rest, []byte{'\n'}); !ok {
			return nil, fmt.Errorf("%w: fewer records than the header says", ErrInvalid)
		}
		s.records = append(s.records, record)
	}
	s.note = rest
	return s, nil
}

// verify checks that the segment is whole and signed: its records, added to
// the tree that its header describes, give the root that a trusted key signed.
// It returns that tree. Whether it continues the log is for the caller.
func (s *segment) verify(trusted note.Verifiers) (*tree, Checkpoint, error) {
	c, err := OpenCheckpoint(s.note, trusted)
	if err != nil {
		return nil, c, err
	}
	if c.Writer() != s.Writer {
		return nil, c, fmt.Errorf("%w: the checkpoint is for another writer", ErrInvalid)
	}
	if c.header != headerDigest(s.headerLine) {
		return nil, c, fmt.Errorf("%w: the segment header is not the one that was signed", ErrInvalid)
	}
	before, err := s.before()
	if err != nil {
		return nil, c, err
	}
	for _, r := range s.records {
		if err := before.add(r); err != nil {
			return nil, c, fmt.Errorf("%w: adding a record: %w", ErrInvalid, err)
		}
	}
	hash, err := before.root()
	if err != nil || !bytes.Equal(hash, c.Root) || before.size() != c.Size {
		return nil, c, fmt.Errorf("%w: the records do not give the root that was signed", ErrInvalid)
	}
	return before, c, nil
}

// before is the tree that the segment continues.
func (s *segment) before() (*tree, error) {
	edge := make([][]byte, len(s.Subtrees))
	for i, text := range s.Subtrees {
		var err error
		if edge[i], err = decodeHash(text); err != nil {
			return nil, err
		}
	}
	return resumeTree(s.First, edge)
}

// decodeRecord reads one record line.
func decodeRecord(line []byte) (*Record, error) {
	if !utf8.Valid(line) {
		return nil, fmt.Errorf("%w: a record is not UTF-8", ErrInvalid)
	}
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("%w: a record is not JSON of the right form", ErrInvalid)
	}
	return &r, nil
}

// checkRecord is decodeRecord for the record at an index of the segment.
func (s *segment) record(index int) (*Record, error) {
	r, err := decodeRecord(s.records[index])
	if err != nil {
		return nil, err
	}
	sequence := s.First + uint64(index) // #nosec G115 -- an index is not negative
	if r.Writer != s.Writer || r.Sequence != sequence || r.ID != recordID(s.Writer, sequence) {
		return nil, fmt.Errorf("%w: record %d says it is another (%q)", ErrInvalid, sequence, r.ID)
	}
	return r, nil
}
