package goble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ble/ble"

	radioble "gatehouse/radio/ble"
	"gatehouse/radio/ble/wire"
)

const (
	maxWrites = 4  // that wait for their turn; the daemon sends one at a time
	minMTU    = 23 // the specification's
)

// session is one connection, from the wish for it to its end.
type session struct {
	host   *host
	id     uint32
	peer   wire.Address
	ctx    context.Context // ends when the daemon no longer wants it
	cancel context.CancelFunc
	writes chan wire.Message
	ended  chan struct{} // closed when the connection is no more
	made   bool          // it is served; guarded by host.mu

	client ble.Client
	c1, c2 *ble.Characteristic
}

// begin makes the connection and sets it up, in the goroutine of jobs.
func (s *session) begin() {
	resume := s.host.scans
	if err := s.host.scan(false); err != nil {
		s.over(err)
		return
	}
	mtu, err := s.open()
	if resume {
		if err := s.host.scan(true); err != nil {
			s.host.stop(err)
		}
	}
	if err != nil {
		s.over(err)
		return
	}
	s.host.mu.Lock()
	s.made = true
	s.host.mu.Unlock()
	s.host.send(wire.Message{Kind: wire.Connected, Conn: s.id, MTU: uint16(mtu)})
	go s.serve()
}

// open connects and discovers Matter's service.
func (s *session) open() (mtu int, err error) {
	s.host.settle()
	if s.ctx.Err() != nil {
		return 0, errCancelled
	}
	if s.client, err = s.host.dial(s.ctx, s.peer); err != nil {
		return 0, err
	}
	err = s.within(radioble.SetupLimit, "discover the service", func() (err error) {
		mtu, err = s.discover()
		return err
	})
	if err != nil {
		s.hangUp()
		return 0, unreachable{err}
	}
	return mtu, nil
}

// hangUp disconnects and waits for it.
func (s *session) hangUp() {
	s.disconnect()
	select {
	case <-s.client.Conn().Disconnected():
	case <-time.After(radioble.CloseLimit):
		s.host.hung("a connection")
	}
}

// within does what waits for the device, f, until it is done, takes too long,
// is called off or the connection ends; in all but the first case the
// connection has ended when it returns. f is then left alone: go-ble may have
// it wait for half a minute for an answer that cannot come.
func (s *session) within(limit time.Duration, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-s.client.Conn().Disconnected():
		select {
		case err := <-done: // before that
			return err
		default:
			return fmt.Errorf("%s: the device has disconnected", what)
		}
	case <-ctx.Done():
		s.hangUp()
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

// disconnect does not go by the client, whose lock a pending request holds.
func (s *session) disconnect() { go s.client.Conn().Close() }

// discover agrees on an MTU and finds the characteristics.
func (s *session) discover() (mtu int, err error) {
	mtu = minMTU
	// What go-ble returns is the other side's, which may be more than ours.
	theirs, err := s.client.ExchangeMTU(radioble.MTU)
	var refusal ble.ATTError
	switch {
	case errors.As(err, &refusal): // a device may do without
	case err != nil:
		return 0, fmt.Errorf("exchange MTUs: %w", err)
	case theirs < minMTU:
		return 0, fmt.Errorf("the device has an MTU of %d", theirs)
	default:
		mtu = min(theirs, radioble.MTU)
	}
	services, err := s.client.DiscoverServices([]ble.UUID{ble.UUID16(radioble.ServiceUUID)})
	if err != nil {
		return 0, fmt.Errorf("discover services: %w", err)
	}
	if len(services) == 0 {
		return 0, errors.New("the device has no Matter service")
	}
	all, err := s.client.DiscoverCharacteristics(nil, services[0])
	if err != nil {
		return 0, fmt.Errorf("discover characteristics: %w", err)
	}
	for _, c := range all {
		switch {
		case c.UUID.Equal(c1UUID):
			s.c1 = c
		case c.UUID.Equal(c2UUID):
			s.c2 = c
		}
	}
	if s.c1 == nil || s.c2 == nil {
		return 0, errors.New("a characteristic of the Matter service is missing")
	}
	if _, err := s.client.DiscoverDescriptors(nil, s.c2); err != nil {
		return 0, fmt.Errorf("discover descriptors: %w", err)
	}
	if s.c2.CCCD == nil {
		return 0, errors.New("C2 cannot be subscribed to")
	}
	return mtu, nil
}

var c1UUID, c2UUID = ble.MustParse(radioble.C1UUID), ble.MustParse(radioble.C2UUID)

// serve writes in turn until the connection ends.
func (s *session) serve() {
	disconnected := s.client.Conn().Disconnected()
	for first := true; ; first = false {
		select {
		case m := <-s.writes:
			s.host.reply(m.ID, s.within(radioble.WriteLimit, "write", func() error { return s.put(m.Data, first) }))
		case <-s.ctx.Done():
			s.hangUp()
			s.over(errCancelled)
			return
		case <-disconnected:
			s.over(nil)
			return
		}
	}
}

// put writes to C1. Behind the first value it subscribes to C2: a device
// answers the handshake once it is subscribed to.
func (s *session) put(b []byte, first bool) error {
	if err := s.client.WriteCharacteristic(s.c1, b, false); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if !first {
		return nil
	}
	if err := s.client.Subscribe(s.c2, true, s.indicated); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// indicated is called under a lock of go-ble's that writing needs too: it
// must not block. go-ble confirms before it calls, and loses what it cannot
// call for while a write is pending, beyond 16 indications. BTP's window is
// smaller than that.
func (s *session) indicated(b []byte) {
	s.host.send(wire.Message{Kind: wire.Indication, Conn: s.id, Data: append([]byte(nil), b...)})
}

// write queues a write.
func (s *session) write(m wire.Message) {
	select {
	case s.writes <- m:
	default:
		s.host.send(wire.Message{Kind: wire.Done, ID: m.ID, Code: wire.Failed, Text: "too many writes at a time"})
	}
}

// over tells the daemon that the connection is no more; no error is that the
// device ended it.
func (s *session) over(err error) {
	s.cancel()
	defer close(s.ended)
	h := s.host
	h.mu.Lock()
	delete(h.sessions, s.id)
	h.mu.Unlock()
	m := wire.Message{Kind: wire.Closed, Conn: s.id, Code: wire.Lost}
	if err != nil {
		m.Code, m.Text = code(err), err.Error()
	}
	h.send(m)
	for { // whoever still waits for a write
		select {
		case w := <-s.writes:
			h.send(wire.Message{Kind: wire.Done, ID: w.ID, Code: wire.Lost, Text: "the connection is gone"})
		default:
			return
		}
	}
}
