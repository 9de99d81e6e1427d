package evidence

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is a signed statement of a log's size and root
// (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	// Origin is "<key name>/<writer>".
	Origin string
	Size   uint64
	// Root is the tree's root hash, 32 bytes.
	Root []byte
	// header is the base64 SHA-256 of the segment's header line, the one
	// extension line.
	header string
}

func origin(keyName, writer string) string { return keyName + "/" + writer }

// Writer is the log's writer.
func (c Checkpoint) Writer() string {
	_, writer, _ := cutLast(c.Origin, "/")
	return writer
}

func (c Checkpoint) keyName() string {
	name, _, _ := cutLast(c.Origin, "/")
	return name
}

func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root) + "\n" +
		c.header + "\n"
}

// parseCheckpoint reads the text of a checkpoint note.
func parseCheckpoint(text string) (Checkpoint, error) {
	bad := fmt.Errorf("%w: not a checkpoint", ErrInvalid)
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[4] != "" || lines[3] == "" {
		return Checkpoint{}, bad
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil {
		return Checkpoint{}, bad
	}
	hash, err := decodeHash(lines[2])
	if err != nil {
		return Checkpoint{}, bad
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: hash, header: lines[3]}
	if _, _, err := parseWriter(c.Writer()); err != nil || c.keyName() == "" || c.text() != text {
		return Checkpoint{}, bad
	}
	return c, nil
}

// OpenCheckpoint verifies a checkpoint note: signed by the trusted key that its
// origin names. An auditor keeps such notes; see Options.Checkpoints.
func OpenCheckpoint(msg []byte, trusted note.Verifiers) (Checkpoint, error) {
	n, err := openNote(msg, trusted)
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	for _, s := range n.Sigs {
		if s.Name == c.keyName() {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: the checkpoint of %s is not signed by its own key", ErrInvalid, c.Origin)
}
