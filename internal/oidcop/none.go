package oidcop

import (
	"encoding/base64"
	"encoding/json"
)

// unsigned is a token of algorithm none, which no library will make.
func unsigned(claims map[string]any) string {
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err) // plain values
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc(body) + "."
}
