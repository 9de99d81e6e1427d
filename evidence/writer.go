package evidence

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Where the objects of a store's evidence are. docs/evidence-format.md is the
// specification.
const (
	root         = "evidence/"
	writersDir   = root + "writers/"
	linksDir     = root + "links/"
	segmentsPart = "/segments/"
	numberDigits = 16
)

// maxInstance is the longest name of a gateway instance in bytes.
const maxInstance = 64

// base32hex keeps byte order and is safe in keys and URLs.
var base32hex = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// startDigits are base-36 digits of a start time in milliseconds, enough until
// the year 5188, so that an instance's writers sort by their start.
const startDigits = 9

// newWriter names one process of a gateway instance.
func newWriter(instance string, start time.Time, random [5]byte) string {
	ms := strconv.FormatInt(start.UnixMilli(), 36)
	ms = strings.Repeat("0", max(0, startDigits-len(ms))) + ms
	return instance + "-" + ms + "-" + base32hex.EncodeToString(random[:])
}

// parseWriter takes a writer's name apart.
func parseWriter(writer string) (instance string, start time.Time, err error) {
	bad := fmt.Errorf("%w: not a writer's name", ErrInvalid)
	rest, random, ok := cutLast(writer, "-")
	if !ok || len(random) != 8 {
		return "", time.Time{}, bad
	}
	if b, err := base32hex.DecodeString(random); err != nil || base32hex.EncodeToString(b) != random {
		return "", time.Time{}, bad
	}
	instance, stamp, ok := cutLast(rest, "-")
	if !ok || len(stamp) != startDigits || strings.ToLower(stamp) != stamp || checkInstance(instance) != nil {
		return "", time.Time{}, bad
	}
	ms, err := strconv.ParseUint(stamp, 36, 63)
	if err != nil || ms > math.MaxInt64 {
		return "", time.Time{}, bad
	}
	return instance, time.UnixMilli(int64(ms)).UTC(), nil
}

// WriterStart is when a writer started, by its name, to the millisecond. ok is
// false for what is no writer's name.
func WriterStart(writer string) (start time.Time, ok bool) {
	_, start, err := parseWriter(writer)
	return start, err == nil
}

// WriterInstance is the gateway instance that a writer is a process of, by its
// name. ok is false for what is no writer's name.
func WriterInstance(writer string) (instance string, ok bool) {
	instance, _, err := parseWriter(writer)
	return instance, err == nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// checkInstance allows names of [a-z0-9.-] that start with a letter or digit.
func checkInstance(name string) error {
	if name == "" || len(name) > maxInstance || name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("%w: an instance name has 1 to %d characters and starts with a letter or digit",
			ErrInvalid, maxInstance)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return fmt.Errorf("%w: an instance name is made of a-z, 0-9, dot and hyphen", ErrInvalid)
		}
	}
	// These would collide with the folders beside the writers' own.
	if name == "writers" || name == "links" || name == "holds" {
		return fmt.Errorf("%w: %q is a reserved name", ErrInvalid, name)
	}
	return nil
}

// recordID is unique over all writers: a writer never writes a sequence twice.
func recordID(writer string, sequence uint64) string {
	return writer + "." + strconv.FormatUint(sequence, 10)
}

func announcementKey(writer string) string { return writersDir + writer }

func segmentPrefix(writer string) string { return root + writer + segmentsPart }

func segmentKey(writer string, number uint64) string {
	return segmentPrefix(writer) + padded(number)
}

func padded(number uint64) string { return fmt.Sprintf("%0*d", numberDigits, number) }

func parsePadded(s string) (uint64, bool) {
	if len(s) != numberDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}

// parseSegmentKey is the inverse of segmentKey.
func parseSegmentKey(key string) (writer string, number uint64, ok bool) {
	writer, digits, ok := strings.Cut(strings.TrimPrefix(key, root), segmentsPart)
	if !ok || !strings.HasPrefix(key, root) {
		return "", 0, false
	}
	number, ok = parsePadded(digits)
	return writer, number, ok
}

func linkPrefix(queryID string) string { return linksDir + queryID + "/" }

// linkKey says that a segment holds records of a query that Find would not
// look for there: those of another writer, or much later than the query.
func linkKey(queryID, writer string, number uint64) string {
	return linkPrefix(queryID) + writer + "." + padded(number)
}

// linkBody is all a link holds: its own key, so that a changed link is found.
func linkBody(key string) []byte { return []byte("chaperone-evidence-link/v1\n" + key + "\n") }

// parseLinkKey is the inverse of linkKey.
func parseLinkKey(key string) (queryID, writer string, number uint64, ok bool) {
	rest, found := strings.CutPrefix(key, linksDir)
	if !found {
		return "", "", 0, false
	}
	queryID, rest, found = strings.Cut(rest, "/")
	writer, digits, cut := cutLast(rest, ".")
	number, ok = parsePadded(digits)
	return queryID, writer, number, ok && found && cut
}

// parseRecordID is the inverse of recordID.
func parseRecordID(id string) (writer string, sequence uint64, ok bool) {
	writer, digits, _ := cutLast(id, ".")
	_, _, bad := parseWriter(writer)
	sequence, err := strconv.ParseUint(digits, 10, 63)
	return writer, sequence, bad == nil && err == nil && strconv.FormatUint(sequence, 10) == digits
}

// digest is the hex SHA-256 of an object.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
