package forward

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

const (
	stateVersion = 1
	// dead is the silence after which a log that was not closed is not looked at
	// again. A living writer is never silent for longer than its heartbeat.
	dead = 30 * 24 * time.Hour
)

// state is what is remembered of a destination. It is behind what the receiver
// has, never ahead: what was not remembered is sent again.
type state struct {
	Version int `json:"version"`
	// Since is what the first logs were followed from.
	Since time.Time `json:"since"`
	// Floor: logs that were begun at or before it are done and not listed.
	Floor time.Time         `json:"floor"`
	Logs  map[string]cursor `json:"logs"`
}

// cursor is the place of a log's next record.
type cursor struct {
	// Segment is where the record is, or will be; Sequence its own. Earlier
	// records of the segment are not sent again.
	Segment  uint64 `json:"segment"`
	Sequence uint64 `json:"sequence"`
	// Last is the time of the record before.
	Last time.Time `json:"last,omitzero"`
	// Done is true if nothing more can come.
	Done bool `json:"done,omitempty"`
}

// restore reads the destination's file. One that is not there is a first start;
// for one that cannot be understood everything is sent again.
func (d *destination) restore() error {
	d.sweep()
	text, err := os.ReadFile(d.file)
	if err == nil {
		if err = json.Unmarshal(text, &d.state); err == nil && (d.state.Version != stateVersion || d.state.Logs == nil) {
			err = errors.New("not a cursor of this version")
		}
		if err == nil {
			return nil
		}
	}
	started, _ := evidence.WriterStart(d.writer)
	since := d.Since
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if since.IsZero() {
			since = started
		}
		d.logger.Info("forwarding begins: there is no cursor yet", "since", since, "file", d.file)
	case isPath(err):
		return err // its permissions, say: for the operator to mend
	default:
		d.logger.Error("the cursor is damaged; forwarding again what was forwarded before", "since", since, "file", d.file)
	}
	d.state = state{Version: stateVersion, Since: since, Logs: map[string]cursor{}}
	return d.save() // a folder that cannot be written is found now
}

// sweep removes what processes that died while saving left.
func (d *destination) sweep() {
	left, _ := filepath.Glob(d.file + ".tmp-*")
	for _, name := range left {
		if info, err := os.Stat(name); err == nil && d.clock().Sub(info.ModTime()) > time.Hour {
			_ = os.Remove(name) // the next start tries again
		}
	}
}

func isPath(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// save replaces the file: whoever dies on the way leaves the old one or the new.
func (d *destination) save() error {
	d.state.compact(d.listed)
	text, err := json.Marshal(d.state)
	if err != nil {
		return fmt.Errorf("saving the cursor: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(d.file), filepath.Base(d.file)+".tmp-")
	if err != nil {
		return fmt.Errorf("saving the cursor: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		// The folder is not synced: a rename that is lost leaves the old cursor.
		err = os.Rename(f.Name(), d.file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("saving the cursor: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// compact raises the floor over the logs that are done, oldest first, and drops
// them. It stays a day below the time when all logs were known last: clocks of
// gateways differ.
func (s *state) compact(listed time.Time) {
	floor := listed.Add(-24 * time.Hour)
	for name, c := range s.Logs {
		if start, _ := evidence.WriterStart(name); !c.Done && !start.After(floor) {
			floor = start.Add(-time.Millisecond)
		}
	}
	if !floor.After(s.Floor) {
		return
	}
	dropped := false
	for name := range s.Logs {
		if start, _ := evidence.WriterStart(name); !start.After(floor) {
			delete(s.Logs, name)
			dropped = true
		}
	}
	if dropped {
		s.Floor = floor
	}
}
