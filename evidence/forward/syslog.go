package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
)

// Syslog sends messages of RFC 5424 over TLS with octet counting, as RFC 5425
// says.
//
// Syslog acknowledges nothing. So each delivery has a connection of its own,
// which we end with close_notify. A receiver answers that with its own when it
// has read everything (RFC 5425, section 4.4), and only then does the delivery
// count. A connection that was cut, by a receiver that died or by anything in
// between, has no such answer. What a receiver loses after it read it is lost.
//
// Some receivers close without a word. Whether one does is tried before the
// first delivery, more than once; such a one is believed if it closes or stays,
// and answers.
type Syslog struct {
	cfg SyslogConfig
	// polite is whether the receiver is known to close with close_notify; mute how
	// many empty connections in a row it closed otherwise.
	polite bool
	mute   int
}

// SyslogConfig is a receiver.
type SyslogConfig struct {
	// Address is host:port; the port of RFC 5425 is 6514.
	Address string
	// TLS of the connection, with ServerName. nil is plain TCP, for this machine
	// only.
	TLS *tls.Config
}

const (
	// Priorities: facility 13, log audit, with severity 6 (informational) and 4
	// (warning).
	priorityInfo = 13*8 + 6
	priorityWarn = 13*8 + 4
	// sdID names our structured data. Chaperone has no enterprise number; this one
	// is for documentation (RFC 5612) and nobody else's.
	sdID = "chaperone@32473"
	// settle is how long a receiver that does not close has to be heard of nothing
	// bad before what it was sent counts.
	settle = 5 * time.Second
	// tries is how often a receiver is asked whether it says close_notify.
	tries = 3
)

// NewSyslog makes a Sink; it contacts nobody.
func NewSyslog(cfg SyslogConfig) *Syslog { return &Syslog{cfg: cfg} }

// Deliver implements Sink.
func (s *Syslog) Deliver(ctx context.Context, events []Event) (int, error) {
	var frames []byte
	for i := range events {
		line, err := message(&events[i])
		if err != nil {
			if i == 0 {
				return 0, &refused{first: true, reason: "it makes no syslog message"}
			}
			events = events[:i] // what is before it first
			break
		}
		frames = append(strconv.AppendInt(frames, int64(len(line)), 10), ' ')
		frames = append(frames, line...)
	}
	if err := s.try(ctx); err != nil {
		return 0, err
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, fmt.Errorf("sending: %w", err)
		}
	}
	if _, err := conn.Write(frames); err != nil {
		return 0, fmt.Errorf("sending: %w", err)
	}
	if err := s.confirm(ctx, conn); err != nil {
		return 0, err
	}
	return len(events), nil
}

// halfClosed is a connection whose one direction can be closed: TCP and TLS.
type halfClosed interface {
	net.Conn
	CloseWrite() error
}

func (s *Syslog) dial(ctx context.Context) (halfClosed, error) {
	ctx, stop := context.WithTimeout(ctx, 2*connect)
	defer stop()
	conn, err := (&net.Dialer{Timeout: connect}).DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("connecting: not a connection of TCP"), conn.Close())
	}
	if s.cfg.TLS == nil {
		return tcp, nil
	}
	secured := tls.Client(wordless{tcp}, s.cfg.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting: %w", err), tcp.Close())
	}
	return secured, nil
}

// wordless is a TCP connection whose end is an error of its own: crypto/tls takes
// a mere FIN between records for an orderly end.
type wordless struct{ *net.TCPConn }

var errMute = errors.New("the connection was closed without close_notify")

func (c wordless) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if errors.Is(err, io.EOF) {
		err = errMute
	}
	return n, err
}

// try finds out how the receiver closes.
func (s *Syslog) try(ctx context.Context) error {
	if s.polite || s.mute >= tries || s.cfg.TLS == nil {
		return nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch how, err := end(ctx, conn, settle); how {
	case byWord:
		s.polite = true
	case byCut:
		return err
	default: // it may be the network's doing
		if s.mute++; s.mute < tries {
			return err
		}
	}
	return nil
}

// confirm ends the connection and waits for the receiver to do so.
func (s *Syslog) confirm(ctx context.Context, conn halfClosed) error {
	wait := settle
	if s.polite {
		wait = attempt // it may have much to read
	}
	how, err := end(ctx, conn, wait)
	switch {
	case how == byWord && s.cfg.TLS != nil:
		s.polite = true
		return nil
	case s.polite, how == byCut:
		return err
	}
	again, err := s.dial(ctx) // one that died does not answer
	if err != nil {
		return fmt.Errorf("the receiver closed the connection, and now: %w", err)
	}
	return again.Close()
}

// ending is how a connection ended after we said that no more comes.
type ending int

const (
	byCut    ending = iota // with an error
	byWord                 // orderly; for TCP, which has no word, by its FIN
	mute                   // by the FIN alone
	lingered               // not at all in the time
)

// end says that no more comes, and waits for the other side to end.
func end(ctx context.Context, conn halfClosed, wait time.Duration) (ending, error) {
	if err := conn.CloseWrite(); err != nil {
		return byCut, fmt.Errorf("ending the connection: %w", err)
	}
	until := time.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if err := conn.SetReadDeadline(until); err != nil {
		return byCut, fmt.Errorf("ending the connection: %w", err)
	}
	_, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer))
	var slow net.Error
	switch {
	case err == nil:
		return byWord, nil
	case errors.Is(err, errMute):
		return mute, err
	case errors.As(err, &slow) && slow.Timeout() && ctx.Err() == nil:
		return lingered, errors.New("the receiver has not read everything in time")
	}
	return byCut, fmt.Errorf("ending the connection: %w", err)
}

// Check implements Sink.
func (s *Syslog) Check(ctx context.Context) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Close implements Sink: no connection is kept.
func (s *Syslog) Close() {}

// message is an event as RFC 5424 has it. MSGID, of 32 characters at most, is the
// type; the record's id is in the structured data.
func message(e *Event) (string, error) {
	m := &rfc5424.SyslogMessage{}
	priority := uint8(priorityInfo)
	if e.Warning {
		priority = priorityWarn
	}
	m.SetPriority(priority)
	m.SetVersion(1)
	m.SetTimestamp(e.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	m.SetHostname(e.Instance)
	m.SetAppname("chaperone")
	m.SetProcID(e.Writer)
	m.SetMsgID(string(e.Type))
	m.SetElementID(sdID)
	m.SetParameter(sdID, "record_id", e.ID)
	m.SetMessage(string(e.Body))
	switch { // the builder leaves out what it does not take
	case m.Hostname == nil, m.ProcID == nil, m.MsgID == nil, m.Timestamp == nil, m.Message == nil,
		m.StructuredData == nil || (*m.StructuredData)[sdID]["record_id"] != e.ID:
		return "", errors.New("a field is not as RFC 5424 says")
	}
	return m.String()
}

var _ Sink = (*Syslog)(nil)
