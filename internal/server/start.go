package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/policy"
)

// Prefixes of the fields that name parts, keys and rules in Data. What follows is
// the name, and the value a digest.
const (
	partField = "part."
	keyField  = "key."
	ruleField = "rule."
)

// startup is what recordStart tells of.
type startup struct {
	signer            *evidence.Signer
	rules             []policy.Rule
	policy, version   string
	tokens, approvals string // the token key's fingerprint, the approvals' recipient
}

// recordStart records which configuration, keys and rules this process runs with,
// and what differs from the writer of the instance before. All of it is durable
// before the first request: whoever reads a decision finds what it was made by. The
// gateway reads its configuration at its start only, so nothing changes later.
//
// The clear part holds names and digests of 64 bits; the configuration and the
// rules themselves are sealed, and hold no secrets but where they are.
func (s *Server) recordStart(ctx context.Context, in startup) error {
	loaded, err := s.configRecord(in)
	if err != nil {
		return err
	}
	rules, err := rulesRecord(in)
	if err != nil {
		return err
	}
	before, err := s.reader.BeginningBefore(ctx, s.cfg.Instance, s.log.Writer(), evidence.TypeConfigLoaded, evidence.TypePolicyLoaded)
	if err != nil {
		return fmt.Errorf("comparing the configuration with the writer before: %w", err)
	}
	compare(rules, before, ruleField, rules)
	records := []*evidence.Record{loaded, rules}
	changed := &evidence.Record{Type: evidence.TypeConfigChanged, Data: map[string]string{}}
	if compare(loaded, before, partField, changed) {
		records = append(records, changed)
	}
	if keys := keysChanged(loaded, before); keys != nil {
		records = append(records, keys)
	}
	for _, r := range records {
		if _, err := s.log.Append(ctx, r); err != nil {
			return fmt.Errorf("recording the configuration: %w", err)
		}
	}
	return nil
}

// configRecord is config.loaded.
func (s *Server) configRecord(in startup) (*evidence.Record, error) {
	document, err := json.Marshal(s.cfg)
	if err != nil {
		return nil, fmt.Errorf("recording the configuration: %w", err)
	}
	parts, err := configParts(document)
	if err != nil {
		return nil, fmt.Errorf("recording the configuration: %w", err)
	}
	r := &evidence.Record{Type: evidence.TypeConfigLoaded, Secret: &evidence.Secret{Document: document},
		Data: map[string]string{"config": digest(s.cfg), "version": in.version}}
	for name, sum := range parts {
		r.Data[partField+name] = sum
	}
	var auditors []string
	for _, text := range s.cfg.Evidence.Auditors {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				auditors = append(auditors, short([]byte(line)))
			}
		}
	}
	slices.Sort(auditors)
	r.Data[keyField+"signing"] = keyName(in.signer.VerifierKey())
	r.Data[keyField+"auditors"] = strings.Join(auditors, ",")
	r.Data[keyField+"tokens"] = in.tokens
	r.Data[keyField+"approvals"] = short([]byte(in.approvals))
	return r, nil
}

// keyName is a verifier line without the key itself: "<name>+<hash>".
func keyName(line string) string {
	parts := strings.SplitN(line, "+", 3)
	return strings.Join(parts[:min(len(parts), 2)], "+")
}

// short is a digest of 64 bits, enough to see that something changed.
func short(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// configParts gives a digest for each part of a configuration: each connection,
// class and rule of the file, each other section, and what stands alone.
func configParts(document []byte) (map[string]string, error) {
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(document, &sections); err != nil {
		return nil, err
	}
	parts, alone := map[string]string{}, map[string]json.RawMessage{}
	for name, section := range sections {
		switch {
		case len(section) == 0 || section[0] != '{':
			alone[name] = section
		case name == "Connections":
			var connections map[string]json.RawMessage
			if err := json.Unmarshal(section, &connections); err != nil {
				return nil, err
			}
			for connection, body := range connections {
				parts["connection."+connection] = short(body)
			}
		default:
			rest, err := splitSection(section, parts)
			if err != nil {
				return nil, err
			}
			parts[strings.ToLower(name)] = short(rest)
		}
	}
	rest, err := json.Marshal(alone)
	if err != nil {
		return nil, err
	}
	parts["process"] = short(rest)
	return parts, nil
}

// splitSection takes classes and rules out of a section and gives the rest.
func splitSection(section []byte, parts map[string]string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(section, &fields); err != nil {
		return nil, err
	}
	var classes map[string]json.RawMessage
	if body := fields["Classes"]; body != nil {
		if err := json.Unmarshal(body, &classes); err != nil {
			return nil, err
		}
	}
	for name, text := range classes {
		parts["class."+name] = short(text)
	}
	delete(fields, "Classes")
	delete(fields, "Rules") // policy.loaded tells of each
	return json.Marshal(fields)
}

// rulesRecord is policy.loaded: the rules as they are, those built in too.
func rulesRecord(in startup) (*evidence.Record, error) {
	document, err := json.Marshal(in.rules)
	if err != nil {
		return nil, fmt.Errorf("recording the rules: %w", err)
	}
	r := &evidence.Record{Type: evidence.TypePolicyLoaded, Secret: &evidence.Secret{Document: document},
		Data: map[string]string{"policy": in.policy, "rules": strconv.Itoa(len(in.rules))}}
	for i := range in.rules {
		text, err := json.Marshal(in.rules[i])
		if err != nil {
			return nil, fmt.Errorf("recording the rules: %w", err)
		}
		r.Data[ruleField+in.rules[i].Name] = short(text)
	}
	return r, nil
}

// compare says in Data of `in` what differs between a record and that of the
// writer before, and reports whether anything does.
func compare(now *evidence.Record, before *evidence.Beginning, prefix string, in *evidence.Record) bool {
	if before.Writer == "" {
		return false
	}
	in.Data["predecessor"] = before.Writer
	then := before.Records[now.Type]
	if then == nil {
		in.Note = "the writer before could not be read, or did not say what it ran with, so what changed is not known"
		return true
	}
	var added, removed, changed []string
	for _, field := range slices.Sorted(maps.Keys(now.Data)) {
		name, ok := strings.CutPrefix(field, prefix)
		switch was, had := then.Data[field]; {
		case !ok, had && was == now.Data[field]:
		case had:
			changed = append(changed, name)
		default:
			added = append(added, name)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(then.Data)) {
		name, ok := strings.CutPrefix(field, prefix)
		if _, has := now.Data[field]; ok && !has {
			removed = append(removed, name)
		}
	}
	for word, names := range map[string][]string{"added": added, "removed": removed, "changed": changed} {
		if len(names) > 0 {
			in.Data[word] = strings.Join(names, ",")
		}
	}
	return len(added)+len(removed)+len(changed) > 0
}

// keysChanged is keys.changed, or nil if no key is another. The signing key is
// known from the announcement where nothing else can be read.
func keysChanged(now *evidence.Record, before *evidence.Beginning) *evidence.Record {
	if before.Writer == "" {
		return nil
	}
	r := &evidence.Record{Type: evidence.TypeKeysChanged, Data: map[string]string{"predecessor": before.Writer}}
	was := map[string]string{keyField + "signing": keyName(before.Key)}
	if then := before.Records[evidence.TypeConfigLoaded]; then != nil {
		was = then.Data
	}
	differ := false
	for field, value := range now.Data {
		old, had := was[field]
		if !strings.HasPrefix(field, keyField) || !had || old == value {
			continue
		}
		differ = true
		name := strings.TrimPrefix(field, keyField)
		r.Data[name+".from"], r.Data[name+".to"] = old, value
	}
	if !differ {
		return nil
	}
	return r
}
