package masking

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
)

// tokenChars is how much of the HMAC a token keeps: 20 base32 characters, which
// are 100 bits.
const tokenChars = 20

const tokenPrefix = "tok_"

var tokenAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Tokenizer makes keyed tokens: HMAC-SHA-256 over class and value, equal for
// equal values of a class. The key is what makes it a permitted code under 45
// CFR 164.514(c); an unkeyed hash would be derived from the data.
type Tokenizer struct {
	states sync.Pool // of *macState
}

// macState is what one computation needs, kept so that none allocates.
type macState struct {
	mac  hash.Hash
	text []byte
	sum  []byte
}

// NewTokenizer returns a Tokenizer. The key must have at least 32 bytes.
func NewTokenizer(key []byte) (*Tokenizer, error) {
	if len(key) < 32 {
		return nil, errors.New("the token key must have at least 32 bytes")
	}
	key = append([]byte(nil), key...)
	return &Tokenizer{states: sync.Pool{New: func() any { return &macState{mac: hmac.New(sha256.New, key)} }}}, nil
}

// Fingerprint tells one key from another and nothing else about it: 64 bits of
// an HMAC that is no token's. No class is called so.
func (t *Tokenizer) Fingerprint() string {
	s := t.sum("fingerprint of the token key", nil)
	defer t.states.Put(s)
	return hex.EncodeToString(s.sum[:8])
}

// sum is the HMAC of a domain and a value, good until the state is put back.
func (t *Tokenizer) sum(domain string, value []byte) *macState {
	s := t.states.Get().(*macState) //nolint:errcheck,forcetypeassert // nothing else is in the pool
	s.text = append(s.text[:0], domain...)
	s.text = append(s.text, 0) // domains hold no NUL: they cannot run into values
	s.mac.Reset()
	s.mac.Write(s.text)
	s.mac.Write(value)
	s.sum = s.mac.Sum(s.sum[:0])
	return s
}

// AppendToken appends the token of a value to dst.
func (t *Tokenizer) AppendToken(dst []byte, class string, value []byte) []byte {
	s := t.sum(class, value)
	var text [56]byte
	tokenAlphabet.Encode(text[:], s.sum)
	t.states.Put(s)
	dst = append(dst, tokenPrefix...)
	return append(dst, text[:tokenChars]...)
}
