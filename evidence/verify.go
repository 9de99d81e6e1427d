package evidence

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/worm"
)

// Kind says what a finding is about.
type Kind string

// The kinds of findings, each with what it means.
const (
	// KindMalformed: an object is not what its format says.
	KindMalformed Kind = "malformed"
	// KindSignature: a signature is wrong, or by a key that is not trusted.
	KindSignature Kind = "signature"
	// KindContent: bytes changed: they do not give what was signed.
	KindContent Kind = "content"
	// KindMissing: an object must exist and does not.
	KindMissing Kind = "missing"
	// KindMisplaced: an object is stored under another one's key.
	KindMisplaced Kind = "misplaced"
	// KindForked: a log has two histories.
	KindForked Kind = "forked"
	// KindCut: the end of a log is gone, or not explained.
	KindCut Kind = "cut"
	// KindOrder: records out of order, of time or of cause.
	KindOrder Kind = "order"
	// KindUnexplained: something nobody should have written.
	KindUnexplained Kind = "unexplained"
	// KindAnomaly: the store tells of an attempt to hide or replace an object.
	KindAnomaly Kind = "anomaly"
	// KindClock: a writer's clock and the store's disagree.
	KindClock Kind = "clock"
)

// Finding is one thing that is wrong, or, among Report.Notes, worth knowing.
type Finding struct {
	// Object is the key of the object concerned.
	Object string `json:"object"`
	// Record is the record concerned, "" for the whole object.
	Record string `json:"record,omitempty"`
	Kind   Kind   `json:"kind"`
	// Message says in a sentence what it is and what it means.
	Message string `json:"message"`
}

// Report is the outcome of a verification. It is clean if Findings is empty.
type Report struct {
	Findings []Finding `json:"findings"`
	// Notes are no findings: writers still running, ends that are explained.
	Notes []Finding `json:"notes"`

	Objects  int64 `json:"objects"`
	Writers  int64 `json:"writers"`
	Segments int64 `json:"segments"`
	Records  int64 `json:"records"`
	// Queries counts intents; Interrupted those without an outcome.
	Queries     int64 `json:"queries"`
	Interrupted int64 `json:"interrupted"`
	// Bundle says what a bundle is about; nil for a store.
	Bundle *Scope `json:"bundle,omitempty"`
	// First and Last are the times of the earliest and latest record.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Checkpoints are the last ones seen, by writer: an auditor who keeps
	// them finds later whether a log lost its end.
	Checkpoints map[string]string `json:"checkpoints"`
}

// Scope is what a bundle is about by its manifest: whoever asked for one compares
// it with the question.
type Scope struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Created time.Time `json:"created"`
	Maker   string    `json:"maker"`
	// Filter chooses the records of which the content is there; nil for all.
	Filter *Filter `json:"filter,omitempty"`
}

// Options are how to verify. Zero is the default of each.
type Options struct {
	// Now is when the store was as it is: time.Now for a bucket, the time of
	// fetching for a copy (taken from Fetch's manifest if Copy is set).
	Now time.Time
	// MaxSilence is how long a running writer may have been silent at Now;
	// 0 is twice the heartbeat it announced and 15 s.
	MaxSilence time.Duration
	// Checkpoints are signed checkpoints that the auditor kept.
	Checkpoints []string
	// Witnesses are the keys of witnesses (ParseWitnessKeys). If they are set,
	// every log must be cosigned by one of them.
	Witnesses note.Verifiers
	// WitnessWithin is how long after it was recorded a record must be cosigned;
	// 0 is what the log announced, at most an hour.
	WitnessWithin time.Duration
	// WitnessSince is when there began to be witnesses: what was recorded before
	// need not be cosigned.
	WitnessSince time.Time
	// Copy says that the store is a folder made by Fetch or another tool: its
	// modification times mean nothing, and its manifest is used.
	Copy bool
	// ClockSkew is how far a writer's clock may be ahead of the store's; 0 is
	// five minutes.
	ClockSkew time.Duration
	// Parallel is how many logs are verified at once; 0 is the number of CPUs.
	Parallel int
}

// storageSlack is how long after its heartbeat a record may become durable.
const storageSlack = 15 * time.Second

// Verify checks everything under evidence/ with nothing but trusted keys. Its
// error means that it could not check; what is wrong is in the report.
func Verify(ctx context.Context, store worm.Store, trusted note.Verifiers, o Options) (*Report, error) {
	v := newVerifier(store, trusted, o)
	if err := v.prepare(ctx); err != nil {
		return nil, fmt.Errorf("verifying evidence: %w", err)
	}
	// Announcements are listed before logs: what they say of a log was stored
	// before, so that a store in use gives no false findings.
	for _, step := range []func(context.Context) error{v.listWriters, v.list, v.announcements, v.verifyLogs, v.verifyHolds, v.conclude} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("verifying evidence: %w", err)
		}
	}
	v.verifyCosigned()
	return v.sorted(), nil
}

func newVerifier(store worm.Store, trusted note.Verifiers, o Options) *verifier {
	return &verifier{store: store, trusted: trusted, o: o, logs: make(map[string]*logState),
		approved: approved{by: make(map[string]map[string]bool)},
		report:   Report{Findings: []Finding{}, Notes: []Finding{}, Checkpoints: make(map[string]string)}}
}

// sorted is the report, by object.
func (v *verifier) sorted() *Report {
	sortFindings(v.report.Findings)
	sortFindings(v.report.Notes)
	return &v.report
}

func sortFindings(list []Finding) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].Object < list[j].Object })
}

type verifier struct {
	store   worm.Store
	trusted note.Verifiers
	o       Options

	mu       sync.Mutex
	report   Report
	logs     map[string]*logState
	approved approved
	observed []observation
	holds    []string        // keys of auditors' orders
	bundle   *bundleVerifier // nil for a whole store
}

// finding and note add to the report; they are safe for concurrent use.
func (v *verifier) finding(object string, kind Kind, format string, args ...any) {
	v.add(Finding{Object: object, Kind: kind, Message: fmt.Sprintf(format, args...)})
}

func (v *verifier) add(f Finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Findings = append(v.report.Findings, f)
}

func (v *verifier) note(object string, kind Kind, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Notes = append(v.report.Notes, Finding{Object: object, Kind: kind, Message: fmt.Sprintf(format, args...)})
}

// prepare fixes the options.
func (v *verifier) prepare(ctx context.Context) error {
	if v.o.Copy {
		if err := v.readManifest(ctx); err != nil {
			return err
		}
	}
	if v.o.Now.IsZero() {
		v.o.Now = time.Now()
	}
	if v.o.ClockSkew <= 0 {
		v.o.ClockSkew = 5 * time.Minute
	}
	return nil
}

// logState is what is known of one writer's log.
type logState struct {
	writer string
	// runs are the numbers of its segments in the listing, as [from, to).
	runs [][2]uint64
	// links are the queries that links claim to be in a segment.
	links map[uint64][]string
	// announcement is nil if there is none that can be trusted.
	announcement *Announcement
	key          note.Verifier
	// announced is true if the announcement was listed first; digest is of the
	// object, base64 SHA-256.
	announced bool
	digest    string

	// witnesses are sizes and roots that others saw.
	witnesses []witness
	// cosigned is what of that witnesses vouched for.
	cosigned []cosigned
	// told are what successors say of its end.
	told []Predecessor
	by   []string // whose announcement says it

	// marks are the ends of the segments that were read.
	marks []mark
	// partial is true for a run of a bundle.
	partial bool
	end     logEndState
}

func (v *verifier) log(writer string) *logState {
	l := v.logs[writer]
	if l == nil {
		l = &logState{writer: writer, links: make(map[uint64][]string)}
		v.logs[writer] = l
	}
	return l
}

// listWriters takes in who has announced itself.
func (v *verifier) listWriters(ctx context.Context) error {
	return v.store.List(ctx, writersDir, "", func(e worm.Entry) bool {
		writer := strings.TrimPrefix(e.Key, writersDir)
		if _, _, err := parseWriter(writer); err == nil {
			v.log(writer).announced = true
		}
		return true
	})
}

// list takes in all keys. Memory is bounded by writers, gaps and links.
func (v *verifier) list(ctx context.Context) error {
	return v.store.List(ctx, root, "", func(e worm.Entry) bool {
		v.report.Objects++
		if e.Anomaly != "" {
			v.finding(e.Key, KindAnomaly, "The store tells that somebody tried to hide or replace this object (%s). "+
				"Its oldest version was verified.", e.Anomaly)
		}
		if !v.listed(e.Key) {
			v.finding(e.Key, KindUnexplained,
				"No gateway writes an object with such a key: somebody else put it there, or renamed one.")
		}
		return true
	})
}

// listed files a key, and reports whether a gateway may have written it.
func (v *verifier) listed(key string) bool {
	if writer, ok := strings.CutPrefix(key, writersDir); ok {
		_, _, err := parseWriter(writer)
		return err == nil
	}
	if query, writer, number, ok := parseLinkKey(key); ok {
		if !v.goodLink(query, writer) {
			return false
		}
		l := v.log(writer)
		l.links[number] = append(l.links[number], query)
		return true
	}
	if _, _, ok := parseHoldKey(key); ok {
		v.holds = append(v.holds, key)
		return true
	}
	writer, number, ok := parseSegmentKey(key)
	if _, _, err := parseWriter(writer); !ok || err != nil {
		return false
	}
	v.log(writer).listed(number)
	return true
}

func (v *verifier) goodLink(query, writer string) bool {
	_, _, badWriter := parseWriter(writer)
	_, badQuery := parseQueryID(query)
	return badWriter == nil && badQuery == nil
}

// listed takes in a segment's number; they come in order.
func (l *logState) listed(number uint64) {
	if n := len(l.runs); n > 0 && l.runs[n-1][1] == number {
		l.runs[n-1][1]++
		return
	}
	l.runs = append(l.runs, [2]uint64{number, number + 1})
}

// announcements reads who wrote, with which key, and what each says of its
// predecessors.
func (v *verifier) announcements(ctx context.Context) error {
	names := make([]string, 0, len(v.logs))
	for name := range v.logs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := v.readAnnouncement(ctx, v.logs[name]); err != nil {
			return err
		}
	}
	for _, name := range names {
		v.takePredecessors(v.logs[name])
	}
	for _, text := range v.o.Checkpoints {
		if err := v.takeCheckpoint(text); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) readAnnouncement(ctx context.Context, l *logState) error {
	key := announcementKey(l.writer)
	object, err := v.store.Get(ctx, key, maxAnnouncement)
	switch {
	case errors.Is(err, worm.ErrNotFound):
		v.finding(key, KindMissing, "Writer %s has a log but its announcement is gone.", l.writer)
		return nil
	case errors.Is(err, worm.ErrTooLarge):
		v.finding(key, KindMalformed, "The announcement cannot be read: %v.", err)
		return nil
	case err != nil:
		return err
	}
	v.report.Writers++
	l.digest = lineDigest(object.Body)
	a, announcedKey, err := openAnnouncement(object.Body, v.trusted)
	switch {
	case err != nil:
		v.finding(key, kindOf(err), "The announcement was changed, forged, or signed by a key you do not trust: %v.", err)
	case a.Writer != l.writer:
		v.finding(key, KindMisplaced, "This is the announcement of %s.", a.Writer)
	default:
		l.announcement, l.key = &a, announcedKey
	}
	return nil
}

// kindOf tells a wrong signature from a broken format.
func kindOf(err error) Kind {
	if strings.Contains(err.Error(), "sign") {
		return KindSignature
	}
	return KindMalformed
}

// takePredecessors spreads what an announcement says to the logs it is about.
func (v *verifier) takePredecessors(l *logState) {
	if l.announcement == nil || !l.announced {
		return // one that began while we listed speaks of what we listed before
	}
	for _, p := range l.announcement.Predecessors {
		before, known := v.logs[p.Writer]
		if !known {
			v.finding(announcementKey(p.Writer), KindMissing,
				"Writer %s is gone with its whole log: its successor %s saw it.", p.Writer, l.writer)
			continue
		}
		before.told = append(before.told, p)
		before.by = append(before.by, l.writer)
		if p.Checkpoint != "" {
			v.takeWitness(before, p.Checkpoint, announcementKey(l.writer), "the announcement of "+l.writer)
		}
	}
}

// takeCheckpoint takes in what the auditor kept.
func (v *verifier) takeCheckpoint(text string) error {
	c, err := OpenCheckpoint([]byte(text), v.trusted)
	if err != nil {
		return fmt.Errorf("reading a known checkpoint: %w", err)
	}
	l, known := v.logs[c.Writer()]
	if !known && v.bundle.before(c.Writer()) {
		return nil
	}
	if !known {
		v.finding(announcementKey(c.Writer()), KindMissing,
			"Writer %s is gone with its whole log: a checkpoint that you kept is of it.", c.Writer())
		return nil
	}
	l.witnesses = append(l.witnesses, witness{Checkpoint: c, source: "a checkpoint that was kept"})
	return nil
}

func (v *verifier) parallel() int {
	if v.o.Parallel <= 0 {
		return runtime.NumCPU()
	}
	return v.o.Parallel
}

// verifyLogs verifies each writer's log, several at once.
func (v *verifier) verifyLogs(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(v.parallel())
	for _, l := range v.logs {
		group.Go(func() error { return v.verifyLog(ctx, l) })
	}
	return group.Wait()
}
