package api

import (
	"crypto/subtle"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// login is GET /login: to the provider, remembering in a sealed cookie what
// must come back.
func (s *Server) login(c *fiber.Ctx) error {
	st := loginState{
		State: randomToken(), Nonce: randomToken(), Verifier: randomToken(),
		Return: returnPath(c.Query("return")), Expires: s.cfg.Clock().Add(loginTime),
	}
	address, err := s.cfg.Login.AuthURL(st.State, st.Nonce, st.Verifier)
	if err != nil {
		return s.loginProblem(err)
	}
	sealed, err := sealLogin(s.cfg.LoginKey, st)
	if err != nil {
		return err
	}
	s.setCookie(c, loginCookie, sealed, loginTime)
	return c.Redirect(address, http.StatusSeeOther)
}

// loginCallback is GET /login/callback, where the provider sends the browser
// back to.
func (s *Server) loginCallback(c *fiber.Ctx) error {
	ctx, cancel := s.requestContext()
	defer cancel()
	meta := metaOf(c, "page")
	refuse := func(detail string) error {
		return s.cfg.Gateway.Reject(ctx, nil, &gateway.Problem{Code: gateway.CodeUnauthenticated, Detail: detail,
			Hint: "Open the link again to start over."}, meta, "")
	}
	st, err := openLogin(s.cfg.LoginKey, c.Cookies(s.cookieName(loginCookie)), s.cfg.Clock())
	s.dropCookie(c, loginCookie)
	if err != nil {
		return refuse("This sign-in was not started in this browser, or it took too long.")
	}
	if subtle.ConstantTimeCompare([]byte(c.Query("state")), []byte(st.State)) != 1 {
		return refuse("This sign-in was not started in this browser.")
	}
	code := c.Query("code")
	if code == "" {
		return refuse("The identity provider did not sign you in.")
	}
	p, err := s.cfg.Login.Exchange(ctx, code, st.Verifier, st.Nonce)
	if errors.Is(err, identity.ErrInvalidToken) {
		return refuse("The identity provider's answer is not valid.")
	}
	if err != nil {
		return s.cfg.Gateway.Reject(ctx, nil, s.loginProblem(err), meta, "")
	}
	sealed, err := s.cfg.Sessions.Seal(p)
	if err != nil {
		return err
	}
	if err := s.cfg.Gateway.SignedIn(ctx, p, meta); err != nil {
		return err
	}
	s.setCookie(c, sessionCookie, sealed, 0) // Sessions knows when it ends
	return c.Redirect(st.Return, http.StatusSeeOther)
}

// loginProblem says what an error of the provider means for the person.
func (s *Server) loginProblem(err error) *gateway.Problem {
	if errors.Is(err, identity.ErrProviderUnavailable) {
		return &gateway.Problem{Code: gateway.CodeIdentity, Retryable: true, RetryAfter: 5 * time.Second,
			Detail: "The identity provider cannot be reached, so you cannot sign in now."}
	}
	s.cfg.Logger.Error("signing in", "error", err)
	return internal("")
}

// logout is POST /logout.
func (s *Server) logout(c *fiber.Ctx) error {
	_, cookie := s.session(c)
	form, problem := readForm(c)
	if problem != nil {
		return problem
	}
	if cookie != "" {
		if problem := s.checkForm(c, cookie, form.Get("token")); problem != nil {
			return problem
		}
	}
	s.dropCookie(c, sessionCookie)
	return s.messagePage(c, http.StatusOK, message{Title: "Signed out", Text: "You are signed out of Chaperone in this browser."})
}

// readForm reads a form's fields. Of a repeated one the first counts.
func readForm(c *fiber.Ctx) (url.Values, *gateway.Problem) {
	if media, _, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType)); err != nil || media != fiber.MIMEApplicationForm {
		return nil, &gateway.Problem{Code: codeMediaType, Detail: "A form is expected."}
	}
	body, problem := readBody(c, formLimit)
	if problem != nil {
		return nil, problem
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The form is malformed."}
	}
	return form, nil
}
