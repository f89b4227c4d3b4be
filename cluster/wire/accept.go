package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

var (
	errSlow  = errors.New("it did not finish the handshake in time")
	errNewer = errors.New("it made room for newer ones before its handshake was done")
	errShut  = errors.New("nothing here takes its protocol now")
)

// stranger is a connection nobody has been verified on.
type stranger struct {
	raw  net.Conn
	quit context.CancelCauseFunc
}

// accept takes connections until the Wire is closed.
func (w *Wire) accept() {
	for {
		raw, err := w.listener.Accept()
		if err == nil {
			tune(raw)
			w.receive(raw)
			continue
		}
		if w.ctx.Err() != nil {
			return
		}
		w.refusals.say("cannot take connections", w.listener.Addr(), err)
		select {
		case <-w.ctx.Done():
			return
		case <-time.After(acceptPause):
		}
	}
}

// receive has a new connection shake hands, and go through its door.
func (w *Wire) receive(raw net.Conn) {
	ctx, quit := context.WithCancelCause(w.ctx)
	s := &stranger{raw, quit}
	w.arrive(s)
	w.wg.Go(func() {
		defer quit(nil)
		ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errSlow)
		defer cancel()
		c, err := w.within(ctx, raw, func() (*conn, error) { return w.admit(raw) })
		w.leave(s)
		if err == nil {
			err = w.door(c).pass(ctx, c)
		}
		if err != nil && w.ctx.Err() == nil {
			w.refusals.say("refused a peer", raw.RemoteAddr(), err)
		}
	})
}

// arrive takes a stranger up; the oldest one makes room.
func (w *Wire) arrive(s *stranger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.strangers) == maxStrangers {
		oldest := w.strangers[0]
		oldest.quit(errNewer)
		oldest.raw.Close()
		w.strangers = w.strangers[1:]
	}
	w.strangers = append(w.strangers, s)
}

func (w *Wire) leave(s *stranger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.strangers, s); i >= 0 {
		w.strangers = slices.Delete(w.strangers, i, i+1)
	}
}

// admit makes a peer of a stranger, and tells it so.
func (w *Wire) admit(raw net.Conn) (*conn, error) {
	c, err := w.shake(raw, tls.Server, 0, raftProtocol, httpProtocol)
	if err != nil {
		return nil, err
	}
	c.inbound = true
	if w.door(c).shut() {
		return nil, errShut
	}
	if err := w.enter(c); err != nil {
		return c, err
	}
	_, err = c.Write([]byte{welcome})
	return c, err
}

func (w *Wire) door(c *conn) *door {
	if c.protocol == raftProtocol {
		return w.raft
	}
	return w.http
}

// door is where the connections of one protocol come in.
type door struct {
	wire   *Wire
	queue  chan *conn
	once   sync.Once
	closed chan struct{}
}

func newDoor(w *Wire) *door {
	return &door{wire: w, queue: make(chan *conn), closed: make(chan struct{})}
}

func (d *door) shut() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// pass hands a connection to whoever accepts, as long as ctx lasts.
func (d *door) pass(ctx context.Context, c *conn) error {
	select {
	case d.queue <- c:
		return nil
	case <-d.closed:
	case <-ctx.Done():
	}
	c.abort()
	return errShut
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.queue:
		return c, nil
	case <-d.closed:
	case <-d.wire.ctx.Done():
	}
	return nil, net.ErrClosed
}

// Close takes no more. What was accepted stays open.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) Addr() net.Addr { return d.wire.listener.Addr() }
