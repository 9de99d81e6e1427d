package loopback

import "testing"

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.": false, "127.0.0.1:80": false, "10.0.0.1": false, "0.0.0.0": false, "::": false, "127.1": false,
		"localhost.example.org": false, "127.0.0.1.example.org": false,
	} {
		if Is(host) != want {
			t.Errorf("%q: want %v", host, want)
		}
	}
}
