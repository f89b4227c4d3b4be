package ble

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"gatehouse/radio/ble/wire"
)

// Limits.
const (
	maxConns = 8   // connections at a time, of which one is being made
	inQueue  = 512 // indications not read yet; BTP has at most 255 segments under way

	attHeader = 3 // bytes of a write request or an indication before the value
)

// Conn is a connection to a device, the client's side of Matter's service. It
// is a btp.Bearer. Its methods may be called from several goroutines.
type Conn struct {
	life *life
	id   uint32
	in   chan []byte

	writing sync.Mutex
	once    sync.Once // of connected

	connected chan struct{} // closed when mtu is known
	mtu       int

	mu    sync.Mutex
	err   error
	ended chan struct{}
}

func newConn(l *life, id uint32) *Conn {
	return &Conn{life: l, id: id, in: make(chan []byte, inQueue), connected: make(chan struct{}), ended: make(chan struct{})}
}

// handle does what a message of this connection says.
func (c *Conn) handle(m wire.Message) error {
	switch m.Kind {
	case wire.Connected:
		c.once.Do(func() {
			c.mtu = int(m.MTU)
			close(c.connected)
		})
	case wire.Indication:
		if c.reason() != nil {
			return nil // it was on its way
		}
		select {
		case c.in <- m.Data:
		default:
			c.end(fmt.Errorf("the device sent more than %d indications that nobody has read", inQueue))
			c.life.send(wire.Message{Kind: wire.Close, Conn: c.id})
		}
	case wire.Closed:
		if m.Code == wire.Lost {
			c.end(io.EOF)
		} else {
			c.end(failure(m))
		}
	}
	return nil
}

// end marks the connection as ended, once. It takes no lock but its own.
func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.ended)
	}
}

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// MTU is the connection's ATT MTU: the smaller of the two sides', in bytes.
func (c *Conn) MTU() int { return c.mtu }

// Write writes p to C1 and returns when the device has confirmed it, or after
// WriteLimit. The first write also subscribes to C2, behind the value: that is
// the order of BTP's handshake. p may be MTU()-3 bytes. It does not keep p.
func (c *Conn) Write(p []byte) error {
	if len(p) == 0 || len(p) > c.mtu-attHeader {
		return fmt.Errorf("a write of %d bytes, 1 to %d are possible", len(p), c.mtu-attHeader)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.reason(); err != nil {
		return c.writeError(err)
	}
	err := c.life.request(wire.Message{Kind: wire.Write, Conn: c.id, Data: p}, WriteLimit+CloseLimit, c.ended)
	if reason := c.reason(); err != nil && reason != nil {
		err = reason // says more
	}
	return c.writeError(err)
}

// writeError is err as Write tells it: end of file is for readers.
func (c *Conn) writeError(err error) error {
	if err == io.EOF {
		return errors.New("the device has disconnected")
	}
	return err
}

// Read returns the next indication of C2. What was indicated before the
// connection ended can still be read. Then it returns io.EOF if the device
// disconnected or is out of reach, net.ErrClosed after Close, and ErrRestarted
// if the radio process ended.
func (c *Conn) Read() ([]byte, error) {
	select {
	case p := <-c.in:
		return p, nil
	case <-c.ended:
	}
	select {
	case p := <-c.in:
		return p, nil
	default:
		return nil, c.reason()
	}
}

// Close ends the connection without waiting for it.
func (c *Conn) Close() error {
	if c.reason() == nil {
		c.end(net.ErrClosed)
		c.life.send(wire.Message{Kind: wire.Close, Conn: c.id})
	}
	return nil
}
