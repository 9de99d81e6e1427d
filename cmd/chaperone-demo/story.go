package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// story tells the main job step by step. Each step checks what it tells: a
// step that went otherwise ends the story with an error.
type story struct {
	out   io.Writer
	url   string
	agent string // token of an agent on the connection
	nurse string // token of an approver
	// verify checks the recordings in a directory, "" for the demo's own, and
	// returns the findings.
	verify func(ctx context.Context, dir string) ([]string, error)
	// tamper copies the recordings, changes one byte and says where.
	tamper func(ctx context.Context) (dir, object string, err error)
	// users lists the database users that exist now.
	users func(ctx context.Context) ([]string, error)

	step   int
	answer reply
}

// reply is an answer of the gateway.
type reply struct {
	status int
	header http.Header
	body   struct {
		QueryID     string          `json:"query_id"`
		Columns     []column        `json:"columns"`
		Rows        [][]any         `json:"rows"`
		RowCount    int             `json:"row_count"`
		ApprovalURL string          `json:"approval_url"`
		Reasons     []reason        `json:"reasons"`
		Detail      string          `json:"detail"`
		Hint        string          `json:"hint"`
		Code        string          `json:"code"`
		RecordingID string          `json:"recording_id"`
		Raw         json.RawMessage `json:"-"`
	}
}

type column struct {
	Name   string `json:"name"`
	Masked bool   `json:"masked"`
}

type reason struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

const connection = "clinic"

func (s *story) tell(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.masked, s.analytics, s.lookup, s.bulk, s.approve, s.claim, s.cheat, s.gone, s.verified, s.tampered,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("step %d: %w", s.step, err)
		}
	}
	s.say("\nThat was the whole way of a request. Nothing above was staged: every answer came over HTTP from the gateway.")
	return nil
}

func (s *story) masked(ctx context.Context) error {
	s.title("An agent asks about three patients")
	if err := s.ask(ctx, "SELECT id, last_name, ssn, dob, zip FROM patients WHERE id <= 3 ORDER BY id"); err != nil {
		return err
	}
	if err := s.want(http.StatusOK); err != nil {
		return err
	}
	s.table()
	for _, row := range s.answer.body.Rows {
		if row[1] != nil && row[1] != "[redacted]" || row[2] != nil && row[2] != "[redacted]" {
			return fmt.Errorf("a name or SSN is not masked")
		}
	}
	s.say("Names and SSNs are redacted, birth dates keep their year, ZIP codes three digits (HIPAA Safe Harbor).")
	return nil
}

func (s *story) analytics(ctx context.Context) error {
	s.title("It can still work: masked beneath the computation, aggregates stay right")
	if err := s.ask(ctx, "SELECT zip, count(*) AS patients FROM patients GROUP BY zip ORDER BY patients DESC LIMIT 3"); err != nil {
		return err
	}
	if err := s.want(http.StatusOK); err != nil {
		return err
	}
	s.table()
	return nil
}

func (s *story) lookup(ctx context.Context) error {
	s.title("It tries to find a person by a name it should not know")
	if err := s.ask(ctx, "SELECT id FROM patients ORDER BY last_name LIMIT 5"); err != nil {
		return err
	}
	if s.answer.status < 400 {
		return fmt.Errorf("ordering by a redacted name was answered with %d", s.answer.status)
	}
	s.refused()
	s.say("Sorting by a redacted column would silently give a meaningless order, so it is refused with a hint.")
	return nil
}

func (s *story) bulk(ctx context.Context) error {
	s.title("It asks for every patient at once")
	if err := s.ask(ctx, "SELECT id, dob, zip FROM patients"); err != nil {
		return err
	}
	if err := s.want(http.StatusAccepted); err != nil {
		return err
	}
	s.say("202: nothing ran. A person must decide at\n    %s", s.answer.body.ApprovalURL)
	for _, r := range s.answer.body.Reasons {
		s.say("  because (%s): %s", r.Rule, r.Message)
	}
	return nil
}

func (s *story) approve(ctx context.Context) error {
	id := s.answer.body.QueryID
	s.title("The agent tries to approve its own request; then somebody else decides")
	if err := s.send(ctx, http.MethodPost, "/v1/approvals/"+id+"/decision", s.agent,
		map[string]string{"decision": "approve", "comment": "trust me"}); err != nil {
		return err
	}
	if err := s.want(http.StatusForbidden); err != nil {
		return err
	}
	s.refused()
	if err := s.send(ctx, http.MethodPost, "/v1/approvals/"+id+"/decision", s.nurse,
		map[string]string{"decision": "approve", "comment": "quarterly ZIP report"}); err != nil {
		return err
	}
	if err := s.want(http.StatusOK); err != nil {
		return err
	}
	s.say("The privacy officer approved it.")
	s.answer.body.QueryID = id
	return nil
}

func (s *story) claim(ctx context.Context) error {
	id := s.answer.body.QueryID
	s.title("The agent claims the approved query: it runs now, once")
	if err := s.send(ctx, http.MethodPost, "/v1/queries/"+id+"/result", s.agent, nil); err != nil {
		return err
	}
	if err := s.want(http.StatusOK); err != nil {
		return err
	}
	s.say("%d rows, masked as ever. It claims again:", s.answer.body.RowCount)
	if err := s.send(ctx, http.MethodPost, "/v1/queries/"+id+"/result", s.agent, nil); err != nil {
		return err
	}
	if err := s.want(http.StatusConflict); err != nil {
		return err
	}
	s.refused()
	return nil
}

func (s *story) cheat(ctx context.Context) error {
	s.title("The agent tries to cheat")
	for _, trick := range []struct{ how, statement string }{
		{"an alias", "SELECT x.a AS harmless FROM (SELECT ssn AS a FROM patients WHERE id = 1) x"},
		{"pieces of the value", "SELECT substring(ssn, 1, 3), reverse(ssn) FROM patients WHERE id = 1"},
		{"an error message", "SELECT CAST(ssn AS DECIMAL) FROM patients WHERE id = 1"},
		{"a comment only the server reads", "SELECT id /*!50000 , ssn */ FROM patients WHERE id = 1"},
		{"the server's files", "SELECT LOAD_FILE('/etc/passwd')"},
		{"dropping the evidence", "DROP TABLE patients"},
	} {
		if err := s.ask(ctx, trick.statement); err != nil {
			return err
		}
		switch {
		case s.answer.status == http.StatusOK:
			text := fmt.Sprint(s.answer.body.Rows)
			for _, r := range text {
				if r >= '1' && r <= '9' {
					return fmt.Errorf("%s gave %s", trick.how, text)
				}
			}
			s.say("  by %-32s → only the mask: %s", trick.how, text)
		case s.answer.status >= 400 && s.answer.status < 500:
			s.say("  by %-32s → %d %s", trick.how, s.answer.status, s.answer.body.Code)
		default:
			return fmt.Errorf("%s: status %d", trick.how, s.answer.status)
		}
	}
	return nil
}

func (s *story) gone(ctx context.Context) error {
	s.title("Each of those requests had its own database user; none is left")
	deadline := time.Now().Add(10 * time.Second)
	for {
		users, err := s.users(ctx)
		if err != nil {
			return err
		}
		if len(users) == 0 {
			s.say("The database has no user but its administrator.")
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("users left over: %v", users)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *story) verified(ctx context.Context) error {
	s.title("An auditor verifies the recordings with nothing but public keys")
	findings, err := s.verify(ctx, "")
	if err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("findings in untouched recordings: %v", findings)
	}
	s.say("No findings: every record is there, in order, signed and unchanged.")
	return nil
}

func (s *story) tampered(ctx context.Context) error {
	s.title("Somebody changes one byte in a copy")
	dir, object, err := s.tamper(ctx)
	if err != nil {
		return err
	}
	findings, err := s.verify(ctx, dir)
	if err != nil {
		return err
	}
	if !strings.Contains(strings.Join(findings, "\n"), object) {
		return fmt.Errorf("the changed byte in %s was not found: %v", object, findings)
	}
	s.say("Found:\n    %s", findings[0])
	return nil
}

func (s *story) title(text string) {
	s.step++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.step, text)
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "   "+format+"\n", args...)
}

func (s *story) refused() {
	s.say("→ %d %s: %s %s", s.answer.status, s.answer.body.Code, s.answer.body.Detail, s.answer.body.Hint)
}

// table prints the rows of the last answer.
func (s *story) table() {
	line := "   "
	for _, c := range s.answer.body.Columns {
		name := c.Name
		if c.Masked {
			name += "*"
		}
		line += fmt.Sprintf("%-14s", name)
	}
	fmt.Fprintln(s.out, line)
	for _, row := range s.answer.body.Rows {
		line = "   "
		for _, cell := range row {
			if cell == nil {
				cell = "NULL"
			}
			line += fmt.Sprintf("%-14v", cell)
		}
		fmt.Fprintln(s.out, line)
	}
}

func (s *story) ask(ctx context.Context, statement string) error {
	s.say("POST /v1/query  %s", statement)
	return s.send(ctx, http.MethodPost, "/v1/query", s.agent, map[string]any{
		"connection": connection, "statement": statement, "purpose_of_use": "TREAT", "session_id": "demo",
	})
}

func (s *story) want(status int) error {
	if s.answer.status != status {
		return fmt.Errorf("answer %d (%s %s), want %d", s.answer.status, s.answer.body.Code, s.answer.body.Detail, status)
	}
	return nil
}

func (s *story) send(ctx context.Context, method, path, token string, body any) error {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s.answer = reply{status: res.StatusCode, header: res.Header}
	return json.NewDecoder(res.Body).Decode(&s.answer.body)
}
