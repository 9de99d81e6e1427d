package evidence

import (
	"bytes"
	"context"
	"errors"
	"sort"
	"time"

	"github.com/chaperone-sql/chaperone/worm"
)

// witness is a checkpoint of a log that somebody else keeps.
type witness struct {
	Checkpoint
	source string
	// at is when witnesses cosigned it that the auditor knows; zero if none did.
	at time.Time
}

// mark is where a log was at the end of a segment.
type mark struct {
	size, segment uint64
	// first and last are the times of the segment's records in milliseconds
	// since 1970; 0 at the beginning of a run.
	first, last int64
	// root is half of the tree's root hash: a log can have millions of marks,
	// and to find another tree with the same half takes 2^128 tries.
	root [hashSize / 2]byte
}

func (m *mark) fits(root []byte) bool { return bytes.Equal(m.root[:], root[:len(m.root)]) }

// mark notes where the log is.
func (l *logState) mark(segment uint64) {
	root, err := l.end.tree.root()
	if err != nil {
		return
	}
	m := mark{size: l.end.tree.size(), segment: segment, first: milli(l.end.first), last: milli(l.end.last)}
	copy(m.root[:], root)
	l.marks = append(l.marks, m)
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// observation is what a record says of another writer.
type observation struct {
	Observation
	// object and record are where it says so, by whom.
	object, record, by string
}

// observers makes witnesses of what writers saw of each other. It runs when all
// logs are read.
func (v *verifier) observers(ctx context.Context) error {
	sort.SliceStable(v.observed, func(i, j int) bool { return v.observed[i].record < v.observed[j].record })
	told := make(map[string]bool) // what is reported once of each writer
	for _, o := range v.observed {
		l, known := v.logs[o.Writer]
		if !known {
			if err := v.unlisted(ctx, o, told); err != nil {
				return err
			}
			continue
		}
		if l.digest != "" && l.digest != o.Announcement && !told[o.Writer] {
			told[o.Writer] = true
			v.finding(announcementKey(o.Writer), KindContent, "This announcement is not the one that %s saw.", o.by)
		}
		if o.Checkpoint != "" {
			v.takeWitness(l, o.Checkpoint, o.object, "the log of "+o.by)
		}
	}
	return nil
}

// unlisted judges a writer that was seen and is not listed: it may have started
// after the listing.
func (v *verifier) unlisted(ctx context.Context, o observation, told map[string]bool) error {
	if told[o.Writer] {
		return nil
	}
	told[o.Writer] = true
	key := announcementKey(o.Writer)
	if _, err := v.store.Get(ctx, key, maxAnnouncement); err == nil || errors.Is(err, worm.ErrTooLarge) {
		return nil
	} else if !errors.Is(err, worm.ErrNotFound) && !errors.Is(err, worm.ErrBadKey) {
		return err
	}
	v.finding(key, KindMissing, "Writer %s is gone with its whole log: %s saw it.", o.Writer, o.by)
	return nil
}

// takeWitness takes in a checkpoint that object holds.
func (v *verifier) takeWitness(l *logState, text, object, source string) {
	c, err := OpenCheckpoint([]byte(text), v.trusted)
	if err != nil || c.Writer() != l.writer || l.key != nil && c.keyName() != l.key.Name() {
		v.finding(object, KindSignature, "What it tells of the log of %s was not signed by that writer: the log was forged then.",
			l.writer)
		return
	}
	l.witnesses = append(l.witnesses, witness{Checkpoint: c, source: source})
}

// compareWitnesses compares a log with what others saw of it: every honest
// checkpoint is at a segment's end.
func (v *verifier) compareWitnesses(ctx context.Context, l *logState) error {
	sort.SliceStable(l.witnesses, func(i, j int) bool { return l.witnesses[i].Size < l.witnesses[j].Size })
	for _, w := range l.witnesses {
		at := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].size >= w.Size })
		switch {
		case at == len(l.marks):
			if err := v.beyondEnd(ctx, l, w); err != nil || l.end.cut {
				return err
			}
		case l.marks[at].size == w.Size && l.marks[at].fits(w.Root):
			if !w.at.IsZero() {
				l.cosigned = append(l.cosigned, cosigned{w.Size, w.at})
			}
		case l.marks[at].size != w.Size && (l.end.damaged || l.partial && at == 0):
			// It is of a segment that is reported, or from before the run.
		default:
			v.finding(segmentKey(l.writer, l.marks[at].segment), KindForked,
				"The log differs from what was signed before: %s has another root at %d records.", w.source, w.Size)
			return nil // the later ones differ as well
		}
	}
	return nil
}

// beyondEnd judges a witness of a log that is longer than what was read.
func (v *verifier) beyondEnd(ctx context.Context, l *logState, w witness) error {
	switch {
	case l.end.tree == nil:
		return nil // the last segment is reported as broken
	case l.partial && !l.end.last.Before(v.bundle.manifest.Until):
		v.note(RunFile(l.writer), KindCut, "%s is of %d records: later than this bundle, which cannot be compared with it "+
			"without a proof.", w.source, w.Size)
		return nil
	}
	next := segmentKey(l.writer, l.end.next)
	if !v.o.Copy {
		// The log may have gone on since it was listed.
		if _, err := v.store.Get(ctx, next, maxSegment); !errors.Is(err, worm.ErrNotFound) {
			return err
		}
	}
	l.end.cut = true
	v.finding(next, KindCut, "The end of the log is gone: %s is of %d records.", w.source, w.Size)
	return nil
}
