package btp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gatehouse/radio"
)

// Link is a radio.Link to one peer: an engine and what it lacks, a clock and a
// connection. One goroutine reads from the bearer and one writes to it.
type Link struct {
	bearer Bearer
	peer   radio.Addr
	now    func() time.Time
	done   chan struct{} // closed when the link has ended
	freed  chan struct{} // closed when the bearer has been closed

	mu        sync.Mutex
	changed   sync.Cond // any of what follows did
	engine    *engine
	alarm     *time.Timer
	writing   bool // a packet is with the bearer
	confirmed bool // the bearer has written at least one
	closing   bool // Close was called
	err       error
	closeErr  error // the bearer's
}

var _ radio.Link = (*Link)(nil)

func open(ctx context.Context, b Bearer, cfg Config, start phase) (*Link, error) {
	if err := cfg.check(); err != nil {
		b.Close()
		return nil, fmt.Errorf("open Bluetooth link: %w", err)
	}
	l := &Link{bearer: b, peer: cfg.Peer, now: cfg.Now, done: make(chan struct{}), freed: make(chan struct{})}
	l.changed.L = &l.mu
	l.mu.Lock()
	l.engine = newEngine(start, b.MTU(), cfg)
	l.alarm = time.AfterFunc(handshakeTimeout, l.tick)
	go l.read()
	go l.write()
	stop := context.AfterFunc(ctx, func() { l.fail(context.Cause(ctx)) })
	for l.err == nil && !(l.engine.phase == established && l.confirmed) {
		l.changed.Wait()
	}
	if !stop() {
		l.end(context.Cause(ctx))
	}
	err := l.err
	l.mu.Unlock()
	if err != nil {
		<-l.freed
		return nil, fmt.Errorf("open Bluetooth link to %v: %w", cfg.Peer, err)
	}
	return l, nil
}

// Send implements radio.Link. It waits only while 32 KiB are queued.
func (l *Link) Send(to radio.Addr, b []byte) error {
	if to != l.peer {
		return fmt.Errorf("send to %v: the link leads to %v alone", to, l.peer)
	}
	if len(b) == 0 || len(b) > MTU {
		return fmt.Errorf("send to %v: message of %d bytes, the link carries 1 to %d", to, len(b), MTU)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && !l.closing && l.engine.outbox.size >= queueLimit {
		l.changed.Wait()
	}
	if l.err != nil || l.closing {
		return l.closedErr()
	}
	l.engine.send(b)
	l.changed.Broadcast()
	return nil
}

// Receive implements radio.Link. When the peer or the connection ended the
// link, what had come before is delivered first.
func (l *Link) Receive(b []byte) (int, radio.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closing {
		m := l.engine.inbox.pop()
		switch {
		case m == nil && l.err != nil:
			return 0, radio.Addr{}, l.closedErr()
		case m == nil:
			l.changed.Wait()
			continue
		}
		l.changed.Broadcast() // acknowledgements may have waited for room
		if len(m) <= len(b) {
			return copy(b, m), l.peer, nil
		}
	}
	return 0, radio.Addr{}, net.ErrClosed
}

// MTU implements radio.Link.
func (l *Link) MTU() int { return MTU }

// Reliable implements radio.Link: it is.
func (l *Link) Reliable() bool { return true }

// Peer is who is at the other side.
func (l *Link) Peer() radio.Addr { return l.peer }

// Done is closed when the link has ended, whoever ended it.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err says why the link ended: net.ErrClosed after Close, else an error that
// wraps ErrLost, ErrTimeout or ErrProtocol. It is nil while the link lives.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements radio.Link. It waits up to 2 s until what Send took has
// been written, though not for its acknowledgement.
func (l *Link) Close() error {
	l.mu.Lock()
	if !l.closing {
		l.closing = true
		l.changed.Broadcast()
		linger := time.AfterFunc(lingerTimeout, func() { l.fail(net.ErrClosed) })
		for l.err == nil && (l.writing || !l.engine.drained()) {
			l.changed.Wait()
		}
		linger.Stop()
		l.end(net.ErrClosed)
	}
	l.mu.Unlock()
	<-l.freed
	return l.closeErr
}

// closedErr is net.ErrClosed with the reason, if that is another.
func (l *Link) closedErr() error {
	if l.closing || errors.Is(l.err, net.ErrClosed) {
		return net.ErrClosed
	}
	return fmt.Errorf("link to %v: %w: %w", l.peer, net.ErrClosed, l.err)
}

// end ends the link, once. Call it locked.
func (l *Link) end(reason error) {
	if l.err != nil {
		return
	}
	l.err = reason
	l.alarm.Stop()
	close(l.done)
	l.changed.Broadcast()
	go func() { // it may take a round trip
		l.closeErr = l.bearer.Close()
		close(l.freed)
	}()
}

func (l *Link) fail(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(reason)
}

// setAlarm makes tick run at the engine's next deadline. The writer sets it
// whenever it wakes up; while it waits for the bearer, deadlines that fail the
// link move away only, and tick sets it again. Call it locked.
func (l *Link) setAlarm() {
	now := l.now()
	if at := l.engine.deadline(now); at.IsZero() || l.err != nil {
		l.alarm.Stop()
	} else {
		l.alarm.Reset(at.Sub(now))
	}
}

func (l *Link) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.engine.expire(l.now()); err != nil {
		l.end(err)
		return
	}
	l.setAlarm()
	l.changed.Broadcast()
}

func (l *Link) read() {
	for {
		p, err := l.bearer.Read()
		if err != nil {
			l.fail(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
		if !l.take(p) {
			return
		}
	}
}

func (l *Link) take(p []byte) (alive bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	if err := l.engine.receive(l.now(), p); err != nil {
		l.end(err)
		return false
	}
	l.changed.Broadcast()
	return true
}

func (l *Link) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		p := l.engine.next(l.now())
		l.setAlarm()
		if p == nil {
			l.changed.Wait()
			continue
		}
		l.writing = true
		l.mu.Unlock()
		err := l.bearer.Write(p)
		l.mu.Lock()
		l.writing, l.confirmed = false, true
		if err == nil {
			err = l.engine.written()
		} else {
			err = fmt.Errorf("%w: %w", ErrLost, err)
		}
		if err != nil {
			l.end(err)
			return
		}
		l.changed.Broadcast()
	}
}
