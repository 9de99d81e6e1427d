package evidence

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/worm"
)

// Bounds of what Replay prints of a result.
const (
	shownRows    = 20
	shownColumns = 12
	shownRunes   = 40
	// shownPause is the shortest pause that is told.
	shownPause = 2 * time.Second
)

// Replay writes the story of a session or of one query for a person to read:
// who asked what, why, what was decided, by which rule, who allowed it, which
// database user ran it, the masked rows that were released, and how long nothing
// happened. With identities it also opens the exact statements. worm.ErrNotFound
// means that there is no such session or query.
func Replay(ctx context.Context, r *Reader, sessionOrQuery string, w io.Writer, identities ...age.Identity) error {
	stories, err := Stories(ctx, r, sessionOrQuery, identities...)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	if _, err := parseQueryID(sessionOrQuery); err != nil {
		p.line("Session %s: %s", clean(sessionOrQuery), counted(len(stories), "query", "queries"))
		p.line("")
	}
	for i := range stories {
		if i > 0 {
			if pause := stories[i].Start.Sub(stories[i-1].End); pause >= shownPause {
				p.line("… %s", Pause(pause))
				p.line("")
			}
		}
		p.story(&stories[i])
	}
	return p.err
}

// Stories gives what Replay tells.
func Stories(ctx context.Context, r *Reader, sessionOrQuery string, identities ...age.Identity) ([]Story, error) {
	ids := []string{sessionOrQuery}
	if _, err := parseQueryID(sessionOrQuery); err != nil {
		if ids, err = r.queriesOf(ctx, sessionOrQuery); err != nil {
			return nil, fmt.Errorf("replaying: %w", err)
		}
	}
	var stories []Story
	for _, id := range ids {
		records, err := r.Find(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("replaying: %w", err)
		}
		if len(records) == 0 {
			continue
		}
		story := StoryOf(records)
		if len(identities) > 0 {
			if err := story.open(identities); err != nil {
				return nil, fmt.Errorf("replaying: %w", err)
			}
		}
		stories = append(stories, story)
	}
	if len(stories) == 0 {
		return nil, fmt.Errorf("replaying: no records of this session or query: %w", worm.ErrNotFound)
	}
	return stories, nil
}

// queriesOf lists a session's queries by their start.
func (r *Reader) queriesOf(ctx context.Context, session string) ([]string, error) {
	if session == "" {
		return nil, nil
	}
	first := make(map[string]time.Time)
	err := r.Records(ctx, Filter{SessionID: session}, func(record *Record) bool {
		if _, seen := first[record.QueryID]; !seen && record.QueryID != "" {
			first[record.QueryID] = record.Time
		}
		return true
	})
	ids := make([]string, 0, len(first))
	for id := range first {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool {
		if a, b := first[ids[i]], first[ids[j]]; !a.Equal(b) {
			return a.Before(b)
		}
		return ids[i] < ids[j]
	})
	return ids, err
}

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) field(name, value string) {
	if value != "" {
		p.line("  %-10s %s", name, value)
	}
}

// story writes one query: what is the same for all of its records, then each
// step.
func (p *printer) story(s *Story) {
	p.line("Query %s, %s", clean(s.QueryID), s.Start.UTC().Format("2006-01-02 15:04:05 MST"))
	p.field("who", describeActor(s.Who))
	p.field("where", clean(s.Connection))
	p.field("why", clean(s.PurposeOfUse))
	if s.Statement != nil {
		p.field("statement", clean(s.Statement.Normalized))
	}
	if s.Secret != nil {
		p.secret(s.Secret)
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Pause >= shownPause {
			p.line("  … %s", Pause(step.Pause))
		}
		p.line("  %s  %s", step.Record.Time.UTC().Format("15:04:05.000"), clean(step.Text))
		if r := step.Record; r.Type == TypeOutcome && r.Result != nil && len(r.Result.Rows) > 0 {
			p.table(r.Result)
		}
	}
	p.line("")
}

// secret writes what only the auditors can read.
func (p *printer) secret(s *Secret) {
	p.field("exactly", clean(s.Statement))
	p.field("with", clean(string(s.Parameters)))
	p.field("sent", clean(s.Rewritten))
	p.field("reason", clean(s.Reason))
	p.field("comment", clean(s.Comment))
}

func either(have, other string) string {
	if have != "" {
		return have
	}
	return other
}

func describeActor(a *Actor) string {
	if a == nil {
		return ""
	}
	text := either(a.Name, a.Subject)
	if a.Name != "" {
		text += " (" + a.Subject + ")"
	}
	if a.OnBehalfOf != "" {
		text += " on behalf of " + a.OnBehalfOf
	}
	if a.ClientID != "" {
		text += ", client " + a.ClientID
	}
	if a.RemoteAddr != "" {
		text += ", from " + a.RemoteAddr
	}
	return clean(text)
}

// Describe says in a sentence what a record tells. requester is who asked, so
// that others are named.
func Describe(r *Record, requester *Actor) string {
	var what string
	switch r.Type {
	case TypeIntent:
		what = "received" + decided(r.Decision)
	case TypeOutcome:
		what = outcomeText(r)
	case TypeLeaseIssued, TypeLeaseRevoked:
		what = strings.TrimPrefix(string(r.Type), "lease.")
		if r.Lease != nil {
			what = fmt.Sprintf("database user %s (%s) %s", r.Lease.Username, r.Lease.Access, what)
		}
	case TypeApprovalRequested:
		what = "waits for approval" + decided(r.Decision)
	case TypeApprovalViewed, TypeApprovalDecided, TypeApprovalClaimed, TypeApprovalCancelled:
		what = approvalText(r, requester)
	case TypeAuthSucceeded:
		what = "signed in"
		if r.Actor != nil {
			what += ": " + either(r.Actor.Name, r.Actor.Subject)
		}
	case TypeRead:
		what = "looked at by an auditor"
		if r.Actor != nil {
			what = "looked at by " + either(r.Actor.Name, r.Actor.Subject)
		}
	case TypeExported:
		what = "a bundle taken by an auditor"
		if r.Actor != nil {
			what = "a bundle taken by " + either(r.Actor.Name, r.Actor.Subject)
		}
	default:
		what = string(r.Type)
	}
	if r.Note != "" {
		what += ": " + r.Note
	}
	return what
}

func decided(d *Decision) string {
	if d == nil {
		return ""
	}
	text := ", decided: " + d.Effect
	if len(d.Rules) > 0 {
		text += " by " + strings.Join(d.Rules, ", ")
	}
	if d.Message != "" && d.Effect != "allow" {
		text += " (" + d.Message + ")"
	}
	return text
}

func approvalText(r *Record, requester *Actor) string {
	what := strings.TrimPrefix(string(r.Type), "approval.")
	if r.Approval != nil {
		switch r.Approval.Decision {
		case "approve":
			what = "approved"
		case "deny":
			what = "denied"
		}
	}
	if r.Actor != nil && (requester == nil || r.Actor.Subject != requester.Subject) {
		what += " by " + either(r.Actor.Name, r.Actor.Subject)
		if r.Actor.AuthTime != nil {
			what += ", signed in at " + r.Actor.AuthTime.UTC().Format("15:04:05")
		}
	}
	return what
}

func outcomeText(r *Record) string {
	if r.Result == nil {
		return "ended"
	}
	res := r.Result
	parts := []string{res.Status}
	if res.Code != "" {
		parts = append(parts, res.Code)
	}
	if res.SQLState != "" {
		parts = append(parts, "SQLSTATE "+res.SQLState)
	}
	if res.Status == "succeeded" {
		parts = append(parts, strings.TrimSpace(res.Command), counted(int(res.RowCount), "row", "rows"))
		if res.Affected >= 0 {
			parts = append(parts, counted(int(res.Affected), "row written", "rows written"))
		}
	}
	if res.Started != nil && res.Ended != nil {
		parts = append(parts, "in "+res.Ended.Sub(*res.Started).Round(time.Microsecond).String())
	}
	if res.Truncated != "" {
		parts = append(parts, "cut at "+res.Truncated)
	}
	parts = append(parts, sums("masked", res.Masks), sums("detected", res.Detected))
	if r.Approval != nil && len(r.Approval.Approvers) > 0 {
		parts = append(parts, "approved by "+strings.Join(r.Approval.Approvers, ", "))
	}
	kept := parts[:0]
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	text := strings.Join(kept, ", ")
	if res.Status != "succeeded" {
		text += decided(r.Decision)
	}
	return text
}

// sums writes counts in a stable order.
func sums(word string, counts map[string]int64) string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	sort.Strings(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	return word + " " + strings.Join(names, ", ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// table writes the released rows, bounded in every direction.
func (p *printer) table(res *Result) {
	t := res.Table(shownRows, shownColumns)
	if len(t.Columns) == 0 {
		return
	}
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	out := &printer{w: tw, err: p.err}
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = shorten(cell)
		}
		out.line("      %s", strings.Join(cells, "\t"))
	}
	if out.err == nil {
		out.err = tw.Flush()
	}
	p.err = out.err
	if t.MoreRows > 0 {
		p.line("      … and %s more", counted(t.MoreRows, "row", "rows"))
	}
	if t.MoreColumns > 0 {
		p.line("      … and %s more", counted(t.MoreColumns, "column", "columns"))
	}
}

// shorten makes a cell of a table.
func shorten(s string) string {
	runes := []rune(clean(s))
	if len(runes) > shownRunes {
		return string(runes[:shownRunes-1]) + "…"
	}
	return string(runes)
}

// clean keeps what a terminal only prints: records hold text of agents, which
// must not move an auditor's cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '\uFFFD'
	}, s)
}
