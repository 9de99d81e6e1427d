package api

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/gateway"
)

// The bounds of a query's fields. Config bounds the body, gateway.Limits what a
// request may ask for.
const (
	maxConnection = 128
	maxReason     = 1000 // characters
	maxSession    = 128
	maxParameters = 65535 // what PostgreSQL's protocol can count
	maxTypeName   = 64
	// maxTimeoutMS keeps the conversion to a Duration far from overflow.
	maxTimeoutMS = 24 * 60 * 60 * 1000
)

var (
	sessionPattern   = regexp.MustCompile(`^[A-Za-z0-9._:@/+=-]+$`)
	parameterPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	typePattern      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_ .,()\[\]]*$`)
	integerPattern   = regexp.MustCompile(`^-?[0-9]+$`)
	namePattern      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)
)

// synonyms are what models and other clients write for our field names.
var synonyms = map[string]string{
	"sql": "statement", "query": "statement", "sql_query": "statement", "params": "parameters", "args": "parameters",
	"arguments": "parameters", "values": "parameters", "database": "connection", "db": "connection",
	"limit": "row_limit", "max_rows": "row_limit", "timeout": "timeout_ms", "purpose": "purpose_of_use",
	"session": "session_id", "dryRun": "dry_run",
}

// malformed is a refusal that may carry a hint.
type malformed struct{ detail, hint string }

func (m *malformed) Error() string { return m.detail }

// DecodeQuery reads the body of POST /v1/query: one JSON object, strictly. Its
// error is always a *gateway.Problem. The request's Body is the canonical form
// of the same query: decoding that gives the same request again, and two bodies
// that mean the same have the same canonical form.
func DecodeQuery(body []byte) (*gateway.Request, error) {
	r, err := decodeQuery(body)
	if err != nil {
		return nil, badRequest(err)
	}
	r.Body = encodeQuery(r)
	return r, nil
}

// badRequest makes a problem of an error of this file or of parseJSON.
func badRequest(err error) *gateway.Problem {
	p := &gateway.Problem{Code: gateway.CodeMalformed, Detail: sentence(err.Error())}
	var m *malformed
	if errors.As(err, &m) {
		p.Hint = m.hint
	}
	return p
}

// sentence makes a sentence of an error's text.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func decodeQuery(body []byte) (*gateway.Request, error) {
	doc, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	if doc.kind != kindObject {
		return nil, errors.New("the body must be a JSON object")
	}
	r := &gateway.Request{MaxAffected: -1}
	for i := range doc.members {
		if err := decodeField(r, doc.members[i].name, &doc.members[i].value); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Connection == "":
		return nil, &malformed{"the field connection is required", "GET /v1/connections lists your connections."}
	case r.Statement == "":
		return nil, &malformed{"the field statement is required", "It holds one SQL statement."}
	}
	return r, nil
}

func decodeField(r *gateway.Request, name string, v *node) (err error) {
	var n int64
	switch name {
	case "connection":
		r.Connection, err = text(name, v, maxConnection)
	case "statement":
		r.Statement, err = text(name, v, -1)
	case "parameters":
		err = decodeParameters(r, v)
	case "row_limit":
		r.RowLimit, err = integer(name, v, 1)
	case "byte_limit":
		r.ByteLimit, err = integer(name, v, 1)
	case "max_affected":
		r.MaxAffected, err = integer(name, v, 0)
	case "timeout_ms":
		n, err = integer(name, v, 1)
		r.Timeout = time.Duration(min(n, maxTimeoutMS)) * time.Millisecond
		if n > maxTimeoutMS {
			err = errors.New("the field timeout_ms is more than a day")
		}
	case "purpose_of_use":
		if r.PurposeOfUse, err = text(name, v, maxTypeName); err == nil && evidence.PurposeName(r.PurposeOfUse) == "" {
			err = &malformed{"the field purpose_of_use is not an HL7 v3 PurposeOfUse code",
				"Codes are upper case, such as TREAT, HPAYMT, HOPERAT, HRESCH, PUBHLTH or PATRQT."}
		}
	case "reason":
		r.Reason, err = text(name, v, maxReason)
	case "session_id":
		if r.SessionID, err = text(name, v, maxSession); err == nil && !sessionPattern.MatchString(r.SessionID) {
			err = errors.New("the field session_id may hold letters, digits and . _ : @ / + = - only")
		}
	case "dry_run":
		if v.kind != kindBool {
			return wrongKind(name, kindBool, v)
		}
		r.DryRun = v.text == "true"
	default:
		m := &malformed{detail: fmt.Sprintf("%s is unknown", fieldName(name))}
		if meant, ok := synonyms[name]; ok {
			m.hint = "Did you mean " + meant + "?"
		}
		return m
	}
	return err
}

// fieldName says which field, unless its name could be data itself.
func fieldName(name string) string {
	if !namePattern.MatchString(name) {
		return "a field"
	}
	return "the field " + name
}

func wrongKind(name string, want kind, v *node) error {
	return fmt.Errorf("the field %s must be %s, not %s", name, want, v.kind)
}

// text reads a non-empty string of at most most characters; negative is no bound.
func text(name string, v *node, most int) (string, error) {
	switch {
	case v.kind != kindString:
		return "", wrongKind(name, kindString, v)
	case v.text == "":
		return "", fmt.Errorf("the field %s is empty", name)
	case most >= 0 && utf8.RuneCountInString(v.text) > most:
		return "", fmt.Errorf("the field %s is longer than %d characters", name, most)
	}
	return v.text, nil
}

func integer(name string, v *node, least int64) (int64, error) {
	if v.kind != kindNumber {
		return 0, wrongKind(name, kindNumber, v)
	}
	if !integerPattern.MatchString(v.text) {
		return 0, fmt.Errorf("the field %s must be a whole number, written without point or exponent", name)
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the field %s is out of range", name)
	}
	if n < least {
		return 0, fmt.Errorf("the field %s must be at least %d", name, least)
	}
	return n, nil
}

func decodeParameters(r *gateway.Request, v *node) error {
	if len(v.items)+len(v.members) > maxParameters {
		return fmt.Errorf("the field parameters holds more than %d", maxParameters)
	}
	switch v.kind {
	case kindArray:
		for i := range v.items {
			p, err := decodeParameter(&v.items[i])
			if err != nil {
				return fmt.Errorf("parameter %d: %w", i+1, err)
			}
			r.Positional = append(r.Positional, p)
		}
	case kindObject:
		r.Named = make(map[string]connectors.Param, len(v.members))
		for i := range v.members {
			name := v.members[i].name
			if !parameterPattern.MatchString(name) {
				return &malformed{"a parameter's name is no identifier",
					"Names are letters, digits and underscores, without the colon of the marker."}
			}
			p, err := decodeParameter(&v.members[i].value)
			if err != nil {
				return fmt.Errorf("parameter %s: %w", name, err)
			}
			r.Named[name] = p
		}
	default:
		return &malformed{"the field parameters must be a list, or an object for :name markers, not " + v.kind.String(), ""}
	}
	return nil
}

// decodeParameter reads a plain JSON value, {"value":…,"type":…} or
// {"null":true}.
func decodeParameter(v *node) (connectors.Param, error) {
	if v.kind != kindObject {
		return plainParameter(v), nil
	}
	value, hasValue := v.member("value")
	null, hasNull := v.member("null")
	declared, hasType := v.member("type")
	var p connectors.Param
	switch {
	case !hasValue && !hasNull:
		return plainParameter(v), nil
	case hasNull && (hasValue || null.kind != kindBool || null.text != "true"), len(v.members) > 1 && !hasType, len(v.members) > 2:
		return p, &malformed{"an object with the member value or null must be {\"value\":…,\"type\":…} or {\"null\":true}",
			"To bind a JSON object that has such members, wrap it: {\"value\":{…},\"type\":\"jsonb\"}."}
	case hasNull:
		p.Null = true
	default:
		p = plainParameter(value)
	}
	if hasType {
		name, err := text("type", declared, maxTypeName)
		if err != nil {
			return p, err
		}
		if !typePattern.MatchString(name) {
			return p, errors.New("the field type is no SQL type name")
		}
		p.Type = name
	}
	return p, nil
}

func plainParameter(v *node) connectors.Param {
	switch v.kind {
	case kindNull:
		return connectors.Param{Null: true}
	case kindBool:
		return connectors.Param{Kind: connectors.ParamBool, Text: v.text}
	case kindNumber:
		return connectors.Param{Kind: connectors.ParamNumber, Text: v.text}
	case kindString:
		return connectors.Param{Kind: connectors.ParamString, Text: v.text}
	default:
		return connectors.Param{Kind: connectors.ParamJSON, Text: string(appendNode(nil, v))}
	}
}
