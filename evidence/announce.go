package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	announcementMagic = "chaperone-evidence-writer/v1\n"
	// maxAnnouncement bounds an announcement object in bytes.
	maxAnnouncement = 1 << 20
)

// Announcement is what a writer says of itself before its first record. It is
// stored as a note signed by the writer's key.
type Announcement struct {
	Writer   string `json:"writer"`
	Instance string `json:"instance"`
	// Key is the verifier line of the key that signs all of the writer's log.
	Key     string    `json:"key"`
	Started time.Time `json:"started"`
	// GatewayVersion and ConfigDigest say what ran.
	GatewayVersion string `json:"gateway_version"`
	ConfigDigest   string `json:"config_digest"`
	// HeartbeatMS is the longest silence of a living writer, in milliseconds.
	HeartbeatMS int64 `json:"heartbeat_ms"`
	// WitnessWithinMS is how long after it was recorded a record should be
	// cosigned at the latest, in milliseconds; 0 without witnesses.
	WitnessWithinMS int64 `json:"witness_within_ms,omitempty"`
	// Predecessors are earlier writers of the same instance whose end no other
	// announcement tells.
	Predecessors []Predecessor `json:"predecessors,omitempty"`
}

// Predecessor is the end of an earlier writer's log as its successor saw it.
type Predecessor struct {
	Writer string `json:"writer"`
	// Segments counts the segments from 0 without a gap.
	Segments uint64 `json:"segments"`
	// Checkpoint is the signed note of the last of them, "" if there is none.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Closed is true if the log ends with writer.closed.
	Closed bool `json:"closed"`
	// Stranded are segments behind a gap: they were in flight when the writer
	// died and nothing in them was ever acknowledged.
	Stranded []Stranded `json:"stranded,omitempty"`
	// Problem says why the log could not be read.
	Problem string `json:"problem,omitempty"`
}

// Stranded names a segment behind a gap.
type Stranded struct {
	Segment uint64 `json:"segment"`
	SHA256  string `json:"sha256"`
}

func (a Announcement) text() (string, error) {
	line, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	return announcementMagic + string(line) + "\n", nil
}

func (a Announcement) encode(signer *Signer) ([]byte, error) {
	text, err := a.text()
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, signer)
}

// parseAnnouncement reads an announcement's text.
func parseAnnouncement(text string) (Announcement, error) {
	var a Announcement
	line, ok := strings.CutPrefix(text, announcementMagic)
	if !ok {
		return a, fmt.Errorf("%w: not an announcement of version 1", ErrInvalid)
	}
	if err := json.Unmarshal(bytes.TrimSuffix([]byte(line), []byte{'\n'}), &a); err != nil {
		return a, fmt.Errorf("%w: the announcement is not JSON of the right form", ErrInvalid)
	}
	instance, _, err := parseWriter(a.Writer)
	if err != nil || instance != a.Instance {
		return a, fmt.Errorf("%w: the announcement's writer is not one of its instance", ErrInvalid)
	}
	for _, p := range a.Predecessors {
		if before, _, err := parseWriter(p.Writer); err != nil || before != instance || p.Writer >= a.Writer {
			return a, fmt.Errorf("%w: it names a predecessor that is no earlier writer of its instance", ErrInvalid)
		}
	}
	return a, nil
}

// readAnnouncement reads an announcement object without looking at signatures.
func readAnnouncement(msg []byte) (Announcement, error) {
	text, err := noteText(msg)
	if err != nil {
		return Announcement{}, err
	}
	return parseAnnouncement(text)
}

// openAnnouncement verifies an announcement object: signed by the trusted key
// that it names.
func openAnnouncement(msg []byte, trusted note.Verifiers) (Announcement, note.Verifier, error) {
	n, err := openNote(msg, trusted)
	if err != nil {
		return Announcement{}, nil, err
	}
	a, err := parseAnnouncement(n.Text)
	if err != nil {
		return a, nil, err
	}
	key, err := note.NewVerifier(a.Key)
	if err != nil {
		return a, nil, fmt.Errorf("%w: the announced key is not a verifier key", ErrInvalid)
	}
	if !SignsFor(key.Name(), a.Instance) {
		return a, nil, fmt.Errorf("%w: signed by the key %s, which was not made for %s", ErrInvalid, key.Name(), a.Instance)
	}
	for _, s := range n.Sigs {
		if s.Name == key.Name() && s.Hash == key.KeyHash() {
			return a, key, nil
		}
	}
	return a, nil, fmt.Errorf("%w: the announcement is not signed by the key it announces", ErrInvalid)
}
