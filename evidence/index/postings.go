package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/chaperone-sql/chaperone/evidence"
)

// A posting says that a record has a term. Its key is
//
//	term 12 | time 8 | writer's number 4 | sequence 8
//
// bytes, so that a term's postings are in order of time. The last 20 bytes are
// the record's position, the same for all of its postings. The posting of the
// term that every record has also says where the record is.
const (
	termSize     = 12
	positionSize = 20
)

// field is what a term is about.
type field string

const (
	fieldAll        field = "all"
	fieldPrincipal  field = "principal"
	fieldConnection field = "connection"
	fieldSession    field = "session"
	fieldQuery      field = "query"
	fieldRelation   field = "relation"
	fieldPatient    field = "patient"
	fieldEffect     field = "effect"
	fieldStatus     field = "status"
	fieldType       field = "type"
)

// term is a digest: the file holds no text, and all terms have one size.
func term(f field, value string) []byte {
	sum := sha256.Sum256([]byte(string(f) + "\x00" + value))
	return sum[:termSize]
}

// terms are what a record is found by, besides its time.
func terms(r *evidence.Record) [][]byte {
	list := [][]byte{term(fieldAll, "")}
	add := func(f field, value string) {
		if value != "" {
			list = append(list, term(f, value))
		}
	}
	if r.Actor != nil {
		for _, name := range r.Actor.Names() {
			add(fieldPrincipal, name)
		}
	}
	// "" is searched for, too: what belongs to no connection.
	list = append(list, term(fieldConnection, r.Connection))
	add(fieldSession, r.SessionID)
	add(fieldQuery, r.QueryID)
	for _, relation := range r.Relations {
		add(fieldRelation, relation)
	}
	for _, patient := range r.Patients {
		add(fieldPatient, patient)
	}
	add(fieldEffect, r.Effect)
	add(fieldStatus, r.Status)
	add(fieldType, string(r.Type))
	if family, _, ok := strings.Cut(string(r.Type), "."); ok {
		add(fieldType, family)
	}
	return list
}

// position is where a record is in the order of time.
func position(t time.Time, number uint32, sequence uint64) []byte {
	p := make([]byte, 0, positionSize)
	p = binary.BigEndian.AppendUint64(p, nanos(t))
	p = binary.BigEndian.AppendUint32(p, number)
	return binary.BigEndian.AppendUint64(p, sequence)
}

// nanos is a time that sorts; years beyond 2262 and before 1970 are at the ends.
func nanos(t time.Time) uint64 {
	switch {
	case t.Unix() < 0:
		return 0
	case t.Year() > 2261:
		return 1<<63 - 1
	}
	return uint64(t.UnixNano()) // #nosec G115 -- not negative
}

// before is the last position before one, or nil.
func before(p []byte) []byte {
	q := bytes.Clone(p)
	for i := len(q) - 1; i >= 0; i-- {
		q[i]--
		if q[i] != 0xff {
			return q
		}
	}
	return nil
}

// place is the value of the posting that every record has.
type place struct {
	segment uint64
	query   string
}

func (p place) encode() []byte {
	return append(binary.AppendUvarint(nil, p.segment), p.query...)
}

func decodePlace(b []byte) (place, bool) {
	segment, n := binary.Uvarint(b)
	if n <= 0 {
		return place{}, false
	}
	return place{segment, string(b[n:])}, true
}

// iterator gives positions downwards.
type iterator interface {
	// seek gives the greatest position at or below one, or nil. What it gives is
	// valid until the next call.
	seek(at []byte) []byte
}

// one iterates over a term's postings.
type one struct {
	c    *bolt.Cursor
	term []byte
	key  []byte
}

func (o *one) seek(at []byte) []byte {
	o.key = append(append(o.key[:0], o.term...), at...)
	k, _ := o.c.Seek(o.key)
	switch {
	case k == nil: // the key is behind the last one
		k, _ = o.c.Last()
	case !bytes.Equal(k, o.key):
		k, _ = o.c.Prev()
	}
	if len(k) != termSize+positionSize || !bytes.HasPrefix(k, o.term) {
		return nil
	}
	return k[termSize:]
}

// all gives the positions that every one of its iterators has.
type all []iterator

func (a all) seek(at []byte) []byte {
next:
	for at != nil {
		for _, it := range a {
			got := it.seek(at)
			if got == nil {
				return nil
			}
			if !bytes.Equal(got, at) {
				at = bytes.Clone(got)
				if len(a) > 1 {
					continue next
				}
			}
		}
		return at
	}
	return nil
}

// some gives the positions that any of its iterators has.
type some []iterator

func (s some) seek(at []byte) (greatest []byte) {
	for _, it := range s {
		if got := it.seek(at); bytes.Compare(got, greatest) > 0 {
			greatest = bytes.Clone(got)
		}
	}
	return greatest
}
