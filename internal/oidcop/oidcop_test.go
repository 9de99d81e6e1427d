package oidcop

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func start(t *testing.T) *Provider {
	t.Helper()
	p, err := Start(Config{Listen: "127.0.0.1:0", RedirectURIs: []string{"http://127.0.0.1:1/login/callback"},
		Users: []User{{Subject: "nurse", Name: "Nurse Joy", Password: "nurse", Roles: []string{"approver:clinic"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestWithGoOIDC: an independent client library agrees with every flow.
func TestWithGoOIDC(t *testing.T) {
	p := start(t)
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: Audience})
	check := func(what, raw string) {
		t.Helper()
		token, err := verifier.Verify(ctx, raw)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var claims struct {
			Roles []string `json:"chaperone_roles"`
		}
		if err := token.Claims(&claims); err != nil || len(claims.Roles) != 1 || token.Subject != "nurse" {
			t.Fatalf("%s: %v %v", what, claims, err)
		}
	}
	raw, err := p.Token("nurse", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("minted", raw)
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	check("signed before the rotation", raw)
	raw, _ = p.Token("nurse", time.Hour, nil)
	check("signed after the rotation", raw)

	machine := clientcredentials.Config{ClientID: "nurse", ClientSecret: "nurse", TokenURL: provider.Endpoint().TokenURL}
	token, err := machine.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	check("client credentials", token.AccessToken)
	bad, err := p.BadTokens("nurse")
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range bad {
		_, err := verifier.Verify(ctx, raw)
		// go-oidc leaves these two to its caller.
		if err == nil && name != "no subject" && name != "issued in future" {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCodeFlow(t *testing.T) {
	p := start(t)
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	client := oauth2.Config{ClientID: PageClient, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile"},
		RedirectURL: "http://127.0.0.1:1/login/callback"}
	pkce := oauth2.GenerateVerifier()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.Contains(r.URL.Path, "/login/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := browser.Get(client.AuthCodeURL("state1", oauth2.S256ChallengeOption(pkce), oidc.Nonce("n1")))
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 4096)
	n, _ := page.Body.Read(body)
	_ = page.Body.Close()
	id := regexp.MustCompile(`name="authRequestID" value="([^"]+)"`).FindSubmatch(body[:n])
	if id == nil {
		t.Fatalf("no login form: %d %s", page.StatusCode, body[:n])
	}
	back, err := browser.PostForm(p.Issuer()+"/login/username",
		url.Values{"authRequestID": {string(id[1])}, "username": {"nurse"}, "password": {"nurse"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = back.Body.Close()
	to, err := back.Location()
	if err != nil || to.Query().Get("state") != "state1" {
		t.Fatalf("%d %v %v", back.StatusCode, to, err)
	}
	token, err := client.Exchange(ctx, to.Query().Get("code"), oauth2.VerifierOption(pkce))
	if err != nil {
		t.Fatal(err)
	}
	idToken, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("no ID token")
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: PageClient}).Verify(ctx, idToken)
	if err != nil || verified.Nonce != "n1" {
		t.Fatal(verified, err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil || claims["chaperone_roles"] == nil {
		t.Fatalf("%v %v", claims, err)
	}
}
