package radiotest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Fate is what becomes of a packet on a Connection, and of all that follow.
type Fate uint8

const (
	Deliver Fate = iota
	Cut          // the connection is lost in its place, and both sides learn of it
	Mute         // nothing passes from here on and nobody is told, as before a supervision timeout
)

// FateFunc decides over the nth packet of a Connection, the first being 1. It
// may be called from two goroutines, one for each direction, and may change p.
type FateFunc func(n int, fromClient bool, p []byte) Fate

// At is a FateFunc for which the nth packet, in whichever direction, meets f.
func (f Fate) At(nth int) FateFunc {
	return func(n int, _ bool, _ []byte) Fate {
		if n >= nth {
			return f
		}
		return Deliver
	}
}

// connectionQueue is how many packets a side may leave unread.
const connectionQueue = 512

var errCut = errors.New("the connection was cut")

// A Connection is an in-memory GATT connection between a Client and a Server,
// that keeps packets whole and in order. Like a Network it starts no
// goroutine, so it can live in a testing/synctest bubble.
type Connection struct {
	Client, Server *Bearer

	mtu int
	cut chan struct{}

	mu      sync.Mutex
	latency time.Duration
	fate    FateFunc
	packets int
	mute    bool
	isCut   bool
}

// NewConnection is a connection with an ATT MTU; 0 makes it unknown.
func NewConnection(mtu int) *Connection {
	c := &Connection{mtu: mtu, cut: make(chan struct{})}
	c.Client, c.Server = newBearer(c), newBearer(c)
	c.Client.peer, c.Server.peer = c.Server, c.Client
	return c
}

// SetLatency makes a packet take d, and its confirmation another d. It holds
// for packets sent from now on.
func (c *Connection) SetLatency(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency = d
}

// SetFate holds for packets sent from now on; nil delivers all.
func (c *Connection) SetFate(f FateFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fate = f
}

// Packets is how many were sent so far, in both directions.
func (c *Connection) Packets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets
}

// Cut ends the connection; both sides learn of it.
func (c *Connection) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isCut {
		c.isCut = true
		close(c.cut)
	}
}

// decide counts a packet and says what becomes of it.
func (c *Connection) decide(b *Bearer, p []byte) (Fate, time.Duration) {
	c.mu.Lock()
	c.packets++
	n, fate, latency := c.packets, c.fate, c.latency
	if c.mute {
		c.mu.Unlock()
		return Mute, latency
	}
	c.mu.Unlock()
	f := Deliver
	if fate != nil {
		f = fate(n, b == c.Client, p)
	}
	if f == Mute {
		c.mu.Lock()
		c.mute = true
		c.mu.Unlock()
	}
	return f, latency
}

// A Bearer is one side of a Connection.
type Bearer struct {
	c     *Connection
	peer  *Bearer
	queue chan []byte

	writing sync.Mutex
	close   sync.Once
	closed  chan struct{}
}

func newBearer(c *Connection) *Bearer {
	return &Bearer{c: c, queue: make(chan []byte, connectionQueue), closed: make(chan struct{})}
}

// MTU is the connection's.
func (b *Bearer) MTU() int { return b.c.mtu }

// Write sends p and returns when it was confirmed.
func (b *Bearer) Write(p []byte) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.c.mtu > 0 && len(p) > b.c.mtu-3 {
		return fmt.Errorf("a packet of %d bytes at an MTU of %d", len(p), b.c.mtu)
	}
	select {
	case <-b.closed:
		return net.ErrClosed
	case <-b.c.cut:
		return errCut
	default:
	}
	p = append([]byte(nil), p...)
	fate, latency := b.c.decide(b, p)
	switch fate {
	case Cut:
		b.c.Cut()
		return errCut
	case Mute:
		return b.wait(nil)
	}
	if err := b.sleep(latency); err != nil {
		return err
	}
	select {
	case b.peer.queue <- p:
	case <-b.closed:
		return net.ErrClosed
	case <-b.c.cut:
		return errCut
	}
	return b.sleep(latency)
}

func (b *Bearer) sleep(d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	return b.wait(t.C)
}

// wait returns when c yields, or the connection is gone.
func (b *Bearer) wait(c <-chan time.Time) error {
	select {
	case <-c:
		return nil
	case <-b.closed:
		return net.ErrClosed
	case <-b.c.cut:
		return errCut
	}
}

// Read returns the next packet of the other side. What was delivered before
// the connection was cut can still be read; then there is io.EOF.
func (b *Bearer) Read() ([]byte, error) {
	select {
	case <-b.closed:
		return nil, net.ErrClosed
	case p := <-b.queue:
		return p, nil
	case <-b.c.cut:
	}
	select {
	case p := <-b.queue:
		return p, nil
	default:
		return nil, io.EOF
	}
}

// Close ends the connection. The other side learns of it unless the
// connection is mute.
func (b *Bearer) Close() error {
	b.close.Do(func() { close(b.closed) })
	b.c.mu.Lock()
	mute := b.c.mute
	b.c.mu.Unlock()
	if !mute {
		b.c.Cut()
	}
	return nil
}
