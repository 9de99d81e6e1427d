package worm

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckKey(t *testing.T) {
	good := []string{"a", "a/b", "evidence/gw-1-0abc/segments/0000000000000000", "A_b.c-d/E", strings.Repeat("k", 512)}
	for _, key := range good {
		if err := CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	bad := []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", "a b", "a\\b", "ä", "a\x00b", "a%2f",
		"a:b", strings.Repeat("k", 513)}
	for _, key := range bad {
		if err := CheckKey(key); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v, want ErrBadKey", key, err)
		}
	}
}
