package export

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/evidence"
)

// columns are the header of the CSV. They are stable: new ones are added at the
// end.
var columns = []string{
	"record_id", "time", "type", "writer", "sequence", "query_id", "session_id", "request_id", "connection",
	"subject", "issuer", "client_id", "on_behalf_of", "name", "remote_addr", "purpose_of_use",
	"kind", "statement", "relations", "patients", "effect", "rules", "policy_version", "approvers",
	"status", "code", "sqlstate", "row_count", "affected_rows", "masked_cells", "detected_cells",
	"db_user", "lease_id", "started", "ended", "data", "withheld",
}

// maxCell is the most bytes of a cell: Excel refuses more than 32,767 characters.
const maxCell = 32000

// between stands between the values of a cell that has several. It is no
// character at which any spreadsheet divides cells.
const between = " | "

// CSV writes records as RFC 4180 has it, in UTF-8, one line a record, with a
// header. Texts are made harmless to spreadsheets, see cell.
type CSV struct {
	w   *csv.Writer
	row []string
}

// NewCSV writes the header.
func NewCSV(w io.Writer) (*CSV, error) {
	c := &CSV{w: csv.NewWriter(w), row: make([]string, 0, len(columns))}
	c.w.UseCRLF = true // RFC 4180 section 2
	return c, c.w.Write(columns)
}

// Flush writes what is buffered, and tells of any error before.
func (c *CSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

// Write writes a record. The order is that of columns.
func (c *CSV) Write(r *evidence.Record) error {
	r = understood(r)
	c.row = c.row[:0]
	text := func(values ...string) {
		for _, v := range values {
			c.row = append(c.row, cell(v))
		}
	}
	own := func(v string) { c.row = append(c.row, v) } // a number or time that we wrote
	text(r.ID)
	own(moment(&r.Time))
	text(string(r.Type), r.Writer)
	own(strconv.FormatUint(r.Sequence, 10))
	text(r.QueryID, r.SessionID, r.RequestID, r.Connection)
	a := r.Actor
	if a == nil {
		a = &evidence.Actor{}
	}
	text(a.Subject, a.Issuer, a.ClientID, a.OnBehalfOf, a.Name, a.RemoteAddr, r.PurposeOfUse)
	st := r.Statement
	if st == nil {
		st = &evidence.Statement{}
	}
	text(st.Kind, st.Normalized, strings.Join(r.Relations, between), strings.Join(r.Patients, between), r.Effect)
	d := r.Decision
	if d == nil {
		d = &evidence.Decision{}
	}
	text(strings.Join(d.Rules, between), d.PolicyVersion, strings.Join(approversOf(r), between), r.Status)
	if res := r.Result; res != nil {
		text(res.Code, res.SQLState)
		own(strconv.FormatInt(res.RowCount, 10))
		own(atLeastNothing(res.Affected))
		own(strconv.FormatInt(sum(res.Masks), 10))
		own(strconv.FormatInt(sum(res.Detected), 10))
	} else {
		text("", "", "", "", "", "")
	}
	l := r.Lease
	if l == nil {
		l = &evidence.Lease{}
	}
	text(l.Username, l.ID)
	if res := r.Result; res != nil {
		own(moment(res.Started))
		own(moment(res.Ended))
	} else {
		text("", "")
	}
	text(dataText(r))
	own(strconv.FormatBool(r.Withheld))
	return c.w.Write(c.row)
}

// atLeastNothing is a count, "" if it is not known.
func atLeastNothing(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// moment is a time in UTC, with milliseconds so that a spreadsheet knows it.
func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return fhirInstant(*t)
}

func dataText(r *evidence.Record) string {
	data := allowedData(r)
	var b strings.Builder
	for _, name := range sortedKeys(data) {
		if b.Len() > 0 {
			b.WriteString(between)
		}
		b.WriteString(name + "=" + data[name])
	}
	return b.String()
}

// cell is text that a spreadsheet shows and does not run, on one line. A text
// that begins like a formula gets an apostrophe before it, whatever spaces,
// quotes or invisible characters are in front, and so does what follows a
// semicolon: many countries' spreadsheets divide cells there. Control characters,
// those of the direction of writing, and what is no UTF-8 become U+FFFD, spaces of any kind a space. A text of more
// than 32,000 bytes is cut and ends in an ellipsis.
func cell(s string) string {
	if harmless(s) {
		return s
	}
	var b strings.Builder
	b.Grow(min(len(s), maxCell) + 8)
	for part := range strings.SplitAfterSeq(s, ";") {
		if b.Len() > maxCell {
			break
		}
		if formula(part) {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteByte('\'')
		}
		b.WriteString(oneLine(part))
	}
	if text := b.String(); len(text) <= maxCell {
		return text
	}
	return strings.ToValidUTF8(b.String()[:maxCell], "") + "…"
}

// harmless reports whether a text is printable ASCII that begins with a letter or
// a digit, has no semicolon and is short, as nearly all are.
func harmless(s string) bool {
	if s == "" {
		return true
	}
	c := s[0] | 0x20
	return (c >= 'a' && c <= 'z' || s[0] >= '0' && s[0] <= '9') && len(s) <= maxCell && !strings.Contains(s, ";") && plain(s)
}

// formula reports whether a spreadsheet may take a text for a formula.
func formula(s string) bool {
	for i, c := range s {
		switch {
		case i == 0 && (c == '\t' || c == '\r'):
			return true
		// "=", "+", "-", "@", and those that some make of them: full-width, small,
		// and the minus sign.
		case strings.ContainsRune("=+-@＝＋－＠﹦﹢﹣﹫−", c):
			return true
		case unicode.IsSpace(c), unicode.IsControl(c), unicode.Is(unicode.Cf, c), strings.ContainsRune("'\"`´‘’“”«»", c), c == utf8.RuneError:
			continue
		}
		return false
	}
	return false
}

// oneLine is s without control characters, those of the direction of writing
// included.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), c == '\u2028', c == '\u2029':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Bidi_Control, c):
			return utf8.RuneError
		}
		return c // what is no UTF-8 is U+FFFD already
	}, s)
}
