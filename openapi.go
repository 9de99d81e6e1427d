// Package chaperone holds what belongs to the module as a whole: the contract
// of its HTTP surface. The code is in the packages below.
package chaperone

import _ "embed" // for the contract

// OpenAPI is openapi.yaml, which the gateway serves and the tests hold it to.
//
//go:embed openapi.yaml
var OpenAPI []byte
