package bdx

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

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
