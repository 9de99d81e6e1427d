package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
)

// Auditing is what the auditors' pages and their API show. Every look is recorded, and every
// error is a *gateway.Problem.
type Auditing interface {
	Search(ctx context.Context, p *identity.Principal, q index.Query, m gateway.Meta) (*audit.Results, error)
	Query(ctx context.Context, p *identity.Principal, id string, m gateway.Meta) (*audit.Chain, error)
	// Session gives a part of a session, counted from 1.
	Session(ctx context.Context, p *identity.Principal, id string, part int, m gateway.Meta) (*audit.Session, error)
	Record(ctx context.Context, p *identity.Principal, id string, m gateway.Meta) (*evidence.Record, error)
	Bundles(ctx context.Context, p *identity.Principal, m gateway.Meta) ([]audit.Day, error)
	// Bundle and NewBundle stream a zip of a known size. ctx governs the stream.
	Bundle(ctx context.Context, p *identity.Principal, day time.Time, m gateway.Meta) (io.ReadCloser, int64, error)
	NewBundle(ctx context.Context, p *identity.Principal, f evidence.Filter, m gateway.Meta) (io.ReadCloser, int64, error)
}

const (
	// maxFilter bounds what is typed into a field of a search, in characters.
	maxFilter = 512
	// bundleTime bounds making or sending a bundle.
	bundleTime = 30 * time.Minute
)

func (s *Server) auditRoutes() {
	s.app.Get("/audit", s.signedIn(s.auditSearch))
	s.app.Get("/audit/queries/:id", s.signedIn(s.auditQuery))
	s.app.Get("/audit/sessions/*", s.signedIn(s.auditSession))
	s.app.Get("/audit/records/:id", s.signedIn(s.auditRecord))
	s.app.Get("/audit/bundles", s.signedIn(s.auditBundles))
	s.app.Post("/audit/bundles", s.signedIn(s.auditNewBundle))
	s.app.Get("/audit/bundles/:day", s.signedIn(s.auditBundle))
}

// origin is what a browser says of where a request came from, if that is
// another site: a link from outside makes an auditor look, too.
func origin(c *fiber.Ctx) string {
	switch site := c.Get("Sec-Fetch-Site"); site {
	case "cross-site", "same-site":
		return site
	}
	return ""
}

// auditSearch is GET /audit.
func (s *Server) auditSearch(c *fiber.Ctx, v *visit) error {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return s.reject(&v.call, &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The address is malformed."})
	}
	page := searchPage{frame: s.frame("Search the recordings", v).wide(), Form: formOf(values)}
	if len(values) == 0 {
		page.Form.Type = string(evidence.TypeOutcome)
	}
	query, err := page.Form.query()
	if err != nil {
		page.Complaint = sentence(err.Error())
		for _, given := range values {
			if !utf8.ValidString(given[0]) {
				page.Form = searchForm{} // what is no text cannot be given back
			}
		}
		if !audit.May(v.principal) {
			return s.reject(&v.call, &gateway.Problem{Code: gateway.CodeForbidden, Detail: "Only auditors may look at evidence."})
		}
		return s.render(c, http.StatusUnprocessableEntity, s.pages.search, page)
	}
	query.After = values.Get("after")
	results, err := s.cfg.Auditing.Search(v.ctx, v.principal, query, v.meta)
	if err != nil {
		return err
	}
	page.fill(results, s.cfg.Clock())
	return s.render(c, http.StatusOK, s.pages.search, page)
}

// auditQuery is GET /audit/queries/{id}.
func (s *Server) auditQuery(c *fiber.Ctx, v *visit) error {
	id, err := s.auditID(c, &v.call, "id")
	if err != nil {
		return err
	}
	chain, err := s.cfg.Auditing.Query(v.ctx, v.principal, id, v.meta)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, s.pages.chain, chainView(s.frame("One query", v).wide(), chain))
}

// auditSession is GET /audit/sessions/{id}.
func (s *Server) auditSession(c *fiber.Ctx, v *visit) error {
	id, err := s.auditID(c, &v.call, "*")
	if err != nil {
		return err
	}
	part, err := strconv.Atoi(c.Query("part", "1"))
	if err != nil || part < 1 {
		return s.reject(&v.call, &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The part must be a number from 1."})
	}
	session, err := s.cfg.Auditing.Session(v.ctx, v.principal, id, part, v.meta)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, s.pages.session, sessionView(s.frame("A session as it happened", v).wide(), session))
}

// auditID reads an identifier out of the path.
func (s *Server) auditID(c *fiber.Ctx, k *call, name string) (string, error) {
	id, err := url.PathUnescape(c.Params(name))
	if err != nil || id == "" || utf8.RuneCountInString(id) > maxFilter || !utf8.ValidString(id) {
		return "", s.reject(k, &gateway.Problem{Code: gateway.CodeMalformed, Detail: "The address is malformed."})
	}
	return id, nil
}

// auditRecord is GET /audit/records/{id}: JSON that a person can read, too.
func (s *Server) auditRecord(c *fiber.Ctx, v *visit) error {
	id, err := s.auditID(c, &v.call, "id")
	if err != nil {
		return err
	}
	record, err := s.cfg.Auditing.Record(v.ctx, v.principal, id, v.meta)
	if err != nil {
		return err
	}
	body, err := json.MarshalIndent(struct {
		Object   string           `json:"object"`
		Verified bool             `json:"segment_verified"`
		Record   *evidence.Record `json:"record"`
	}{record.Object, true, record}, "", "  ") // readers give verified records only
	if err != nil {
		return err
	}
	return sendJSON(c, http.StatusOK, visible(body))
}

// visible escapes what cannot be seen or moves other characters. In JSON such a
// character is always inside a string.
func visible(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r <= 0x7e || !hidden(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// auditBundles is GET /audit/bundles.
func (s *Server) auditBundles(c *fiber.Ctx, v *visit) error {
	days, err := s.cfg.Auditing.Bundles(v.ctx, v.principal, v.meta)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, s.pages.bundles, bundlesView(s.frame("Bundles", v), days, c.Query("before")))
}

// auditBundle is GET /audit/bundles/{day}, such as 2026-11-23.zip.
func (s *Server) auditBundle(c *fiber.Ctx, v *visit) error {
	name, ok := strings.CutSuffix(c.Params("day"), ".zip")
	day, err := time.Parse(time.DateOnly, name)
	if err != nil || !ok {
		return s.reject(&v.call, &gateway.Problem{Code: gateway.CodeNotFound, Detail: "There is no bundle of this name."})
	}
	return s.sendBundle(c, "chaperone-"+name+".zip", func(ctx context.Context) (io.ReadCloser, int64, error) {
		return s.cfg.Auditing.Bundle(ctx, v.principal, day, v.meta)
	})
}

// auditNewBundle is POST /audit/bundles.
func (s *Server) auditNewBundle(c *fiber.Ctx, v *visit) error {
	values, problem := readForm(c)
	if problem == nil {
		problem = s.checkForm(c, v.cookie, values.Get("token"))
	}
	if problem != nil {
		return s.reject(&v.call, problem)
	}
	form := formOf(values)
	query, err := form.query()
	if err != nil {
		return s.reject(&v.call, &gateway.Problem{Code: gateway.CodeMalformed, Detail: sentence(err.Error())})
	}
	name := "chaperone-" + query.Since.UTC().Format("20060102T1504Z") + "-" + query.Until.UTC().Format("20060102T1504Z") + ".zip"
	return s.sendBundle(c, name, func(ctx context.Context) (io.ReadCloser, int64, error) {
		return s.cfg.Auditing.NewBundle(ctx, v.principal, query.Filter, v.meta)
	})
}

// sendBundle streams a zip. The stream outlives the handler: it ends when the
// server has sent it, or given it up.
func (s *Server) sendBundle(c *fiber.Ctx, name string, open func(ctx context.Context) (io.ReadCloser, int64, error)) error {
	ctx, cancel := context.WithTimeout(s.base, bundleTime)
	body, size, err := open(ctx)
	if err != nil {
		cancel()
		return err
	}
	if size > maxInt {
		cancel()
		return errors.Join(fmt.Errorf("a bundle of %d bytes", size), body.Close())
	}
	c.Set(fiber.HeaderContentType, "application/zip")
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	c.Response().SetBodyStream(&sending{body, cancel, c.Context().Conn()}, int(size))
	return nil
}

const maxInt = int64(^uint(0) >> 1)

// sending is a body on its way. The server's bound for a whole answer would cut a
// large one: each piece gets that time instead.
type sending struct {
	io.ReadCloser
	cancel context.CancelFunc
	conn   net.Conn
}

// Read implements io.Reader.
func (b *sending) Read(p []byte) (int, error) {
	if err := b.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer; fasthttp calls it when the answer was sent.
func (b *sending) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
