package masking

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
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
	macs sync.Pool
}

// NewTokenizer returns a Tokenizer. The key must have at least 32 bytes.
func NewTokenizer(key []byte) (*Tokenizer, error) {
	if len(key) < 32 {
		return nil, errors.New("the token key must have at least 32 bytes")
	}
	key = append([]byte(nil), key...)
	return &Tokenizer{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}, nil
}

// AppendToken appends the token of a value to dst.
func (t *Tokenizer) AppendToken(dst []byte, class string, value []byte) []byte {
	mac := t.macs.Get().(hash.Hash)
	defer t.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(class))
	mac.Write([]byte{0}) // class names hold no NUL: classes cannot run into values
	mac.Write(value)
	var sum [sha256.Size]byte
	var text [56]byte
	tokenAlphabet.Encode(text[:], mac.Sum(sum[:0]))
	dst = append(dst, tokenPrefix...)
	return append(dst, text[:tokenChars]...)
}
