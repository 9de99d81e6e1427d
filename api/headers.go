package api

import (
	"crypto/rand"
	"errors"
	"mime"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxWait is the longest a request may wait for an approval: CrewAI's MCP
	// client gives up after 30 s.
	maxWait           = 25 * time.Second
	maxIdempotencyKey = 255
)

var (
	requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._~:+/=-]{1,128}$`)
	// tokenPattern is b64token of RFC 6750, section 2.1.
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
)

// requestID is the client's X-Request-Id if it is well formed, or a new one.
func requestID(header string) string {
	if requestIDPattern.MatchString(header) {
		return header
	}
	return rand.Text()
}

// bearerToken reads the Authorization headers of a request (RFC 6750, section
// 2.1; RFC 9110, section 11.4). Its error is for the caller to read.
func bearerToken(headers []string) (string, error) {
	switch len(headers) {
	case 0:
		return "", errNoToken
	case 1:
	default:
		return "", errors.New("there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("the Authorization header must be: Bearer <token>")
	}
	if !tokenPattern.MatchString(token) {
		return "", errors.New("the bearer token is malformed")
	}
	return token, nil
}

// errNoToken: the request carries no credentials at all, so the challenge must
// carry no error code (RFC 6750, section 3.1).
var errNoToken = errors.New("this needs a bearer token")

// preferredWait reads wait=N of the Prefer headers (RFC 7240, section 4.3), at
// most maxWait. A preference that is malformed is ignored, as the RFC asks; of
// a repeated one the first counts.
func preferredWait(headers []string) (time.Duration, bool) {
	for _, preference := range splitList(strings.Join(headers, ",")) {
		preference, _, _ = strings.Cut(preference, ";") // parameters of the preference
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0, false
		}
		return min(time.Duration(seconds)*time.Second, maxWait), true
	}
	return 0, false
}

// splitList splits a header's list at commas outside quoted strings.
func splitList(list string) []string {
	var parts []string
	quoted, from := false, 0
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case quoted && list[i] == '\\':
			i++
		case !quoted && list[i] == ',':
			parts = append(parts, list[from:i])
			from = i + 1
		}
	}
	return append(parts, list[from:])
}

// idempotencyKey reads the Idempotency-Key headers; "" is none.
func idempotencyKey(headers []string) (string, error) {
	switch {
	case len(headers) == 0:
		return "", nil
	case len(headers) > 1:
		return "", errors.New("there is more than one Idempotency-Key header")
	case headers[0] == "", len(headers[0]) > maxIdempotencyKey:
		return "", errors.New("the Idempotency-Key must have 1 to 255 characters")
	}
	for _, c := range []byte(headers[0]) {
		if c < ' ' || c > '~' {
			return "", errors.New("the Idempotency-Key must be printable ASCII")
		}
	}
	return headers[0], nil
}

// isJSON reports whether a Content-Type is JSON in UTF-8.
func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}
