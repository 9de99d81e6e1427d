package evidence

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	holdsDir      = root + "holds/"
	holdMagic     = "chaperone-evidence-hold/v1\n"
	holdDoneMagic = "chaperone-evidence-hold-done/v1\n"
	holdDone      = ".done"
)

// AuditorKey begins the names of keys that sign auditors' acts. A key so named
// signs nothing else, and no other key signs those: a gateway cannot act as an
// auditor, nor an auditor write a log.
const AuditorKey = "auditor-"

// IsAuditorKey reports whether a key is one for auditors' acts, by its name.
func IsAuditorKey(name string) bool { return strings.HasPrefix(name, AuditorKey) }

// HoldAction is what an auditor orders.
type HoldAction string

// The actions.
const (
	ActionHold    HoldAction = "hold"
	ActionRelease HoldAction = "release"
	ActionExtend  HoldAction = "extend"
)

// HoldTarget is which evidence an order is about: one query, one session, or the
// records of a period, since <= time < until.
type HoldTarget struct {
	QueryID   string     `json:"query_id,omitempty"`
	SessionID string     `json:"session_id,omitempty"`
	Since     *time.Time `json:"since,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
}

// String names the target for a person.
func (t HoldTarget) String() string {
	switch {
	case t.QueryID != "":
		return "query " + t.QueryID
	case t.SessionID != "":
		return "session " + strconv.Quote(t.SessionID)
	case t.Since != nil && t.Until != nil:
		return "the period from " + t.Since.UTC().Format(time.RFC3339) + " to " + t.Until.UTC().Format(time.RFC3339)
	}
	return "nothing"
}

func (t HoldTarget) check() error {
	named := 0
	for _, given := range []bool{t.QueryID != "", t.SessionID != "", t.Since != nil || t.Until != nil} {
		if given {
			named++
		}
	}
	if named != 1 {
		return fmt.Errorf("%w: an order is about one query, one session, or one period", ErrInvalid)
	}
	if t.QueryID != "" {
		if _, err := parseQueryID(t.QueryID); err != nil {
			return fmt.Errorf("%w: not a query's identifier", ErrInvalid)
		}
	}
	if (t.Since == nil) != (t.Until == nil) || t.Since != nil && !t.Since.Before(*t.Until) {
		return fmt.Errorf("%w: a period begins before it ends", ErrInvalid)
	}
	return nil
}

// same reports whether two targets are one.
func (t HoldTarget) same(o HoldTarget) bool { return t.String() == o.String() }

// SegmentRange names segments of a log: From and those after it, before To.
type SegmentRange struct {
	Writer string `json:"writer"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
}

// HoldOrder is an auditor's order, stored as a signed note before the first lock
// is touched: docs/evidence-format.md "Holds".
type HoldOrder struct {
	// Order is its name, "<start>-<random>", which is the end of its key.
	Order string `json:"order"`
	// Key is the verifier line that signs it.
	Key    string     `json:"key"`
	Time   time.Time  `json:"time"`
	Action HoldAction `json:"action"`
	HoldTarget
	// To is the end of the retention, for extend.
	To *time.Time `json:"to,omitempty"`
	// Reason is a Secret with the reason alone, sealed to the auditors as in a
	// record: it may name a person.
	Reason []byte `json:"reason"`
	// Segments and Objects are what the order is about.
	Segments []SegmentRange `json:"segments,omitempty"`
	Objects  []string       `json:"objects,omitempty"`

	// Done is true if a note says that the order was carried out.
	Done bool `json:"-"`
}

// HoldDone says that an order was carried out: that the store answered so for
// every object.
type HoldDone struct {
	Order string    `json:"order"`
	Key   string    `json:"key"`
	Time  time.Time `json:"time"`
	// Changed objects were not so before, Already ones were.
	Changed int `json:"changed"`
	Already int `json:"already"`
}

// newOrder names an order so that orders sort by time.
func newOrder(now time.Time) string {
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return strings.TrimPrefix(newWriter("x", now, random), "x-")
}

// parseHoldKey takes the key of an order, or of the note of its end, apart.
func parseHoldKey(key string) (order string, done, ok bool) {
	order, ok = strings.CutPrefix(key, holdsDir)
	if !ok {
		return "", false, false
	}
	order, done = strings.CutSuffix(order, holdDone)
	_, _, err := parseWriter("x-" + order)
	return order, done, err == nil
}

func holdKey(order string) string { return holdsDir + order }

// keys are the objects that an order is about.
func (o *HoldOrder) keys() []string {
	var keys []string
	for _, r := range o.Segments {
		for n := r.From; n < r.To; n++ {
			keys = append(keys, segmentKey(r.Writer, n))
		}
	}
	return append(keys, o.Objects...)
}

// encodeHold signs an order or the note of its end.
func encodeHold(magic string, v any, signer *Signer) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: magic + string(line) + "\n"}, signer)
}

// maxRange bounds how many objects one range of a note can name.
const maxRange = 1 << 32

// openHold verifies a note of an auditor's act: signed by a trusted auditor's key,
// the one that it names, and of the order that its key names.
func openHold(key string, msg []byte, trusted note.Verifiers) (*HoldOrder, *HoldDone, error) {
	name, done, ok := parseHoldKey(key)
	if !ok {
		return nil, nil, fmt.Errorf("%w: not the key of an auditor's order", ErrInvalid)
	}
	n, err := openNote(msg, trusted)
	if err != nil {
		return nil, nil, err
	}
	var (
		order  HoldOrder
		ended  HoldDone
		target any = &order
		magic      = holdMagic
	)
	if done {
		target, magic = &ended, holdDoneMagic
	}
	line, ok := strings.CutPrefix(n.Text, magic)
	if !ok {
		return nil, nil, fmt.Errorf("%w: not an auditor's order of version 1", ErrInvalid)
	}
	if err := json.Unmarshal([]byte(strings.TrimSuffix(line, "\n")), target); err != nil {
		return nil, nil, fmt.Errorf("%w: the order is not JSON of the right form", ErrInvalid)
	}
	said, by := order.Order, order.Key
	if done {
		said, by = ended.Order, ended.Key
	}
	if said != name {
		return nil, nil, fmt.Errorf("%w: this is another order", ErrInvalid)
	}
	if err := signedBy(n, by); err != nil {
		return nil, nil, err
	}
	if done {
		return nil, &ended, nil
	}
	return &order, nil, order.check()
}

// signedBy sees that an auditor's key signed a note, and no other.
func signedBy(n *note.Note, line string) error {
	key, err := note.NewVerifier(line)
	if err != nil {
		return fmt.Errorf("%w: the key that it names is no verifier key", ErrInvalid)
	}
	if !IsAuditorKey(key.Name()) {
		return fmt.Errorf("%w: signed by %s, which is no auditor's key", ErrInvalid, key.Name())
	}
	if len(n.Sigs) != 1 || n.Sigs[0].Name != key.Name() || n.Sigs[0].Hash != key.KeyHash() {
		return fmt.Errorf("%w: not signed by the key that it names alone", ErrInvalid)
	}
	return nil
}

func (o *HoldOrder) check() error {
	switch o.Action {
	case ActionHold, ActionRelease:
	case ActionExtend:
		if o.To == nil {
			return fmt.Errorf("%w: an extension without a date", ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: no action is called %q", ErrInvalid, o.Action)
	}
	total := uint64(0)
	for _, r := range o.Segments {
		if _, _, err := parseWriter(r.Writer); err != nil || r.From >= r.To {
			return fmt.Errorf("%w: a range of segments is none", ErrInvalid)
		}
		if total += min(r.To-r.From, maxRange); total > maxRange {
			return fmt.Errorf("%w: it names too many segments", ErrInvalid)
		}
	}
	return o.HoldTarget.check()
}
