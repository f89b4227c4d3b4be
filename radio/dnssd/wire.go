package dnssd

import "net/netip"

// Port is the port of multicast DNS.
const Port = 5353

// A Wire is what a Conn needs of the network. The real one is made by Open;
// dnssdtest has an in-memory one.
type Wire interface {
	// Start begins to hand over packets, perhaps from several goroutines at
	// once. It is called once.
	Start(deliver func(Packet))
	// Interfaces are those in use at this moment. It joins the groups on
	// those that are new.
	Interfaces() ([]Interface, error)
	// Multicast sends data to the mDNS groups on one interface, from Port.
	Multicast(iface int, data []byte) error
	// Unicast sends data to one peer, from Port.
	Unicast(iface int, to netip.AddrPort, data []byte) error
	// Shared says whether other sockets on this host listen on Port: then a
	// unicast packet may end up with any of them.
	Shared() bool
	// Close returns when nothing will be delivered any more.
	Close() error
}

// Packet is one datagram that came in.
type Packet struct {
	Iface     int            // index of the interface it came in by
	From      netip.AddrPort // with its zone, when link-local
	Multicast bool           // it was sent to a group
	Data      []byte         // the receiver's until deliver returns
}

// Interface is one network interface.
type Interface struct {
	Index    int
	Name     string
	Loopback bool
	Prefixes []netip.Prefix // each of its addresses with the prefix's length
}

// onLink says whether the interface reaches ip without a router.
func (i *Interface) onLink(ip netip.Addr) bool {
	if ip.Is6() && ip.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range i.Prefixes {
		if p.Contains(ip.WithZone("")) {
			return true
		}
	}
	return false
}
