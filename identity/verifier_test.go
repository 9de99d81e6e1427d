package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/internal/oidcop"
)

func provider(t testing.TB) *oidcop.Provider {
	t.Helper()
	p, err := oidcop.Start(oidcop.Config{Listen: "127.0.0.1:0", Users: []oidcop.User{
		{Subject: "crew", Name: "Crew", Password: "crew", Roles: []string{"agent:clinic", "approver:*", "boss:clinic", "agent", "agent:"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func verifier(t testing.TB, issuer string, change func(*identity.Config)) *identity.Verifier {
	t.Helper()
	cfg := identity.Config{Issuer: issuer, Audience: oidcop.Audience, Algorithms: []string{"RS256"}, ClockSkew: 30 * time.Second,
		RolesClaim: "chaperone_roles", OnBehalfOf: "act.sub", Clock: time.Now,
		Grants: []identity.Grant{{Claim: "realm_access.roles", Value: "privacy", Role: identity.Auditor, Connections: []string{"billing"}}}}
	if change != nil {
		change(&cfg)
	}
	v, err := identity.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPrincipal(t *testing.T) {
	p := provider(t)
	raw, err := p.Token("crew", time.Hour, map[string]any{"act": map[string]any{"sub": "dr-who"}, "acr": "urn:mace:incommon:iap:silver", "groups": []string{"g1"},
		"realm_access": map[string]any{"roles": []string{"privacy", "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, p.Issuer(), nil)
	for range 2 { // the second time from the cache
		who, err := v.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		if who.Subject != "crew" || who.ClientID != "crew" || who.OnBehalfOf != "dr-who" || who.Name != "Crew" || who.ACR != "urn:mace:incommon:iap:silver" || who.AuthTime.IsZero() {
			t.Errorf("%+v", who)
		}
		for _, c := range []struct {
			role       identity.Role
			connection string
			want       bool
		}{{identity.Agent, "clinic", true}, {identity.Agent, "billing", false}, {identity.Approver, "anything", true},
			{identity.Auditor, "billing", true}, {identity.Auditor, "clinic", false}, {"boss", "clinic", false}} {
			if who.Has(c.role, c.connection) != c.want {
				t.Errorf("%s on %s is not %v", c.role, c.connection, c.want)
			}
		}
	}
}

func TestBadTokens(t *testing.T) {
	p := provider(t)
	bad, err := p.BadTokens("crew")
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, p.Issuer(), nil)
	for name, raw := range bad {
		who, err := v.Verify(t.Context(), raw)
		if !errors.Is(err, identity.ErrInvalidToken) || who != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(raw) > 30 && err != nil && strings.Contains(err.Error(), raw[:20]) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
	v = verifier(t, p.Issuer(), func(c *identity.Config) { c.AllowedAZP = []string{"another"} })
	good, _ := p.Token("crew", time.Hour, nil)
	if _, err := v.Verify(t.Context(), good); !errors.Is(err, identity.ErrInvalidToken) {
		t.Error("a client that is not allowed:", err)
	}
}

func TestClockSkew(t *testing.T) {
	p := provider(t)
	v := verifier(t, p.Issuer(), nil)
	for _, c := range []struct {
		claim string
		off   time.Duration
		ok    bool
	}{{"exp", -20 * time.Second, true}, {"exp", -40 * time.Second, false}, {"nbf", 20 * time.Second, true},
		{"nbf", 60 * time.Second, false}, {"iat", 20 * time.Second, true}, {"iat", 60 * time.Second, false}} {
		raw, _ := p.Token("crew", time.Hour, map[string]any{c.claim: time.Now().Add(c.off).Unix()})
		if _, err := v.Verify(t.Context(), raw); (err == nil) != c.ok {
			t.Errorf("%s %v: %v", c.claim, c.off, err)
		}
	}
}

func TestCachedTokensExpire(t *testing.T) {
	p := provider(t)
	now := time.Now()
	v := verifier(t, p.Issuer(), func(c *identity.Config) { c.Clock = func() time.Time { return now } })
	raw, _ := p.Token("crew", 20*time.Second, nil)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	now = now.Add(51 * time.Second)
	if _, err := v.Verify(t.Context(), raw); !errors.Is(err, identity.ErrInvalidToken) {
		t.Error("an expired token came from the cache:", err)
	}
}

func TestRotationAndOutage(t *testing.T) {
	p := provider(t)
	v := verifier(t, p.Issuer(), nil)
	before, _ := p.Token("crew", time.Hour, nil)
	if _, err := v.Verify(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	after, _ := p.Token("crew", time.Hour, nil)
	if _, err := v.Verify(t.Context(), after); err != nil {
		t.Fatal("a rotated key:", err)
	}
	known, _ := p.Token("crew", time.Hour, map[string]any{"jti": "another"})
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	unknown, _ := p.Token("crew", time.Hour, nil)
	_ = p.Close()
	if _, err := v.Verify(t.Context(), known); err != nil {
		t.Error("a known key while the provider is down:", err)
	}
	if _, err := v.Verify(t.Context(), unknown); !errors.Is(err, identity.ErrProviderUnavailable) {
		t.Error("an unknown key while the provider is down:", err)
	}
	if _, err := verifier(t, p.Issuer(), nil).Verify(t.Context(), known); !errors.Is(err, identity.ErrProviderUnavailable) {
		t.Error("a new verifier while the provider is down:", err)
	}
}

func TestWeakAlgorithmsAreRefusedAtStart(t *testing.T) {
	for _, a := range []string{"none", "HS256"} {
		if _, err := identity.New(identity.Config{Issuer: "i", Audience: "a", Algorithms: []string{a}, Clock: time.Now}); err == nil {
			t.Errorf("%s: accepted", a)
		}
	}
}

func TestSessions(t *testing.T) {
	now := time.Now()
	key := []byte(strings.Repeat("k", 32))
	s, err := identity.NewSessions(key, time.Hour, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	who := &identity.Principal{Subject: "nurse", Issuer: "i", Roles: map[string][]identity.Role{"clinic": {identity.Approver}}}
	cookie, err := s.Seal(who)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Open(cookie)
	if err != nil || back.Key() != who.Key() || !back.Has(identity.Approver, "clinic") || strings.Contains(cookie, "nurse") {
		t.Fatal(back, err)
	}
	other, _ := identity.NewSessions([]byte(strings.Repeat("x", 32)), time.Hour, time.Now)
	forged, _ := other.Seal(who)
	flipped := "A" + cookie[1:]
	if flipped == cookie {
		flipped = "B" + cookie[1:]
	}
	for name, c := range map[string]string{"empty": "", "garbage": "!!", "short": "AAAA", "flipped": flipped, "other key": forged} {
		if _, err := s.Open(c); !errors.Is(err, identity.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	now = now.Add(time.Hour)
	if _, err := s.Open(cookie); !errors.Is(err, identity.ErrInvalidToken) {
		t.Error("a session outlived its time:", err)
	}
}

func FuzzVerify(f *testing.F) {
	p := provider(f)
	good, _ := p.Token("crew", time.Hour, nil)
	f.Add(good[:len(good)-1])
	f.Add("a.b.c")
	v := verifier(f, p.Issuer(), nil)
	f.Fuzz(func(t *testing.T, raw string) {
		if raw == good {
			return
		}
		if who, err := v.Verify(t.Context(), raw); err == nil {
			t.Fatalf("accepted %q as %+v", raw, who)
		}
	})
}
