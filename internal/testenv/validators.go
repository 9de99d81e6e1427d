package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// FHIRIssue is what HL7's validator says of a resource.
type FHIRIssue struct {
	Severity string `json:"severity"` // fatal, error, warning, information
	Location string `json:"location"`
	Message  string `json:"message"`
}

// ValidateOCSF checks events, one JSON object each, with the published schema, and
// says what is wrong with each.
func ValidateOCSF(ctx context.Context, events [][]byte) ([][]string, error) {
	return validate[[]string](ctx, events, "ocsf-validate")
}

// ValidateFHIR checks R4 resources, one JSON object each, with HL7's validator and
// the profiles of fhirvalidator/profiles.
func ValidateFHIR(ctx context.Context, resources [][]byte) ([][]FHIRIssue, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	profiles, err := filepath.Glob(filepath.Join(root, "internal", "testenv", "fhirvalidator", "profiles", "*.json"))
	if err != nil || len(profiles) == 0 {
		return nil, errors.Join(err, errors.New("the profiles are missing"))
	}
	return validate[[]FHIRIssue](ctx, resources, "fhir-validate", profiles...)
}

// validate runs a validator, which answers each line with one of JSON.
func validate[T any](ctx context.Context, lines [][]byte, name string, args ...string) ([]T, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...) // #nosec G204 -- our own tool
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(bytes.Join(lines, []byte{'\n'}), '\n')), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, errs.Bytes())
	}
	answers := make([]T, 0, len(lines))
	for d := json.NewDecoder(&out); d.More(); {
		var answer T
		if err := d.Decode(&answer); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		answers = append(answers, answer)
	}
	if len(answers) != len(lines) {
		return nil, fmt.Errorf("%s answered %d of %d lines\n%s", name, len(answers), len(lines), errs.Bytes())
	}
	return answers, nil
}
