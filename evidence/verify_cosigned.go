package evidence

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// KindUnwitnessed: records were not cosigned in time, so that whoever had the
// gateway's key then could have made them again.
const KindUnwitnessed Kind = "unwitnessed"

const (
	// cosignSkew is how far the clocks of a gateway and a witness may be apart.
	cosignSkew = 5 * time.Minute
	// defaultWithin is the bound of a log that announces none, and maxWithin of
	// one that announces more: the auditor may choose another.
	defaultWithin = 15 * time.Minute
	maxWithin     = time.Hour
)

// cosigned says that witnesses vouched for a size of the log at a time.
type cosigned struct {
	size uint64
	at   time.Time
}

// ParseWitnessKeys reads the verifier keys of witnesses, one a line: Ed25519
// cosignatures (c2sp.org/tlog-cosignature). At least one is required.
func ParseWitnessKeys(text []byte) (note.Verifiers, error) {
	var list []note.Verifier
	for _, line := range keyLines(string(text)) {
		v, err := torchwood.NewCosignatureVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("reading witness keys: %w: %q is not the key of a witness", ErrInvalid, line)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("reading witness keys: %w: there is none", ErrInvalid)
	}
	return note.VerifierList(list...), nil
}

// LoadWitnessKeys reads a file of witnesses' keys.
func LoadWitnessKeys(path string) (note.Verifiers, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the auditor names the file
	if err != nil {
		return nil, fmt.Errorf("reading witness keys: %w", err)
	}
	return ParseWitnessKeys(text)
}

// sets trusts what one of several sets trusts.
type sets []note.Verifiers

func (s sets) Verifier(name string, hash uint32) (v note.Verifier, err error) {
	for _, set := range s {
		if v, err = set.Verifier(name, hash); err == nil {
			return v, nil
		}
	}
	return nil, err
}

// openCosigned verifies a log's own checkpoint with cosignatures: signed by the
// log's key, and every cosignature by a known witness right. It gives the
// earliest time of these, or none.
func openCosigned(msg string, log, witnesses note.Verifiers) (c Checkpoint, at time.Time, err error) {
	if witnesses == nil {
		witnesses = note.VerifierList()
	}
	n, err := note.Open([]byte(msg), sets{log, witnesses})
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &invalid):
		return c, at, fmt.Errorf("%w: the signature by %s is wrong", ErrInvalid, invalid.Name)
	case err != nil:
		return c, at, fmt.Errorf("%w: not signed by the log's key", ErrInvalid)
	}
	if c, err = parseCheckpoint(n.Text); err != nil {
		return c, at, err
	}
	for _, s := range slices.Concat(n.Sigs, n.UnverifiedSigs) {
		if raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil || base64.StdEncoding.EncodeToString(raw) != s.Base64 {
			return c, at, fmt.Errorf("%w: a signature is not in canonical base64", ErrInvalid)
		}
	}
	own := false
	earliest := int64(math.MaxInt64)
	for _, s := range n.Sigs {
		if _, err := log.Verifier(s.Name, s.Hash); err == nil {
			own = own || s.Name == c.keyName()
			continue
		}
		seconds, err := torchwood.CosignatureTimestamp(s)
		if err != nil {
			return c, at, fmt.Errorf("%w: the cosignature by %s tells no time", ErrInvalid, s.Name)
		}
		earliest = min(earliest, seconds)
	}
	if !own {
		return c, at, fmt.Errorf("%w: not signed by the log's key", ErrInvalid)
	}
	if earliest < math.MaxInt64 {
		at = time.Unix(earliest, 0)
	}
	return c, at, nil
}

// witnessed takes in a checkpoint of the log that witnesses cosigned.
func (v *verifier) witnessed(l *logState, r *Record, key string) {
	if r.Type != TypeWitnessed {
		if r.Witnessed != "" {
			v.recordFinding(key, r, KindUnexplained, "It holds cosignatures, which only writer.witnessed does.")
		}
		return
	}
	if text, err := noteText([]byte(r.Witnessed)); err == nil {
		if c, err := parseCheckpoint(text); err == nil && c.Writer() != l.writer {
			v.recordFinding(key, r, KindMisplaced, "It holds a checkpoint of another log, %s: cosignatures of that one say nothing here.",
				c.Writer())
			return
		}
	}
	c, at, err := openCosigned(r.Witnessed, v.keysOf(l), v.o.Witnesses)
	if err != nil {
		v.recordFinding(key, r, KindSignature, "The cosigned checkpoint that it holds was forged or changed: %v.", err)
		return
	}
	l.witnesses = append(l.witnesses, witness{Checkpoint: c, source: "what witnesses cosigned", at: at})
}

// within is how long after it was recorded a record must be cosigned.
func (v *verifier) within(l *logState) time.Duration {
	switch {
	case v.o.WitnessWithin > 0:
		return v.o.WitnessWithin
	case l.announcement == nil || l.announcement.WitnessWithinMS <= 0:
		return defaultWithin
	}
	return time.Duration(min(l.announcement.WitnessWithinMS, maxWithin.Milliseconds())) * time.Millisecond
}

// verifyCosigned checks that witnesses vouched in time for all of a log that is
// whole: what an attacker with the gateway's key cannot get for another history.
func (v *verifier) verifyCosigned() {
	if v.o.Witnesses == nil {
		return
	}
	for _, l := range v.logs {
		if l.end.tree != nil && !l.end.damaged && len(l.marks) > 0 {
			v.coverage(l)
		}
	}
}

func (v *verifier) coverage(l *logState) {
	sort.SliceStable(l.cosigned, func(i, j int) bool { return l.cosigned[i].size < l.cosigned[j].size })
	// What was cosigned later covers the earlier, too.
	for i := len(l.cosigned) - 2; i >= 0; i-- {
		if next := l.cosigned[i+1].at; next.Before(l.cosigned[i].at) {
			l.cosigned[i].at = next
		}
	}
	covered := uint64(0)
	if l.partial && l.marks[0].first == 0 {
		covered = l.marks[0].size // where the run begins
	}
	within := v.within(l)
	for _, c := range l.cosigned {
		if c.size <= covered {
			continue
		}
		if first, at := v.since(l, covered, c.size); first != nil && c.at.Sub(at) > within {
			v.finding(segmentKey(l.writer, first.segment), KindUnwitnessed, "Records since %s were cosigned at %s only, more than %s later: "+
				"until then whoever had the key could make them again.", at.Format(time.RFC3339), c.at.UTC().Format(time.RFC3339), within)
		}
		if last := l.markAt(c.size); last != nil && time.UnixMilli(last.last).Sub(c.at) > cosignSkew {
			v.finding(segmentKey(l.writer, last.segment), KindClock, "Its records say %s, and witnesses cosigned them at %s already.",
				time.UnixMilli(last.last).UTC().Format(time.RFC3339), c.at.UTC().Format(time.RFC3339))
		}
		covered = c.size
	}
	v.uncovered(l, covered, within)
}

// uncovered judges the end of a log, which nobody cosigned.
func (v *verifier) uncovered(l *logState, covered uint64, within time.Duration) {
	first, at := v.since(l, covered, math.MaxUint64)
	if first == nil || l.end.substance <= covered {
		return
	}
	object := segmentKey(l.writer, first.segment)
	switch {
	case l.end.closed:
		v.finding(object, KindUnwitnessed, "No witness you know cosigned the records since %s, although the log was closed after them: "+
			"whoever had the key could make them again.", at.Format(time.RFC3339))
	case l.end.last.Sub(at) > within:
		v.finding(object, KindUnwitnessed, "No witness you know cosigned the records since %s, up to %s: whoever had the key could make them again.",
			at.Format(time.RFC3339), l.end.last.Format(time.RFC3339))
	default:
		v.note(object, KindUnwitnessed, "The records since %s, the last of what is here, are not cosigned: they are as believable as the gateway's key.",
			at.Format(time.RFC3339))
	}
}

// since gives the first segment after a size, up to another, that needs to be
// cosigned, and since when; nil if there is none.
func (v *verifier) since(l *logState, covered, to uint64) (*mark, time.Time) {
	from := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].size > covered })
	for i := range l.marks[from:] {
		m := &l.marks[from+i]
		switch {
		case m.size > to:
			return nil, time.Time{}
		case time.UnixMilli(m.last).Before(v.o.WitnessSince):
		case time.UnixMilli(m.first).Before(v.o.WitnessSince):
			return m, v.o.WitnessSince
		default:
			return m, time.UnixMilli(m.first).UTC()
		}
	}
	return nil, time.Time{}
}

// markAt is the mark at a size, nil if there is none.
func (l *logState) markAt(size uint64) *mark {
	i, ok := slices.BinarySearchFunc(l.marks, size, func(m mark, size uint64) int {
		switch {
		case m.size < size:
			return -1
		case m.size > size:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &l.marks[i]
}

// cosignedBeyond takes a cosigned checkpoint beyond a run, whose consistency with
// the run is proved.
func (l *logState) cosignedBeyond(at time.Time) {
	if !at.IsZero() {
		l.cosigned = append(l.cosigned, cosigned{l.end.tree.size(), at})
	}
}

// witnessedIn finds the first cosigned checkpoint of a segment that is of a size
// or larger.
func witnessedIn(s *segment, size uint64) (text string, at uint64) {
	for i := range s.records {
		if !bytes.Contains(s.records[i].entry, []byte(typeField+`"`+string(TypeWitnessed)+`"`)) {
			continue
		}
		r, _, err := s.entry(i)
		if err != nil {
			continue // verification reports it
		}
		own, err := noteText([]byte(r.Witnessed))
		if err != nil {
			continue
		}
		if c, err := parseCheckpoint(own); err == nil && c.Size >= size && c.Size <= r.Sequence && strings.HasSuffix(c.Origin, "/"+s.Writer) {
			return r.Witnessed, c.Size
		}
	}
	return "", 0
}
