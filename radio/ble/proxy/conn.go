package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/btp"
)

// ATT's own limits, in bytes (Bluetooth Core, volume 3, part F).
const (
	minMTU, maxMTU = 23, 517
	attHeader      = 3 // of a write before the value
)

// Conn is a connection to a device through a proxy, the client's side of
// Matter's service. Its methods may be called from several goroutines.
type Conn struct {
	radio  *Radio
	handle uint16
	mtu    int
	c1, c2 string // the characteristics, as the proxy writes them
	in     chan []byte

	writing    sync.Mutex
	subscribed bool

	mu    sync.Mutex
	err   error
	ended chan struct{}
}

var _ btp.Bearer = (*Conn)(nil)

// Connect connects to a device, by the address this radio heard it under, and
// finds Matter's service on it. It fails with ble.ErrUnreachable when the
// device does not answer, within 15 s or when ctx ends.
func (r *Radio) Connect(ctx context.Context, to radio.Addr) (btp.Bearer, error) {
	if to.Transport != radio.BLE || !plausible(to.Peer) {
		return nil, fmt.Errorf("connect to %v: no Bluetooth address of a proxy's", to)
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return nil, fmt.Errorf("connect to %v: %d connections lead through the proxy already", to, maxConns)
	}
	limit := connectTime
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(end.Sub(r.cfg.Now()), time.Millisecond))
	}
	type opened struct {
		conn *Conn
		err  error
	}
	result := make(chan opened, 1)
	go func() {
		c, err := r.open(ctx, to.Peer, limit)
		if c == nil { // else it is the connection's
			<-r.slots
		}
		result <- opened{c, err}
	}()
	select {
	case o := <-result:
		if o.err != nil {
			return nil, fmt.Errorf("connect to %v: %w", to, o.err)
		}
		return o.conn, nil
	case <-ctx.Done():
		go func() { // a connection may be made yet
			if o := <-result; o.err == nil {
				o.conn.Close()
			}
		}()
		return nil, fmt.Errorf("connect to %v: %w: %w", to, ble.ErrUnreachable, context.Cause(ctx))
	}
}

// open makes a connection; one that is of no use has ended when it returns.
// The proxy is given some time for it, and finishes what it has begun also
// when ctx ends.
func (r *Radio) open(ctx context.Context, address string, limit time.Duration) (*Conn, error) {
	var made struct {
		Handle *uint16 `json:"connection_handle"`
		MTU    int
	}
	if err := r.do("connect", map[string]any{"address": address, "timeout": limit.Milliseconds()}, &made); err != nil {
		if errors.As(err, new(*refusal)) {
			err = fmt.Errorf("%w: %w", ble.ErrUnreachable, err)
		}
		return nil, err
	}
	c := &Conn{radio: r, mtu: min(max(made.MTU, minMTU), maxMTU), in: make(chan []byte, inQueue), ended: make(chan struct{})}
	if made.Handle == nil || !r.add(c, *made.Handle) {
		r.end(fmt.Errorf("%w: %w: a connection without a handle of its own", ErrGone, errMalformed))
		return nil, r.reason()
	}
	err := ctx.Err()
	if err == nil {
		err = c.discover()
	}
	if err != nil {
		c.finish(net.ErrClosed, true)
	}
	return c, err
}

func (r *Radio) add(c *Conn, handle uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[handle] != nil {
		return false
	}
	c.handle = handle
	r.conns[handle] = c
	if r.err != nil {
		c.end(r.err)
	}
	return true
}

func (r *Radio) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[c.handle] == c {
		delete(r.conns, c.handle)
	}
}

// args are those of a command about the connection, and others.
func (c *Conn) args(others map[string]any) map[string]any {
	args := map[string]any{"connection_handle": c.handle}
	for k, v := range others {
		args[k] = v
	}
	return args
}

// discover finds the two characteristics. A proxy may know them by the way it
// writes them alone.
func (c *Conn) discover() error {
	type named struct{ UUID string }
	var services struct{ Services []named }
	if err := c.radio.do("discover_services", c.args(nil), &services); err != nil {
		return fmt.Errorf("find its services: %w", err)
	}
	find := func(list []named, uuid string) string {
		for _, n := range list {
			if sameUUID(n.UUID, uuid) {
				return n.UUID
			}
		}
		return ""
	}
	service := find(services.Services, serviceUUID)
	if service == "" {
		return errors.New("it has no Matter service")
	}
	var found struct{ Characteristics []named }
	if err := c.radio.do("discover_characteristics", c.args(map[string]any{"service_uuid": service}), &found); err != nil {
		return fmt.Errorf("find its characteristics: %w", err)
	}
	c.c1, c.c2 = find(found.Characteristics, ble.C1UUID), find(found.Characteristics, ble.C2UUID)
	if c.c1 == "" || c.c2 == "" {
		return errors.New("its Matter service lacks a characteristic")
	}
	return nil
}

// take queues an indication.
func (c *Conn) take(value []byte) {
	if c.reason() != nil {
		return // it was on its way
	}
	select {
	case c.in <- value:
	default:
		c.finish(fmt.Errorf("the device sent more than %d indications that nobody has read", inQueue), true)
	}
}

// lost notes that the device has disconnected.
func (c *Conn) lost() { c.finish(io.EOF, false) }

// end marks the connection as ended and says whether it was not before. It
// takes no lock but its own.
func (c *Conn) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = err
	close(c.ended)
	return true
}

// finish ends the connection, at the proxy too if it is there, and then gives
// its place to others. It does not wait.
func (c *Conn) finish(err error, there bool) {
	if !c.end(err) {
		return
	}
	go func() {
		if there {
			c.radio.do("disconnect", c.args(nil), nil)
		}
		c.radio.remove(c)
		<-c.radio.slots
	}()
}

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// MTU is the connection's ATT MTU in bytes, as the proxy tells it.
func (c *Conn) MTU() int { return c.mtu }

// Write writes p to C1 and returns when the proxy says that the device has
// confirmed it, or after ble.WriteLimit. The first write also subscribes to
// C2, behind the value: that is the order of BTP's handshake. p may be
// MTU()-3 bytes. It does not keep p.
func (c *Conn) Write(p []byte) error {
	if len(p) == 0 || len(p) > c.mtu-attHeader {
		return fmt.Errorf("a write of %d bytes, 1 to %d are possible", len(p), c.mtu-attHeader)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.reason(); err != nil {
		return writeError(err)
	}
	// Not as a binary message, which is shorter: nobody confirms that.
	value := bytes.Clone(p)
	name, args := "write_characteristic", map[string]any{"characteristic_uuid": c.c1, "value": value, "response": true}
	if !c.subscribed {
		name, args = "write_and_subscribe", map[string]any{"write_uuid": c.c1, "write_value": value, "write_response": true, "subscribe_uuid": c.c2}
	}
	c.subscribed = true
	done := make(chan error, 1)
	go func() { done <- c.radio.do(name, c.args(args), nil) }()
	limit := time.NewTimer(ble.WriteLimit)
	defer limit.Stop()
	select {
	case err := <-done:
		if refused(err, "not_connected") {
			c.lost()
			err = io.EOF
		}
		return writeError(err)
	case <-limit.C:
		return fmt.Errorf("the Bluetooth proxy has not written for %v", ble.WriteLimit)
	case <-c.ended:
		return writeError(c.reason())
	}
}

// writeError is err as Write tells it: end of file is for readers.
func writeError(err error) error {
	if err == io.EOF {
		return errors.New("the device has disconnected")
	}
	return err
}

// Read returns the next indication of C2. What was indicated before the
// connection ended can still be read. Then it returns io.EOF if the device
// disconnected, net.ErrClosed after Close, and ErrGone if the proxy has gone.
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
	c.finish(net.ErrClosed, true)
	return nil
}
