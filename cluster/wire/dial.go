package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// dialTimeout is for a whole dial. TCP repeats what was lost after 1 s.
	dialTimeout = 1500 * time.Millisecond
	// headStart is how long an address is ahead of the next.
	headStart    = 150 * time.Millisecond
	maxAddresses = 8
)

var (
	errSilent  = errors.New("it does not answer in time")
	errUnknown = errors.New("no address of it is known")
)

// failures are the reasons of several addresses.
type failures []error

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error { return f }

// dial reaches a gateway wherever it is.
func (w *Wire) dial(ctx context.Context, to cert.NodeID, protocol string, timeout time.Duration) (net.Conn, error) {
	if !w.begin() {
		return nil, fmt.Errorf("reach gateway %v: %w", to, net.ErrClosed)
	}
	defer w.wg.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSilent)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	addrs, err := w.cfg.Locate(ctx, to)
	if err == nil && len(addrs) == 0 {
		err = errUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("reach gateway %v: find it: %w", to, err)
	}
	c, err := w.race(ctx, to, protocol, addrs[:min(len(addrs), maxAddresses)])
	if err != nil {
		if w.cfg.Doubt != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
			w.cfg.Doubt(to)
		}
		return nil, fmt.Errorf("reach gateway %v: %w", to, err)
	}
	return c, nil
}

// begin counts the caller among what Close waits for.
func (w *Wire) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.wg.Add(1)
	}
	return !w.closed
}

type result struct {
	conn *conn
	err  error
}

// race tries addresses side by side. The first one that lets us in wins, and
// the caller ends ctx for the others.
func (w *Wire) race(ctx context.Context, to cert.NodeID, protocol string, addrs []netip.AddrPort) (*conn, error) {
	results := make(chan result, len(addrs))
	running := 0
	defer func() {
		w.wg.Go(func() { // those that lose
			for range running {
				if r := <-results; r.err == nil {
					r.conn.Close()
				}
			}
		})
	}()
	var failed failures
	next := time.NewTimer(0)
	defer next.Stop()
	for rest := addrs; len(rest) > 0 || running > 0; {
		select {
		case <-next.C:
			addr := rest[0]
			rest = rest[1:]
			running++
			w.wg.Go(func() {
				c, err := w.try(ctx, to, protocol, addr)
				results <- result{c, err}
			})
			if len(rest) > 0 {
				next.Reset(headStart)
			}
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			failed = append(failed, r.err)
			if len(rest) > 0 {
				next.Reset(0)
			}
		}
	}
	return nil, failed
}

// try reaches a gateway at one address.
func (w *Wire) try(ctx context.Context, to cert.NodeID, protocol string, addr netip.AddrPort) (*conn, error) {
	raw, err := w.cfg.Dial(ctx, addr)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // says more
	}
	var c *conn
	if err == nil {
		c, err = w.within(ctx, raw, func() (*conn, error) { return w.ask(raw, to, protocol) })
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", addr, err)
	}
	return c, nil
}

// ask shakes hands, and waits to be let in.
func (w *Wire) ask(raw net.Conn, to cert.NodeID, protocol string) (*conn, error) {
	c, err := w.shake(raw, tls.Client, to, protocol)
	if err != nil {
		return nil, err
	}
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return nil, fmt.Errorf("it does not let this gateway in: %w", err)
	}
	if first[0] != welcome {
		return nil, errors.New("it does not greet")
	}
	return c, w.enter(c)
}

func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	tune(raw)
	return raw, nil
}
