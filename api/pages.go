package api

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// pageFiles are the templates and the style sheet, which are part of the code.
//
//go:embed web/*.html web/assets/chaperone.css
var pageFiles embed.FS

// pagePolicy lets a page load its own style sheet and send its own forms.
// There is no script anywhere.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// pages is what the pages are rendered from.
type pages struct {
	list, request, message          *template.Template
	search, chain, session, bundles *template.Template
	style                           []byte
	stylePath                       string
}

func newPages() (*pages, error) {
	style, err := pageFiles.ReadFile("web/assets/chaperone.css")
	if err != nil {
		return nil, fmt.Errorf("reading the style sheet: %w", err)
	}
	p := &pages{style: style, stylePath: "/assets/chaperone-" + strings.Trim(etagOf(style), `"`)[:12] + ".css"}
	for _, page := range []struct {
		file string
		to   **template.Template
	}{{"list.html", &p.list}, {"request.html", &p.request}, {"message.html", &p.message},
		{"audit.html", &p.search}, {"audit_chain.html", &p.chain}, {"audit_session.html", &p.session}, {"audit_bundles.html", &p.bundles}} {
		t, err := template.New(page.file).ParseFS(pageFiles, "web/layout.html", "web/audit_parts.html", "web/"+page.file)
		if err != nil {
			return nil, fmt.Errorf("parsing the page %s: %w", page.file, err)
		}
		*page.to = t
	}
	return p, nil
}

func (s *Server) pageRoutes() {
	s.app.Get("/login", s.login)
	s.app.Get("/login/callback", s.loginCallback)
	s.app.Post("/logout", s.logout)
	s.app.Get("/approvals", s.signedIn(s.approvalsPage))
	s.app.Get("/approvals/:id", s.signedIn(s.approvalPage))
	s.app.Post("/approvals/:id/decision", s.signedIn(s.decisionForm))
	s.app.Get(s.pages.stylePath, s.styleSheet)
	if s.cfg.Auditing != nil {
		s.auditRoutes()
	}
}

// isPage reports whether a person with a browser asked for this path.
func isPage(path string) bool {
	for _, prefix := range []string{"/approvals", "/audit", "/login", "/logout"} {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

// visit is one request of a signed-in person.
type visit struct {
	call
	cookie string
}

// signedIn runs a page for a person with a session. A visitor without one is
// sent to sign in first. A form is not redirected there: pagePolicy's
// form-action would stop the browser at the provider, and the form's content
// would be lost without a word.
func (s *Server) signedIn(handle func(*fiber.Ctx, *visit) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		ctx, cancel := s.requestContext()
		defer cancel()
		p, cookie := s.session(c)
		if p == nil {
			back := returnPath(strings.TrimSuffix(c.Path(), "/decision"))
			if c.Method() == fiber.MethodPost {
				return s.messagePage(c, http.StatusUnauthorized, signedOut(back))
			}
			return c.Redirect("/login?return="+url.QueryEscape(back), http.StatusSeeOther)
		}
		v := &visit{call{ctx: ctx, principal: p, meta: metaOf(c, "page")}, cookie}
		v.meta.Origin = origin(c)
		return handle(c, v)
	}
}

// signedOut answers a form of somebody whose session ended.
func signedOut(back string) message {
	if strings.HasPrefix(back, "/audit") {
		return message{Title: "You are signed out", Text: "Nothing was made. Sign in and ask again.", Link: back, LinkText: "Back"}
	}
	return message{Title: "You are signed out", Text: "Nothing was decided. Sign in and decide again.", Link: back, LinkText: "Back to the request"}
}

// approvalsPage is GET /approvals.
func (s *Server) approvalsPage(c *fiber.Ctx, v *visit) error {
	open, err := s.cfg.Gateway.Approvals(v.ctx, v.principal)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, s.pages.list, listView(s.frame("Requests for approval", v), open, s.cfg.Clock()))
}

// approvalPage is GET /approvals/{id}. It changes nothing: link previews fetch it.
func (s *Server) approvalPage(c *fiber.Ctx, v *visit) error {
	id, err := s.queryID(c, &v.call)
	if err != nil {
		return err
	}
	return s.showRequest(c, v, id, http.StatusOK, "", "")
}

func (s *Server) showRequest(c *fiber.Ctx, v *visit, id string, status int, comment, complaint string) error {
	view, err := s.cfg.Gateway.Approval(v.ctx, v.principal, id, v.meta)
	if err != nil {
		return err
	}
	page := requestView(s.frame("Request for approval", v), view, s.cfg.Clock())
	page.Comment, page.Complaint = comment, complaint
	return s.render(c, status, s.pages.request, page)
}

// decisionForm is POST /approvals/{id}/decision. It answers with a redirect to
// the page, so that reloading does not send the form again.
func (s *Server) decisionForm(c *fiber.Ctx, v *visit) error {
	id, err := s.queryID(c, &v.call)
	if err != nil {
		return err
	}
	form, problem := readForm(c)
	if problem == nil {
		problem = s.checkForm(c, v.cookie, form.Get("token"))
	}
	if problem != nil {
		return s.reject(&v.call, problem)
	}
	decision, comment := form.Get("decision"), strings.ReplaceAll(form.Get("comment"), "\r\n", "\n")
	err = checkComment(comment)
	if err == nil {
		err = checkDecision(decision, comment)
	}
	if err != nil {
		return s.showRequest(c, v, id, http.StatusUnprocessableEntity, comment, sentence(err.Error()))
	}
	if _, err := s.cfg.Gateway.Decide(v.ctx, v.principal, id, decision == "approve", comment, v.meta); err != nil {
		return err
	}
	return c.Redirect("/approvals/"+id, http.StatusSeeOther)
}

// checkComment is what decoding JSON checks in the API.
func checkComment(comment string) error {
	switch {
	case !utf8.ValidString(comment), strings.ContainsRune(comment, 0):
		return errors.New("the comment is not valid text")
	case utf8.RuneCountInString(comment) > maxComment:
		return fmt.Errorf("the comment is longer than %d characters", maxComment)
	}
	return nil
}

// frame is what every page has around its content.
type frame struct {
	Title, Style string
	// Name is who is signed in, "" for nobody; Token goes into forms.
	Name, Token string
	// Audits is true for an auditor, who gets a way to the recordings. Wide is
	// true for pages of many columns.
	Audits, Wide bool
}

// wide is a frame for pages of many columns.
func (f frame) wide() frame {
	f.Wide = true
	return f
}

func (s *Server) frame(title string, v *visit) frame {
	f := frame{Title: title, Style: s.pages.stylePath}
	if v != nil {
		f.Name, f.Token = displayName(v.principal), formToken(v.cookie)
		f.Audits = s.cfg.Auditing != nil && audit.May(v.principal)
	}
	return f
}

func displayName(p *identity.Principal) string {
	switch {
	case p.Name != "":
		return legible(p.Name)
	case p.Email != "":
		return legible(p.Email)
	}
	return legible(p.Subject)
}

// message is a page of a few words.
type message struct {
	frame
	Title, Text, Hint, Reference string
	// Link leads on, "" for nowhere.
	Link, LinkText string
}

func (s *Server) messagePage(c *fiber.Ctx, status int, m message) error {
	m.frame = s.frame(m.Title, nil)
	return s.render(c, status, s.pages.message, m)
}

// problemPage tells a person what a problem document tells a program.
func (s *Server) problemPage(c *fiber.Ctx, p *gateway.Problem) error {
	d := documentOf(p)
	s.metrics.problem(d.Code)
	if p.RetryAfter > 0 {
		setRetryAfter(c, p.RetryAfter)
	}
	m := message{Title: d.Title, Text: d.Detail, Hint: d.Hint, Reference: d.RecordingID}
	if d.Code == gateway.CodeNotFound && !strings.HasPrefix(c.Path(), "/audit") {
		m.Text = "There is no such request, or you are not an approver of its connection."
	}
	return s.messagePage(c, d.Status, m)
}

func (s *Server) render(c *fiber.Ctx, status int, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", data); err != nil {
		return fmt.Errorf("rendering a page: %w", err)
	}
	c.Set(fiber.HeaderContentSecurityPolicy, pagePolicy)
	c.Status(status).Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Response().SetBodyRaw(b.Bytes())
	return nil
}

// styleSheet has its digest in its name, so a browser may keep it.
func (s *Server) styleSheet(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	c.Set(fiber.HeaderContentType, "text/css; charset=utf-8")
	c.Response().SetBodyRaw(s.pages.style)
	return nil
}
