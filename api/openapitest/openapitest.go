// Package openapitest holds answers of a running gateway to openapi.yaml. It is
// for tests: of the handlers with a fake gateway, and end to end.
package openapitest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	chaperone "github.com/chaperone-sql/chaperone"
)

// Document loads openapi.yaml and checks that it is valid OpenAPI 3.1, with
// every example valid against its schema.
var Document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(chaperone.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("validating openapi.yaml: %w", err)
	}
	return doc, nil
})

// Validate fails the test if an answer is not what openapi.yaml says of this
// method, path, status and content type. path may carry a query string.
func Validate(t testing.TB, method, path string, status int, contentType string, body []byte) {
	t.Helper()
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	ValidateResponse(t, method, path, status, header, body)
}

// ValidateResponse is Validate that also holds the headers to the contract.
func ValidateResponse(t testing.TB, method, path string, status int, header http.Header, body []byte) {
	t.Helper()
	doc, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(doc, method, path, status, header, body); err != nil {
		t.Errorf("%s %s answered %d with what openapi.yaml does not allow: %v\nbody: %s", method, path, status, err, body)
	}
}

// ValidateQuery reports whether a body is a valid POST /v1/query by the contract.
func ValidateQuery(doc *openapi3.T, body []byte) error {
	return check(doc, http.MethodPost, "/v1/query", 0, nil, body)
}

// check validates an answer, or with status 0 a request.
func check(doc *openapi3.T, method, path string, status int, header http.Header, body []byte) error {
	ctx := context.Background()
	u, err := url.Parse(path)
	if err != nil {
		return err
	}
	template, item, params := match(doc, u.EscapedPath())
	if item == nil {
		return fmt.Errorf("no such path")
	}
	operation := item.GetOperation(method)
	if operation == nil {
		return fmt.Errorf("%s has no %s", template, method)
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Options: options,
		Route: &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: operation},
	}
	if status == 0 {
		request.Header.Set("Content-Type", "application/json")
		return openapi3filter.ValidateRequest(ctx, input)
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: header, Options: options,
	}
	return openapi3filter.ValidateResponse(ctx, answer.SetBodyBytes(body))
}

// match finds the path template that a concrete path belongs to.
func match(doc *openapi3.T, path string) (template string, item *openapi3.PathItem, params map[string]string) {
	have := strings.Split(path, "/")
next:
	for template, item := range doc.Paths.Map() {
		want := strings.Split(template, "/")
		if len(want) != len(have) {
			continue
		}
		params = make(map[string]string)
		for i := range want {
			if name, ok := strings.CutPrefix(want[i], "{"); ok {
				params[strings.TrimSuffix(name, "}")] = have[i]
			} else if want[i] != have[i] {
				continue next
			}
		}
		return template, item, params
	}
	return "", nil, nil
}
