package bdx

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
)

// File is what a sender sends. Its size stays the same while it is open.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64 // octets, not negative
}

// Server answers the transfers that peers begin. A callback's error is told to
// the peer if it is, or wraps, a Status: FileDesignatorUnknown, ResponderBusy.
// Any other is told as TransferFailedUnknownError.
type Server struct {
	// Open finds the file that a peer wants to have.
	Open func(ctx context.Context, s *exchange.Session, designator []byte) (File, error)

	// Create takes the file that a peer wants to give, as devices give their
	// logs. length is in octets, 0 if it is not known. nil: nobody may give.
	Create func(ctx context.Context, s *exchange.Session, designator []byte, length uint64) (io.Writer, error)

	Options
}

// Serve carries out the transfer that first begins, to its end or to the end
// of ctx. It is what a handler of message.BDX does; how many run at a time the
// exchange.Manager bounds, and how long each may last in all ctx does. The
// error names file, peer and place.
func (s *Server) Serve(ctx context.Context, x *exchange.Exchange, first exchange.Message) error {
	if x.Session().Kind() == exchange.Unsecured {
		return errors.New("bdx: a transfer outside of a secure session") // nothing is said to strangers
	}
	t := newTransfer(x, s.Options)
	return t.finish(ctx, s.serve(ctx, t, first))
}

func (s *Server) serve(ctx context.Context, t *transfer, first exchange.Message) error {
	give := first.Opcode == opSendInit && s.Create != nil
	if first.Protocol != message.BDX || first.Opcode != opReceiveInit && !give {
		return fmt.Errorf("message %#02x begins no transfer: %w", first.Opcode, UnexpectedMessage)
	}
	m, err := parseInit(first.Body)
	if err != nil {
		return err
	}
	t.name = m.designator
	if err := t.choose(&m); err != nil {
		return err
	}
	if give {
		return s.take(ctx, t, &m)
	}
	return s.give(ctx, t, &m)
}

func (s *Server) give(ctx context.Context, t *transfer, m *initiation) error {
	f, err := s.Open(ctx, t.x.Session(), m.designator)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	defer f.Close()
	size := uint64(f.Size())
	if m.offset > size {
		return fmt.Errorf("octet %d of a file of %d: %w", m.offset, size, StartOffsetNotSupported)
	}
	length := size - m.offset
	if m.length > 0 {
		length = min(length, m.length)
	}
	t.done, t.end, t.exact = m.offset, m.offset+length, true
	// The offset is not repeated: the SDK does and reads it, but others would
	// take it for the length.
	accept := acceptance{version: version, drive: t.drive, block: uint16(t.block), length: length}
	if err := t.say(ctx, opReceiveAccept, accept.append(opReceiveAccept, nil)); err != nil {
		return err
	}
	return t.send(ctx, f)
}

func (s *Server) take(ctx context.Context, t *transfer, m *initiation) error {
	switch {
	case m.offset > 0:
		return fmt.Errorf("only whole files are taken: %w", StartOffsetNotSupported)
	case m.length > MaxLength:
		return fmt.Errorf("a file of %d octets: %w", m.length, LengthTooLarge)
	}
	w, err := s.Create(ctx, t.x.Session(), m.designator, m.length)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	t.bound(m.length, MaxLength)
	accept := acceptance{version: version, drive: t.drive, block: uint16(t.block)}
	if err := t.say(ctx, opSendAccept, accept.append(opSendAccept, nil)); err != nil {
		return err
	}
	return t.receive(ctx, w)
}
