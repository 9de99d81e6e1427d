package evidence

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// Attacks by somebody who has the gateway's own signing key as well.

// rewrite makes a log's segments from a number on again, each record changed
// and all of it signed: consistent in itself.
func rewrite(t *testing.T, w *world, writer string, change func(line []byte) []byte) changed {
	t.Helper()
	return changed{w.store, Forge(t, w.store, w.signer, writer, 0, change)}
}

func sanctify(line []byte) []byte {
	return bytes.ReplaceAll(line, []byte(`"agent"`), []byte(`"saint"`))
}

func wantKinds(t *testing.T, store worm.Store, w *world, o Options, kinds ...Kind) []Finding {
	t.Helper()
	report, err := Verify(t.Context(), store, w.trusted, o)
	must(t, err)
	var got []Kind
	for _, f := range report.Findings {
		got = append(got, f.Kind)
	}
	if len(got) != len(kinds) {
		t.Fatalf("findings %+v, want %v", report.Findings, kinds)
	}
	for i := range got {
		if got[i] != kinds[i] {
			t.Fatalf("findings %+v, want %v", report.Findings, kinds)
		}
	}
	return report.Findings
}

// TestRewrittenLog: a kept checkpoint finds a rewritten past, and without one
// nothing does (docs/evidence-format.md says so).
func TestRewrittenLog(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	query(t, l)
	closeLog(t, l)
	kept := verify(t, w, Options{}).Checkpoints[l.Writer()]
	forged := rewrite(t, w, l.Writer(), sanctify)
	wantKinds(t, forged, w, Options{})
	wantKinds(t, forged, w, Options{Checkpoints: []string{kept}}, KindForked)
}

// TestRewrittenPredecessor: the successor's announcement is such a checkpoint.
func TestRewrittenPredecessor(t *testing.T) {
	w := newWorld(t)
	first := w.open(t, w.config("gw-1"))
	query(t, first)
	closeLog(t, first)
	closeLog(t, w.open(t, w.config("gw-1")))
	found := wantKinds(t, rewrite(t, w, first.Writer(), sanctify), w, Options{}, KindForked)
	if !strings.HasPrefix(found[0].Object, segmentPrefix(first.Writer())) {
		t.Errorf("found %+v", found)
	}
}

// TestReplacedSegment: one segment is made again in the middle of a log, with
// as many records or with more.
func TestReplacedSegment(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	query(t, l)
	query(t, l)
	closeLog(t, l)
	key, next := segmentKey(l.Writer(), 1), segmentKey(l.Writer(), 2)
	forged := rewrite(t, w, l.Writer(), sanctify).bodies[key]
	found := wantKinds(t, changed{w.store, map[string][]byte{key: forged}}, w, Options{}, KindForked)
	if found[0].Object != next {
		t.Errorf("found %+v", found)
	}

	object, err := w.store.Get(t.Context(), key, 0)
	must(t, err)
	s, err := parseSegment(object.Body)
	must(t, err)
	after, err := s.before()
	must(t, err)
	extra := Record{Writer: l.Writer(), Sequence: s.First + s.Count, Time: s.Time}
	extra.ID = recordID(extra.Writer, extra.Sequence)
	line, err := entryLine(&extra, []byte(`"type":"writer.heartbeat"}`))
	must(t, err)
	s.records = append(s.records, lines{entry: line})
	s.Count++
	for _, record := range s.records {
		must(t, after.add(record.entry))
	}
	forged, _, err = encodeSegment(s.header, s.records, after, w.signer)
	must(t, err)
	found = wantKinds(t, changed{w.store, map[string][]byte{key: forged}}, w, Options{}, KindForked)
	if found[0].Object != next {
		t.Errorf("found %+v", found)
	}
}

// TestOneFindingForOneAttack: what is broken once is reported once.
func TestOneFindingForOneAttack(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	for range 3 {
		query(t, l)
	}
	closeLog(t, l)
	closeLog(t, w.open(t, w.config("gw-1")))
	for n := range uint64(7) {
		key := segmentKey(l.Writer(), n)
		object, err := w.store.Get(t.Context(), key, 0)
		must(t, err)
		body := bytes.Replace(object.Body, []byte(`"type":"`), []byte(`"type":"x`), 1)
		found := wantKinds(t, changed{w.store, map[string][]byte{key: body}}, w, Options{}, KindContent)
		if found[0].Object != key {
			t.Errorf("found %+v", found)
		}
		found = wantKinds(t, without{w.store, key}, w, Options{}, KindMissing)
		if found[0].Object != key {
			t.Errorf("found %+v", found)
		}
	}
}

// TestRemovedWhileRunning: a segment that was acknowledged is missed at once
// in the log of a running writer, although its later ones are fresh.
func TestRemovedWhileRunning(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	for range 4 {
		_, err := l.Append(t.Context(), &Record{Type: TypeHeartbeat})
		must(t, err)
	}
	wantKinds(t, w.store, w, Options{})
	for n := range uint64(4) {
		key := segmentKey(l.Writer(), n)
		found := wantKinds(t, without{w.store, key}, w, Options{}, KindMissing)
		if found[0].Object != key {
			t.Errorf("found %+v", found)
		}
	}
}

// TestGapOfARunningWriter: what is honestly on its way is no finding while the
// writer may live, and is one when it has been silent for too long.
func TestGapOfARunningWriter(t *testing.T) {
	w := newWorld(t)
	r := record(t, w)
	// Without the successors that explain it.
	lone := w.store
	for _, writer := range []string{r.last, r.other} {
		lone = without{without{lone, announcementKey(writer)}, root + writer}
	}
	lone = without{lone, linksDir}
	wantKinds(t, lone, w, Options{})
	found := wantKinds(t, lone, w, Options{Now: time.Now().Add(time.Hour)}, KindMissing)
	if found[0].Object != segmentKey(r.died, r.gap) {
		t.Errorf("found %+v", found)
	}
}

// TestNoteIsCanonical: a signature that means the same but is written
// differently is refused, and so is one too many.
func TestNoteIsCanonical(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	closeLog(t, l)
	object, err := w.store.Get(t.Context(), announcementKey(l.Writer()), 0)
	must(t, err)
	if _, _, err := openAnnouncement(object.Body, w.trusted); err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(string(object.Body), "\n")
	line := text[strings.LastIndex(text, "\n")+1:]
	encoded := line[strings.LastIndex(line, " ")+1:]
	at := len(text) - 2 // the last character before "=": two bits of it mean nothing
	other := ""
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		changed := encoded[:len(encoded)-2] + string(c) + "="
		a, errA := base64.StdEncoding.DecodeString(changed)
		b, errB := base64.StdEncoding.DecodeString(encoded)
		if errA == nil && errB == nil && bytes.Equal(a, b) && changed != encoded {
			other = string(c)
			break
		}
	}
	if other == "" {
		t.Fatal("no other way to write the signature was found")
	}
	for name, msg := range map[string]string{
		"unused bits":  text[:at] + other + "=\n",
		"twice":        text + "\n" + line + "\n",
		"foreign line": text + "\n— somebody AAAAAAAA\n",
		"blank line":   text + "\n\n",
	} {
		if _, _, err := openAnnouncement([]byte(msg), w.trusted); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForeignKey: a key that is trusted for another gateway signs nothing here.
func TestForeignKey(t *testing.T) {
	w := newWorld(t)
	l := w.open(t, w.config("gw-1"))
	closeLog(t, l)
	private, public, err := GenerateSigner("gw")
	must(t, err)
	other, err := ParseSigner(private)
	must(t, err)
	w.trusted, err = ParseVerifiers([]byte(w.signer.VerifierKey() + "\n" + public))
	must(t, err)
	wantKinds(t, w.store, w, Options{})
	w.signer = other
	forged := rewrite(t, w, l.Writer(), sanctify)
	wantKinds(t, forged, w, Options{}, KindSignature, KindSignature)
}
