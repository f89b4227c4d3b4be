package btp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of ours.
const (
	// leastSegment is the smallest the SDK takes: a full header and a byte.
	leastSegment = 6
	// slack is how much longer than agreed a packet may be: some take the
	// agreed size for one without GATT's header.
	slack = gattHeader
	// tightAckAfter is when a stand-alone acknowledgement is acknowledged in
	// a window of one or two. At once, as the SDK does, is an endless exchange
	// at the speed of the radio; after 2.5 s the peer cannot speak until then.
	tightAckAfter = 100 * time.Millisecond
)

// phase is how far the handshake is.
type phase uint8

const (
	asking    phase = iota // client: the request is to be sent
	awaiting               // client: the response is to come
	listening              // server: the request is to come
	answering              // server: the response is to be sent
	refusing               // server: the response is to be sent, and says no
	refused
	established
)

// engine is the protocol without a clock, a goroutine or a connection: packets
// go in by receive and come out of next, and time is an argument.
type engine struct {
	client bool
	phase  phase
	mtu    int // ATT MTU, 0: unknown
	idle   time.Duration

	// Agreed in the handshake; before it, window is what we offer.
	window  int
	segment int // the longest packet we send
	accept  int // the longest packet we take

	txNext, txOldest uint8 // next to send, oldest not acknowledged
	acked            bool  // at least one of ours was
	outbox           queue
	offset           int // of outbox's first message: so much of it is sent

	rxNext   uint8
	owed     int // packets that came since we last acknowledged
	assembly []byte
	want     int // length of the message in assembly
	partial  bool
	inbox    queue

	// Deadlines; zero when not set.
	handshakeBy, ackBy, idleBy time.Time // else the link fails
	ackAt                      time.Time // when what is owed is due

	packet [maxSegment]byte // that next returned
}

// newEngine begins as the client with asking, as the server with listening.
func newEngine(start phase, mtu int, cfg Config) *engine {
	e := &engine{client: start == asking, phase: start, mtu: mtu, idle: cfg.Idle, window: cfg.Window}
	if e.client {
		e.handshakeBy = cfg.Now().Add(handshakeTimeout)
	}
	return e
}

// carries is the longest packet a connection with an ATT MTU carries.
func carries(mtu int) int { return max(minSegment, min(mtu-gattHeader, maxSegment)) }

// outstanding is how many packets of ours are not acknowledged.
func (e *engine) outstanding() int { return int(e.txNext - e.txOldest) }

// held says that acknowledgements wait, so that the peer's window fills,
// because nobody reads what has come.
func (e *engine) held() bool { return e.inbox.size >= queueLimit }

// owes says that there is something to acknowledge.
func (e *engine) owes() bool { return e.owed > 0 && !e.held() }

// drained says that all messages have been handed out.
func (e *engine) drained() bool { return len(e.outbox.messages) == 0 }

// next is the packet to write now, if any; its bytes hold until the next call.
func (e *engine) next(now time.Time) []byte {
	switch b := e.packet[:0]; e.phase {
	case asking:
		e.phase = awaiting
		r := request{mtu: e.mtu, window: e.window}
		return r.append(b)
	case answering:
		// The client may write its first segment before it confirmed the
		// indication of this, so the phase changes now.
		e.phase = established
		e.sent(now) // the response has sequence number 0
		r := response{version: version, segment: e.accept, window: e.window}
		return r.append(b)
	case refusing:
		e.phase = refused
		r := response{segment: e.accept, window: e.window}
		return r.append(b)
	case established:
		return e.nextSegment(now, b)
	}
	return nil
}

var errVersion = errors.New("it knows no version of the protocol that we know")

// written says that the packet of the last next was confirmed.
func (e *engine) written() error {
	if e.phase == refused {
		return broken(errVersion)
	}
	return nil
}

func (e *engine) nextSegment(now time.Time, b []byte) []byte {
	free := e.window - e.outstanding()
	owes := e.owes()
	// The last slot of the window is for a packet that acknowledges: were
	// both windows full of data, nobody could open them again.
	data := !e.drained() && (free > 1 || free == 1 && owes)
	if !data && (free == 0 || !owes || now.Before(e.ackAt)) {
		return nil
	}
	p := packet{seq: e.txNext}
	if owes {
		p.flags |= flagAck
		p.ack = e.rxNext - 1
		e.owed, e.ackAt = 0, time.Time{}
	}
	if data {
		b = e.appendData(p, b)
		e.touch(now)
	} else {
		b = p.append(b)
	}
	e.sent(now)
	return b
}

// appendData is p with as much of the first message as fits.
func (e *engine) appendData(p packet, b []byte) []byte {
	m := e.outbox.messages[0]
	if e.offset == 0 {
		p.flags |= flagBeginning
		p.length = len(m)
	} else {
		p.flags |= flagContinuing
	}
	body := m[e.offset:]
	if room := e.segment - p.headerLen(); len(body) > room {
		body = body[:room]
		e.offset += room
	} else {
		p.flags |= flagEnding
		e.offset = 0
		e.outbox.pop()
	}
	return append(p.append(b), body...)
}

func (e *engine) sent(now time.Time) {
	e.txNext++
	if e.ackBy.IsZero() {
		e.ackBy = now.Add(ackTimeout)
	}
}

// touch notes that there is data, for the idle timer.
func (e *engine) touch(now time.Time) {
	if e.client {
		e.idleBy = now.Add(e.idle)
	}
}

// deadline is when to call expire and next again though nothing happened;
// zero: never.
func (e *engine) deadline(now time.Time) (at time.Time) {
	deadlines := [...]time.Time{e.handshakeBy, e.ackBy, e.idleBy, {}}
	// What is due already waits for the write under way, not for a timer.
	if e.owes() && e.ackAt.After(now) {
		deadlines[3] = e.ackAt
	}
	for _, d := range deadlines {
		if !d.IsZero() && (at.IsZero() || d.Before(at)) {
			at = d
		}
	}
	return at
}

// expire fails when a deadline has passed.
func (e *engine) expire(now time.Time) error {
	passed := func(by time.Time) bool { return !by.IsZero() && !now.Before(by) }
	switch {
	case passed(e.handshakeBy):
		return fmt.Errorf("%w: no answer to the handshake in %v", ErrTimeout, handshakeTimeout)
	case passed(e.ackBy):
		return fmt.Errorf("%w: no acknowledgement in %v", ErrTimeout, ackTimeout)
	case passed(e.idleBy):
		return fmt.Errorf("%w: no message in %v", ErrTimeout, e.idle)
	}
	return nil
}

// send queues a message; the caller sees to the limit of the queue.
func (e *engine) send(m []byte) { e.outbox.push(slices.Clone(m)) }

// broken is err as a breach of the protocol.
func broken(err error) error { return fmt.Errorf("%w: %w", ErrProtocol, err) }

// queue of messages, with what they count against queueLimit.
type queue struct {
	messages [][]byte
	size     int
}

func (q *queue) push(m []byte) {
	q.messages = append(q.messages, m)
	q.size += len(m) + queueOverhead
}

// pop is nil when the queue is empty.
func (q *queue) pop() []byte {
	if len(q.messages) == 0 {
		return nil
	}
	m := q.messages[0]
	q.messages = slices.Delete(q.messages, 0, 1)
	q.size -= len(m) + queueOverhead
	return m
}
