package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// farewell is how long closing may take to tell the peer.
	farewell = 200 * time.Millisecond

	// A box that lost its power says nothing. It is noticed after silence,
	// whether or not something was on its way to it.
	silence       = 3 * time.Second
	probeInterval = time.Second
)

// welcome is what a listener sends first. In TLS 1.3 a dialler is through with
// the handshake before the listener has seen its certificate.
const welcome = 'W'

// conn is a connection to a peer that has been verified.
type conn struct {
	*tls.Conn
	wire     *Wire
	raw      net.Conn
	protocol string
	peer     cert.NodeID
	chain    [][]byte // as the peer showed it, in DER
	inbound  bool
}

// Close tells the peer, if it takes it, and closes.
func (c *conn) Close() error {
	c.wire.remove(c)
	late := time.AfterFunc(farewell, func() { c.raw.Close() })
	defer late.Stop()
	return c.Conn.Close()
}

// abort closes at once.
func (c *conn) abort() {
	c.wire.remove(c)
	c.raw.Close()
}

// side is tls.Client or tls.Server.
type side func(net.Conn, *tls.Config) *tls.Conn

// shake is the handshake, and the peer's verification in it.
func (w *Wire) shake(raw net.Conn, as side, want cert.NodeID, protocols ...string) (*conn, error) {
	id, err := w.identity()
	if err != nil {
		return nil, err
	}
	c := &conn{wire: w, raw: raw}
	config, err := id.tls(protocols, func(s tls.ConnectionState) error {
		if !slices.Contains(protocols, s.NegotiatedProtocol) {
			return fmt.Errorf("it speaks neither of %q", protocols)
		}
		c.protocol, c.chain = s.NegotiatedProtocol, chainOf(s.PeerCertificates)
		n, err := w.verify(id, c.chain, want)
		c.peer = n.NodeID
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Conn = as(raw, config)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c, nil
}

func chainOf(certificates []*x509.Certificate) [][]byte {
	chain := make([][]byte, len(certificates))
	for i, c := range certificates {
		chain[i] = c.Raw
	}
	return chain
}

// within closes raw when do fails, and when ctx ends before do does. What do
// returns beside an error is removed.
func (w *Wire) within(ctx context.Context, raw net.Conn, do func() (*conn, error)) (*conn, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c, err := do()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return c, nil
	}
	if c != nil {
		w.remove(c)
	}
	raw.Close()
	return nil, err
}

// tune has the kernel notice a peer that is gone.
func tune(raw net.Conn) {
	t, ok := raw.(*net.TCPConn)
	if !ok {
		return
	}
	// What fails here fails on a connection that is broken already.
	t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probeInterval, Interval: probeInterval,
		Count: int(silence / probeInterval)})
	if s, err := t.SyscallConn(); err == nil {
		s.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
		})
	}
}
