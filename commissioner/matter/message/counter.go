package message

import (
	"encoding/binary"
	"errors"
	"io"
)

// counterStart bounds the random first value of a counter: 1 to 2^28.
const counterStart = 1 << 28

// ErrCounter says that a session sent 2^32 messages: it must be replaced,
// since a counter must not come twice under one key.
var ErrCounter = errors.New("message: counter of the session is used up")

// Counter numbers the messages that one session sends.
type Counter struct {
	next uint64 // one more than 32 bits, to see the end
	wrap bool   // unsecured: counting goes on behind the end
}

// NewCounter starts at random, as sessions do. wrap is for unsecured
// sessions, whose counters are no nonces.
func NewCounter(random io.Reader, wrap bool) (Counter, error) {
	var b [4]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return Counter{}, err
	}
	return Counter{uint64(binary.LittleEndian.Uint32(b[:])%counterStart + 1), wrap}, nil
}

// Next is a number not given before.
func (c *Counter) Next() (uint32, error) {
	if c.next > 0xFFFFFFFF {
		if !c.wrap {
			return 0, ErrCounter
		}
		c.next = 0
	}
	n := uint32(c.next)
	c.next++
	return n, nil
}

// windowSize is how far behind the newest a message may still arrive.
const windowSize = 32

// Window refuses messages that came before (Matter Core 4.6.5). The zero
// Window takes the first message it sees as newest.
type Window struct {
	max   uint32
	seen  uint32 // bit i: max-1-i has come
	begun bool
	due   bool // max was forgotten
}

// Secure reports whether counter is new under a session key, and remembers
// it. Call it only for an authenticated message.
func (w *Window) Secure(counter uint32) bool {
	if w.begun && counter <= w.max {
		return w.behind(w.max - counter)
	}
	w.advance(counter - w.max)
	w.max = counter
	return true
}

// Unsecured reports whether counter is new on an unsecured session. One that
// is far behind is taken as the first of a restarted peer.
func (w *Window) Unsecured(counter uint32) bool {
	switch ahead := counter - w.max; {
	case !w.begun, ahead != 0 && ahead < 1<<31:
		w.advance(ahead)
	case -ahead <= windowSize:
		return w.behind(-ahead)
	default:
		w.seen, w.due = 0, false
	}
	w.max = counter
	return true
}

// Forget has a counter be new again that was new last: its message could not
// be taken, and is to be sent again.
func (w *Window) Forget(counter uint32) {
	switch by := w.max - counter; {
	case by == 0:
		w.due = true
	case by <= windowSize:
		w.seen &^= 1 << (by - 1)
	}
}

func (w *Window) advance(by uint32) {
	if !w.begun || by > windowSize {
		w.seen = 0
	} else {
		w.seen <<= by
		if !w.due {
			w.seen |= 1 << (by - 1)
		}
	}
	w.begun, w.due = true, false
}

func (w *Window) behind(by uint32) bool {
	if by == 0 && w.due {
		w.due = false
		return true
	}
	if by == 0 || by > windowSize || w.seen&(1<<(by-1)) != 0 {
		return false
	}
	w.seen |= 1 << (by - 1)
	return true
}
