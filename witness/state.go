package witness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/torchwood"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-sql/chaperone/evidence"
)

// state is what the witness cosigned last of each log: a file that one process
// holds, whose changes are atomic and on disk before a cosignature leaves. Each
// entry is signed by the witness itself, so that a damaged or invented one is
// found when it is used.
type state struct {
	db *bolt.DB
	// keys are the witness' own.
	keys note.Verifiers
}

const stateFile = "witness.db"

var (
	logsBucket  = []byte("logs")  // origin: the note that was cosigned
	countBucket = []byte("count") // key name: how many origins there are, decimal
	ownerBucket = []byte("owner") // "key": the witness' verifier key
	ownerKey    = []byte("key")
)

// errState: what is stored cannot be believed, so nothing is cosigned.
var errState = errors.New("the witness' state is damaged")

// Init makes the state of a new witness in a folder that has none. It is made
// once for a key: a witness that lost its state has forgotten what it cosigned,
// and must not cosign with the same key again.
func Init(dir string, signer *torchwood.CosignatureSigner) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a witness' state: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("making a witness' state: %s is there already", path), err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("making a witness' state: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{logsBucket, countBucket, ownerBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(ownerBucket).Put(ownerKey, []byte(signer.Verifier().String()))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("making a witness' state: %w", err)
	}
	return nil
}

// openState opens the state that Init made for the key.
func openState(dir string, key *torchwood.CosignatureVerifier) (*state, error) {
	path := filepath.Join(dir, stateFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s is not there: a new witness is begun with --init; one that lost its state needs a new key: %w",
			path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening the witness' state (is another one running?): %w", err)
	}
	s := &state{db: db, keys: note.VerifierList(key)}
	err = db.View(func(tx *bolt.Tx) error {
		owner := tx.Bucket(ownerBucket)
		if owner == nil || tx.Bucket(logsBucket) == nil || tx.Bucket(countBucket) == nil {
			return errState
		}
		if string(owner.Get(ownerKey)) != key.String() {
			return errors.New("the state is that of another key")
		}
		for err := range tx.Check() {
			return fmt.Errorf("%w: %w", errState, err)
		}
		return tx.Bucket(logsBucket).ForEach(func(origin, signed []byte) error {
			_, err := s.read(string(origin), signed)
			return err
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the witness' state: %w", err), db.Close())
	}
	return s, nil
}

// read verifies an entry: this witness signed it, and it is of that log.
func (s *state) read(origin string, signed []byte) (torchwood.Checkpoint, error) {
	n, err := note.Open(signed, s.keys)
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: %s: %w", errState, origin, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.Origin != origin {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: %s", errState, origin)
	}
	return c, nil
}

// Checkpoints are the newest checkpoints that a witness cosigned, by writer, as
// `chaperone evidence verify --checkpoints` takes them: the gateways' own notes.
// The witness must not be running; one that is serves them at /checkpoints.
func Checkpoints(dir string, key *torchwood.CosignatureVerifier) (map[string]string, error) {
	s, err := openState(dir, key)
	if err != nil {
		return nil, err
	}
	list, err := s.checkpoints()
	return list, errors.Join(err, s.db.Close())
}

func (s *state) checkpoints() (map[string]string, error) {
	list := make(map[string]string)
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(logsBucket).ForEach(func(origin, signed []byte) error {
			_, writer, _ := cutLast(string(origin))
			list[writer] = withoutLast(string(signed))
			return nil
		})
	})
	return list, err
}

// withoutLast takes the witness' own line off a note.
func withoutLast(signed string) string {
	return signed[:strings.LastIndex(strings.TrimSuffix(signed, "\n"), "\n")+1]
}

// cutLast takes an origin "<key name>/<writer>" apart.
func cutLast(origin string) (key, writer string, ok bool) {
	at := strings.LastIndex(origin, "/")
	if at <= 0 {
		return "", "", false
	}
	_, ok = evidence.WriterStart(origin[at+1:])
	return origin[:at], origin[at+1:], ok
}
