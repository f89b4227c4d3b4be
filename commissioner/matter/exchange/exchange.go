package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/message"
)

var (
	// ErrNoAck says that the peer acknowledged none of MaxTransmissions.
	ErrNoAck = errors.New("exchange: the peer does not answer")
	// ErrTimeout says that no message came in the time the caller gave.
	ErrTimeout = errors.New("exchange: no answer in time")
	// ErrClosed says that the session, the exchange or the manager ended.
	ErrClosed = errors.New("exchange: session is closed")
	// ErrLinkLost says that the link to the peer is gone for good.
	ErrLinkLost = errors.New("exchange: the connection to the peer was lost")
)

// inboxSize is how many messages may wait for Receive. Matter's protocols
// never have more than one on the way; a peer that sends more loses them.
const inboxSize = 4

// Message is what a peer sent on an exchange.
type Message struct {
	Protocol message.ProtocolID
	Opcode   uint8
	Body     []byte
}

// Exchange is one conversation on a session: a request and what follows from
// it. One goroutine at a time uses it.
type Exchange struct {
	m         *Manager
	session   *Session
	id        uint16
	initiator bool
	inbox     chan Message
	failed    chan struct{} // closed once err is set

	// guarded by Manager.mu
	pending    *pending
	ackOwed    bool
	ackCounter uint32
	ackTimer   *time.Timer
	closing    bool
	err        error
}

// Session is the session the exchange runs on.
func (x *Exchange) Session() *Session { return x.session }

// Send sends a message, after the one before was acknowledged. It returns
// once the message is on its way: that the peer never got it is told by the
// next Send, Receive or Flush.
func (x *Exchange) Send(ctx context.Context, protocol message.ProtocolID, opcode uint8, body []byte) error {
	if err := x.Flush(ctx); err != nil {
		return err
	}
	return x.send(protocol, opcode, body, !x.session.link.Reliable())
}

// SendOnce sends a message without wanting an acknowledgement.
func (x *Exchange) SendOnce(protocol message.ProtocolID, opcode uint8, body []byte) error {
	return x.send(protocol, opcode, body, false)
}

func (x *Exchange) send(protocol message.ProtocolID, opcode uint8, body []byte, reliable bool) error {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.err != nil {
		return x.err
	}
	p := message.Payload{Protocol: protocol, Opcode: opcode, ExchangeID: x.id, Initiator: x.initiator, Reliable: reliable, Body: body}
	p.Ack, p.HasAck = x.takeAck()
	packet, counter, err := x.session.seal(&p)
	if err != nil {
		x.fail(err)
		return err
	}
	if !reliable {
		x.m.transmit(x.session, packet)
		return nil
	}
	x.pending = &pending{counter: counter, packet: packet, done: make(chan struct{})}
	x.transmit(x.pending)
	return nil
}

// Flush waits until the message sent last was acknowledged.
func (x *Exchange) Flush(ctx context.Context) error {
	x.m.mu.Lock()
	p, err := x.pending, x.err
	x.m.mu.Unlock()
	if p == nil || err != nil {
		return err
	}
	select {
	case <-p.done:
		x.m.mu.Lock()
		defer x.m.mu.Unlock()
		return x.err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// Receive waits for the peer's next message until ctx ends.
func (x *Exchange) Receive(ctx context.Context) (Message, error) {
	select {
	case msg := <-x.inbox:
		return msg, nil
	default:
	}
	select {
	case msg := <-x.inbox:
		return msg, nil
	case <-x.failed:
		return Message{}, x.err
	case <-ctx.Done():
		return Message{}, contextError(ctx)
	}
}

func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return fmt.Errorf("exchange: %w", context.Cause(ctx))
}

// Close ends the exchange. An acknowledgement owed is sent; a message not yet
// acknowledged goes on being sent until it is, or is given up.
func (x *Exchange) Close() {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.closing || x.err != nil {
		return
	}
	x.closing = true
	x.payAck()
	if x.pending == nil {
		x.remove()
	}
}

// fail ends the exchange with an error. Call it with the manager locked.
func (x *Exchange) fail(err error) {
	if x.err != nil {
		return
	}
	x.err = err
	close(x.failed)
	x.settle()
	x.takeAck()
	x.remove()
}

func (x *Exchange) remove() {
	key := exchangeKey{x.id, x.initiator}
	if x.session.exchanges[key] != x {
		return
	}
	delete(x.session.exchanges, key)
	if !x.initiator {
		p := x.session.peer()
		x.m.answering--
		if x.m.responding[p]--; x.m.responding[p] == 0 {
			delete(x.m.responding, p)
		}
	}
	if x.err == nil {
		x.err = ErrClosed
		close(x.failed)
	}
}
