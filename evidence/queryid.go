package evidence

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const (
	queryPrefix = "q_"
	// homeWindow is how long after a query's start its records are looked for
	// in its own writer's log; later ones get a link.
	homeWindow = 30 * time.Second
	// homeSlack allows a clock that was set back between id and record.
	homeSlack = 2 * time.Second
)

// queryID is what an identifier carries: 6 bytes of milliseconds, 4 bytes of
// the writer's tag, 10 random bytes; 32 characters of base32hex after "q_".
type queryID struct {
	at  time.Time
	tag [4]byte
}

// NewQueryID makes a query's identifier. It is URL-safe and unguessable, and
// tells Find where to look: when and by which writer the query was received.
func NewQueryID(writer string, now time.Time) string {
	var raw [20]byte
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(now.UnixMilli(), 0))) // #nosec G115 -- not negative
	copy(raw[:6], ms[2:])
	tag := writerTag(writer)
	copy(raw[6:10], tag[:])
	_, _ = rand.Read(raw[10:]) // never fails (crypto/rand)
	return queryPrefix + base32hex.EncodeToString(raw[:])
}

// writerTag is a short digest of a writer's name; Find checks the candidates.
func writerTag(writer string) (tag [4]byte) {
	sum := sha256.Sum256([]byte(writer))
	copy(tag[:], sum[:])
	return tag
}

// parseQueryID refuses everything that NewQueryID could not have made.
func parseQueryID(id string) (q queryID, err error) {
	text, ok := strings.CutPrefix(id, queryPrefix)
	raw, err := base32hex.DecodeString(text)
	if !ok || err != nil || len(raw) != 20 || base32hex.EncodeToString(raw) != text {
		return q, fmt.Errorf("%w: not a query id", ErrInvalid)
	}
	var ms [8]byte
	copy(ms[2:], raw[:6])
	q.at = time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC() // #nosec G115 -- 48 bits
	copy(q.tag[:], raw[6:10])
	return q, nil
}

// atHome reports whether Find looks for a record of the query in this writer's
// log at this time without being told by a link.
func (q queryID) atHome(tag [4]byte, recorded time.Time) bool {
	after := recorded.Sub(q.at)
	return q.tag == tag && after >= -homeSlack && after <= homeWindow
}

// QueryTime is when a query with this identifier was received.
func QueryTime(id string) (time.Time, error) {
	q, err := parseQueryID(id)
	return q.at, err
}
