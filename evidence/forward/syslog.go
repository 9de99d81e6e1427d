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
// and counts only if the receiver closed that orderly, after it was told
// (close_notify) that no more comes: it closes when it has read everything. A
// receiver that was cut off or died on the way gets the delivery again. What a
// receiver loses after it read it is lost.
type Syslog struct {
	cfg SyslogConfig
}

// SyslogConfig is a receiver.
type SyslogConfig struct {
	// Address is host:port; the port of RFC 5425 is 6514.
	Address string
	// TLS of the connection. nil is plain TCP, for this machine only.
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
)

// NewSyslog makes a Sink; it contacts nobody.
func NewSyslog(cfg SyslogConfig) *Syslog { return &Syslog{cfg} }

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
	tcp := &net.Dialer{Timeout: connect}
	var (
		conn net.Conn
		err  error
	)
	if s.cfg.TLS == nil {
		conn, err = tcp.DialContext(ctx, "tcp", s.cfg.Address)
	} else {
		handshake, stop := context.WithTimeout(ctx, connect)
		defer stop()
		conn, err = (&tls.Dialer{NetDialer: tcp, Config: s.cfg.TLS}).DialContext(handshake, "tcp", s.cfg.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	half, ok := conn.(halfClosed)
	if !ok {
		return nil, errors.Join(errors.New("connecting: not a connection of TCP or TLS"), conn.Close())
	}
	return half, nil
}

// confirm ends the connection and waits for the receiver to do so.
func (s *Syslog) confirm(ctx context.Context, conn halfClosed) error {
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("ending the connection: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(settle)); err != nil {
		return fmt.Errorf("ending the connection: %w", err)
	}
	_, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer))
	var timeout net.Error
	switch {
	case err == nil && s.cfg.TLS != nil:
		return nil // its close_notify
	case errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil:
		return nil // it keeps the connection, which is well
	case err == nil, errors.Is(err, io.ErrUnexpectedEOF):
		// It closed without a word, as a process that dies does. One that died does
		// not answer.
		again, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("the receiver closed the connection, and now: %w", err)
		}
		return again.Close()
	default:
		return fmt.Errorf("ending the connection: %w", err)
	}
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
