// Package udp is the radio.Link over UDP: one socket, IPv6 and IPv4, with the
// zone of a link-local peer kept in both directions, so that the address a
// message came from is the address a reply is sent to.
//
// It promises canonical addresses: an IPv4 peer is plain IPv4, never mapped
// into IPv6. It never retransmits, orders or inspects what it carries.
//
// It serves the Matter Core specification's message transport over UDP, where
// a message and its IPv6 and UDP headers fit into 1280 bytes.
package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"gatehouse/radio"
)

const (
	// MTU is the longest message, in bytes: the smallest packet every IPv6
	// network carries, less the IPv6 and UDP headers.
	MTU = 1280 - 40 - 8

	// Port is Matter's own; devices listen on it unless they say otherwise.
	Port = 5540

	// receiveBuffer is asked of the kernel, in bytes: room for a hundred
	// devices that answer at once.
	receiveBuffer = 1 << 20
)

// Config of a Link. The zero value is any free port on every address.
type Config struct {
	// Addr to listen at. Without an address: every one, IPv6 and IPv4. With
	// port 0: a free one. A link-local address needs its zone.
	Addr netip.AddrPort
	// Interface, when not empty, is the only one messages are sent and
	// received on.
	Interface string
}

// Link is a radio.Link on one socket.
type Link struct {
	conn  *net.UDPConn
	local netip.AddrPort
}

var _ radio.Link = (*Link)(nil)

// Listen opens a Link.
func Listen(cfg Config) (*Link, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, cfg.Interface) }}
	address := cfg.Addr.String()
	if !cfg.Addr.Addr().IsValid() {
		// An empty host, unlike [::], falls back to IPv4 on a machine
		// without IPv6.
		address = fmt.Sprintf(":%d", cfg.Addr.Port())
	}
	conn, err := lc.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for messages: %w", err)
	}
	u := conn.(*net.UDPConn)
	return &Link{conn: u, local: u.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

// prepare sets what has to be set before the socket is bound.
func prepare(c syscall.RawConn, iface string) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		// Past the system's ceiling where we may, up to it where we may not.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if iface != "" {
			err = unix.BindToDevice(int(fd), iface)
		}
	})
	if err != nil {
		return fmt.Errorf("bind to interface %s: %w", iface, err)
	}
	return ctlErr
}

// LocalAddr is where the socket is bound; its address is unspecified when it
// listens on every one.
func (l *Link) LocalAddr() netip.AddrPort { return l.local }

// Send implements radio.Link.
func (l *Link) Send(to radio.Addr, b []byte) error {
	if to.Transport != radio.UDP {
		return fmt.Errorf("send to %v: not a UDP address", to)
	}
	if len(b) == 0 || len(b) > MTU {
		return fmt.Errorf("send to %v: message of %d bytes, the link carries 1 to %d", to, len(b), MTU)
	}
	if _, err := l.conn.WriteToUDPAddrPort(b, to.IP); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		return fmt.Errorf("send to %v: %w", to, err)
	}
	return nil
}

// Receive implements radio.Link. It allocates nothing, whoever sends.
func (l *Link) Receive(b []byte) (int, radio.Addr, error) {
	for {
		n, _, flags, from, err := l.conn.ReadMsgUDPAddrPort(b, nil)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, radio.Addr{}, net.ErrClosed
			}
			return 0, radio.Addr{}, fmt.Errorf("receive messages: %w", err)
		}
		// An empty datagram is no message, and one that was cut is not the
		// one that was sent.
		if n == 0 || flags&unix.MSG_TRUNC != 0 {
			continue
		}
		return n, radio.UDPAddr(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
	}
}

// MTU implements radio.Link.
func (l *Link) MTU() int { return MTU }

// Reliable implements radio.Link: datagrams are not.
func (l *Link) Reliable() bool { return false }

// Close implements radio.Link.
func (l *Link) Close() error {
	if err := l.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close message socket: %w", err)
	}
	return nil
}
