package ble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"gatehouse/radio/ble/wire"
)

// Why a life ends, besides a fault and a malformed message.
var (
	errGone = errors.New("the radio process ended")
	errHung = errors.New("the radio process hangs")
)

// life is one radio process from its hello to its end.
type life struct {
	radio *Radio
	conn  net.Conn
	wire  *wire.Conn
	own   wire.Address
	done  chan struct{} // closed at the end; err says why

	mu      sync.Mutex
	err     error
	next    uint32
	pending map[uint32]chan wire.Message // requests that wait for Done
	conns   map[uint32]*Conn

	ponged   chan struct{}
	scanning chan struct{} // whether anybody scans may have changed
}

// greet exchanges hellos over a new socket. The radio's hello comes when its
// adapter is open.
func greet(r *Radio, conn net.Conn) (*life, error) {
	w := wire.NewConn(conn)
	conn.SetDeadline(r.cfg.Now().Add(r.timing.start))
	// If this fails the process has ended, and may have said why.
	w.Send(wire.Message{Kind: wire.Hello, Version: wire.Version})
	m, err := w.Read()
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: it says no hello", errHung)
	case err != nil:
		return nil, errGone
	case m.Kind == wire.Fault:
		return nil, failure(m)
	case m.Kind != wire.Hello || m.Version != wire.Version:
		return nil, fmt.Errorf("%w: message %d of version %d, not a hello of version %d", wire.ErrMalformed, m.Kind, m.Version, wire.Version)
	}
	conn.SetDeadline(time.Time{})
	return &life{radio: r, conn: conn, wire: w, own: m.Peer, done: make(chan struct{}), pending: map[uint32]chan wire.Message{},
		conns: map[uint32]*Conn{}, ponged: make(chan struct{}, 1), scanning: make(chan struct{}, 1)}, nil
}

// failure is the error for a code.
func failure(m wire.Message) error {
	sentinels := map[wire.Code]error{wire.NoAdapter: ErrNoAdapter, wire.NotPermitted: ErrNotPermitted, wire.Busy: ErrBusy, wire.Unreachable: ErrUnreachable}
	s := sentinels[m.Code]
	switch {
	case s == nil && m.Text == "":
		return fmt.Errorf("the radio process failed with code %d", m.Code)
	case s == nil:
		return errors.New(m.Text)
	case m.Text == "":
		return s
	}
	return fmt.Errorf("%w: %s", s, m.Text)
}

// end ends a life, once: everything that waits for it fails, run returns, and
// whoever supervises then ends the process.
func (l *life) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = err
	close(l.done)
	l.conn.Close()
	for _, c := range l.conns {
		c.end(l.restarted())
	}
}

// restarted is what fails when a life ended. l.mu is held, or l.done closed.
func (l *life) restarted() error {
	if errors.Is(l.err, net.ErrClosed) { // the Radio's Close ended it
		return net.ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrRestarted, l.err)
}

// over says that the life has ended.
func (l *life) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// run reads what the process says until one of the two ends.
func (l *life) run() {
	go l.heartbeat()
	go l.scan()
	l.rescan()
	for {
		m, err := l.wire.Read()
		if err == nil {
			err = l.handle(m)
		} else if !errors.Is(err, wire.ErrMalformed) {
			err = errGone
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

// handle does what a message says. It must not block.
func (l *life) handle(m wire.Message) error {
	switch m.Kind {
	case wire.Pong:
		select {
		case l.ponged <- struct{}{}:
		default:
		}
	case wire.Done:
		l.mu.Lock()
		if reply := l.pending[m.ID]; reply != nil {
			delete(l.pending, m.ID)
			reply <- m
		}
		l.mu.Unlock()
	case wire.Connected, wire.Indication, wire.Closed:
		l.mu.Lock()
		c := l.conns[m.Conn]
		if m.Kind == wire.Closed {
			delete(l.conns, m.Conn)
		}
		l.mu.Unlock()
		if c != nil {
			return c.handle(m)
		}
	case wire.Report:
		if ad, ok := advertisement(m); ok {
			l.radio.report(ad)
		}
	case wire.Fault:
		return failure(m)
	default:
		return fmt.Errorf("%w: kind %d", wire.ErrMalformed, m.Kind)
	}
	return nil
}

// heartbeat ends the life when the process, or its adapter, does not answer.
func (l *life) heartbeat() {
	tick := time.NewTicker(l.radio.timing.heartbeat)
	defer tick.Stop()
	silent := time.NewTimer(l.radio.timing.patience)
	defer silent.Stop()
	for id := uint32(1); ; id++ {
		l.send(wire.Message{Kind: wire.Ping, ID: id})
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
		select {
		case <-l.ponged:
			silent.Reset(l.radio.timing.patience)
		case <-silent.C:
			l.end(fmt.Errorf("%w: no sign of life for %v", errHung, l.radio.timing.patience))
			return
		default:
		}
	}
}

// send sends a message, or ends the life: a process that does not even read
// is not to be helped.
func (l *life) send(m wire.Message) {
	l.conn.SetWriteDeadline(l.radio.cfg.Now().Add(l.radio.timing.patience))
	switch err := l.wire.Send(m); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.end(fmt.Errorf("%w: it does not read", errHung))
	case err != nil:
		l.end(errGone)
	}
}

// request sends a message and waits for Done, for as long as the process
// itself may take and the grace, or until gone is closed.
func (l *life) request(m wire.Message, limit time.Duration, gone <-chan struct{}) error {
	reply := make(chan wire.Message, 1)
	l.mu.Lock()
	l.next++
	m.ID = l.next
	l.pending[m.ID] = reply
	l.mu.Unlock()
	l.send(m)
	hung := time.NewTimer(limit + l.radio.timing.grace)
	defer hung.Stop()
	select {
	case m := <-reply:
		if m.Code != wire.OK {
			return failure(m)
		}
		return nil
	case <-hung.C:
		l.end(fmt.Errorf("%w: a request of kind %d was not answered for %v", errHung, m.Kind, limit+l.radio.timing.grace))
	case <-gone:
		l.mu.Lock()
		delete(l.pending, m.ID)
		l.mu.Unlock()
		return net.ErrClosed
	case <-l.done:
	}
	return l.restarted()
}

// scan keeps the process scanning while somebody wants it.
func (l *life) scan() {
	on := false
	for {
		select {
		case <-l.scanning:
		case <-l.done:
			return
		}
		want := l.radio.scanned()
		if want == on {
			continue
		}
		if err := l.request(wire.Message{Kind: wire.Scan, On: want}, maxConns*(DialLimit+SetupLimit), nil); err != nil {
			if l.over() {
				return
			}
			l.radio.cfg.Log.Warn("turn Bluetooth scanning on or off", "on", want, "err", err)
			continue
		}
		on = want
	}
}

// rescan tells that more or fewer may want to scan.
func (l *life) rescan() {
	select {
	case l.scanning <- struct{}{}:
	default:
	}
}

// connect asks for a connection and waits for it.
func (l *life) connect(ctx context.Context, peer wire.Address) (*Conn, error) {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.restarted()
	}
	l.next++
	c := newConn(l, l.next)
	l.conns[c.id] = c
	l.mu.Unlock()
	l.send(wire.Message{Kind: wire.Connect, Conn: c.id, Peer: peer})
	// Others may be before us: the process does one at a time.
	hung := time.NewTimer(maxConns * (DialLimit + SetupLimit + l.radio.timing.grace))
	defer hung.Stop()
	select {
	case <-c.connected:
		return c, nil
	case <-c.ended:
		return nil, c.reason()
	case <-hung.C:
		l.end(fmt.Errorf("%w: a connection was not made in time", errHung))
		return nil, l.restarted()
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
	}
}
