package bdx

import (
	"context"
	"errors"
	"fmt"
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
// can: for firmware the specification wants it so.
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
