package audit

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/index"
	"github.com/chaperone-sql/chaperone/gateway"
	"github.com/chaperone-sql/chaperone/identity"
	"github.com/chaperone-sql/chaperone/worm"
)

// readers is how many records are read at once.
const readers = 8

// Results is a page of what a search found.
type Results struct {
	Found []Found
	// Next is the Query.After of the next page.
	Next string
	// State tells how far the index was.
	State index.State
	// Recorded is the record of this look.
	Recorded string
}

// Found is a record that was found, or why it cannot be shown.
type Found struct {
	Hit index.Hit
	// Record was read from a verified segment; nil with Problem.
	Record *evidence.Record
	// Problem says why the record's segment does not verify.
	Problem string
}

// Search finds records, newest first.
func (s *Service) Search(ctx context.Context, p *identity.Principal, q index.Query, m gateway.Meta) (*Results, error) {
	sc, err := s.enter(ctx, p, m)
	if err != nil {
		return nil, err
	}
	if !sc.all {
		q.Connections = sc.connections
	}
	s.refresh(ctx)
	page, err := s.cfg.Index.Search(ctx, q)
	if errors.Is(err, index.ErrCursor) {
		return nil, s.cfg.Rejects.Reject(ctx, p, &gateway.Problem{Code: gateway.CodeMalformed,
			Detail: "This is not the place of a further page."}, m, "")
	}
	if err != nil {
		return nil, s.problem(err)
	}
	found, err := s.read(ctx, page.Hits)
	if err != nil {
		return nil, s.problem(err)
	}
	r := &Results{Next: page.Next, State: s.cfg.Index.State()}
	for _, f := range found {
		if f.Record == nil || matches(q, f.Record) && sc.holds(f.Record.Connection) {
			r.Found = append(r.Found, f)
		}
	}
	r.Recorded, err = s.record(ctx, p, look{what: "search", asked: asked(q), known: len(r.Found) > 0,
		facts: withPeriod(q.Filter, map[string]string{"found": strconv.Itoa(len(r.Found))})}, m)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// matches is what a record must be to have been found.
func matches(q index.Query, r *evidence.Record) bool {
	return q.Matches(r) && (q.Type == "" || string(r.Type) == q.Type || family(r.Type) == q.Type)
}

func family(t evidence.Type) string {
	name, _, _ := strings.Cut(string(t), ".")
	return name
}

// asked names the filters of a search.
func asked(q index.Query) map[string]string {
	out := make(map[string]string)
	for name, value := range map[string]string{"principal": q.Principal, "connection": q.Connection, "session": q.SessionID,
		"query": q.QueryID, "relation": q.Relation, "patient": q.Patient, "effect": q.Effect, "status": q.Status, "type": q.Type} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

func askedFilter(f evidence.Filter) map[string]string { return asked(index.Query{Filter: f}) }

func oneOf(f evidence.Filter) index.Query { return index.Query{Filter: f, Limit: 1} }

func withPeriod(f evidence.Filter, facts map[string]string) map[string]string {
	if !f.Since.IsZero() {
		facts["since"] = f.Since.UTC().Format(time.RFC3339)
	}
	if !f.Until.IsZero() {
		facts["until"] = f.Until.UTC().Format(time.RFC3339)
	}
	return facts
}

// refresh brings the index up to date, for a while; State tells if that was not
// enough.
func (s *Service) refresh(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, refreshTimeout)
	defer stop()
	if err := s.cfg.Index.Refresh(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.cfg.Logger.Warn("the search index is behind", "error", err)
	}
}

// read reads the records of hits.
func (s *Service) read(ctx context.Context, hits []index.Hit) ([]Found, error) {
	found := make([]Found, len(hits))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, hit := range hits {
		group.Go(func() error {
			found[i].Hit = hit
			record, err := s.cfg.Reader.RecordIn(ctx, hit.RecordID, hit.Segment)
			switch {
			case err == nil:
				// The index is only a hint of what a record says.
				found[i].Record, found[i].Hit.Time, found[i].Hit.QueryID = record, record.Time, record.QueryID
			case errors.Is(err, evidence.ErrInvalid), errors.Is(err, worm.ErrNotFound):
				found[i].Problem = err.Error()
			default:
				return err
			}
			return nil
		})
	}
	return found, group.Wait()
}
