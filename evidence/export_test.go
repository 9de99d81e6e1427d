package evidence

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// What the tamper matrix needs of somebody who has a gateway's signing key.

// Forge makes a log again from segment `from` on, each entry changed and all of
// it signed: consistent in itself. It gives the objects by key.
func Forge(t testing.TB, store worm.Store, signer *Signer, writer string, from uint64, change func(entry []byte) []byte) map[string][]byte {
	t.Helper()
	return ForgeAll(t, store, signer, writer, from, func(entry []byte, _ string) []byte { return change(entry) })
}

// ForgeAll is Forge; change also gets the forged checkpoint before.
func ForgeAll(t testing.TB, store worm.Store, signer *Signer, writer string, from uint64,
	change func(entry []byte, checkpoint string) []byte,
) map[string][]byte {
	t.Helper()
	objects := map[string][]byte{}
	log, previous, checkpoint := newTree(), "", ""
	for n := uint64(0); ; n++ {
		object, err := store.Get(t.Context(), segmentKey(writer, n), 0)
		if errors.Is(err, worm.ErrNotFound) {
			return objects
		}
		must(t, err)
		s, err := parseSegment(object.Body)
		must(t, err)
		s.Subtrees, s.Previous = log.subtrees(), previous
		for i := range s.records {
			if n >= from {
				s.records[i].entry = change(s.records[i].entry, checkpoint)
			}
			must(t, log.add(s.records[i].entry))
		}
		body, signed, err := encodeSegment(s.header, s.records, log, signer)
		must(t, err)
		previous, checkpoint = lineDigest(signed), string(signed)
		if n >= from {
			objects[segmentKey(writer, n)] = body
		}
	}
}

// ForgeBody is an object of a segment whose last record has another body, which
// its entry does not commit to.
func ForgeBody(t testing.TB, object []byte, change func(body []byte) []byte) []byte {
	t.Helper()
	s, err := parseSegment(object)
	must(t, err)
	for i := range s.records {
		if len(s.records[i].body) > 0 {
			s.records[i].body = change(s.records[i].body)
		}
	}
	return joinSegment(s.headerLine, s.records, s.note)
}

// The keys of objects.
var (
	SegmentKey      = segmentKey
	AnnouncementKey = announcementKey
)

// SplitRun gives the objects of a run's segments.
func SplitRun(t testing.TB, run []byte) [][]byte {
	t.Helper()
	var list [][]byte
	for len(run) > 0 {
		s, rest := run, run[len(segmentMagic):]
		for i := range rest {
			if string(rest[i:min(len(rest), i+len(segmentMagic))]) == segmentMagic {
				s = run[:len(segmentMagic)+i]
				break
			}
		}
		list, run = append(list, s), run[len(s):]
	}
	return list
}

// Withhold is a segment's object without the bodies of the records that drop
// chooses.
func Withhold(t testing.TB, object []byte, drop func(*Record) bool) []byte {
	t.Helper()
	s, err := parseSegment(object)
	must(t, err)
	for i := range s.records {
		r, digest, err := s.entry(i)
		must(t, err)
		if digest != "" && drop(r) {
			s.records[i].body = []byte(withheld)
		}
	}
	return joinSegment(s.headerLine, s.records, s.note)
}

// SegmentSpan gives the sizes of the tree before and after a segment.
func SegmentSpan(t testing.TB, object []byte) (first, size uint64) {
	t.Helper()
	s, err := parseSegment(object)
	must(t, err)
	return s.First, s.First + s.Count
}

// Resign is a segment's object signed by another key.
func Resign(t testing.TB, object []byte, signer *Signer) []byte {
	t.Helper()
	s, err := parseSegment(object)
	must(t, err)
	after, err := s.before()
	must(t, err)
	for _, r := range s.records {
		must(t, after.add(r.entry))
	}
	body, _, err := encodeSegment(s.header, s.records, after, signer)
	must(t, err)
	return body
}

// Golden compares a text with a file, or writes it with -update.
func Golden(t testing.TB, path, text string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	have := strings.Split(text, "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(have) || have[i] != line {
			t.Errorf("%s:%d differs; run with -update and read the diff\n%s\n%s", path, i+1, line, strings.Join(have[min(i, len(have)):min(i+1, len(have))], ""))
			return
		}
	}
}

// Attest makes a log ask its witnesses now.
func Attest(t testing.TB, l *Log) {
	t.Helper()
	l.round(t.Context(), roundTime, l.AppendAsync)
	must(t, l.Flush(t.Context()))
}

// LookAround makes a log observe the others now. Its own look must be far off.
// Announce makes an announcement that is consistent in itself.
func Announce(t testing.TB, signer *Signer, instance string, started time.Time, p Predecessor) (key string, body []byte) {
	t.Helper()
	writer := newWriter(instance, started, [5]byte{})
	a := Announcement{Writer: writer, Instance: instance, Key: signer.VerifierKey(), Started: started, HeartbeatMS: 60000,
		Predecessors: []Predecessor{p}}
	body, err := a.encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return announcementKey(writer), body
}

func LookAround(t testing.TB, l *Log) {
	t.Helper()
	l.lookAround()
	must(t, l.Flush(t.Context()))
}
