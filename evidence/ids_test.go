package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/masking"
)

func TestQueryID(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 123e6, time.UTC)
	writer := newWriter("gw-1", now, [5]byte{1, 2, 3})
	seen := make(map[string]bool)
	for range 1000 {
		id := NewQueryID(writer, now)
		if len(id) > 64 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		q, err := parseQueryID(id)
		must(t, err)
		if !q.at.Equal(now) || q.tag != writerTag(writer) {
			t.Fatalf("parsed %+v", q)
		}
	}
	early, late := NewQueryID(writer, now), NewQueryID(writer, now.Add(time.Millisecond))
	if early > late {
		t.Error("ids do not sort by time")
	}
	good := NewQueryID(writer, now)
	for _, bad := range []string{"", "q_", good[2:], "Q_" + good[2:], good + "0", good[:33], strings.ToUpper(good), good[:33] + "w", good[:33] + "/"} {
		if _, err := parseQueryID(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	q, _ := parseQueryID(good)
	for after, home := range map[time.Duration]bool{-3 * time.Second: false, -time.Second: true, 0: true, homeWindow: true, homeWindow + 1: false} {
		if q.atHome(writerTag(writer), now.Add(after)) != home {
			t.Errorf("at home after %v: %v", after, !home)
		}
	}
	if q.atHome(writerTag("other"), now) {
		t.Error("at home in another writer's log")
	}
}

func TestWriterNames(t *testing.T) {
	start := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	var names []string
	for i := range 50 {
		names = append(names, newWriter("gw-a.b-1", start.Add(time.Duration(i*i*i)*time.Minute), [5]byte{byte(255 - i)}))
	}
	if !sort.StringsAreSorted(names) {
		t.Error("writers do not sort by start")
	}
	instance, at, err := parseWriter(names[3])
	if err != nil || instance != "gw-a.b-1" || !at.Equal(start.Add(27*time.Minute)) {
		t.Errorf("%s: %s %v %v", names[3], instance, at, err)
	}
	for _, bad := range []string{"", "gw", "gw-1", "gw-000000000-0000000", "-000000000-00000000", "gw-00000000Z-00000000",
		"gw-000000000-0000000z", "GW-000000000-00000000", "a/b-000000000-00000000", "gw--00000000-00000000"} {
		if _, _, err := parseWriter(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "-a", ".a", "A", "a b", "a_b", strings.Repeat("a", 65), "writers", "links"} {
		if checkInstance(bad) == nil {
			t.Errorf("instance %q was accepted", bad)
		}
	}
}

// TestSignsFor: a key signs for its own gateway, or for a fleet that shares it.
func TestSignsFor(t *testing.T) {
	for instance, keys := range map[string]map[string]bool{
		"gw-1":      {"gw-1": true, "gw": true, "gw-2": false, "gw-": false, "g": false, "gw-1-a": false, "auditor-gw-1": false, "": false},
		"gw-1-a":    {"gw-1": true, "gw": true, "gw-1-a": true, "gw-1-b": false},
		"gw-10":     {"gw-1": false, "gw": true},
		"auditor-x": {"auditor-x": false, "auditor": true},
	} {
		for key, want := range keys {
			if SignsFor(key, instance) != want {
				t.Errorf("%q for %q: want %v", key, instance, want)
			}
		}
	}
}

func TestKeyFiles(t *testing.T) {
	private, public, err := GenerateSigner("gw-1")
	must(t, err)
	path := filepath.Join(t.TempDir(), "key")
	must(t, WritePrivateFile(path, "# signing key\n"+private+"\n"))
	if err := WritePrivateFile(path, private); err == nil {
		t.Error("a key file was replaced")
	}
	signer, err := LoadSigner(path)
	must(t, err)
	if signer.VerifierKey() != public {
		t.Errorf("public key %s, want %s", signer.VerifierKey(), public)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		must(t, os.Chmod(path, mode))
		if _, err := LoadSigner(path); err == nil {
			t.Errorf("a key file of mode %v was accepted", mode)
		}
	}
	for _, bad := range []masking.Secret{"", "x", private + "\n" + private, private[:len(private)-4], masking.Secret(public)} {
		_, err := ParseSigner(bad)
		if err == nil {
			t.Error("a bad key was accepted")
		} else if len(bad) > 40 && strings.Contains(err.Error(), bad.Reveal()[30:]) {
			t.Errorf("the error holds the key: %v", err)
		}
	}
	if _, _, err := GenerateSigner("a+b"); err == nil {
		t.Error("a bad key name was accepted")
	}
}

func TestSeal(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		var recipients, secrets []string
		for range 2 {
			id, recipient, err := GenerateIdentity(hybrid)
			must(t, err)
			recipients, secrets = append(recipients, recipient), append(secrets, id.Reveal())
		}
		list, err := ParseRecipients("# auditors\n" + strings.Join(recipients, "\n"))
		must(t, err)
		sealed, err := seal([]byte(`{"statement":"SELECT 4242"}`), list)
		must(t, err)
		r := &Record{ID: "w.1", Sealed: sealed}
		path := filepath.Join(t.TempDir(), "identity")
		for _, secret := range secrets { // each auditor alone
			_ = os.Remove(path)
			must(t, WritePrivateFile(path, masking.Secret(secret)))
			ids, err := LoadIdentities(path)
			must(t, err)
			s, err := OpenSealed(r, ids)
			must(t, err)
			if s.Statement != "SELECT 4242" {
				t.Errorf("opened %+v", s)
			}
		}
		other, err := age.GenerateX25519Identity()
		must(t, err)
		if _, err := OpenSealed(r, []age.Identity{other}); err == nil {
			t.Error("opened with another identity")
		}
		r.Sealed[len(r.Sealed)-1] ^= 1
		ids, err := LoadIdentities(path)
		must(t, err)
		if _, err := OpenSealed(r, ids); err == nil {
			t.Error("opened although changed")
		}
	}
	if _, err := OpenSealed(&Record{}, nil); !errors.Is(err, ErrNothingSealed) {
		t.Errorf("got %v", err)
	}
	_, plain, err := GenerateIdentity(false)
	must(t, err)
	_, quantum, err := GenerateIdentity(true)
	must(t, err)
	for _, bad := range []string{"", "age1x", plain + "\n" + quantum} {
		if _, err := ParseRecipients(bad); err == nil {
			t.Errorf("recipients %q were accepted", bad)
		}
	}
}
