package wiretest

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a connection. Net.mu is over all of it.
type conn struct {
	net           *Net
	local, remote netip.AddrPort
	peer          *conn
	wake          *sync.Cond // whenever anything below changes

	arrived bytes.Buffer // not yet read
	unread  int          // octets sent that the peer has not read
	writing bool         // somebody is in Write: writes do not mix
	ended   bool         // the peer has closed, and all it sent has arrived
	closed  bool
	failed  error

	readBy, writeBy deadline
}

// connect makes both ends of a connection, and is the one at from.
func (n *Net) connect(from, to netip.AddrPort) *conn {
	here, there := &conn{net: n, local: from, remote: to}, &conn{net: n, local: to, remote: from}
	here.peer, there.peer = there, here
	for _, c := range []*conn{here, there} {
		c.wake = sync.NewCond(&n.mu)
		n.conns = append(n.conns, c)
	}
	return here
}

// on reports whether this is the end at local of a connection with remote.
func (c *conn) on(local, remote netip.Addr) bool {
	return c.local.Addr() == local && c.remote.Addr() == remote
}

// send has something happen at the other end.
func (c *conn) send(packet func()) {
	c.net.link(c.local.Addr(), c.remote.Addr()).send(c.net, packet)
}

func (c *conn) gone() bool { return c.closed || c.failed != nil }

// fail ends the connection at this end.
func (c *conn) fail(err error) {
	if !c.gone() {
		c.failed = err
		c.forget()
	}
}

// hangUp closes this end; the peer learns of it after what was sent.
func (c *conn) hangUp() {
	if c.closed {
		return
	}
	if c.failed == nil {
		c.send(func() {
			c.peer.ended = true
			c.peer.wake.Broadcast()
		})
	}
	c.closed = true
	c.forget()
}

func (c *conn) forget() {
	if i := slices.Index(c.net.conns, c); i >= 0 {
		c.net.conns = slices.Delete(c.net.conns, i, i+1)
	}
	c.readBy.set(c, time.Time{})
	c.writeBy.set(c, time.Time{})
	c.wake.Broadcast()
}

func (c *conn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.gone() || c.readBy.passed():
			return 0, c.error("read", c.readBy.passed())
		case len(p) == 0:
			return 0, nil
		case c.arrived.Len() > 0:
			n, _ := c.arrived.Read(p)
			c.send(func() {
				c.peer.unread -= n
				c.peer.wake.Broadcast()
			})
			return n, nil
		case c.ended:
			return 0, io.EOF
		}
		c.wake.Wait()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for c.writing && !c.gone() && !c.writeBy.passed() {
		c.wake.Wait()
	}
	if c.gone() || c.writeBy.passed() {
		return 0, c.error("write", c.writeBy.passed())
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.wake.Broadcast()
	}()
	sent := 0
	for sent < len(p) {
		if c.gone() || c.writeBy.passed() {
			return sent, c.error("write", c.writeBy.passed())
		}
		part := p[sent:min(len(p), sent+window-c.unread)]
		if len(part) == 0 {
			c.wake.Wait()
			continue
		}
		sent += len(part)
		c.unread += len(part)
		part = slices.Clone(part)
		c.send(func() { c.peer.receive(part) })
	}
	return sent, nil
}

// receive has octets arrive. An end that is no more answers with a reset.
func (c *conn) receive(octets []byte) {
	if c.gone() {
		c.send(func() { c.peer.fail(syscall.ECONNRESET) })
		return
	}
	c.arrived.Write(octets)
	c.wake.Broadcast()
}

// error says why an operation did not work.
func (c *conn) error(op string, late bool) error {
	err := c.failed
	if c.closed {
		err = net.ErrClosed
	} else if err == nil && late {
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.error("close", false)
	}
	c.hangUp()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy, &c.writeBy) }

func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeBy) }

func (c *conn) setDeadlines(t time.Time, which ...*deadline) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.error("set", false)
	}
	for _, d := range which {
		d.set(c, t)
	}
	c.wake.Broadcast()
	return nil
}

// deadline is when an operation gives up.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && time.Until(d.at) <= 0 }

func (d *deadline) set(c *conn, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
	}
	*d = deadline{at: at}
	if left := time.Until(at); !at.IsZero() && left > 0 {
		d.timer = time.AfterFunc(left, func() {
			c.net.mu.Lock()
			defer c.net.mu.Unlock()
			c.wake.Broadcast()
		})
	}
}
