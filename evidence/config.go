package evidence

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"filippo.io/age"

	"github.com/chaperone-sql/chaperone/worm"
)

// Config is what a Log is made of. Store, Name, Signer, Auditors and Logger
// must be set; zero is the default of the others.
type Config struct {
	Store worm.Store
	// Name is the gateway instance's name, [a-z0-9.-]. No two running
	// gateways may share one, but no harm is done if they do: each process
	// writes its own log.
	Name   string
	Signer *Signer
	// Auditors are whom Record.Secret is sealed to.
	Auditors []age.Recipient
	// GatewayVersion and ConfigDigest are announced.
	GatewayVersion, ConfigDigest string

	// Heartbeat is the longest silence of the log; it bounds how much a cut
	// tail can hide. 30 s.
	Heartbeat time.Duration
	// Observe is how often the writer looks at other writers' logs. 5 min.
	Observe time.Duration
	// Witnesses are asked to cosign the log's newest checkpoint at the start,
	// every Observe, and at the end. None of them can hold up a record. At most 8.
	Witnesses []Cosigner
	// OnWitness, if set, is told how each request to a witness ended.
	OnWitness func(witness string, err error)
	// RetryWindow is how long a record waits for a failing store before its
	// Append fails. 5 s.
	RetryWindow time.Duration
	// MaxBatchBytes and MaxBatchRecords bound one segment (a single record
	// may be larger). 4 MiB, 1024.
	MaxBatchBytes, MaxBatchRecords int
	// InFlight is how many segments are stored at the same time. 8.
	InFlight int
	// QueueBytes bounds the records that wait for a segment. 64 MiB.
	QueueBytes int

	// Clock is time.Now in production.
	Clock  func() time.Time
	Logger *slog.Logger
}

// maxInFlight bounds InFlight: verification accepts no wider gap at the end of
// a log whose writer died.
const maxInFlight = 64

func (c *Config) check() error {
	switch {
	case c.Store == nil, c.Signer == nil, c.Logger == nil:
		return errors.New("a required part of the configuration is missing")
	case !SignsFor(c.Signer.Name(), c.Name):
		return fmt.Errorf("the signing key %q was not made for the gateway %q: make one with that name, or with what it "+
			"begins with up to a hyphen", c.Signer.Name(), c.Name)
	case len(c.Auditors) == 0:
		return errors.New("no auditor to seal to")
	case len(c.Witnesses) > MaxWitnesses:
		return fmt.Errorf("at most %d witnesses can be asked", MaxWitnesses)
	case c.InFlight > maxInFlight:
		return fmt.Errorf("at most %d segments may be in flight", maxInFlight)
	}
	if err := checkInstance(c.Name); err != nil {
		return err
	}
	if _, err := seal([]byte("{}"), c.Auditors); err != nil {
		return err
	}
	setDefault(&c.Heartbeat, 30*time.Second)
	setDefault(&c.Observe, 5*time.Minute)
	setDefault(&c.RetryWindow, 5*time.Second)
	setDefault(&c.MaxBatchBytes, 4<<20)
	setDefault(&c.MaxBatchRecords, 1024)
	setDefault(&c.InFlight, 8)
	setDefault(&c.QueueBytes, 64<<20)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.OnWitness == nil {
		c.OnWitness = func(string, error) {}
	}
	return nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
