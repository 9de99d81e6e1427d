package evidence

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// lines are a record as it is stored: the entry, which is the leaf of the tree
// and says who, when, where and which tables, and the body, which says the rest
// and to which the entry commits. A bundle can leave bodies out and still prove
// that no record is missing. Neither holds its "\n".
type lines struct{ entry, body []byte }

// size is how many bytes they take in a segment.
func (l lines) size() int { return len(l.entry) + len(l.body) + 2 }

// withheld is the body line of a record whose body a bundle leaves out.
const withheld = "-"

// entry is the JSON form of an entry. docs/evidence-format.md describes it.
type entry struct {
	ID           string        `json:"id"`
	Writer       string        `json:"writer"`
	Sequence     uint64        `json:"sequence"`
	Time         time.Time     `json:"time"`
	Type         Type          `json:"type"`
	QueryID      string        `json:"query_id,omitempty"`
	SessionID    string        `json:"session_id,omitempty"`
	RequestID    string        `json:"request_id,omitempty"`
	Connection   string        `json:"connection,omitempty"`
	Actor        *Actor        `json:"actor,omitempty"`
	PurposeOfUse string        `json:"purpose_of_use,omitempty"`
	Relations    []string      `json:"relations,omitempty"`
	Patients     []string      `json:"patients,omitempty"`
	Effect       string        `json:"effect,omitempty"`
	Approvers    []string      `json:"approvers,omitempty"`
	Status       string        `json:"status,omitempty"`
	Observed     []Observation `json:"observed,omitempty"`
	Witnessed    string        `json:"witnessed,omitempty"`
	// Body is the base64 SHA-256 of the body line, "" if there is none.
	Body string `json:"body,omitempty"`
}

// body is the JSON form of a body.
type body struct {
	// Salt is 128 random bits, so that the entry's hash tells nothing about a
	// body that somebody guesses.
	Salt      string            `json:"salt,omitempty"`
	Statement *Statement        `json:"statement,omitempty"`
	Decision  *Decision         `json:"decision,omitempty"`
	Lease     *Lease            `json:"lease,omitempty"`
	Result    *Result           `json:"result,omitempty"`
	Approval  *Approval         `json:"approval,omitempty"`
	Note      string            `json:"note,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	Sealed    []byte            `json:"sealed,omitempty"`
}

// typeField is where an entry's JSON begins after the fields that the log sets.
const typeField = `"type":`

// linesOf are a record's lines; the entry begins at "type".
func linesOf(r *Record) (lines, error) {
	b := body{Statement: r.Statement, Decision: r.Decision, Lease: r.Lease, Result: r.Result, Approval: r.Approval,
		Note: r.Note, Data: r.Data, Sealed: r.Sealed}
	text, err := encodeJSON(b)
	if err != nil {
		return lines{}, fmt.Errorf("recording: %w", err)
	}
	if string(text) == "{}" {
		text = nil
	} else {
		text = salted(text)
	}
	e := entry{Type: r.Type, QueryID: r.QueryID, SessionID: r.SessionID, RequestID: r.RequestID, Connection: r.Connection,
		Actor: r.Actor, PurposeOfUse: r.PurposeOfUse, Relations: r.Relations, Patients: r.Patients, Observed: r.Observed,
		Witnessed: r.Witnessed, Body: bodyDigest(text)}
	e.derive(&b)
	tail, err := encodeJSON(e)
	if err != nil {
		return lines{}, fmt.Errorf("recording: %w", err)
	}
	// The identity fields are zero, so the first "type" is the record's own.
	at := bytes.Index(tail, []byte(typeField))
	switch {
	case at < 0:
		return lines{}, errors.New("recording: a record has no type")
	case len(tail)+len(text) > maxRecord:
		return lines{}, fmt.Errorf("recording: %w: %d bytes", ErrTooLarge, len(tail)+len(text))
	case !utf8.Valid(tail), !utf8.Valid(text):
		return lines{}, fmt.Errorf("recording: %w: not UTF-8", ErrInvalid)
	}
	return lines{tail[at:], text}, nil
}

// derive takes into the entry what verification and searches need of the body.
func (e *entry) derive(b *body) {
	if b.Decision != nil {
		e.Effect = b.Decision.Effect
	}
	if b.Result != nil {
		e.Status = b.Result.Status
	}
	if b.Approval == nil {
		return
	}
	if e.Effect == "" {
		e.Effect = b.Approval.Decision
	}
	if e.Type == TypeIntent || e.Type == TypeOutcome {
		e.Approvers = b.Approval.Approvers
	}
}

// salted puts a salt before the other fields of a body.
func salted(text []byte) []byte {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand)
	out := make([]byte, 0, len(text)+40)
	out = append(out, `{"salt":"`...)
	out = base64.RawStdEncoding.AppendEncode(out, salt[:])
	out = append(out, `",`...)
	return append(out, text[1:]...)
}

func bodyDigest(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// entryLine puts the fields that the log sets before an entry's tail.
func entryLine(r *Record, tail []byte) ([]byte, error) {
	at, err := r.Time.MarshalText()
	if err != nil {
		return nil, err
	}
	line := make([]byte, 0, len(tail)+2*len(r.ID)+128)
	line = append(line, `{"id":"`...)
	line = append(line, r.ID...)
	line = append(line, `","writer":"`...)
	line = append(line, r.Writer...)
	line = append(line, `","sequence":`...)
	line = strconv.AppendUint(line, r.Sequence, 10)
	line = append(line, `,"time":"`...)
	line = append(line, at...)
	line = append(line, `",`...)
	return append(line, tail...), nil
}

// encodeJSON is json.Marshal without HTML escapes: rows stay as released.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// decodeEntry reads an entry line into a record without a body.
func decodeEntry(line []byte) (*Record, string, error) {
	if !utf8.Valid(line) {
		return nil, "", fmt.Errorf("%w: a record is not UTF-8", ErrInvalid)
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, "", fmt.Errorf("%w: a record is not JSON of the right form", ErrInvalid)
	}
	return &Record{ID: e.ID, Writer: e.Writer, Sequence: e.Sequence, Time: e.Time, Type: e.Type, QueryID: e.QueryID,
		SessionID: e.SessionID, RequestID: e.RequestID, Connection: e.Connection, Actor: e.Actor,
		PurposeOfUse: e.PurposeOfUse, Relations: e.Relations, Patients: e.Patients, Effect: e.Effect,
		Approvers: e.Approvers, Status: e.Status, Observed: e.Observed, Witnessed: e.Witnessed}, e.Body, nil
}

// decodeBody reads a body line, whose digest its entry tells, into the record.
func decodeBody(r *Record, line []byte, want string) error {
	if bodyDigest(line) != want {
		return errBody
	}
	if len(line) == 0 {
		return nil
	}
	if !utf8.Valid(line) {
		return fmt.Errorf("%w: a record is not UTF-8", ErrInvalid)
	}
	var b body
	if err := json.Unmarshal(line, &b); err != nil {
		return fmt.Errorf("%w: the body of a record is not JSON of the right form", ErrInvalid)
	}
	r.Statement, r.Decision, r.Lease, r.Result, r.Approval = b.Statement, b.Decision, b.Lease, b.Result, b.Approval
	r.Note, r.Data, r.Sealed = b.Note, b.Data, b.Sealed
	return nil
}

// errBody: a body is not the one that was signed.
var errBody = fmt.Errorf("%w: the body is not the one that its entry commits to", ErrInvalid)
