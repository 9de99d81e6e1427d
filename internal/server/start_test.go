package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/policy"
	"github.com/chaperone-sql/chaperone/worm/dir"
)

// starts runs the writers of one instance on one store, one after the other.
type starts struct {
	t     *testing.T
	store *dir.Store
	cfg   *config.Config
	keys  string // that the gateway trusts
	all   string
}

func newStarts(t *testing.T) *starts {
	t.Helper()
	store, err := dir.New(dir.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s := &starts{t: t, store: store, cfg: &config.Config{
		Instance: "gw-1", Listen: "127.0.0.1:1", Masking: config.Masking{Profile: "hipaa-safe-harbor"},
		Connections: map[string]config.Connection{"clinic": {Host: "db-4711"}, "billing": {Host: "b"}},
	}}
	s.newKey("gw")
	_, recipient, err := evidence.GenerateIdentity(false)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Evidence.Auditors = []string{recipient}
	return s
}

// newKey gives the instance another signing key; the gateway trusts its own only.
func (s *starts) newKey(name string) {
	s.t.Helper()
	private, public, err := evidence.GenerateSigner(name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("TEST_SIGNING_KEY", private.Reveal())
	s.cfg.Evidence.SigningKey = config.SecretRef{Env: "TEST_SIGNING_KEY"}
	s.keys = public
	s.all += public + "\n"
}

// start is one start of the gateway; it gives what it recorded of itself.
func (s *starts) start(rules ...policy.Rule) map[evidence.Type]*evidence.Record {
	s.t.Helper()
	ctx := context.Background()
	fatal := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	signer, err := SigningKey(s.cfg)
	fatal(err)
	auditors, err := Auditors(s.cfg)
	fatal(err)
	trusted, err := evidence.ParseVerifiers([]byte(s.keys))
	fatal(err)
	log, err := evidence.Open(ctx, evidence.Config{Store: s.store, Name: "gw-1", Signer: signer, Auditors: auditors, GatewayVersion: "test",
		ConfigDigest: digest(s.cfg), Heartbeat: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	fatal(err)
	server := &Server{cfg: s.cfg, log: log, reader: evidence.NewReader(s.store, trusted)}
	fatal(server.recordStart(ctx, startup{signer: signer, rules: rules, policy: "p" + string(rune('0'+len(rules))), version: "test", tokens: "t1", approvals: "age1x"}))
	fatal(log.Close(ctx))
	got := map[evidence.Type]*evidence.Record{}
	every, err := evidence.ParseVerifiers([]byte(s.all))
	fatal(err)
	fatal(evidence.NewReader(s.store, every).Records(ctx, evidence.Filter{}, func(r *evidence.Record) bool {
		if r.Writer == log.Writer() {
			got[r.Type] = r
		}
		return true
	}))
	time.Sleep(2 * time.Millisecond) // writers sort by their start
	return got
}

func TestRecordStart(t *testing.T) {
	s := newStarts(t)
	bulk := policy.Rule{Name: "bulk", Effect: policy.Approve, When: "true"}
	other := policy.Rule{Name: "other", Effect: policy.Deny, When: `"4711" == ""`}
	first := s.start(bulk)
	if first[evidence.TypeConfigChanged] != nil || first[evidence.TypeKeysChanged] != nil || first[evidence.TypePolicyLoaded].Data["predecessor"] != "" {
		t.Errorf("the first writer has nothing to differ from: %v", slices.Collect(maps.Keys(first)))
	}
	same := s.start(bulk)
	if same[evidence.TypeConfigChanged] != nil || same[evidence.TypeKeysChanged] != nil || same[evidence.TypePolicyLoaded].Data["changed"] != "" {
		t.Errorf("nothing changed, and it says otherwise")
	}
	if same[evidence.TypePolicyLoaded].Data["predecessor"] != first[evidence.TypePolicyLoaded].Writer {
		t.Error("the predecessor is not named")
	}
	s.cfg.Listen = "127.0.0.1:2"
	s.cfg.Masking.Classes = map[string]config.Class{"badge": {Mask: "redact"}}
	s.cfg.Policy.Rules = []config.Rule{{Name: "other"}}
	delete(s.cfg.Connections, "billing")
	_, recipient, err := evidence.GenerateIdentity(false)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Evidence.Auditors = append(s.cfg.Evidence.Auditors, "# the new one\n"+recipient)
	bulk.When = "false"
	third := s.start(bulk, other)
	changed, keys, rules := third[evidence.TypeConfigChanged].Data, third[evidence.TypeKeysChanged].Data, third[evidence.TypePolicyLoaded].Data
	if changed["added"] != "class.badge" || changed["removed"] != "connection.billing" || changed["changed"] != "evidence,process" {
		t.Errorf("changed: %v", changed)
	}
	if len(strings.Split(keys["auditors.from"], ",")) != 1 || len(strings.Split(keys["auditors.to"], ",")) != 2 || keys["signing.to"] != "" {
		t.Errorf("keys: %v", keys)
	}
	if rules["added"] != "other" || rules["changed"] != "bulk" || rules["removed"] != "" {
		t.Errorf("rules: %v", rules)
	}
	for _, r := range third {
		clear, err := json.Marshal(r.Data)
		if err != nil || strings.Contains(string(clear), "4711") {
			t.Errorf("the clear part tells a value: %s", clear)
		}
	}

	// A key that the gateway does not trust: the change itself is still told.
	s.newKey("gw-1")
	fourth := s.start(bulk, other)
	keys = fourth[evidence.TypeKeysChanged].Data
	if !strings.HasPrefix(keys["signing.from"], "gw+") || !strings.HasPrefix(keys["signing.to"], "gw-1+") {
		t.Errorf("keys: %v", keys)
	}
	if c := fourth[evidence.TypeConfigChanged]; c == nil || c.Note == "" {
		t.Errorf("that the comparison failed is not told: %+v", c)
	}
}
