package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
)

// attack is a line of the tamper matrix: what somebody with full write access to
// the storage does, some also with a gateway's signing key.
type attack struct {
	name string
	// key says that the attacker holds a gateway's current signing key.
	key bool
	do  func(s *scene)
	// object is what a finding of both verifiers must name: the key that begins so.
	object func(s *scene) string
	kind   evidence.Kind
	// alone is false if nothing finds it without a checkpoint that was kept.
	needs string
}

// needs says what is needed beside the copy itself.
const (
	nothing  = ""
	keptEnd  = "a checkpoint that was kept at the end"
	keptThen = "a checkpoint that was kept before"
	// The others are of witnesses.
	witnessKeys   = "the witnesses' keys"
	honestWitness = "the other witness' key"
	witnessList   = "what a witness holds (`chaperone witness checkpoints`)"
)

func segment(writer func(*scene) string, n uint64) func(*scene) string {
	return func(s *scene) string { return evidence.SegmentKey(writer(s), n) }
}

func closedWriter(s *scene) string { return s.closed }
func again(s *scene) string        { return s.again }
func across(s *scene) string       { return s.across }

// onCopies are attacks on the objects of the store.
var onCopies = []attack{
	{"a bit of a segment's header is flipped", false, func(s *scene) {
		s.change(evidence.SegmentKey(s.again, 1), func(b []byte) []byte { return flip(bytes.Index(b, []byte(`"durable":`)) + 10)(b) })
	}, segment(again, 1), evidence.KindContent, nothing},
	{"a bit of an entry is flipped", false, func(s *scene) {
		s.change(evidence.SegmentKey(s.again, 1), func(b []byte) []byte { return flip(bytes.Index(b, []byte(`"type":`)) + 9)(b) })
	}, segment(again, 1), evidence.KindContent, nothing},
	{"a signature is changed", false, func(s *scene) {
		s.change(evidence.SegmentKey(s.again, 1), func(b []byte) []byte {
			letter := byte('A') // another one of base64
			if b[len(b)-30] == letter {
				letter = 'B'
			}
			b[len(b)-30] = letter
			return b
		})
	}, segment(again, 1), evidence.KindSignature, nothing},
	{"a bit of an announcement is flipped", false, func(s *scene) { s.change(evidence.AnnouncementKey(s.across), flip(100)) },
		func(s *scene) string { return evidence.AnnouncementKey(s.across) }, evidence.KindSignature, nothing},
	{"a sealed part is replaced", false, func(s *scene) {
		s.change(evidence.SegmentKey(s.again, 1), func(b []byte) []byte {
			return evidence.ForgeBody(s.t, b, func(body []byte) []byte {
				return bytes.Replace(body, []byte(`"sealed":"`), []byte(`"sealed":"QUFB`), 1)
			})
		})
	}, segment(again, 1), evidence.KindContent, nothing},
	{"a masked row is changed", false, func(s *scene) {
		for n := range s.segments(s.closed) {
			s.change(evidence.SegmentKey(s.closed, n), func(b []byte) []byte { return bytes.Replace(b, []byte("[redacted]"), []byte("[readacted"), 1) })
		}
	}, segment(closedWriter, 2), evidence.KindContent, nothing},
	{"the first segment is removed", false, func(s *scene) { s.remove(evidence.SegmentKey(s.again, 0)) }, segment(again, 0), evidence.KindMissing, nothing},
	{"a segment in the middle is removed", false, func(s *scene) { s.remove(evidence.SegmentKey(s.again, 2)) }, segment(again, 2), evidence.KindMissing, nothing},
	{"two segments are swapped", false, func(s *scene) { s.swap(evidence.SegmentKey(s.again, 1), evidence.SegmentKey(s.again, 2)) }, segment(again, 1), evidence.KindMisplaced, nothing},
	{"segments of two writers are swapped", false, func(s *scene) { s.swap(evidence.SegmentKey(s.again, 1), evidence.SegmentKey(s.across, 1)) }, segment(across, 1), evidence.KindMisplaced, nothing},
	{"a segment is stored again as the next", false, func(s *scene) {
		s.write(evidence.SegmentKey(s.again, s.segments(s.again)), s.read(evidence.SegmentKey(s.again, 1)))
	}, func(s *scene) string { return evidence.SegmentKey(s.again, s.segments(s.again)-1) }, evidence.KindMisplaced, nothing},
	{"a segment is renamed", false, func(s *scene) {
		s.write(evidence.SegmentKey(s.again, 1)+".old", s.read(evidence.SegmentKey(s.again, 1)))
		s.remove(evidence.SegmentKey(s.again, 1))
	}, func(s *scene) string { return evidence.SegmentKey(s.again, 1) + ".old" }, evidence.KindUnexplained, nothing},
	{"an unknown object is added", false, func(s *scene) { s.write("evidence/note", []byte("x")) }, func(*scene) string { return "evidence/note" }, evidence.KindUnexplained, nothing},
	{"the end of a closed log is cut", false, func(s *scene) {
		for n := s.segments(s.again) - 3; n < s.segments(s.again)+3; n++ {
			s.remove(evidence.SegmentKey(s.again, n))
		}
	}, func(s *scene) string { return evidence.SegmentKey(s.again, s.segments(s.again)) }, evidence.KindCut, nothing},
	{"a writer is removed with all it wrote", false, func(s *scene) {
		s.remove(evidence.AnnouncementKey(s.closed), "evidence/"+s.closed)
	}, func(s *scene) string { return evidence.AnnouncementKey(s.closed) }, evidence.KindMissing, nothing},
	{"the newest writer of an instance is removed with all it wrote", false, func(s *scene) {
		s.remove(evidence.AnnouncementKey(s.across), "evidence/"+s.across, "evidence/links", "fetched.json")
	}, func(s *scene) string { return evidence.AnnouncementKey(s.across) }, evidence.KindMissing, nothing},
	{"everything is removed but approvals", false, func(s *scene) { s.remove("evidence") },
		func(*scene) string { return evidence.AnnouncementKey("") }, evidence.KindMissing, nothing},
	{"an announcement is removed", false, func(s *scene) { s.remove(evidence.AnnouncementKey(s.again)) },
		func(s *scene) string { return evidence.AnnouncementKey(s.again) }, evidence.KindMissing, nothing},
	{"a log is removed and its announcement left", false, func(s *scene) { s.remove("evidence/" + s.across) }, segment(across, 0), evidence.KindCut, nothing},
	{"a segment is signed again with an unknown key", false, func(s *scene) {
		stranger, _ := newSigner(s.t, "gw-1")
		s.forge(stranger, s.again, 1, `"alice"`, `"mallo"`)
	}, segment(again, 1), evidence.KindSignature, nothing},
	{"a segment is signed again with another gateway's key", true, func(s *scene) { s.forge(s.other, s.again, 1, `"alice"`, `"mallo"`) }, segment(again, 1), evidence.KindSignature, nothing},
	{"a cut is explained by a successor that another gateway's key announces", true, func(s *scene) {
		s.explain("gw-1")
	}, func(*scene) string { return evidence.AnnouncementKey("gw-1") }, evidence.KindSignature, nothing},
	{"a cut is explained by another gateway with its own key", true, func(s *scene) { s.explain("gw-2") },
		func(*scene) string { return evidence.AnnouncementKey("gw-2") }, evidence.KindMalformed, nothing},
	{"a valid segment of another bucket is put in", true, func(s *scene) {
		foreign := newArena(s.t)
		s.write(evidence.SegmentKey(s.again, 1), (&scene{foreign, foreign.copied}).read(evidence.SegmentKey(foreign.again, 1)))
	}, segment(again, 1), evidence.KindMisplaced, nothing},
	{"a segment in the middle is made again with the gateway's key", true, func(s *scene) {
		objects := evidence.Forge(s.t, s.store(), s.signer, s.again, 1, func(e []byte) []byte { return bytes.ReplaceAll(e, []byte(`"alice"`), []byte(`"mallo"`)) })
		s.write(evidence.SegmentKey(s.again, 1), objects[evidence.SegmentKey(s.again, 1)])
	}, segment(again, 2), evidence.KindForked, nothing},
	{"the past is made again with the gateway's key, and another gateway saw it", true, func(s *scene) {
		s.remove("fetched.json")
		s.forge(s.signer, s.again, 1, `"alice"`, `"mallo"`)
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindForked, nothing},
	{"the past is made again with the gateway's key, and a successor saw it", true, func(s *scene) {
		s.remove("fetched.json")
		s.forge(s.signer, s.closed, 1, `"alice"`, `"mallo"`)
	}, func(s *scene) string { return "evidence/" + s.closed }, evidence.KindForked, nothing},
	{"what nobody saw yet is made again with the gateway's key", true, func(s *scene) {
		s.remove("fetched.json")
		s.rewrite(s.across, s.unseen(s.across), nil)
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindForked, keptEnd},
	{"the same, and there were witnesses", true, func(s *scene) {
		s.remove("fetched.json")
		s.rewrite(s.across, s.unseen(s.across), nil)
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindUnwitnessed, witnessKeys},
	{"the same, with its cosignatures", true, func(s *scene) {
		s.remove("fetched.json")
		s.forge(s.other, s.across, s.unseen(s.across), `"bob"`, `"eve"`)
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindForked, nothing},
	{"the same, with forged cosignatures", true, func(s *scene) {
		s.remove("fetched.json")
		s.rewrite(s.across, s.unseen(s.across), func(checkpoint string) string {
			verifier := s.one.signer.Verifier()
			raw := append(binary.BigEndian.AppendUint32(nil, verifier.KeyHash()), make([]byte, 72)...)
			return checkpoint + "— " + verifier.Name() + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
		})
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindSignature, witnessKeys},
	{"the same, with cosignatures by a key that calls itself a witness", true, func(s *scene) {
		s.remove("fetched.json")
		s.rewrite(s.across, s.unseen(s.across), cosignedBy(s, s.arena.witness("witness.test/1").signer))
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindUnwitnessed, witnessKeys},
	{"the same, with the cosigned checkpoint of another log", true, func(s *scene) {
		s.remove("fetched.json")
		foreign := s.cosigned(s.again)
		s.rewrite(s.across, s.unseen(s.across), func(string) string { return foreign })
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindMisplaced, nothing},
	{"the same, and one of two witnesses cosigns it again", true, func(s *scene) {
		s.remove("fetched.json")
		s.rewrite(s.across, s.unseen(s.across), cosignedBy(s, s.one.signer))
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindUnwitnessed, honestWitness},
	{"records are dated back with the gateway's key", true, func(s *scene) {
		s.remove("fetched.json")
		year := time.Now().UTC().Format(`"time":"2006-`)
		s.forge(s.other, s.across, s.unseen(s.across), year, `"time":"2001-`)
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindOrder, nothing},
	{"an approval is forged with the approver's gateway's key: it approved something else", true, func(s *scene) {
		s.remove("fetched.json")
		s.forge(s.signer, s.again, 0, `#carol"`, `#mallo"`)
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindOrder, nothing},
	{"the record of an approval is removed from the log with the gateway's key", true, func(s *scene) {
		s.remove("fetched.json")
		s.forge(s.other, s.across, 0, `"approval.decided"`, `"approval.viewed"`)
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindOrder, nothing},
	{"the store is rolled back to yesterday", false, func(s *scene) {
		check(s.t, os.RemoveAll(s.path))
		check(s.t, os.CopyFS(s.path, os.DirFS(s.yesterday)))
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindCut, keptEnd},
	{"the store is rolled back to yesterday, and a witness is asked", false, func(s *scene) {
		check(s.t, os.RemoveAll(s.path))
		check(s.t, os.CopyFS(s.path, os.DirFS(s.yesterday)))
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindCut, witnessList},
	{"the end of a running log is cut", false, func(s *scene) {
		check(s.t, os.RemoveAll(s.path))
		check(s.t, os.CopyFS(s.path, os.DirFS(s.yesterday)))
		s.remove("fetched.json", evidence.SegmentKey(s.across, s.segments(s.across)-1))
	}, func(s *scene) string { return evidence.SegmentKey(s.across, s.segments(s.across)) }, evidence.KindCut, keptThen},
	{"a link is removed", false, func(s *scene) { s.remove(s.link()) }, func(s *scene) string { return "evidence/links/" }, evidence.KindMissing, nothing},
	{"a link is changed", false, func(s *scene) { s.change(s.link(), flip(-3)) }, func(s *scene) string { return "evidence/links/" }, evidence.KindContent, nothing},
}

// explain cuts the end of gw-1's log, which nobody saw, and announces a new writer
// that saw it die there, signed with the key of gw-2.
func (s *scene) explain(instance string) {
	last := s.segments(s.again) - 2
	s.remove("fetched.json", evidence.SegmentKey(s.again, last+1))
	_, note, _ := strings.Cut(string(s.read(evidence.SegmentKey(s.again, last))), "\ngw-1/")
	key, body := evidence.Announce(s.t, s.other, instance, time.Now(),
		evidence.Predecessor{Writer: s.again, Segments: last + 1, Checkpoint: "gw-1/" + note})
	s.write(key, body)
}

// rewrite makes the end of gw-2's log again with its key. cosign gives the notes of
// its writer.witnessed, from the log's checkpoint then; nil leaves these out.
func (s *scene) rewrite(writer string, from uint64, cosign func(checkpoint string) string) {
	s.t.Helper()
	store := s.store()
	for key, body := range evidence.ForgeAll(s.t, store, s.other, writer, from, func(entry []byte, checkpoint string) []byte {
		entry = bytes.ReplaceAll(entry, []byte(`"bob"`), []byte(`"eve"`))
		if !bytes.Contains(entry, []byte(`"type":"writer.witnessed"`)) {
			return entry
		}
		head, _, _ := bytes.Cut(entry, []byte(`"type":`))
		if cosign == nil {
			return append(bytes.Clone(head), `"type":"writer.heartbeat"}`...)
		}
		note, err := json.Marshal(cosign(checkpoint))
		check(s.t, err)
		return append(append(append(bytes.Clone(head), `"type":"writer.witnessed","witnessed":`...), note...), '}')
	}) {
		s.write(key, body)
	}
}

// cosignedBy has a checkpoint cosigned by a witness that does not look.
func cosignedBy(s *scene, signer *torchwood.CosignatureSigner) func(string) string {
	return func(checkpoint string) string {
		n, err := note.Open([]byte(checkpoint), s.trusted)
		check(s.t, err)
		signed, err := note.Sign(n, signer)
		check(s.t, err)
		return string(signed)
	}
}

// cosignedIn is cosigned of another copy.
func (s *scene) cosignedIn(path, writer string) string {
	return (&scene{s.arena, path}).cosigned(writer)
}

// cosigned is what the last writer.witnessed of a log holds.
func (s *scene) cosigned(writer string) (text string) {
	s.t.Helper()
	check(s.t, evidence.NewReader(s.store(), s.trusted).Records(s.t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		if r.Writer == writer && r.Witnessed != "" {
			text = r.Witnessed
		}
		return true
	}))
	if text == "" {
		s.t.Fatal("nothing was cosigned")
	}
	return text
}

// link is the key of a link.
func (s *scene) link() string {
	found, err := filepath.Glob(s.file("evidence/links/*/*"))
	check(s.t, err)
	if len(found) == 0 {
		s.t.Fatal("no link")
	}
	name, err := filepath.Rel(s.path, found[0])
	check(s.t, err)
	return filepath.ToSlash(name)
}

// unseen is the number of the first segment of a writer that no other log tells
// of.
func (s *scene) unseen(writer string) uint64 {
	s.t.Helper()
	seen := uint64(0)
	reader := evidence.NewReader(s.store(), s.trusted)
	check(s.t, reader.Records(s.t.Context(), evidence.Filter{}, func(r *evidence.Record) bool {
		for _, o := range r.Observed {
			if o.Writer == writer && o.Checkpoint != "" {
				c, err := evidence.OpenCheckpoint([]byte(o.Checkpoint), s.trusted)
				check(s.t, err)
				seen = max(seen, c.Size)
			}
		}
		return true
	}))
	for n := range s.segments(writer) {
		if _, size := evidence.SegmentSpan(s.t, s.read(evidence.SegmentKey(writer, n))); size > seen {
			return n
		}
	}
	s.t.Fatalf("all of %s was seen", writer)
	return 0
}

// TestTamperMatrixCopies: every attack on the objects is found by both verifiers,
// with the right object named.
func TestTamperMatrixCopies(t *testing.T) {
	a := newArena(t)
	table := &matrix{title: "Attacks on the objects of the store"}
	for _, c := range onCopies {
		t.Run(c.name, func(t *testing.T) { table.add(c, c.run(t, a, a.copied, a.goCopy)) })
	}
	table.compare(t, "copies.md", len(onCopies))
}

// matrix is a table for docs/tamper-matrix.md.
type matrix struct {
	title string
	lines []string
}

// TestWitnessedProof: a bundle of a log that goes on proves a later cosigned
// checkpoint, so that all of its period is cosigned.
func TestWitnessedProof(t *testing.T) {
	a := newArena(t)
	with := help{witnesses: a.one.key}
	for name, by := range map[string]verifierOf{"go": a.goBundle, "python": a.python} {
		s := &scene{a, filepath.Join(t.TempDir(), "copy")}
		check(t, os.CopyFS(s.path, os.DirFS(a.bundles["before the end"])))
		open := func() (notes int, findings []evidence.Finding) {
			t.Helper()
			report, err := by(s.path, with)
			check(t, err)
			for _, n := range report.Notes {
				if strings.Contains(n.Message, "are not cosigned") {
					notes++
				}
			}
			return notes, report.Findings
		}
		if notes, findings := open(); notes > 0 || len(findings) > 0 {
			t.Errorf("%s: as it was: %d ends are not cosigned, %+v", name, notes, findings)
		}
		file := evidence.ProofFile(s.across)
		change := func(change func(p *evidence.Proof)) {
			var p evidence.Proof
			check(t, json.Unmarshal(s.read(file), &p))
			change(&p)
			text, err := json.Marshal(p)
			check(t, err)
			s.write(file, text)
			s.relist(nil)
		}
		honest := s.read(file)
		change(func(p *evidence.Proof) { p.Witnessed, p.WitnessedHashes = "", nil })
		if notes, findings := open(); notes != 1 || len(findings) > 0 {
			t.Errorf("%s: without: %d ends are not cosigned, %+v", name, notes, findings)
		}
		s.write(file, honest)
		change(func(p *evidence.Proof) { p.Witnessed = s.cosignedIn(s.copied, s.again) })
		if _, findings := open(); len(findings) != 1 || findings[0].Object != file {
			t.Errorf("%s: of another log: %+v", name, findings)
		}
		s.write(file, honest)
		change(func(p *evidence.Proof) { p.WitnessedHashes = append(p.WitnessedHashes, p.WitnessedHashes[0]) })
		if _, findings := open(); len(findings) != 1 || findings[0].Object != file {
			t.Errorf("%s: with a wrong proof: %+v", name, findings)
		}
	}
}

// names are what differs from run to run in a message.
var names = regexp.MustCompile(`(gw-\d)-[0-9a-z]{9}-[0-9a-v]{8}|q_[0-9a-v]{32}`)

func (m *matrix) add(c attack, f evidence.Finding) {
	who := "write access"
	if c.key {
		who += " and a gateway's key"
	}
	needs := c.needs
	if needs == nothing {
		needs = "nothing"
	}
	message := times.ReplaceAllString(names.ReplaceAllString(f.Message, "$1-…"), "… $1$2")
	m.lines = append(m.lines, fmt.Sprintf("| %s | %s | `%s` | %s | %s |", c.name, who, c.kind, message, needs))
}

// times are moments and counts in a message.
var times = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z|/segments/\d+|\b\d+ (records|queries)\b|\b(are) \d+ and \d+`)

// compare compares the table with the one that docs/ holds.
func (m *matrix) compare(t *testing.T, file string, want int) {
	t.Helper()
	if len(m.lines) != want || t.Failed() {
		return // a part of it was run, or failed
	}
	text := "### " + m.title + "\n\n| attack | by whom | kind | what the message says | needed beside the copy |\n|---|---|---|---|---|\n" +
		strings.Join(m.lines, "\n") + "\n"
	evidence.Golden(t, filepath.Join("..", "docs", "tamper-matrix", file), text)
}

func (c attack) run(t *testing.T, a *arena, from string, goVerifier verifierOf) (found evidence.Finding) {
	own := *a
	own.t = t
	s := &scene{&own, filepath.Join(t.TempDir(), "copy")}
	check(t, os.CopyFS(s.path, os.DirFS(from)))
	c.do(s)
	var with help
	switch c.needs {
	case keptEnd:
		with.kept = a.kept
	case keptThen:
		with.kept = a.early
	case witnessKeys:
		with.witnesses = a.one.key + a.two.key
	case honestWitness:
		with.witnesses = a.two.key
	case witnessList:
		with.kept = a.list
	}
	for name, by := range map[string]verifierOf{"go": goVerifier, "python": own.python} {
		if c.needs != nothing {
			alone, err := by(s.path, help{})
			check(t, err)
			if len(alone.Findings) > 0 {
				t.Errorf("%s finds it alone: %+v", name, alone.Findings[0])
			}
		}
		report, err := by(s.path, with)
		check(t, err)
		f, ok := c.found(report, s)
		if !ok {
			t.Errorf("%s: no finding of kind %s names %s: %s", name, c.kind, c.object(s), listed(report))
		}
		if name == "go" {
			found = f
		}
	}
	return found
}

func (c attack) found(report *evidence.Report, s *scene) (evidence.Finding, bool) {
	for _, f := range report.Findings {
		if f.Kind == c.kind && strings.HasPrefix(f.Object, c.object(s)) {
			return f, true
		}
	}
	return evidence.Finding{}, false
}

func listed(r *evidence.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n  %s %s %s: %s", f.Kind, f.Object, f.Record, f.Message)
	}
	return b.String()
}

// onBundles are attacks on an unpacked bundle of the kind that on names.
var onBundles = []struct {
	attack
	on string
}{
	{attack{"the report is edited", false, func(s *scene) { s.write("report.html", []byte("<p>nothing happened\n")) },
		func(*scene) string { return "report.html" }, evidence.KindContent, nothing}, "signed"},
	{attack{"the report is edited and the manifest made to fit", false, func(s *scene) {
		line := bytes.Split(s.read(evidence.ManifestFile), []byte("\n\n"))[1]
		s.write("report.html", []byte("<p>nothing happened\n"))
		s.relist(nil)
		s.change(evidence.ManifestFile, func(b []byte) []byte { return append(append(b, '\n'), line...) })
	}, func(*scene) string { return evidence.ManifestFile }, evidence.KindSignature, nothing}, "signed"},
	{attack{"the manifest's period is edited", false, func(s *scene) {
		s.relist(func(m *evidence.Manifest) { m.Since = m.Since.Add(-24 * time.Hour); m.Records-- })
	}, func(*scene) string { return evidence.ManifestFile }, evidence.KindContent, nothing}, "unsigned"},
	{attack{"the manifest's end is moved into the future", false, func(s *scene) {
		s.relist(func(m *evidence.Manifest) { m.Until = m.Created.Add(time.Hour) })
	}, func(*scene) string { return evidence.ManifestFile }, evidence.KindOrder, nothing}, "unsigned"},
	{attack{"the manifest is removed", false, func(s *scene) { s.remove(evidence.ManifestFile) },
		func(*scene) string { return evidence.ManifestFile }, evidence.KindMissing, nothing}, "signed"},
	{attack{"a proof is edited", false, func(s *scene) {
		s.write(evidence.ProofFile(s.again), []byte(`{"size":1,"checkpoint":"x","proof":[]}`))
		s.relist(func(m *evidence.Manifest) {
			m.Files[evidence.ProofFile(s.again)] = s.entry(evidence.ProofFile(s.again))
		})
	}, func(s *scene) string { return evidence.ProofFile(s.again) }, evidence.KindContent, nothing}, "unsigned"},
	{attack{"a file is added", false, func(s *scene) { s.write("evidence/more", []byte("x")) },
		func(*scene) string { return "evidence/more" }, evidence.KindUnexplained, nothing}, "signed"},
	{attack{"an entry is edited and the manifest made to fit", false, func(s *scene) {
		s.change(evidence.RunFile(s.again), func(b []byte) []byte { return bytes.Replace(b, []byte(`"alice"`), []byte(`"mallo"`), 1) })
		s.relist(nil)
	}, segment(again, 1), evidence.KindContent, nothing}, "unsigned"},
	{attack{"a body is edited and the manifest made to fit", false, func(s *scene) {
		s.change(evidence.RunFile(s.again), func(b []byte) []byte { return bytes.Replace(b, []byte("[redacted]"), []byte("[readacted"), 1) })
		s.relist(nil)
	}, segment(again, 2), evidence.KindContent, nothing}, "unsigned"},
	{attack{"a segment is left out in the middle of a run", false, func(s *scene) {
		s.run(s.again, func(o [][]byte) [][]byte { return append(o[:1:1], o[2:]...) })
		s.relist(nil)
	}, segment(again, 1), evidence.KindMissing, nothing}, "unsigned"},
	{attack{"two segments of a run are swapped", false, func(s *scene) {
		s.run(s.again, func(o [][]byte) [][]byte { o[1], o[2] = o[2], o[1]; return o })
		s.relist(nil)
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindMissing, nothing}, "unsigned"},
	{attack{"the end of a run is cut and the manifest made to fit", false, func(s *scene) {
		var size uint64
		n := 0
		s.run(s.again, func(o [][]byte) [][]byte {
			o = o[:len(o)-3] // writer.closed, writer.witnessed, and what somebody did
			_, size = evidence.SegmentSpan(s.t, o[len(o)-1])
			n = len(o)
			return o
		})
		s.remove(evidence.ProofFile(s.again))
		s.relist(func(m *evidence.Manifest) {
			run := m.Runs[s.again]
			run.To, run.Size = run.From+uint64(n), size
			m.Runs[s.again] = run
			m.Created = m.Created.Add(time.Hour)
		})
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindCut, nothing}, "unsigned"},
	{attack{"the beginning of a run is cut and the manifest made to fit", false, func(s *scene) {
		var first uint64
		s.run(s.again, func(o [][]byte) [][]byte { first, _ = evidence.SegmentSpan(s.t, o[2]); return o[2:] })
		s.relist(func(m *evidence.Manifest) {
			run := m.Runs[s.again]
			run.From, run.First = 2, first
			m.Runs[s.again] = run
		})
	}, segment(again, 1), evidence.KindMissing, nothing}, "unsigned"},
	{attack{"a writer is left out with its run", false, func(s *scene) {
		s.remove(evidence.AnnouncementFile(s.across), evidence.RunFile(s.across), evidence.ProofFile(s.across))
		s.relist(func(m *evidence.Manifest) { delete(m.Runs, s.across) })
	}, func(s *scene) string { return evidence.AnnouncementFile(s.across) }, evidence.KindMissing, nothing}, "unsigned"},
	{attack{"every writer is left out", false, func(s *scene) {
		s.remove("evidence")
		s.relist(func(m *evidence.Manifest) { m.Runs, m.Records, m.Queries = map[string]evidence.Run{}, 0, 0 })
	}, func(*scene) string { return evidence.AnnouncementFile("") }, evidence.KindMissing, nothing}, "unsigned"},
	{attack{"the period is turned round", false, func(s *scene) {
		s.relist(func(m *evidence.Manifest) { m.Since, m.Records, m.Queries = m.Until, 0, 0 })
	}, func(*scene) string { return evidence.ManifestFile }, evidence.KindOrder, nothing}, "unsigned"},
	{attack{"a run is left out", false, func(s *scene) {
		s.remove(evidence.RunFile(s.across), evidence.ProofFile(s.across))
		s.relist(func(m *evidence.Manifest) { delete(m.Runs, s.across); m.Created = m.Created.Add(time.Hour) })
	}, func(s *scene) string { return evidence.RunFile(s.across) }, evidence.KindMissing, nothing}, "unsigned"},
	{attack{"a record is left out that the filter chooses", false, func(s *scene) {
		s.run(s.again, func(o [][]byte) [][]byte {
			for i := range o {
				o[i] = evidence.Withhold(s.t, o[i], func(r *evidence.Record) bool { return r.QueryID == s.secret && r.Type == evidence.TypeOutcome })
			}
			return o
		})
		s.relist(nil)
	}, func(s *scene) string { return "evidence/" + s.again }, evidence.KindWithheld, nothing}, "filtered"},
	{attack{"a record of the same query, which does not match by itself, is left out", false, func(s *scene) {
		s.run(s.across, func(o [][]byte) [][]byte {
			for i := range o {
				o[i] = evidence.Withhold(s.t, o[i], func(r *evidence.Record) bool { return r.QueryID == s.approved })
			}
			return o
		})
		s.relist(nil)
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindWithheld, nothing}, "filtered"},
	{attack{"the filter is narrowed", false, func(s *scene) {
		s.relist(func(m *evidence.Manifest) { m.Filter.SessionID = "s-bob" })
	}, func(*scene) string { return evidence.ManifestFile }, evidence.KindContent, nothing}, "filtered"},
	{attack{"bodies are withheld in a bundle without a filter", false, func(s *scene) {
		s.run(s.again, func(o [][]byte) [][]byte {
			o[1] = evidence.Withhold(s.t, o[1], func(*evidence.Record) bool { return true })
			return o
		})
		s.relist(nil)
	}, segment(again, 1), evidence.KindContent, nothing}, "unsigned"},
	{attack{"the bundle is made of a log whose end was made again with the gateway's key", true, func(s *scene) {
		forged := &scene{s.arena, filepath.Join(s.t.TempDir(), "forged")}
		check(s.t, os.CopyFS(forged.path, os.DirFS(s.copied)))
		forged.rewrite(s.across, forged.unseen(s.across), nil)
		made := s.bundleOf(forged.store(), evidence.Filter{Since: s.began, Until: time.Now().UTC()}, s.signer)
		check(s.t, os.RemoveAll(s.path))
		check(s.t, os.CopyFS(s.path, os.DirFS(made)))
	}, func(s *scene) string { return "evidence/" + s.across }, evidence.KindUnwitnessed, witnessKeys}, "unsigned"},
	{attack{"a segment is signed again with an unknown key", false, func(s *scene) {
		stranger, _ := newSigner(s.t, "gw-1")
		s.run(s.again, func(o [][]byte) [][]byte {
			o[1] = evidence.Resign(s.t, o[1], stranger)
			return o
		})
		s.relist(nil)
	}, segment(again, 1), evidence.KindSignature, nothing}, "unsigned"},
}

// entry is what a manifest says of a file.
func (s *scene) entry(name string) evidence.File {
	body := s.read(name)
	sum := sha256.Sum256(body)
	return evidence.File{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body))}
}

// TestTamperMatrixBundles: every attack on a bundle is found by both verifiers,
// with the right object named.
func TestTamperMatrixBundles(t *testing.T) {
	a := newArena(t)
	for kind, path := range a.bundles {
		for name, by := range map[string]verifierOf{"go": a.goBundle, "python": a.python} {
			for _, with := range []help{{}, {witnesses: a.two.key}} {
				report, err := by(path, with)
				check(t, err)
				if len(report.Findings) > 0 {
					t.Fatalf("%s, %s: findings before any attack: %s", kind, name, listed(report))
				}
				about := report.Bundle
				if about == nil || !about.Since.Equal(a.began) || about.Maker != "a test" || (kind == "filtered") != (about.Filter != nil) ||
					about.Filter != nil && *about.Filter != (evidence.Filter{Principal: "alice"}) {
					t.Errorf("%s, %s: it does not say what the bundle is about: %+v", kind, name, about)
				}
			}
		}
	}
	table := &matrix{title: "Attacks on a bundle"}
	for _, c := range onBundles {
		t.Run(c.name, func(t *testing.T) { table.add(c.attack, c.run(t, a, a.bundles[c.on], a.goBundle)) })
	}
	table.compare(t, "bundles.md", len(onBundles))
}

var flips = flag.Int("flips", 20, "random flips of TestVerifiersAgree, in copies and in bundles")

// TestVerifiersAgree flips random bits of a copy and of a bundle: both verifiers
// find each, and name the same object.
func TestVerifiersAgree(t *testing.T) {
	a := newArena(t)
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0)) // #nosec G404 G115 -- a seed that is told
	for kind, c := range map[string]struct {
		from     string
		verifier verifierOf
	}{"copy": {a.copied, a.goCopy}, "bundle": {a.bundles["signed"], a.goBundle}} {
		var files []string
		check(t, filepath.WalkDir(c.from, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != "fetched.json" && !strings.HasPrefix(d.Name(), ".") {
				files = append(files, path)
			}
			return err
		}))
		for range *flips {
			own := *a
			own.t = t
			s := &scene{&own, filepath.Join(t.TempDir(), "copy")}
			check(t, os.CopyFS(s.path, os.DirFS(c.from)))
			name, err := filepath.Rel(c.from, files[random.IntN(len(files))])
			check(t, err)
			size := len(s.read(name))
			if size == 0 {
				continue
			}
			at, bit := random.IntN(size), byte(1)<<random.IntN(8)
			s.change(name, func(b []byte) []byte { b[at] ^= bit; return b })
			one, err := c.verifier(s.path, help{})
			check(t, err)
			two, err := own.python(s.path, help{})
			check(t, err)
			if len(one.Findings) == 0 || len(two.Findings) == 0 || !sameObject(one, two) {
				t.Errorf("%s, seed %d: bit %#x of byte %d of %s: go %s\npython %s", kind, seed, bit, at, name, listed(one), listed(two))
			}
		}
	}
}

// sameObject reports whether some object is named by both.
func sameObject(one, two *evidence.Report) bool {
	for _, f := range one.Findings {
		for _, g := range two.Findings {
			if f.Object == g.Object {
				return true
			}
		}
	}
	return false
}
