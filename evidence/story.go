package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
)

// Story is one query as it happened.
type Story struct {
	QueryID      string     `json:"query_id"`
	SessionID    string     `json:"session_id,omitempty"`
	Connection   string     `json:"connection,omitempty"`
	PurposeOfUse string     `json:"purpose_of_use,omitempty"`
	Who          *Actor     `json:"who,omitempty"`
	Statement    *Statement `json:"statement,omitempty"`
	Start        time.Time  `json:"start"`
	// End is when the last outcome was durable, or else the first record.
	End   time.Time `json:"end"`
	Steps []Step    `json:"steps"`
	// Secret is what an auditor's identity opened; nil without one.
	Secret *Secret `json:"opened,omitempty"`
}

// Step is one record of a story.
type Step struct {
	// Text says in a sentence what the record tells.
	Text string `json:"text"`
	// Pause is how long nothing was recorded before it.
	Pause  time.Duration `json:"pause_ns"`
	Record *Record       `json:"record"`
}

// StoryOf tells a query's records, which must be in order of time and at least one.
func StoryOf(records []Record) Story {
	s := Story{QueryID: records[0].QueryID, Start: records[0].Time, End: EndOf(records)}
	for i := range records {
		r := &records[i]
		// An approver is an actor, too: the requester is who comes first.
		if s.Who == nil {
			s.Who = r.Actor
		}
		if r.Statement != nil && (s.Statement == nil || s.Statement.Normalized == "") {
			s.Statement = r.Statement
		}
		s.SessionID, s.Connection = either(s.SessionID, r.SessionID), either(s.Connection, r.Connection)
		s.PurposeOfUse = either(s.PurposeOfUse, r.PurposeOfUse)
		step := Step{Record: r, Text: Describe(r, s.Who)}
		if i > 0 {
			step.Pause = r.Time.Sub(records[i-1].Time)
		}
		s.Steps = append(s.Steps, step)
	}
	return s
}

// EndOf is when the last outcome of a query's records was durable, or else the
// first of them; zero without any.
func EndOf(records []Record) (end time.Time) {
	for i := range records {
		if r := &records[i]; r.Type == TypeOutcome || end.IsZero() {
			end = r.Time
		}
	}
	return end
}

// open decrypts what the records seal of the statement. The first one that has
// it counts: it was sealed when the statement came in.
func (s *Story) open(identities []age.Identity) error {
	for i := range s.Steps {
		secret, err := OpenSealed(s.Steps[i].Record, identities)
		if errors.Is(err, ErrNothingSealed) {
			continue
		}
		if err != nil {
			return err
		}
		if secret.Statement != "" {
			s.Secret = secret
			return nil
		}
	}
	return nil
}

// Pause says how long nothing happened.
func Pause(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s later", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s later", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min later", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days later", int(d.Hours()/24))
}

// Table is an answer as it was released (masked), bounded.
type Table struct {
	Columns []string
	// Masked says of each column whether its values are masked.
	Masked                []bool
	Rows                  [][]string
	MoreRows, MoreColumns int
}

// Table gives at most so many rows and columns of a result's answer.
func (res *Result) Table(rows, columns int) (t Table) {
	var names []struct {
		Name   string `json:"name"`
		Masked bool   `json:"masked"`
	}
	var cells [][]json.RawMessage
	if json.Unmarshal(res.Columns, &names) != nil || json.Unmarshal(res.Rows, &cells) != nil || len(names) == 0 {
		return t
	}
	width := min(len(names), columns)
	for _, c := range names[:width] {
		t.Columns, t.Masked = append(t.Columns, c.Name), append(t.Masked, c.Masked)
	}
	for _, row := range cells[:min(len(cells), rows)] {
		texts := make([]string, width)
		for i := range texts {
			if i < len(row) {
				texts[i] = cellText(row[i])
			}
		}
		t.Rows = append(t.Rows, texts)
	}
	t.MoreRows, t.MoreColumns = len(cells)-len(t.Rows), len(names)-width
	return t
}

func cellText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return text
	}
	return string(raw)
}
