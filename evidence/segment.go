package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

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
	// Previous is the base64 SHA-256 of the checkpoint of the segment before,
	// "" in the first: so the newest signature covers all segments.
	Previous string `json:"previous,omitempty"`
	// Subtrees are the roots of the perfect subtrees of the tree before,
	// largest first, so that a segment can be verified by itself.
	Subtrees []string `json:"subtrees"`
}

func (h header) line() ([]byte, error) { return json.Marshal(h) }

// lineDigest is the base64 SHA-256 of a header line or a checkpoint note.
func lineDigest(line []byte) string {
	sum := sha256.Sum256(line)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// segment is a segment object taken apart. Slices point into its bytes.
type segment struct {
	header
	headerLine []byte
	// records are the lines of each; the Merkle leaves hash the entries.
	records []lines
	// note is the signed checkpoint.
	note []byte
	// partial is true in a bundle that may withhold bodies.
	partial bool
	// after is the tree that verify found.
	after *tree
}

// encodeSegment writes a segment object and signs the checkpoint of the tree
// that the entries, already added to it, lead to. It also gives that checkpoint.
func encodeSegment(h header, records []lines, after *tree, signer *Signer) (object, signed []byte, err error) {
	line, err := h.line()
	if err != nil {
		return nil, nil, err
	}
	hash, err := after.root()
	if err != nil {
		return nil, nil, err
	}
	c := Checkpoint{Origin: origin(signer.Name(), h.Writer), Size: after.size(), Root: hash, header: lineDigest(line)}
	if signed, err = note.Sign(&note.Note{Text: c.text()}, signer); err != nil {
		return nil, nil, err
	}
	return joinSegment(line, records, signed), signed, nil
}

// joinSegment puts a segment's parts together.
func joinSegment(header []byte, records []lines, signed []byte) []byte {
	size := len(segmentMagic) + len(header) + 1 + len(signed)
	for _, r := range records {
		size += r.size()
	}
	out := make([]byte, 0, size)
	out = append(out, segmentMagic...)
	out = append(append(out, header...), '\n')
	for _, r := range records {
		out = append(append(out, r.entry...), '\n')
		out = append(append(out, r.body...), '\n')
	}
	return append(out, signed...)
}

// parseSegment takes a segment object apart. It verifies no hash and no
// signature; verify does.
func parseSegment(body []byte) (*segment, error) {
	rest, ok := bytes.CutPrefix(body, []byte(segmentMagic))
	if !ok {
		return nil, fmt.Errorf("%w: not a segment of version 1", ErrInvalid)
	}
	line, rest, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: no segment header", ErrInvalid)
	}
	h, err := parseHeader(line)
	if err != nil {
		return nil, err
	}
	s := &segment{header: h, headerLine: line}
	if s.Count > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: the segment header counts %d records", ErrInvalid, s.Count)
	}
	s.records = make([]lines, 0, min(s.Count, 1<<16))
	for range s.Count {
		var r lines
		if r.entry, rest, ok = bytes.Cut(rest, []byte{'\n'}); ok {
			r.body, rest, ok = bytes.Cut(rest, []byte{'\n'})
		}
		if !ok {
			return nil, fmt.Errorf("%w: fewer records than the header says", ErrInvalid)
		}
		s.records = append(s.records, r)
	}
	s.note = rest
	return s, nil
}

func parseHeader(line []byte) (h header, err error) {
	if len(line) > maxHeader {
		return h, fmt.Errorf("%w: no segment header", ErrInvalid)
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, fmt.Errorf("%w: the segment header is not JSON of the right form", ErrInvalid)
	}
	if h.Count == 0 {
		return h, fmt.Errorf("%w: the segment header counts no records", ErrInvalid)
	}
	return h, nil
}

// verify checks that the segment is whole and signed: its entries, added to
// the tree that its header describes, give the root that a trusted key signed.
// It returns that tree. Bodies are checked as record reads them. Whether it continues the log is for the caller.
func (s *segment) verify(trusted note.Verifiers) (*tree, Checkpoint, error) {
	c, err := OpenCheckpoint(s.note, trusted)
	if err != nil {
		return nil, c, err
	}
	if c.Writer() != s.Writer {
		return nil, c, fmt.Errorf("%w: the checkpoint is for another writer", ErrInvalid)
	}
	if c.header != lineDigest(s.headerLine) {
		return nil, c, fmt.Errorf("%w: the segment header is not the one that was signed", ErrInvalid)
	}
	before, err := s.before()
	if err != nil {
		return nil, c, err
	}
	for _, r := range s.records {
		if err := before.add(r.entry); err != nil {
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

// entry is the record at an index of the segment without its body, and the
// digest of that.
func (s *segment) entry(index int) (*Record, string, error) {
	r, digest, err := decodeEntry(s.records[index].entry)
	if err != nil {
		return nil, "", err
	}
	sequence := s.First + uint64(index) // #nosec G115 -- an index is not negative
	if r.Writer != s.Writer || r.Sequence != sequence || r.ID != recordID(s.Writer, sequence) {
		return nil, "", fmt.Errorf("%w: record %d says it is another (%q)", ErrInvalid, sequence, r.ID)
	}
	r.Object = segmentKey(s.Writer, s.Segment)
	return r, digest, nil
}

// record is the whole record at an index of the segment.
func (s *segment) record(index int) (*Record, error) {
	r, digest, err := s.entry(index)
	if err != nil {
		return nil, err
	}
	if err := s.fill(r, index, digest); err != nil {
		return nil, err
	}
	return r, nil
}

// fill reads the body of the record at an index, whose entry tells its digest.
func (s *segment) fill(r *Record, index int, digest string) error {
	line := s.records[index].body
	if s.partial && string(line) == withheld && digest != "" {
		r.Withheld = true
		return nil
	}
	return decodeBody(r, line, digest)
}
