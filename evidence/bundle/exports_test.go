package bundle_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/evidence/export"
	"github.com/chaperone-sql/chaperone/internal/testenv"
)

var exports = []string{"exports/records.csv", "exports/ocsf.ndjson", "exports/fhir.ndjson"}

func (w *world) exporting(f evidence.Filter) bundle.Config {
	cfg := w.config(f)
	cfg.Parts = append(cfg.Parts, export.Parts()...)
	return cfg
}

// python is what verify.py says of an unpacked bundle: its exit status and its words.
func python(t *testing.T, w *world, path string) (int, string) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(keys, []byte(w.public+"\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), "python3", "verify.py", "--keys", keys, path).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, string(out)
	case errors.As(err, &exit):
		return exit.ExitCode(), string(out)
	}
	t.Fatal(err)
	return 0, ""
}

func read(t *testing.T, path, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path, name))
	must(t, err)
	return text
}

// TestExports: every record that the bundle is about is in the exports once, with
// its body, and both verifiers accept the bundle.
func TestExports(t *testing.T) {
	w := recorded(t)
	for name, filter := range map[string]evidence.Filter{"all": {}, "one person": {Patient: "mrn:tok_carol"}, "nothing": {Principal: "eve"}} {
		t.Run(name, func(t *testing.T) {
			path, m := unpacked(t, w.exporting(filter))
			if report := verified(t, w, path, evidence.Options{}); len(report.Findings) > 0 {
				t.Errorf("findings %+v", report.Findings)
			}
			if status, out := python(t, w, path); status != 0 {
				t.Errorf("verify.py: %d\n%s", status, out)
			}
			for _, name := range exports {
				if m.Files[name].Size != int64(len(read(t, path, name))) {
					t.Errorf("%s is not in the manifest", name)
				}
			}
			rows, err := csv.NewReader(bytes.NewReader(read(t, path, exports[0]))).ReadAll()
			must(t, err)
			events := bytes.Split(bytes.TrimSpace(read(t, path, exports[1])), []byte("\n"))
			records := strings.Fields(string(read(t, path, "records.txt")))
			if m.Records == 0 {
				if len(rows) != 1 || len(bytes.Join(events, nil)) != 0 {
					t.Error("there are exports of no record")
				}
				return
			}
			if int64(len(rows)) != m.Records+1 || int64(len(events)) != m.Records {
				t.Fatalf("%d rows and %d events of %d records", len(rows), len(events), m.Records)
			}
			for i, row := range rows[1:] {
				var event struct {
					Metadata struct {
						UID string `json:"uid"`
					} `json:"metadata"`
				}
				must(t, json.Unmarshal(events[i], &event))
				if id := records[2*i]; row[0] != id || event.Metadata.UID != id {
					t.Errorf("record %s is %s and %s", id, row[0], event.Metadata.UID)
				}
				if row[len(row)-1] != "false" {
					t.Errorf("the body of %s is withheld", row[0])
				}
			}
			// Of each query there is one AuditEvent.
			if n := bytes.Count(read(t, path, exports[2]), []byte("\n")); int64(n) != m.Queries {
				t.Errorf("%d resources of %d queries", n, m.Queries)
			}
		})
	}
}

// TestExportsAreCovered: what is changed, missing or new among the exports is
// found by both verifiers, which name it.
func TestExportsAreCovered(t *testing.T) {
	w := recorded(t)
	change := func(path, name string) { // one byte, the size stays
		text := read(t, path, name)
		text[len(text)/2] ^= 1
		must(t, os.WriteFile(filepath.Join(path, name), text, 0o600))
	}
	remove := func(path, name string) { must(t, os.Remove(filepath.Join(path, name))) }
	invent := func(path, name string) { must(t, os.WriteFile(filepath.Join(path, name), []byte("x\n"), 0o600)) }
	for _, c := range []struct {
		attack func(path, name string)
		names  []string
	}{{change, exports}, {remove, exports}, {invent, []string{"exports/records-2.csv", "exports/.hidden"}}} {
		for _, name := range c.names {
			path, _ := unpacked(t, w.exporting(evidence.Filter{}))
			c.attack(path, name)
			report := verified(t, w, path, evidence.Options{})
			if len(report.Findings) == 0 || report.Findings[0].Object != name {
				t.Errorf("%s: %+v", name, report.Findings)
			}
			if status, out := python(t, w, path); status != 1 || !strings.Contains(out, name) {
				t.Errorf("%s: verify.py: %d\n%s", name, status, out)
			}
		}
	}
}

// TestExportsHoldNothingElse: what must not leave is in no export, and what a newer
// gateway recorded blocks none. The validators agree.
func TestExportsHoldNothingElse(t *testing.T) {
	const canary = "CANARY-0815"
	hidden := json.RawMessage(`["` + canary + `"]`)
	w := newWorld(t)
	w.at(time.Hour)
	l := w.open(t, "gw-1")
	for _, kind := range []evidence.Type{evidence.TypeOutcome, evidence.TypeApprovalDecided, evidence.TypeRead, "quantum.entangled"} {
		add(t, l, &evidence.Record{Type: kind, QueryID: evidence.NewQueryID(l.Writer(), w.clock()), Connection: "clinic", Note: canary,
			Actor:     &evidence.Actor{Issuer: "https://idp", Subject: "alice", RemoteAddr: "10.0.0.7:1"},
			Statement: &evidence.Statement{SHA256: "00", Kind: "select", Normalized: "SELECT $1", Uses: hidden, Relations: hidden},
			Decision:  &evidence.Decision{Effect: "allow", Message: canary, Estimate: hidden},
			Result: &evidence.Result{Status: "succeeded", Rows: hidden, Columns: hidden, Problem: hidden,
				Notes: []string{canary}},
			Data:   map[string]string{"comment": canary, "followed_from": canary},
			Secret: &evidence.Secret{Statement: canary, Reason: canary, Comment: canary, Parameters: hidden}})
	}
	must(t, l.Close(context.Background()))
	w.at(25 * time.Hour)
	path, m := unpacked(t, w.exporting(evidence.Filter{}))
	if m.Records < 5 {
		t.Fatalf("%d records", m.Records)
	}
	if run := read(t, path, evidence.RunFile(l.Writer())); !bytes.Contains(run, []byte(canary)) {
		t.Error("the records do not hold the canary")
	}
	for _, name := range exports {
		text := read(t, path, name)
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s: %s", name, text)
		}
		if !bytes.Contains(text, []byte("quantum.entangled")) {
			t.Errorf("%s leaves out what it does not know", name)
		}
	}
	events := bytes.Split(bytes.TrimSpace(read(t, path, exports[1])), []byte("\n"))
	problems, err := testenv.ValidateOCSF(t.Context(), events)
	must(t, err)
	for i, list := range problems {
		if len(list) > 0 {
			t.Errorf("%s: %s", list, events[i])
		}
	}
	resources := bytes.Split(bytes.TrimSpace(read(t, path, exports[2])), []byte("\n"))
	answers, err := testenv.ValidateFHIR(t.Context(), resources)
	must(t, err)
	for i, issues := range answers {
		for _, issue := range issues {
			if issue.Severity == "error" || issue.Severity == "fatal" {
				t.Errorf("%s: %s", issue, resources[i])
			}
		}
	}
}

// TestRecords: a bundle read again gives what it is about, and of that what is
// chosen.
func TestRecords(t *testing.T) {
	w := recorded(t)
	path, m := unpacked(t, w.config(evidence.Filter{Principal: "alice"}))
	for name, c := range map[string]struct {
		filter evidence.Filter
		want   int64
	}{
		"all":             {evidence.Filter{}, m.Records},
		"who":             {evidence.Filter{Principal: "alice"}, m.Records - 23}, // leases have no actor
		"somebody else":   {evidence.Filter{Principal: "bob"}, 0},
		"some of the day": {evidence.Filter{Until: day.Add(8 * time.Hour)}, 9},
	} {
		n := int64(0)
		must(t, bundle.Records(os.DirFS(path), c.filter, func(r *evidence.Record) bool {
			if r.Withheld {
				t.Errorf("%s: the body of %s is withheld", name, r.ID)
			}
			n++
			return true
		}))
		if n != c.want {
			t.Errorf("%s: %d records, want %d", name, n, c.want)
		}
	}
	if err := bundle.Records(os.DirFS(t.TempDir()), evidence.Filter{}, nil); err == nil {
		t.Error("an empty folder was read as a bundle")
	}
}

// broken is a part that fails after some records.
type broken struct{ left int }

func (b *broken) Write(*evidence.Record) error {
	if b.left--; b.left < 0 {
		return io.ErrShortWrite
	}
	return nil
}
func (b *broken) Flush() error { return nil }

// TestAPartThatFails: the bundle fails and says which part, whatever the others do.
func TestAPartThatFails(t *testing.T) {
	w := recorded(t)
	for _, left := range []int{0, 1, 50} {
		cfg := w.exporting(evidence.Filter{})
		cfg.Parts = append(cfg.Parts, bundle.Part{Name: "broken", Each: func(io.Writer) (bundle.RecordWriter, error) { return &broken{left}, nil }})
		var out bytes.Buffer
		if _, err := bundle.Build(context.Background(), cfg, &out); !errors.Is(err, io.ErrShortWrite) || !strings.Contains(fmt.Sprint(err), "broken") {
			t.Errorf("%d: %v", left, err)
		}
		if out.Len() > 0 {
			t.Error("half a bundle was written")
		}
	}
}
