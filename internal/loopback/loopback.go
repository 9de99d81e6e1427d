// Package loopback tells this machine's own names from others.
package loopback

import "net/netip"

// Is reports whether a host, without a port, is this machine's own: localhost or
// a loopback address (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3). No name
// is looked up.
func Is(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
