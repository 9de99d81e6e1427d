package api

import (
	"strings"
	"testing"
	"time"
)

func TestPreferredWait(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"wait=10": 10 * time.Second, "respond-async, wait=5": 5 * time.Second, "WAIT=7": 7 * time.Second,
		`wait="8"`: 8 * time.Second, "wait=100": 25 * time.Second, "wait=3; foo=bar": 3 * time.Second, " wait = 4 ": 4 * time.Second,
		"wait=2, wait=9": 2 * time.Second, `a="x, wait=9", wait=6`: 6 * time.Second, `a="\", wait=9", wait=6`: 6 * time.Second,
		"wait=0": 0,
	} {
		if got, ok := preferredWait([]string{header}); !ok || got != want {
			t.Errorf("%q is %v %v, want %v", header, got, ok, want)
		}
	}
	if got, ok := preferredWait([]string{"respond-async", "wait=11"}); !ok || got != 11*time.Second {
		t.Errorf("two lines: %v", got)
	}
	for _, header := range []string{"", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "waiting=5", `"wait=5"`, "wait=99999999999", "x;wait=5"} {
		if got, ok := preferredWait([]string{header}); ok {
			t.Errorf("%q is %v", header, got)
		}
	}
}

func FuzzPrefer(f *testing.F) {
	f.Add(`respond-async, wait="10"; x=y`)
	f.Add(`a="\", wait=9", wait=6`)
	f.Fuzz(func(t *testing.T, header string) {
		wait, ok := preferredWait([]string{header})
		if wait < 0 || wait > maxWait || !ok && wait != 0 {
			t.Fatalf("%q is %v %v", header, wait, ok)
		}
	})
}

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer a.b-c_d~e+f/g==": "a.b-c_d~e+f/g==", "bearer x": "x", "BEARER  x ": "x",
		"": "", "Bearer": "", "Bearer ": "", "Bearer a b": "", "Bearer a,b": "", "Bearer =": "", "Bearer\tx": "", "Basic x": "",
		"Bearer x\x00": "", "Bearer \u00e9": "", "Bearerx": "", " Bearer x": "",
	} {
		if got, err := bearerToken([]string{header}); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", header, got, err)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer abc.def.ghi==")
	f.Add("bearer  x ")
	f.Fuzz(func(t *testing.T, header string) {
		token, err := bearerToken([]string{header})
		if (err == nil) != (token != "") || !strings.Contains(header, token) || strings.ContainsAny(token, " ,\"\t\r\n") {
			t.Fatalf("%q is %q, %v", header, token, err)
		}
		if err != nil && err.Error() != "" && len(header) > 20 && strings.Contains(err.Error(), header) {
			t.Fatalf("the error quotes %q", header)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	for key, ok := range map[string]bool{"a b": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false, "": false,
		"a\tb": false, "é": false, "\x7f": false} {
		if got, err := idempotencyKey([]string{key}); (err == nil) != ok || ok && got != key {
			t.Errorf("%q: %q %v", key, got, err)
		}
	}
	if _, err := idempotencyKey([]string{"a", "a"}); err == nil {
		t.Error("two keys")
	}
}

func TestRequestID(t *testing.T) {
	if got := requestID("abc-1.2:3"); got != "abc-1.2:3" {
		t.Error(got)
	}
	for _, bad := range []string{"", "a b", "a\n", strings.Repeat("a", 129), "<x>"} {
		if got := requestID(bad); got == bad || !requestIDPattern.MatchString(got) {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestIsJSON(t *testing.T) {
	for header, want := range map[string]bool{"application/json": true, "Application/JSON; charset=UTF-8": true,
		"application/json; charset=latin1": false, "text/json": false, "": false, "application/json, text/plain": false,
		"application/problem+json": false} {
		if isJSON(header) != want {
			t.Errorf("%q", header)
		}
	}
}

func TestQuotable(t *testing.T) {
	if got := quotable("a\"b\\c\né"); got != "a'b'c''" {
		t.Error(got)
	}
}
