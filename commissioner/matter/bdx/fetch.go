package bdx

import (
	"context"
	"fmt"
	"io"

	"gatehouse/commissioner/matter/exchange"
)

// Request is what Fetch is to get.
type Request struct {
	Designator []byte
	Offset     uint64 // octets to leave out at the beginning, because we have them
	Length     uint64 // most octets wanted from there on; 0: all, up to MaxLength
	Drive      Drive  // those we propose; 0: ReceiverDrive
	Options
}

// Fetch gets a file from a peer and writes it to w, in order. To go on with a
// transfer that broke off, set Offset to what is there already and let w be,
// say, an io.OffsetWriter. It returns how many octets it wrote, also with an
// error. Without one, the peer said that the file, or the length wanted of it,
// is complete: not every peer announces a length that could be checked, so
// what is in the file has to be verified.
func Fetch(ctx context.Context, m *exchange.Manager, s *exchange.Session, r Request, w io.Writer) (uint64, error) {
	x, err := m.Open(s)
	if err != nil {
		return 0, fmt.Errorf("bdx: %w", err)
	}
	defer x.Close()
	t := newTransfer(x, r.Options)
	t.name, t.done = r.Designator, r.Offset
	err = t.finish(ctx, t.fetch(ctx, r, w))
	return t.done - r.Offset, err
}

func (t *transfer) fetch(ctx context.Context, r Request, w io.Writer) error {
	if r.Drive == 0 {
		r.Drive = ReceiverDrive
	}
	init := initiation{version: version, drive: r.Drive, block: uint16(t.block), offset: r.Offset, length: r.Length, designator: r.Designator}
	if err := t.say(ctx, opReceiveInit, init.append(nil)); err != nil {
		return err
	}
	opcode, body, err := t.hear(ctx, opReceiveAccept)
	if err != nil {
		return err
	}
	m, err := parseAccept(opcode, body)
	if err != nil {
		return err
	}
	if err := t.agree(&m, r.Drive); err != nil {
		return err
	}
	most := r.Length
	if most == 0 {
		most = MaxLength
	}
	switch {
	case m.offset != 0 && m.offset != r.Offset: // most repeat none
		return fmt.Errorf("from octet %d, asked for from %d: %w", m.offset, r.Offset, StartOffsetNotSupported)
	case m.length > most:
		return fmt.Errorf("%d octets, %d are wanted: %w", m.length, most, LengthTooLarge)
	}
	t.bound(m.length, most)
	return t.receive(ctx, w)
}
