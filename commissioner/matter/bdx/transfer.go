package bdx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
)

// transfer is our end of one.
type transfer struct {
	x     *exchange.Exchange
	opts  Options
	name  []byte // file designator
	drive Drive  // as agreed
	block int    // most octets of data in a block: ours, then as agreed
	done  uint64 // octets from the file's beginning
	end   uint64 // that done may not pass
	exact bool   // and has to reach
}

func newTransfer(x *exchange.Exchange, opts Options) *transfer {
	if opts.Idle <= 0 {
		opts.Idle = IdleTimeout
	}
	most := min(x.Session().MaxBody()-counterSize, math.MaxUint16)
	if opts.MaxBlock > 0 {
		most = min(most, opts.MaxBlock)
	}
	return &transfer{x: x, opts: opts, block: most}
}

// say sends a message.
func (t *transfer) say(ctx context.Context, opcode uint8, body []byte) error {
	if most := t.x.Session().MaxBody(); len(body) > most {
		return fmt.Errorf("a message of %d octets, the session carries %d", len(body), most)
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Idle)
	defer cancel()
	return t.x.Send(ctx, message.BDX, opcode, body)
}

func (t *transfer) sayCounter(ctx context.Context, opcode uint8, counter uint32) error {
	return t.say(ctx, opcode, (&query{counter: counter}).append(opcode, nil))
}

// hear waits for one of the opcodes.
func (t *transfer) hear(ctx context.Context, opcodes ...uint8) (uint8, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Idle)
	defer cancel()
	msg, err := t.x.Receive(ctx)
	switch {
	case err != nil:
		return 0, nil, err
	case msg.Protocol == message.SecureChannel && msg.Opcode == opStatusReport:
		s, err := securechannel.ParseStatus(msg.Body)
		if err != nil {
			return 0, nil, err
		}
		return 0, nil, &Report{*s}
	case msg.Protocol != message.BDX || !slices.Contains(opcodes, msg.Opcode):
		return 0, nil, fmt.Errorf("message %#02x of protocol %d where %#02x belongs: %w", msg.Opcode, msg.Protocol, opcodes, UnexpectedMessage)
	}
	return msg.Opcode, msg.Body, nil
}

// finish tells the peer of an error of ours, and the caller of any.
func (t *transfer) finish(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if report := (*Report)(nil); !errors.As(err, &report) {
		status := TransferFailedUnknownError
		errors.As(err, &status)
		// The caller's context may be why we stop.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
		defer cancel()
		t.x.Send(ctx, message.SecureChannel, opStatusReport, status.report())
	}
	return fmt.Errorf("bdx: file %.64q, node %016X, at octet %d: %w", t.name, t.x.Session().PeerNode(), t.done, err)
}

func (t *transfer) progress() {
	if t.opts.Progress == nil {
		return
	}
	end := t.end
	if !t.exact {
		end = 0
	}
	t.opts.Progress(t.done, end)
}

// choose answers a proposal, as its responder. Who gets the file drives if it
// can: that is what the specification wants for firmware.
func (t *transfer) choose(m *initiation) error {
	switch {
	case len(m.designator) == 0:
		return fmt.Errorf("a proposal that names no file: %w", BadMessageContents)
	case m.block == 0:
		return fmt.Errorf("a proposal of empty blocks: %w", BadMessageContents)
	case m.drive&ReceiverDrive != 0:
		t.drive = ReceiverDrive
	case m.drive&SenderDrive != 0:
		t.drive = SenderDrive
	default:
		return fmt.Errorf("a proposal that nobody drives: %w", TransferMethodNotSupported)
	}
	t.block = min(t.block, int(m.block))
	return nil
}

// agree takes the answer to our proposal.
func (t *transfer) agree(m *acceptance, proposed Drive) error {
	switch {
	case m.version != version:
		return fmt.Errorf("version %d: %w", m.version, VersionNotSupported)
	case m.drive != SenderDrive && m.drive != ReceiverDrive && m.drive != async:
		return fmt.Errorf("drive %#02x is not one: %w", uint8(m.drive), BadMessageContents)
	case m.drive&proposed == 0:
		return fmt.Errorf("drive %#02x was not proposed: %w", uint8(m.drive), TransferMethodNotSupported)
	case m.block == 0 || int(m.block) > t.block:
		return fmt.Errorf("blocks of %d octets, %d were proposed: %w", m.block, t.block, BadMessageContents)
	}
	t.drive, t.block = m.drive, int(m.block)
	return nil
}

// send sends the octets of f from done to end.
func (t *transfer) send(ctx context.Context, f io.ReaderAt) error {
	buf := make([]byte, counterSize+t.block)
	for counter := uint32(0); ; counter++ {
		if t.drive == ReceiverDrive {
			if err := t.hearQuery(ctx, counter); err != nil {
				return err
			}
		}
		// All blocks but the last are full, as firmware's have to be.
		n := int(min(uint64(t.block), t.end-t.done))
		body := buf[:counterSize+n]
		binary.LittleEndian.PutUint32(body, counter)
		if read, err := f.ReadAt(body[counterSize:], int64(t.done)); read < n {
			return fmt.Errorf("reading the file: %w", err)
		}
		opcode, answer := uint8(opBlock), uint8(opBlockAck)
		last := t.done+uint64(n) == t.end
		if last {
			opcode, answer = opBlockEOF, opBlockAckEOF
		}
		if err := t.say(ctx, opcode, body); err != nil {
			return err
		}
		if last || t.drive == SenderDrive {
			if err := t.hearAck(ctx, answer, counter); err != nil {
				return err
			}
		}
		t.done += uint64(n)
		t.progress()
		if last {
			return nil
		}
	}
}

// hearQuery waits for the receiver to ask for a block. The receiver may
// acknowledge the one before by itself, if it needs time.
func (t *transfer) hearQuery(ctx context.Context, counter uint32) error {
	opcodes := []uint8{opBlockQuery, opBlockQueryWithSkip, opBlockAck}
	if counter == 0 {
		opcodes = opcodes[:2]
	}
	opcode, body, err := t.hear(ctx, opcodes...)
	if err == nil && opcode == opBlockAck {
		if err := checkCounter(opcode, body, counter-1); err != nil {
			return err
		}
		opcode, body, err = t.hear(ctx, opcodes[:2]...)
	}
	if err != nil {
		return err
	}
	if err := checkCounter(opcode, body, counter); err != nil {
		return err
	}
	q, _ := parseQuery(opcode, body)
	if q.skip > t.end-t.done {
		return fmt.Errorf("skipping %d of %d octets: %w", q.skip, t.end-t.done, LengthTooLarge)
	}
	t.done += q.skip
	return nil
}

func (t *transfer) hearAck(ctx context.Context, opcode uint8, counter uint32) error {
	_, body, err := t.hear(ctx, opcode)
	if err != nil {
		return err
	}
	return checkCounter(opcode, body, counter)
}

// checkCounter parses a message about a block. There are no repetitions: what
// is lost, the exchange sends again.
func checkCounter(opcode uint8, body []byte, want uint32) error {
	q, err := parseQuery(opcode, body)
	if err == nil && q.counter != want {
		err = fmt.Errorf("block %d where %d belongs: %w", q.counter, want, BadBlockCounter)
	}
	return err
}

// receive writes the octets from done on to w.
func (t *transfer) receive(ctx context.Context, w io.Writer) error {
	for counter := uint32(0); ; counter++ {
		if t.drive == ReceiverDrive {
			if err := t.sayCounter(ctx, opBlockQuery, counter); err != nil {
				return err
			}
		}
		opcode, body, err := t.hear(ctx, opBlock, opBlockEOF)
		if err != nil {
			return err
		}
		last := opcode == opBlockEOF
		data, err := t.check(body, counter, last)
		if err != nil {
			return err
		}
		n, err := w.Write(data)
		t.done += uint64(n)
		if err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		t.progress()
		if last {
			return t.conclude(ctx, counter)
		}
		if t.drive == SenderDrive {
			if err := t.sayCounter(ctx, opBlockAck, counter); err != nil {
				return err
			}
		}
	}
}

// check is the data of a block, if it is the right one.
func (t *transfer) check(body []byte, counter uint32, last bool) ([]byte, error) {
	b, err := parseBlock(body)
	if err != nil {
		return nil, err
	}
	size, left := uint64(len(b.data)), t.end-t.done
	switch {
	case b.counter != counter:
		return nil, fmt.Errorf("block %d where %d belongs: %w", b.counter, counter, BadBlockCounter)
	case len(b.data) > t.block:
		return nil, fmt.Errorf("a block of %d octets, %d were agreed: %w", size, t.block, BadMessageContents)
	case size == 0 && !last:
		return nil, fmt.Errorf("an empty block before the end: %w", BadMessageContents)
	case size > left && t.exact:
		return nil, fmt.Errorf("%d octets more than were announced: %w", size-left, LengthMismatch)
	case size > left:
		return nil, fmt.Errorf("more than %d octets: %w", t.end, LengthTooLarge)
	case size < left && last && t.exact:
		return nil, fmt.Errorf("an end %d octets before the one announced: %w", left-size, LengthMismatch)
	}
	return b.data, nil
}

// conclude tells the sender that we have it all, and waits until it heard it:
// the caller may end the session next. We have it all even if it did not.
func (t *transfer) conclude(ctx context.Context, counter uint32) error {
	if err := t.sayCounter(ctx, opBlockAckEOF, counter); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Idle)
	defer cancel()
	t.x.Flush(ctx)
	return nil
}
