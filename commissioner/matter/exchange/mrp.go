package exchange

import (
	"time"

	"gatehouse/commissioner/matter/message"
)

// Constants of the message reliability protocol (Matter Core 4.12.8).
const (
	MaxTransmissions = 5
	ackTimeout       = 200 * time.Millisecond
	backoffBase      = 1.6
	backoffJitter    = 0.25
	backoffMargin    = 1.1
	backoffThreshold = 1

	opcodeStandaloneAck = 0x10 // of the secure channel protocol
)

// Params are a node's session parameters: how long its peers wait for an
// acknowledgement before they send again.
type Params struct {
	Idle      time.Duration // SII: while it may be asleep
	Active    time.Duration // SAI: after it was heard
	Threshold time.Duration // SAT: how long it stays active after traffic
}

// DefaultParams hold for a node that says nothing else.
var DefaultParams = Params{500 * time.Millisecond, 300 * time.Millisecond, 4 * time.Second}

// MaxInterval is the longest SII and SAI the specification allows.
const MaxInterval = time.Hour

// OrDefault fills in what a peer did not say and bounds what it did.
func (p Params) OrDefault() Params {
	fill := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
		*v = min(*v, MaxInterval)
	}
	fill(&p.Idle, DefaultParams.Idle)
	fill(&p.Active, DefaultParams.Active)
	fill(&p.Threshold, DefaultParams.Threshold)
	return p
}

// backoff is how long to wait for the acknowledgement of a message that was
// sent n times before, n from 0; random is in [0, 1).
func backoff(interval time.Duration, n int, random float64) time.Duration {
	t := float64(interval) * backoffMargin * (1 + random*backoffJitter)
	for range n - backoffThreshold {
		t *= backoffBase
	}
	return time.Duration(t)
}

// giveUp is the longest all transmissions of one message can take.
func (p Params) giveUp(active bool) time.Duration {
	interval := p.Idle
	if active {
		interval = p.Active
	}
	var sum time.Duration
	for n := range MaxTransmissions {
		sum += backoff(interval, n, 1)
	}
	return sum
}

// pending is a reliable message that was not acknowledged yet.
type pending struct {
	counter uint32
	packet  []byte
	sent    int
	timer   *time.Timer
	done    chan struct{} // closed when acknowledged or given up
}

// transmit sends the pending message and sets the timer for the next time.
// Call it with the manager locked.
func (x *Exchange) transmit(p *pending) {
	s := x.session
	active := s.params.Threshold > x.m.cfg.Now().Sub(s.heard)
	interval := s.params.Idle
	if active {
		interval = s.params.Active
	}
	wait := backoff(interval, p.sent, x.m.random())
	p.sent++
	p.timer = time.AfterFunc(wait, func() { x.expire(p) })
	x.m.transmit(s, p.packet)
}

// expire sends the message again, or gives the exchange up.
func (x *Exchange) expire(p *pending) {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.pending != p {
		return // acknowledged meanwhile
	}
	if p.sent >= MaxTransmissions {
		x.fail(ErrNoAck)
		return
	}
	x.m.stats.Retransmissions++
	x.transmit(p)
}

// acknowledged takes the acknowledgement of message counter.
func (x *Exchange) acknowledged(counter uint32) {
	if p := x.pending; p != nil && p.counter == counter {
		x.settle()
		if x.closing {
			x.remove()
		}
	}
}

// settle forgets the pending message, if any.
func (x *Exchange) settle() {
	if p := x.pending; p != nil {
		p.timer.Stop()
		x.pending = nil
		close(p.done)
	}
}

// owe notes that message counter wants an acknowledgement, which the next
// message carries or, failing that, one of its own.
func (x *Exchange) owe(counter uint32) {
	x.payAck()
	x.ackOwed, x.ackCounter = true, counter
	if x.closing {
		x.payAck()
		return
	}
	x.ackTimer = time.AfterFunc(ackTimeout, func() {
		x.m.mu.Lock()
		defer x.m.mu.Unlock()
		if x.ackOwed && x.ackCounter == counter {
			x.payAck()
		}
	})
}

// payAck sends the acknowledgement owed, if any, alone.
func (x *Exchange) payAck() {
	if counter, ok := x.takeAck(); ok {
		x.m.sendAck(x.session, x.id, x.initiator, counter)
	}
}

// takeAck hands the acknowledgement owed to the message that will carry it.
func (x *Exchange) takeAck() (uint32, bool) {
	if !x.ackOwed {
		return 0, false
	}
	x.ackOwed = false
	x.ackTimer.Stop()
	return x.ackCounter, true
}

// sendAck sends a standalone acknowledgement; it is itself not acknowledged.
func (m *Manager) sendAck(s *Session, id uint16, initiator bool, counter uint32) {
	packet, _, err := s.seal(&message.Payload{Protocol: message.SecureChannel, Opcode: opcodeStandaloneAck,
		ExchangeID: id, Initiator: initiator, HasAck: true, Ack: counter})
	if err == nil {
		m.transmit(s, packet)
	}
}
