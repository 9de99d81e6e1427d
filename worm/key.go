package worm

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBadKey: the key is not one that every store can hold. Nothing was done.
var ErrBadKey = errors.New("not a valid object key")

// maxKey is the longest key in bytes; S3 allows 1024, which leaves room for a
// store's own prefix.
const maxKey = 512

// CheckKey reports, as ErrBadKey, a key outside the contract: slash-separated
// parts of [A-Za-z0-9._-], none empty and none starting with a dot, at most
// 512 bytes. Parts that start with a dot are left to stores (worm/dir keeps
// its temporary files there), which also rules out "." and "..".
func CheckKey(key string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("%w: %d bytes long", ErrBadKey, len(key))
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' {
			return fmt.Errorf("%w: an empty part or one that starts with a dot", ErrBadKey)
		}
		for i := range len(part) {
			if !keyByte(part[i]) {
				return fmt.Errorf("%w: byte %#02x", ErrBadKey, part[i])
			}
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
