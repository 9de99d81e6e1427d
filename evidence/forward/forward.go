// Package forward copies what is recorded to other systems: every record at
// least once, in the order of its log, and of each only what is clear.
//
// It reads the records back from the store and remembers how far each receiver
// has them, in a file. So it needs no queue: nothing waits in memory while a
// receiver is down, nothing is lost if the process dies, and no query waits for
// a receiver. It proves nothing; the store does.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-sql/chaperone/evidence"
)

// Encoder appends a record as one line of JSON.
type Encoder func(dst []byte, r *evidence.Record) ([]byte, error)

// Event is a record on its way.
type Event struct {
	// ID is the record's, by which a receiver knows one that came twice.
	ID string
	// Writer and Instance are whose record it is.
	Writer, Instance string
	Time             time.Time
	Type             evidence.Type
	// Warning is true for what somebody was refused.
	Warning bool
	// Body is the record as the encoder wrote it.
	Body []byte

	next cursor // behind it
}

// Sink hands events to one receiver. It is used by one goroutine.
type Sink interface {
	// Deliver sends the events in order and tells how many, from the first on,
	// the receiver has. The error says why not all of them; what it does not
	// know to be delivered is not counted, and sent again.
	Deliver(ctx context.Context, events []Event) (taken int, err error)
	// Check tells whether the receiver can be reached; it sends nothing.
	Check(ctx context.Context) error
	// Close drops connections.
	Close()
}

// Config is what a Forwarder is made of. All but Clock must be set.
type Config struct {
	Reader *evidence.Reader
	// Writer is this process's own log.
	Writer string
	// Dir is where the cursors are, a file for each destination.
	Dir          string
	Encode       Encoder
	Destinations []Destination
	Logger       *slog.Logger
	// Clock is time.Now in production.
	Clock func() time.Time
}

// Destination is a receiver and what it gets.
type Destination struct {
	// Name is the destination's in metrics, logs and the name of its file.
	Name string
	Sink Sink
	// Since is when the first record is from. Zero is the start of the process
	// that makes the file; for a file that cannot be read, the beginning.
	Since time.Time
	// All forwards every log of the store, not only those of the instance.
	All bool
	// MaxRecords and MaxBytes bound one delivery. 500, 1 MiB. A record that is
	// larger goes alone.
	MaxRecords, MaxBytes int
}

// Forwarder forwards to all destinations, each by itself.
type Forwarder struct {
	destinations []*destination
	end          context.CancelFunc
	closing      chan struct{}
	running      sync.WaitGroup
	measuring    sync.WaitGroup
}

// measureEvery is how often the ends of logs are looked for while a receiver is
// behind.
const measureEvery = 10 * time.Second

// Start begins to forward. It contacts nobody by itself: a receiver that is down
// stops no start.
func Start(cfg Config) (*Forwarder, error) { return start(cfg, production) }

func start(cfg Config, pace pace) (*Forwarder, error) {
	instance, ok := evidence.WriterInstance(cfg.Writer)
	if !ok || cfg.Reader == nil || cfg.Encode == nil || cfg.Logger == nil {
		return nil, errors.New("forwarding: a required part of the configuration is missing")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("forwarding: %w", err)
	}
	f := &Forwarder{closing: make(chan struct{})}
	for _, one := range cfg.Destinations {
		d := &destination{
			Destination: one, reader: cfg.Reader, writer: cfg.Writer, instance: instance, encode: cfg.Encode, clock: cfg.Clock,
			pace: pace, logger: cfg.Logger.With("destination", one.Name), file: filepath.Join(cfg.Dir, one.Name+".json"), closing: f.closing,
			due: map[string]time.Time{}, progress: progress{behind: map[string]behind{}, unreadable: map[string]bool{}},
		}
		d.MaxRecords, d.MaxBytes = or(d.MaxRecords, 500), or(d.MaxBytes, 1<<20)
		if err := d.restore(); err != nil {
			return nil, fmt.Errorf("forwarding to %s: %w", one.Name, err)
		}
		f.destinations = append(f.destinations, d)
	}
	var life context.Context
	life, f.end = context.WithCancel(context.Background())
	for _, d := range f.destinations {
		f.running.Go(func() { d.run(life) })
		f.measuring.Go(func() { d.watch(life) })
	}
	return f, nil
}

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Close waits until the process's own log, which was closed before, is forwarded
// to its end, a receiver fails, or ctx ends.
func (f *Forwarder) Close(ctx context.Context) {
	close(f.closing)
	done := make(chan struct{})
	go func() {
		f.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	f.end()
	<-done
	f.measuring.Wait()
	for _, d := range f.destinations {
		d.Sink.Close()
	}
}

// Status gives how far each destination is.
func (f *Forwarder) Status() []Status {
	list := make([]Status, 0, len(f.destinations))
	for _, d := range f.destinations {
		list = append(list, d.status())
	}
	return list
}
