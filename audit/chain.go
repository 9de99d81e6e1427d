package audit

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
)

const (
	// SessionPage is how many queries a page of a session has.
	SessionPage = 20
	// longestChain and longestSession bound the records of one query, and those
	// that begin or end the queries of one session, that are looked at.
	longestChain   = 1000
	longestSession = 20000
)

// Chain is everything recorded of one query.
type Chain struct {
	QueryID string
	// Records are in order of time.
	Records []evidence.Record
	// Broken are records that the index knows of, whose segments do not verify.
	Broken []Found
	// Problem says why the query's own log could not be read to its end.
	Problem string
	// Recorded is the record of this look.
	Recorded string
}

// Query gives the chain of a query's records.
func (s *Service) Query(ctx context.Context, p *identity.Principal, id string, m gateway.Meta) (*Chain, error) {
	sc, err := s.enter(ctx, p, m)
	if err != nil {
		return nil, err
	}
	s.refresh(ctx)
	c, err := s.chain(ctx, sc, id)
	if err != nil {
		return nil, s.problem(err)
	}
	l := look{what: "query", asked: map[string]string{"query": id}, known: c != nil}
	if c != nil {
		l.query, l.connection = id, c.connection()
	}
	recorded, err := s.record(ctx, p, l, m)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, found404(recorded)
	}
	c.Recorded = recorded
	return c, nil
}

func found404(recorded string) error {
	problem := notFound()
	problem.RecordingID = recorded
	return problem
}

func (c *Chain) connection() string {
	for i := range c.Records {
		if name := c.Records[i].Connection; name != "" {
			return name
		}
	}
	return ""
}

// chain reads what is there of a query; nil if there is nothing to see.
func (s *Service) chain(ctx context.Context, sc scope, id string) (*Chain, error) {
	if _, err := evidence.QueryTime(id); err != nil {
		return nil, nil //nolint:nilerr // what is no identifier has no records
	}
	c := &Chain{QueryID: id}
	records, err := s.cfg.Reader.Find(ctx, id)
	switch {
	case err == nil:
		c.Records = records
	case errors.Is(err, evidence.ErrInvalid):
		c.Problem = err.Error()
	default:
		return nil, err
	}
	if err := s.complete(ctx, c); err != nil {
		return nil, err
	}
	for i := range c.Records {
		if !sc.holds(c.Records[i].Connection) && (c.Records[i].Connection != "" || c.connection() == "") {
			return nil, nil
		}
	}
	if len(c.Records)+len(c.Broken) == 0 || len(c.Records) == 0 && !sc.all {
		return nil, nil
	}
	return c, nil
}

// complete adds what the index knows of a query and Find did not give: what was
// recorded after its end, and what does not verify.
func (s *Service) complete(ctx context.Context, c *Chain) error {
	page, err := s.cfg.Index.Search(ctx, index.Query{Filter: evidence.Filter{QueryID: c.QueryID}, Limit: longestChain})
	if err != nil {
		return err
	}
	have := make(map[string]bool, len(c.Records))
	for i := range c.Records {
		have[c.Records[i].ID] = true
	}
	missing := slices.DeleteFunc(page.Hits, func(h index.Hit) bool { return have[h.RecordID] })
	found, err := s.read(ctx, missing)
	if err != nil {
		return err
	}
	for _, f := range found {
		switch {
		case f.Record == nil:
			c.Broken = append(c.Broken, f)
		case f.Record.QueryID == c.QueryID:
			c.Records = append(c.Records, *f.Record)
		}
	}
	slices.SortStableFunc(c.Records, func(a, b evidence.Record) int { return a.Time.Compare(b.Time) })
	return nil
}

// Session is a part of a session as it happened.
type Session struct {
	ID string
	// Queries counts all queries of the session that the auditor may see.
	Queries int
	// Page is which part this is, from 1; there are Pages.
	Page, Pages int
	// Chains are the queries of this part, in order of their start.
	Chains []Chain
	// Before is when the last record before this part was made; zero at the start.
	Before   time.Time
	State    index.State
	Recorded string
}

// Session gives a part of a session, from 1.
func (s *Service) Session(ctx context.Context, p *identity.Principal, id string, part int, m gateway.Meta) (*Session, error) {
	sc, err := s.enter(ctx, p, m)
	if err != nil {
		return nil, err
	}
	s.refresh(ctx)
	ids, err := s.queriesOf(ctx, sc, id)
	if err != nil {
		return nil, s.problem(err)
	}
	session := &Session{ID: id, Queries: len(ids), Pages: (len(ids) + SessionPage - 1) / SessionPage, State: s.cfg.Index.State()}
	session.Page = min(max(part, 1), max(session.Pages, 1))
	from := (session.Page - 1) * SessionPage
	if session.Chains, err = s.chains(ctx, sc, id, ids[from:min(from+SessionPage, len(ids))]); err != nil {
		return nil, s.problem(err)
	}
	if from > 0 {
		before, err := s.chain(ctx, sc, ids[from-1])
		if err != nil {
			return nil, s.problem(err)
		}
		if before != nil {
			session.Before = evidence.EndOf(before.Records)
		}
	}
	l := look{what: "session", asked: map[string]string{"session": id}, known: len(session.Chains) > 0,
		facts: map[string]string{"page": strconv.Itoa(session.Page)}}
	if l.known {
		l.session, l.connection = id, session.connection()
	}
	recorded, err := s.record(ctx, p, l, m)
	if err != nil {
		return nil, err
	}
	if len(session.Chains) == 0 {
		return nil, found404(recorded)
	}
	session.Recorded = recorded
	return session, nil
}

// connection is the session's, if it has only one: an auditor of it sees the look.
func (s *Session) connection() (name string) {
	for i := range s.Chains {
		switch next := s.Chains[i].connection(); {
		case name == "":
			name = next
		case next != name:
			return ""
		}
	}
	return name
}

// queriesOf lists the queries of a session by their start.
func (s *Service) queriesOf(ctx context.Context, sc scope, session string) ([]string, error) {
	if session == "" {
		return nil, nil
	}
	q := index.Query{Filter: evidence.Filter{SessionID: session}, Limit: index.MaxLimit}
	if !sc.all {
		q.Connections = sc.connections
	}
	var ids []string
	for range longestSession / index.MaxLimit {
		page, err := s.cfg.Index.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, hit := range page.Hits {
			if hit.QueryID != "" {
				ids = append(ids, hit.QueryID)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	// A query id begins with its time, and base32hex keeps the order of bytes: this
	// is the order of their starts.
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (s *Service) chains(ctx context.Context, sc scope, session string, ids []string) ([]Chain, error) {
	chains := make([]*Chain, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, id := range ids {
		group.Go(func() (err error) {
			chains[i], err = s.chain(ctx, sc, id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	list := make([]Chain, 0, len(chains))
	for _, c := range chains {
		if c != nil && c.of(session) {
			list = append(list, *c)
		}
	}
	return list, nil
}

// of reports whether the query is of a session, by its verified records; one of
// which none is left is where the index says.
func (c *Chain) of(session string) bool {
	return len(c.Records) == 0 || slices.ContainsFunc(c.Records, func(r evidence.Record) bool { return r.SessionID == session })
}

// Record gives one record as it was recorded.
func (s *Service) Record(ctx context.Context, p *identity.Principal, id string, m gateway.Meta) (*evidence.Record, error) {
	sc, err := s.enter(ctx, p, m)
	if err != nil {
		return nil, err
	}
	r, err := s.cfg.Reader.FindRecord(ctx, id)
	broken := errors.Is(err, evidence.ErrInvalid)
	if err != nil && !broken && !errors.Is(err, worm.ErrNotFound) {
		return nil, s.problem(err)
	}
	l := look{what: "record", asked: map[string]string{"record": id}}
	if r != nil && sc.holds(r.Connection) {
		l.known, l.query, l.session, l.connection = true, r.QueryID, r.SessionID, r.Connection
	} else {
		r = nil
	}
	recorded, failed := s.record(ctx, p, l, m)
	switch {
	case failed != nil:
		return nil, failed
	case broken && sc.all:
		return nil, &gateway.Problem{Code: gateway.CodeInternal, RecordingID: recorded,
			Detail: "The segment of this record does not verify, so it is not shown: " + err.Error() + ". Run chaperone evidence verify."}
	case r == nil:
		return nil, found404(recorded)
	}
	return r, nil
}
