package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chaperone-sql/chaperone/audit"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
)

// Bounds of an answer about evidence.
const (
	maxSearch = 100
	// rowsBudget bounds the recorded rows in an answer, in bytes. The record's own
	// address always has them.
	rowsBudget = 32 << 20
)

// evidenceRoutes are what the auditors' pages show, as JSON.
func (s *Server) evidenceRoutes() {
	s.app.Get("/v1/evidence/queries", s.authenticated(s.evidenceSearch))
	s.app.Get("/v1/evidence/queries/:id", s.authenticated(s.evidenceQuery))
	s.app.Get("/v1/evidence/sessions/:id", s.authenticated(s.evidenceSession))
	s.app.Get("/v1/evidence/records/:id", s.authenticated(s.evidenceRecord))
	s.app.Get("/v1/evidence/bundles", s.authenticated(s.evidenceBundles))
	s.app.Get("/v1/evidence/bundles/:day", s.authenticated(s.evidenceBundle))
}

// recordView is a record and where it is. Readers give verified records only.
type recordView struct {
	*evidence.Record
	Object string `json:"object"`
	// RowsLeftOut is true if the recorded rows would make the answer too large.
	RowsLeftOut bool `json:"rows_left_out,omitempty"`
}

// unreadable is a record that is known of and whose segment does not verify.
type unreadable struct {
	ID      string `json:"id"`
	Problem string `json:"problem"`
}

// chainDocument is everything recorded of a query.
type chainDocument struct {
	QueryID    string       `json:"query_id"`
	Records    []recordView `json:"records"`
	Unreadable []unreadable `json:"unreadable"`
	// Problem says why the query's own log could not be read to its end.
	Problem  string `json:"problem,omitempty"`
	Recorded string `json:"recording_id,omitempty"`
}

// indexDocument says how far the index was.
type indexDocument struct {
	UpTo    *time.Time        `json:"up_to"`
	Damaged map[string]string `json:"damaged"`
}

func indexOf(s index.State) indexDocument {
	d := indexDocument{Damaged: s.Damaged}
	if d.Damaged == nil {
		d.Damaged = map[string]string{}
	}
	if !s.UpTo.IsZero() {
		at := s.UpTo.UTC()
		d.UpTo = &at
	}
	return d
}

// evidenceSearch is GET /v1/evidence/queries. It gives entries, not bodies.
func (s *Server) evidenceSearch(c *fiber.Ctx, k *call) error {
	values, err := s.parameters(c, k, "since", "until", "principal", "connection", "relation", "patient", "effect", "status",
		"session", "query", "type", "after", "limit")
	if err != nil {
		return err
	}
	form := formOf(values)
	q, err := form.query()
	if err != nil {
		return s.misasked(k, sentence(err.Error()))
	}
	if q.Limit, err = number(values, "limit", index.DefaultLimit, maxSearch); err != nil {
		return s.misasked(k, sentence(err.Error()))
	}
	switch q.After = values.Get("after"); q.Type {
	case "":
		q.Type = string(evidence.TypeOutcome)
	case "all":
		q.Type = ""
	}
	results, err := s.cfg.Auditing.Search(k.ctx, k.principal, q, k.meta)
	if err != nil {
		return err
	}
	out := struct {
		Records    []recordView  `json:"records"`
		Unreadable []unreadable  `json:"unreadable"`
		Next       string        `json:"next,omitempty"`
		Index      indexDocument `json:"index"`
		Recorded   string        `json:"recording_id"`
	}{Records: []recordView{}, Unreadable: unreadables(results.Found), Next: results.Next, Index: indexOf(results.State), Recorded: results.Recorded}
	for _, f := range results.Found {
		if r := f.Record; r != nil {
			out.Records = append(out.Records, recordView{Record: r.Entry(), Object: r.Object})
		}
	}
	return writeJSON(c, http.StatusOK, out)
}

// evidenceQuery is GET /v1/evidence/queries/{id}.
func (s *Server) evidenceQuery(c *fiber.Ctx, k *call) error {
	id, _, err := s.asked(c, k)
	if err != nil {
		return err
	}
	chain, err := s.cfg.Auditing.Query(k.ctx, k.principal, id, k.meta)
	if err != nil {
		return err
	}
	budget := rowsBudget
	return writeJSON(c, http.StatusOK, chainOf(chain, &budget))
}

// evidenceSession is GET /v1/evidence/sessions/{id}, a page of queries without
// their rows.
func (s *Server) evidenceSession(c *fiber.Ctx, k *call) error {
	id, values, err := s.asked(c, k, "page")
	if err != nil {
		return err
	}
	page, err := number(values, "page", 1, 1<<30)
	if err != nil {
		return s.misasked(k, sentence(err.Error()))
	}
	session, err := s.cfg.Auditing.Session(k.ctx, k.principal, id, page, k.meta)
	if err != nil {
		return err
	}
	if session.Page != page {
		return &gateway.Problem{Code: gateway.CodeNotFound, RecordingID: session.Recorded,
			Detail: fmt.Sprintf("The session has %d pages.", session.Pages)}
	}
	out := struct {
		SessionID string          `json:"session_id"`
		Queries   int             `json:"queries"`
		Page      int             `json:"page"`
		Pages     int             `json:"pages"`
		Chains    []chainDocument `json:"chains"`
		Index     indexDocument   `json:"index"`
		Recorded  string          `json:"recording_id"`
	}{session.ID, session.Queries, session.Page, session.Pages, []chainDocument{}, indexOf(session.State), session.Recorded}
	none := 0
	for i := range session.Chains {
		out.Chains = append(out.Chains, chainOf(&session.Chains[i], &none))
	}
	return writeJSON(c, http.StatusOK, out)
}

// chainOf takes what rows an answer still has room for out of the budget.
func chainOf(c *audit.Chain, budget *int) chainDocument {
	d := chainDocument{QueryID: c.QueryID, Records: []recordView{}, Unreadable: unreadables(c.Broken), Problem: c.Problem, Recorded: c.Recorded}
	for i := range c.Records {
		r := c.Records[i]
		v := recordView{Record: &r, Object: r.Object}
		if res := r.Result; res != nil && len(res.Rows) > 0 {
			if *budget -= len(res.Rows); *budget < 0 {
				*budget = 0
				kept := *res
				kept.Rows, v.RowsLeftOut, r.Result = nil, true, &kept
			}
		}
		d.Records = append(d.Records, v)
	}
	return d
}

func unreadables(found []audit.Found) []unreadable {
	list := []unreadable{}
	for _, f := range found {
		if f.Record == nil {
			list = append(list, unreadable{f.Hit.RecordID, f.Problem})
		}
	}
	return list
}

// evidenceRecord is GET /v1/evidence/records/{id}.
func (s *Server) evidenceRecord(c *fiber.Ctx, k *call) error {
	id, _, err := s.asked(c, k)
	if err != nil {
		return err
	}
	record, err := s.cfg.Auditing.Record(k.ctx, k.principal, id, k.meta)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, recordView{Record: record, Object: record.Object})
}

// evidenceBundles is GET /v1/evidence/bundles.
func (s *Server) evidenceBundles(c *fiber.Ctx, k *call) error {
	if _, err := s.parameters(c, k); err != nil {
		return err
	}
	days, err := s.cfg.Auditing.Bundles(k.ctx, k.principal, k.meta)
	if err != nil {
		return err
	}
	type bundle struct {
		Day    string    `json:"day"`
		Size   int64     `json:"size"`
		Stored time.Time `json:"stored"`
	}
	list := make([]bundle, 0, len(days))
	for _, d := range days {
		list = append(list, bundle{d.Day.UTC().Format(time.DateOnly), d.Size, d.Stored.UTC()})
	}
	return writeJSON(c, http.StatusOK, map[string]any{"bundles": list})
}

// evidenceBundle is GET /v1/evidence/bundles/{day}, such as 2026-11-23: the zip.
func (s *Server) evidenceBundle(c *fiber.Ctx, k *call) error {
	if _, err := s.parameters(c, k); err != nil {
		return err
	}
	name := c.Params("day")
	day, err := time.Parse(time.DateOnly, name)
	if err != nil {
		return s.misasked(k, "Write the day as 2026-11-23.")
	}
	return s.sendBundle(c, "chaperone-"+name+".zip", func(ctx context.Context) (io.ReadCloser, int64, error) {
		return s.cfg.Auditing.Bundle(ctx, k.principal, day, k.meta)
	})
}

// asked reads the identifier of the path and the parameters.
func (s *Server) asked(c *fiber.Ctx, k *call, known ...string) (string, url.Values, error) {
	values, err := s.parameters(c, k, known...)
	if err != nil {
		return "", nil, err
	}
	id, err := s.auditID(c, k, "id")
	return id, values, err
}

// parameters reads the query string strictly: a filter that is misspelt, empty or
// given twice must not be a search for something else.
func (s *Server) parameters(c *fiber.Ctx, k *call, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return nil, s.misasked(k, "The address is malformed.")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, s.misasked(k, "A parameter is unknown.", known...)
		case len(given) > 1:
			return nil, s.misasked(k, "The parameter "+name+" is given twice.")
		case strings.TrimSpace(given[0]) == "":
			return nil, s.misasked(k, "The parameter "+name+" is empty.")
		}
	}
	return values, nil
}

// misasked refuses, and records it. Whoever is no auditor is told that first.
func (s *Server) misasked(k *call, detail string, known ...string) error {
	p := &gateway.Problem{Code: gateway.CodeMalformed, Detail: detail}
	if len(known) > 0 {
		p.Hint = "There are: " + strings.Join(known, ", ") + "."
	}
	if !audit.May(k.principal) {
		p = audit.Forbidden()
	}
	return s.reject(k, p)
}

// number reads a parameter from 1 to most.
func number(values url.Values, name string, otherwise, most int) (int, error) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, errors.New("the parameter " + name + " must be a number from 1 to " + strconv.Itoa(most))
	}
	return n, nil
}
