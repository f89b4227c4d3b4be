package dnssd

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// usable says whether a host that was heard of on i may have this address.
func usable(ip netip.Addr, i *Interface) bool {
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip.Is4In6():
		return false
	case ip.IsLoopback():
		return i.Loopback // from elsewhere it would lead to ourselves
	}
	return true
}

// addresses are those of a host, the most promising first; reachable says
// whether one of them is not doubted.
func (c *Conn) addresses(host string, port uint16) (addrs []radio.Addr, reachable bool) {
	type scored struct {
		ip    netip.Addr
		score int
	}
	var found []scored
	for _, rrtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		for _, r := range c.cache.get(host, rrtype) {
			i := c.ifaces[r.iface]
			if i == nil {
				continue
			}
			s := scored{r.addr, score(r.addr, i)}
			if r.addr.Is6() && r.addr.IsLinkLocalUnicast() {
				s.ip = r.addr.WithZone(i.Name)
			}
			if r.doubted {
				s.score = -s.score
			} else {
				reachable = true
			}
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), a.ip.Compare(b.ip))
	})
	for _, f := range found {
		a := radio.UDPAddr(netip.AddrPortFrom(f.ip, port))
		if !slices.Contains(addrs, a) { // the same, heard on two interfaces
			addrs = append(addrs, a)
		}
	}
	return addrs, reachable
}

// score orders addresses as the other Matter implementations do: what needs
// no router first, and IPv4, which Matter does without, last.
func score(ip netip.Addr, i *Interface) int {
	near := i.onLink(ip)
	switch {
	case ip.IsLoopback():
		return 7
	case ip.Is4():
		return 1
	case ip.IsLinkLocalUnicast():
		return 6
	case ip.IsPrivate() && near: // a ULA
		return 4
	case ip.IsPrivate():
		return 2
	case near:
		return 5
	}
	return 3
}
