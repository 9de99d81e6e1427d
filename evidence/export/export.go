// Package export writes evidence records in forms that other systems read: CSV
// for spreadsheets, OCSF events, and FHIR AuditEvents. docs/interchange.md says
// what each field means.
//
// It takes named fields out of a record's clear part and nothing else: no rows,
// columns, notes, problem documents or sealed parts, whatever a record holds. An
// export proves nothing; each line names the record that does.
package export

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"

	"github.com/chaperone-sql/chaperone/evidence"
)

const (
	product = "Chaperone"
	unknown = "unknown"
)

// allowed are the fields of Data that leave: names, counts, digests and tokens
// of the gateway's own making. What the browser said, and the digests of parts
// of the configuration, stay.
var allowed = setOf(
	"version", "config", "predecessors", "predecessor", "policy", "rules", "added", "removed", "changed",
	"signing.from", "signing.to", "auditors.from", "auditors.to", "approvals.from", "approvals.to", "tokens.from", "tokens.to",
	"object", "bytes", "records", "queries", "day", "found", "page", "since", "until", "what", "why", "method", "acr", "left_out_before",
	"asked_principal", "asked_connection", "asked_session", "asked_query", "asked_relation", "asked_patient", "asked_effect",
	"asked_status", "asked_type", "asked_record",
)

func setOf[K comparable](names ...K) map[K]bool {
	set := make(map[K]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// understood is the record, or its entry alone if it is of a type that this program
// does not know.
func understood(r *evidence.Record) *evidence.Record {
	if r.Type.Known() {
		return r
	}
	return r.Entry()
}

// allowedData are the fields of a record's Data that leave, nil if there are none.
func allowedData(r *evidence.Record) (data map[string]string) {
	for name, value := range r.Data {
		if !allowed[name] {
			continue
		}
		if data == nil {
			data = make(map[string]string)
		}
		data[name] = value
	}
	return data
}

// sortedKeys are a map's keys in order.
func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// approversOf are who approved, also where only the body tells.
func approversOf(r *evidence.Record) []string {
	if len(r.Approvers) == 0 && r.Approval != nil {
		return r.Approval.Approvers
	}
	return r.Approvers
}

// addressOf reads a remote address; port is 0 if it tells none, and ok false if it
// is a name.
func addressOf(remote string) (ip string, port int, ok bool) {
	if at, err := netip.ParseAddrPort(remote); err == nil {
		return ipText(at.Addr()), int(at.Port()), true
	}
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return "", 0, false
	}
	return ipText(addr), 0, true
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

// appendJSON appends a value without a newline. What is no UTF-8 becomes U+FFFD,
// as encoding/json does it, so that every text is valid JSON.
func appendJSON(dst []byte, v any) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}
