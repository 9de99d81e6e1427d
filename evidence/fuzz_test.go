package evidence

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

func FuzzSegment(f *testing.F) {
	w := newWorld(f)
	l := w.open(f, w.config("gw-1"))
	query(f, l)
	object, err := w.store.Get(f.Context(), segmentKey(l.Writer(), 1), 0)
	must(f, err)
	f.Add(object.Body)
	f.Add([]byte(segmentMagic))
	f.Add([]byte(segmentMagic + `{"count":18446744073709551615}` + "\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseSegment(body)
		if err != nil {
			return
		}
		if uint64(len(s.records)) != s.Count {
			t.Fatal("count")
		}
		whole := true
		for i := range s.records {
			_, err := s.record(i)
			whole = whole && err == nil
		}
		if _, _, err := s.verify(w.trusted); err == nil && whole && !bytes.Equal(body, object.Body) {
			t.Fatal("a segment that the writer did not make verifies")
		}
	})
}

func FuzzNote(f *testing.F) {
	w := newWorld(f)
	signed, err := Announcement{Writer: newWriter("gw-1", time.Now(), [5]byte{}), Instance: "gw-1", Key: w.signer.VerifierKey()}.encode(w.signer)
	must(f, err)
	c := Checkpoint{Origin: origin("gw", newWriter("gw-1", time.Now(), [5]byte{})), Size: 3, Root: make([]byte, 32), header: "x"}
	point, err := note.Sign(&note.Note{Text: c.text()}, w.signer)
	must(f, err)
	f.Add(signed)
	f.Add(point)
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, _, err := openAnnouncement(msg, w.trusted); err == nil && !bytes.Equal(msg, signed) {
			t.Fatal("a forged announcement")
		}
		if _, err := OpenCheckpoint(msg, w.trusted); err == nil && !bytes.Equal(msg, point) {
			t.Fatal("a forged checkpoint")
		}
		if text, err := noteText(msg); err == nil {
			_, _ = parseAnnouncement(text)
			_, _ = parseCheckpoint(text)
		}
	})
}

// FuzzCosigned: a cosigned checkpoint is the log's own, and the witness' time counts
// only with its signature.
func FuzzCosigned(f *testing.F) {
	w := newWorld(f)
	_, key, err := ed25519.GenerateKey(nil)
	must(f, err)
	witness, err := torchwood.NewCosignatureSigner("witness.test/w", key)
	must(f, err)
	c := Checkpoint{Origin: origin("gw", newWriter("gw-1", time.Now(), [5]byte{})), Size: 3, Root: make([]byte, 32), header: "x"}
	signed, err := note.Sign(&note.Note{Text: c.text()}, w.signer)
	must(f, err)
	n, err := note.Open(signed, w.trusted)
	must(f, err)
	both, err := note.Sign(n, witness)
	must(f, err)
	line := both[len(signed):]
	f.Add(string(both))
	f.Add(string(signed))
	f.Add(string(signed) + "— witness.test/w AAAA\n")
	f.Fuzz(func(t *testing.T, msg string) {
		got, at, err := openCosigned(msg, w.trusted, note.VerifierList(witness.Verifier()))
		if err != nil {
			return
		}
		if got.text() != c.text() {
			t.Fatal("a forged checkpoint")
		}
		if !at.IsZero() && !strings.Contains(msg, string(bytes.TrimSpace(line))) {
			t.Fatal("a forged cosignature")
		}
	})
}

func FuzzQueryID(f *testing.F) {
	f.Add(NewQueryID("gw-1-000000000-00000000", time.Now()))
	f.Add("q_")
	f.Fuzz(func(t *testing.T, id string) {
		q, err := parseQueryID(id)
		if err != nil {
			return
		}
		if len(id) != 34 || q.at.Before(time.Unix(0, 0)) {
			t.Fatalf("%q is accepted", id)
		}
		// It can be part of a key, and comes back out of it.
		got, _, _, ok := parseLinkKey(linkKey(id, "gw-1-000000000-00000000", 1))
		if !ok || got != id {
			t.Fatalf("%q in a key gives %q", id, got)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add("evidence/gw-1-000000000-00000000/segments/0000000000000001")
	f.Add("evidence/links/q_1/gw-1-000000000-00000000.0000000000000001")
	f.Fuzz(func(t *testing.T, key string) {
		if writer, number, ok := parseSegmentKey(key); ok && segmentKey(writer, number) != key {
			t.Fatalf("segment key %q", key)
		}
		if query, writer, number, ok := parseLinkKey(key); ok && linkKey(query, writer, number) != key {
			t.Fatalf("link key %q", key)
		}
		if instance, start, err := parseWriter(key); err == nil && !bytes.HasPrefix([]byte(newWriter(instance, start, [5]byte{})), []byte(key[:len(key)-8])) {
			t.Fatalf("writer %q", key)
		}
	})
}
