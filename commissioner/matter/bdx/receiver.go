package bdx

import (
	"context"
	"fmt"
	"io"
)

// bound says how much a receiver takes from here on: what was announced, or
// if nothing was, at most so much.
func (t *transfer) bound(announced, most uint64) {
	t.exact = announced > 0
	if t.exact {
		most = announced
	}
	t.end = t.done + most
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
