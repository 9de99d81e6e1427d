package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

func table(t testing.TB, records ...*evidence.Record) []byte {
	t.Helper()
	return exported(t, FormatCSV, records...)
}

func exported(t testing.TB, format string, records ...*evidence.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(format, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// inPython reads a CSV with another implementation, in its strict mode, and says
// what a spreadsheet might run: also in what NFKC makes of a cell, without spaces,
// quotes and what cannot be seen, and in what is behind a semicolon.
const inPython = `
import csv, io, json, sys, unicodedata
text = sys.stdin.buffer.read().decode("utf-8", "strict")
rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
numbers = {"sequence", "row_count", "affected_rows", "masked_cells", "detected_cells"}
hidden = ("Cc", "Cf", "Zs", "Zl", "Zp")
found = []
for row in rows[1:]:
    for name, value in zip(rows[0], row):
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in value):
            found.append(f"{name} holds control characters: {value[:40]!r}")
        for part in value.split(";"):
            part = "".join(c for c in unicodedata.normalize("NFKC", part) if unicodedata.category(c) not in hidden)
            if name not in numbers and part.strip("\" \t\ufffd").startswith(("=", "+", "-", "@")):
                found.append(f"{name} begins like a formula: {value[:40]!r}")
        if len(value) > 32767:
            found.append(f"{name} is too long for Excel")
print(json.dumps({"rows": rows, "found": found}))
`

type readInPython struct {
	Rows  [][]string `json:"rows"`
	Found []string   `json:"found"`
}

func python(t *testing.T, text []byte) (read readInPython) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", "-c", inPython)
	cmd.Stdin = bytes.NewReader(text)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.Bytes())
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestCSV: another implementation reads the same cells, one line a record, and
// finds none that a spreadsheet would run.
func TestCSV(t *testing.T) {
	all := samples(t)
	records := make([]*evidence.Record, len(all))
	for i, s := range all {
		records[i] = s.record
	}
	text := table(t, records...)
	if lines := bytes.Count(text, []byte("\r\n")); lines != len(records)+1 || bytes.Count(text, []byte("\n")) != lines {
		t.Errorf("%d lines of %d records", lines, len(records))
	}
	read := python(t, text)
	for _, problem := range read.Found {
		t.Error(problem)
	}
	ours, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(ours, read.Rows, slices.Equal) {
		t.Error("Go and Python read different cells")
	}
	if !slices.Equal(read.Rows[0], columns) {
		t.Errorf("the header is %v", read.Rows[0])
	}
	for i, row := range read.Rows[1:] {
		if len(row) != len(columns) {
			t.Errorf("%s has %d cells", all[i].name, len(row))
		}
	}
}

// TestCSVCheckFails: what TestCSV looks for with Python is found.
func TestCSVCheckFails(t *testing.T) {
	for _, text := range []string{"a\r\n=1", "a\r\n\"\t=1\"", "a\r\n＝1", "a\r\nx;@SUM(1)", "a\r\n\ufeff-1", "a\r\nx\u2028y", "a\r\n" + strings.Repeat("x", 32768)} {
		if len(python(t, []byte(text)).Found) == 0 {
			t.Errorf("%.40q was not found", text)
		}
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"SELECT 1":        "SELECT 1",
		"=1":              "'=1",
		" \"'@x":          "' \"'@x",
		"\t7":             "' 7",
		"\r7":             "' 7",
		"－1":              "'－1",
		"a;=1; b;  -1":    "a; '=1; b; '  -1",
		"a\nb\x00c":       "a b\ufffdc",
		"a\xffb":          "a\ufffdb",
		"a\u202eb":        "a\ufffdb",
		"1-2":             "1-2",
		"$1 = 2":          "$1 = 2",
		"(=1)":            "(=1)",
		"Zoë":             "Zoë",
		"\ufffd=1":        "'\ufffd=1",
		"'already quoted": "'already quoted",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
	if got := cell(strings.Repeat("é", maxCell)); len(got) > maxCell+3 || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes, %q", len(got), got[len(got)-6:])
	}
}

// TestNumbers: numbers and times of our own are as they are, also where a
// formula would begin like them.
func TestNumbers(t *testing.T) {
	r := full(evidence.TypeOutcome)
	r.Result.RowCount = -5
	text := string(table(t, r))
	for _, want := range []string{",-5,,42,1,", ",2026-11-24T08:30:00.123Z,"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	r.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	if text := string(table(t, r)); !strings.Contains(text, ",0001-01-01T00:00:00.000Z,") {
		t.Errorf("the year 12026 became %s", text)
	}
}
