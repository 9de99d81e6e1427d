package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
	"github.com/chaperone-sql/chaperone/internal/server"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorded is a store with a query of each of two agents, its keys, and a bundle
// about the first.
func recorded(t *testing.T) (store, keys, zipped string) {
	t.Helper()
	store, keys, zipped = t.TempDir(), filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "ada.zip")
	private, public, err := evidence.GenerateSigner("gw")
	must(t, err)
	must(t, os.WriteFile(keys, []byte(public+"\n"), 0o600))
	signer, err := evidence.ParseSigner(private)
	must(t, err)
	_, line, err := evidence.GenerateIdentity(false)
	must(t, err)
	auditors, err := evidence.ParseRecipients(line)
	must(t, err)
	record(t, store, signer, auditors)
	objects, err := dir.New(dir.Config{Path: store, ReadOnly: true})
	must(t, err)
	defer func() { must(t, objects.Close()) }()
	trusted, err := evidence.LoadVerifiers(keys)
	must(t, err)
	var out bytes.Buffer
	_, err = bundle.Build(t.Context(), bundle.Config{Store: objects, Trusted: trusted, Maker: "a test", Keys: []byte(public + "\n"), Signer: signer,
		Filter: evidence.Filter{Principal: "ada", Until: time.Now()}, Parts: server.BundleParts()}, &out)
	must(t, err)
	must(t, os.WriteFile(zipped, out.Bytes(), 0o600))
	return store, keys, zipped
}

func record(t *testing.T, path string, signer *evidence.Signer, auditors []age.Recipient) {
	t.Helper()
	objects, err := dir.New(dir.Config{Path: path})
	must(t, err)
	defer func() { must(t, objects.Close()) }()
	l, err := evidence.Open(t.Context(), evidence.Config{Store: objects, Name: "gw-1", Signer: signer, Auditors: auditors, GatewayVersion: "test",
		ConfigDigest: "abc", Heartbeat: time.Hour, Observe: time.Hour, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	for _, who := range []string{"ada", "bob"} {
		id := evidence.NewQueryID(l.Writer(), time.Now())
		for _, r := range []*evidence.Record{
			{Type: evidence.TypeIntent, Actor: &evidence.Actor{Issuer: "https://idp", Subject: who}, Decision: &evidence.Decision{Effect: "allow"}},
			{Type: evidence.TypeLeaseIssued, Lease: &evidence.Lease{ID: "lease/" + who}},
			{Type: evidence.TypeOutcome, Actor: &evidence.Actor{Issuer: "https://idp", Subject: who}, Decision: &evidence.Decision{Effect: "allow"},
				Result: &evidence.Result{Status: "succeeded", Rows: []byte(`[["CANARY"]]`)}},
		} {
			r.QueryID, r.Connection = id, "clinic"
			_, err := l.Append(t.Context(), r)
			must(t, err)
		}
	}
	must(t, l.Close(context.Background()))
}

func TestEvidenceExport(t *testing.T) {
	store, keys, zipped := recorded(t)
	folder := t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	_, public, err := evidence.GenerateSigner("other-key")
	must(t, err)
	must(t, os.WriteFile(other, []byte(public+"\n"), 0o600))
	written := filepath.Join(folder, "out.csv")
	for _, c := range []struct {
		args  string
		exit  int
		lines int // of standard output, if exit is OK
		want  string
	}{
		{"--dir STORE --keys KEYS --format csv", exitOK, 9, "record_id,time,type,"},
		{"--dir STORE --keys KEYS --format ocsf", exitOK, 8, `"class_uid":6005`},
		{"--dir STORE --keys KEYS --format fhir", exitOK, 2, `"resourceType":"AuditEvent"`},
		// The lease has no actor, and is the query's.
		{"--dir STORE --keys KEYS --format ocsf --principal bob", exitOK, 3, "lease/bob"},
		{"--dir STORE --keys KEYS --format csv --until 2020-01-01", exitOK, 1, "record_id"},
		{"--bundle ZIP --keys KEYS --format ocsf", exitOK, 3, "lease/ada"},
		{"--bundle ZIP --keys KEYS --format ocsf --principal bob", exitOK, 0, ""},
		{"--dir STORE --keys KEYS --format csv --out FILE", exitOK, 0, ""},
		{"--dir STORE --keys KEYS --format csv --out FILE", exitFailed, 0, "exists already"},
		{"--dir STORE --keys KEYS --format xml", exitFailed, 0, `no form "xml"`},
		{"--dir STORE --keys KEYS", exitFailed, 0, "give --format"},
		{"--dir STORE --format csv", exitFailed, 0, "give --keys"},
		{"--bundle ZIP --format csv", exitFailed, 0, "give --keys"},
		{"--format csv", exitFailed, 0, "give either --config or --dir"},
		{"--bundle ZIP --dir STORE --keys KEYS --format csv", exitFailed, 0, "give one of"},
		{"--dir STORE --keys KEYS --format csv more", exitFailed, 0, "is too much"},
		{"--dir STORE --keys OTHER --format csv", exitFailed, 0, "key"},
		{"--bundle ZIP --keys OTHER --format csv", exitFailed, 0, "is not exported"},
	} {
		args := append([]string{"evidence", "export"}, strings.Fields(strings.NewReplacer("STORE", store, "KEYS", keys, "ZIP", zipped,
			"OTHER", other, "FILE", written).Replace(c.args))...)
		var out, errs bytes.Buffer
		exit := run(t.Context(), args, &out, &errs)
		if exit != c.exit || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%s ends with %d, not %d, and says\n%s%s", c.args, exit, c.exit, out.String(), errs.String())
		}
		if n := strings.Count(out.String(), "\n"); exit == exitOK && n != c.lines || exit != exitOK && n > 0 {
			t.Errorf("%s: %d lines:\n%s", c.args, n, out.String())
		}
		if strings.Contains(out.String(), "CANARY") {
			t.Errorf("%s shows rows", c.args)
		}
	}
	text, err := os.ReadFile(written)
	must(t, err)
	if info, err := os.Stat(written); err != nil || info.Mode().Perm() != 0o600 || bytes.Count(text, []byte("\n")) != 9 {
		t.Errorf("%v %v %s", info, err, text)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".export-*")); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}
