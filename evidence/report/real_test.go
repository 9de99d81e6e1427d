package report

import (
	"archive/zip"
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// recorded is a store in which a real log keeps the day, and the public key. forged
// adds a query that relies on an approver who never decided.
func recorded(t *testing.T, forged bool) (path, public string, trusted note.Verifiers) {
	t.Helper()
	path = t.TempDir()
	store, err := dir.New(dir.Config{Path: path})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	private, public, err := evidence.GenerateSigner("gw-1")
	must(t, err)
	signer, err := evidence.ParseSigner(private)
	must(t, err)
	trusted, err = evidence.ParseVerifiers([]byte(public))
	must(t, err)
	_, recipient, err := evidence.GenerateIdentity(false)
	must(t, err)
	auditors, err := evidence.ParseRecipients(recipient)
	must(t, err)
	now := day.Add(time.Minute)
	l, err := evidence.Open(t.Context(), evidence.Config{Store: store, Name: "gw-1", Signer: signer, Auditors: auditors, GatewayVersion: "test",
		ConfigDigest: "abc", Heartbeat: time.Hour, Observe: time.Hour, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	s := aDay()
	s.content(nil) // by time
	for _, r := range s.records {
		if r.Type == evidence.TypeWriterStarted || r.Type == evidence.TypeWriterClosed || r.Type == "glass.reviewed" || len(r.Approvers) > 0 && !forged {
			continue // the log writes those itself; and nobody may rely on an approver who is in no log
		}
		now = r.Time.Add(time.Minute)
		if len(r.Approvers) > 0 && r.Type == evidence.TypeOutcome {
			r.Approval = &evidence.Approval{Approvers: []string{"https://idp.example#nobody"}}
		}
		r.Secret = &evidence.Secret{Statement: "SELECT canary_sealed"}
		_, err := l.Append(t.Context(), r)
		must(t, err)
	}
	now = day.Add(24*time.Hour + time.Minute)
	must(t, l.Close(t.Context()))
	return path, public, trusted
}

// TestRealBundle: in a bundle of a real log the report is made from the verification,
// both verifiers accept the bundle, and say so if the report is edited.
func TestRealBundle(t *testing.T) {
	path, public, trusted := recorded(t, false)
	build := func(f evidence.Filter) (string, string) {
		store, err := dir.New(dir.Config{Path: path})
		must(t, err)
		defer func() { _ = store.Close() }()
		f.Since, f.Until = day, day.Add(24*time.Hour)
		var out bytes.Buffer
		_, err = bundle.Build(t.Context(), bundle.Config{Store: store, Trusted: trusted, Filter: f, Maker: "a test", Keys: []byte(public + "\n"),
			Parts: []bundle.Part{Part()}, Clock: func() time.Time { return day.Add(25 * time.Hour) }}, &out)
		must(t, err)
		z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
		must(t, err)
		to := t.TempDir()
		must(t, os.CopyFS(to, z))
		page, err := os.ReadFile(filepath.Join(to, Name))
		must(t, err)
		inert(t, string(page))
		holdsNot(t, string(page), "canary")
		return to, plain(t, string(page))
	}
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(keys, []byte(public+"\n"), 0o600))
	// verified reports what both verifiers say, which must agree.
	verified := func(folder string) bool {
		report, err := evidence.VerifyBundle(context.Background(), os.DirFS(folder), trusted, evidence.Options{})
		must(t, err)
		out, err := exec.Command("python3", filepath.Join(folder, "verify.py"), "--keys", keys, folder).CombinedOutput()
		if clean := len(report.Findings) == 0; clean != (err == nil) {
			t.Fatalf("Go finds %v, Python says %v\n%s", report.Findings, err, out)
		}
		return len(report.Findings) == 0
	}
	for name, f := range map[string]evidence.Filter{"whole": {}, "person": {Patient: "mrn:tok_1"}, "agent": {Principal: "crew-7"}, "nobody": {Principal: "eve"}} {
		folder, text := build(f)
		holds(t, text, "Verified when the bundle was made: no findings.")
		if f.Patient != "" {
			holds(t, text, "Queries that name the person of this bundle: 13")
		}
		if f.Principal == "eve" {
			holds(t, text, "None of these records is of what this bundle is about.")
		}
		if !verified(folder) {
			t.Errorf("%s: the verifiers do not accept the bundle", name)
		}
		page, err := os.ReadFile(filepath.Join(folder, Name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, Name), bytes.Replace(page, []byte("no findings"), []byte("NO findings"), 1), 0o600))
		if verified(folder) {
			t.Errorf("%s: an edited report is not found", name)
		}
	}
	// A gateway says that it ran a query on the approval of somebody who is in no log.
	path, public, trusted = recorded(t, true)
	must(t, os.WriteFile(keys, []byte(public+"\n"), 0o600))
	folder, text := build(evidence.Filter{})
	holds(t, text, "Something is wrong:", "numbers and lists below may be wrong or incomplete", "Things are out of order")
	holdsNot(t, text, "found nothing altered", "no findings.")
	if verified(folder) {
		t.Error("the verifiers accept it")
	}
}
