package api

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/masking"
)

const (
	loginKeySize = 32 // AES-256
	// loginTime is how long a sign-in at the provider may take.
	loginTime = 10 * time.Minute
	// loginPurpose binds the key's use to this cookie.
	loginPurpose = "chaperone login cookie v1"
)

// loginState is what must come back from the provider to the same browser
// (OpenID Connect Core, section 3.1.2.1; RFC 7636).
type loginState struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Return   string    `json:"return"`
	Expires  time.Time `json:"expires"`
}

// sealLogin encrypts a login state for its cookie.
func sealLogin(key masking.Secret, st loginState) (string, error) {
	aead, err := loginCipher(key)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(st)
	if err != nil {
		return "", err
	}
	sealed := aead.Seal(nil, nil, plain, []byte(loginPurpose)) //nolint:gosec // the cipher makes its own nonce
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// openLogin is the reverse; anything it did not seal, or that is too old, is an error.
func openLogin(key masking.Secret, cookie string, now time.Time) (loginState, error) {
	var st loginState
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return st, err
	}
	aead, err := loginCipher(key)
	if err != nil {
		return st, err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(loginPurpose))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(plain, &st); err != nil {
		return st, err
	}
	if now.After(st.Expires) {
		return st, errors.New("the sign-in took too long")
	}
	return st, nil
}

func loginCipher(key masking.Secret) (cipher.AEAD, error) {
	block, err := aes.NewCipher([]byte(key.Reveal()))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// randomToken has 256 bits, and the length that RFC 7636 asks of a verifier.
func randomToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// cookieName has the __Host- prefix wherever browsers allow it: no other host,
// no other path, https only.
func (s *Server) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

func (s *Server) setCookie(c *fiber.Ctx, name, value string, age time.Duration) {
	c.Cookie(&fiber.Cookie{
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: s.secure, HTTPOnly: true,
		SameSite: fiber.CookieSameSiteLaxMode, // Strict would hide the session from a link in a message
	})
}

func (s *Server) dropCookie(c *fiber.Ctx, name string) {
	c.Cookie(&fiber.Cookie{
		Name: s.cookieName(name), Path: "/", Expires: time.Unix(1, 0), Secure: s.secure, HTTPOnly: true,
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}

const (
	sessionCookie = "chaperone"
	loginCookie   = "chaperone-login"
)

// session is who is signed in, or nil.
func (s *Server) session(c *fiber.Ctx) (p *identity.Principal, cookie string) {
	cookie = c.Cookies(s.cookieName(sessionCookie))
	if cookie == "" {
		return nil, ""
	}
	p, err := s.cfg.Sessions.Open(cookie)
	if err != nil {
		return nil, ""
	}
	return p, cookie
}

// formToken is the token of a session's forms. The cookie is secret, so whoever
// knows its MAC has read a page of the session.
func formToken(cookie string) string {
	mac := hmac.New(sha256.New, []byte(cookie))
	mac.Write([]byte("chaperone form token v1"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkForm refuses a form that was not sent from a page of this session: by
// its token, and by what the browser says of its origin.
func (s *Server) checkForm(c *fiber.Ctx, cookie, token string) *gateway.Problem {
	origin, site := c.Get(fiber.HeaderOrigin), c.Get("Sec-Fetch-Site")
	sameToken := subtle.ConstantTimeCompare([]byte(token), []byte(formToken(cookie))) == 1
	if sameToken && (origin == "" || origin == s.origin) && (site == "" || site == "same-origin") {
		return nil
	}
	return &gateway.Problem{Code: codeForgery, Detail: "The form was not sent from a page of this site and session.",
		Hint: "Open the page again at " + s.origin + " and repeat."}
}

var returnPattern = regexp.MustCompile(`^/(approvals(/[A-Za-z0-9._~-]{1,128})?|audit(/bundles|/(queries|records|sessions)/[A-Za-z0-9._~%@:+=-]{1,512})?)$`)

// returnPath is where a sign-in leads to: a page of ours, whatever was asked for.
func returnPath(asked string) string {
	if returnPattern.MatchString(asked) {
		return asked
	}
	return "/approvals"
}
