package s3

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/internal/testenv"
	"github.com/chaperone-sql/chaperone/worm"
)

// TestIdentities: with deploy/s3-bucket-policy.json the gateway's identity can do
// all that a gateway does, and neither hold, shorten nor remove; the auditor's can
// read, hold and extend, and create under evidence/holds/ only.
func TestIdentities(t *testing.T) {
	server := testenv.S3(t)
	root := open(t, config(server))
	gatewayUser, auditorUser := testenv.S3User(t, server, "gateway"), testenv.S3User(t, server, "auditor")
	policy, err := os.ReadFile("../../deploy/s3-bucket-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	testenv.S3Policy(t, server, string(policy), "PREFIX", root.cfg.Prefix, "GATEWAY", gatewayUser.AccessKey, "AUDITOR", auditorUser.AccessKey)
	gateway, auditor := open(t, config(gatewayUser)), open(t, config(auditorUser))

	if err := gateway.Check(t.Context()); err != nil {
		t.Fatalf("the gateway's identity: %v", err)
	}
	for _, key := range []string{"evidence/w/segments/0", "evidence/w/segments/1"} {
		mustCreate(t, gateway, key)
	}
	wantBodyOf(t, gateway, "evidence/w/segments/0")
	wantBodyOf(t, auditor, "evidence/w/segments/0")
	n := 0
	if err := auditor.List(t.Context(), "evidence/", "", func(worm.Entry) bool { n++; return true }); err != nil || n != 2 {
		t.Errorf("the auditor lists %d objects, %v", n, err)
	}

	const held = "evidence/w/segments/0"
	later := time.Now().Add(72 * time.Hour)
	if err := gateway.Hold(t.Context(), held, true); err == nil {
		t.Error("the gateway's identity set a hold")
	}
	if err := errors.Join(auditor.Hold(t.Context(), held, true), auditor.Extend(t.Context(), held, later)); err != nil {
		t.Fatalf("the auditor's identity: %v", err)
	}
	wantLock(t, auditor, held, later, true)
	if err := gateway.Hold(t.Context(), held, false); err == nil {
		t.Error("the gateway's identity lifted a hold")
	}
	for name, s := range map[string]*Store{"gateway": gateway, "auditor": auditor, "root": root} {
		if s.removes(t, held) || s.removes(t, "evidence/w/segments/1") {
			t.Errorf("%s removed a locked version", name)
		}
		if s.shortens(t, held, time.Now().Add(time.Minute)) || s.shortens(t, "evidence/w/segments/1", time.Now().Add(time.Minute)) {
			t.Errorf("%s shortened a lock", name)
		}
	}
	wantLock(t, auditor, held, later, true)
	wantBodyOf(t, auditor, held)

	if err := auditor.Create(t.Context(), "evidence/w/segments/2", []byte("forged")); err == nil {
		t.Error("the auditor's identity wrote into a log")
	}
	mustCreate(t, auditor, "evidence/holds/h")
	lock, err := auditor.Lock(t.Context(), "evidence/holds/h")
	if err != nil || !lock.Compliance {
		t.Errorf("what the auditor created: %+v, %v", lock, err)
	}
}
