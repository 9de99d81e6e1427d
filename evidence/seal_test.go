package evidence

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"filippo.io/age"
)

func identityOf(t testing.TB, hybrid bool) (age.Identity, string) {
	t.Helper()
	secret, recipient, err := GenerateIdentity(hybrid)
	must(t, err)
	list, err := age.ParseIdentities(strings.NewReader(secret.Reveal()))
	must(t, err)
	return list[0], recipient
}

// TestSealCompresses: what gets smaller is compressed, what does not is as it was,
// and both open, also what was sealed before there was compression.
func TestSealCompresses(t *testing.T) {
	id, recipient := identityOf(t, false)
	recipients, err := ParseRecipients(recipient)
	must(t, err)
	statement := "SELECT id, last_name, zip FROM patients WHERE id < $1 ORDER BY id"
	secrets := map[string]*Secret{
		"empty":   {},
		"short":   {Reason: "x"},
		"usual":   {Statement: statement, Rewritten: "SELECT id, last_name, zip FROM (" + statement + ") AS patients", Salt: strings.Repeat("0f", 16)},
		"long":    {Statement: strings.Repeat(statement+" UNION ", 2000), Parameters: json.RawMessage(`[1,2]`)},
		"unicode": {Comment: strings.Repeat("Ärztin ☤ ", 40)},
	}
	for name, want := range secrets {
		t.Run(name, func(t *testing.T) {
			sealed, err := sealSecret(want, recipients)
			must(t, err)
			plain, err := encodeJSON(want)
			must(t, err)
			asBefore, err := seal(plain, recipients)
			must(t, err)
			if len(sealed) > len(asBefore) || len(plain) > 200 && len(sealed) >= len(asBefore) {
				t.Errorf("%d bytes sealed, %d without compression", len(sealed), len(asBefore))
			}
			for _, form := range [][]byte{sealed, asBefore} {
				got, err := OpenSealed(&Record{Sealed: form}, []age.Identity{id})
				must(t, err)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("opened %+v", got)
				}
			}
			t.Logf("%d bytes, sealed %d, without compression %d", len(plain), len(sealed), len(asBefore))
		})
	}
}

// TestSealedBomb: a small sealed part that opens to more than a segment holds is
// refused, as is broken gzip.
func TestSealedBomb(t *testing.T) {
	id, recipient := identityOf(t, false)
	recipients, err := ParseRecipients(recipient)
	must(t, err)
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	block := bytes.Repeat([]byte(" "), 1<<20)
	for range maxSecret>>20 + 1 {
		_, err := w.Write(block)
		must(t, err)
	}
	must(t, w.Close())
	for name, test := range map[string]struct {
		plain []byte
		want  error
	}{
		"bomb":      {bomb.Bytes(), ErrTooLarge},
		"cut short": {bomb.Bytes()[:100], ErrInvalid},
		"no gzip":   {[]byte{0x1f, 0x8b, 0, 0}, ErrInvalid},
		"no JSON":   {[]byte("statement"), ErrInvalid},
	} {
		sealed, err := seal(test.plain, recipients)
		must(t, err)
		if _, err := OpenSealed(&Record{Sealed: sealed}, []age.Identity{id}); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestAuditorsRotate: a new auditor is added, both read what is recorded then, the
// old one is taken out, and still reads what was sealed before. Nobody reads what
// was not sealed to him.
func TestAuditorsRotate(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		w := newWorld(t)
		oldID, oldRecipient := identityOf(t, hybrid)
		newID, newRecipient := identityOf(t, hybrid)
		phases := []struct {
			auditors string
			old, new bool
		}{
			{oldRecipient, true, false},
			{oldRecipient + "\n" + newRecipient, true, true},
			{newRecipient, false, true},
		}
		for i, phase := range phases {
			cfg := w.config("gw")
			var err error
			cfg.Auditors, err = ParseRecipients(phase.auditors)
			must(t, err)
			l, err := Open(t.Context(), cfg)
			must(t, err)
			_, err = l.Append(t.Context(), &Record{Type: TypeRejected, RequestID: string(rune('0' + i)), Secret: &Secret{Statement: "phase"}})
			must(t, err)
			closeLog(t, l)
		}
		seen := 0
		must(t, NewReader(w.store, w.trusted).Records(t.Context(), Filter{}, func(r *Record) bool {
			if r.Type != TypeRejected {
				return true
			}
			phase := phases[seen]
			seen++
			for _, reader := range []struct {
				id  age.Identity
				may bool
			}{{oldID, phase.old}, {newID, phase.new}} {
				secret, err := OpenSealed(r, []age.Identity{reader.id})
				if opened := err == nil && secret.Statement == "phase"; opened != reader.may {
					t.Errorf("hybrid %v, phase %d: opened %v, %v; want %v", hybrid, seen, opened, err, reader.may)
				}
			}
			// An auditor who keeps both identities opens all.
			if _, err := OpenSealed(r, []age.Identity{newID, oldID}); err != nil {
				t.Errorf("phase %d: %v", seen, err)
			}
			return true
		}))
		if seen != 3 {
			t.Errorf("%d records", seen)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	packed, err := compress([]byte(strings.Repeat(`{"statement":"SELECT 1"}`, 20)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte(`{"statement":"SELECT 1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := decompress(b)
		if err == nil && len(plain) > maxSecret {
			t.Fatalf("%d bytes", len(plain))
		}
	})
}

func BenchmarkSealSecret(b *testing.B) {
	_, recipient := identityOf(b, false)
	recipients, err := ParseRecipients(recipient)
	must(b, err)
	statement := "SELECT id, last_name, zip FROM patients WHERE id < $1 ORDER BY id"
	s := &Secret{Statement: statement, Rewritten: "SELECT id, last_name, zip FROM (" + statement + ") AS patients", Salt: strings.Repeat("0f", 16)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sealSecret(s, recipients); err != nil {
			b.Fatal(err)
		}
	}
}
