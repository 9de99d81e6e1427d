package index

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Query is what to look for. Every field that is set must match.
type Query struct {
	evidence.Filter
	// Type is a record's type, or the part before its dot.
	Type string
	// Connections, if not nil, are the only ones looked at.
	Connections []string
	// After is a Page's Next.
	After string
	// Limit bounds the page; at most MaxLimit, 0 is DefaultLimit.
	Limit int
}

// Bounds of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Hit is a record that was found. It is to be read before it is shown.
type Hit struct {
	RecordID string
	Time     time.Time
	QueryID  string
	// Segment is a hint for evidence.Reader.RecordIn.
	Segment uint64
}

// Page is a part of what was found.
type Page struct {
	// Hits are newest first.
	Hits []Hit
	// Next is the Query.After of the next page, "" at the end.
	Next string
}

// ErrCursor: Query.After is not one that a Page held.
var ErrCursor = errors.New("this is not the place of a next page")

// Search finds records, newest first.
func (ix *Index) Search(ctx context.Context, q Query) (*Page, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	start, err := q.start()
	if err != nil {
		return nil, err
	}
	page := &Page{}
	err = ix.view(func(tx *bolt.Tx) error {
		postings, numbers := tx.Bucket(bucketPostings), tx.Bucket(bucketNumbers)
		it := q.iterator(postings)
		oldest := nanos(q.Since)
		for at := it.seek(start); at != nil; at = it.seek(start) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !q.Since.IsZero() && binary.BigEndian.Uint64(at) < oldest {
				return nil
			}
			if len(page.Hits) == limit {
				page.Next = base64.RawURLEncoding.EncodeToString(at)
				return nil
			}
			hit, ok := readHit(postings, numbers, at)
			if !ok {
				return fmt.Errorf("%w: a posting leads nowhere", errDamaged)
			}
			page.Hits = append(page.Hits, hit)
			if start = before(at); start == nil {
				return nil
			}
		}
		return nil
	})
	if errors.Is(err, errDamaged) {
		if again := ix.rebuild(err); again != nil {
			return nil, fmt.Errorf("searching: %w", again)
		}
		return &Page{}, nil // State says that nothing is indexed yet
	}
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return page, nil
}

// start is the position to begin at.
func (q Query) start() ([]byte, error) {
	start := bytes.Repeat([]byte{0xff}, positionSize)
	if !q.Until.IsZero() {
		if start = before(position(q.Until, 0, 0)); start == nil {
			start = make([]byte, positionSize)
		}
	}
	if q.After == "" {
		return start, nil
	}
	after, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil || len(after) != positionSize {
		return nil, ErrCursor
	}
	if bytes.Compare(after, start) < 0 {
		start = after
	}
	return start, nil
}

// iterator walks over what the query asks for.
func (q Query) iterator(postings *bolt.Bucket) iterator {
	var parts all
	of := func(f field, value string) iterator { return &one{c: postings.Cursor(), term: term(f, value)} }
	for _, want := range []struct {
		field field
		value string
	}{
		{fieldQuery, q.QueryID}, {fieldSession, q.SessionID}, {fieldPatient, q.Patient}, {fieldPrincipal, q.Principal},
		{fieldRelation, q.Relation}, {fieldStatus, q.Status}, {fieldEffect, q.Effect}, {fieldType, q.Type},
		{fieldConnection, q.Connection},
	} {
		if want.value != "" {
			parts = append(parts, of(want.field, want.value))
		}
	}
	if q.Connections != nil {
		var any some
		for _, name := range q.Connections {
			any = append(any, of(fieldConnection, name))
		}
		parts = append(parts, any)
	}
	if len(parts) == 0 {
		parts = append(parts, of(fieldAll, ""))
	}
	return parts
}

// readHit says which record is at a position.
func readHit(postings, numbers *bolt.Bucket, at []byte) (Hit, bool) {
	p, ok := decodePlace(postings.Get(append(term(fieldAll, ""), at...)))
	name := numbers.Get(at[8:12])
	if !ok || name == nil {
		return Hit{}, false
	}
	sequence := binary.BigEndian.Uint64(at[12:])
	return Hit{
		RecordID: string(name) + "." + strconv.FormatUint(sequence, 10),
		Time:     time.Unix(0, int64(binary.BigEndian.Uint64(at))).UTC(), // #nosec G115 -- see nanos
		QueryID:  p.query, Segment: p.segment,
	}, true
}
