package api

import (
	"sort"
	"strconv"

	"github.com/chaperone-sql/chaperone/connectors"
	"github.com/chaperone-sql/chaperone/gateway"
)

// encodeQuery writes the canonical body of a request: fields in one order,
// named parameters by name, what was left out left out.
func encodeQuery(r *gateway.Request) []byte {
	b := append(make([]byte, 0, len(r.Statement)+256), `{"connection":`...)
	b = appendString(b, r.Connection)
	b = appendText(b, "statement", r.Statement)
	b = appendParameters(b, r)
	b = appendInteger(b, "row_limit", r.RowLimit, 1)
	b = appendInteger(b, "byte_limit", r.ByteLimit, 1)
	b = appendInteger(b, "timeout_ms", r.Timeout.Milliseconds(), 1)
	b = appendInteger(b, "max_affected", r.MaxAffected, 0)
	b = appendText(b, "purpose_of_use", r.PurposeOfUse)
	b = appendText(b, "reason", r.Reason)
	b = appendText(b, "session_id", r.SessionID)
	if r.DryRun {
		b = append(b, `,"dry_run":true`...)
	}
	return append(b, '}')
}

func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, `,"`+name+`":`...), value)
}

func appendInteger(b []byte, name string, value, least int64) []byte {
	if value < least {
		return b
	}
	return strconv.AppendInt(append(b, `,"`+name+`":`...), value, 10)
}

func appendParameters(b []byte, r *gateway.Request) []byte {
	if r.Named == nil && len(r.Positional) == 0 {
		return b
	}
	b = append(b, `,"parameters":`...)
	if r.Named == nil {
		b = append(b, '[')
		for i, p := range r.Positional {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendParameter(b, p)
		}
		return append(b, ']')
	}
	names := make([]string, 0, len(r.Named))
	for name := range r.Named {
		names = append(names, name)
	}
	sort.Strings(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = appendParameter(b, r.Named[name])
	}
	return append(b, '}')
}

// appendParameter writes a parameter plainly where that is unambiguous.
func appendParameter(b []byte, p connectors.Param) []byte {
	wrap := p.Type != "" || p.Kind == connectors.ParamJSON
	if wrap {
		b = append(b, `{"value":`...)
	}
	switch {
	case p.Null:
		b = append(b, "null"...)
	case p.Kind == connectors.ParamString:
		b = appendString(b, p.Text)
	default:
		b = append(b, p.Text...)
	}
	if p.Type != "" {
		b = appendString(append(b, `,"type":`...), p.Type)
	}
	if wrap {
		b = append(b, '}')
	}
	return b
}
