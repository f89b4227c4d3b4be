package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/commissioner"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// lookAgain is how long a gateway whose last address is known is looked for
// on the network too, before that address is tried.
const lookAgain = 200 * time.Millisecond

// neighbors knows where the other gateways are: where they were last, and
// where they announce themselves as nodes of the home's fabric. Their TCP port
// has the number of their Matter node's UDP port.
type neighbors struct {
	self       cert.NodeID
	listener   net.Addr
	discovery  *dnssd.Conn
	membership *found.Membership
	book       *commissioner.AddressBook
	fabrics    atomic.Pointer[[]uint64] // compressed; nil while none is known
}

func (b *neighbors) locate(ctx context.Context, n cert.NodeID) (addrs []netip.AddrPort, err error) {
	if last, ok := b.book.Get(n); ok {
		addrs = append(addrs, last.IP)
	}
	if b.membership != nil {
		for _, p := range b.membership.Peers {
			if p.Node == n {
				addrs = append(addrs, p.Addrs...)
			}
		}
	}
	fabrics := b.fabrics.Load()
	if fabrics == nil {
		return addrs, nil
	}
	if len(addrs) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookAgain)
		defer cancel()
	}
	ad, err := b.resolve(ctx, *fabrics, n)
	if err != nil {
		if len(addrs) > 0 {
			return addrs, nil
		}
		return nil, fmt.Errorf("gateway %v does not announce itself on the network: %w", n, err)
	}
	var announced []netip.AddrPort
	for _, a := range ad.Addrs {
		announced = append(announced, a.IP)
	}
	if len(announced) > 0 {
		b.book.Set(n, ad.Addrs[0])
	}
	return append(announced, addrs...), nil
}

// resolve finds a gateway by whichever of the home's fabrics it announces: one
// that lags behind knows only the former.
func (b *neighbors) resolve(ctx context.Context, fabrics []uint64, n cert.NodeID) (radio.Advertisement, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		ad  radio.Advertisement
		err error
	}
	answers := make(chan answer, len(fabrics))
	for _, f := range fabrics {
		go func() {
			ad, err := b.discovery.Resolve(ctx, radio.OperationalInstance(f, uint64(n)))
			answers <- answer{ad, err}
		}()
	}
	var failed error
	for range fabrics {
		a := <-answers
		if a.err == nil {
			return a.ad, nil
		}
		failed = errors.Join(failed, a.err)
	}
	return radio.Advertisement{}, failed
}

// doubt says that a gateway is not where it was found: it may have begun anew,
// with another port, while its word of that did not come through.
func (b *neighbors) doubt(n cert.NodeID) {
	if fabrics := b.fabrics.Load(); fabrics != nil {
		for _, f := range *fabrics {
			b.discovery.Doubt(radio.OperationalInstance(f, uint64(n)))
		}
	}
}

// peers are where a new gateway finds the members.
func (b *neighbors) peers(s *fabric.State) (peers []found.Peer) {
	for _, g := range s.Members() {
		p := found.Peer{Node: g.Node}
		if g.Node == b.self {
			p.Addrs = b.own()
		} else if last, ok := b.book.Get(g.Node); ok {
			p.Addrs = []netip.AddrPort{last.IP}
		}
		peers = append(peers, p)
	}
	return peers
}

// own are the addresses others may reach this gateway at. Link-local ones mean
// nothing elsewhere.
func (b *neighbors) own() (addrs []netip.AddrPort) {
	port := b.listener.(*net.TCPAddr).AddrPort().Port()
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if n, ok := i.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, netip.AddrPortFrom(a.Unmap(), port))
			}
		}
	}
	return addrs
}
