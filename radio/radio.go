// Package radio names what every way of reaching a device has in common: a
// Link that carries bytes to an Addr, and an Advertisement that says who is
// out there. Its sub-packages implement them; it imports none of them.
//
// It promises that an Addr keeps everything a reply needs (the IPv6 zone
// above all) and never interprets the bytes it carries.
package radio

import (
	"fmt"
	"net/netip"
)

// Transport says which kind of link an Addr belongs to.
type Transport uint8

const (
	UDP Transport = iota + 1
	BLE
)

// Addr is a peer on a link. It is comparable, so it can key a map.
type Addr struct {
	Transport Transport
	IP        netip.AddrPort // UDP; a link-local address keeps its zone
	Peer      string         // BLE: the peer's device address
}

// UDPAddr is the Addr of a UDP peer.
func UDPAddr(ap netip.AddrPort) Addr { return Addr{Transport: UDP, IP: ap} }

func (a Addr) String() string {
	switch a.Transport {
	case UDP:
		return "udp:" + a.IP.String()
	case BLE:
		return "ble:" + a.Peer
	}
	return fmt.Sprintf("transport %d", a.Transport)
}

// Link carries whole Matter messages. Its methods may be called from several
// goroutines.
type Link interface {
	// Send hands b to the link; it does not keep b. A nil error does not
	// say that the peer got it.
	Send(to Addr, b []byte) error
	// Receive blocks until a message came, copies it into b and returns its
	// length. A message longer than b is dropped by the link. After Close it
	// returns net.ErrClosed.
	Receive(b []byte) (n int, from Addr, err error)
	// MTU is the longest message Send accepts, in bytes.
	MTU() int
	// Reliable links (BTP) do their own retransmission: MRP stays off.
	Reliable() bool
	Close() error
}
