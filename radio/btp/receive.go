package btp

import (
	"errors"
	"fmt"
	"time"
)

// receive takes a packet from the peer. An error ends the link.
func (e *engine) receive(now time.Time, b []byte) error {
	var err error
	switch e.phase {
	case listening:
		err = e.takeRequest(now, b)
	case awaiting:
		err = e.takeResponse(now, b)
	case established:
		err = e.takePacket(now, b)
	default:
		err = errNotYet
	}
	if err != nil {
		return broken(err)
	}
	return nil
}

var (
	errNotYet  = errors.New("a packet in the middle of the handshake")
	errWindow  = errors.New("a window of no segments")
	errOverrun = errors.New("more packets than its window allows")
)

func (e *engine) takeRequest(now time.Time, b []byte) error {
	r, err := parseRequest(b)
	switch {
	case err != nil:
		return err
	case r.window == 0:
		return errWindow
	}
	e.window = min(e.window, r.window)
	e.accept = agree(e.mtu, r.mtu)
	e.segment = e.accept
	e.phase = answering
	if !r.knows4 {
		e.phase = refusing
	}
	e.handshakeBy = time.Time{}
	return nil
}

// agree is the segment size for our ATT MTU and the one that the client says
// it has, which some say with and some without GATT's header. What we know
// ourselves decides, unless the client has less.
func agree(own, peer int) int {
	switch {
	case own == 0 && peer == 0:
		return minSegment
	case own == 0, peer != 0 && peer < own-gattHeader:
		return carries(peer)
	}
	return carries(own)
}

func (e *engine) takeResponse(now time.Time, b []byte) error {
	r, err := parseResponse(b)
	switch {
	case err != nil:
		return err
	case r.version == 0:
		return errVersion
	case r.version != version:
		return fmt.Errorf("it chose version %d, which was not offered", r.version)
	case r.window == 0:
		return errWindow
	case r.segment < leastSegment:
		return fmt.Errorf("it chose segments of %d bytes, at least %d are needed", r.segment, leastSegment)
	}
	e.window = min(e.window, r.window)
	e.accept = min(r.segment, maxSegment)
	e.segment = e.accept
	if e.mtu > 0 {
		e.segment = min(e.segment, carries(e.mtu))
	}
	e.phase = established
	e.handshakeBy = time.Time{}
	e.touch(now)
	e.received(now, true) // the response has sequence number 0
	return nil
}

func (e *engine) takePacket(now time.Time, b []byte) error {
	if len(b) > e.accept+slack {
		return fmt.Errorf("a packet of %d bytes, %d were agreed", len(b), e.accept)
	}
	p, err := parsePacket(b)
	if err != nil {
		return err
	}
	if p.hasAck() {
		if err := e.takeAck(now, p.ack); err != nil {
			return err
		}
	}
	if p.seq != e.rxNext {
		return fmt.Errorf("packet %d in the place of packet %d", p.seq, e.rxNext)
	}
	if e.owed == e.window {
		return errOverrun
	}
	e.received(now, p.data())
	if !p.data() {
		return nil
	}
	e.touch(now)
	return e.assemble(p)
}

func (e *engine) takeAck(now time.Time, ack uint8) error {
	switch n := int(ack-e.txOldest) + 1; {
	case n <= e.outstanding():
		e.txOldest, e.acked = ack+1, true
		e.ackBy = time.Time{}
		if e.outstanding() > 0 {
			e.ackBy = now.Add(ackTimeout)
		}
	case e.acked && ack == e.txOldest-1:
		// Said twice, which matter.js did before June 2026 and the SDK
		// refuses. It says nothing new, so it puts off no deadline.
	default:
		return fmt.Errorf("an acknowledgement of packet %d, which is not on its way", ack)
	}
	return nil
}

// received counts a packet and sets when it is to be acknowledged at the latest.
func (e *engine) received(now time.Time, data bool) {
	e.rxNext++
	e.owed++
	// The peer stops with one slot left, so an acknowledgement with two left
	// spares it the pause. In a window of three that would acknowledge every
	// packet, acknowledgements too, without end.
	few := 2
	if e.window < 4 {
		few = 1
	}
	wait := sendAckAfter
	if e.window-e.owed <= few {
		wait = 0
		if !data && e.window <= 2 {
			wait = tightAckAfter
		}
	}
	if at := now.Add(wait); e.ackAt.IsZero() || at.Before(e.ackAt) {
		e.ackAt = at
	}
}

// assemble adds a segment to its message and queues the message when it is
// whole.
func (e *engine) assemble(p packet) error {
	if p.flags&flagBeginning != 0 {
		switch {
		case e.partial:
			return errors.New("a message that begins within another")
		case p.length > maxMessage:
			return fmt.Errorf("a message of %d bytes, %d are the most", p.length, maxMessage)
		}
		e.partial, e.want = true, p.length
		e.assembly = make([]byte, 0, p.length)
	} else if !e.partial {
		return errors.New("a segment of a message that has not begun")
	} else if len(p.body) == 0 {
		return errors.New("an empty segment")
	}
	ending := p.flags&flagEnding != 0
	if missing := e.want - len(e.assembly); len(p.body) > missing {
		// The SDK lets a value be padded at the message's end, matter.js and
		// rs-matter do not; it does no harm.
		if !ending {
			return fmt.Errorf("more segments than a message of %d bytes has", e.want)
		}
		p.body = p.body[:missing]
	}
	e.assembly = append(e.assembly, p.body...)
	if !ending {
		return nil
	}
	if len(e.assembly) < e.want {
		return fmt.Errorf("a message that ends after %d bytes of %d", len(e.assembly), e.want)
	}
	if e.want > 0 { // an empty one is no Matter message
		e.inbox.push(e.assembly)
	}
	e.partial, e.assembly = false, nil
	return nil
}
