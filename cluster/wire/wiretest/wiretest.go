// Package wiretest is a network of TCP connections in memory, for tests of
// package wire and of what runs over it.
//
//	n := wiretest.New()
//	a, b := n.Host(netip.MustParseAddr("10.0.0.1")), n.Host(netip.MustParseAddr("10.0.0.2"))
//	listener, err := b.Listen(5541)
//	c, err := a.Dial(ctx, netip.MustParseAddrPort("10.0.0.2:5541"))
//	n.Cut(a.Addr(), b.Addr())
//
// It promises that every wait is one that testing/synctest counts as durable,
// so that in a bubble time passes only in simulation; outside of one it works
// in real time. Hosts, ports and the order of what is under way are the same in
// every run; what goroutines do at the same moment is up to the scheduler.
//
// Faults are set per direction. A cut is an unplugged cable: what is sent
// stalls, and nobody is told until the cable is back, a deadline passes, or
// Silence does, which ends the connections at both ends as TCP's keep-alive
// and user timeouts would. Nothing is lost or reordered otherwise. There is no
// bandwidth, and a cable that is back is noticed at once.
package wiretest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// Silence is how long a connection outlives a cut.
	Silence = 3 * time.Second
	// window bounds what is sent and not yet read, in octets.
	window = 64 << 10
	// backlog bounds the connections that wait to be accepted.
	backlog   = 128
	firstPort = 49152 // of those that dial
)

// Net is a network. Its methods may be called from several goroutines.
type Net struct {
	mu    sync.Mutex // over everything in this package; never held in a wait
	hosts map[netip.Addr]*Host
	links map[route]*link
	conns []*conn // both ends of each
}

type route struct{ from, to netip.Addr }

// New is a network without hosts.
func New() *Net {
	return &Net{hosts: map[netip.Addr]*Host{}, links: map[route]*link{}}
}

// Host is the host with an address. It is there from the first call on.
func (n *Net) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[addr] == nil {
		n.hosts[addr] = &Host{net: n, addr: addr, listeners: map[uint16]*listener{}, port: firstPort}
	}
	return n.hosts[addr]
}

// Latency sets how long everything takes from one host to another; 0 at first.
func (n *Net) Latency(from, to netip.Addr, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).latency = d
}

// Cut has everything from one host to another stall, what is under way too.
func (n *Net) Cut(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	if l.cut {
		return
	}
	l.cut = true
	l.silence = time.AfterFunc(Silence, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !l.cut {
			return
		}
		for _, c := range slices.Clone(n.conns) {
			if c.on(from, to) || c.on(to, from) {
				c.fail(syscall.ETIMEDOUT)
			}
		}
	})
}

// Heal ends a cut.
func (n *Net) Heal(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).heal(n)
}

// Reset ends the connections between two hosts at the end of to, as a packet
// from the other one that has forgotten them would. The end of from learns of
// it when it sends something. A cut does not stop it.
func (n *Net) Reset(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range slices.Clone(n.conns) {
		if c.on(to, from) {
			c.fail(syscall.ECONNRESET)
		}
	}
}

func (n *Net) link(from, to netip.Addr) *link {
	r := route{from, to}
	if n.links[r] == nil {
		n.links[r] = new(link)
	}
	return n.links[r]
}

// link is one direction between two hosts. Packets are functions that arrive.
type link struct {
	latency time.Duration
	cut     bool
	silence *time.Timer // of this cut
	packets []func()    // under way, in order
	stalled int         // how many of them have met the cut
}

// send has a packet arrive after those before it. Net.mu is held, and will be
// when it arrives.
func (l *link) send(n *Net, packet func()) {
	if l.latency == 0 && !l.cut && len(l.packets) == 0 {
		packet()
		return
	}
	l.packets = append(l.packets, packet)
	time.AfterFunc(l.latency, func() { l.arrive(n) })
}

// arrive delivers the packet that is first now: timers of the same moment fire
// in any order.
func (l *link) arrive(n *Net) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.cut {
		l.stalled++
		return
	}
	packet := l.packets[0]
	l.packets = l.packets[1:]
	packet()
}

func (l *link) heal(n *Net) {
	if !l.cut {
		return
	}
	l.cut = false
	l.silence.Stop()
	for range l.stalled {
		time.AfterFunc(l.latency, func() { l.arrive(n) })
	}
	l.stalled = 0
}

// Host is one host's end of the network.
type Host struct {
	net       *Net
	addr      netip.Addr
	listeners map[uint16]*listener
	port      uint16 // of the next dial
}

// Addr is the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Listen takes connections on a port.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	at := netip.AddrPortFrom(h.addr, port)
	if h.listeners[port] != nil {
		return nil, fmt.Errorf("listen on %v: %w", at, syscall.EADDRINUSE)
	}
	l := &listener{host: h, at: at}
	l.wake = sync.NewCond(&h.net.mu)
	h.listeners[port] = l
	return l, nil
}

// Dial connects to a port of a host. It waits, as long as ctx lasts, for a
// host that is not there and for cuts to heal.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var here *conn
	answer := make(chan error, 1)
	h.net.mu.Lock()
	from := netip.AddrPortFrom(h.addr, h.port)
	h.port = max(h.port+1, firstPort)
	back := h.net.link(to.Addr(), h.addr)
	h.net.link(h.addr, to.Addr()).send(h.net, func() {
		there := h.net.hosts[to.Addr()]
		if there == nil || ctx.Err() != nil {
			return
		}
		l := there.listeners[to.Port()]
		if l == nil || len(l.queue) == backlog {
			back.send(h.net, func() { answer <- syscall.ECONNREFUSED })
			return
		}
		here = h.net.connect(from, to)
		l.queue = append(l.queue, here.peer)
		l.wake.Broadcast()
		back.send(h.net, func() { answer <- nil })
	})
	h.net.mu.Unlock()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if err == nil {
		return here, nil
	}
	if here != nil { // the answer under way finds nobody
		here.hangUp()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

// listener is a port that takes connections.
type listener struct {
	host   *Host
	at     netip.AddrPort
	wake   *sync.Cond
	queue  []*conn
	closed bool
}

func (l *listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.wake.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// Close takes no more. Connections that were not accepted are closed.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	delete(l.host.listeners, l.at.Port())
	for _, c := range l.queue {
		c.hangUp()
	}
	l.wake.Broadcast()
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
